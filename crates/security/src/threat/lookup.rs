//! What is known of one value.

use security_indicators::{Indicator, IocType};
use security_intel::assess;
use serde_json::{Value, json};

use crate::{Engine, Result, intel, world};

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
