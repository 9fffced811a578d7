//! Suspicion over a stream of usage records, one at a time, in bounded memory.

mod burst;
mod habit;
mod open;
mod table;

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use security_core::{Severity, Timestamp};

use crate::{Finding, FindingType, Outcome, Thresholds, UsageRecord};
use burst::{Different, Recent, counted};
use habit::Habit;
use open::{Matter, Open, OpenFindings, Use};
use table::{Name, Table};

/// Looks at usage records in the order of their time and keeps the findings that they make up.
///
/// What it remembers is bounded by [`Thresholds::tracked`], whatever comes: of more credentials and addresses than that
/// it knows those best that are met often, and a flood of made-up ones displaces others that were met once. Nothing
/// here blocks anybody: it finds, and somebody decides.
#[derive(Debug)]
pub struct Detector {
    thresholds: Thresholds,
    seed: u64,
    credentials: Table<Habit>,
    places: Table<Client>,
    attempts: Table<Recent>,
    failures: Recent,
    open: OpenFindings,
}

/// What is known of one place.
#[derive(Debug, Default)]
struct Client {
    failed: bool,
    keys: Different,
}

/// What counts as one place: an IPv4 address, or the /64 of an IPv6 address, which one subscriber has alone.
fn place_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

impl Detector {
    /// A detector that has seen nothing. `seed` decides who shares room in its tables with whom: keep it from
    /// strangers where the detector runs for long.
    pub fn new(thresholds: Thresholds, seed: u64) -> Self {
        Self {
            credentials: Table::new(thresholds.tracked),
            places: Table::new(thresholds.tracked),
            attempts: Table::new(thresholds.tracked),
            failures: Recent::default(),
            open: OpenFindings::default(),
            thresholds,
            seed,
        }
    }

    /// Looks at the next record. Records may be some seconds out of order.
    pub fn feed(&mut self, record: &UsageRecord) {
        let (one, place) = (Use::of(record), record.client_ip.map(place_of));
        let credential = (record.credential_type.as_str(), record.key_id.as_deref());
        let name = Name::of(self.seed, &credential);
        match record.outcome {
            Outcome::Failure => self.failed(record, name, place, &one),
            Outcome::Success => self.succeeded(record, name, place, &one),
        }
        let is_canary = record.options.get("canary").is_some_and(|canary| *canary == true);
        if is_canary && record.key_id.is_some() {
            self.report(FindingType::CanaryUse, Severity::Critical, record, None, &one, 1, one.at);
        }
    }

    /// What was found of which something happened since then, in no order.
    pub fn findings(&self, since: Timestamp) -> Vec<Finding> {
        let recent = self.open.iter().filter(|open| open.last() >= since);
        recent.map(|open| self.told(open)).collect()
    }

    /// What was found of which something happened in the time that the thresholds look back, the worst first, and no
    /// more than they want.
    pub fn worst(&self, now: Timestamp) -> Vec<Finding> {
        let mut findings = self.findings(now.minus(seconds(self.thresholds.look_back_seconds)));
        // Every field that tells two findings apart is in the order, so that equal records give equal lists.
        findings.sort_by(|a, b| {
            let worst = (b.severity, b.count, b.last_seen).cmp(&(a.severity, a.count, a.last_seen));
            let names = |finding: &Finding| {
                (
                    finding.finding_type,
                    finding.credential_type.clone(),
                    finding.key_id.clone(),
                    finding.id.clone(),
                )
            };
            worst.then_with(|| names(a).cmp(&names(b))).then_with(|| a.client_ips.cmp(&b.client_ips))
        });
        findings.truncate(self.thresholds.max_findings);
        findings
    }

    fn failed(&mut self, record: &UsageRecord, name: Name, place: Option<IpAddr>, one: &Use) {
        let t = &self.thresholds;
        if t.repeated_failures > 0 {
            let (least, window) = (t.repeated_failures, seconds(t.repeated_failures_window_seconds));
            let attempt = Name::of(self.seed, &(name, place));
            for use_ in self.attempts.meet(attempt, one.at).push(one.clone(), least, window) {
                let at = use_.at;
                self.report(FindingType::RepeatedFailures, Severity::Medium, record, place, &use_, 1, at);
            }
        }
        self.failed_together(one);
        if let Some(place) = place {
            self.places.meet(Name::of(self.seed, &place), one.at).failed = true;
            if let Some(key_id) = &record.key_id {
                self.stuffed(key_id, place, one);
                // A key that has ended fails from wherever it is still in use, and is told as that.
                if !matches!(record.reason.as_deref(), Some("expired" | "revoked" | "superseded")) {
                    self.sprayed(record, name, place, one);
                }
            }
        }
        let ended = match record.reason.as_deref() {
            Some("expired") => Some((0, FindingType::ExpiredCredentialUse, Severity::Low)),
            Some("revoked") => Some((1, FindingType::RevokedCredentialUse, Severity::High)),
            Some("superseded") => Some((2, FindingType::SupersededCredentialUse, Severity::Medium)),
            _ => None,
        };
        if let Some((which, kind, severity)) = ended.filter(|_| self.thresholds.ended_uses > 0) {
            let uses = &mut self.credentials.meet(name, one.at).ended[which];
            *uses += 1;
            let (uses, least) = (*uses, self.thresholds.ended_uses);
            if uses >= least {
                let count = if uses == least { least } else { 1 };
                self.report(kind, severity, record, None, one, count, one.at);
            }
        }
    }

