//! Bundles: many objects in one JSON text.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use security_core::{Limits, Timestamp};
use serde_json::{Map, Value};

use crate::{Object, SpecVersion, StixError, StixId, id::id_over};

/// A collection of objects. Source: STIX 2.1 §8.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    id: Option<StixId>,
    objects: Vec<Object>,
    rejected: Vec<Rejected>,
}

/// An entry of a bundle that is no object.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Its place in `objects`, from 0.
    pub index: usize,
    /// What it said its id was, shortened.
    pub id: Option<String>,
    /// Why it is none.
    pub reason: StixError,
}

impl Bundle {
    /// A bundle of these objects. Its id is derived from their ids and versions, so that the same content is the
    /// same bundle.
    pub fn new(objects: Vec<Object>) -> Self {
        let mut versions: Vec<(&StixId, Option<Timestamp>)> = objects.iter().map(version_of).collect();
        versions.sort_unstable();
        let mut name = String::with_capacity(versions.len() * 80);
        for (id, modified) in versions {
            let micros = modified.map_or(0, Timestamp::as_micros);
            let _ = writeln!(name, "{id} {micros}"); // writing to a String cannot fail
        }
        Self { id: Some(id_over("bundle", &name)), objects, rejected: Vec::new() }
    }

    /// Reads the JSON text of a bundle and keeps every right object; the others are in [`Bundle::rejected`], each
    /// with its place and the reason, and so is the second of two equal versions of one object.
    ///
    /// Read are at most `max_bytes` bytes, `max_depth` levels and `max_hits` objects. In memory, a JSON text takes
    /// up to about twenty times its length: give `max_bytes` accordingly.
    ///
    /// # Errors
    /// [`StixError`] if the text is over a limit, no JSON, or no bundle.
    pub fn parse(text: &[u8], limits: Limits) -> Result<Self, StixError> {
        if text.len() > limits.max_bytes {
            return Err(StixError::TooLarge { bytes: text.len(), limit: limits.max_bytes });
        }
        if deepest(text) > limits.max_depth {
            return Err(StixError::TooDeep { limit: limits.max_depth });
        }
        let value = serde_json::from_slice(text)
            .map_err(|error| StixError::NotJson { reason: StixError::excerpt(&error.to_string()) })?;
        let wrong = |reason: &str| StixError::NotABundle { reason: reason.into() };
        let Value::Object(mut bundle) = value else {
            return Err(wrong("it is not a JSON object"));
        };
        if bundle.get("type").and_then(Value::as_str) != Some("bundle") {
            return Err(wrong("its `type` is not `bundle`"));
        }
        // Hand-made bundles often have no id, and nothing refers to one; a wrong id is refused all the same.
        let id = match bundle.get("id") {
            None => None,
            Some(id) => Some(id.as_str().ok_or_else(|| wrong("its `id` is not text"))?.parse::<StixId>()?),
        };
        if id.as_ref().is_some_and(|id| id.object_type() != "bundle") {
            return Err(wrong("its `id` is not that of a bundle"));
        }
        let objects = match bundle.remove("objects") {
            None => Vec::new(),
            Some(Value::Array(objects)) => objects,
            Some(_) => return Err(wrong("its `objects` is not a list")),
        };
        let mut parsed = Self::from_values(objects, limits)?;
        parsed.id = id;
        Ok(parsed)
    }

