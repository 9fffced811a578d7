//! What a rule that matched leaves behind.

use security_core::{Severity, StoreFault, Timestamp, redact_tokens};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{RuleMatch, mask};

/// One alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// `alert-` and a UUID.
    pub id: String,
    /// When the rule matched.
    pub at: Timestamp,
    /// The rule's id.
    pub rule_id: String,
    /// The rule's name.
    pub rule_name: String,
    /// The rule's severity.
    pub severity: Severity,
    /// The severity as a score, 0 to 80.
    pub score: u8,
    /// What the rule says of itself.
    pub description: String,
    /// What matched: field, value (shortened), and how.
    pub evidence: Vec<Evidence>,
    /// The rule's tags.
    pub tags: Vec<String>,
    /// What the rule says should be done.
    pub recommendations: Vec<String>,
    /// What the caller said about the event (request id, client address, …).
    pub context: Map<String, Value>,
}

/// One thing that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Dotted path of the field; empty for the event as a whole.
    pub field: String,
    /// The value found, shortened to 200 characters.
    pub value: String,
    /// `pattern`, `ioc` or `condition`.
    pub detection: String,
    /// What it was compared with.
    pub matched: String,
}

impl Alert {
    /// The alert of a match. Values in `context` are shortened, and those that a name marks as secret are
    /// masked, as the evidence is already.
    pub fn from_match(found: &RuleMatch, context: &Map<String, Value>, id: String, now: Timestamp) -> Self {
        let rule = &found.rule;
        Self {
            id,
            at: now,
            rule_id: rule.id.clone(),
            rule_name: rule.name.clone(),
            severity: rule.severity,
            score: rule.severity.score(),
            description: rule.description.clone(),
            evidence: found.evidence.clone(),
            tags: rule.tags.clone(),
            recommendations: rule.recommendations.clone(),
            context: context
                .iter()
                .take(MAX_CONTEXT)
                .map(|(key, value)| (name_of(key), shown(key, value, 0)))
                .collect(),
        }
    }
}

/// The most entries of a context, and of each list and object in it.
const MAX_CONTEXT: usize = 50;

fn name_of(key: &str) -> String {
    redact_tokens(key).chars().take(100).collect()
}

fn shown(path: &str, value: &Value, depth: usize) -> Value {
    if mask::is_secret(path) && !value.is_null() {
        return Value::String("****".to_owned());
    }
    match value {
        Value::String(text) => Value::String(mask::shown(path, text, 0, 0)),
        Value::Array(_) | Value::Object(_) if depth >= 4 => Value::String("…".to_owned()),
        Value::Array(items) => {
            Value::Array(items.iter().take(MAX_CONTEXT).map(|item| shown(path, item, depth + 1)).collect())
        }
        Value::Object(map) => Value::Object(
            map.iter()
                .take(MAX_CONTEXT)
                .map(|(key, item)| (name_of(key), shown(key, item, depth + 1)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// Keeps alerts for queries; the tamper-evident copy is the journal's.
pub trait AlertStore: Send + Sync {
    /// Adds alerts in one transaction.
    fn save_alerts(&self, alerts: &[Alert]) -> Result<(), StoreFault>;

    /// The newest alerts, of exactly this severity if one is given.
    fn recent_alerts(&self, severity: Option<Severity>, limit: usize) -> Result<Vec<Alert>, StoreFault>;

    /// Number of alerts by severity.
    fn count_alerts(&self) -> Result<Vec<(Severity, u64)>, StoreFault>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rule, RuleSet};
    use security_core::Limits;
    use serde_json::json;

    #[test]
    fn an_alert_tells_what_matched_and_keeps_secrets() {
        let rule = json!({
            "id": "r1", "name": "Probe", "severity": "high", "tags": ["web"], "recommendations": ["look at it"],
            "detection": {"condition": [
                {"field": "path", "contains": "/admin"}, {"field": "headers.Authorization", "contains": "Bearer"},
            ]},
        });
        let rule = Rule::from_value(&rule, Timestamp::EPOCH).unwrap();
        let (set, problems) = RuleSet::compile([rule]);
        assert_eq!(problems, []);
        let event = json!({"path": format!("/admin/{}", "x".repeat(900)), "headers": {"Authorization": "Bearer abc"}});
        let found = set.evaluate(&event, &Limits::DEFAULT).matches.remove(0);
        let context = json!({"client_ip": "192.0.2.1", "api_key": "sk_1", "deep": {"password": "p"}, "n": 1});
        let alert =
            Alert::from_match(&found, context.as_object().unwrap(), "alert-1".to_owned(), Timestamp::EPOCH);
        assert_eq!((alert.rule_id.as_str(), alert.score), ("r1", 60));
        assert_eq!(alert.evidence.len(), 2);
        assert_eq!(alert.evidence[0].value.chars().count(), 199);
        assert_eq!(alert.evidence[1].value, "****");
        assert_eq!(alert.evidence[1].field, "headers.Authorization");
        let expected =
            json!({"client_ip": "192.0.2.1", "api_key": "****", "deep": {"password": "****"}, "n": 1});
        assert_eq!(Value::Object(alert.context.clone()), expected);
        let text = serde_json::to_string(&alert).unwrap();
        assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), alert);
    }
}
