//! Which indicators and which intelligence belong together, and why.
//!
//! Each indicator and each record is reduced to *keys*: the indicator itself, its host, its registrable domain,
//! its network (/24 for IPv4, /48 for IPv6), its tags. An inverted index over the keys of the records brings
//! together what shares one. Each relation of a pair has a weight, and the score is what remains when the
//! weights are taken as independent evidence: `1 - (1 - a)(1 - b)…`.
//!
//! | relation | weight | what is shared |
//! | --- | --- | --- |
//! | linked | 0.95 | the record's id stands among the indicator's related ones |
//! | shared_indicator | 0.90 | the very indicator |
//! | same_host | 0.75 | the host of a URL, an e-mail address or an address with a port |
//! | same_domain | 0.60 | the registrable domain, by the public suffix list |
//! | same_network | 0.50 | the /24 or /48 |
//! | same_tag | 0.25 | a tag; two or more 0.40 |
//! | temporal | 0.15 | seen within a day of each other; within a week 0.08; never alone |
//!
//! A key that too many records share says little and costs much: its first records are used, and the key is
//! named in [`Correlations::common`] with the number of records that have it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ipnet::IpNet;
use security_core::{Limits, Severity, Timestamp};
use security_indicators::{ExtractOptions, Indicator, IocType, extract};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{IntelError, IntelRecord, IocRecord, categorize, error::shorten};

/// How two things are related; strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The record is named among the indicator's related ones.
    Linked,
    /// The very indicator.
    SharedIndicator,
    /// The same host in different indicators.
    SameHost,
    /// The same registrable domain.
    SameDomain,
    /// The same /24 or /48.
    SameNetwork,
    /// A tag in common.
    SameTag,
    /// Close in time; only beside another relation.
    Temporal,
}

/// An indicator as correlation sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IocInput {
    /// The indicator.
    pub indicator: Indicator,
    /// Its tags.
    pub tags: Vec<String>,
    /// Ids of records it belongs to.
    pub related_intel_ids: Vec<String>,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// How sure its sources are, 0 to 100.
    pub confidence: Option<u8>,
}

/// A piece of intelligence as correlation sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntelInput {
    /// Its id.
    pub id: String,
    /// The indicators in it.
    pub indicators: Vec<Indicator>,
    /// Its tags and categories.
    pub tags: Vec<String>,
    /// When it was filed.
    pub created_at: Option<Timestamp>,
    /// Its priority as a severity.
    pub severity: Option<Severity>,
}

/// What to report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrelateOptions {
    /// The lowest score reported, 0 to 1.
    pub threshold: f64,
    /// The most correlations reported, at least 1.
    pub max_correlations: usize,
    /// A key that more records share than this is common.
    pub common_above: usize,
}

impl Default for CorrelateOptions {
    /// Threshold 0.6, a hundred correlations, common above a hundred records.
    fn default() -> Self {
        Self { threshold: 0.6, max_correlations: 100, common_above: 100 }
    }
}

/// An indicator by kind and value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CorrelatedIoc {
    /// The kind.
    #[serde(rename = "type")]
    pub kind: IocType,
    /// The canonical value.
    pub value: String,
}

/// Indicators and intelligence that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// `correlation--` and a UUIDv5 of relation, indicators and records: the same each time.
    pub id: String,
    /// The indicators, sorted.
    pub iocs: Vec<CorrelatedIoc>,
    /// The records, sorted; empty when the indicators are related among themselves.
    pub intel_ids: Vec<String>,
    /// 0 to 1, in hundredths.
    pub score: f64,
    /// The strongest relation.
    pub relation: Relation,
    /// Each relation with its weight and what is shared.
    pub reasons: Vec<String>,
    /// The earliest time known of any part.
    pub first_seen: Option<Timestamp>,
    /// The latest time known of any part.
    pub last_seen: Option<Timestamp>,
    /// The records' highest priority; without records by the indicators' confidence.
    pub severity: Severity,
}

/// A key that many records share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonKey {
    /// How the records are related by it.
    pub relation: Relation,
    /// What they share.
    pub value: String,
    /// How many do.
    pub n_records: usize,
}

/// What correlation found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Correlations {
    /// Best score first, then most severe, then by id.
    pub correlations: Vec<Correlation>,
    /// How many reached the threshold; more than are listed when `max_correlations` cut some off.
    pub n_found: usize,
    /// Keys of which only the first records were used.
    pub common: Vec<CommonKey>,
}

