//! A report on how the installation stands against the demands of well-known standards.
//!
//! The inputs are plain facts that the caller gathers; what is not known is `None` and gives `not_applicable`,
//! never a pass.

use security_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::shorten;

/// What is known of the installation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ComplianceInputs {
    /// One report a credential, as the credential check gives them; read are `credential_type`, `status`
    /// (`ok`, `warning`, `expired`, `missing`, …) or `expired` (bool), and `days_remaining`.
    pub credentials: Vec<Value>,
    /// Issued keys that are neither revoked nor expired.
    pub n_active_keys: Option<u64>,
    /// Of them, those that never expire.
    pub n_keys_without_expiry: Option<u64>,
    /// Of them, those that may do everything.
    pub n_keys_without_scopes: Option<u64>,
    /// Of them, those that were not used for 90 days.
    pub n_idle_keys: Option<u64>,
    /// The state of the audit log's hash chain.
    pub audit_chain: Option<AuditChain>,
    /// Records that the journals lost (a full disk, a full queue).
    pub n_journal_losses: Option<u64>,
    /// Files and folders whose permissions are wider than they should be; `None` when nobody looked.
    pub permission_findings: Option<Vec<String>>,
    /// Whether stored secrets are encrypted at rest.
    pub secrets_encrypted: Option<bool>,
    /// Findings of the analysis of credential use that are high or critical.
    pub n_suspicious_findings: Option<u64>,
    /// Threat rules that are enabled.
    pub n_rules: Option<u64>,
    /// Threat rules that cannot be used.
    pub n_rule_problems: Option<u64>,
    /// Indicators known.
    pub n_indicators: Option<u64>,
    /// When an indicator or a record last came in.
    pub newest_intelligence: Option<Timestamp>,
    /// Servers of feeds and TAXII that are asked without TLS.
    pub n_plain_servers: Option<u64>,
    /// Whether callers are limited in number of requests and failed authentications.
    pub rate_limits: Option<bool>,
}

/// The state of the audit log's hash chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditChain {
    /// Whether every link holds.
    pub intact: bool,
    /// Records checked.
    pub records: u64,
    /// The first record whose link does not hold.
    pub first_broken: Option<u64>,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// The demand is met.
    Pass,
    /// It is met, but not for long or not wholly.
    Warn,
    /// It is not met.
    Fail,
    /// Nothing is known that could tell.
    NotApplicable,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplianceCheck {
    /// Stable name: `credentials-rotated`, ….
    pub id: String,
    /// What is demanded.
    pub title: String,
    /// Who demands it, with the section.
    pub standard: Vec<String>,
    /// How it came out.
    pub status: CheckStatus,
    /// The facts behind it.
    pub evidence: Vec<String>,
}

/// Number of checks by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ComplianceTotals {
    /// Passed.
    pub pass: usize,
    /// Warned.
    pub warn: usize,
    /// Failed.
    pub fail: usize,
    /// Could not tell.
    pub not_applicable: usize,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplianceReport {
    /// When it was made.
    pub generated_at: Timestamp,
    /// The worst that came out: fail, else warn, else pass; `not_applicable` when no check could tell.
    pub status: CheckStatus,
    /// Number of checks by status.
    pub totals: ComplianceTotals,
    /// The checks, always the same ones in the same order.
    pub checks: Vec<ComplianceCheck>,
}

