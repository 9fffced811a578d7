//! A point in time, as the whole project writes it.

use std::{cell::Cell, fmt, str::FromStr, time::Duration};

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

thread_local! {
    /// The last whole second that this thread wrote: times come close together, and share the calendar's work.
    static LAST_SECOND: Cell<Option<(i64, [u8; 19])>> = const { Cell::new(None) };
}

/// `1970-01-01T00:00:00`, of any second between [`Timestamp::MIN`] and [`Timestamp::MAX`].
fn calendar(second: i64) -> Option<[u8; 19]> {
    if let Some((last, text)) = LAST_SECOND.get()
        && last == second
    {
        return Some(text);
    }
    let text = jiff::Timestamp::from_second(second).ok()?.to_string();
    let text = *text.as_bytes().first_chunk()?;
    LAST_SECOND.set(Some((second, text)));
    Some(text)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The constructor clamps to what the calendar can write.
        let whole = calendar(self.as_seconds()).ok_or(fmt::Error)?;
        let mut text = [b'0'; 27];
        text[..19].copy_from_slice(&whole);
        text[19] = b'.';
        let mut left = self.0.rem_euclid(1_000_000);
        let end = match left {
            0 => 19,
            _ if left % 1000 == 0 => 23,
            _ => 26,
        };
        for digit in text[20..26].iter_mut().rev() {
            *digit += (left % 10) as u8; // a decimal digit
            left /= 10;
        }
        text[end] = b'Z';
        f.pad(std::str::from_utf8(&text[..=end]).unwrap_or_default())
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
