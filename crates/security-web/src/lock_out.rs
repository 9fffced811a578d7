//! What follows from wrong secrets: first a slower rate, then none for a while.
//!
//! **Not a weapon.** Everything here concerns *failures*. A door verifies the secret first and comes here only
//! when it was wrong, so a right secret passes however many wrong ones the same client, or somebody behind the
//! same address, has sent.

use std::net::IpAddr;

use security_core::{Rate, Timestamp, WordTable};
use serde::{Deserialize, Serialize};

use crate::{LimitScope, WebError, admit};

/// Low bits of a word: the count of failures, and whether the client is locked out. The rest is a time in
/// microseconds, rounded up to 256.
const STATE: u64 = 0xff;
const LOCKED: u64 = 0x80;
const COUNT: u64 = 0x7f;

/// How many wrong secrets in a row lock a client out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct LockOut {
    /// Failures in a row that lock out, 1 to 127; 5 by default.
    pub failures: u8,
    /// After how many seconds without a failure the row is forgotten; 1800 by default.
    pub window_seconds: u32,
    /// For how many seconds the client stays locked out; 1800 by default.
    pub duration_seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    failures: u64,
    window_seconds: u64,
    duration_seconds: u64,
}

impl Default for LockOut {
    fn default() -> Self {
        Self { failures: 5, window_seconds: 1800, duration_seconds: 1800 }
    }
}

impl Default for Written {
    fn default() -> Self {
        let LockOut { failures, window_seconds, duration_seconds } = LockOut::default();
        Self {
            failures: failures.into(),
            window_seconds: window_seconds.into(),
            duration_seconds: duration_seconds.into(),
        }
    }
}

impl TryFrom<Written> for LockOut {
    type Error = WebError;

    fn try_from(written: Written) -> Result<Self, WebError> {
        let within = |name, given: u64, most: u32, accepted| match u32::try_from(given) {
            Ok(given) if (1..=most).contains(&given) => Ok(given),
            _ => Err(WebError::OutOfRange { name, given, accepted }),
        };
        let seconds = "1 to 2678400 seconds";
        let failures = within("failures", written.failures, 127, "1 to 127")?;
        Ok(Self {
            failures: u8::try_from(failures).unwrap_or(127),
            window_seconds: within("window_seconds", written.window_seconds, 31 * 86_400, seconds)?,
            duration_seconds: within("duration_seconds", written.duration_seconds, 31 * 86_400, seconds)?,
        })
    }
}

/// What a wrong secret gets.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureVerdict {
    /// The usual answer to a wrong secret.
    Refused {
        /// Set when this failure is the one that locks the client out: until when. Worth an alert.
        locks_until: Option<Timestamp>,
    },
    /// Too many failures in a short time; the next may come in so many microseconds.
    Limited {
        /// Microseconds.
        retry_after_micros: u64,
    },
    /// Too many failures in a row: no more of them until then.
    LockedOut {
        /// When the lock ends.
        until: Timestamp,
    },
}

impl LockOut {
    /// Counts one failure. Pure: takes the word and the time, gives the new word. The word is when the state is
    /// forgotten, in microseconds, with the state in its low eight bits; `0` when there is none.
    ///
    /// A lock in force stays as it is: were it prolonged, a neighbour could keep a client out for ever.
    pub fn failed(&self, word: u64, now: Timestamp) -> u64 {
        let word = if self.is_void(word, now) { 0 } else { word };
        if word & LOCKED != 0 {
            return word;
        }
        let count = ((word & COUNT) + 1).min(COUNT);
        if count >= u64::from(self.failures) {
            until(now, self.duration_seconds) | LOCKED | count
        } else {
            until(now, self.window_seconds) | count
        }
    }

    /// A right secret ends the row of failures, but not a lock: that runs out by itself, and right secrets do
    /// not mind it.
    pub fn succeeded(&self, word: u64) -> u64 {
        if word & LOCKED != 0 { word } else { 0 }
    }

    /// Until when the word locks out, if it does now.
    pub fn locked_until(&self, word: u64, now: Timestamp) -> Option<Timestamp> {
        (word & LOCKED != 0 && !self.is_void(word, now)).then(|| time_of(word))
    }

