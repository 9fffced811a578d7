//! Identifiers: `indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::StixError;

/// The namespace of deterministic STIX ids. Source: STIX 2.1 §2.9.
const NAMESPACE: Uuid = Uuid::from_u128(0x00ab_edb4_aa42_466c_9c01_fed2_3315_a9b7);

/// A STIX identifier: the type of the object, two dashes, a UUID.
///
/// The UUID is written in lower case whatever case it was read in. Source: STIX 2.1 §2.9, §3.1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StixId {
    object_type: Box<str>,
    uuid: Uuid,
}

impl StixId {
    /// An id from its two parts; the caller brings the UUID (version 4 for domain objects and relationships).
    ///
    /// # Errors
    /// [`StixError::BadId`] if the type is not 3 to 250 of `a-z 0-9 -`, or starts or ends with a dash.
    pub fn new(object_type: &str, uuid: Uuid) -> Result<Self, StixError> {
        match type_fault(object_type) {
            None => Ok(Self { object_type: object_type.into(), uuid }),
            Some(reason) => Err(StixError::BadId { text: StixError::excerpt(object_type), reason }),
        }
    }

    /// The same id for the same type and content, everywhere: a version 5 UUID in the STIX namespace over the
    /// canonical JSON (RFC 8785) of the contributing properties, for example `{"value": "198.51.100.3"}`.
    ///
    /// Source: STIX 2.1 §2.9 and "ID Contributing Properties" of each observable in §6.
    ///
    /// # Errors
    /// [`StixError::BadId`] for a type as in [`StixId::new`], and for a number that is no integer (its canonical
    /// form is not written here; no contributing property of the standard has one).
    pub fn deterministic(object_type: &str, contributing: &Map<String, Value>) -> Result<Self, StixError> {
        let mut name = String::new();
        if write_canonical_map(contributing, &mut name).is_none() {
            return Err(StixError::BadId {
                text: StixError::excerpt(object_type),
                reason: "an id derived from content takes no fractions",
            });
        }
        Self::new(object_type, Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    /// The type of the object it names, for example `indicator`.
    pub fn object_type(&self) -> &str {
        &self.object_type
    }

    /// The UUID.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }
}

/// A v5 id over any text, for things whose content has no canonical form in the standard.
pub(crate) fn id_over(object_type: &'static str, name: &str) -> StixId {
    StixId { object_type: object_type.into(), uuid: Uuid::new_v5(&NAMESPACE, name.as_bytes()) }
}

/// What is wrong with a type name. Source: STIX 2.1 §3.1, `type`.
pub(crate) fn type_fault(object_type: &str) -> Option<&'static str> {
    let bytes = object_type.as_bytes();
    if !(3..=250).contains(&bytes.len()) {
        return Some("a type has 3 to 250 characters");
    }
    if !bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        return Some("a type is written in a-z, 0-9 and dashes");
    }
    if bytes.first() == Some(&b'-') || bytes.last() == Some(&b'-') || object_type.contains("--") {
        return Some("a type neither starts nor ends with a dash, nor has two in a row");
    }
    None
}

fn write_canonical_map(map: &Map<String, Value>, out: &mut String) -> Option<()> {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    // RFC 8785 §3.2.3 sorts by UTF-16 code units, which differs from UTF-8 order above the surrogates.
    entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push('{');
    for (position, (key, value)) in entries.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_canonical_text(key, out);
        out.push(':');
        write_canonical(value, out)?;
    }
    out.push('}');
    Some(())
}

fn write_canonical(value: &Value, out: &mut String) -> Option<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) if number.is_f64() => return None,
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_canonical_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_canonical(item, out)?;
            }
            out.push(']');
        }
        Value::Object(map) => write_canonical_map(map, out)?,
    }
    Some(())
}

/// serde_json escapes exactly what RFC 8785 §3.2.2.2 asks for: the quote, the backslash and control characters,
/// the latter as `\b \t \n \f \r` or in lower case hex.
fn write_canonical_text(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

impl fmt::Display for StixId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--{}", self.object_type, self.uuid.hyphenated())
    }
}

impl FromStr for StixId {
    type Err = StixError;

    fn from_str(text: &str) -> Result<Self, StixError> {
        let bad = |reason| StixError::BadId { text: StixError::excerpt(text), reason };
        let (object_type, uuid) =
            text.split_once("--").ok_or_else(|| bad("there are no two dashes after the type"))?;
        if let Some(reason) = type_fault(object_type) {
            return Err(bad(reason));
        }
        // The uuid crate also reads braces, URNs and 32 bare digits; STIX writes one form only.
        let uuid = (uuid.len() == 36).then(|| Uuid::try_parse(uuid).ok()).flatten();
        let uuid = uuid.ok_or_else(|| bad("what follows the two dashes is no UUID"))?;
        Ok(Self { object_type: object_type.into(), uuid })
    }
}

impl Serialize for StixId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StixId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn derives_the_ids_that_everybody_derives() {
        // The first one is printed in STIX 2.1 §2.9; the others are what the library of OASIS gives.
        for (object_type, contributing, id) in [
            ("ipv4-addr", json!({"value": "198.51.100.3"}), "28bb3599-77cd-5a82-a950-b5bc3caf07c4"),
            ("domain-name", json!({"value": "example.com"}), "bedb4899-d24b-5401-bc86-8f6b4cc18ec7"),
            ("autonomous-system", json!({"number": 64496}), "9ad79ee3-2fde-5015-b0cc-7a96404effca"),
            (
                "file",
                json!({"name": "ü\u{1}\"", "hashes": {"MD5": "00000000000000000000000000000001"}}),
                "2a034f17-ed9b-5615-b751-123c2e041a87",
            ),
        ] {
            let derived = StixId::deterministic(object_type, &map(contributing)).unwrap();
            assert_eq!(derived.to_string(), format!("{object_type}--{id}"));
        }
    }

    #[test]
    fn content_is_canonical_before_it_is_hashed() {
        let one = map(json!({"b": [1, true, null], "a": "ü\u{1}\"", "\u{10000}": 1, "\u{ff5e}": 2}));
        let mut text = String::new();
        write_canonical_map(&one, &mut text).unwrap();
        assert_eq!(text, "{\"a\":\"ü\\u0001\\\"\",\"b\":[1,true,null],\"\u{10000}\":1,\"\u{ff5e}\":2}");
        assert!(StixId::deterministic("file", &map(json!({"size": 1.5}))).is_err());
    }

    #[test]
    fn refuses_what_is_no_id() {
        for bad in [
            "",
            "indicator",
            "indicator-8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
            "indicator--",
            "indicator--8e2e2d2b17d44cbf938f98ee46b3cd3f",
            "indicator--{8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3}",
            "Indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
            "ab--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
            "-abc--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
            "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f ",
        ] {
            assert!(bad.parse::<StixId>().is_err(), "{bad}");
        }
        let id: StixId = "x-own-thing--8E2E2D2B-17D4-4CBF-938F-98EE46B3CD3F".parse().unwrap();
        assert_eq!(id.to_string(), "x-own-thing--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f");
    }

    proptest! {
        #[test]
        fn text_round_trips(object_type in "[a-z][a-z0-9]{2,20}(-[a-z0-9]{1,9})?", bits: u128) {
            let id = StixId::new(&object_type, Uuid::from_u128(bits)).unwrap();
            prop_assert_eq!(id.to_string().parse::<StixId>().unwrap(), id);
        }

        #[test]
        fn any_text_is_answered(text: String) {
            let _ = text.parse::<StixId>();
        }
    }
}