impl From<Indicator> for IocInput {
    fn from(indicator: Indicator) -> Self {
        Self {
            indicator,
            tags: Vec::new(),
            related_intel_ids: Vec::new(),
            first_seen: None,
            last_seen: None,
            confidence: None,
        }
    }
}

impl IocInput {
    /// A stored record; `None` only when its value is no indicator any more.
    pub fn from_record(record: &IocRecord) -> Option<Self> {
        Some(Self {
            indicator: record.indicator()?,
            tags: record.tags.clone(),
            related_intel_ids: record.related_intel_ids.clone(),
            first_seen: Some(record.first_seen),
            last_seen: Some(record.last_seen),
            confidence: Some(record.confidence),
        })
    }

    /// Reads what a caller gives: a text that is an indicator, or an object with `value` and, if known, `type`,
    /// `tags`, `related_intel_ids`, `confidence`, `first_seen`, `last_seen`. `place` names it in the error.
    ///
    /// # Errors
    /// [`IntelError::Input`] when it is no indicator.
    pub fn from_json(given: &Value, place: &str) -> Result<Self, IntelError> {
        let refuse = |reason: String| IntelError::Input { place: place.to_owned(), reason };
        let value = given.as_str().or_else(|| given.get("value").and_then(Value::as_str));
        let value = value
            .ok_or_else(|| refuse("accepted is text, or an object with `type` and `value`".to_owned()))?;
        let kind = given.get("type").or_else(|| given.get("ioc_type")).and_then(Value::as_str);
        let indicator = match kind {
            Some(kind) => Indicator::from_parts(kind, value).map_err(|error| refuse(error.to_string()))?,
            None => Indicator::identify(value).ok_or_else(|| {
                refuse(format!("`{}` is not recognised; give its `type`", shorten(value, 60)))
            })?,
        };
        Ok(Self {
            tags: texts_at(given, "tags"),
            related_intel_ids: texts_at(given, "related_intel_ids"),
            first_seen: time_at(given, "first_seen"),
            last_seen: time_at(given, "last_seen"),
            confidence: given
                .get("confidence")
                .and_then(Value::as_u64)
                .and_then(|number| u8::try_from(number.min(100)).ok()),
            ..Self::from(indicator)
        })
    }
}

impl From<&IntelRecord> for IntelInput {
    fn from(record: &IntelRecord) -> Self {
        Self {
            id: record.id.clone(),
            indicators: record.iocs.iter().filter_map(|name| name.parse().ok()).collect(),
            tags: record.tags.iter().chain(&record.categories).cloned().collect(),
            created_at: Some(record.created_at),
            severity: record.priority_level.parse().ok(),
        }
    }
}

impl IntelInput {
    /// Reads what a caller gives: a record in its JSON form, or any JSON, whose texts are searched for
    /// indicators. Without an `id` it is called by its place among the others.
    ///
    /// # Errors
    /// [`IntelError::TooLarge`] when the JSON exceeds the budget.
    pub fn from_json(given: &Value, number: usize, limits: &Limits) -> Result<Self, IntelError> {
        let id = given.get("id").and_then(Value::as_str);
        let mut indicators = Vec::new();
        let mut seen = HashSet::new();
        let options = ExtractOptions { dedupe: true, max_hits: limits.max_hits, ..ExtractOptions::default() };
        for text in categorize::texts(given, limits)? {
            let whole = text.parse::<Indicator>().ok();
            let inside = extract(text, &options).into_iter().map(|found| found.indicator);
            indicators.extend(whole.into_iter().chain(inside).filter(|found| seen.insert(found.clone())));
        }
        let priority = given.get("priority_level").or_else(|| given.get("severity")).and_then(Value::as_str);
        let mut tags = texts_at(given, "tags");
        tags.extend(texts_at(given, "categories"));
        tags.extend(given.get("data").map(|data| texts_at(data, "tags")).unwrap_or_default());
        Ok(Self {
            id: id.map_or_else(|| format!("intel_data[{number}]"), |id| shorten(id, 200)),
            indicators,
            tags,
            created_at: ["created_at", "timestamp", "created", "date"]
                .iter()
                .find_map(|name| time_at(given, name)),
            severity: priority.and_then(|text| text.parse().ok()),
        })
    }
}

