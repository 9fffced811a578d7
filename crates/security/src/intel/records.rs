//! Intelligence records: file, find, read.

use security_core::Limits;
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

impl Engine {
    /// Finds indicators (`kind` is `ioc`) and intelligence records (`kind` is `intel`), newest first of each.
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
        let source_type = request.source_type.as_deref().map(canonical_source_type).transpose();
        let source_type = source_type.map_err(|error| Error::invalid("source_type", error))?;
        let priority = request.priority_level.as_deref().map(canonical_priority).transpose();
        let priority = priority.map_err(|error| Error::invalid("priority_level", error))?;
        let wanted = |view: &Value| {
            query.as_ref().is_none_or(|query| query.matches(view)) && has_any_tag(view, &request.tags)
        };

        let mut results = Vec::new();
        if source_type.is_none() && priority.is_none() {
            self.search_indicators(query.as_ref(), request, &wanted, &mut results)?;
        }
        let hints = query.as_ref().map(Query::intel_filter).unwrap_or_default();
        let filter = IntelFilter {
            source_type: source_type.or(hints.source_type),
            priority_level: priority.map(str::to_owned).or(hints.priority_level),
            text: request.text.clone(),
            ..hints
        };
        if results.len() < request.limit {
            self.store.each_intel(&filter, &mut |record| {
                let view = intel_view(&record);
                if wanted(&view) {
                    results.push(view);
                }
                results.len() < request.limit
            })?;
        }
        Ok(results)
    }

    fn search_indicators(
        &self,
        query: Option<&Query>,
        request: &SearchRequest,
        wanted: &dyn Fn(&Value) -> bool,
        results: &mut Vec<Value>,
    ) -> Result<()> {
        let now = world::now();
        let hints = query.map(Query::ioc_filter).unwrap_or_default();
        let filter = IocFilter { text: request.text.clone(), ..hints };
        // What the filter cannot say is decided here, so the first page may be too small: double it.
        let mut page = request.limit;
        loop {
            let records = self.store.find_indicators(&filter, page)?;
            let exhausted = records.len() < page;
            results.clear();
            results.extend(
                records.iter().map(|record| ioc_view(record, now)).filter(wanted).take(request.limit),
            );
            if exhausted || results.len() >= request.limit {
                return Ok(());
            }
            page = page.saturating_mul(8);
        }
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
        self.store.save_intel(&record)?;
        let details = json!({"intel_id": record.id, "source_type": record.source_type});
        self.audit("intel_filed", &generate_request_id(), details)?;
        Ok(intel_view(&record))
    }

    /// One intelligence record; `None` when there is none of this id.
    /// # Errors
    /// [`Error::Invalid`] for an empty id; [`Error::Store`].
    pub fn retrieve_intelligence(&self, intel_id: &str) -> Result<Option<Value>> {
        let id = name("intel_id", intel_id)?;
        Ok(self.store.intel(&id)?.map(|record| intel_view(&record)))
    }
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
