//! A rotation in steps: the new value is brought to where it is used before the old one ends.
//!
//! `begin` (nothing is accepted yet; the value is made and tried where it is used) → `switch` (old and new are both
//! accepted, while the users go over) → `commit` (the new one alone, the old ones for their grace) → `retire` (the old
//! one is ended where it was used, once its grace is over). Each is one change of the record, so a process that is
//! killed leaves one of these states behind, and in each of them a value is in force that its users have.

use std::time::Duration;

use security_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CredentialError, CredentialRecord, Digest, Origin, document::grace_holds};

/// How far a rotation in steps has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationPhase {
    /// The new value is being made and tried where it is used; it is not accepted.
    Begun,
    /// The new value was tried; it is accepted beside the old ones.
    Switching,
}

/// A rotation that is neither done nor given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRotation {
    /// Its name, which no other rotation has.
    pub id: String,
    /// How far it has come.
    pub phase: RotationPhase,
    /// The new value's digest.
    pub digest: Digest,
    /// When it began.
    pub begun_at: Timestamp,
}

impl CredentialRecord {
    /// Begins a rotation to `new`, under a name. One that was left behind is given up with it: whoever begins has
    /// made sure that nobody is at it any more.
    /// # Errors
    /// [`CredentialError::ValueReused`] when `new` was seen before.
    pub fn begin_rotation(
        &mut self,
        id: &str,
        operator_digests: &[Digest],
        new: Digest,
        now: Timestamp,
    ) -> Result<(), CredentialError> {
        self.refuse_reuse(operator_digests, &new)?;
        let pending =
            PendingRotation { id: id.into(), phase: RotationPhase::Begun, digest: new, begun_at: now };
        self.pending = Some(pending);
        self.version += 1;
        Ok(())
    }

    /// Accepts the new value beside the old ones.
    /// # Errors
    /// [`CredentialError::RotationOver`] when this rotation is not the one under way.
    pub fn switch_rotation(&mut self, id: &str, now: Timestamp) -> Result<(), CredentialError> {
        let pending = self.under_way(id)?;
        if pending.phase == RotationPhase::Begun {
            let changed_at = self.last_changed_at;
            self.push(pending.digest, Origin::Rotation, now);
            // Its age is that of the old value until the rotation is done.
            self.last_changed_at = changed_at;
            self.pending = Some(PendingRotation { phase: RotationPhase::Switching, ..pending });
            self.version += 1;
        }
        Ok(())
    }

    /// Makes the new value the one in force, as [`CredentialRecord::rotate`] does. With `retires` the old one is to be
    /// ended where it was used, once the grace is over.
    /// # Errors
    /// [`CredentialError::RotationOver`] when this rotation is not the one under way.
    pub fn commit_rotation(
        &mut self,
        id: &str,
        operator_digests: &[Digest],
        now: Timestamp,
        grace: Duration,
        retires: bool,
    ) -> Result<(), CredentialError> {
        let new = self.under_way(id)?.digest;
        self.values.retain(|value| value.digest != new);
        self.supersede(operator_digests, now, grace);
        self.push(new, Origin::Rotation, now);
        self.retire_at = retires.then(|| now.plus(grace));
        self.rotation_planned_for = None;
        self.pending = None;
        self.version += 1;
        Ok(())
    }

    /// The rotation failed: the old values stay as they are, and the new one is refused for ever, also where it was
    /// accepted already.
    /// # Errors
    /// [`CredentialError::RotationOver`] when this rotation is not the one under way.
    pub fn fail_rotation(&mut self, id: &str, now: Timestamp) -> Result<(), CredentialError> {
        let new = self.under_way(id)?.digest;
        for value in self.values.iter_mut().filter(|value| value.digest == new) {
            (value.superseded_at, value.accepted_until) = (Some(now), None);
        }
        self.pending = None;
        self.version += 1;
        Ok(())
    }

    /// Gives up a rotation whose process ended in the midst of it. The old values stay in force. So does the new one if
    /// it was accepted already: some of its users may have it and no other; the next rotation ends it. Returns the one
    /// that was given up; the version grows if there was one.
    pub fn give_up_rotation(&mut self) -> Option<PendingRotation> {
        let pending = self.pending.take();
        self.version += u64::from(pending.is_some());
        pending
    }

    /// Takes note that the old value was ended where it was used. The version grows if that was still to be done.
    pub fn note_retired(&mut self) {
        self.version += u64::from(self.retire_at.take().is_some());
    }