fn texts_at(given: &Value, name: &str) -> Vec<String> {
    let items = given.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn time_at(given: &Value, name: &str) -> Option<Timestamp> {
    given.get(name)?.as_str()?.parse().ok()
}

/// Finds what belongs together.
///
/// # Errors
/// [`IntelError::Range`] for a threshold outside 0 to 1 or no correlations asked for.
pub fn correlate(
    iocs: &[IocInput],
    intel: &[IntelInput],
    options: CorrelateOptions,
) -> Result<Correlations, IntelError> {
    if !(0.0..=1.0).contains(&options.threshold) {
        let given = options.threshold.to_string();
        return Err(IntelError::Range { name: "threshold", given, accepted: "a number from 0 to 1" });
    }
    if options.max_correlations == 0 {
        let (name, given) = ("max_correlations", "0".to_owned());
        return Err(IntelError::Range { name, given, accepted: "a number from 1" });
    }
    let mut common = BTreeMap::new();
    let mut correlations = with_intel(iocs, intel, &options, &mut common);
    correlations.extend(among_iocs(iocs, &options, &mut common));
    correlations.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then(b.severity.cmp(&a.severity)).then_with(|| a.id.cmp(&b.id))
    });
    let n_found = correlations.len();
    correlations.truncate(options.max_correlations);
    let common = common
        .into_iter()
        .map(|((relation, value), n_records)| CommonKey { relation, value, n_records })
        .collect();
    Ok(Correlations { correlations, n_found, common })
}

type Key = (Relation, String);
type Common = BTreeMap<Key, usize>;

/// The evidence for one pair: the weight of each relation, and what is shared.
type Evidence = BTreeMap<Relation, (f64, String)>;

fn with_intel(
    iocs: &[IocInput],
    intel: &[IntelInput],
    options: &CorrelateOptions,
    common: &mut Common,
) -> Vec<Correlation> {
    let mut index: HashMap<Key, Vec<usize>> = HashMap::new();
    for (number, record) in intel.iter().enumerate() {
        let mut keys: HashSet<Key> = record.indicators.iter().flat_map(keys_of).collect();
        keys.extend(record.tags.iter().map(|tag| (Relation::SameTag, tag.to_lowercase())));
        keys.insert((Relation::Linked, record.id.clone()));
        for key in keys {
            index.entry(key).or_default().push(number);
        }
    }
    let mut found: Vec<(usize, BTreeSet<usize>, Evidence)> = Vec::new();
    for (at, ioc) in distinct(iocs) {
        let mut keys: BTreeSet<Key> = keys_of(&ioc.indicator).into_iter().collect();
        keys.extend(ioc.tags.iter().map(|tag| (Relation::SameTag, tag.to_lowercase())));
        keys.extend(ioc.related_intel_ids.iter().map(|id| (Relation::Linked, id.clone())));
        let mut pairs: BTreeMap<usize, Evidence> = BTreeMap::new();
        for key in keys {
            let Some(records) = index.get(&key) else { continue };
            if records.len() > options.common_above {
                common.insert(key.clone(), records.len());
            }
            for record in records.iter().take(options.common_above) {
                add(pairs.entry(*record).or_default(), &key);
            }
        }
        for (record, mut evidence) in pairs {
            let times = [ioc.first_seen, ioc.last_seen];
            add_time(&mut evidence, times.into_iter().flatten(), intel[record].created_at);
            if score(&evidence) >= options.threshold {
                found.push((record, BTreeSet::from([at]), evidence));
            }
        }
    }
    // Indicators with the same strongest relation to one record belong together, and so do records to which
    // the same indicators have that relation.
    let mut by_record: BTreeMap<(usize, Relation), (BTreeSet<usize>, Evidence)> = BTreeMap::new();
    for (record, members, evidence) in found {
        let relation = strongest(&evidence);
        let group = by_record.entry((record, relation)).or_default();
        group.0.extend(members);
        if score(&evidence) > score(&group.1) {
            group.1 = evidence;
        }
    }
    let mut groups: BTreeMap<(Relation, BTreeSet<usize>), (BTreeSet<usize>, Evidence)> = BTreeMap::new();
    for ((record, relation), (members, evidence)) in by_record {
        let group = groups.entry((relation, members)).or_default();
        group.0.insert(record);
        if score(&evidence) > score(&group.1) {
            group.1 = evidence;
        }
    }
    groups
        .into_iter()
        .map(|((_, members), (records, evidence))| {
            let members: Vec<_> = members.into_iter().map(|at| &iocs[at]).collect();
            let records: Vec<_> = records.into_iter().map(|at| &intel[at]).collect();
            correlation(&members, &records, &evidence)
        })
        .collect()
}

