//! What the hot path asks: is this value of a credential accepted here and now?

use security_core::Timestamp;

use crate::{CredentialRecord, Digest, PepperVersion, document::grace_holds};

/// The values of one credential that a process compares with, made anew whenever the record changes.
#[derive(Debug, Clone, Default)]
pub struct AcceptedSet {
    entries: Vec<Entry>,
    /// Those that the entries' digests are under.
    peppers: Vec<PepperVersion>,
}

/// What a value turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// In force.
    Accepted,
    /// Superseded, and accepted because its grace is not over.
    InGrace,
    /// Superseded and refused. For the log alone: whoever presents it is told what a wrong value is told.
    Superseded,
    /// Known to nobody here.
    Wrong,
}

impl Verdict {
    /// Whether the value opens the door.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Accepted | Self::InGrace)
    }
}

#[derive(Debug, Clone)]
struct Entry {
    digest: Digest,
    standing: Standing,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    InForce,
    /// In grace, since and until.
    Grace(Timestamp, Timestamp),
    Ended,
}

/// How many of the latest values that are refused as superseded are told from wrong ones. Every one costs a
/// comparison at every call, and what is presented after a rotation is nearly always the value just before it.
const ENDED_WATCHED: usize = 16;

const ACCEPTED: u8 = 1;
const IN_GRACE: u8 = 2;
const SUPERSEDED: u8 = 4;

