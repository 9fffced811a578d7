//! Queries over records by dotted keys.
//!
//! A query is a JSON object; all its entries must hold.
//!
//! ```text
//! {"type": "ip"}                          the field equals the text, letter case aside
//! {"data.author.name": "x"}               a path; an object may stand for it: {"data": {"author": …}}
//! {"confidence": 80, "revoked": false}    numbers, true, false, null
//! {"tags": ["red", "blue"]}               any of the list
//! {"value": "*.example.com"}              `*` stands for any run of characters; "*" alone for any value
//! ```
//!
//! Lists in a record are looked through: any element may hold. A path whose first word a record does not have
//! is looked for below its `data` as well. `type` takes each name of a kind (`ipv4` is `ip`, `hash` is any
//! digest), `value` is compared in canonical form too, and `source` looks at each of an indicator's sources.

use security_indicators::{Indicator, IocType};
use serde_json::{Map, Value};

use crate::{IntelError, IntelFilter, IntelRecord, IocFilter, IocRecord, categorize, error::shorten};

/// The most entries of a query, and of a list in one.
const MAX_ENTRIES: usize = 1000;
/// The deepest path.
const MAX_DEPTH: usize = 32;

/// A query that was read without an error.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    path: Vec<String>,
    /// Any of these.
    wanted: Vec<Wanted>,
    /// The text as it was given, when a single one without `*` was.
    lone_text: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// Lower-case text.
    Text(String),
    /// Lower-case text with `*`.
    Like(String),
    Number(f64),
    Bool(bool),
    Null,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`IntelError::Query`] with the key and what is accepted.
    pub fn parse(query: &Value) -> Result<Self, IntelError> {
        let Value::Object(map) = query else {
            return Err(refuse("query", query, "an object like {\"type\": \"ip\"}"));
        };
        let mut terms = Vec::new();
        collect(map, &mut Vec::new(), &mut terms)?;
        Ok(Self { terms })
    }

    /// Whether the query asks for nothing, so that every record holds.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether no record at all holds: an empty list is asked for.
    pub fn holds_for_none(&self) -> bool {
        self.terms.iter().any(|term| term.wanted.is_empty())
    }

    /// Whether an object of this `kind` can hold that has these fields at most; without `fields`, any.
    pub fn may_hold(&self, kind: &str, fields: Option<&[&str]>) -> bool {
        self.terms.iter().all(|term| {
            let is_there = fields.is_none_or(|fields| fields.contains(&term.path[0].as_str()));
            is_there && (term.path != ["kind"] || found(&Value::from(kind), &[], &term.wanted))
        })
    }

    /// Whether an indicator's record holds.
    pub fn matches_ioc(&self, record: &IocRecord) -> bool {
        let mut json = serde_json::to_value(record).unwrap_or(Value::Null);
        let names = record.sources.iter().map(|known| Value::from(known.source.clone())).collect();
        json["source"] = Value::Array(names);
        self.matches(&json)
    }

    /// Whether an intelligence record holds.
    pub fn matches_intel(&self, record: &IntelRecord) -> bool {
        serde_json::to_value(record).is_ok_and(|json| self.matches(&json))
    }

    /// Whether any JSON holds.
    pub fn matches(&self, json: &Value) -> bool {
        self.terms.iter().all(|term| {
            let top = term.path[0].as_str();
            let holds = |value: &Value| found(value, &term.path, &term.wanted);
            if holds(json) {
                return true;
            }
            top != "data" && json.get(top).is_none() && json.get("data").is_some_and(holds)
        })
    }

    /// What a store of indicators can narrow the search by; never leaves out a record that holds.
    pub fn ioc_filter(&self) -> IocFilter {
        let kind: Option<IocType> = self.lone_text("type").and_then(|text| text.parse().ok());
        let value = self.lone_text("value").and_then(|text| match kind {
            Some(kind) => Indicator::parse(kind, text).ok().filter(|found| found.kind() == kind),
            None => Indicator::identify(text),
        });
        // Other kinds have letters in either case, and a query does not look at case; but full text finds them.
        let value = value.filter(|found| {
            use IocType::{Cidr, Domain, Ip, IpPort, Md5, Sha1, Sha256, Sha384, Sha512};
            matches!(found.kind(), Ip | Cidr | IpPort | Domain | Md5 | Sha1 | Sha256 | Sha384 | Sha512)
        });
        let text = match value {
            None => self.lone_text("value").filter(|text| self.is_found_by_words(text)),
            Some(_) => None,
        };
        IocFilter {
            kind,
            value: value.map(|found| found.value().to_owned()),
            any_source: self.texts("source"),
            any_tag: self.texts("tags"),
            min_confidence: self.least_number("confidence"),
            text: text.map(str::to_owned),
            ..IocFilter::default()
        }
    }

    /// Whether full text finds every value that equals the text, letter case aside: it must be the only spelling
    /// asked for, with a word in it and without letters that two alphabets treat differently.
    fn is_found_by_words(&self, text: &str) -> bool {
        let term = self.terms.iter().find(|term| term.path == ["value"]);
        text.is_ascii()
            && text.contains(|letter: char| letter.is_ascii_alphanumeric())
            && term.is_some_and(|term| term.wanted.len() == 1)
    }

    /// What a store of intelligence records can narrow the search by; never leaves out a record that holds.
    pub fn intel_filter(&self) -> IntelFilter {
        IntelFilter {
            source_type: self
                .lone_text("source_type")
                .and_then(|text| categorize::canonical_source_type(text).ok()),
            priority_level: self
                .lone_text("priority_level")
                .and_then(|text| categorize::canonical_priority(text).ok())
                .map(str::to_owned),
            any_tag: self.texts("tags"),
            ..IntelFilter::default()
        }
    }

    /// The texts, in lower case, that a field must be one of; none when it may be anything else as well.
    fn texts(&self, name: &str) -> Vec<String> {
        let term = self.terms.iter().find(|term| term.path == [name]);
        let texts = term.and_then(|term| {
            let text = |wanted: &Wanted| match wanted {
                Wanted::Text(text) => Some(text.clone()),
                _ => None,
            };
            term.wanted.iter().map(text).collect()
        });
        texts.unwrap_or_default()
    }

    /// The least of the numbers that a field from 0 to 100 must be one of, rounded down.
    fn least_number(&self, name: &str) -> Option<u8> {
        let term = self.terms.iter().find(|term| term.path == [name])?;
        let numbers = term.wanted.iter().map(|wanted| match wanted {
            Wanted::Number(number) => Some(*number),
            Wanted::Text(text) => text.parse().ok(),
            _ => None,
        });
        let numbers = numbers.collect::<Option<Vec<f64>>>()?;
        let least = numbers.into_iter().filter(|number| !number.is_nan()).reduce(f64::min)?;
        (0..=100).rev().find(|whole| f64::from(*whole) <= least).or(Some(0))
    }

    fn lone_text(&self, name: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.path == [name])?.lone_text.as_deref()
    }
}