/// Indicators that share a host, a domain or a network with each other.
fn among_iocs(iocs: &[IocInput], options: &CorrelateOptions, common: &mut Common) -> Vec<Correlation> {
    let mut groups: BTreeMap<Key, Vec<&IocInput>> = BTreeMap::new();
    for (_, ioc) in distinct(iocs) {
        for key in keys_of(&ioc.indicator) {
            groups.entry(key).or_default().push(ioc);
        }
    }
    let mut told: HashSet<Vec<&Indicator>> = HashSet::new();
    let mut correlations = Vec::new();
    // Strongest relation first, so that a group told as one host is not told again as one domain.
    for (key, mut members) in groups {
        if members.len() < 2 || key.0 == Relation::SharedIndicator {
            continue;
        }
        if members.len() > options.common_above {
            common.insert(key.clone(), members.len());
            members.truncate(options.common_above);
        }
        let mut evidence = Evidence::new();
        add(&mut evidence, &key);
        let shared =
            members.iter().skip(1).fold(members[0].tags.iter().collect::<BTreeSet<_>>(), |shared, ioc| {
                shared.into_iter().filter(|tag| ioc.tags.contains(tag)).collect()
            });
        for tag in shared {
            add(&mut evidence, &(Relation::SameTag, tag.to_lowercase()));
        }
        let firsts: Option<Vec<Timestamp>> = members.iter().map(|ioc| ioc.first_seen).collect();
        if let Some(firsts) = firsts {
            add_time(&mut evidence, firsts.iter().min().copied(), firsts.iter().max().copied());
        }
        let mut names: Vec<&Indicator> = members.iter().map(|ioc| &ioc.indicator).collect();
        names.sort();
        if score(&evidence) >= options.threshold && told.insert(names) {
            correlations.push(correlation(&members, &[], &evidence));
        }
    }
    correlations
}

/// The inputs without repetitions, with their first place.
fn distinct(iocs: &[IocInput]) -> impl Iterator<Item = (usize, &IocInput)> {
    let mut seen = HashSet::new();
    iocs.iter().enumerate().filter(move |(_, ioc)| seen.insert(&ioc.indicator))
}

/// What an indicator can have in common with another one.
fn keys_of(indicator: &Indicator) -> Vec<Key> {
    let mut keys = vec![(Relation::SharedIndicator, indicator.to_string())];
    let Some(host) = indicator.host() else {
        if let Some(network) = indicator.network().and_then(neighbourhood) {
            keys.push((Relation::SameNetwork, network.to_string()));
        }
        return keys;
    };
    keys.push((Relation::SameHost, host.to_owned()));
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => {
            let network = neighbourhood(IpNet::from(address));
            keys.extend(network.map(|network| (Relation::SameNetwork, network.to_string())));
        }
        Err(_) => {
            let domain = psl::domain_str(host);
            keys.extend(domain.map(|domain| (Relation::SameDomain, domain.to_owned())));
        }
    }
    keys
}

/// The /24 or /48 around a network that is not wider itself.
fn neighbourhood(network: IpNet) -> Option<IpNet> {
    let length = if network.addr().is_ipv4() { 24 } else { 48 };
    (network.prefix_len() >= length)
        .then(|| IpNet::new(network.addr(), length).ok())
        .flatten()
        .map(|n| n.trunc())
}

