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
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => {
                let fraction = self.0.rem_euclid(1_000_000);
                let digits = if fraction == 0 {
                    0
                } else if fraction % 1000 == 0 {
                    3
                } else {
                    6
                };
                write!(f, "{time:.digits$}")
            }
            Err(_) => Err(fmt::Error), // unreachable: the constructor clamps to what jiff can write
        }
    }
}

/// Writes times that come one after the other: those of one second share the work of the calendar.
#[derive(Debug, Default)]
pub struct TimestampWriter {
    second: Option<i64>,
    /// `1970-01-01T00:00:00`, without the final `Z`.
    text: String,
}

impl TimestampWriter {
    /// Appends a time as [`Timestamp`] displays it.
    pub fn write(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let second = time.as_seconds();
        if self.second != Some(second) {
            self.text = Timestamp::from_seconds(second).to_string();
            self.text.pop();
            self.second = Some(second);
        }
        out.extend_from_slice(self.text.as_bytes());
        let mut left = time.as_micros().rem_euclid(1_000_000);
        if left > 0 {
            let mut digits = *b".000000";
            for digit in digits[1..].iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8; // a decimal digit
                left /= 10;
            }
            out.extend_from_slice(if digits.ends_with(b"000") { &digits[..4] } else { &digits });
        }
        out.push(b'Z');
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

    proptest! {
        #[test]
        fn text_round_trips(micros in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn a_writer_writes_what_each_displays(
            base in Timestamp::MIN.0 + 5_000_000..=Timestamp::MAX.0 - 5_000_000,
            steps in prop::collection::vec((-2_000_000i64..2_000_000, 0usize..3), 1..20),
        ) {
            let mut writer = TimestampWriter::default();
            for (step, trailing) in steps {
                let unit = [1, 1000, 1_000_000][trailing];
                let time = Timestamp::from_micros((base + step) / unit * unit);
                let mut out = b"at ".to_vec();
                writer.write(time, &mut out);
                prop_assert_eq!(String::from_utf8(out), Ok(format!("at {time}")));
            }
        }
    }
}
