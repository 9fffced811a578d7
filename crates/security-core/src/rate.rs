//! Rates, and the generic cell rate algorithm that enforces them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Timestamp;

/// How many requests may come in how long: `100/minute`, `20/second`, `5000/hour`, `10000/day`.
///
/// Enforced by GCRA (ITU-T I.371, "virtual scheduling"): a full period's worth may come as a burst, then one
/// every `period / count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    period_seconds: u32,
}

/// The text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a rate; accepted is a count and a period like 100/minute, 20/second, 5000/hour, 9000/day"
)]
pub struct RateError(String);

/// What the limiter says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Whether the request may pass.
    pub admitted: bool,
    /// Requests left in the burst after this one.
    pub remaining: u32,
    /// Microseconds until the next request would pass; `0` when one would pass now.
    pub retry_after_micros: u64,
}

impl Rate {
    const PERIODS: [(&'static str, u32); 4] =
        [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400)];

    /// `count` requests each `period_seconds`; both at least 1.
    pub fn new(count: u32, period_seconds: u32) -> Self {
        Self { count: count.max(1), period_seconds: period_seconds.max(1) }
    }

    /// Requests a period.
    pub fn count(self) -> u32 {
        self.count
    }

    /// The period in seconds.
    pub fn period_seconds(self) -> u32 {
        self.period_seconds
    }

    /// One step of GCRA over a word of shared memory. Pure: takes the word and the time, gives the new word.
    ///
    /// The word is the theoretical arrival time in microseconds since the Unix epoch, `0` when never seen; a
    /// refused request leaves it as it was.
    pub fn admit(self, word: u64, now: Timestamp) -> (u64, Admission) {
        let now = u64::try_from(now.as_micros()).unwrap_or(0);
        let period = u64::from(self.period_seconds) * 1_000_000;
        let interval = (period / u64::from(self.count)).max(1);
        let burst = interval * u64::from(self.count);
        // A word further ahead than a whole burst comes from a clock that was set back, or from another rate
        // under the same key: a client must not wait longer than the rate itself could make it wait.
        let arrival = word.clamp(now, now + burst);
        let next = arrival + interval;
        if next > now + burst {
            let retry_after_micros = next - (now + burst);
            return (arrival, Admission { admitted: false, remaining: 0, retry_after_micros });
        }
        let left = (now + burst - next) / interval;
        let retry_after_micros = if left == 0 { next + interval - (now + burst) } else { 0 };
        let remaining = u32::try_from(left).unwrap_or(u32::MAX);
        (next, Admission { admitted: true, remaining, retry_after_micros })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::PERIODS.iter().find(|(_, seconds)| *seconds == self.period_seconds) {
            Some((name, _)) => write!(f, "{}/{name}", self.count),
            None => write!(f, "{}/{}s", self.count, self.period_seconds),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || RateError(text.chars().take(40).collect());
        let (count, period) = text.trim().split_once('/').ok_or_else(refuse)?;
        let count: u32 = count.trim().parse().map_err(|_| refuse())?;
        let period = period.trim().to_ascii_lowercase();
        let named = Self::PERIODS.iter().find(|(name, _)| period == *name || period == name[..1]);
        let seconds = match named {
            Some((_, seconds)) => *seconds,
            None => period.strip_suffix('s').and_then(|s| s.parse().ok()).ok_or_else(refuse)?,
        };
        // A month at most: beyond that a word of microseconds and a burst of millions lose their meaning.
        if count == 0 || seconds == 0 || seconds > 31 * 86_400 {
            return Err(refuse());
        }
        Ok(Self::new(count, seconds))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const START: Timestamp = Timestamp::EPOCH;

    fn after(seconds: f64) -> Timestamp {
        START.plus(Duration::from_secs(1_000_000)).plus(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn admits_a_burst_then_one_an_interval() {
        let rate: Rate = "3/minute".parse().unwrap();
        let mut word = 0;
        let mut pass = |seconds: f64| {
            let (next, admission) = rate.admit(word, after(seconds));
            word = next;
            (admission.admitted, admission.remaining)
        };
        assert_eq!(pass(0.0), (true, 2));
        assert_eq!(pass(0.0), (true, 1));
        assert_eq!(pass(0.0), (true, 0));
        assert_eq!(pass(19.9), (false, 0));
        assert_eq!(pass(20.0), (true, 0));
        assert_eq!(pass(20.1), (false, 0));
        assert_eq!(pass(200.0), (true, 2));
    }

    #[test]
    fn says_when_to_come_back() {
        let rate: Rate = "1/second".parse().unwrap();
        let (word, first) = rate.admit(0, after(0.0));
        assert!(first.admitted);
        let (_, second) = rate.admit(word, after(0.25));
        assert_eq!((second.admitted, second.retry_after_micros), (false, 750_000));
    }

    #[test]
    fn a_clock_set_back_costs_one_period_at_most() {
        let rate: Rate = "60/minute".parse().unwrap();
        let (word, _) = rate.admit(0, after(1e8));
        let (_, admission) = rate.admit(word, after(0.0));
        assert!(admission.retry_after_micros <= 60_000_000);
    }

    #[test]
    fn refuses_what_is_no_rate() {
        for bad in
            ["", "100", "0/minute", "-1/minute", "5/fortnight", "1/0s", "9999999999/second", "a/minute"]
        {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_admits_more_than_burst_plus_elapsed(
            count in 1u32..50, period in 1u32..120, gaps in prop::collection::vec(0u64..5_000_000, 1..300),
        ) {
            let rate = Rate::new(count, period);
            let (mut word, mut elapsed, mut admitted) = (0, 0u64, 0u64);
            for gap in gaps {
                elapsed += gap;
                let (next, admission) = rate.admit(word, after(0.0).plus(Duration::from_micros(elapsed)));
                word = next;
                admitted += u64::from(admission.admitted);
            }
            let interval = u64::from(period) * 1_000_000 / u64::from(count);
            prop_assert!(admitted <= u64::from(count) + elapsed / interval.max(1) + 1);
        }

        #[test]
        fn text_round_trips(count in 1u32..1_000_000, period in 1u32..86_400 * 31) {
            let rate = Rate::new(count, period);
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
        }
    }
}
