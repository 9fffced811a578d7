//! Intelligence records: file, find, read.

use security_core::{Limits, Timestamp};
use security_indicators::Indicator;
use security_intel::{
    IndicatorStore, IntelFilter, IntelRecord, IntelStore, IocFilter, Query, canonical_priority,
    canonical_source_type, categorize,
};
use serde_json::{Value, json};

use super::{ioc_view, name};
use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// What to look for, among intelligence records and indicators alike; every given part must hold.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// An object with dotted keys: `{"type": "ip"}`, `{"data.author": "x*"}`, `{"tags": ["a", "b"]}` (any of).
    pub query: Option<Value>,
    /// Only records of this source type; leaves indicators out.
    pub source_type: Option<String>,
    /// Only records of this priority; leaves indicators out.
    pub priority_level: Option<String>,
    /// Any of these tags.
    pub tags: Vec<String>,
    /// Words that stand anywhere, all of them.
    pub text: Option<String>,
    /// The most results, 1 to 10,000.
    pub limit: usize,
}

impl Default for SearchRequest {
    fn default() -> Self {
        Self {
            query: None,
            source_type: None,
            priority_level: None,
            tags: Vec::new(),
            text: None,
            limit: 100,
        }
    }
}

/// The most results of one search.
const MOST_RESULTS: usize = 10_000;

/// The fields of an indicator as [`ioc_view`] shows it: a query for others need not look at any.
const IOC_FIELDS: &[&str] = &[
    "kind",
    "id",
    "ioc_id",
    "type",
    "value",
    "original",
    "source",
    "sources",
    "confidence",
    "description",
    "tags",
    "related_intel_ids",
    "first_seen",
    "last_seen",
    "created_at",
    "updated_at",
    "sightings",
    "valid_until",
    "active",
];

/// A record that was found, with the time it is sorted by.
type Dated = (Timestamp, Value);

impl Engine {
    /// Finds indicators (`kind` is `ioc`) and intelligence records (`kind` is `intel`), newest first over both: by
    /// `last_seen` and `created_at`. When there are more than `limit`, neither kind takes more than half of the
    /// places from the other.
    /// # Errors
    /// [`Error::Invalid`] naming the argument and what is accepted; [`Error::Store`].
    pub fn search_intelligence(&self, request: &SearchRequest) -> Result<Vec<Value>> {
        if !(1..=MOST_RESULTS).contains(&request.limit) {
            return Err(Error::invalid(
                "limit",
                format!("{} is not accepted; accepted are 1 to {MOST_RESULTS}", request.limit),
            ));
        }
        let query =
            request.query.as_ref().map(Query::parse).transpose().map_err(|e| Error::invalid("query", e))?;
        let query = query.as_ref();
        let source_type = request.source_type.as_deref().map(canonical_source_type).transpose();
        let source_type = source_type.map_err(|error| Error::invalid("source_type", error))?;
        let priority = request.priority_level.as_deref().map(canonical_priority).transpose();
        let priority = priority.map_err(|error| Error::invalid("priority_level", error))?;
        if query.is_some_and(Query::holds_for_none) {
            return Ok(Vec::new());
        }
        let may_hold = |kind, fields| query.is_none_or(|query: &Query| query.may_hold(kind, fields));
        let iocs = match source_type.is_none() && priority.is_none() && may_hold("ioc", Some(IOC_FIELDS)) {
            true => self.search_indicators(query, request)?,
            false => Vec::new(),
        };
        let records = match may_hold("intel", None) {
            true => self.search_records(query, request, source_type, priority)?,
            false => Vec::new(),
        };
        Ok(shared(request.limit, iocs, records))
    }

    fn search_indicators(&self, query: Option<&Query>, request: &SearchRequest) -> Result<Vec<Dated>> {
        let now = world::now();
        let hints = query.map(Query::ioc_filter).unwrap_or_default();
        let filter = IocFilter {
            any_tag: either(&request.tags, hints.any_tag),
            // Words are asked for all together, so both texts may stand side by side.
            text: match (&request.text, hints.text) {
                (Some(text), Some(hint)) => Some(format!("{text} {hint}")),
                (text, hint) => text.clone().or(hint),
            },
            ..hints
        };
        let mut found = Vec::new();
        self.files.store.newest_indicators(&filter, &mut |record| {
            let view = ioc_view(&record, now);
            let holds = query.is_none_or(|query| {
                let mut asked = view.clone();
                asked["source"] = record.sources.iter().map(|known| known.source.as_str()).collect();
                query.matches(&asked)
            });
            if holds && has_any_tag(&view, &request.tags) {
                found.push((record.last_seen, view));
            }
            found.len() < request.limit
        })?;
        Ok(found)
    }

    fn search_records(
        &self,
        query: Option<&Query>,
        request: &SearchRequest,
        source_type: Option<String>,
        priority: Option<&str>,
    ) -> Result<Vec<Dated>> {
        let hints = query.map(Query::intel_filter).unwrap_or_default();
        let filter = IntelFilter {
            source_type: source_type.or(hints.source_type),
            priority_level: priority.map(str::to_owned).or(hints.priority_level),
            any_tag: either(&request.tags, hints.any_tag),
            text: request.text.clone(),
            ..hints
        };
        let mut found = Vec::new();
        self.files.store.each_intel(&filter, &mut |record| {
            let view = intel_view(&record);
            if query.is_none_or(|query| query.matches(&view)) && has_any_tag(&view, &request.tags) {
                found.push((record.created_at, view));
            }
            found.len() < request.limit
        })?;
        Ok(found)
    }

