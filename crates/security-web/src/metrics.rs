//! What is counted of requests, and how Prometheus reads it.
//!
//! Source: the text format of Prometheus, version 0.0.4.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    Action, Decision, PathClass, PathSet, WebError, decision::CREDENTIAL_CATEGORY, error::shortened,
};

/// What is configured about metrics: the table `web.metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsPolicy {
    /// The path that answers with the metrics of the host, to trusted networks alone; unset by default, and then
    /// nothing is counted.
    #[serde(deserialize_with = "one_path")]
    pub path: Option<PathSet>,
}

impl MetricsPolicy {
    /// Whether a path is the one of the metrics, exactly as it is written.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.path
            .as_ref()
            .is_some_and(|known| PathSet::classify(known, &PathSet::default(), path) == PathClass::Exempt)
    }
}

fn one_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathSet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a path")]
    enum Written {
        One(String),
        // As it is written out again.
        Many(Vec<String>),
    }
    let Some(written) = Option::<Written>::deserialize(deserializer)? else { return Ok(None) };
    let paths = match written {
        Written::One(path) => vec![path],
        Written::Many(paths) => paths,
    };
    match paths.as_slice() {
        [path] if path != "/" => PathSet::of([path]).map(Some).map_err(de::Error::custom),
        other => Err(de::Error::custom(WebError::NotAPath(shortened(&other.join(", "))))),
    }
}

/// When a decision was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before a view is asked.
    Request,
    /// When the body was there.
    Body,
    /// When a view asked for a key.
    Key,
}

/// Why requests are turned away, as metrics tell them apart. The last one is whatever else there may be.
const REASONS: [&str; 17] = [
    "conflicting-credentials",
    "credential-missing",
    "credential-invalid",
    "scope-missing",
    "network-not-allowed",
    "forbidden-path",
    "banned",
    "body-too-large",
    "body-late",
    "body-unreadable",
    "length-required",
    "rate-limited",
    "locked-out",
    "listed-indicator",
    "rule",
    "payload",
    "other",
];
const STAGES: [(Stage, &str); 3] = [(Stage::Request, "request"), (Stage::Body, "body"), (Stage::Key, "key")];
/// The upper bounds of the histogram, in microseconds.
const BOUNDS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 20_000];

/// Where the counters lie: those of the stages, of the shadow, of the histogram and its sum.
const ALLOWED: usize = 0;
const REFUSED: usize = 1;
const SHADOWED: usize = REFUSED + STAGES.len() * REASONS.len();
const LATENCY: usize = SHADOWED + REASONS.len();
const LATENCY_NANOS: usize = LATENCY + BOUNDS.len() + 1;

/// How many counters are needed.
pub const METRIC_COUNTERS: usize = LATENCY_NANOS + 1;

/// The counter that a decision adds one to; of those at a later stage only refusals count.
pub fn decision_counter(stage: Stage, decision: &Decision) -> Option<usize> {
    if let Some(body) = &decision.body {
        return Some(REFUSED + stage as usize * REASONS.len() + reason(body.error, decision));
    }
    match (stage, decision.shadowed()) {
        (Stage::Request | Stage::Body, Some(shadowed)) => Some(SHADOWED + reason(&shadowed.id, decision)),
        (Stage::Request, None) => Some(ALLOWED),
        _ => None,
    }
}

/// The counters that a judgement of so many nanoseconds adds to: its bucket, by one, and the sum, by the time.
pub fn latency_counters(nanos: u64) -> (usize, usize) {
    let bucket = BOUNDS.iter().position(|bound| nanos <= bound * 1_000).unwrap_or(BOUNDS.len());
    (LATENCY + bucket, LATENCY_NANOS)
}

/// What the caller is told alike, the operator is told apart: by what was found last, which decided.
fn reason(error: &str, decision: &Decision) -> usize {
    let named = match error {
        "request-refused" => {
            let mut categories = decision.reasons.iter().rev().map(|reason| reason.category);
            match categories.find(|category| *category != crate::SHADOW_CATEGORY) {
                Some("indicator") => "listed-indicator",
                Some("rule") => "rule",
                _ => "payload",
            }
        }
        "credential-invalid" => {
            let last = decision.reasons.iter().rev().find(|reason| reason.category == CREDENTIAL_CATEGORY);
            last.map_or(error, |reason| &*reason.id)
        }
        other => other,
    };
    REASONS.iter().position(|known| *known == named).unwrap_or(REASONS.len() - 1)
}