    /// Failures of all credentials, from everywhere.
    fn failed_together(&mut self, one: &Use) {
        let t = &self.thresholds;
        if t.failure_burst == 0 {
            return;
        }
        let (least, window) = (t.failure_burst, seconds(t.failure_burst_window_seconds));
        let (seed, quiet) = (self.seed, self.quiet());
        let matter = Matter {
            finding_type: FindingType::FailureBurst,
            severity: Severity::High,
            credential_type: None,
            key_id: None,
            place: None,
        };
        for use_ in self.failures.push(one.clone(), least, window) {
            let open = self.open.add(seed, &matter, &use_, 1, use_.at, quiet);
            let names = &mut open.detail.names;
            if names.len() < burst::MOST_COUNTED {
                names.insert(Name::of(seed, &use_.client_ip.map(place_of)));
            }
        }
    }

    /// Many keys from one place.
    fn stuffed(&mut self, key_id: &str, place: IpAddr, one: &Use) {
        let t = &self.thresholds;
        if t.stuffed_keys == 0 {
            return;
        }
        let (least, window) = (t.stuffed_keys, seconds(t.stuffed_keys_window_seconds));
        let client = self.places.meet(Name::of(self.seed, &place), one.at);
        let Some(many) = client.keys.push(Name::of(self.seed, &key_id), one, least, window) else { return };
        let matter = Matter {
            finding_type: FindingType::CredentialStuffing,
            severity: Severity::High,
            credential_type: None,
            key_id: None,
            place: Some(place),
        };
        let quiet = self.quiet();
        for (use_, count, first) in many.uses {
            let open = self.open.add(self.seed, &matter, &use_, count, first, quiet);
            open.detail.number = open.detail.number.max(many.different);
        }
    }

    /// One key from many places.
    fn sprayed(&mut self, record: &UsageRecord, name: Name, place: IpAddr, one: &Use) {
        let t = &self.thresholds;
        if t.sprayed_addresses == 0 {
            return;
        }
        let (least, window) = (t.sprayed_addresses, seconds(t.sprayed_addresses_window_seconds));
        let from = Name::of(self.seed, &place);
        let habit = self.credentials.meet(name, one.at);
        let Some(many) = habit.failed_from.push(from, one, least, window) else { return };
        for (use_, count, first) in many.uses {
            let kind = FindingType::Spraying;
            let open = self.report(kind, Severity::High, record, None, &use_, count, first);
            open.detail.number = open.detail.number.max(many.different);
        }
    }

    fn succeeded(&mut self, record: &UsageRecord, name: Name, place: Option<IpAddr>, one: &Use) {
        let habit = self.credentials.meet(name, one.at);
        let unusual = habit.used(one.at, place, &self.thresholds);
        let in_grace = record.reason.as_deref() == Some("in_grace") && self.thresholds.grace_uses > 0;
        habit.in_grace += usize::from(in_grace);
        let grace_uses = habit.in_grace;
        let quiet = self.quiet();
        if self.thresholds.new_address_baseline > 0
            && let Some(place) = place
        {
            let matter = Self::matter(FindingType::NewAddress, Severity::Medium, record, Some(place));
            if unusual.new_address || self.open.grows(self.seed, &matter, one.at, quiet) {
                self.open.add(self.seed, &matter, one, 1, one.at, quiet);
            }
        }
        if let Some(days) = unusual.slept_days {
            let kind = FindingType::DormantAwake;
            let open = self.report(kind, Severity::Medium, record, None, one, 1, one.at);
            open.detail.number = usize::try_from(days).unwrap_or(usize::MAX);
        }
        if let Some(hour) = unusual.hour {
            let kind = FindingType::UnusualHour;
            let open = self.report(kind, Severity::Low, record, None, one, 1, one.at);
            open.detail.number = hour as usize;
        }
        if let Some((uses, peak)) = unusual.jump {
            let kind = FindingType::VolumeJump;
            let open = self.report(kind, Severity::Medium, record, None, one, 1, one.at);
            open.detail.number = open.detail.number.max(uses as usize);
            open.detail.other = peak as usize;
        }
        if let Some((uses, first)) = unusual.rate {
            let kind = FindingType::ImpossibleRate;
            let matter = Self::matter(kind, Severity::Medium, record, None);
            // Those before it in its second are counted with the first one only.
            let grows = self.open.grows(self.seed, &matter, one.at, seconds(1));
            let count = if grows { 1 } else { uses };
            self.open.add(self.seed, &matter, one, count, first, quiet);
        }
        if in_grace && grace_uses >= self.thresholds.grace_uses {
            let count = if grace_uses == self.thresholds.grace_uses { grace_uses } else { 1 };
            self.report(FindingType::GraceUse, Severity::Low, record, None, one, count, one.at);
        }
    }

