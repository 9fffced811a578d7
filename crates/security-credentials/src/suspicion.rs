//! What looks wrong in how credentials were used.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use security_core::{Severity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{UsageRecord, detectors};

/// From where on a use is suspicious. A threshold of `0` turns its detector off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Failures of one credential from one address within the window: 5.
    pub repeated_failures: usize,
    /// Its window in seconds: 600.
    pub repeated_failures_window_seconds: u32,
    /// Failures of all credentials together within the window: 20.
    pub failure_burst: usize,
    /// Its window in seconds: 60.
    pub failure_burst_window_seconds: u32,
    /// Different keys that one address failed with within the window: 5.
    pub stuffed_keys: usize,
    /// Its window in seconds: 3600.
    pub stuffed_keys_window_seconds: u32,
    /// Successes after which a credential's addresses count as known: 50.
    pub new_address_baseline: usize,
    /// A credential with more known addresses than this is used from anywhere, and a new one is no news: 10.
    pub new_address_most_known: usize,
    /// Uses of one expired, revoked or superseded credential: 1.
    pub ended_uses: usize,
    /// Successes of one credential within one second that are still possible; one more is not: 200.
    pub successes_per_second: usize,
    /// Seconds before now in which something must have happened to be reported: 86400. Older records only tell
    /// what is usual.
    pub look_back_seconds: u32,
    /// Records looked at, the first ones given: 100000.
    pub max_records: usize,
    /// Findings given, the worst ones: 200.
    pub max_findings: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            repeated_failures: 5,
            repeated_failures_window_seconds: 600,
            failure_burst: 20,
            failure_burst_window_seconds: 60,
            stuffed_keys: 5,
            stuffed_keys_window_seconds: 3600,
            new_address_baseline: 50,
            new_address_most_known: 10,
            ended_uses: 1,
            successes_per_second: 200,
            look_back_seconds: 86_400,
            max_records: 100_000,
            max_findings: 200,
        }
    }
}

/// What kind of thing was found. Written in lower snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingType {
    /// One address keeps failing with one credential. Medium.
    RepeatedFailures,
    /// Many failures of all kinds at once. High.
    FailureBurst,
    /// One address tries many keys. High.
    CredentialStuffing,
    /// A credential is used from where it never was. Medium; high if failures came from there too.
    NewAddress,
    /// A key is used after its end. Low.
    ExpiredCredentialUse,
    /// A key is used after it was revoked. High.
    RevokedCredentialUse,
    /// A value is used that a rotation has ended. Medium.
    SupersededCredentialUse,
    /// A credential is used faster than its owner can. Medium.
    ImpossibleRate,
}

/// Something that looks wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    #[serde(rename = "type")]
    pub finding_type: FindingType,
    /// How bad.
    pub severity: Severity,
    /// The credential, as its usage records name it; the most frequent one where several are concerned.
    pub credential_type: String,
    /// The issued key's id, where one key is concerned.
    pub key_id: Option<String>,
    /// A sentence about it.
    pub description: String,
    /// How many uses make it up.
    pub count: usize,
    /// The first of them.
    pub first_seen: Timestamp,
    /// The last of them.
    pub last_seen: Timestamp,
    /// The latest request ids among them, newest first, 20 at most.
    pub evidence: Vec<String>,
    /// The addresses among them in order, 20 at most.
    pub client_ips: Vec<IpAddr>,
}

impl Finding {
    /// The most request ids, and the most addresses.
    pub const MAX_EVIDENCE: usize = 20;
}

/// Looks through usage records, in any order, and gives what looks wrong, the worst first.
///
/// Addresses are compared as limits count them: IPv4 by the address, IPv6 by its /64. Records without an address
/// count as coming from one unknown place for failures, and are left out where the place itself is the matter.
/// Takes time and memory for [`Thresholds::max_records`] records at most, whatever is given.
pub fn analyse(
    records: impl IntoIterator<Item = UsageRecord>,
    thresholds: &Thresholds,
    now: Timestamp,
) -> Vec<Finding> {
    let mut records: Vec<UsageRecord> = records.into_iter().take(thresholds.max_records).collect();
    records.sort_by_key(|record| record.at);
    let mut findings = detectors::run(&records, thresholds);
    let since = now.minus(Duration::from_secs(thresholds.look_back_seconds.into()));
    findings.retain(|finding| finding.last_seen >= since);
    // Every field that tells two findings apart is in the order, so that equal records give equal lists.
    findings.sort_by(|a, b| {
        let worst = (b.severity, b.count, b.last_seen).cmp(&(a.severity, a.count, a.last_seen));
        let names = |finding: &Finding| {
            (finding.finding_type, finding.credential_type.clone(), finding.key_id.clone())
        };
        worst.then_with(|| names(a).cmp(&names(b))).then_with(|| a.client_ips.cmp(&b.client_ips))
    });
    findings.truncate(thresholds.max_findings);
    findings
}

/// The finding that some records make up, oldest first; `None` of no records.
pub(crate) fn finding(
    finding_type: FindingType,
    severity: Severity,
    records: &[&UsageRecord],
    key_id: Option<&str>,
    description: String,
) -> Option<Finding> {
    let (first, last) = (records.first()?, records.last()?);
    let mut evidence: Vec<String> = Vec::new();
    for record in records.iter().rev() {
        if evidence.len() < Finding::MAX_EVIDENCE && evidence.last() != Some(&record.request_id) {
            evidence.push(record.request_id.clone());
        }
    }
    let client_ips: BTreeSet<IpAddr> = records.iter().filter_map(|record| record.client_ip).collect();
    Some(Finding {
        finding_type,
        severity,
        credential_type: most_frequent(records).to_owned(),
        key_id: key_id.map(str::to_owned),
        description,
        count: records.len(),
        first_seen: first.at,
        last_seen: last.at,
        evidence,
        client_ips: client_ips.into_iter().take(Finding::MAX_EVIDENCE).collect(),
    })
}

fn most_frequent<'a>(records: &[&'a UsageRecord]) -> &'a str {
    let mut counts = BTreeMap::<&str, usize>::new();
    for record in records {
        *counts.entry(&record.credential_type).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or("", |(name, _)| name)
}