    /// Whether a word says nothing any more: its time is past, or further ahead than this policy ever counts,
    /// which is what a clock that was wrong for a while leaves behind.
    fn is_void(&self, word: u64, now: Timestamp) -> bool {
        let longest = std::time::Duration::from_secs(self.window_seconds.max(self.duration_seconds).into());
        // The low bits hold the count and not the time, hence the millisecond.
        is_past(word, now) || time_of(word) > now.plus(longest).plus(std::time::Duration::from_millis(1))
    }

    /// Until when a client is locked out.
    pub fn client_locked_until(
        &self,
        table: &dyn WordTable,
        seed: u64,
        client: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.locked_until(table.read(LimitScope::LockOut(client).hash(seed)), now)
    }

    /// Notes a right secret of a client. Writes nothing for the many who never failed.
    pub fn client_succeeded(&self, table: &dyn WordTable, seed: u64, client: Option<IpAddr>, now: Timestamp) {
        let key = LimitScope::LockOut(client).hash(seed);
        if table.read(key) != 0 {
            table.update(key, now, &mut |word| self.succeeded(word));
        }
    }
}

/// What a *wrong* secret gets: call it after verification has failed, never before.
///
/// A locked client is told so. Else the failure is counted, in the row and against `rate`; the failure that
/// completes the row still gets the usual answer, so that the answer does not tell how many are allowed.
pub fn judge_failure(
    table: &dyn WordTable,
    seed: u64,
    client: Option<IpAddr>,
    lock_out: &LockOut,
    rate: Option<Rate>,
    now: Timestamp,
) -> FailureVerdict {
    let mut locked_before = None;
    let word = table.update(LimitScope::LockOut(client).hash(seed), now, &mut |word| {
        locked_before = lock_out.locked_until(word, now);
        lock_out.failed(word, now)
    });
    if let Some(until) = locked_before {
        return FailureVerdict::LockedOut { until };
    }
    let locks_until = lock_out.locked_until(word, now);
    if let Some(rate) = rate {
        let admission = admit(table, seed, LimitScope::FailedAuthentication(client), rate, now);
        if !admission.admitted && locks_until.is_none() {
            return FailureVerdict::Limited { retry_after_micros: admission.retry_after_micros };
        }
    }
    FailureVerdict::Refused { locks_until }
}

fn until(now: Timestamp, seconds: u32) -> u64 {
    let micros = u64::try_from(now.as_micros()).unwrap_or(0) + u64::from(seconds) * 1_000_000;
    (micros + STATE) & !STATE
}

fn time_of(word: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(word & !STATE).unwrap_or(i64::MAX))
}

