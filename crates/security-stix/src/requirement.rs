//! What each type of object must have, as a table.
//!
//! Source: STIX 2.1 §3.2 (common properties), §4 (domain objects), §5 (relationships), §6 (observables), §7 (meta
//! objects). What 2.0 did not have yet is marked and not asked of 2.0 objects.

use serde_json::Value;

use crate::{Kind, StixError, StixId, time::parse_time};

/// The JSON a property holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Time,
    Id,
    Ids,
    Texts,
    Boolean,
    Integer,
    Number,
    List,
    Map,
}

/// A property that must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// STIX 2.0 did not know it or did not ask for it.
    pub(crate) new_in_21: bool,
}

/// What one type must have.
#[derive(Debug)]
pub(crate) struct Requirement {
    pub(crate) object_type: &'static str,
    pub(crate) kind: Kind,
    pub(crate) properties: &'static [Property],
    /// At least one of these must be there; empty if there is no such choice.
    pub(crate) one_of: &'static [&'static str],
}

const fn old(name: &'static str, shape: Shape) -> Property {
    Property { name, shape, new_in_21: false }
}

const fn new(name: &'static str, shape: Shape) -> Property {
    Property { name, shape, new_in_21: true }
}

const fn domain(object_type: &'static str, properties: &'static [Property]) -> Requirement {
    Requirement { object_type, kind: Kind::Domain, properties, one_of: &[] }
}

const fn observable(object_type: &'static str, properties: &'static [Property]) -> Requirement {
    Requirement { object_type, kind: Kind::Observable, properties, one_of: &[] }
}

impl Requirement {
    const fn one_of(mut self, names: &'static [&'static str]) -> Self {
        self.one_of = names;
        self
    }

    const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }
}

const NAME: &[Property] = &[old("name", Shape::Text)];
const VALUE: &[Property] = &[old("value", Shape::Text)];

static REQUIREMENTS: &[Requirement] = &[
    domain("attack-pattern", NAME),
    domain("campaign", NAME),
    domain("course-of-action", NAME),
    domain("grouping", &[old("context", Shape::Text), old("object_refs", Shape::Ids)]),
    domain("identity", NAME),
    domain("incident", NAME),
    domain(
        "indicator",
        &[old("pattern", Shape::Text), new("pattern_type", Shape::Text), old("valid_from", Shape::Time)],
    ),
    domain("infrastructure", NAME),
    domain("intrusion-set", NAME),
    domain("location", &[]).one_of(&["region", "country", "latitude"]),
    domain("malware", &[new("is_family", Shape::Boolean)]),
    domain("malware-analysis", &[old("product", Shape::Text)]).one_of(&["result", "analysis_sco_refs"]),
    domain("note", &[old("content", Shape::Text), old("object_refs", Shape::Ids)]),
    domain(
        "observed-data",
        &[
            old("first_observed", Shape::Time),
            old("last_observed", Shape::Time),
            old("number_observed", Shape::Integer),
        ],
    )
    .one_of(&["object_refs", "objects"]),
    domain("opinion", &[old("opinion", Shape::Text), old("object_refs", Shape::Ids)]),
    domain(
        "report",
        &[old("name", Shape::Text), old("published", Shape::Time), old("object_refs", Shape::Ids)],
    ),
    domain("threat-actor", NAME),
    domain("tool", NAME),
    domain("vulnerability", NAME),
    domain(
        "relationship",
        &[old("relationship_type", Shape::Text), old("source_ref", Shape::Id), old("target_ref", Shape::Id)],
    )
    .kind(Kind::Relationship),
    domain("sighting", &[old("sighting_of_ref", Shape::Id)]).kind(Kind::Relationship),
    domain("language-content", &[old("object_ref", Shape::Id), old("contents", Shape::Map)]).kind(Kind::Meta),
    domain(
        "extension-definition",
        &[
            old("created_by_ref", Shape::Id),
            old("name", Shape::Text),
            old("schema", Shape::Text),
            old("version", Shape::Text),
            old("extension_types", Shape::Texts),
        ],
    )
    .kind(Kind::Meta),
    domain("marking-definition", &[]).one_of(&["definition", "extensions"]).kind(Kind::Meta),
    observable("artifact", &[]).one_of(&["payload_bin", "url"]),
    observable("autonomous-system", &[old("number", Shape::Integer)]),
    observable("directory", &[old("path", Shape::Text)]),
    observable("domain-name", VALUE),
    observable("email-addr", VALUE),
    observable("email-message", &[old("is_multipart", Shape::Boolean)]),
    observable("file", &[]).one_of(&["hashes", "name"]),
    observable("ipv4-addr", VALUE),
    observable("ipv6-addr", VALUE),
    observable("mac-addr", VALUE),
    observable("mutex", NAME),
    observable("network-traffic", &[old("protocols", Shape::Texts)]).one_of(&["src_ref", "dst_ref"]),
    observable("process", &[]),
    observable("software", NAME),
    observable("url", VALUE),
    observable("user-account", &[]),
    observable("windows-registry-key", &[]),
    observable("x509-certificate", &[]),
];

