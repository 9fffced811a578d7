//! What looks wrong in how credentials were used.

use std::net::IpAddr;

use security_core::{Severity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Detector, UsageRecord};

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
    /// Different addresses that one key failed from within the window: 10. Keys that have ended do not count.
    pub sprayed_addresses: usize,
    /// Its window in seconds: 3600.
    pub sprayed_addresses_window_seconds: u32,
    /// Successes after which a credential's addresses count as known: 50.
    pub new_address_baseline: usize,
    /// A credential with more known addresses than this is used from anywhere, and a new one is no news: 10.
    pub new_address_most_known: usize,
    /// Uses of one expired, revoked or superseded credential: 1.
    pub ended_uses: usize,
    /// Successes of one credential within one second that are still possible; one more is not: 200.
    pub successes_per_second: usize,
    /// Uses of the old value in the grace after a rotation: 1.
    pub grace_uses: usize,
    /// Days without a use after which the next one is news: 45, so that what happens once a month is none.
    pub dormant_days: u32,
    /// Whether uses at hours of the day that a credential never had are told: yes. It must have been used on seven
    /// days, in no more than twelve of their hours (UTC).
    pub unusual_hours: bool,
    /// How many times more than the most of an hour so far the uses of an hour must be: 5. Credentials are watched for
    /// two days before.
    pub volume_factor: u32,
    /// So many uses of an hour are never too many: 500.
    pub volume_least: u32,
    /// Seconds before now in which something must have happened to be reported: 86400. Older records only tell
    /// what is usual.
    pub look_back_seconds: u32,
    /// Records read back when a process looks for the first time, the newest ones: 1000000. What comes after is all
    /// looked at.
    pub max_records: usize,
    /// Findings given, the worst ones: 200.
    pub max_findings: usize,
    /// Credentials, and addresses, that are remembered: 65536.
    pub tracked: usize,
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
            sprayed_addresses: 10,
            sprayed_addresses_window_seconds: 3600,
            new_address_baseline: 50,
            new_address_most_known: 10,
            ended_uses: 1,
            successes_per_second: 200,
            grace_uses: 1,
            dormant_days: 45,
            unusual_hours: true,
            volume_factor: 5,
            volume_least: 500,
            look_back_seconds: 86_400,
            max_records: 1_000_000,
            max_findings: 200,
            tracked: 65_536,
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
    /// One key is tried from many addresses. High.
    Spraying,
    /// The old value is used in the grace after a rotation: whoever does so will be refused soon. Low.
    GraceUse,
    /// A credential is used again after a long time. Medium.
    DormantAwake,
    /// A credential is used at an hour of the day at which it never was. Low.
    UnusualHour,
    /// A credential is used far more often in an hour than ever. Medium.
    VolumeJump,
    /// A key is used that nobody has a reason to use. Critical.
    CanaryUse,
}

/// Something that looks wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The same whenever the same matter is found: the kind, the credential and the address it is about.
    pub id: String,
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
/// Takes time and memory for [`Thresholds::max_records`] records at most, whatever is given. It is a [`Detector`] over
/// the records in the order of their time; `seed` as there.
pub fn analyse(
    records: impl IntoIterator<Item = UsageRecord>,
    thresholds: &Thresholds,
    seed: u64,
    now: Timestamp,
) -> Vec<Finding> {
    let mut records: Vec<UsageRecord> = records.into_iter().take(thresholds.max_records).collect();
    records.sort_by_key(|record| record.at);
    let mut detector = Detector::new(thresholds.clone(), seed);
    records.iter().for_each(|record| detector.feed(record));
    detector.worst(now)
}
