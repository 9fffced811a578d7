//! Findings as they grow: what was found once is added to, not found again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use security_core::{Severity, Timestamp};
use sha2::{Digest, Sha256};

use super::table::Name;
use crate::{Finding, FindingType, UsageRecord, hex};

/// Open findings; half of them go when there are more, the least bad and the oldest.
const MOST: usize = 8192;
/// Credential types that are counted, to name the most frequent one.
const MOST_TYPES: usize = 16;

/// What a finding keeps of a use.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) at: Timestamp,
    pub(super) request_id: Box<str>,
    pub(super) credential_type: Box<str>,
    pub(super) client_ip: Option<IpAddr>,
}

impl Default for Use {
    fn default() -> Self {
        Self { at: Timestamp::EPOCH, request_id: "".into(), credential_type: "".into(), client_ip: None }
    }
}

impl Use {
    pub(super) fn of(record: &UsageRecord) -> Self {
        Self {
            at: record.at,
            request_id: record.request_id.as_str().into(),
            credential_type: record.credential_type.as_str().into(),
            client_ip: record.client_ip,
        }
    }
}

/// What a finding is about.
pub(super) struct Matter<'a> {
    pub(super) finding_type: FindingType,
    pub(super) severity: Severity,
    /// The credential type, where one is concerned.
    pub(super) credential_type: Option<&'a str>,
    pub(super) key_id: Option<&'a str>,
    /// The place, where one is concerned.
    pub(super) place: Option<IpAddr>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) finding_type: FindingType,
    pub(super) severity: Severity,
    key_id: Option<Box<str>>,
    pub(super) place: Option<IpAddr>,
    id: String,
    count: usize,
    first: Timestamp,
    last: Timestamp,
    evidence: VecDeque<Box<str>>,
    addresses: BTreeSet<IpAddr>,
    types: BTreeMap<Box<str>, usize>,
    /// What its description says beside its count.
    pub(super) detail: Detail,
}

/// What a description needs.
#[derive(Debug, Default)]
pub(super) struct Detail {
    pub(super) number: usize,
    pub(super) other: usize,
    pub(super) names: std::collections::HashSet<Name>,
}

/// All open findings.
#[derive(Debug, Default)]
pub(super) struct OpenFindings {
    found: HashMap<Name, Open>,
}

impl OpenFindings {
    /// The finding of a matter, to which this use is added. One that was quiet for `quiet` begins anew.
    pub(super) fn add(
        &mut self,
        seed: u64,
        matter: &Matter<'_>,
        one: &Use,
        count: usize,
        first: Timestamp,
        quiet: Duration,
    ) -> &mut Open {
        if self.found.len() >= MOST {
            self.halve();
        }
        let open = self.found.entry(matter.name(seed)).or_insert_with(|| Open::new(matter, first));
        if one.at.since(open.last) >= quiet && open.count > 0 {
            *open = Open::new(matter, first);
        }
        open.add(one, count);
        open
    }

    /// The finding of a matter, if it is open still.
    pub(super) fn grows(&mut self, seed: u64, matter: &Matter<'_>, now: Timestamp, quiet: Duration) -> bool {
        self.found.get(&matter.name(seed)).is_some_and(|open| now.since(open.last) < quiet)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.found.values()
    }

    fn halve(&mut self) {
        let mut order: Vec<_> = self.found.values().map(|open| (open.severity, open.last)).collect();
        let middle = order.len() / 2;
        let (_, least, _) = order.select_nth_unstable(middle);
        let least = *least;
        self.found.retain(|_, open| (open.severity, open.last) > least);
    }
}

impl Matter<'_> {
    fn name(&self, seed: u64) -> Name {
        Name::of(seed, &(self.finding_type, self.credential_type, self.key_id, self.place))
    }

    /// The same for the same matter in every run and process.
    fn id(&self) -> String {
        let text = serde_json::json!([self.finding_type, self.credential_type, self.key_id, self.place]);
        let hash = Sha256::digest(text.to_string());
        format!("finding-{}", hex::encode_all(&hash[..8]))
    }
}

impl Open {
    fn new(matter: &Matter<'_>, first: Timestamp) -> Self {
        Self {
            finding_type: matter.finding_type,
            severity: matter.severity,
            key_id: matter.key_id.map(Into::into),
            place: matter.place,
            id: matter.id(),
            count: 0,
            first,
            last: first,
            evidence: VecDeque::new(),
            addresses: BTreeSet::new(),
            types: BTreeMap::new(),
            detail: Detail::default(),
        }
    }

    fn add(&mut self, one: &Use, count: usize) {
        self.count = self.count.saturating_add(count);
        self.last = self.last.max(one.at);
        if self.evidence.front() != Some(&one.request_id) {
            self.evidence.push_front(one.request_id.clone());
            self.evidence.truncate(Finding::MAX_EVIDENCE);
        }
        if let Some(address) = one.client_ip {
            self.addresses.insert(address);
            if self.addresses.len() > Finding::MAX_EVIDENCE {
                self.addresses.pop_last();
            }
        }
        if self.types.len() < MOST_TYPES || self.types.contains_key(&one.credential_type) {
            *self.types.entry(one.credential_type.clone()).or_default() += count;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn last(&self) -> Timestamp {
        self.last
    }

    /// The credential it is about, in words.
    pub(super) fn credential(&self) -> String {
        let kind = self.most_frequent_type();
        match &self.key_id {
            Some(id) => format!("{kind} {id}"),
            None => kind.to_owned(),
        }
    }

    fn most_frequent_type(&self) -> &str {
        self.types.iter().max_by_key(|(_, count)| **count).map_or("", |(name, _)| name)
    }

    pub(super) fn finding(&self, severity: Severity, description: String) -> Finding {
        Finding {
            id: self.id.clone(),
            finding_type: self.finding_type,
            severity,
            credential_type: self.most_frequent_type().to_owned(),
            key_id: self.key_id.as_deref().map(str::to_owned),
            description,
            count: self.count,
            first_seen: self.first,
            last_seen: self.last,
            evidence: self.evidence.iter().map(|id| id.to_string()).collect(),
            client_ips: self.addresses.iter().copied().collect(),
        }
    }
}
