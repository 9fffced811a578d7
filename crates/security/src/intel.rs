//! `security.modules.intel`: indicators, intelligence records, correlation, reports, feeds.

mod bulk;
mod exchange;
mod index;
mod listed;
mod records;
mod reports;
mod scan;
mod warnings;

use security_core::{StoreFault, Timestamp};
use security_indicators::{Hits, Indicator, IocType, MatchType};
use security_intel::{IndicatorStore, IocRecord, NewIoc};
use serde::Serialize;
use serde_json::{Value, json};

pub use bulk::Met;
pub use exchange::{ExportFilter, ImportOptions, ImportProgress, ImportReport};
pub(crate) use index::IndicatorCache;
pub use listed::ListedIoc;
pub use records::SearchRequest;
pub use scan::{ScanReport, ScannedIoc};
pub use warnings::{IocWarning, Warned};
pub(crate) use warnings::{Judge, WarningCache};

use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// The longest name of a source, and the most tags and relations of one word.
const MAX_NAME: usize = 200;
const MAX_TAGS: usize = 100;
/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 8 << 10;

/// One source's word on one value, as a caller gives it.
#[derive(Debug, Clone, Default)]
pub struct IocDraft {
    /// The type's name or alias.
    pub ioc_type: String,
    /// The value, defanged or not.
    pub value: String,
    /// Who says so.
    pub source: String,
    /// 0 to 100.
    pub confidence: i64,
    /// What it is about: at most 8 KiB.
    pub description: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Intelligence records it belongs to.
    pub related_intel_ids: Vec<String>,
}

/// The answer to "is this value listed?".
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IocCheck {
    /// The canonical value that was looked up.
    pub value: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: IocType,
    /// Whether anything matched.
    pub matched: bool,
    /// Number of matches.
    pub count: usize,
    /// The matches, closest first.
    pub matches: Vec<IocMatch>,
}

/// One record that matched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IocMatch {
    /// The record, as [`Engine::add_ioc`] shows it.
    pub ioc: ListedIoc,
    /// How it matched.
    pub match_type: MatchType,
    /// When.
    pub match_time: Timestamp,
}

impl IocMatch {
    /// The record's confidence, 0 to 100.
    pub fn confidence(&self) -> u8 {
        self.ioc.record().confidence
    }
}

impl Engine {
    /// Adds one source's word on a value. The same value again is merged: sources side by side, the highest
    /// confidence, the latest sight.
    ///
    /// Gives the record: `{id, ioc_id, type, value, source, sources, confidence, description, tags,
    /// related_intel_ids, first_seen, last_seen, created_at, updated_at, sightings, valid_until, active}`.
    /// # Errors
    /// [`Error::Invalid`] naming the argument and what is accepted; [`Error::Store`].
    pub fn add_ioc(&self, draft: IocDraft) -> Result<Value> {
        let confidence = confidence(draft.confidence)?;
        let indicator = indicator(&draft.ioc_type, &draft.value)?;
        let source = name("source", &draft.source)?;
        if draft.description.len() > MAX_DESCRIPTION {
            let problem = format!("it has {} bytes; accepted are {MAX_DESCRIPTION}", draft.description.len());
            return Err(Error::invalid("description", problem));
        }
        let original = (draft.value != indicator.value()).then_some(draft.value);
        let word = NewIoc {
            indicator: indicator.clone(),
            original,
            source: source.clone(),
            confidence,
            description: draft.description,
            tags: names("tags", draft.tags)?,
            related_intel_ids: names("related_intel_ids", draft.related_intel_ids)?,
            seen_at: world::now(),
            first_seen: None,
            valid_until: None,
        };
        self.files.store.upsert_indicators(&[word])?;
        let details = json!({"indicator": indicator.to_string(), "source": source, "confidence": confidence});
        self.audit("ioc_added", &generate_request_id(), details);
        let record = self.files.store.indicator(&indicator)?.ok_or_else(|| {
            StoreFault::new("store-conflict", "the indicator was removed by somebody else in the meantime")
        })?;
        Ok(ioc_view(&record, world::now()))
    }

    /// Removes a value from the list, whoever listed it; `false` when it was not listed.
    /// # Errors
    /// [`Error::Invalid`] for what is no indicator; [`Error::Store`].
    pub fn remove_ioc(&self, ioc_type: &str, value: &str) -> Result<bool> {
        let indicator = indicator(ioc_type, value)?;
        let removed = self.files.store.remove_indicator(&indicator)?;
        if removed {
            let details = json!({"indicator": indicator.to_string()});
            self.audit("ioc_removed", &generate_request_id(), details);
        }
        Ok(removed)
    }

    /// Whether a value is listed: itself, its network, its parent domain, the host or the parent of its URL.
    /// # Errors
    /// [`Error::Invalid`] for what is no indicator of that type; [`Error::Store`].
    pub fn check_ioc(&self, ioc_type: &str, value: &str) -> Result<IocCheck> {
        self.check_indicator(&indicator(ioc_type, value)?)
    }