fn collect(
    map: &Map<String, Value>,
    path: &mut Vec<String>,
    terms: &mut Vec<Term>,
) -> Result<(), IntelError> {
    for (key, value) in map {
        let place = || path.iter().map(String::as_str).chain([key.as_str()]).collect::<Vec<_>>().join(".");
        let words: Vec<String> = key.split('.').map(str::to_owned).collect();
        if words.iter().any(String::is_empty) || key.starts_with('$') || path.len() + words.len() > MAX_DEPTH
        {
            let accepted = "keys that are field names with dots between them; there are no operators";
            return Err(refuse(&place(), value, accepted));
        }
        if terms.len() >= MAX_ENTRIES {
            return Err(IntelError::TooLarge { what: "the query", size: terms.len() + 1, most: MAX_ENTRIES });
        }
        if let Value::Object(inner) = value {
            let length = path.len();
            path.extend(words);
            collect(inner, path, terms)?;
            path.truncate(length);
            continue;
        }
        let items = match value {
            Value::Array(items) if items.len() > MAX_ENTRIES => {
                return Err(IntelError::TooLarge {
                    what: "a list of the query",
                    size: items.len(),
                    most: MAX_ENTRIES,
                });
            }
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let path: Vec<String> = path.iter().cloned().chain(words).collect();
        let mut wanted = Vec::new();
        for item in items {
            let text = match item {
                Value::Null => Wanted::Null,
                Value::Bool(value) => Wanted::Bool(*value),
                Value::Number(number) => Wanted::Number(number.as_f64().unwrap_or(f64::NAN)),
                Value::String(text) if text.contains('*') => Wanted::Like(text.to_lowercase()),
                Value::String(text) => {
                    wanted.extend(other_spellings(&path, text).into_iter().map(Wanted::Text));
                    Wanted::Text(text.to_lowercase())
                }
                other => {
                    let accepted = "text, a number, true, false, null, or a list of them";
                    return Err(refuse(&path.join("."), other, accepted));
                }
            };
            wanted.push(text);
        }
        let lone_text = value.as_str().filter(|text| !text.contains('*')).map(str::to_owned);
        terms.push(Term { path, wanted, lone_text });
    }
    Ok(())
}

/// What a text asked for may stand as in a record.
fn other_spellings(path: &[String], text: &str) -> Vec<String> {
    match path {
        [name] if name == "type" => {
            let lower = text.trim().to_lowercase();
            if ["hash", "file_hash"].contains(&lower.as_str()) {
                return ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"].map(str::to_owned).to_vec();
            }
            let canonical = lower.parse::<IocType>().map(|kind| kind.as_str().to_owned());
            canonical.into_iter().filter(|name| *name != text.to_lowercase()).collect()
        }
        [name] if name == "value" => {
            let canonical = Indicator::identify(text).map(|found| found.value().to_lowercase());
            canonical.into_iter().filter(|value| *value != text.to_lowercase()).collect()
        }
        _ => Vec::new(),
    }
}

fn refuse(place: &str, given: &Value, accepted: &'static str) -> IntelError {
    IntelError::Query { place: shorten(place, 80), given: shorten(&given.to_string(), 60), accepted }
}

/// Whether the value at the path, or any of several through lists, is one of the wanted.
fn found(value: &Value, path: &[String], wanted: &[Wanted]) -> bool {
    match (value, path) {
        (Value::Array(items), _) => items.iter().any(|item| found(item, path, wanted)),
        (Value::Object(map), [name, rest @ ..]) => {
            if let Some(inner) = map.get(name)
                && found(inner, rest, wanted)
            {
                return true;
            }
            // A key that itself holds dots: `{"event.action": …}`.
            !rest.is_empty() && map.get(&path.join(".")).is_some_and(|inner| found(inner, &[], wanted))
        }
        (leaf, []) => wanted.iter().any(|wanted| wanted.holds(leaf)),
        _ => false,
    }
}

impl Wanted {
    fn holds(&self, found: &Value) -> bool {
        match (self, found) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(found)) => wanted == found,
            (Self::Number(wanted), Value::Number(found)) => found.as_f64() == Some(*wanted),
            (Self::Number(wanted), Value::String(found)) => found.trim().parse() == Ok(*wanted),
            (Self::Text(wanted), Value::String(found)) => found.to_lowercase() == *wanted,
            (Self::Text(wanted), Value::Number(number)) => number.to_string().as_str() == wanted,
            (Self::Text(wanted), Value::Bool(found)) => wanted == if *found { "true" } else { "false" },
            (Self::Like(_), Value::Null) => false,
            (Self::Like(pattern), Value::String(found)) => is_like(&found.to_lowercase(), pattern),
            (Self::Like(pattern), Value::Number(_) | Value::Bool(_)) => is_like(&found.to_string(), pattern),
            (Self::Like(pattern), Value::Object(_)) => pattern.chars().all(|letter| letter == '*'),
            _ => false,
        }
    }
}

