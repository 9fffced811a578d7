//! A point in time, as the whole project writes it.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time in whole microseconds since 1970-01-01T00:00:00Z, from year 1 to 9999.
///
/// Written as RFC 3339 in UTC with a final `Z`, with as many fraction digits as needed (none, 3 or 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time; accepted is RFC 3339 like 2026-11-24T08:30:00Z")]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 9999-12-30T22:00:00Z, the last moment that every offset can write.
    pub const MAX: Self = Self(253_402_207_200_000_000);
    /// 0001-01-02T00:00:00Z, likewise the first.
    pub const MIN: Self = Self(-62_135_510_400_000_000);

    /// From microseconds since the Unix epoch, held inside [`Timestamp::MIN`] and [`Timestamp::MAX`].
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// From whole seconds since the Unix epoch, held likewise.
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment plus a duration, never past [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This moment minus a duration, never before [`Timestamp::MIN`].
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it was not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The most bytes of a text.
    pub const TEXT: usize = 27;

    /// The text that is displayed, written into `buffer`: nothing is allocated.
    pub fn encode(self, buffer: &mut [u8; Self::TEXT]) -> &str {
        let length = self.write(buffer);
        // Digits and marks; nothing else is written.
        std::str::from_utf8(&buffer[..length]).unwrap_or_default()
    }

    fn write(self, text: &mut [u8; Self::TEXT]) -> usize {
        let second = self.as_seconds();
        let (year, month, day) = civil(second.div_euclid(86_400));
        let of_day = second.rem_euclid(86_400);
        *text = *b"0000-00-00T00:00:00.000000Z";
        digits(&mut text[..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], of_day / 3600);
        digits(&mut text[14..16], of_day / 60 % 60);
        digits(&mut text[17..19], of_day % 60);
        let micros = self.0.rem_euclid(1_000_000);
        digits(&mut text[20..26], micros);
        let end = match micros {
            0 => 19,
            _ if micros % 1000 == 0 => 23,
            _ => 26,
        };
        text[end] = b'Z';
        end + 1
    }
}

/// The numbers below a hundred in two digits each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Fills a field with the decimal digits of a number, which fits it.
fn digits(field: &mut [u8], number: i64) {
    // Below 2^32: a year, or microseconds of a second. Fields have an even number of digits.
    let mut left = number.unsigned_abs() as u32;
    for pair in field.rchunks_exact_mut(2) {
        pair.copy_from_slice(&PAIRS[(left % 100) as usize]);
        left /= 100;
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar, years 1 to 9999.
///
/// Counted in years that begin in March, so that the leap day is the last of its year, and in their cycle of 400 years,
/// which has 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    // A leap day each 4 years (1460 days after the first), none each 100, one each 400.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, months of 31 and 30 days in turn make 153 days every five.
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next, month, day_of_month)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.encode(&mut [0; Self::TEXT]))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || TimestampError { text: text.chars().take(40).collect() };
        let time: jiff::Timestamp = text.trim().parse().map_err(|_| refuse())?;
        Ok(Self::from_micros(time.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_rfc_3339_with_just_enough_digits() {
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_micros(1_500_000).to_string(), "1970-01-01T00:00:01.500Z");
        assert_eq!(Timestamp::from_micros(-1).to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp::MAX);
    }

    #[test]
    fn reads_offsets_and_refuses_other_shapes() {
        assert_eq!("1970-01-01T01:00:00+01:00".parse(), Ok(Timestamp::EPOCH));
        for bad in ["", "yesterday", "1970-01-01", "1970-01-01T00:00:00", "99999-01-01T00:00:00Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_day_of_a_cycle_of_the_calendar_is_the_right_one() {
        let day = |day: i64| {
            let second = day * 86_400;
            let written = Timestamp::from_seconds(second).to_string();
            assert_eq!(written, jiff::Timestamp::from_second(second).unwrap().to_string());
        };
        (-146_097..146_097).for_each(day);
        let last = Timestamp::MAX.as_seconds() / 86_400;
        (last - 800..=last).for_each(day);
        let first = Timestamp::MIN.as_seconds() / 86_400;
        (first..first + 800).for_each(day);
    }

    proptest! {
        #[test]
        fn text_round_trips(micros in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            let peer = jiff::Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(format!("{time:>40}"), format!("{:>40}", time.to_string()));
            let whole = Timestamp::from_seconds(micros / 1_000_000).to_string();
            prop_assert_eq!(&whole, &jiff::Timestamp::from_second(micros / 1_000_000).unwrap().to_string());
            if micros % 1000 != 0 {
                prop_assert_eq!(time.to_string(), format!("{peer:.6}"));
            }
        }
    }
}