    /// [`Engine::check_ioc`] without asking the store; `None` when it would have to be asked. Takes a microsecond.
    /// # Errors
    /// As [`Engine::check_ioc`].
    pub fn check_ioc_at_hand(&self, ioc_type: &str, value: &str) -> Result<Option<IocCheck>> {
        let indicator = indicator(ioc_type, value)?;
        let Some(hits) = self.hits_at_hand(&indicator) else { return Ok(None) };
        let mut met = Vec::with_capacity(hits.len());
        for hit in &hits {
            let Ok(listed) = self.indicators.records.find(hit.row) else { return Ok(None) };
            if hit.is_true(&indicator, listed.indicator()) {
                met.push((listed, hit.match_type));
            }
        }
        Ok(Some(IocCheck::of(&indicator, met)))
    }

    pub(crate) fn check_indicator(&self, indicator: &Indicator) -> Result<IocCheck> {
        let hits = self.with_index(|index| index.matches(indicator))?;
        Ok(IocCheck::of(indicator, self.confirmed(indicator, hits)?))
    }

    /// The records behind hits, expired ones included, and how each met the value. One that was removed since the
    /// index saw it is none, and neither is one that only a hash took for it.
    pub(crate) fn confirmed(&self, checked: &Indicator, hits: Hits) -> Result<Vec<(ListedIoc, MatchType)>> {
        let cache = &self.indicators.records;
        let mut confirmed = Vec::with_capacity(hits.len());
        for hit in hits {
            let listed = match cache.find(hit.row) {
                Ok(kept) => kept,
                Err(heard) => {
                    let record = self.files.store.indicators_at(&[hit.row])?.pop();
                    let Some(read) = record.and_then(|(_, record)| ListedIoc::new(record)) else { continue };
                    cache.keep(hit.row, read.clone(), heard);
                    read
                }
            };
            if hit.is_true(checked, listed.indicator()) {
                confirmed.push((listed, hit.match_type));
            }
        }
        Ok(confirmed)
    }
}

impl IocCheck {
    /// What is said of a value that met these records.
    fn of(checked: &Indicator, met: Vec<(ListedIoc, MatchType)>) -> Self {
        let now = world::now();
        let active = met.into_iter().filter(|(listed, _)| listed.is_active(now));
        let matches: Vec<_> =
            active.map(|(ioc, match_type)| IocMatch { ioc, match_type, match_time: now }).collect();
        Self {
            value: checked.value().to_owned(),
            kind: checked.kind(),
            matched: !matches.is_empty(),
            count: matches.len(),
            matches,
        }
    }
}

/// Whether a record still counts.
pub(crate) fn is_active(record: &IocRecord, now: Timestamp) -> bool {
    record.valid_until.is_none_or(|end| end > now)
}

/// A record as faces show it: the stored fields, and the names that applications know from before.
pub(crate) fn ioc_view(record: &IocRecord, now: Timestamp) -> Value {
    json!({
        "kind": "ioc",
        "id": record.id,
        "ioc_id": record.id,
        "type": record.kind,
        "value": record.value,
        "original": record.original,
        "source": record.sources.first().map(|provenance| &provenance.source),
        "sources": record.sources,
        "confidence": record.confidence,
        "description": record.description,
        "tags": record.tags,
        "related_intel_ids": record.related_intel_ids,
        "first_seen": record.first_seen,
        "last_seen": record.last_seen,
        "created_at": record.first_seen,
        "updated_at": record.last_seen,
        "sightings": record.sightings,
        "valid_until": record.valid_until,
        "active": is_active(record, now),
    })
}

pub(crate) fn indicator(ioc_type: &str, value: &str) -> Result<Indicator> {
    Indicator::from_parts(ioc_type, value).map_err(|error| {
        let argument = match error {
            security_indicators::IndicatorError::UnknownType { .. } => "ioc_type",
            _ => "value",
        };
        Error::invalid(argument, error)
    })
}

pub(crate) fn confidence(given: i64) -> Result<u8> {
    let accepted = u8::try_from(given).ok().filter(|confidence| *confidence <= 100);
    accepted.ok_or_else(|| {
        Error::invalid("confidence", format!("{given} is not accepted; accepted are 0 to 100"))
    })
}

/// A short text without control or direction characters: what people will read in lists and logs.
pub(crate) fn name(argument: &'static str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_NAME || text.chars().any(security_core::is_invisible) {
        let problem = format!("accepted are 1 to {MAX_NAME} characters without control characters");
        return Err(Error::invalid(argument, problem));
    }
    Ok(text.to_owned())
}

fn names(argument: &'static str, texts: Vec<String>) -> Result<Vec<String>> {
    if texts.len() > MAX_TAGS {
        return Err(Error::invalid(
            argument,
            format!("{} are too many; accepted are {MAX_TAGS}", texts.len()),
        ));
    }
    texts.iter().map(|text| name(argument, text)).collect()
}
