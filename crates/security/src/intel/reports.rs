//! Correlation and reports.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use security_core::{Limits, Severity};
use security_intel::{
    AuditChain, ComplianceInputs, ComplianceReport, CorrelateOptions, Correlation, Correlations,
    IndicatorStore, IntelFilter, IntelInput, IntelStore, IocFilter, IocInput, ThreatReport,
    compliance_report, correlate, threat_report,
};
use serde_json::{Value, json};

use crate::{Engine, Error, Result, world};

/// The newest records that correlation looks at when the caller gives none.
const CORRELATED: usize = 10_000;
/// The most files whose permissions one report looks at.
const LOOKED_AT: usize = 100_000;

impl Engine {
    /// Finds what belongs together: indicators with intelligence records, and among themselves.
    ///
    /// `iocs` is a list of texts or objects with `type` and `value`; `intel_data` a list of records or of any
    /// JSON, all stored records when not given.
    /// # Errors
    /// [`Error::Invalid`] naming the argument and the place in it; [`Error::Store`].
    pub fn correlate_threats(
        &self,
        iocs: &Value,
        intel_data: Option<&Value>,
        threshold: f64,
        max_correlations: usize,
    ) -> Result<Correlations> {
        let given =
            iocs.as_array().ok_or_else(|| Error::invalid("iocs", "accepted is a list of indicators"))?;
        let iocs = given
            .iter()
            .enumerate()
            .map(|(number, ioc)| IocInput::from_json(ioc, &format!("iocs[{number}]")))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| Error::invalid("iocs", error))?;
        let mut intel = Vec::new();
        match intel_data {
            Some(data) => {
                let given =
                    data.as_array().ok_or_else(|| Error::invalid("intel_data", "accepted is a list"))?;
                for (number, item) in given.iter().enumerate() {
                    let input = IntelInput::from_json(item, number, &Limits::DEFAULT);
                    intel.push(input.map_err(|error| Error::invalid("intel_data", error))?);
                }
            }
            None => self.files.store.each_intel(&IntelFilter::default(), &mut |record| {
                intel.push(IntelInput::from(&record));
                intel.len() < CORRELATED
            })?,
        }
        let options = CorrelateOptions { threshold, max_correlations, ..CorrelateOptions::default() };
        correlate(&iocs, &intel, options).map_err(|error| Error::invalid("threshold", error))
    }

    /// Makes a report of correlations as [`Engine::correlate_threats`] gives them.
    ///
    /// Besides the report's own parts: `report_id`, `timestamp`, `status` (`threats_detected` or
    /// `no_threats_detected`) and `details`, as applications know them from before.
    /// # Errors
    /// [`Error::Invalid`] when that is not what was given; [`Error::Store`].
    pub fn threat_report(&self, correlations: &Value) -> Result<Value> {
        let correlations: Vec<Correlation> =
            serde_json::from_value(correlations.clone()).map_err(|error| {
                Error::invalid("correlations", format!("accepted is what correlate_threats gives: {error}"))
            })?;
        let mut records = Vec::new();
        for ioc in correlations.iter().flat_map(|correlation| &correlation.iocs) {
            let filter =
                IocFilter { kind: Some(ioc.kind), value: Some(ioc.value.clone()), ..IocFilter::default() };
            records.extend(self.files.store.find_indicators(&filter, 1)?);
        }
        let report: ThreatReport = threat_report(&correlations, &records, world::now());
        let found = !correlations.is_empty();
        let mut view =
            serde_json::to_value(&report).map_err(|error| Error::invalid("correlations", error))?;
        view["report_id"] = world::uuid().to_string().into();
        view["timestamp"] = json!(report.generated_at);
        view["status"] = if found { "threats_detected" } else { "no_threats_detected" }.into();
        view["details"] = json!({
            "correlation_count": report.n_correlations,
            "priority_summary": report.severity_counts,
            "findings": correlations.iter().take(10).collect::<Vec<_>>(),
            "recommendations": report.recommendations,
        });
        Ok(view)
    }

    /// Holds this installation against well-known demands; each check says which standard asks for it, how it
    /// came out and on what evidence.
    /// # Errors
    /// When the store or the journal cannot be read.
    pub fn compliance_report(&self) -> Result<ComplianceReport> {
        let (mut active_keys, mut without_expiry, mut without_scopes) = (0, 0, 0);
        self.each_live_key(&mut |key| {
            active_keys += 1;
            without_expiry += u64::from(key.expires_at.is_none());
            without_scopes += u64::from(key.scopes.iter().any(|scope| scope == "*"));
        })?;
        let chain = self.verify_audit_log()?;
        let findings = self.suspicious_activity()?;
        let rules = self.current_rules()?;
        let mut newest = None;
        self.files.store.each_intel(&IntelFilter::default(), &mut |record| {
            newest = Some(record.created_at);
            false
        })?;
        let newest_ioc =
            self.files.store.find_indicators(&IocFilter::default(), 1)?.pop().map(|ioc| ioc.last_seen);
        let inputs = ComplianceInputs {
            credentials: self
                .check_credential_expiration()?
                .iter()
                .filter_map(|report| {
                    let mut value = serde_json::to_value(report).ok()?;
                    value["days_remaining"] = report.days_left.into();
                    Some(value)
                })
                .collect(),
            n_active_keys: Some(active_keys),
            n_keys_without_expiry: Some(without_expiry),
            n_keys_without_scopes: Some(without_scopes),
            n_idle_keys: None,
            audit_chain: Some(AuditChain {
                intact: chain.intact,
                records: chain.records,
                first_broken: chain.first_broken.as_ref().map(|broken| broken.line),
            }),
            n_journal_losses: Some(self.files.journal.stats().lost),
            permission_findings: Some(loose_permissions(self.data_dir())),
            secrets_encrypted: None,
            n_suspicious_findings: Some(
                findings.iter().filter(|finding| finding.severity >= Severity::High).count() as u64,
            ),
            n_rules: Some(rules.rules().len() as u64),
            n_rule_problems: Some(rules.problems().len() as u64),
            n_indicators: Some(self.files.store.count_indicators()?.iter().map(|(_, count)| count).sum()),
            newest_intelligence: newest.max(newest_ioc),
            n_plain_servers: Some(self.plain_taxii_servers()?),
            rate_limits: Some(true),
        };
        Ok(compliance_report(&inputs, world::now()))
    }
}

/// Files that others than their owner may read, and folders that others may enter.
fn loose_permissions(folder: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    let mut folders = vec![folder.to_owned()];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in std::iter::once(folder.clone()).chain(entries) {
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            looked += 1;
            if looked > LOOKED_AT {
                return findings;
            }
            if found.mode() & 0o077 != 0 && !found.is_symlink() {
                findings.push(format!("{} has mode {:o}", path.display(), found.mode() & 0o777));
            }
            if found.is_dir() && path != folder {
                folders.push(path);
            }
        }
    }
    findings.dedup();
    findings
}