    /// As [`Bundle::parse`], from objects that are JSON already, like the pages of a TAXII server.
    ///
    /// # Errors
    /// [`StixError::TooMany`] if there are more than `max_hits`.
    pub fn from_values(values: Vec<Value>, limits: Limits) -> Result<Self, StixError> {
        if values.len() > limits.max_hits {
            return Err(StixError::TooMany { found: values.len(), limit: limits.max_hits });
        }
        let mut objects = Vec::with_capacity(values.len());
        let mut rejected = Vec::new();
        let mut seen: HashSet<(StixId, Option<Timestamp>)> = HashSet::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let stated = value.get("id").and_then(Value::as_str).map(StixError::excerpt);
            let checked = Object::parse(value).and_then(|object| {
                let (id, modified) = version_of(&object);
                if seen.insert((id.clone(), modified)) {
                    Ok(object)
                } else {
                    Err(StixError::Duplicate { id: id.clone() })
                }
            });
            match checked {
                Ok(object) => objects.push(object),
                Err(reason) => rejected.push(Rejected { index, id: stated, reason }),
            }
        }
        Ok(Self { id: None, objects, rejected })
    }

    /// The id, if it has one.
    pub fn id(&self) -> Option<&StixId> {
        self.id.as_ref()
    }

    /// The objects in their order.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The objects without a copy.
    pub fn into_objects(self) -> Vec<Object> {
        self.objects
    }

    /// What was in the text and is no object.
    pub fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    /// The newest version of each object, in the order in which the objects were first met.
    pub fn latest(&self) -> Vec<&Object> {
        let mut places: HashMap<&StixId, usize> = HashMap::with_capacity(self.objects.len());
        let mut latest: Vec<&Object> = Vec::with_capacity(self.objects.len());
        for object in &self.objects {
            match places.get(object.id()) {
                None => {
                    places.insert(object.id(), latest.len());
                    latest.push(object);
                }
                Some(&place) if latest[place].modified() < object.modified() => latest[place] = object,
                Some(_) => {}
            }
        }
        latest
    }

    /// The bundle as a JSON value.
    pub fn to_value(&self) -> Value {
        let mut bundle = Map::new();
        bundle.insert("type".into(), "bundle".into());
        if let Some(id) = &self.id {
            bundle.insert("id".into(), id.to_string().into());
        }
        // STIX 2.1 §8.1 reserves the version of the bundle for 2.0, which asked for it.
        let all_old = !self.objects.is_empty()
            && self.objects.iter().all(|object| object.spec_version() == SpecVersion::V20);
        if all_old {
            bundle.insert("spec_version".into(), "2.0".into());
        }
        if !self.objects.is_empty() {
            let objects = self.objects.iter().map(|object| object.properties().clone().into()).collect();
            bundle.insert("objects".into(), Value::Array(objects));
        }
        Value::Object(bundle)
    }

    /// The bundle as JSON text in one line.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }
}

fn version_of(object: &Object) -> (&StixId, Option<Timestamp>) {
    (object.id(), object.modified())
}

