//! One STIX object: checked once, then read by property.

use security_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::{
    ExternalReference, Pattern, PatternError, StixError, StixId, id,
    requirement::{self, ORDERED, SHARED, SHARED_BY_DOMAIN_OBJECTS, Shape},
    time::parse_time,
};

/// The family an object belongs to. Source: STIX 2.1 §1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A domain object: indicator, malware, report, …
    Domain,
    /// A relationship or a sighting.
    Relationship,
    /// A cyber-observable: an address, a file, …
    Observable,
    /// A marking definition, an extension definition or language content.
    Meta,
    /// A type that the standard does not define.
    Custom,
}

/// The STIX version an object is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecVersion {
    /// STIX 2.0: read, with only those demands that both versions make.
    V20,
    /// STIX 2.1.
    V21,
}

/// A STIX object whose type, id, times and required properties are right.
///
/// All properties are kept as they came, also the ones the standard does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    id: StixId,
    kind: Kind,
    spec_version: SpecVersion,
    created: Option<Timestamp>,
    modified: Option<Timestamp>,
    properties: Map<String, Value>,
}

impl Object {
    /// Checks one object: `type` and `id` agree; `spec_version` is 2.1, or 2.0, or absent (then a domain object is
    /// a 2.0 one and an observable a 2.1 one); what the type must have is there in the right shape; no time is
    /// before the one it must follow.
    ///
    /// # Errors
    /// [`StixError`] with the first thing found wrong.
    pub fn parse(value: Value) -> Result<Self, StixError> {
        let Value::Object(properties) = value else {
            return Err(StixError::NotAnObject { reason: "it is not a JSON object".into() });
        };
        Self::from_properties(properties)
    }

    /// As [`Object::parse`], from the properties themselves.
    ///
    /// # Errors
    /// As [`Object::parse`].
    pub fn from_properties(properties: Map<String, Value>) -> Result<Self, StixError> {
        let id = checked_id(&properties)?;
        let requirement = requirement::requirement_of(id.object_type());
        let kind = requirement.map_or(Kind::Custom, |requirement| requirement.kind);
        let spec_version = checked_version(&properties, kind)?;
        let strict = spec_version == SpecVersion::V21;

        let checks = Checks { object_type: id.object_type(), properties: &properties, strict };
        if matches!(kind, Kind::Domain | Kind::Relationship | Kind::Meta) {
            checks.require("created", Shape::Time)?;
            // A marking definition has no versions: its meaning may never change (STIX 2.1 §7.2.1).
            if id.object_type() != "marking-definition" {
                checks.require("modified", Shape::Time)?;
            }
        }
        if let Some(requirement) = requirement {
            for property in requirement.properties {
                if strict || !property.new_in_21 {
                    checks.require(property.name, property.shape)?;
                }
            }
            checks.require_one_of(requirement.one_of)?;
        }
        for &(name, shape) in SHARED {
            checks.check(name, shape)?;
        }
        if matches!(kind, Kind::Domain | Kind::Relationship) {
            for &(name, shape) in SHARED_BY_DOMAIN_OBJECTS {
                checks.check(name, shape)?;
            }
        }
        checks.check_order()?;
        checks.check_confidence()?;
        checks.check_external_references()?;

        let created = time_in(&properties, "created");
        let modified = time_in(&properties, "modified");
        Ok(Self { id, kind, spec_version, created, modified, properties })
    }

    /// The id.
    pub fn id(&self) -> &StixId {
        &self.id
    }

    /// The type, for example `indicator`.
    pub fn object_type(&self) -> &str {
        self.id.object_type()
    }

    /// The family of the type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The STIX version it is written in.
    pub fn spec_version(&self) -> SpecVersion {
        self.spec_version
    }

    /// When the first version was made; observables have none.
    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// When this version was made; observables and marking definitions have none.
    pub fn modified(&self) -> Option<Timestamp> {
        self.modified
    }

    /// Whether its maker took it back.
    pub fn is_revoked(&self) -> bool {
        self.boolean("revoked").unwrap_or(false)
    }

    /// The maker's confidence from 0 to 100, if stated.
    pub fn confidence(&self) -> Option<u8> {
        self.integer("confidence").and_then(|value| u8::try_from(value).ok())
    }

