//! `security.modules.intel`: indicators, intelligence records, correlation, reports, feeds.

mod exchange;
mod records;
mod reports;

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use security_core::{Domain, Revision, StoreFault, Timestamp};
use security_indicators::{Indicator, IocType, MatchIndex, MatchType};
use security_intel::{IndicatorStore, IocRecord, NewIoc, Row};
use serde::Serialize;
use serde_json::{Value, json};

pub use exchange::{ExportFilter, ImportOptions, ImportProgress, ImportReport};
pub use records::SearchRequest;

use crate::{Engine, Error, Result, follow::Follower, utils::generate_request_id, world};

/// Steps of the change feed read at a time.
const FEED_PAGE: usize = 50_000;
/// The longest name of a source, and the most tags and relations of one word.
const MAX_NAME: usize = 200;
const MAX_TAGS: usize = 100;

/// The match index of this process, following the store by its change feed.
#[derive(Debug)]
pub(crate) struct IndicatorCache {
    follower: Follower,
    state: RwLock<IndexState>,
    /// When the store was last read, in microseconds; 0 before.
    read_at: AtomicI64,
}

#[derive(Debug, Default)]
struct IndexState {
    index: MatchIndex,
    revision: Revision,
}

impl Default for IndicatorCache {
    fn default() -> Self {
        Self {
            follower: Follower::new(Domain::Indicators),
            state: RwLock::default(),
            read_at: AtomicI64::new(0),
        }
    }
}

impl IndicatorCache {
    /// How long ago the store was last read; `None` before.
    pub(crate) fn age(&self, now: Timestamp) -> Option<Duration> {
        let read_at = self.read_at.load(Ordering::Relaxed);
        (read_at > 0).then(|| now.since(Timestamp::from_micros(read_at)))
    }
}

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
    /// What it is about.
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
    pub ioc: Value,
    /// How it matched.
    pub match_type: MatchType,
    /// When.
    pub match_time: Timestamp,
    #[serde(skip)]
    confidence: u8,
}

impl IocMatch {
    /// The record's confidence, 0 to 100.
    pub fn confidence(&self) -> u8 {
        self.confidence
    }
}

impl Engine {
    /// Runs `look` on the match index as it is now, changes of other processes included.
    pub(crate) fn with_index<R>(&self, look: impl FnOnce(&MatchIndex) -> R) -> Result<R> {
        let cache = &self.indicators;
        if !cache.follower.is_current(&self.page) {
            cache.follower.refresh(
                &self.page,
                || self.follow_indicators(),
                || Ok(self.files.store.settle(Domain::Indicators)?),
            )?;
        }
        Ok(look(&cache.state.read().unwrap_or_else(PoisonError::into_inner).index))
    }

    fn follow_indicators(&self) -> Result<()> {
        let mut since = self.indicators.state.read().unwrap_or_else(PoisonError::into_inner).revision;
        loop {
            let (revision, changes) = self.files.store.indicator_changes(since, FEED_PAGE)?;
            let done = changes.is_empty();
            let mut state = self.indicators.state.write().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                match change.removed {
                    true => state.index.remove(&change.indicator, change.row),
                    false => state.index.insert(&change.indicator, change.row),
                }
            }
            state.revision = revision;
            since = revision;
            if done {
                self.indicators.read_at.store(world::now().as_micros(), Ordering::Relaxed);
                return Ok(());
            }
        }
    }

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

    /// [`Engine::check_ioc`] for many values of one type.
    /// # Errors
    /// As [`Engine::check_ioc`], for the first value that is none.
    pub fn check_iocs(&self, ioc_type: &str, values: &[String]) -> Result<Vec<IocCheck>> {
        values.iter().map(|value| self.check_ioc(ioc_type, value)).collect()
    }

    pub(crate) fn check_indicator(&self, indicator: &Indicator) -> Result<IocCheck> {
        let now = world::now();
        let hits = self.with_index(|index| index.matches(indicator))?;
        let mut matches = Vec::with_capacity(hits.len());
        for hit in hits {
            // A record removed or expired since the index saw it is no match.
            let found = self.files.store.indicators_at(&[Row::from(hit.row)])?.pop();
            if let Some(record) = found.filter(|record| is_active(record, now)) {
                let confidence = record.confidence;
                let ioc = ioc_view(&record, now);
                matches.push(IocMatch { ioc, match_type: hit.match_type, match_time: now, confidence });
            }
        }
        Ok(IocCheck {
            value: indicator.value().to_owned(),
            kind: indicator.kind(),
            matched: !matches.is_empty(),
            count: matches.len(),
            matches,
        })
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

/// A short text without control characters: what people will read in lists and logs.
pub(crate) fn name(argument: &'static str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_NAME || text.chars().any(char::is_control) {
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
