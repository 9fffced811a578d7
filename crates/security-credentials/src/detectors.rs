//! The detectors of [`crate::analyse`], each over records in the order of their time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use security_core::Severity;

use crate::{Finding, FindingType, Outcome, Thresholds, UsageRecord, suspicion::finding};

/// All findings, in no order.
pub(crate) fn run(records: &[UsageRecord], thresholds: &Thresholds) -> Vec<Finding> {
    let mut findings = Vec::new();
    repeated_failures(records, thresholds, &mut findings);
    failure_burst(records, thresholds, &mut findings);
    credential_stuffing(records, thresholds, &mut findings);
    new_address(records, thresholds, &mut findings);
    ended_use(records, thresholds, &mut findings);
    impossible_rate(records, thresholds, &mut findings);
    findings
}

/// What counts as one credential: the kind, and the key of issued ones.
type Credential<'a> = (&'a str, Option<&'a str>);

fn credential(record: &UsageRecord) -> Credential<'_> {
    (&record.credential_type, record.key_id.as_deref())
}

fn named((kind, key_id): Credential<'_>) -> String {
    match key_id {
        Some(id) => format!("{kind} {id}"),
        None => kind.to_owned(),
    }
}

/// What counts as one place: an IPv4 address, or the /64 of an IPv6 address, which one subscriber has alone.
fn place(record: &UsageRecord) -> Option<IpAddr> {
    record.client_ip.map(|address| match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    })
}

fn from_where(place: Option<IpAddr>) -> String {
    match place {
        Some(IpAddr::V6(network)) => format!("{network}/64"),
        Some(address) => address.to_string(),
        None => "an unknown address".to_owned(),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn is_failure(record: &&UsageRecord) -> bool {
    record.outcome == Outcome::Failure
}

/// The records that lie in any window with at least `least` of them. A window is shorter than its length: two
/// records a whole length apart lie in none together.
fn in_bursts<'a>(records: &[&'a UsageRecord], least: usize, length: Duration) -> Vec<&'a UsageRecord> {
    let mut found = Vec::new();
    let (mut start, mut taken) = (0, 0);
    for (end, record) in records.iter().enumerate() {
        while record.at.since(records[start].at) >= length && start < end {
            start += 1;
        }
        if end + 1 - start >= least {
            taken = taken.max(start);
            found.extend_from_slice(&records[taken..=end]);
            taken = end + 1;
        }
    }
    found
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

fn repeated_failures(records: &[UsageRecord], thresholds: &Thresholds, findings: &mut Vec<Finding>) {
    let least = thresholds.repeated_failures;
    if least == 0 {
        return;
    }
    let mut groups = BTreeMap::<(Credential<'_>, Option<IpAddr>), Vec<&UsageRecord>>::new();
    for record in records.iter().filter(is_failure) {
        groups.entry((credential(record), place(record))).or_default().push(record);
    }
    let window = thresholds.repeated_failures_window_seconds;
    for ((credential, place), failures) in groups {
        let burst = in_bursts(&failures, least, seconds(window));
        let description =
            format!("{} failed uses of {} from {}", burst.len(), named(credential), from_where(place));
        let kind = FindingType::RepeatedFailures;
        findings.extend(finding(kind, Severity::Medium, &burst, credential.1, description));
    }
}

fn failure_burst(records: &[UsageRecord], thresholds: &Thresholds, findings: &mut Vec<Finding>) {
    if thresholds.failure_burst == 0 {
        return;
    }
    let failures: Vec<&UsageRecord> = records.iter().filter(is_failure).collect();
    let window = thresholds.failure_burst_window_seconds;
    let burst = in_bursts(&failures, thresholds.failure_burst, seconds(window));
    let places = burst.iter().map(|record| place(record)).collect::<HashSet<_>>().len();
    let description = format!(
        "{} failed uses, at least {} of them within {window} seconds, from {}",
        burst.len(),
        thresholds.failure_burst,
        counted(places, "address", "addresses"),
    );
    findings.extend(finding(FindingType::FailureBurst, Severity::High, &burst, None, description));
}

fn credential_stuffing(records: &[UsageRecord], thresholds: &Thresholds, findings: &mut Vec<Finding>) {
    let least = thresholds.stuffed_keys;
    if least == 0 {
        return;
    }
    let mut groups = BTreeMap::<IpAddr, Vec<(&str, &UsageRecord)>>::new();
    for record in records.iter().filter(is_failure) {
        if let (Some(place), Some(key_id)) = (place(record), &record.key_id) {
            groups.entry(place).or_default().push((key_id, record));
        }
    }
    let window = seconds(thresholds.stuffed_keys_window_seconds);
    for (place, failures) in groups {
        let mut in_window = HashMap::<&str, usize>::new();
        let (mut start, mut taken, mut found) = (0, 0, Vec::new());
        for (end, (key_id, record)) in failures.iter().enumerate() {
            *in_window.entry(key_id).or_default() += 1;
            while record.at.since(failures[start].1.at) >= window && start < end {
                let left = in_window.entry(failures[start].0).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    in_window.remove(failures[start].0);
                }
                start += 1;
            }
            if in_window.len() >= least {
                taken = taken.max(start);
                found.extend_from_slice(&failures[taken..=end]);
                taken = end + 1;
            }
        }
        let keys = found.iter().map(|(key_id, _)| key_id).collect::<HashSet<_>>().len();
        let found: Vec<&UsageRecord> = found.into_iter().map(|(_, record)| record).collect();
        let description = format!("{} failed with {keys} different keys", from_where(Some(place)));
        findings.extend(finding(FindingType::CredentialStuffing, Severity::High, &found, None, description));
    }
}