    /// The labels.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.texts("labels")
    }

    /// Where else to read about it; entries without a `source_name` were refused at parsing.
    pub fn external_references(&self) -> Vec<ExternalReference> {
        let entries = self.properties.get("external_references").and_then(Value::as_array);
        entries.into_iter().flatten().filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect()
    }

    /// The pattern of an indicator in the STIX language; `None` for other objects and other languages.
    pub fn pattern(&self) -> Option<Result<Pattern, PatternError>> {
        if self.object_type() != "indicator" {
            return None;
        }
        // STIX 2.0 had one language only and no property for it.
        match self.text("pattern_type") {
            None | Some("stix") => self.text("pattern").map(Pattern::parse),
            Some(_) => None,
        }
    }

    /// A property that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name).and_then(Value::as_str)
    }

    /// The texts in a property that is a list.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.properties.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// A property that is a time.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        time_in(&self.properties, name)
    }

    /// A property that is true or false.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.properties.get(name).and_then(Value::as_bool)
    }

    /// A property that is a whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.properties.get(name).and_then(Value::as_i64)
    }

    /// A property that names one other object.
    pub fn reference(&self, name: &str) -> Option<StixId> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// The ids in a property that names other objects.
    pub fn references(&self, name: &str) -> impl Iterator<Item = StixId> {
        self.texts(name).filter_map(|text| text.parse().ok())
    }

    /// All properties as they came.
    pub fn properties(&self) -> &Map<String, Value> {
        &self.properties
    }

    /// All properties as they came, without a copy.
    pub fn into_properties(self) -> Map<String, Value> {
        self.properties
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.properties.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_properties(Map::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn time_in(properties: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    properties.get(name).and_then(Value::as_str).and_then(|text| parse_time(text).ok())
}

fn checked_id(properties: &Map<String, Value>) -> Result<StixId, StixError> {
    let wrong = |reason: &str| StixError::NotAnObject { reason: reason.into() };
    let object_type = properties.get("type").ok_or_else(|| wrong("it has no `type`"))?;
    let object_type = object_type.as_str().ok_or_else(|| wrong("its `type` is not text"))?;
    if object_type == "bundle" {
        return Err(wrong("a bundle is no object and holds no bundles"));
    }
    if let Some(reason) = id::type_fault(object_type) {
        let shown = StixError::excerpt(object_type);
        return Err(StixError::NotAnObject { reason: format!("its type `{shown}` is none: {reason}") });
    }
    let missing = || StixError::MissingProperty { object_type: object_type.into(), property: "id".into() };
    let id = properties.get("id").ok_or_else(missing)?;
    let bad = |reason: String| StixError::BadProperty {
        object_type: object_type.into(),
        property: "id".into(),
        reason,
    };
    let id: StixId = id.as_str().ok_or_else(|| bad("is not text".into()))?.parse()?;
    if id.object_type() != object_type {
        return Err(bad(format!("names a `{}`", StixError::excerpt(id.object_type()))));
    }
    Ok(id)
}

fn checked_version(properties: &Map<String, Value>, kind: Kind) -> Result<SpecVersion, StixError> {
    match properties.get("spec_version") {
        Some(Value::String(version)) if version == "2.1" => Ok(SpecVersion::V21),
        Some(Value::String(version)) if version == "2.0" => Ok(SpecVersion::V20),
        Some(Value::String(version)) => {
            Err(StixError::UnknownVersion { version: StixError::excerpt(version) })
        }
        Some(other) => Err(StixError::UnknownVersion { version: StixError::excerpt(&other.to_string()) }),
        // 2.0 objects say no version; 2.1 asks it of all but observables, which 2.0 did not let stand alone.
        None if kind == Kind::Observable => Ok(SpecVersion::V21),
        None if kind == Kind::Custom && !properties.contains_key("created") => Ok(SpecVersion::V21),
        None => Ok(SpecVersion::V20),
    }
}

/// The checks of one object.
struct Checks<'a> {
    object_type: &'a str,
    properties: &'a Map<String, Value>,
    strict: bool,
}

impl Checks<'_> {
    fn missing(&self, property: String) -> StixError {
        StixError::MissingProperty { object_type: self.object_type.into(), property }
    }

    fn bad(&self, property: &str, reason: String) -> StixError {
        StixError::BadProperty { object_type: self.object_type.into(), property: property.into(), reason }
    }

    fn require(&self, name: &str, shape: Shape) -> Result<(), StixError> {
        if !self.properties.contains_key(name) {
            return Err(self.missing(name.into()));
        }
        self.check(name, shape)
    }

    fn check(&self, name: &str, shape: Shape) -> Result<(), StixError> {
        match self.properties.get(name).and_then(|value| shape.fault(value, self.strict)) {
            Some(reason) => Err(self.bad(name, reason)),
            None => Ok(()),
        }
    }

    fn require_one_of(&self, names: &[&str]) -> Result<(), StixError> {
        if names.is_empty() || names.iter().any(|name| self.properties.contains_key(*name)) {
            return Ok(());
        }
        Err(self.missing(names.join("` or `")))
    }

    fn check_order(&self) -> Result<(), StixError> {
        for &(first, second, strictly) in ORDERED {
            // Feeds in 2.0 swap all sorts of times; of those only the order of versions must be relied upon.
            if !self.strict && first != "created" {
                continue;
            }
            let times = (time_in(self.properties, first), time_in(self.properties, second));
            if let (Some(start), Some(end)) = times
                && (end < start || (strictly && end == start))
            {
                let relation = if strictly { "not after" } else { "before" };
                return Err(self.bad(second, format!("is {relation} `{first}`")));
            }
        }
        Ok(())
    }

    fn check_confidence(&self) -> Result<(), StixError> {
        match self.properties.get("confidence") {
            Some(value) if value.as_u64().is_none_or(|confidence| confidence > 100) => {
                Err(self.bad("confidence", "is not from 0 to 100".into()))
            }
            _ => Ok(()),
        }
    }

    fn check_external_references(&self) -> Result<(), StixError> {
        let entries = self.properties.get("external_references").and_then(Value::as_array);
        let unnamed = entries.into_iter().flatten().any(|entry| {
            entry.get("source_name").and_then(Value::as_str).is_none_or(str::is_empty)
                || ["url", "external_id", "description"]
                    .iter()
                    .any(|name| entry.get(name).is_some_and(|value| !value.is_string()))
        });
        if unnamed {
            let reason = "has an entry without `source_name`, or with something else than text in it";
            return Err(self.bad("external_references", reason.into()));
        }
        Ok(())
    }
}