fn is_past(word: u64, now: Timestamp) -> bool {
    time_of(word) <= now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::tests::MapTable;
    use proptest::prelude::*;
    use std::time::Duration;

    const SEED: u64 = 99;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000).plus(Duration::from_secs(seconds))
    }

    fn client() -> Option<IpAddr> {
        Some("203.0.113.4".parse().unwrap())
    }

    fn fail(table: &MapTable, seconds: u64) -> FailureVerdict {
        judge_failure(table, SEED, client(), &LockOut::default(), None, at(seconds))
    }

    #[test]
    fn five_in_a_row_lock_out_for_thirty_minutes() {
        let table = MapTable::default();
        for second in 0..4 {
            assert_eq!(fail(&table, second), FailureVerdict::Refused { locks_until: None });
        }
        let FailureVerdict::Refused { locks_until: Some(until) } = fail(&table, 4) else {
            panic!("the fifth failure does not lock")
        };
        assert!(until >= at(4 + 1800) && until <= at(4 + 1801));
        assert_eq!(fail(&table, 5), FailureVerdict::LockedOut { until });
        assert_eq!(fail(&table, 1803), FailureVerdict::LockedOut { until });
        assert_eq!(LockOut::default().client_locked_until(&table, SEED, client(), at(1803)), Some(until));
        assert_eq!(LockOut::default().client_locked_until(&table, SEED, client(), at(1805)), None);
        assert_eq!(fail(&table, 1806), FailureVerdict::Refused { locks_until: None });
    }

    #[test]
    fn a_clock_that_was_wrong_locks_nobody_out_for_years() {
        let table = MapTable::default();
        let years = 10 * 365 * 86_400;
        let verdicts: Vec<_> = (0..6).map(|second| fail(&table, years + second)).collect();
        assert!(matches!(verdicts[5], FailureVerdict::LockedOut { .. }));
        assert_eq!(LockOut::default().client_locked_until(&table, SEED, client(), at(0)), None);
        assert_eq!(fail(&table, 0), FailureVerdict::Refused { locks_until: None });
    }

    #[test]
    fn a_right_secret_in_between_starts_the_row_anew() {
        let table = MapTable::default();
        let rules = LockOut::default();
        for round in 0..6 {
            for second in 0..4 {
                assert_eq!(fail(&table, 10 * round + second), FailureVerdict::Refused { locks_until: None });
            }
            rules.client_succeeded(&table, SEED, client(), at(10 * round + 5));
        }
    }

    #[test]
    fn a_right_secret_does_not_unlock_a_guesser() {
        let table = MapTable::default();
        for second in 0..5 {
            let _ = fail(&table, second);
        }
        LockOut::default().client_succeeded(&table, SEED, client(), at(6));
        assert!(matches!(fail(&table, 7), FailureVerdict::LockedOut { .. }));
    }

    #[test]
    fn a_row_is_forgotten_after_its_window() {
        let table = MapTable::default();
        for second in 0..4 {
            let _ = fail(&table, second);
        }
        assert_eq!(fail(&table, 4 + 1801), FailureVerdict::Refused { locks_until: None });
    }

    #[test]
    fn others_are_not_concerned() {
        let table = MapTable::default();
        for second in 0..9 {
            let _ = fail(&table, second);
        }
        let other = Some("203.0.113.5".parse().unwrap());
        let verdict = judge_failure(&table, SEED, other, &LockOut::default(), None, at(9));
        assert_eq!(verdict, FailureVerdict::Refused { locks_until: None });
    }

    #[test]
    fn the_rate_slows_failures_that_are_no_row() {
        let table = MapTable::default();
        let rules = LockOut { failures: 100, ..LockOut::default() };
        let judge =
            |second| judge_failure(&table, SEED, client(), &rules, Some(Rate::new(5, 60)), at(second));
        for _ in 0..5 {
            assert_eq!(judge(0), FailureVerdict::Refused { locks_until: None });
        }
        assert_eq!(judge(0), FailureVerdict::Limited { retry_after_micros: 12_000_000 });
        assert_eq!(judge(12), FailureVerdict::Refused { locks_until: None });
    }

    #[test]
    fn settings_are_held_to_their_ranges() {
        for (text, name) in [
            (r#"{"failures": 128}"#, "failures is 128"),
            (r#"{"window_seconds": 0}"#, "window_seconds is 0"),
            (r#"{"duration_seconds": 99999999}"#, "duration_seconds is 99999999"),
            (r#"{"seconds": 1}"#, "seconds"),
        ] {
            let error = serde_json::from_str::<LockOut>(text).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    proptest! {
        /// Against a plain list of what happened.
        #[test]
        fn locks_exactly_after_so_many_in_a_row(
            failures in 1u8..8, events in prop::collection::vec((any::<bool>(), 0u64..400), 1..60),
        ) {
            let rules = LockOut { failures, window_seconds: 300, duration_seconds: 600 };
            let (mut word, mut now) = (0, 0);
            let (mut row, mut last, mut locked_at) = (0u8, 0, None::<u64>);
            for (is_failure, pause) in events {
                now += pause * 1_000 + 1;
                // Keep away from the 256 microseconds that the word rounds by.
                let time = Timestamp::from_micros(i64::try_from(now * 1_000).unwrap());
                if locked_at.is_some_and(|at| now >= at + 600_001) {
                    locked_at = None;
                    row = 0;
                }
                if now >= last + 300_001 {
                    row = 0;
                }
                if is_failure {
                    word = rules.failed(word, time);
                    if locked_at.is_none() {
                        row += 1;
                        last = now;
                        if row >= failures {
                            locked_at = Some(now);
                        }
                    }
                } else {
                    word = rules.succeeded(word);
                    row = 0;
                }
                prop_assert_eq!(rules.locked_until(word, time).is_some(), locked_at.is_some());
            }
        }

        #[test]
        fn any_word_is_survived(word: u64, micros in 0i64..i64::MAX) {
            let time = Timestamp::from_micros(micros);
            let rules = LockOut::default();
            let _ = (rules.failed(word, time), rules.succeeded(word), rules.locked_until(word, time));
        }
    }
}
