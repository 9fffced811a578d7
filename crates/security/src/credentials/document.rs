//! The document's five credentials: verify, rotate, report.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use security_core::{StoreFault, Timestamp};
use security_credentials::{
    CredentialEvent, CredentialKind, CredentialRecord, CredentialStore, Digest, ExpirationReport,
    HistoryEntry, StrengthReport, Verdict,
};
use security_store::Renewal;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Documents, LONGEST_SECRET, UsageContext};
use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// How often a change is tried again when another process changed the same credential first.
const ATTEMPTS: usize = 8;
/// The most issued keys that a report of what ends names.
const MOST_ENDING: usize = 10_000;

/// What is known of one of the document's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CredentialStatus {
    /// Where the operator's value came from; `None` when this process has none.
    pub(crate) set_by: Option<String>,
    /// Whether any value is accepted.
    pub(crate) accepted: bool,
    /// When a rotation superseded the operator's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) superseded: Option<String>,
    /// Since when a rotation in steps has been under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rotating_since: Option<Timestamp>,
    /// From when on the value before the last rotation is to be ended where it was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retire_at: Option<Timestamp>,
}

impl Engine {
    /// Takes note of values that the operator set and nobody has seen before. Writes only then.
    pub(crate) fn observe_operator_credentials(&self) -> Result<()> {
        for (kind, _) in &self.settings.credentials {
            let known = self.documents()?;
            let digests = self.operator_digests(*kind, &known.peppers);
            if digests
                .iter()
                .all(|digest| known.record(*kind).is_some_and(|record| record.value(digest).is_some()))
            {
                continue;
            }
            let request_id = generate_request_id();
            self.change_credential(
                *kind,
                CredentialEvent::Seen,
                &request_id,
                Map::new(),
                |record, digests| {
                    record.observe_operator_values(digests, world::now());
                    Ok(())
                },
            )?;
        }
        Ok(())
    }