fn add(evidence: &mut Evidence, (relation, value): &Key) {
    let weight = match relation {
        Relation::Linked => 0.95,
        Relation::SharedIndicator => 0.9,
        Relation::SameHost => 0.75,
        Relation::SameDomain => 0.6,
        Relation::SameNetwork => 0.5,
        Relation::SameTag => 0.25,
        Relation::Temporal => 0.15,
    };
    // The very indicator has its host, domain and network in common with itself: that is no further evidence.
    let implied = |stronger: Relation| evidence.contains_key(&stronger);
    let is_place = matches!(relation, Relation::SameHost | Relation::SameDomain | Relation::SameNetwork);
    if is_place
        && [Relation::SharedIndicator, Relation::SameHost, Relation::SameDomain]
            .into_iter()
            .any(|stronger| stronger < *relation && implied(stronger))
    {
        return;
    }
    match evidence.get_mut(relation) {
        None => {
            evidence.insert(*relation, (weight, shorten(value, 200)));
        }
        Some((known, values)) if *relation == Relation::SameTag && values.len() < 400 => {
            *known = 0.4;
            values.push_str(", ");
            values.push_str(&shorten(value, 100));
        }
        Some(_) => {}
    }
}

fn add_time(evidence: &mut Evidence, times: impl IntoIterator<Item = Timestamp>, other: Option<Timestamp>) {
    const DAY: u64 = 86_400;
    let Some(other) = other else { return };
    let apart = times.into_iter().map(|time| time.since(other).max(other.since(time)).as_secs()).min();
    let (weight, words) = match apart {
        Some(seconds) if seconds <= DAY => (0.15, "within a day of each other"),
        Some(seconds) if seconds <= 7 * DAY => (0.08, "within a week of each other"),
        _ => return,
    };
    evidence.insert(Relation::Temporal, (weight, words.to_owned()));
}

fn score(evidence: &Evidence) -> f64 {
    let left: f64 = evidence.values().map(|(weight, _)| 1.0 - weight).product();
    ((1.0 - left) * 100.0).round() / 100.0
}

fn strongest(evidence: &Evidence) -> Relation {
    // Relations are ordered by strength and evidence by relation.
    evidence.keys().next().copied().unwrap_or(Relation::Temporal)
}

fn correlation(members: &[&IocInput], records: &[&IntelInput], evidence: &Evidence) -> Correlation {
    const NAMESPACE: uuid::Uuid = uuid::uuid!("5b0f0c3e-8d0f-4d7e-9a53-2f6c1f0e7a11");
    let relation = strongest(evidence);
    let mut iocs: Vec<_> = members
        .iter()
        .map(|ioc| CorrelatedIoc { kind: ioc.indicator.kind(), value: ioc.indicator.value().to_owned() })
        .collect();
    iocs.sort();
    let mut intel_ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
    intel_ids.sort();
    intel_ids.dedup();
    let name = iocs.iter().map(|ioc| format!("{}:{}", ioc.kind, ioc.value)).chain(intel_ids.iter().cloned());
    let name = format!("{relation:?}\n{}", name.collect::<Vec<_>>().join("\n"));
    let times = || {
        let of_iocs = members.iter().flat_map(|ioc| [ioc.first_seen, ioc.last_seen]);
        of_iocs.chain(records.iter().map(|record| record.created_at)).flatten()
    };
    let severity =
        records.iter().filter_map(|record| record.severity).max().unwrap_or_else(|| {
            match members.iter().filter_map(|ioc| ioc.confidence).max() {
                Some(90..) => Severity::High,
                Some(60..) | None => Severity::Medium,
                Some(_) => Severity::Low,
            }
        });
    Correlation {
        id: format!("correlation--{}", uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes())),
        iocs,
        intel_ids,
        score: score(evidence),
        relation,
        reasons: evidence
            .iter()
            .map(|(relation, (weight, value))| reason(*relation, *weight, value))
            .collect(),
        first_seen: times().min(),
        last_seen: times().max(),
        severity,
    }
}

fn reason(relation: Relation, weight: f64, value: &str) -> String {
    let words = match relation {
        Relation::Linked => "the indicator names the record",
        Relation::SharedIndicator => "the same indicator",
        Relation::SameHost => "the same host",
        Relation::SameDomain => "the same registrable domain",
        Relation::SameNetwork => "the same network",
        Relation::SameTag => "the same tag",
        Relation::Temporal => "close in time",
    };
    // `domain evil.example` reads better than `domain:evil.example`, and can be defanged.
    let value = match value.parse::<Indicator>() {
        Ok(shared) if relation == Relation::SharedIndicator => {
            format!("{} {}", shared.kind(), shared.value())
        }
        _ => value.to_owned(),
    };
    format!("{words}: {value} (weight {weight:.2})")
}