/// Makes a report.
pub fn compliance_report(inputs: &ComplianceInputs, now: Timestamp) -> ComplianceReport {
    let checks = vec![
        credentials_rotated(inputs),
        share(
            "keys-expire",
            "Every issued key expires",
            &["NIST SP 800-53 Rev. 5 IA-5", "OWASP ASVS 5.0 V13.3", "ISO/IEC 27001:2022 A.5.17"],
            (inputs.n_keys_without_expiry, inputs.n_active_keys),
            "never expire",
        ),
        share(
            "keys-least-privilege",
            "Every issued key is limited to scopes",
            &["NIST SP 800-53 Rev. 5 AC-6", "OWASP ASVS 5.0 V8", "ISO/IEC 27001:2022 A.8.3"],
            (inputs.n_keys_without_scopes, inputs.n_active_keys),
            "have no scopes",
        ),
        share(
            "keys-in-use",
            "Keys that nobody uses are revoked",
            &["NIST SP 800-53 Rev. 5 AC-2(3)", "ISO/IEC 27001:2022 A.5.18"],
            (inputs.n_idle_keys, inputs.n_active_keys),
            "were not used for 90 days",
        ),
        audit_intact(inputs),
        none_of(
            "journal-complete",
            "No record of the journals was lost",
            &["NIST SP 800-53 Rev. 5 AU-5", "ISO/IEC 27001:2022 A.8.15"],
            inputs.n_journal_losses,
            "records lost",
            CheckStatus::Fail,
        ),
        permissions(inputs),
        truth(
            "secrets-encrypted",
            "Stored secrets are encrypted at rest",
            &["NIST SP 800-53 Rev. 5 SC-28", "OWASP ASVS 5.0 V13.3", "ISO/IEC 27001:2022 A.8.24"],
            inputs.secrets_encrypted,
            ["secrets are encrypted under a master key", "secrets are not encrypted: no master key is set"],
        ),
        none_of(
            "credential-use-monitored",
            "Use of credentials shows nothing suspicious",
            &["NIST SP 800-53 Rev. 5 SI-4", "ISO/IEC 27001:2022 A.8.16"],
            inputs.n_suspicious_findings,
            "findings of high or critical severity",
            CheckStatus::Fail,
        ),
        truth(
            "abuse-limited",
            "Requests and failed authentications are limited",
            &["OWASP ASVS 5.0 V6.3", "NIST SP 800-63B, rate limiting (throttling)"],
            inputs.rate_limits,
            ["limits are in force", "limits are switched off"],
        ),
        rules(inputs),
        intelligence_fresh(inputs, now),
        none_of(
            "feeds-over-tls",
            "Feeds and TAXII servers are asked over TLS",
            &["NIST SP 800-53 Rev. 5 SC-8", "OWASP ASVS 5.0 V12"],
            inputs.n_plain_servers,
            "servers asked without TLS",
            CheckStatus::Fail,
        ),
    ];
    let mut totals = ComplianceTotals::default();
    for check in &checks {
        *match check.status {
            CheckStatus::Pass => &mut totals.pass,
            CheckStatus::Warn => &mut totals.warn,
            CheckStatus::Fail => &mut totals.fail,
            CheckStatus::NotApplicable => &mut totals.not_applicable,
        } += 1;
    }
    let status = match totals {
        ComplianceTotals { fail: 1.., .. } => CheckStatus::Fail,
        ComplianceTotals { warn: 1.., .. } => CheckStatus::Warn,
        ComplianceTotals { pass: 1.., .. } => CheckStatus::Pass,
        _ => CheckStatus::NotApplicable,
    };
    ComplianceReport { generated_at: now, status, totals, checks }
}

fn check(
    id: &str,
    title: &str,
    standard: &[&str],
    status: CheckStatus,
    evidence: Vec<String>,
) -> ComplianceCheck {
    let standard = standard.iter().map(|name| (*name).to_owned()).collect();
    ComplianceCheck { id: id.to_owned(), title: title.to_owned(), standard, status, evidence }
}

fn unknown(id: &str, title: &str, standard: &[&str]) -> ComplianceCheck {
    check(id, title, standard, CheckStatus::NotApplicable, vec!["nothing is known about it".to_owned()])
}

fn credentials_rotated(inputs: &ComplianceInputs) -> ComplianceCheck {
    let (id, title) = ("credentials-rotated", "No credential is past its rotation");
    let standard = ["NIST SP 800-53 Rev. 5 IA-5", "OWASP ASVS 5.0 V13.3", "ISO/IEC 27001:2022 A.5.17"];
    let mut status = CheckStatus::Pass;
    let mut evidence = Vec::new();
    for report in &inputs.credentials {
        let text = |key: &str| report.get(key).and_then(Value::as_str);
        let name = text("credential_type").or_else(|| text("name")).unwrap_or("a credential");
        let word = text("status").unwrap_or_default().to_ascii_lowercase();
        let days =
            report.get("days_remaining").or_else(|| report.get("days_until_expiry")).and_then(Value::as_i64);
        let is_expired = word == "expired"
            || report.get("expired").and_then(Value::as_bool) == Some(true)
            || days.is_some_and(|days| days < 0);
        let is_near = word.contains("warn") || word.contains("expiring") || word.contains("soon");
        let found = if is_expired {
            CheckStatus::Fail
        } else if is_near {
            CheckStatus::Warn
        } else {
            continue;
        };
        status = status.max(found);
        let when = days.map(|days| format!(" ({days} days left)")).unwrap_or_default();
        let what = if is_expired { "is past its rotation" } else { "must soon be rotated" };
        evidence.push(format!("{} {what}{when}", shorten(name, 80)));
    }
    if inputs.credentials.is_empty() {
        return unknown(id, title, &standard);
    }
    if evidence.is_empty() {
        evidence.push(format!("{} credentials checked", inputs.credentials.len()));
    }
    check(id, title, &standard, status, evidence)
}