    /// Reads, changes and stores a record (`change` is given the digests of what the operator has set in this process); again if somebody else was faster, up to [`ATTEMPTS`] times.
    pub(super) fn change_credential(
        &self,
        kind: CredentialKind,
        event: CredentialEvent,
        request_id: &str,
        details: Map<String, Value>,
        mut change: impl FnMut(&mut CredentialRecord, &[Digest]) -> Result<()>,
    ) -> Result<CredentialRecord> {
        for _ in 0..ATTEMPTS {
            let now = world::now();
            let mut record =
                self.files.store.credential(kind)?.unwrap_or_else(|| CredentialRecord::new(kind, now));
            // After the record: what it names is known then.
            let peppers = self.peppers()?;
            let stored = record.version;
            record.renew(&self.operator_renewals(kind, &peppers));
            let before = record.version;
            change(&mut record, &self.operator_digests(kind, &peppers))?;
            if record.version == before {
                return Ok(record);
            }
            // One change of what is stored.
            record.version = stored + 1;
            let line = HistoryEntry {
                at: now,
                credential: kind.to_string(),
                event,
                request_id: request_id.to_owned(),
                details: details.clone(),
            };
            match self.files.store.save_credential(&record, &line) {
                Ok(()) => return Ok(record),
                Err(fault) if fault.is_conflict() => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(StoreFault::conflict(kind.as_str()).into())
    }

    /// Verifies one of the document's credentials. A wrong value of any shape is `false`, never an error; the
    /// use is recorded. `API_KEY` is better verified by [`Engine::verify_api_key`], which knows issued keys too.
    /// # Errors
    /// When the store cannot be read: nothing is accepted then.
    pub fn verify_credential(
        &self,
        kind: CredentialKind,
        presented: &[u8],
        context: UsageContext,
    ) -> Result<bool> {
        let verdict = self.document_verdict(kind, presented)?;
        let reason = match verdict {
            Verdict::Accepted => None,
            Verdict::InGrace => Some("in_grace"),
            Verdict::Superseded => Some("superseded"),
            Verdict::Wrong => Some("wrong"),
        };
        self.record_use(kind.as_str(), "verify", verdict.is_accepted(), reason, None, context);
        Ok(verdict.is_accepted())
    }

    pub(super) fn document_verdict(&self, kind: CredentialKind, presented: &[u8]) -> Result<Verdict> {
        let documents = self.documents()?;
        if presented.len() > LONGEST_SECRET {
            return Ok(Verdict::Wrong);
        }
        Ok(self.value_verdict(&documents, kind, presented, documents.peppers.digest(presented), world::now()))
    }

    /// What a value is, by its digest under the newest pepper and, where something is remembered under others, by those
    /// under them.
    pub(super) fn value_verdict(
        &self,
        documents: &Documents,
        kind: CredentialKind,
        presented: &[u8],
        newest: Digest,
        now: Timestamp,
    ) -> Verdict {
        let accepted = documents.accepted(kind);
        match accepted.peppers().iter().all(|pepper| *pepper == newest.pepper()) {
            true => accepted.verify(&[newest], now),
            false => self.value_verdict_under_all(documents, kind, presented, newest, now),
        }
    }

    #[cold]
    fn value_verdict_under_all(
        &self,
        documents: &Documents,
        kind: CredentialKind,
        presented: &[u8],
        newest: Digest,
        now: Timestamp,
    ) -> Verdict {
        let accepted = documents.accepted(kind);
        let digests: Vec<Digest> =
            std::iter::once(newest).chain(documents.peppers.older_digests(presented)).collect();
        let verdict = accepted.verify(&digests, now);
        if verdict == Verdict::Accepted
            && let Some(old) =
                digests.iter().skip(1).find(|old| accepted.verify(&[**old], now) == Verdict::Accepted)
        {
            self.renew_later(old, Renewal::Value { kind, old: *old, new: newest });
        }
        verdict
    }

    /// Judges a candidate's strength, and whether it is known from breaches where a filter is in place; it is neither
    /// stored nor recorded.
    /// # Errors
    /// [`Error::Invalid`] for an unknown type; [`Error::Store`] for a filter that cannot be used.
    pub fn validate_credential(&self, candidate: &[u8], credential_type: &str) -> Result<StrengthReport> {
        let kind = kind(credential_type)?;
        let mut report = security_credentials::validate(candidate, kind, &self.settings.policies.of(kind));
        if let Some(breached) = self.is_breached(candidate)? {
            report.note_breached(breached);
        }
        Ok(report)
    }

    /// When each credential that was ever set is due for rotation, and which issued keys end: the 10,000 that end
    /// first.
    /// # Errors
    /// When the store cannot be read.
    pub fn check_credential_expiration(&self) -> Result<Vec<ExpirationReport>> {
        let now = world::now();
        let documents = self.documents()?;
        let mut reports: Vec<_> = CredentialKind::ALL
            .into_iter()
            .filter_map(|kind| {
                ExpirationReport::of_record(documents.record(kind)?, &self.settings.policies.of(kind), now)
            })
            .collect();
        let warn = Duration::from_secs(
            u64::from(self.settings.policies.of(CredentialKind::ApiKey).warn_before_days) * 86_400,
        );
        let mut ending: Vec<ExpirationReport> = Vec::new();
        let soonest = |ending: &mut Vec<ExpirationReport>| {
            ending.sort_by(|a, b| a.due_at.cmp(&b.due_at).then_with(|| a.key_id.cmp(&b.key_id)));
            ending.truncate(MOST_ENDING);
        };
        self.each_live_key(&mut |key| {
            ending.extend(ExpirationReport::of_key(&key, warn, now));
            if ending.len() >= 2 * MOST_ENDING {
                soonest(&mut ending);
            }
        })?;
        soonest(&mut ending);
        reports.extend(ending);
        Ok(reports)
    }

    /// Takes note of every credential that is set here and was never seen, so that its age counts from now, and
    /// says what is known of each of the five: `{API_KEY: {created_at, last_changed_at, due_at, rotate_every_days, warn_before_days, …}, …}`.
    /// # Errors
    /// When the store cannot be written.
    pub fn init_credential_metadata(&self) -> Result<Value> {
        self.observe_operator_credentials()?;
        let documents = self.documents()?;
        let now = world::now();
        let described = CredentialKind::ALL.into_iter().map(|kind| {
            let policy = self.settings.policies.of(kind);
            let record = documents.record(kind);
            let report = record.and_then(|record| ExpirationReport::of_record(record, &policy, now));
            let described = json!({
                "created_at": record.map(|record| record.created_at),
                "last_changed_at": record.map(|record| record.last_changed_at),
                "due_at": report.as_ref().map(|report| report.due_at),
                "status": report.as_ref().map(|report| report.status),
                "planned_for": record.and_then(|record| record.rotation_planned_for),
                "rotate_every_days": policy.rotate_every_days,
                "warn_before_days": policy.warn_before_days,
                "length": policy.length,
                "complexity": policy.complexity,
            });
            (kind.to_string(), described)
        });
        Ok(Value::Object(described.collect()))
    }

    /// Plans the rotation of every credential that was ever set: at the end of its period, at once if overdue.
    /// Gives `[{credential_type, planned_for, status, …}]`; the plan is stored and shows in the reports.
    ///
    /// A credential with a hook in this process ([`crate::on_rotate`]) is rotated when its time has come, and the hook
    /// alone gets the new value; values whose grace is over are retired. So a timer may call this. Nothing else
    /// rotates by itself: whoever runs [`Engine::rotate_credential`] must bring the new value to where it is used.
    /// # Errors
    /// When the store cannot be written; [`Error::RotationFailed`] when a hook failed, after all others had their turn.
    pub fn schedule_credential_rotation(&self) -> Result<Vec<ExpirationReport>> {
        let now = world::now();
        for kind in CredentialKind::ALL {
            let policy = self.settings.policies.of(kind);
            let Some(record) = self.files.store.credential(kind)? else { continue };
            let Some(report) = ExpirationReport::of_record(&record, &policy, now) else { continue };
            let planned = report.due_at.max(now);
            if record.rotation_planned_for.is_some_and(|known| known <= planned) {
                continue;
            }
            let request_id = generate_request_id();
            let details = Map::from_iter([("planned_for".to_owned(), json!(planned))]);
            self.change_credential(
                kind,
                CredentialEvent::RotationPlanned,
                &request_id,
                details,
                |record, _| {
                    record.plan_rotation(Some(planned));
                    Ok(())
                },
            )?;
        }
        self.run_due_rotations()?;
        let reports = self.check_credential_expiration()?;
        Ok(reports.into_iter().filter(|report| report.key_id.is_none()).collect())
    }

    pub(crate) fn credential_status(&self) -> Result<BTreeMap<CredentialKind, CredentialStatus>> {
        let documents = self.documents()?;
        let notes: BTreeMap<_, _> = self.rotation_notes()?.into_iter().collect();
        let now = world::now();
        let status = CredentialKind::ALL.into_iter().map(|kind| {
            let set = self.settings.credentials.iter().find(|(known, _)| *known == kind);
            let record = documents.record(kind);
            let status = CredentialStatus {
                set_by: set.map(|(_, value)| value.source.to_string()),
                accepted: documents.accepted(kind).accepts_any(now),
                superseded: notes.get(&kind).cloned(),
                rotating_since: record.and_then(|record| Some(record.pending.as_ref()?.begun_at)),
                retire_at: record.and_then(|record| record.retire_at),
            };
            (kind, status)
        });
        Ok(status.collect())
    }

    /// For each credential whose value in this process was ended by a rotation: when.
    pub(crate) fn rotation_notes(&self) -> Result<Vec<(CredentialKind, String)>> {
        let documents = self.documents()?;
        let ended = |kind: CredentialKind| {
            let record = documents.record(kind)?;
            let ends = self
                .operator_digests(kind, &documents.peppers)
                .into_iter()
                .map(|digest| record.value(&digest)?.superseded_at);
            ends.max().flatten().map(|at| (kind, format!("superseded by rotation at {at}")))
        };
        Ok(CredentialKind::ALL.into_iter().filter_map(ended).collect())
    }
}

pub(crate) fn kind(credential_type: &str) -> Result<CredentialKind> {
    CredentialKind::from_str(credential_type).map_err(|error| Error::invalid("credential_type", error))
}
