//! Indicators in texts, and what is known of one value.

use std::str::FromStr;

use security_indicators::{ExtractOptions, Found, Indicator, IocType, TypeSet, extract};
use security_intel::assess;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Engine, Error, IocWarning, Result, intel, world};

/// Characters of text shown on each side of a find.
const CONTEXT: usize = 40;

/// An indicator found in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtractedIoc {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: IocType,
    /// Its canonical value.
    pub value: String,
    /// As it stands in the text.
    pub original: String,
    /// The text around it.
    pub context: String,
    /// Where it starts, in bytes of the text.
    pub start: usize,
    /// Where it ends, in bytes, exclusive.
    pub end: usize,
    /// Whether it was defanged.
    pub defanged: bool,
    /// What the warninglists say of it, where they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<IocWarning>>,
}

/// Finds every indicator in a text, in the order of the text; of those that overlap, the longest. `types` keeps
/// some kinds only, `limit` the first so many; without one, all are given.
/// # Errors
/// [`Error::Invalid`] for an unknown type.
pub fn extract_iocs(text: &str, types: Option<&[String]>, limit: Option<usize>) -> Result<Vec<ExtractedIoc>> {
    let options = ExtractOptions { max_hits: limit.unwrap_or(usize::MAX), ..wanted(types)? };
    Ok(extract(text, &options).iter().map(|found| ExtractedIoc::of(found, text)).collect())
}

/// What to look for: these types, or all.
pub(crate) fn wanted(types: Option<&[String]>) -> Result<ExtractOptions> {
    let mut options = ExtractOptions { max_hits: usize::MAX, ..ExtractOptions::default() };
    if let Some(types) = types {
        let kinds =
            types.iter().map(|name| IocType::from_str(name)).collect::<std::result::Result<Vec<_>, _>>();
        options.types =
            Some(kinds.map_err(|error| Error::invalid("types", error))?.into_iter().collect::<TypeSet>());
    }
    Ok(options)
}

impl ExtractedIoc {
    pub(crate) fn of(found: &Found, text: &str) -> Self {
        Self {
            kind: found.indicator.kind(),
            value: found.indicator.value().to_owned(),
            original: text[found.start..found.end].to_owned(),
            context: found.context(text, CONTEXT).to_owned(),
            start: found.start,
            end: found.end,
            defanged: found.defanged,
            warnings: None,
        }
    }
}

/// The type of the indicator that a whole text is, if it is one.
pub fn identify_ioc_type(value: &str) -> Option<&'static str> {
    security_indicators::identify(value).map(IocType::as_str)
}

impl Engine {
    /// What is known of a value: the records that list it, and a score that falls with their age.
    ///
    /// Gives `{value, type, found, score, confidence, severity, source, sources, tags, first_seen, last_seen,
    /// explanation, matches}`. A value that is no indicator is not found; its type is null.
    /// # Errors
    /// [`Error::Invalid`] for an unknown type, or a value that is none of the type given; [`Error::Store`].
    pub fn check_threat_intelligence(&self, value: &str, ioc_type: Option<&str>) -> Result<Value> {
        let indicator = match ioc_type {
            Some(name) => Some(intel::indicator(name, value)?),
            None => Indicator::identify(value),
        };
        let Some(indicator) = indicator else {
            let shown: String = value.chars().take(200).collect();
            return Ok(json!({
                "value": shown, "type": null, "found": false, "score": 0, "confidence": 0, "severity": null,
                "source": null, "sources": [], "tags": [], "first_seen": null, "last_seen": null,
                "explanation": ["the value is not recognised as an indicator"], "matches": [],
            }));
        };
        let now = world::now();
        let hits = self.with_index(|index| index.matches(&indicator))?;
        let mut records = Vec::new();
        let mut matches = Vec::new();
        for (listed, match_type) in self.confirmed(&indicator, hits)? {
            let record = listed.record().clone();
            matches.push(json!({
                "ioc": intel::ioc_view(&record, now), "match_type": match_type, "match_time": now,
            }));
            records.push(record);
        }
        let assessment = assess(&records, now);
        let mut tags: Vec<&String> = records.iter().flat_map(|record| &record.tags).collect();
        tags.sort();
        tags.dedup();
        Ok(json!({
            "value": indicator.value(),
            "type": indicator.kind(),
            "found": assessment.found,
            "score": assessment.score,
            "confidence": assessment.confidence,
            "severity": assessment.severity,
            "source": assessment.sources.first(),
            "sources": assessment.sources,
            "tags": tags,
            "first_seen": records.iter().map(|record| record.first_seen).min(),
            "last_seen": assessment.last_seen,
            "explanation": assessment.explanation,
            "matches": matches,
        }))
    }
}