/// Some of many: none passes, some warn.
fn share(
    id: &str,
    title: &str,
    standard: &[&str],
    counts: (Option<u64>, Option<u64>),
    words: &str,
) -> ComplianceCheck {
    match counts {
        (Some(_), Some(0)) => {
            check(id, title, standard, CheckStatus::NotApplicable, vec!["no key is issued".to_owned()])
        }
        (Some(some), Some(all)) => {
            let status = if some == 0 { CheckStatus::Pass } else { CheckStatus::Warn };
            check(id, title, standard, status, vec![format!("{some} of {all} keys {words}")])
        }
        _ => unknown(id, title, standard),
    }
}

fn none_of(
    id: &str,
    title: &str,
    standard: &[&str],
    count: Option<u64>,
    words: &str,
    otherwise: CheckStatus,
) -> ComplianceCheck {
    match count {
        None => unknown(id, title, standard),
        Some(count) => {
            let status = if count == 0 { CheckStatus::Pass } else { otherwise };
            check(id, title, standard, status, vec![format!("{count} {words}")])
        }
    }
}

fn truth(
    id: &str,
    title: &str,
    standard: &[&str],
    fact: Option<bool>,
    [yes, no]: [&str; 2],
) -> ComplianceCheck {
    match fact {
        None => unknown(id, title, standard),
        Some(true) => check(id, title, standard, CheckStatus::Pass, vec![yes.to_owned()]),
        Some(false) => check(id, title, standard, CheckStatus::Fail, vec![no.to_owned()]),
    }
}

fn audit_intact(inputs: &ComplianceInputs) -> ComplianceCheck {
    let (id, title) = ("audit-log-intact", "The audit log was not tampered with");
    let standard = [
        "NIST SP 800-53 Rev. 5 AU-9",
        "OWASP ASVS 5.0 V16.4",
        "ISO/IEC 27001:2022 A.8.15",
        "PCI DSS 4.0 10.3",
    ];
    match &inputs.audit_chain {
        None => unknown(id, title, &standard),
        Some(AuditChain { intact: true, records, .. }) => check(
            id,
            title,
            &standard,
            CheckStatus::Pass,
            vec![format!("the chain of {records} records holds")],
        ),
        Some(AuditChain { records, first_broken, .. }) => {
            let place = first_broken.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
            let evidence =
                format!("the chain of {records} records is broken; the first broken record is {place}");
            check(id, title, &standard, CheckStatus::Fail, vec![evidence])
        }
    }
}

fn permissions(inputs: &ComplianceInputs) -> ComplianceCheck {
    let (id, title) = ("data-private", "The data directory belongs to its user alone");
    let standard = ["NIST SP 800-53 Rev. 5 AC-3", "ISO/IEC 27001:2022 A.8.3"];
    match &inputs.permission_findings {
        None => unknown(id, title, &standard),
        Some(findings) if findings.is_empty() => {
            let evidence = vec!["no file or folder is open to others".to_owned()];
            check(id, title, &standard, CheckStatus::Pass, evidence)
        }
        Some(findings) => {
            let mut evidence: Vec<String> = findings.iter().take(20).map(|text| shorten(text, 200)).collect();
            if findings.len() > 20 {
                evidence.push(format!("and {} more", findings.len() - 20));
            }
            check(id, title, &standard, CheckStatus::Fail, evidence)
        }
    }
}

fn rules(inputs: &ComplianceInputs) -> ComplianceCheck {
    let (id, title) = ("threats-detected", "Threat rules are in force");
    let standard = ["NIST SP 800-53 Rev. 5 SI-4", "ISO/IEC 27001:2022 A.8.16"];
    let Some(n_rules) = inputs.n_rules else { return unknown(id, title, &standard) };
    let n_problems = inputs.n_rule_problems.unwrap_or(0);
    let status = match (n_rules, n_problems) {
        (0, _) => CheckStatus::Fail,
        (_, 0) => CheckStatus::Pass,
        _ => CheckStatus::Warn,
    };
    let evidence = vec![format!("{n_rules} rules are enabled, {n_problems} cannot be used")];
    check(id, title, &standard, status, evidence)
}