/// A number of this process or host that is no counter of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Its value; with none it is left out.
    pub value: Option<f64>,
}

/// The metrics in Prometheus's text format. `total` gives a counter's value.
pub fn metrics_text(total: impl Fn(usize) -> u64, gauges: &[Gauge]) -> String {
    let mut text = String::with_capacity(4096);
    text.push_str(
        "# HELP security_web_decisions_total Requests judged on this host, by what became of them.\n",
    );
    text.push_str("# TYPE security_web_decisions_total counter\n");
    let mut line = |stage: &str, action: &str, reason: &str, count: u64| {
        text.push_str(&format!(
            "security_web_decisions_total{{stage=\"{stage}\",action=\"{action}\",reason=\"{reason}\"}} {count}\n"
        ));
    };
    line("request", "allow", "none", total(ALLOWED));
    for (stage, name) in STAGES {
        for (at, reason) in REASONS.iter().enumerate() {
            let count = total(REFUSED + stage as usize * REASONS.len() + at);
            // Every reason there may be would be fifty lines that never change.
            if count > 0 {
                let limits = matches!(*reason, "rate-limited" | "locked-out");
                let action = if limits { Action::Limit } else { Action::Deny };
                line(name, if action == Action::Limit { "limit" } else { "deny" }, reason, count);
            }
        }
    }
    for (at, reason) in REASONS.iter().enumerate() {
        let count = total(SHADOWED + at);
        if count > 0 {
            line("request", "shadow", reason, count);
        }
    }
    text.push_str("# HELP security_web_judgement_seconds How long judging a request took, its body aside.\n");
    text.push_str("# TYPE security_web_judgement_seconds histogram\n");
    let mut sum = 0;
    for (at, bound) in BOUNDS.iter().enumerate() {
        sum += total(LATENCY + at);
        let bound = format!("{}.{:06}", bound / 1_000_000, bound % 1_000_000);
        let bound = bound.trim_end_matches('0');
        text.push_str(&format!("security_web_judgement_seconds_bucket{{le=\"{bound}\"}} {sum}\n"));
    }
    sum += total(LATENCY + BOUNDS.len());
    text.push_str(&format!("security_web_judgement_seconds_bucket{{le=\"+Inf\"}} {sum}\n"));
    let nanos = total(LATENCY_NANOS);
    let seconds = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.push_str(&format!("security_web_judgement_seconds_sum {seconds}\n"));
    text.push_str(&format!("security_web_judgement_seconds_count {sum}\n"));
    for Gauge { name, help, value } in gauges {
        if let Some(value) = value {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, Refusal};

    fn refused(refusal: &Refusal, category: &'static str) -> Decision {
        let mut decision = Decision::allow(None, "req-00000001");
        decision.note(Reason::new("x", category, "query", ""), 50);
        decision.refused(refusal)
    }

    #[test]
    fn every_decision_has_a_counter_of_its_own() {
        let shadowed = |id: &'static str, category| {
            let mut decision = Decision::allow(None, "req-00000001");
            decision.note(Reason::new("x", category, "query", ""), 50);
            decision.note(Reason::new(id, crate::SHADOW_CATEGORY, "deny", "403"), 0);
            decision
        };
        let mut counters = vec![decision_counter(Stage::Request, &Decision::allow(None, "r")).unwrap()];
        for (refusal, category) in [
            (Refusal::Listed, "indicator"),
            (Refusal::RuleMatched, "rule"),
            (Refusal::PayloadRefused, "xss"),
            (Refusal::RateLimited { retry_after_micros: 1 }, "limit"),
            (Refusal::LockedOut { retry_after_micros: 1 }, "limit"),
            (Refusal::CredentialMissing, "x"),
            (Refusal::CredentialInvalid, "x"),
            (Refusal::ConflictingCredentials, "x"),
            (Refusal::ScopeMissing { required: Vec::new() }, "x"),
            (Refusal::NetworkNotAllowed, "x"),
            (Refusal::SensitivePath, "path"),
            (Refusal::Banned, "ban"),
            (Refusal::BodyTooLarge, "body"),
            (Refusal::BodyLate, "body"),
            (Refusal::BodyUnreadable, "body"),
            (Refusal::LengthRequired, "body"),
        ] {
            for (stage, _) in STAGES {
                counters.push(decision_counter(stage, &refused(&refusal, category)).unwrap());
            }
            let other = REFUSED + REASONS.len() - 1;
            assert!(!counters.contains(&other), "{refusal:?} has a name");
            counters.push(decision_counter(Stage::Request, &shadowed(refusal.name(), category)).unwrap());
        }
        let distinct: std::collections::BTreeSet<usize> = counters.iter().copied().collect();
        assert_eq!(distinct.len(), counters.len());
        assert!(counters.iter().all(|counter| *counter < LATENCY) && METRIC_COUNTERS <= 128);
        assert_eq!(decision_counter(Stage::Key, &Decision::allow(None, "r")), None, "it was counted before");
    }

    #[test]
    fn the_text_is_prometheus_own() {
        let mut counters = vec![0u64; METRIC_COUNTERS];
        counters[ALLOWED] = 7;
        counters[decision_counter(Stage::Request, &refused(&Refusal::Banned, "ban")).unwrap()] = 2;
        counters[decision_counter(Stage::Body, &refused(&Refusal::PayloadRefused, "xss")).unwrap()] = 1;
        let limited = Refusal::RateLimited { retry_after_micros: 1 };
        counters[decision_counter(Stage::Key, &refused(&limited, "limit")).unwrap()] = 3;
        for nanos in [900, 1_000, 1_001, 4_000_000, 30_000_000] {
            let (bucket, sum) = latency_counters(nanos);
            counters[bucket] += 1;
            counters[sum] += nanos;
        }
        let gauges = [
            Gauge { name: "security_indicator_index_age_seconds", help: "How old.", value: Some(1.5) },
            Gauge { name: "security_absent", help: "Not there.", value: None },
        ];
        let text = metrics_text(|counter| counters[counter], &gauges);
        for line in [
            "security_web_decisions_total{stage=\"request\",action=\"allow\",reason=\"none\"} 7",
            "security_web_decisions_total{stage=\"request\",action=\"deny\",reason=\"banned\"} 2",
            "security_web_decisions_total{stage=\"body\",action=\"deny\",reason=\"payload\"} 1",
            "security_web_decisions_total{stage=\"key\",action=\"limit\",reason=\"rate-limited\"} 3",
            "security_web_judgement_seconds_bucket{le=\"0.000001\"} 2",
            "security_web_judgement_seconds_bucket{le=\"0.000002\"} 3",
            "security_web_judgement_seconds_bucket{le=\"0.005\"} 4",
            "security_web_judgement_seconds_bucket{le=\"0.02\"} 4",
            "security_web_judgement_seconds_bucket{le=\"+Inf\"} 5",
            "security_web_judgement_seconds_count 5",
            "security_web_judgement_seconds_sum 0.034002901",
            "security_indicator_index_age_seconds 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("absent") && text.ends_with('\n'));
    }

    #[test]
    fn one_path_and_never_all() {
        let policy: MetricsPolicy = toml::from_str("path = \"/internal/metrics\"").unwrap();
        assert!(
            policy.is_at("/internal/metrics")
                && !policy.is_at("/internal")
                && !policy.is_at("//internal/metrics")
        );
        let again: MetricsPolicy = serde_json::from_value(serde_json::to_value(&policy).unwrap()).unwrap();
        assert_eq!(again, policy);
        assert!(!MetricsPolicy::default().is_at("/metrics"));
        for bad in
            ["path = \"/\"", "path = \"metrics\"", "path = [\"/a\", \"/b\"]", "path = []", "paths = \"/a\""]
        {
            assert!(toml::from_str::<MetricsPolicy>(bad).is_err(), "{bad}");
        }
    }
}
