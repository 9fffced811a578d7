//! What is remembered of the document's credentials: every value ever seen, as a digest, and what became of it.

use std::time::Duration;

use security_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CredentialError, CredentialKind, Digest, PendingRotation, PepperVersion};

/// Where an accepted value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The environment, a mounted file or the configuration: accepted only where it is set.
    Operator,
    /// A rotation: accepted in every process, until it is superseded.
    Rotation,
}

/// One value of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownValue {
    /// The value's digest under the pepper.
    pub digest: Digest,
    /// Who set it.
    pub origin: Origin,
    /// When it was first seen or made.
    pub first_seen: Timestamp,
    /// When a rotation ended it; `None` while it is in force.
    pub superseded_at: Option<Timestamp>,
    /// Until when it is accepted all the same, the rotation's grace; `None` is not at all. Meaningless while it is
    /// in force.
    pub accepted_until: Option<Timestamp>,
}

/// All that is stored of one of the document's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialRecord {
    /// Which one.
    pub kind: CredentialKind,
    /// Count of changes; a change is made only on top of the version it was read at. `0` is a record that was
    /// never stored; each method that changes something adds one, so store the record after each.
    pub version: u64,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When the value last changed: the later of the last rotation and the last new operator value.
    pub last_changed_at: Timestamp,
    /// When the next rotation was planned for, if somebody planned one.
    pub rotation_planned_for: Option<Timestamp>,
    /// A rotation in steps that is under way, or was left behind by a process that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingRotation>,
    /// From when on the value before the last rotation is to be ended where it was used; `None` once that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire_at: Option<Timestamp>,
    /// Every value seen, newest last, at most [`CredentialRecord::MAX_VALUES`].
    pub values: Vec<KnownValue>,
}

/// What a value that the operator set turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Never seen before: recorded, and accepted from now on.
    New,
    /// In force already.
    Known,
    /// Ended by a rotation: refused, or accepted for the rest of its grace.
    Superseded,
}

/// A value that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The value's digest.
    pub digest: Digest,
    /// The end of its grace, from which on it is refused; `None` while it is in force.
    pub until: Option<Timestamp>,
    /// Whether it is superseded and only its grace lets it pass.
    pub in_grace: bool,
}

impl KnownValue {
    /// Whether no rotation has ended it.
    pub fn in_force(&self) -> bool {
        self.superseded_at.is_none()
    }

    /// Whether a rotation has ended it and its grace is not over yet.
    pub fn in_grace(&self, now: Timestamp) -> bool {
        let grace = self.superseded_at.zip(self.accepted_until);
        grace.is_some_and(|(since, until)| grace_holds(since, until, now))
    }

    /// Whether it is accepted in a process where it is set by the operator, or is not.
    pub(crate) fn accepted(&self, set_here: bool, now: Timestamp) -> bool {
        (set_here || self.origin == Origin::Rotation) && (self.in_force() || self.in_grace(now))
    }
}

/// Whether a grace holds. A clock that goes back by more than the grace is long ends it: a rotation done while the
/// clock ran years ahead would otherwise leave the old value open for years.
pub(crate) fn grace_holds(since: Timestamp, until: Timestamp, now: Timestamp) -> bool {
    since.minus(until.since(since)) <= now && now < until
}

impl CredentialRecord {
    /// The most values remembered.
    ///
    /// Beyond it the oldest value is forgotten whose return does the least harm: first those that rotations made
    /// and superseded (nobody has them in an environment), then superseded ones of the operator, then ones of
    /// the operator that are in force. A forgotten value counts as never seen, so a thousand later values is how
    /// far back an old environment stays refused.
    pub const MAX_VALUES: usize = 1000;

    /// The record of a credential of which nothing is known yet; version 0.
    pub fn new(kind: CredentialKind, now: Timestamp) -> Self {
        Self {
            kind,
            version: 0,
            created_at: now,
            last_changed_at: now,
            rotation_planned_for: None,
            pending: None,
            retire_at: None,
            values: Vec::new(),
        }
    }

    /// What is known of a value.
    pub fn value(&self, digest: &Digest) -> Option<&KnownValue> {
        self.values.iter().find(|value| value.digest == *digest)
    }

    /// The peppers that recognising its values needs.
    pub fn peppers(&self) -> impl Iterator<Item = PepperVersion> {
        let values = self.values.iter().map(|value| value.digest.pepper());
        values.chain(self.pending.as_ref().map(|pending| pending.digest.pepper()))
    }