impl AcceptedSet {
    /// The set of a process where the operator has set `operator_digests`; see [`CredentialRecord::accepted`].
    /// `record` is `None` when nothing was ever recorded of the credential.
    ///
    /// A value whose grace is over at `now` stays refused, even if the clock is set back later.
    pub fn new(record: Option<&CredentialRecord>, operator_digests: &[Digest], now: Timestamp) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let mut ended = 0;
        for value in record.iter().flat_map(|record| record.values.iter().rev()) {
            let set_here = operator_digests.contains(&value.digest);
            let standing = match value.accepted_until {
                _ if value.in_force() && value.accepted(set_here, now) => Standing::InForce,
                // In force in the processes where it is set, which this is not.
                _ if value.in_force() => continue,
                Some(until) if value.accepted(set_here, now) => {
                    Standing::Grace(value.superseded_at.unwrap_or(until), until)
                }
                _ if set_here || ended < ENDED_WATCHED => {
                    ended += 1;
                    Standing::Ended
                }
                _ => continue,
            };
            entries.push(Entry { digest: value.digest, standing });
        }
        for digest in operator_digests {
            if !entries.iter().any(|entry| entry.digest == *digest) {
                entries.push(Entry { digest: *digest, standing: Standing::InForce });
            }
        }
        let mut peppers: Vec<PepperVersion> = entries.iter().map(|entry| entry.digest.pepper()).collect();
        peppers.sort_unstable();
        peppers.dedup();
        Self { entries, peppers }
    }

    /// The peppers that telling these values needs.
    pub fn peppers(&self) -> &[PepperVersion] {
        &self.peppers
    }

    /// What a value is, by its digests under the newest pepper and under those that are needed.
    /// Takes the same time for every value: all comparisons are made, each in constant time.
    pub fn verify(&self, digests: &[Digest], now: Timestamp) -> Verdict {
        let mut found = 0;
        for entry in &self.entries {
            let meaning = match entry.standing {
                Standing::InForce => ACCEPTED,
                Standing::Grace(since, until) if grace_holds(since, until, now) => IN_GRACE,
                Standing::Grace(..) | Standing::Ended => SUPERSEDED,
            };
            for digest in digests {
                // All ones for the value that is equal, all zeros for the others.
                found |= meaning & u8::from(entry.digest == *digest).wrapping_neg();
            }
        }
        match found {
            ACCEPTED => Verdict::Accepted,
            IN_GRACE => Verdict::InGrace,
            SUPERSEDED => Verdict::Superseded,
            _ => Verdict::Wrong,
        }
    }

    /// Whether any value at all is accepted; `false` means that the credential is not set.
    pub fn accepts_any(&self, now: Timestamp) -> bool {
        self.entries.iter().any(|entry| match entry.standing {
            Standing::InForce => true,
            Standing::Grace(since, until) => grace_holds(since, until, now),
            Standing::Ended => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CredentialKind;
    use proptest::prelude::*;
    use std::time::Duration;

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn without_values_everything_is_wrong() {
        for set in [AcceptedSet::default(), AcceptedSet::new(None, &[], at(0))] {
            assert_eq!(set.verify(&[digest(0)], at(0)), Verdict::Wrong);
            assert!(!set.accepts_any(at(0)));
        }
    }

    #[test]
    fn values_under_several_peppers_are_told_by_the_digests_under_each() {
        let two = PepperVersion::new(2).unwrap();
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.observe_operator_value(Digest::under(two, [1; 32]), at(0));
        record.rotate(&[], digest(2), at(10), Duration::from_secs(5)).unwrap();
        let set = AcceptedSet::new(Some(&record), &[Digest::under(two, [1; 32])], at(10));
        assert_eq!(set.peppers(), [PepperVersion::FIRST, two]);
        assert_eq!(set.verify(&[Digest::under(two, [2; 32])], at(11)), Verdict::Wrong, "of another pepper");
        assert_eq!(set.verify(&[Digest::under(two, [9; 32]), digest(2)], at(11)), Verdict::Accepted);
        assert_eq!(set.verify(&[Digest::under(two, [1; 32]), digest(9)], at(11)), Verdict::InGrace);
    }

    #[test]
    fn grace_ends_without_the_set_being_made_anew() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[digest(1)], digest(2), at(10), Duration::from_secs(5)).unwrap();
        let set = AcceptedSet::new(Some(&record), &[digest(1)], at(10));
        assert_eq!(set.verify(&[digest(1)], at(14)), Verdict::InGrace);
        assert_eq!(set.verify(&[digest(1)], at(15)), Verdict::Superseded);
        assert_eq!(set.verify(&[digest(2)], at(15)), Verdict::Accepted);
        assert_eq!(set.verify(&[digest(3)], at(15)), Verdict::Wrong);
    }

    #[test]
    fn a_clock_set_back_brings_no_value_back() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[digest(1)], digest(2), at(10), Duration::from_secs(5)).unwrap();
        let set = AcceptedSet::new(Some(&record), &[digest(1)], at(20));
        assert_eq!(set.verify(&[digest(1)], at(11)), Verdict::Superseded);
    }

    #[test]
    fn a_clock_set_back_from_far_ahead_ends_a_grace_that_was_given_there() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[digest(1)], digest(2), at(1_000_000), Duration::from_secs(60)).unwrap();
        let set = AcceptedSet::new(Some(&record), &[digest(1)], at(1_000_000));
        assert_eq!(set.verify(&[digest(1)], at(999_950)), Verdict::InGrace, "a small correction");
        assert_eq!(set.verify(&[digest(1)], at(500)), Verdict::Superseded);
        assert_eq!(set.verify(&[digest(2)], at(500)), Verdict::Accepted);
    }

    #[test]
    fn without_grace_not_even_a_clock_set_back_brings_a_value_back() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[digest(1)], digest(2), at(100), Duration::ZERO).unwrap();
        for now in [at(100), at(70), at(0)] {
            let set = AcceptedSet::new(Some(&record), &[digest(1)], now);
            assert_eq!(set.verify(&[digest(1)], now), Verdict::Superseded);
        }
    }

    #[test]
    fn the_number_of_comparisons_is_bounded() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        for number in 0..200 {
            record.rotate(&[], digest(number), at(number.into()), Duration::ZERO).unwrap();
        }
        let set = AcceptedSet::new(Some(&record), &[digest(3)], at(500));
        assert_eq!(set.verify(&[digest(199)], at(500)), Verdict::Accepted);
        assert_eq!(set.verify(&[digest(198)], at(500)), Verdict::Superseded);
        assert_eq!(set.verify(&[digest(3)], at(500)), Verdict::Superseded, "set here, so it is watched");
        assert_eq!(set.verify(&[digest(4)], at(500)), Verdict::Wrong);
        assert!(set.entries.len() <= ENDED_WATCHED + 2);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Observe(u8),
        Rotate { set: Vec<u8>, grace: u64 },
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u8..6).prop_map(Step::Observe),
            (prop::collection::vec(0u8..6, 0..3), prop_oneof![Just(0), 0u64..50])
                .prop_map(|(set, grace)| Step::Rotate { set, grace }),
            (0u64..40).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 0..25)
    }

    /// The rules as sentences, one value at a time: `(made by a rotation, end of grace once superseded)`.
    fn model(steps: &[Step], record: &mut CredentialRecord) -> (Vec<(u8, bool, Option<u64>)>, u64) {
        let (mut values, mut now, mut made) = (Vec::<(u8, bool, Option<u64>)>::new(), 0, 100);
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Observe(number) => {
                    record.observe_operator_value(digest(*number), at(now));
                    if !values.iter().any(|value| value.0 == *number) {
                        values.push((*number, false, None));
                    }
                }
                Step::Rotate { set, grace } => {
                    let digests: Vec<Digest> = set.iter().map(|number| digest(*number)).collect();
                    record.rotate(&digests, digest(made), at(now), Duration::from_secs(*grace)).unwrap();
                    for number in set {
                        if !values.iter().any(|value| value.0 == *number) {
                            values.push((*number, false, None));
                        }
                    }
                    for value in &mut values {
                        value.2 = Some(value.2.unwrap_or(u64::MAX).min(now + grace));
                    }
                    values.push((made, true, None));
                    made += 1;
                }
            }
        }
        (values, now)
    }

    proptest! {
        #[test]
        fn agrees_with_the_rules_and_the_list(
            steps in steps(), set in prop::collection::vec(0u8..6, 0..4), later in 0u64..60,
        ) {
            let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
            let (values, now) = model(&steps, &mut record);
            let digests: Vec<Digest> = set.iter().map(|number| digest(*number)).collect();
            let accepted = AcceptedSet::new(Some(&record), &digests, at(now));
            for then in [now, now + later] {
                let list = record.accepted(&digests, at(then));
                for number in (0u8..6).chain(100..126) {
                    let set_here = set.contains(&number);
                    let value = values.iter().find(|value| value.0 == number);
                    let expected = match value {
                        None if set_here => Verdict::Accepted,
                        None => Verdict::Wrong,
                        Some((_, rotation, None)) if set_here || *rotation => Verdict::Accepted,
                        Some((_, _, None)) => Verdict::Wrong,
                        Some((_, rotation, Some(until))) if (set_here || *rotation) && then < *until => {
                            Verdict::InGrace
                        }
                        Some(_) => Verdict::Superseded,
                    };
                    let verdict = accepted.verify(&[digest(number)], at(then));
                    // Old superseded values fall out of the watched ones, and then count as wrong.
                    let forgotten = expected == Verdict::Superseded && verdict == Verdict::Wrong;
                    prop_assert!(verdict == expected || forgotten && values.len() > ENDED_WATCHED);
                    let listed = list.iter().find(|one| one.digest == digest(number));
                    prop_assert_eq!(listed.is_some(), expected.is_accepted());
                    prop_assert_eq!(listed.is_some_and(|one| one.in_grace), expected == Verdict::InGrace);
                }
                prop_assert_eq!(accepted.accepts_any(at(then)), !list.is_empty());
            }
        }
    }
}
