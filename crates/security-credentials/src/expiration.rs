//! Which credentials are due for rotation, and which keys end soon.

use std::time::Duration;

use security_core::Timestamp;
use serde::Serialize;

use crate::{CredentialRecord, IssuedKey, RotationPolicy};

/// How near a credential's due date is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpirationStatus {
    /// Nothing to do.
    Ok,
    /// Nothing to do; somebody has planned the rotation.
    Planned,
    /// Due within the time of warning.
    DueSoon,
    /// Due now, or since some time.
    Overdue,
}

/// When a credential is due, and what to say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpirationReport {
    /// `API_KEY` and its like, or `ISSUED_KEY`.
    pub credential_type: String,
    /// The issued key's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// How near it is.
    pub status: ExpirationStatus,
    /// When the value last changed, or the key was issued.
    pub last_changed_at: Timestamp,
    /// When the next rotation is due, or the key ends.
    pub due_at: Timestamp,
    /// Whole days left, rounded down; below zero once overdue by any time at all.
    pub days_left: i64,
    /// A sentence about it.
    pub message: String,
}

const DAY: Duration = Duration::from_secs(86_400);

impl ExpirationReport {
    /// When a credential of the document is due: `rotate_every_days` after its last change, or when its
    /// rotation is planned for, whichever comes first. `None` when no value was ever seen.
    pub fn of_record(record: &CredentialRecord, policy: &RotationPolicy, now: Timestamp) -> Option<Self> {
        if record.values.is_empty() {
            return None;
        }
        let by_policy = record.last_changed_at.plus(DAY * policy.rotate_every_days);
        let planned = record.rotation_planned_for;
        let due_at = planned.map_or(by_policy, |planned| planned.min(by_policy));
        let name = record.kind.as_str();
        let days_left = days_between(now, due_at);
        let status = match status(due_at, DAY * policy.warn_before_days, now) {
            ExpirationStatus::Ok if planned.is_some() => ExpirationStatus::Planned,
            status => status,
        };
        let message = match status {
            ExpirationStatus::Ok => format!("{name} is due for rotation in {}", days(days_left)),
            ExpirationStatus::Planned => format!("{name} is planned for rotation in {}", days(days_left)),
            ExpirationStatus::DueSoon => {
                format!("{name} is due for rotation in {}: rotate it", days(days_left))
            }
            ExpirationStatus::Overdue => {
                format!("{name} has been due for rotation for {}: rotate it now", overdue(due_at, now))
            }
        };
        Some(Self {
            credential_type: name.to_owned(),
            key_id: None,
            status,
            last_changed_at: record.last_changed_at,
            due_at,
            days_left,
            message,
        })
    }

    /// When an issued key ends, with a warning from `warn` before. `None` when it never ends or is revoked.
    pub fn of_key(key: &IssuedKey, warn: Duration, now: Timestamp) -> Option<Self> {
        let due_at = key.expires_at.filter(|_| key.revoked.is_none())?;
        let days_left = days_between(now, due_at);
        let status = status(due_at, warn, now);
        let subject = format!("key {} ({})", key.id, key.name);
        let message = match status {
            ExpirationStatus::Overdue => format!("{subject} expired {} ago", overdue(due_at, now)),
            _ => format!("{subject} expires in {}", days(days_left)),
        };
        Some(Self {
            credential_type: "ISSUED_KEY".to_owned(),
            key_id: Some(key.id.clone()),
            status,
            last_changed_at: key.created_at,
            due_at,
            days_left,
            message,
        })
    }
}

fn status(due_at: Timestamp, warn: Duration, now: Timestamp) -> ExpirationStatus {
    if now >= due_at {
        ExpirationStatus::Overdue
    } else if due_at.since(now) <= warn {
        ExpirationStatus::DueSoon
    } else {
        ExpirationStatus::Ok
    }
}

fn days_between(now: Timestamp, due_at: Timestamp) -> i64 {
    (due_at.as_micros() - now.as_micros()).div_euclid(86_400_000_000)
}

fn days(count: i64) -> String {
    match count {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        _ => format!("{count} days"),
    }
}