    /// Puts digests of the same values under another pepper in the place of old ones: pairs of old and new. Whether
    /// anything changed; the version grows then.
    pub fn renew(&mut self, pairs: &[(Digest, Digest)]) -> bool {
        let mut is_changed = false;
        for (old, new) in pairs {
            if self.value(new).is_some() {
                continue;
            }
            let pending = self.pending.as_mut().map(|pending| &mut pending.digest);
            for digest in self.values.iter_mut().map(|value| &mut value.digest).chain(pending) {
                if *digest == *old {
                    *digest = *new;
                    is_changed = true;
                }
            }
        }
        self.version += u64::from(is_changed);
        is_changed
    }

    /// Forgets the values whose digests only a pepper can tell that is given up; whether there were any. The version
    /// grows then.
    pub fn forget_under(&mut self, pepper: PepperVersion) -> bool {
        let before = self.values.len();
        self.values.retain(|value| value.digest.pepper() != pepper);
        let is_changed = before != self.values.len();
        self.version += u64::from(is_changed);
        is_changed
    }

    /// Takes note of a value that the operator has set. The version grows if, and only if, it is new.
    pub fn observe_operator_value(&mut self, digest: Digest, now: Timestamp) -> Observed {
        let observed = self.observe(digest, now);
        self.version += u64::from(observed == Observed::New);
        observed
    }

    /// Likewise for all values set in a process (the variable and its file), as one change.
    pub fn observe_operator_values(&mut self, digests: &[Digest], now: Timestamp) -> Vec<Observed> {
        let observed: Vec<_> = digests.iter().map(|digest| self.observe(*digest, now)).collect();
        self.version += u64::from(observed.contains(&Observed::New));
        observed
    }

    fn observe(&mut self, digest: Digest, now: Timestamp) -> Observed {
        match self.value(&digest) {
            Some(value) if value.in_force() => Observed::Known,
            Some(_) => Observed::Superseded,
            None => {
                self.push(digest, Origin::Operator, now);
                Observed::New
            }
        }
    }

    /// Makes `new` the value in force. Every other one, recorded or among `operator_digests` (those set in this
    /// process), is superseded and accepted for `grace` longer; zero is not at all. A grace that an earlier
    /// rotation gave is cut to the new one, never made longer. A planned rotation is done with
    /// this, and one in steps that was left behind is given up.
    /// # Errors
    /// [`CredentialError::ValueReused`] when `new` was seen before.
    pub fn rotate(
        &mut self,
        operator_digests: &[Digest],
        new: Digest,
        now: Timestamp,
        grace: Duration,
    ) -> Result<(), CredentialError> {
        self.refuse_reuse(operator_digests, &new)?;
        self.supersede(operator_digests, now, grace);
        self.push(new, Origin::Rotation, now);
        self.rotation_planned_for = None;
        self.pending = None;
        self.version += 1;
        Ok(())
    }

    /// Refuses a new value that was seen before, or is under way already.
    pub(crate) fn refuse_reuse(
        &self,
        operator_digests: &[Digest],
        new: &Digest,
    ) -> Result<(), CredentialError> {
        let pending = self.pending.as_ref().is_some_and(|pending| pending.digest == *new);
        if self.value(new).is_some() || operator_digests.contains(new) || pending {
            return Err(CredentialError::ValueReused(self.kind));
        }
        Ok(())
    }

    /// Ends all values for `grace` at most, those of the operator among them.
    pub(crate) fn supersede(&mut self, operator_digests: &[Digest], now: Timestamp, grace: Duration) {
        for digest in operator_digests {
            self.observe(*digest, now);
        }
        // Without grace a value ends for ever, also if the clock is set back afterwards.
        let until = (!grace.is_zero()).then(|| now.plus(grace));
        for value in &mut self.values {
            if value.in_force() {
                value.superseded_at = Some(now);
                value.accepted_until = until;
            } else {
                value.accepted_until = value.accepted_until.zip(until).map(|(earlier, new)| earlier.min(new));
            }
        }
    }

    /// Plans the next rotation, or takes the plan back with `None`. The version grows if that is a change.
    pub fn plan_rotation(&mut self, at: Option<Timestamp>) {
        self.version += u64::from(self.rotation_planned_for != at);
        self.rotation_planned_for = at;
    }

    /// All values that are accepted in a process where the operator has set `operator_digests`.
    ///
    /// Values that a rotation made are accepted everywhere while they are in force or in grace; the operator's
    /// only where they are set. A value that is set but not recorded is accepted: it is new, or there was no
    /// store to record it in.
    pub fn accepted(&self, operator_digests: &[Digest], now: Timestamp) -> Vec<Accepted> {
        let known = self.values.iter().filter(|value| {
            let set_here = operator_digests.contains(&value.digest);
            value.accepted(set_here, now)
        });
        let known = known.map(|value| Accepted {
            digest: value.digest,
            until: if value.in_force() { None } else { value.accepted_until },
            in_grace: !value.in_force(),
        });
        let mut accepted: Vec<Accepted> = known.collect();
        for digest in operator_digests {
            let repeated = accepted.iter().any(|one| one.digest == *digest);
            if self.value(digest).is_none() && !repeated {
                accepted.push(Accepted { digest: *digest, until: None, in_grace: false });
            }
        }
        accepted
    }

