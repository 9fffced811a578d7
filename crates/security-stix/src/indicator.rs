//! Making indicator objects.

use security_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Object, Pattern, StixError, StixId, format_time};

/// Where else to read about an object. Source: STIX 2.1 §2.5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalReference {
    /// The name of the source, for example `cve` or a publisher.
    pub source_name: String,
    /// A sentence about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The address of the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The id there, for example `CVE-2014-0160`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// What an indicator object is made from. Source: STIX 2.1 §4.7.
#[derive(Debug, Clone, PartialEq)]
pub struct IndicatorDraft {
    /// The id; its type must be `indicator`.
    pub id: StixId,
    /// When the first version was made.
    pub created: Timestamp,
    /// When this version was made; not before `created`.
    pub modified: Timestamp,
    /// The pattern in the STIX language.
    pub pattern: String,
    /// From when on it is worth looking for.
    pub valid_from: Timestamp,
    /// Until when; after `valid_from`.
    pub valid_until: Option<Timestamp>,
    /// A name for people.
    pub name: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Words of the vocabulary `indicator-type-ov`, for example `malicious-activity`.
    pub indicator_types: Vec<String>,
    /// Free labels.
    pub labels: Vec<String>,
    /// From 0 to 100.
    pub confidence: Option<u8>,
    /// Who made it: the id of an identity.
    pub created_by: Option<StixId>,
    /// The ids of the marking definitions that hold for it.
    pub markings: Vec<StixId>,
    /// Where else to read about it.
    pub external_references: Vec<ExternalReference>,
}

impl IndicatorDraft {
    /// A draft with what every indicator needs; it is valid from the moment it was made.
    pub fn new(id: StixId, created: Timestamp, pattern: impl Into<String>) -> Self {
        Self {
            id,
            created,
            modified: created,
            pattern: pattern.into(),
            valid_from: created,
            valid_until: None,
            name: None,
            description: None,
            indicator_types: Vec::new(),
            labels: Vec::new(),
            confidence: None,
            created_by: None,
            markings: Vec::new(),
            external_references: Vec::new(),
        }
    }
}

/// Makes a STIX 2.1 indicator.
///
/// # Errors
/// [`StixError`] if the pattern cannot be read, the id is not that of an indicator, the confidence is above 100 or
/// the times are in no order.
pub fn new_indicator(draft: IndicatorDraft) -> Result<Object, StixError> {
    Pattern::parse(&draft.pattern)?;
    let mut properties = Map::new();
    let mut put = |name: &str, value: Value| {
        let is_nothing = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !is_nothing {
            properties.insert(name.into(), value);
        }
    };
    put("type", "indicator".into());
    put("spec_version", "2.1".into());
    put("id", draft.id.to_string().into());
    put("created_by_ref", draft.created_by.map(|id| id.to_string()).into());
    put("created", format_time(draft.created).into());
    put("modified", format_time(draft.modified).into());
    put("name", draft.name.into());
    put("description", draft.description.into());
    put("indicator_types", draft.indicator_types.into());
    put("pattern", draft.pattern.into());
    put("pattern_type", "stix".into());
    put("valid_from", format_time(draft.valid_from).into());
    put("valid_until", draft.valid_until.map(format_time).into());
    put("labels", draft.labels.into());
    put("confidence", draft.confidence.into());
    put(
        "external_references",
        serde_json::to_value(draft.external_references)
            .map_err(|error| StixError::NotJson { reason: error.to_string() })?,
    );
    put("object_marking_refs", draft.markings.iter().map(ToString::to_string).collect::<Vec<_>>().into());
    Object::from_properties(properties)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SpecVersion;

    fn draft() -> IndicatorDraft {
        let id = "indicator--00000000-0000-4000-8000-000000000001".parse().unwrap();
        IndicatorDraft::new(id, Timestamp::from_seconds(1_800_000_000), "[ipv4-addr:value = '198.51.100.1']")
    }

    #[test]
    fn a_bare_draft_is_an_indicator() {
        let object = new_indicator(draft()).unwrap();
        assert_eq!(object.spec_version(), SpecVersion::V21);
        let names: Vec<&String> = object.properties().keys().collect();
        assert_eq!(
            names,
            ["type", "spec_version", "id", "created", "modified", "pattern", "pattern_type", "valid_from"]
        );
        assert_eq!(object.text("valid_from"), Some("2027-01-15T08:00:00.000Z"));
    }

    #[test]
    fn a_full_draft_reads_back() {
        let reference = ExternalReference {
            source_name: "example".into(),
            description: None,
            url: Some("https://report.example/1".into()),
            external_id: None,
        };
        let object = new_indicator(IndicatorDraft {
            valid_until: Some(Timestamp::from_seconds(1_900_000_000)),
            name: Some("Beacon".into()),
            description: Some("Seen in \"phishing\"".into()),
            indicator_types: vec!["malicious-activity".into()],
            labels: vec!["red".into(), "blue".into()],
            confidence: Some(85),
            created_by: Some("identity--00000000-0000-4000-8000-000000000002".parse().unwrap()),
            markings: vec!["marking-definition--00000000-0000-4000-8000-000000000003".parse().unwrap()],
            external_references: vec![reference.clone()],
            ..draft()
        })
        .unwrap();
        assert_eq!(object.confidence(), Some(85));
        assert_eq!(object.labels().collect::<Vec<_>>(), ["red", "blue"]);
        assert_eq!(object.external_references(), [reference]);
        assert_eq!(object.references("object_marking_refs").count(), 1);
        assert_eq!(object.pattern().unwrap().unwrap().to_string(), "[ipv4-addr:value = '198.51.100.1']");
    }

    #[test]
    fn refuses_what_would_be_no_indicator() {
        let wrong_pattern = IndicatorDraft { pattern: "198.51.100.1".into(), ..draft() };
        assert!(matches!(new_indicator(wrong_pattern), Err(StixError::BadPattern(_))));
        let too_sure = IndicatorDraft { confidence: Some(101), ..draft() };
        let over_at_once = IndicatorDraft { valid_until: Some(draft().valid_from), ..draft() };
        let malware = "malware--00000000-0000-4000-8000-000000000001".parse().unwrap();
        let not_one = IndicatorDraft { id: malware, ..draft() };
        for (wrong, property) in [(too_sure, "confidence"), (over_at_once, "valid_until"), (not_one, "id")] {
            let error = new_indicator(wrong).unwrap_err();
            assert!(error.to_string().contains(&format!("`{property}`")), "{error}");
        }
    }
}