    /// Whether an old value is to be ended where it was used, and its grace is over. After a clock that went back by
    /// more than the grace nobody knows any more, and it is.
    pub fn is_retirement_due(&self, now: Timestamp) -> bool {
        self.retire_at.is_some_and(|at| !grace_holds(self.last_changed_at, at, now))
    }

    fn under_way(&self, id: &str) -> Result<PendingRotation, CredentialError> {
        let pending = self.pending.as_ref().filter(|pending| pending.id == id);
        pending.cloned().ok_or(CredentialError::RotationOver(self.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AcceptedSet, CredentialKind, Verdict};
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    /// What `1` (the operator's value, set here) and `2` (the new one) are worth.
    fn worth(record: &CredentialRecord, seconds: i64) -> (Verdict, Verdict) {
        let set = AcceptedSet::new(Some(record), &[digest(1)], at(seconds));
        (set.verify(&[digest(1)], at(seconds)), set.verify(&[digest(2)], at(seconds)))
    }

    fn begun() -> CredentialRecord {
        let mut record = CredentialRecord::new(CredentialKind::DbPassword, at(0));
        record.observe_operator_value(digest(1), at(0));
        record.begin_rotation("one", &[digest(1)], digest(2), at(10)).unwrap();
        record
    }

    #[test]
    fn from_the_first_step_to_the_last() {
        use Verdict::{Accepted, InGrace, Superseded, Wrong};
        let mut record = begun();
        assert_eq!(worth(&record, 10), (Accepted, Wrong));
        record.switch_rotation("one", at(11)).unwrap();
        assert_eq!(worth(&record, 11), (Accepted, Accepted));
        assert_eq!(record.last_changed_at, at(0));
        record.commit_rotation("one", &[digest(1)], at(12), HOUR, true).unwrap();
        assert_eq!(worth(&record, 12), (InGrace, Accepted));
        assert_eq!((record.last_changed_at, record.retire_at), (at(12), Some(at(3612))));
        assert!(!record.is_retirement_due(at(3611)) && record.is_retirement_due(at(3612)));
        assert!(!record.is_retirement_due(at(12 - 3600)) && record.is_retirement_due(at(12 - 3601)));
        assert_eq!(worth(&record, 3612), (Superseded, Accepted));
        record.note_retired();
        let version = record.version;
        record.note_retired();
        assert_eq!((record.retire_at, record.version), (None, version));
    }

    #[test]
    fn a_rotation_that_hands_nothing_over_needs_no_switch() {
        let mut record = begun();
        record.commit_rotation("one", &[digest(1)], at(12), Duration::ZERO, false).unwrap();
        assert_eq!(worth(&record, 12), (Verdict::Superseded, Verdict::Accepted));
        assert_eq!((record.pending.as_ref(), record.retire_at), (None, None));
    }

    #[test]
    fn a_failure_leaves_the_old_value_in_force_and_refuses_the_new_one() {
        let mut early = begun();
        early.fail_rotation("one", at(11)).unwrap();
        assert_eq!(worth(&early, 11), (Verdict::Accepted, Verdict::Wrong));
        let mut late = begun();
        late.switch_rotation("one", at(11)).unwrap();
        late.fail_rotation("one", at(12)).unwrap();
        for seconds in [12, 0, 99] {
            assert_eq!(worth(&late, seconds), (Verdict::Accepted, Verdict::Superseded));
        }
        assert_eq!(late.last_changed_at, at(0));
    }

    #[test]
    fn one_left_behind_keeps_whatever_somebody_may_use() {
        let mut early = begun();
        assert_eq!(early.give_up_rotation().unwrap().phase, RotationPhase::Begun);
        assert_eq!(worth(&early, 11), (Verdict::Accepted, Verdict::Wrong));
        let mut late = begun();
        late.switch_rotation("one", at(11)).unwrap();
        assert_eq!(late.give_up_rotation().unwrap().phase, RotationPhase::Switching);
        assert_eq!(worth(&late, 12), (Verdict::Accepted, Verdict::Accepted));
        late.rotate(&[digest(1)], digest(3), at(13), Duration::ZERO).unwrap();
        assert_eq!(worth(&late, 13), (Verdict::Superseded, Verdict::Superseded));
        assert_eq!((late.give_up_rotation(), late.version), (None, late.version));
    }

    #[test]
    fn a_rotation_in_whose_place_another_one_is_changes_nothing() {
        let mut record = begun();
        record.begin_rotation("two", &[digest(1)], digest(3), at(11)).unwrap();
        let before = record.clone();
        let over = Err(CredentialError::RotationOver(CredentialKind::DbPassword));
        assert_eq!(record.switch_rotation("one", at(12)), over);
        assert_eq!(record.commit_rotation("one", &[], at(12), HOUR, true), over);
        assert_eq!(record.fail_rotation("one", at(12)), over);
        assert_eq!(record, before);
        record.rotate(&[], digest(4), at(13), HOUR).unwrap();
        assert_eq!(
            record.commit_rotation("two", &[], at(14), HOUR, true),
            over,
            "a rotation without steps won"
        );
    }

    #[test]
    fn a_value_that_was_used_begins_no_rotation() {
        let mut record = begun();
        let reused = Err(CredentialError::ValueReused(CredentialKind::DbPassword));
        assert_eq!(record.begin_rotation("two", &[], digest(1), at(11)), reused);
        assert_eq!(record.begin_rotation("two", &[digest(9)], digest(9), at(11)), reused);
    }

    #[test]
    fn records_of_earlier_versions_read_and_those_of_now_read_back() {
        let record = begun();
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(serde_json::from_value::<CredentialRecord>(json.clone()).unwrap(), record);
        let mut earlier = json;
        earlier.as_object_mut().unwrap().remove("pending");
        let read: CredentialRecord = serde_json::from_value(earlier).unwrap();
        assert_eq!((read.pending, read.retire_at), (None, None));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Begin,
        Switch(u8),
        Commit(u8, u64),
        Fail(u8),
        GiveUp,
        Rotate(u64),
        Wait(i64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            3 => Just(Act::Begin),
            3 => (0u8..3).prop_map(Act::Switch),
            3 => ((0u8..3), 0u64..40).prop_map(|(back, grace)| Act::Commit(back, grace)),
            1 => (0u8..3).prop_map(Act::Fail),
            1 => Just(Act::GiveUp),
            1 => (0u64..40).prop_map(Act::Rotate),
            1 => (-30i64..60).prop_map(Act::Wait),
        ];
        prop::collection::vec(act, 0..40)
    }

    proptest! {
        /// Whatever happens in whatever order, and wherever the clock goes: a value that its users have is accepted
        /// (the last one committed, or the operator's before that), each change adds one to the version, and a
        /// value that failed never passes again.
        #[test]
        fn nobody_is_ever_locked_out(acts in acts()) {
            let mut record = CredentialRecord::new(CredentialKind::DbPassword, at(0));
            record.observe_operator_value(digest(1), at(0));
            let (mut now, mut made, mut in_force) = (0, 1, 1);
            let mut failed = Vec::new();
            for act in acts {
                let name = |back: u8, made: u8| (made.saturating_sub(back)).to_string();
                let before = (record.version, record.clone());
                let value = |record: &CredentialRecord, id: &str| {
                    record.pending.as_ref().filter(|pending| pending.id == id).map(|pending| pending.digest.as_bytes()[0])
                };
                match act {
                    Act::Wait(seconds) => now += seconds,
                    Act::Begin => {
                        made += 1;
                        record.begin_rotation(&made.to_string(), &[digest(1)], digest(made), at(now)).unwrap();
                    }
                    Act::Switch(back) => drop(record.switch_rotation(&name(back, made), at(now))),
                    Act::Commit(back, grace) => {
                        let (id, grace) = (name(back, made), Duration::from_secs(grace));
                        let new = value(&record, &id);
                        if record.commit_rotation(&id, &[digest(1)], at(now), grace, true).is_ok() {
                            in_force = new.unwrap();
                        }
                    }
                    Act::Fail(back) => {
                        let id = name(back, made);
                        let new = value(&record, &id);
                        if record.fail_rotation(&id, at(now)).is_ok() {
                            failed.push(new.unwrap());
                        }
                    }
                    Act::GiveUp => drop(record.give_up_rotation()),
                    Act::Rotate(grace) => {
                        made += 1;
                        record.rotate(&[digest(1)], digest(made), at(now), Duration::from_secs(grace)).unwrap();
                        in_force = made;
                    }
                }
                prop_assert!(record.version - before.0 <= 1);
                prop_assert_eq!(record.version == before.0, record == before.1);
                let set = AcceptedSet::new(Some(&record), &[digest(1)], at(now));
                prop_assert_eq!(set.verify(&[digest(in_force)], at(now)), Verdict::Accepted);
                for value in &failed {
                    prop_assert!(!set.verify(&[digest(*value)], at(now)).is_accepted());
                }
            }
        }
    }
}