    pub(crate) fn push(&mut self, digest: Digest, origin: Origin, now: Timestamp) {
        let value = KnownValue { digest, origin, first_seen: now, superseded_at: None, accepted_until: None };
        self.values.push(value);
        self.last_changed_at = now;
        while self.values.len() > Self::MAX_VALUES {
            let ended = |value: &KnownValue| !value.in_force() && !value.in_grace(now);
            let oldest = |wanted: &dyn Fn(&KnownValue) -> bool| self.values.iter().position(wanted);
            let forgotten = oldest(&|value| ended(value) && value.origin == Origin::Rotation)
                .or_else(|| oldest(&ended))
                .or_else(|| oldest(&|value| value.in_force() && value.origin == Origin::Operator))
                .unwrap_or(0);
            self.values.remove(forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u16) -> Digest {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        Digest::from_bytes(bytes)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn accepted(record: &CredentialRecord, set: &[Digest], now: Timestamp) -> Vec<(Digest, bool)> {
        record.accepted(set, now).into_iter().map(|one| (one.digest, one.in_grace)).collect()
    }

    const NONE: Duration = Duration::ZERO;
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_new_operator_value_is_recorded_once() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        assert_eq!(record.observe_operator_value(digest(1), at(5)), Observed::New);
        assert_eq!(record.observe_operator_value(digest(1), at(9)), Observed::Known);
        assert_eq!((record.version, record.last_changed_at, record.values.len()), (1, at(5), 1));
    }

    #[test]
    fn a_value_under_another_pepper_stays_the_value_that_it_is() {
        let two = PepperVersion::new(2).unwrap();
        let renewed = |number: u8| Digest::under(two, [number; 32]);
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.observe_operator_values(&[digest(1), digest(2)], at(0));
        record.rotate(&[], digest(3), at(1), NONE).unwrap();
        record.begin_rotation("r", &[], digest(4), at(2)).unwrap();
        let pairs = [(digest(1), renewed(1)), (digest(4), renewed(4)), (digest(9), renewed(9))];
        let version = record.version;
        assert!(record.renew(&pairs) && !record.renew(&pairs), "once");
        assert_eq!(record.version, version + 1);
        assert_eq!(record.observe_operator_value(renewed(1), at(3)), Observed::Superseded);
        assert_eq!(record.pending.as_ref().unwrap().digest, renewed(4));
        assert_eq!(record.peppers().filter(|pepper| *pepper == two).count(), 2);
        assert!(record.forget_under(PepperVersion::FIRST) && !record.forget_under(PepperVersion::FIRST));
        assert_eq!(record.values.len(), 1);
    }

    #[test]
    fn several_values_are_one_change() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        let observed = record.observe_operator_values(&[digest(1), digest(2), digest(1)], at(1));
        assert_eq!(observed, [Observed::New, Observed::New, Observed::Known]);
        assert_eq!(record.version, 1);
        record.observe_operator_values(&[digest(2)], at(2));
        assert_eq!(record.version, 1);
    }

    #[test]
    fn an_operators_value_is_accepted_where_it_is_set() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.observe_operator_values(&[digest(1), digest(2)], at(0));
        assert_eq!(accepted(&record, &[digest(1)], at(1)), [(digest(1), false)]);
        assert_eq!(accepted(&record, &[], at(1)), []);
        assert_eq!(accepted(&record, &[digest(9), digest(9)], at(1)), [(digest(9), false)]);
    }