/// The deepest nesting of a JSON text, found before anything is built from it.
fn deepest(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for &byte in text {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn identity(number: u8, modified: &str) -> Value {
        json!({
            "type": "identity", "spec_version": "2.1",
            "id": format!("identity--00000000-0000-4000-8000-0000000000{number:02x}"),
            "created": "2026-01-01T00:00:00.000Z", "modified": modified, "name": format!("Team {number}"),
        })
    }

    fn parse(bundle: &Value) -> Result<Bundle, StixError> {
        Bundle::parse(bundle.to_string().as_bytes(), Limits::DEFAULT)
    }

    #[test]
    fn keeps_the_right_ones_and_names_the_others() {
        let first = identity(1, "2026-01-01T00:00:00.000Z");
        let second = identity(1, "2026-02-01T00:00:00.000Z");
        let bundle = parse(&json!({
            "type": "bundle", "id": "bundle--00000000-0000-4000-8000-000000000000",
            "objects": [first, {"type": "identity"}, second, first, 7, identity(2, "2025-01-01T00:00:00.000Z")],
        }))
        .unwrap();
        assert_eq!(bundle.objects().len(), 2);
        let told: Vec<(usize, String)> =
            bundle.rejected().iter().map(|entry| (entry.index, entry.reason.to_string())).collect();
        assert_eq!(told[0], (1, "identity without `id`".into()));
        assert_eq!(told[1].0, 3);
        assert!(told[1].1.ends_with("was already in this bundle in the same version"));
        assert_eq!(told[2], (4, "not a STIX object: it is not a JSON object".into()));
        assert_eq!(told[3], (5, "identity: `modified` is before `created`".into()));
        let latest = bundle.latest();
        assert_eq!(latest.len(), 1);
        assert_eq!(latest[0].text("modified"), Some("2026-02-01T00:00:00.000Z"));
    }

    #[test]
    fn refuses_what_is_no_bundle() {
        for (wrong, reason) in [
            (json!([]), "not a JSON object"),
            (json!({"objects": []}), "`type`"),
            (json!({"type": "bundle", "id": 1}), "`id` is not text"),
            (
                json!({"type": "bundle", "id": "identity--00000000-0000-4000-8000-000000000001"}),
                "`id` is not",
            ),
            (json!({"type": "bundle", "id": "bundle--1"}), "UUID"),
            (json!({"type": "bundle", "objects": {}}), "not a list"),
        ] {
            let error = parse(&wrong).unwrap_err().to_string();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
        assert!(matches!(Bundle::parse(b"{", Limits::DEFAULT), Err(StixError::NotJson { .. })));
        assert!(parse(&json!({"type": "bundle"})).unwrap().objects().is_empty());
    }

    #[test]
    fn each_limit_holds() {
        let bundle = json!({"type": "bundle", "objects": [identity(1, "2026-01-01T00:00:00.000Z"), 1]});
        let text = bundle.to_string();
        let with = |limits| Bundle::parse(text.as_bytes(), limits);
        let limits = Limits { max_bytes: text.len(), max_hits: 2, max_depth: 3, ..Limits::DEFAULT };
        assert!(with(limits).is_ok());
        let tight = Limits { max_bytes: text.len() - 1, ..limits };
        assert!(matches!(with(tight), Err(StixError::TooLarge { .. })));
        assert_eq!(with(Limits { max_hits: 1, ..limits }), Err(StixError::TooMany { found: 2, limit: 1 }));
        assert_eq!(with(Limits { max_depth: 2, ..limits }), Err(StixError::TooDeep { limit: 2 }));
        assert_eq!(deepest(br#"{"a[{\"[": "[[[\\", "b": [{}]}"#), 3);
        // Whatever limit the caller sets, the JSON reader has its own, and refuses instead of overflowing the stack.
        let deep = "[".repeat(100_000);
        let loose = Limits { max_depth: usize::MAX, ..Limits::DEFAULT };
        assert!(matches!(Bundle::parse(deep.as_bytes(), loose), Err(StixError::NotJson { .. })));
    }

    #[test]
    fn the_same_objects_are_the_same_bundle() {
        let object = |n| Object::parse(identity(n, "2026-01-01T00:00:00.000Z")).unwrap();
        let (one, two) = (Bundle::new(vec![object(1), object(2)]), Bundle::new(vec![object(2), object(1)]));
        assert_eq!(one.id(), two.id());
        assert_ne!(one.id(), Bundle::new(vec![object(1)]).id());
        assert_eq!(Bundle::parse(one.to_json().as_bytes(), Limits::DEFAULT).unwrap(), one);
    }

    #[test]
    fn a_large_bundle_gets_its_id_in_linear_time() {
        // Copying what is there for each object would take minutes.
        let objects = (0..100_000_u32).map(|n| {
            let mut value = identity(1, "2026-01-01T00:00:00.000Z");
            value["id"] = format!("identity--00000000-0000-4000-8000-{n:012x}").into();
            Object::parse(value).unwrap()
        });
        let bundle = Bundle::new(objects.collect());
        assert!(bundle.id().is_some_and(|id| id.object_type() == "bundle"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Bundle::parse(&bytes, Limits::DEFAULT);
        }

        #[test]
        fn any_values_are_answered(property in "[a-z_]{1,12}", value in "[\\[\\]{}\",:a-z0-9]{0,30}") {
            let text = format!(
                r#"{{"type":"bundle","objects":[{{"type":"indicator","{property}":"{value}"}},{value}]}}"#
            );
            let _ = Bundle::parse(text.as_bytes(), Limits::DEFAULT);
        }
    }
}