    /// Files a piece of intelligence: what it is about, which indicators stand in it; stored and searchable.
    ///
    /// Gives `{kind, id, intel_id, source_type, priority_level, tags, categories, created_at, data, metadata,
    /// iocs}`.
    /// # Errors
    /// [`Error::Invalid`] naming the argument and what is accepted; [`Error::Store`].
    pub fn categorize_intelligence(
        &self,
        data: Value,
        source_type: &str,
        priority_level: &str,
    ) -> Result<Value> {
        canonical_source_type(source_type).map_err(|error| Error::invalid("source_type", error))?;
        canonical_priority(priority_level).map_err(|error| Error::invalid("priority_level", error))?;
        let id = format!("intel--{}", world::uuid());
        let record = categorize(data, source_type, priority_level, id, world::now(), &Limits::DEFAULT)
            .map_err(|error| Error::invalid("data", error))?;
        self.files.store.save_intel(&record)?;
        let details = json!({"intel_id": record.id, "source_type": record.source_type});
        self.audit("intel_filed", &generate_request_id(), details);
        Ok(intel_view(&record))
    }

    /// One intelligence record; `None` when there is none of this id.
    /// # Errors
    /// [`Error::Invalid`] for an empty id; [`Error::Store`].
    pub fn retrieve_intelligence(&self, intel_id: &str) -> Result<Option<Value>> {
        let id = name("intel_id", intel_id)?;
        Ok(self.files.store.intel(&id)?.map(|record| intel_view(&record)))
    }
}

/// The tags that a store narrows by: those of the request, else those of the query. What the other asks for is
/// decided record by record.
fn either(of_request: &[String], of_query: Vec<String>) -> Vec<String> {
    if of_request.is_empty() { of_query } else { of_request.to_vec() }
}

/// Two lists, each newest first, as one. Each keeps half of the places if it can fill them; what it cannot fill, the
/// other one takes, and an odd place goes to the newest.
fn shared(limit: usize, iocs: Vec<Dated>, records: Vec<Dated>) -> Vec<Value> {
    let half = limit / 2;
    let (most_iocs, most_records) = (limit - half.min(records.len()), limit - half.min(iocs.len()));
    let mut iocs = iocs.into_iter().take(most_iocs).peekable();
    let mut records = records.into_iter().take(most_records).peekable();
    let newest = std::iter::from_fn(|| match (iocs.peek(), records.peek()) {
        (Some((seen, _)), Some((filed, _))) if filed > seen => records.next(),
        (None, _) => records.next(),
        _ => iocs.next(),
    });
    newest.take(limit).map(|(_, view)| view).collect()
}

fn has_any_tag(view: &Value, tags: &[String]) -> bool {
    tags.is_empty()
        || view["tags"].as_array().is_some_and(|known| {
            known
                .iter()
                .filter_map(Value::as_str)
                .any(|tag| tags.iter().any(|wanted| wanted.eq_ignore_ascii_case(tag)))
        })
}

/// A record as faces show it: flat, and under `metadata` as applications know it from before.
pub(super) fn intel_view(record: &IntelRecord) -> Value {
    let iocs: Vec<Value> = record
        .iocs
        .iter()
        .filter_map(|text| text.parse::<Indicator>().ok())
        .map(|found| json!({"type": found.kind(), "value": found.value()}))
        .collect();
    json!({
        "kind": "intel",
        "id": record.id,
        "intel_id": record.id,
        "source_type": record.source_type,
        "priority_level": record.priority_level,
        "tags": record.tags,
        "categories": record.categories,
        "created_at": record.created_at,
        "data": record.data,
        "metadata": {
            "source_type": record.source_type,
            "priority_level": record.priority_level,
            "tags": record.tags,
            "categories": record.categories,
            "created_at": record.created_at,
            "ioc_count": iocs.len(),
        },
        "iocs": iocs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_intel::{IocRecord, NewIoc};

    #[test]
    fn every_field_of_an_indicator_can_be_asked_for() {
        let record = IocRecord::new(NewIoc {
            indicator: Indicator::identify("192.0.2.1").unwrap(),
            original: None,
            source: "internal".into(),
            confidence: 80,
            description: String::new(),
            tags: Vec::new(),
            related_intel_ids: Vec::new(),
            seen_at: Timestamp::EPOCH,
            first_seen: None,
            valid_until: None,
        });
        let view = ioc_view(&record, Timestamp::EPOCH);
        let fields: Vec<&str> = view.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, IOC_FIELDS);
    }

    #[test]
    fn places_are_shared() {
        let list = |name: &str, times: &[i64]| -> Vec<Dated> {
            times
                .iter()
                .map(|time| (Timestamp::from_seconds(*time), json!(format!("{name}{time}"))))
                .collect()
        };
        for (limit, iocs, records, expected) in [
            (4, &[9, 8, 7, 6][..], &[3, 2, 1][..], &["i9", "i8", "r3", "r2"][..]),
            (4, &[9, 8, 7, 6], &[3], &["i9", "i8", "i7", "r3"]),
            (4, &[9], &[8, 7, 6, 5], &["i9", "r8", "r7", "r6"]),
            (4, &[], &[8, 7], &["r8", "r7"]),
            (4, &[2, 1], &[3, 0], &["r3", "i2", "i1", "r0"]),
            (3, &[9, 8, 7], &[6, 5, 4], &["i9", "i8", "r6"]),
            (3, &[3, 2, 1], &[6, 5, 4], &["r6", "r5", "i3"]),
            (1, &[1], &[2], &["r2"]),
            (1, &[2], &[2], &["i2"]),
        ] {
            assert_eq!(
                shared(limit, list("i", iocs), list("r", records)),
                expected,
                "{limit} {iocs:?} {records:?}"
            );
        }
    }
}