    #[test]
    fn a_rotation_without_grace_ends_everything_at_once() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.observe_operator_value(digest(1), at(0));
        // digest(2) is set in this process and was never recorded: it ends all the same.
        record.rotate(&[digest(1), digest(2)], digest(3), at(10), NONE).unwrap();
        assert_eq!(accepted(&record, &[digest(1), digest(2)], at(10)), [(digest(3), false)]);
        assert_eq!(record.observe_operator_value(digest(2), at(11)), Observed::Superseded);
        assert_eq!(record.version, 2);
        record.rotate(&[digest(1)], digest(4), at(20), NONE).unwrap();
        assert_eq!(accepted(&record, &[digest(1)], at(20)), [(digest(4), false)]);
    }

    #[test]
    fn grace_ends_exactly_when_it_ends() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[], digest(1), at(0), NONE).unwrap();
        record.rotate(&[], digest(2), at(0), HOUR).unwrap();
        assert_eq!(accepted(&record, &[], at(3599)), [(digest(1), true), (digest(2), false)]);
        assert_eq!(record.accepted(&[], at(3599))[0].until, Some(at(3600)));
        assert_eq!(accepted(&record, &[], at(3600)), [(digest(2), false)]);
    }

    #[test]
    fn a_later_rotation_cuts_an_earlier_grace_and_never_lengthens_it() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[], digest(1), at(0), NONE).unwrap();
        record.rotate(&[], digest(2), at(0), HOUR).unwrap();
        record.rotate(&[], digest(3), at(1800), HOUR * 10).unwrap();
        assert_eq!(accepted(&record, &[], at(3600)), [(digest(2), true), (digest(3), false)]);
        record.rotate(&[], digest(4), at(3700), NONE).unwrap();
        assert_eq!(accepted(&record, &[], at(3700)), [(digest(4), false)]);
    }

    #[test]
    fn an_endless_grace_stops_at_the_end_of_time() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[digest(1)], digest(2), at(0), Duration::MAX).unwrap();
        assert_eq!(record.values[0].accepted_until, Some(Timestamp::MAX));
        assert_eq!(accepted(&record, &[digest(1)], at(1)), [(digest(1), true), (digest(2), false)]);
    }

    #[test]
    fn a_clock_that_was_years_ahead_leaves_no_value_open_for_years() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        let ahead = 250_000_000_000;
        record.rotate(&[digest(1)], digest(2), at(ahead), HOUR).unwrap();
        assert_eq!(accepted(&record, &[digest(1)], at(ahead + 1)), [(digest(1), true), (digest(2), false)]);
        assert_eq!(accepted(&record, &[digest(1)], at(ahead - 60)), [(digest(1), true), (digest(2), false)]);
        assert_eq!(accepted(&record, &[digest(1)], at(0)), [(digest(2), false)]);
    }

    #[test]
    fn after_a_rotation_the_operator_may_speak_again() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[digest(1)], digest(2), at(0), NONE).unwrap();
        assert_eq!(record.observe_operator_value(digest(3), at(1)), Observed::New);
        assert_eq!(accepted(&record, &[digest(3)], at(1)), [(digest(2), false), (digest(3), false)]);
        assert_eq!(record.observe_operator_value(digest(2), at(2)), Observed::Known, "the made value, set");
    }

    #[test]
    fn a_value_that_was_used_is_never_made_the_new_one() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.observe_operator_value(digest(1), at(0));
        let before = record.clone();
        let refused = Err(CredentialError::ValueReused(CredentialKind::ApiKey));
        assert_eq!(record.rotate(&[], digest(1), at(1), NONE), refused);
        assert_eq!(record.rotate(&[digest(2)], digest(2), at(1), NONE), refused);
        assert_eq!(record, before);
    }

    #[test]
    fn a_plan_is_a_change_and_a_rotation_fulfils_it() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.plan_rotation(Some(at(100)));
        record.plan_rotation(Some(at(100)));
        assert_eq!((record.version, record.rotation_planned_for), (1, Some(at(100))));
        record.rotate(&[], digest(1), at(100), NONE).unwrap();
        assert_eq!((record.version, record.rotation_planned_for), (2, None));
    }

    #[test]
    fn what_rotations_made_is_forgotten_before_what_the_operator_set() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[digest(60_000)], digest(0), at(0), NONE).unwrap();
        for number in 1..1200 {
            record.rotate(&[], digest(number), at(i64::from(number)), NONE).unwrap();
        }
        assert_eq!(record.values.len(), CredentialRecord::MAX_VALUES);
        assert_eq!(record.observe_operator_value(digest(60_000), at(2000)), Observed::Superseded);
        assert!(record.value(&digest(0)).is_none());
        assert_eq!(accepted(&record, &[], at(2000)), [(digest(1199), false)]);
    }

    #[test]
    fn the_value_in_force_outlives_any_number_of_operator_values() {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, at(0));
        record.rotate(&[], digest(0), at(0), NONE).unwrap();
        for number in 1..1200 {
            record.observe_operator_value(digest(number), at(i64::from(number)));
        }
        assert_eq!(record.values.len(), CredentialRecord::MAX_VALUES);
        assert_eq!(accepted(&record, &[], at(2000)), [(digest(0), false)]);
    }

    #[test]
    fn what_is_stored_reads_back() {
        let mut record = CredentialRecord::new(CredentialKind::DbPassword, at(0));
        record.rotate(&[digest(1)], digest(2), at(1), HOUR).unwrap();
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<CredentialRecord>(&json).unwrap(), record);
    }
}