/// Properties that have the same shape wherever the standard has them, checked when they are there.
/// Source: STIX 2.1 §3.2 and the property tables of §4, §5 and §7.
pub(crate) static SHARED: &[(&str, Shape)] = &[
    ("created", Shape::Time),
    ("modified", Shape::Time),
    ("created_by_ref", Shape::Id),
    ("revoked", Shape::Boolean),
    ("labels", Shape::Texts),
    ("confidence", Shape::Integer),
    ("lang", Shape::Text),
    ("external_references", Shape::List),
    ("object_marking_refs", Shape::Ids),
    ("granular_markings", Shape::List),
    ("extensions", Shape::Map),
];

/// The same for domain objects and relationships alone; observables use some of these names otherwise.
pub(crate) static SHARED_BY_DOMAIN_OBJECTS: &[(&str, Shape)] = &[
    ("name", Shape::Text),
    ("description", Shape::Text),
    ("aliases", Shape::Texts),
    ("valid_until", Shape::Time),
    ("first_seen", Shape::Time),
    ("last_seen", Shape::Time),
    ("indicator_types", Shape::Texts),
    ("kill_chain_phases", Shape::List),
    ("object_refs", Shape::Ids),
    ("latitude", Shape::Number),
    ("longitude", Shape::Number),
];

/// Pairs of times of which the second may not be earlier; `true` if it may not be equal either.
pub(crate) static ORDERED: &[(&str, &str, bool)] = &[
    ("created", "modified", false),
    ("valid_from", "valid_until", true),
    ("first_seen", "last_seen", false),
    ("first_observed", "last_observed", false),
];

/// What the type must have; `None` for types the standard does not define.
pub(crate) fn requirement_of(object_type: &str) -> Option<&'static Requirement> {
    REQUIREMENTS.iter().find(|requirement| requirement.object_type == object_type)
}

impl Shape {
    /// What is wrong with a value of this shape; `strict` as 2.1 asks, which forbids empty lists.
    pub(crate) fn fault(self, value: &Value, strict: bool) -> Option<String> {
        let is = |right: bool, wanted: &str| (!right).then(|| format!("is not {wanted}"));
        match self {
            Self::Text => is(value.is_string(), "text"),
            Self::Boolean => is(value.is_boolean(), "true or false"),
            Self::Integer => is(value.is_i64() || value.is_u64(), "a whole number"),
            Self::Number => is(value.is_number(), "a number"),
            Self::Map => is(value.is_object(), "an object"),
            Self::Time => match value.as_str() {
                Some(text) => parse_time(text).err().map(fault_text),
                None => is(false, "a time in text"),
            },
            Self::Id => match value.as_str() {
                Some(text) => text.parse::<StixId>().err().map(fault_text),
                None => is(false, "an id in text"),
            },
            Self::List | Self::Texts | Self::Ids => match value.as_array() {
                None => is(false, "a list"),
                Some(items) if items.is_empty() && strict => {
                    Some("is an empty list; leave the property out instead".into())
                }
                Some(items) => items.iter().find_map(|item| match self {
                    Self::Texts => Self::Text.fault(item, strict),
                    Self::Ids => Self::Id.fault(item, strict),
                    _ => None,
                }),
            },
        }
    }
}

fn fault_text(error: StixError) -> String {
    format!("is wrong: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_type_is_listed_once_and_is_a_type() {
        let mut seen = HashSet::new();
        for requirement in REQUIREMENTS {
            assert!(seen.insert(requirement.object_type), "{}", requirement.object_type);
            assert_eq!(crate::id::type_fault(requirement.object_type), None);
        }
        // STIX 2.1 §4: 19 domain objects (18 and the incident stub); §5: 2; §6: 18; §7: 3 besides the bundle.
        let of = |kind| REQUIREMENTS.iter().filter(|requirement| requirement.kind == kind).count();
        assert_eq!(
            [of(Kind::Domain), of(Kind::Relationship), of(Kind::Observable), of(Kind::Meta)],
            [19, 2, 18, 3]
        );
    }
}