fn overdue(due_at: Timestamp, now: Timestamp) -> String {
    days(days_between(due_at, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CredentialKind, Digest, KeyDraft};

    fn day(days: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + days * 86_400)
    }

    fn record() -> CredentialRecord {
        let mut record = CredentialRecord::new(CredentialKind::ApiKey, day(0));
        record.observe_operator_value(Digest::from_bytes([1; 32]), day(0));
        record
    }

    fn report(record: &CredentialRecord, now: Timestamp) -> (ExpirationStatus, i64, String) {
        let policy = RotationPolicy::of(CredentialKind::ApiKey);
        let report = ExpirationReport::of_record(record, &policy, now).unwrap();
        (report.status, report.days_left, report.message)
    }

    #[test]
    fn a_credential_goes_from_ok_to_overdue() {
        let record = record();
        let just_before = |time: Timestamp| time.minus(Duration::from_micros(1));
        assert_eq!(
            report(&record, day(0)),
            (ExpirationStatus::Ok, 90, "API_KEY is due for rotation in 90 days".into())
        );
        assert_eq!(report(&record, just_before(day(76))).0, ExpirationStatus::Ok);
        assert_eq!(
            report(&record, day(76)),
            (ExpirationStatus::DueSoon, 14, "API_KEY is due for rotation in 14 days: rotate it".into())
        );
        assert_eq!(report(&record, just_before(day(90))).0, ExpirationStatus::DueSoon);
        assert_eq!(report(&record, just_before(day(90))).1, 0);
        assert_eq!(
            report(&record, day(90)),
            (
                ExpirationStatus::Overdue,
                0,
                "API_KEY has been due for rotation for less than a day: rotate it now".into()
            )
        );
        assert_eq!(report(&record, day(92)).1, -2);
        assert!(report(&record, day(92)).2.contains("for 2 days"));
    }

    #[test]
    fn a_plan_can_only_make_it_earlier() {
        let mut record = record();
        record.plan_rotation(Some(day(30)));
        assert_eq!(
            report(&record, day(0)),
            (ExpirationStatus::Planned, 30, "API_KEY is planned for rotation in 30 days".into())
        );
        assert_eq!(report(&record, day(30)).0, ExpirationStatus::Overdue);
        record.plan_rotation(Some(day(500)));
        assert_eq!(report(&record, day(0)).1, 90);
    }

    #[test]
    fn a_rotation_starts_the_time_anew() {
        let mut record = record();
        record.rotate(&[], Digest::from_bytes([2; 32]), day(80), Duration::ZERO).unwrap();
        assert_eq!(report(&record, day(80)).1, 90);
    }

    #[test]
    fn a_credential_never_set_has_no_due_date() {
        let record = CredentialRecord::new(CredentialKind::ApiKey, day(0));
        let policy = RotationPolicy::of(CredentialKind::ApiKey);
        assert_eq!(ExpirationReport::of_record(&record, &policy, day(900)), None);
    }

    #[test]
    fn issued_keys_end_when_they_end() {
        let draft = KeyDraft { expires_at: Some(day(10)), ..KeyDraft::new("partner") };
        let mut key =
            IssuedKey::issue(draft, "0123456789abcdefg", Digest::from_bytes([1; 32]), day(0)).unwrap();
        let report = |key: &IssuedKey, now| ExpirationReport::of_key(key, DAY * 3, now);
        assert_eq!(report(&key, day(0)).unwrap().status, ExpirationStatus::Ok);
        assert_eq!(report(&key, day(7)).unwrap().status, ExpirationStatus::DueSoon);
        let ended = report(&key, day(11)).unwrap();
        assert_eq!(ended.status, ExpirationStatus::Overdue);
        assert_eq!(ended.message, "key 0123456789abcdefg (partner) expired 1 day ago");
        let json = serde_json::to_value(&ended).unwrap();
        assert_eq!((&json["status"], &json["days_left"]), (&"overdue".into(), &(-1).into()));
        key.revoke(day(1), "left").unwrap();
        assert_eq!(report(&key, day(7)), None);
        key.revoked = None;
        key.expires_at = None;
        assert_eq!(report(&key, day(7)), None);
    }
}