fn intelligence_fresh(inputs: &ComplianceInputs, now: Timestamp) -> ComplianceCheck {
    let (id, title) = ("intelligence-fresh", "Threat intelligence is collected and fresh");
    let standard = ["ISO/IEC 27001:2022 A.5.7", "NIST SP 800-53 Rev. 5 PM-16", "NIST SP 800-53 Rev. 5 SI-5"];
    match (inputs.n_indicators, inputs.newest_intelligence) {
        (None, None) => unknown(id, title, &standard),
        (Some(0), None) => check(
            id,
            title,
            &standard,
            CheckStatus::Fail,
            vec!["no intelligence was ever collected".to_owned()],
        ),
        (count, newest) => {
            let days = newest.map(|newest| now.since(newest).as_secs() / 86_400);
            let status = match days {
                Some(0..=7) => CheckStatus::Pass,
                Some(8..=30) => CheckStatus::Warn,
                _ => CheckStatus::Fail,
            };
            let count = count.map_or_else(String::new, |count| format!("{count} indicators; "));
            let age = days.map_or("nothing is known of their age".to_owned(), |days| {
                format!("the newest word is {days} days old")
            });
            check(id, title, &standard, status, vec![format!("{count}{age}")])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn now() -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(1000 * 86_400))
    }

    fn status_of(inputs: &ComplianceInputs, id: &str) -> CheckStatus {
        compliance_report(inputs, now()).checks.into_iter().find(|check| check.id == id).unwrap().status
    }

    #[test]
    fn what_is_not_known_never_passes() {
        let report = compliance_report(&ComplianceInputs::default(), now());
        assert_eq!(report.totals.not_applicable, report.checks.len());
        assert_eq!(report.status, CheckStatus::NotApplicable);
        let mut ids: Vec<_> = report.checks.iter().map(|check| check.id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), report.checks.len());
    }

    #[test]
    fn credentials_past_their_time_fail() {
        for (report, status) in [
            (json!({"credential_type": "API_KEY", "status": "ok", "days_remaining": 50}), CheckStatus::Pass),
            (
                json!({"credential_type": "API_KEY", "status": "warning", "days_remaining": 5}),
                CheckStatus::Warn,
            ),
            (json!({"credential_type": "API_KEY", "status": "expiring_soon"}), CheckStatus::Warn),
            (json!({"credential_type": "API_KEY", "status": "expired"}), CheckStatus::Fail),
            (json!({"credential_type": "API_KEY", "days_remaining": -1}), CheckStatus::Fail),
        ] {
            let ok = json!({"credential_type": "DB_PASSWORD", "status": "ok"});
            let inputs = ComplianceInputs { credentials: vec![report.clone(), ok], ..Default::default() };
            assert_eq!(status_of(&inputs, "credentials-rotated"), status, "{report}");
        }
    }

    #[test]
    fn each_fact_decides_its_check() {
        use CheckStatus::*;
        let base = ComplianceInputs::default;
        let chain = |intact| Some(AuditChain { intact, records: 9, first_broken: (!intact).then_some(4) });
        let days = |days: u64| Some(now().minus(Duration::from_secs(days * 86_400)));
        for (inputs, id, status) in [
            (ComplianceInputs { audit_chain: chain(true), ..base() }, "audit-log-intact", Pass),
            (ComplianceInputs { audit_chain: chain(false), ..base() }, "audit-log-intact", Fail),
            (ComplianceInputs { n_journal_losses: Some(1), ..base() }, "journal-complete", Fail),
            (ComplianceInputs { permission_findings: Some(vec![]), ..base() }, "data-private", Pass),
            (
                ComplianceInputs { permission_findings: Some(vec!["x".to_owned()]), ..base() },
                "data-private",
                Fail,
            ),
            (ComplianceInputs { secrets_encrypted: Some(false), ..base() }, "secrets-encrypted", Fail),
            (ComplianceInputs { n_rules: Some(0), ..base() }, "threats-detected", Fail),
            (
                ComplianceInputs { n_rules: Some(3), n_rule_problems: Some(1), ..base() },
                "threats-detected",
                Warn,
            ),
            (
                ComplianceInputs { n_indicators: Some(5), newest_intelligence: days(2), ..base() },
                "intelligence-fresh",
                Pass,
            ),
            (
                ComplianceInputs { n_indicators: Some(5), newest_intelligence: days(9), ..base() },
                "intelligence-fresh",
                Warn,
            ),
            (
                ComplianceInputs { n_indicators: Some(5), newest_intelligence: days(99), ..base() },
                "intelligence-fresh",
                Fail,
            ),
            (
                ComplianceInputs { n_active_keys: Some(3), n_keys_without_expiry: Some(1), ..base() },
                "keys-expire",
                Warn,
            ),
            (
                ComplianceInputs { n_active_keys: Some(0), n_keys_without_expiry: Some(0), ..base() },
                "keys-expire",
                NotApplicable,
            ),
        ] {
            assert_eq!(status_of(&inputs, id), status, "{id}");
        }
    }
}