/// Whether the text is the pattern, with `*` for any run of characters; linear.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewIoc;
    use proptest::prelude::*;
    use security_core::Timestamp;
    use serde_json::json;

    fn ioc() -> IocRecord {
        IocRecord::new(NewIoc {
            indicator: Indicator::parse(IocType::Ip, "192.0.2.7").unwrap(),
            original: None,
            source: "Internal".to_owned(),
            confidence: 80,
            description: "Scanner".to_owned(),
            tags: vec!["red".to_owned(), "blue".to_owned()],
            related_intel_ids: Vec::new(),
            seen_at: Timestamp::EPOCH,
            first_seen: None,
            valid_until: None,
        })
    }

    fn intel() -> IntelRecord {
        IntelRecord {
            id: "intel--1".to_owned(),
            source_type: "forums".to_owned(),
            priority_level: "High".to_owned(),
            created_at: Timestamp::EPOCH,
            categories: vec!["fraud".to_owned()],
            tags: vec!["shop".to_owned()],
            iocs: vec!["ip:192.0.2.7".to_owned()],
            data: json!({"author": {"name": "Nobody"}, "posts": [{"n": 1}, {"n": 2}], "a.b": "dotted"}),
        }
    }

    #[test]
    fn queries_hold_for_indicators() {
        for (query, expected) in [
            (json!({}), true),
            (json!({"type": "ip"}), true),
            (json!({"type": "IPv4"}), true),
            (json!({"type": "domain"}), false),
            (json!({"type": ["domain", "ip"]}), true),
            (json!({"type": "ip", "confidence": 80, "source": "internal"}), true),
            (json!({"confidence": "80"}), true),
            (json!({"confidence": 81}), false),
            (json!({"value": "192[.]0[.]2[.]7"}), true),
            (json!({"value": "192.0.2.*"}), true),
            (json!({"value": "*.7"}), true),
            (json!({"value": "*.8"}), false),
            (json!({"tags": "RED"}), true),
            (json!({"tags": []}), false),
            (json!({"valid_until": null}), true),
            (json!({"sources.confidence": 80}), true),
            (json!({"sources": {"source": "INTERNAL"}}), true),
            (json!({"nothing": "*"}), false),
        ] {
            assert_eq!(Query::parse(&query).unwrap().matches_ioc(&ioc()), expected, "{query}");
        }
    }

    #[test]
    fn queries_hold_for_intelligence() {
        for (query, expected) in [
            (json!({"data.author.name": "nobody"}), true),
            (json!({"author.name": "nobody"}), true),
            (json!({"data": {"author": {"name": "no*"}}}), true),
            (json!({"data.posts.n": 2}), true),
            (json!({"data.posts.n": 3}), false),
            (json!({"data.a.b": "dotted"}), true),
            (json!({"data.author": "*"}), true),
            (json!({"source_type": "FORUMS", "priority_level": "high"}), true),
            (json!({"iocs": "ip:*"}), true),
            (json!({"type": "ip"}), false),
        ] {
            assert_eq!(Query::parse(&query).unwrap().matches_intel(&intel()), expected, "{query}");
        }
    }

    #[test]
    fn hints_narrow_without_losing() {
        let query = Query::parse(&json!({"type": "IP", "value": "192.0.2.007"})).unwrap();
        assert_eq!(query.ioc_filter().kind, Some(IocType::Ip));
        let query = Query::parse(&json!({"type": ["ip", "domain"], "value": "192[.]0.2.7"})).unwrap();
        let filter = query.ioc_filter();
        assert_eq!((filter.kind, filter.value.as_deref()), (None, Some("192.0.2.7")));
        let query = Query::parse(&json!({"type": "url", "value": "http://evil.example/A"})).unwrap();
        assert_eq!(query.ioc_filter().value, None);
        let query = Query::parse(&json!({"type": "ip", "value": "192.0.2.7"})).unwrap();
        assert_eq!(query.ioc_filter().value.as_deref(), Some("192.0.2.7"));
        let query = Query::parse(&json!({"source_type": "Forums", "priority_level": "HIGH"})).unwrap();
        let filter = query.intel_filter();
        assert_eq!(
            (filter.source_type.as_deref(), filter.priority_level.as_deref()),
            (Some("forums"), Some("High"))
        );
    }

    #[test]
    fn hints_name_sources_tags_and_confidence() {
        let filter = |query: Value| Query::parse(&query).unwrap().ioc_filter();
        let both = filter(json!({"source": "Partner", "tags": ["Red", "blue"], "confidence": 80}));
        assert_eq!(
            (both.any_source, both.any_tag),
            (vec!["partner".into()], vec!["red".into(), "blue".into()])
        );
        assert_eq!(both.min_confidence, Some(80));
        // What a list of texts does not say is not narrowed by.
        let open = filter(json!({"source": "par*", "tags": ["red", null], "confidence": ["60", 70.5, "x"]}));
        assert_eq!((open.any_source, open.any_tag, open.min_confidence), (vec![], vec![], None));
        for (given, expected) in
            [(json!(["60", 70.5]), 60), (json!(70.5), 70), (json!(300), 100), (json!(-1), 0)]
        {
            assert_eq!(filter(json!({"confidence": given})).min_confidence, Some(expected));
        }
        let intel = Query::parse(&json!({"tags": "Red"})).unwrap().intel_filter();
        assert_eq!((intel.any_tag, intel.tags), (vec!["red".to_owned()], vec![]));
        // A value that may stand in either case is looked for by its words.
        let value = |value: &str| filter(json!({"value": value})).text;
        assert_eq!(value("http://evil.example/A").as_deref(), Some("http://evil.example/A"));
        assert_eq!((value("192.0.2.7"), value("-"), value("hxxp://evil[.]example/A")), (None, None, None));
    }

    #[test]
    fn what_cannot_hold_is_known_beforehand() {
        let query = |query: Value| Query::parse(&query).unwrap();
        assert!(query(json!({"a": 1, "tags": []})).holds_for_none());
        assert!(!query(json!({"a": 1})).holds_for_none());
        let fields: &[&str] = &["kind", "value", "sources"];
        for (given, expected) in [
            (json!({}), true),
            (json!({"value": "x", "sources.source": "y"}), true),
            (json!({"data.author": "x"}), false),
            (json!({"kind": "IOC"}), true),
            (json!({"kind": ["intel", "i*"]}), true),
            (json!({"kind": "intel"}), false),
        ] {
            assert_eq!(query(given.clone()).may_hold("ioc", Some(fields)), expected, "{given}");
        }
        assert!(query(json!({"data.author": "x"})).may_hold("intel", None));
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for bad in [
            json!("ip"),
            json!([1]),
            json!(null),
            json!({"": 1}),
            json!({"a..b": 1}),
            json!({"$or": []}),
            json!({"a": {"$gte": 3}}),
            json!({"a": [[1]]}),
        ] {
            assert!(matches!(Query::parse(&bad), Err(IntelError::Query { .. })), "{bad}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c.*$]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c.]{0,4}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn never_panics(query in any_json(), record in any_json()) {
            if let Ok(query) = Query::parse(&query) {
                query.matches(&record);
                query.ioc_filter();
                query.intel_filter();
            }
        }
    }
}