    fn matter(
        finding_type: FindingType,
        severity: Severity,
        record: &UsageRecord,
        place: Option<IpAddr>,
    ) -> Matter<'_> {
        let (credential_type, key_id) = (Some(record.credential_type.as_str()), record.key_id.as_deref());
        Matter { finding_type, severity, credential_type, key_id, place }
    }

    /// Adds a use to the finding of this kind about the record's credential.
    #[expect(clippy::too_many_arguments, reason = "a use, what it is of, and how much it counts")]
    fn report(
        &mut self,
        finding_type: FindingType,
        severity: Severity,
        record: &UsageRecord,
        place: Option<IpAddr>,
        one: &Use,
        count: usize,
        first: Timestamp,
    ) -> &mut Open {
        let matter = Self::matter(finding_type, severity, record, place);
        let quiet = self.quiet();
        self.open.add(self.seed, &matter, one, count, first, quiet)
    }

    /// How long a matter must rest to be a new one when it begins again.
    fn quiet(&self) -> Duration {
        seconds(self.thresholds.look_back_seconds.max(3600))
    }

    fn told(&self, open: &Open) -> Finding {
        use FindingType as F;
        let (credential, count, detail) = (open.credential(), open.count(), &open.detail);
        let t = &self.thresholds;
        let uses = |count: usize| format!("{count} {}", if count == 1 { "use" } else { "uses" });
        let mut severity = open.severity;
        let description = match open.finding_type {
            F::RepeatedFailures => {
                format!("{count} failed uses of {credential} from {}", from_where(open.place))
            }
            F::FailureBurst => {
                let (places, least) = (detail.names.len(), t.failure_burst);
                let window = t.failure_burst_window_seconds;
                let addresses = if places == 1 { "address" } else { "addresses" };
                format!(
                    "{count} failed uses, at least {least} of them within {window} seconds, from {} {addresses}",
                    counted(places)
                )
            }
            F::CredentialStuffing => {
                format!("{} failed with {} different keys", from_where(open.place), counted(detail.number))
            }
            F::Spraying => {
                format!(
                    "{count} failed uses of {credential} from {} different addresses",
                    counted(detail.number)
                )
            }
            F::NewAddress => {
                let client = open.place.and_then(|place| self.places.look(Name::of(self.seed, &place)));
                let failed_too = client.is_some_and(|client| client.failed);
                severity = if failed_too { Severity::High } else { severity };
                format!(
                    "{credential} was used from {}, from where it never was before{}",
                    from_where(open.place),
                    if failed_too { "; failed uses came from there too" } else { "" },
                )
            }
            F::ExpiredCredentialUse => format!("{} of {credential}, which is expired", uses(count)),
            F::RevokedCredentialUse => format!("{} of {credential}, which is revoked", uses(count)),
            F::SupersededCredentialUse => format!("{} of {credential}, which is superseded", uses(count)),
            F::GraceUse => {
                format!("{} of the old value of {credential}, which ends with its grace", uses(count))
            }
            F::ImpossibleRate => format!(
                "{count} uses of {credential}, more than {} of them in one second",
                t.successes_per_second
            ),
            F::DormantAwake => {
                format!("{credential} was used again after {} days without a use", detail.number)
            }
            F::UnusualHour => format!(
                "{} of {credential} around {:02}:00 UTC, when it never was used before",
                uses(count),
                detail.number
            ),
            F::VolumeJump => format!(
                "{} uses of {credential} in one hour, where {} were the most before",
                detail.number, detail.other
            ),
            F::CanaryUse => {
                format!("{} of the canary key {credential}; whoever holds it should not", uses(count))
            }
        };
        open.finding(severity, description)
    }
}

fn from_where(place: Option<IpAddr>) -> String {
    match place {
        Some(IpAddr::V6(network)) => format!("{network}/64"),
        Some(address) => address.to_string(),
        None => "an unknown address".to_owned(),
    }
}
