//! The audit trail: who did what to the engine.

use security_core::redact_tokens;
use security_store::Stream;
use serde_json::{Map, Value, json};

use crate::{Engine, Result, world};

/// Which records of the audit trail are wanted: every given field must be equal.
pub type AuditFilter = Map<String, Value>;

impl Engine {
    /// Runs an administrative act that must not happen unrecorded: the record is durable before the act begins,
    /// and a failed act is followed by a record of its failure.
    pub(crate) fn audited<T>(
        &self,
        event: &str,
        request_id: &str,
        details: Value,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.files.journal.append_durable(Stream::Audit, &record(event, request_id, "begun", &details))?;
        let done = act().inspect_err(|error| {
            let failed = json!({"event": event, "error": error.to_string()});
            self.files.journal.append(Stream::Audit, &record("act_failed", request_id, "failure", &failed));
        });
        self.write_audit_head();
        done
    }

    /// Records a change of data; durable with the journal's next group commit.
    pub(crate) fn audit(&self, event: &str, request_id: &str, details: Value) {
        self.files.journal.append(Stream::Audit, &record(event, request_id, "success", &details));
    }

    /// The newest records of the audit trail whose fields equal the filter's.
    /// # Errors
    /// When the journal cannot be read.
    pub fn audit_log(&self, limit: usize, filter: &AuditFilter) -> Result<Vec<Value>> {
        let mut wanted = |record: &Value| {
            filter
                .iter()
                .all(|(name, value)| record.get(name).or_else(|| record["details"].get(name)) == Some(value))
        };
        Ok(self.files.journal.newest(Stream::Audit, limit, &mut wanted)?)
    }
}

/// A record: when, who, what, in which process, how it went. An act is `begun` when it is recorded; when it fails,
/// `act_failed` with the same request id follows. Text is JSON: no value makes a second line or a second field.
///
/// No token of ours is recorded whole, wherever an operator pasted one.
pub(super) fn record(event: &str, request_id: &str, outcome: &str, details: &Value) -> Value {
    json!({
        "at": world::now(),
        "event": event,
        "outcome": outcome,
        "request_id": redact_tokens(request_id),
        "actor": world::actor(),
        "host": world::host(),
        "process": std::process::id(),
        "details": redacted(details),
    })
}

/// The same with the secret part of every token of ours taken out.
pub(crate) fn redacted(details: &Value) -> Value {
    match details {
        Value::String(text) => Value::String(redact_tokens(text).into_owned()),
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (redact_tokens(name).into_owned(), redacted(value))).collect()
        }
        other => other.clone(),
    }
}