/// What is usual of one credential.
#[derive(Default)]
struct Habit {
    uses: usize,
    known: HashSet<IpAddr>,
}

fn new_address(records: &[UsageRecord], thresholds: &Thresholds, findings: &mut Vec<Finding>) {
    if thresholds.new_address_baseline == 0 {
        return;
    }
    let mut habits = HashMap::<Credential<'_>, Habit>::new();
    let mut news = BTreeMap::<(Credential<'_>, IpAddr), Vec<&UsageRecord>>::new();
    let mut failing = HashSet::new();
    for record in records {
        let Some(place) = place(record) else { continue };
        if record.outcome == Outcome::Failure {
            failing.insert(place);
            continue;
        }
        let credential = credential(record);
        let habit = habits.entry(credential).or_default();
        let usual = habit.uses >= thresholds.new_address_baseline
            && habit.known.len() <= thresholds.new_address_most_known;
        // One more than the bound is enough to know that the credential is used from anywhere.
        let unknown = !habit.known.contains(&place);
        if unknown && habit.known.len() <= thresholds.new_address_most_known {
            habit.known.insert(place);
        }
        habit.uses += 1;
        if unknown && usual {
            news.insert((credential, place), Vec::new());
        }
        if let Some(uses) = news.get_mut(&(credential, place)) {
            uses.push(record);
        }
    }
    for ((credential, place), uses) in news {
        let failed_too = failing.contains(&place);
        let severity = if failed_too { Severity::High } else { Severity::Medium };
        let description = format!(
            "{} was used from {}, from where it never was before{}",
            named(credential),
            from_where(Some(place)),
            if failed_too { "; failed uses came from there too" } else { "" },
        );
        findings.extend(finding(FindingType::NewAddress, severity, &uses, credential.1, description));
    }
}

fn ended_use(records: &[UsageRecord], thresholds: &Thresholds, findings: &mut Vec<Finding>) {
    if thresholds.ended_uses == 0 {
        return;
    }
    let mut groups = BTreeMap::<(FindingType, Credential<'_>), Vec<&UsageRecord>>::new();
    for record in records.iter().filter(is_failure) {
        let kind = match record.reason.as_deref() {
            Some("expired") => FindingType::ExpiredCredentialUse,
            Some("revoked") => FindingType::RevokedCredentialUse,
            Some("superseded") => FindingType::SupersededCredentialUse,
            _ => continue,
        };
        groups.entry((kind, credential(record))).or_default().push(record);
    }
    for ((kind, credential), uses) in groups {
        if uses.len() < thresholds.ended_uses {
            continue;
        }
        let (severity, state) = match kind {
            FindingType::RevokedCredentialUse => (Severity::High, "revoked"),
            FindingType::SupersededCredentialUse => (Severity::Medium, "superseded"),
            _ => (Severity::Low, "expired"),
        };
        let description =
            format!("{} of {}, which is {state}", counted(uses.len(), "use", "uses"), named(credential));
        findings.extend(finding(kind, severity, &uses, credential.1, description));
    }
}

fn impossible_rate(records: &[UsageRecord], thresholds: &Thresholds, findings: &mut Vec<Finding>) {
    let most = thresholds.successes_per_second;
    if most == 0 {
        return;
    }
    let mut groups = BTreeMap::<Credential<'_>, Vec<&UsageRecord>>::new();
    for record in records.iter().filter(|record| record.outcome == Outcome::Success) {
        groups.entry(credential(record)).or_default().push(record);
    }
    for (credential, uses) in groups {
        let burst = in_bursts(&uses, most.saturating_add(1), Duration::from_secs(1));
        let description =
            format!("{} uses of {}, more than {most} of them in one second", burst.len(), named(credential));
        let kind = FindingType::ImpossibleRate;
        findings.extend(finding(kind, Severity::Medium, &burst, credential.1, description));
    }
}
