//! JSON: lists, objects around lists, JSON lines; MISP and STIX are told apart here.

use std::io::{BufRead, Cursor, Read};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Entry, FeedFormat, FeedOptions, Rejected, Step, confidence_of, elements,
    lines::{Line, Lines},
    misp, stix, time_of,
};
use crate::{IntelError, IocRecord, NewIoc, error::shorten};

/// Keys under which documents keep their lists.
const LIST_KEYS: &[&str] =
    &["data", "iocs", "indicators", "results", "items", "objects", "values", "observables", "entries"];
const VALUE_KEYS: &[&str] = &["value", "indicator", "ioc", "ioc_value", "observable", "indicator_value"];
const KIND_KEYS: &[&str] = &["type", "ioc_type", "indicator_type", "kind"];
/// Keys that are both a kind's name and its value's place: `{"url": "…", "tags": […]}`.
const OWN_KEYS: &[&str] = &[
    "ip", "ipv4", "ipv6", "cidr", "domain", "hostname", "url", "email", "md5", "sha1", "sha256", "sha512",
    "hash",
];
/// The longest line of JSON lines, and the longest element of a list that streams, in bytes.
pub(crate) const MAX_LINE: usize = 1 << 20;
/// The longest name of a source, in characters.
const MAX_SOURCE: usize = 200;

pub(crate) type Steps<'r> = Box<dyn Iterator<Item = Step> + 'r>;

/// Reads a document; a `json` that is a MISP event or a STIX bundle is read as that. A list or a STIX bundle that
/// is larger than `max_bytes` is read an element at a time.
pub(crate) fn read<'r>(
    format: FeedFormat,
    mut input: impl BufRead + 'r,
    options: FeedOptions,
) -> Result<(FeedFormat, Steps<'r>), IntelError> {
    let broken = |source| IntelError::Stream { doing: "reading the feed", source };
    if format == FeedFormat::Json && is_json_lines(input.fill_buf().map_err(broken)?) {
        return Ok((format, Box::new(json_lines(input, options))));
    }
    let most = options.limits.max_bytes;
    let mut bytes = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    input.by_ref().take(bound).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() > most {
        return elements::read(format, Cursor::new(bytes).chain(input), options);
    }
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    if format == FeedFormat::Stix {
        return Ok((format, Box::new(stix::read(text, &options)?)));
    }
    let name = if format == FeedFormat::Misp { "MISP" } else { "JSON" };
    let value: Value = serde_json::from_slice(text).map_err(|error| IntelError::json(name, &error))?;
    if format == FeedFormat::Json {
        if value.get("type").and_then(Value::as_str) == Some("bundle") {
            return Ok((FeedFormat::Stix, Box::new(stix::read(text, &options)?)));
        }
        if !misp::is_misp(&value) {
            let items = items(value)?;
            let steps = (1..).zip(items).flat_map(move |(line, item)| item_steps(&item, line, &options));
            return Ok((format, Box::new(steps)));
        }
    }
    Ok((FeedFormat::Misp, Box::new(misp::read(value, options)?)))
}

/// Whether the first line is a whole object and more follows.
fn is_json_lines(head: &[u8]) -> bool {
    let start = head.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(head.len());
    let head = head[start..].strip_prefix("\u{feff}".as_bytes()).unwrap_or(&head[start..]);
    let Some(end) = head.iter().position(|byte| *byte == b'\n').filter(|_| head.starts_with(b"{")) else {
        return false;
    };
    let more = head[end..].iter().any(|byte| !byte.is_ascii_whitespace());
    more && serde_json::from_slice::<serde::de::IgnoredAny>(&head[..end]).is_ok()
}

fn json_lines<'r>(input: impl BufRead + 'r, options: FeedOptions) -> impl Iterator<Item = Step> + 'r {
    Lines::new(input, MAX_LINE).flat_map(move |line| match line {
        Err(source) => vec![Step::Broken(IntelError::Stream { doing: "reading the feed", source })],
        Ok((line, Line::TooLong(text))) => {
            vec![Step::Rejected(Rejected {
                line,
                text,
                reason: format!("it is longer than {MAX_LINE} bytes"),
            })]
        }
        Ok((_, Line::Text(text))) if text.trim().is_empty() => Vec::new(),
        Ok((line, Line::Text(text))) => match serde_json::from_str::<Value>(&text) {
            Ok(item) => item_steps(&item, line, &options),
            Err(error) => {
                let reason = format!("it is no JSON: {error}");
                vec![Step::Rejected(Rejected { line, text: shorten(&text, 80), reason })]
            }
        },
    })
}

/// The entries of a document.
fn items(document: Value) -> Result<Vec<Value>, IntelError> {
    let mut map = match document {
        Value::Array(items) => return Ok(items),
        Value::Object(map) => map,
        _ => return Err(IntelError::malformed("JSON", "it is neither a list nor an object")),
    };
    if let Some(Value::Array(items)) = LIST_KEYS
        .iter()
        .find(|key| map.get(**key).is_some_and(Value::is_array))
        .and_then(|key| map.remove(*key))
    {
        return Ok(items);
    }
    if VALUE_KEYS.iter().chain(OWN_KEYS).any(|key| map.get(*key).is_some_and(Value::is_string)) {
        return Ok(vec![Value::Object(map)]);
    }
    // Some publish an object of lists, one a day or one an id.
    if !map.is_empty() && map.values().all(Value::is_array) {
        return Ok(map.into_iter().filter_map(|(_, list)| list.as_array().cloned()).flatten().collect());
    }
    let accepted = format!("it holds no list of indicators; looked for under {}", LIST_KEYS.join(", "));
    Err(IntelError::malformed("JSON", &accepted))
}

pub(crate) fn item_steps(item: &Value, line: usize, options: &FeedOptions) -> Vec<Step> {
    let reject = |reason: &str| {
        let text = shorten(&item.to_string(), 80);
        vec![Step::Rejected(Rejected { line, text, reason: reason.to_owned() })]
    };
    let map = match item {
        Value::String(value) => return vec![Entry { line, value, ..Entry::default() }.step(options)],
        Value::Object(map) => map,
        _ => return reject("it is neither text nor an object"),
    };
    if let Some(words) = map.get("sources").and_then(|_| own_words(item, options)) {
        return words.into_iter().map(|word| Step::Word(Box::new(word))).collect();
    }
    let text = |keys: &[&str]| keys.iter().find_map(|key| map.get(*key).and_then(Value::as_str));
    let entry = |kind, value| Entry {
        line,
        kind,
        value,
        confidence: ["confidence", "confidence_level", "score"].iter().find_map(|key| number(map, key)),
        description: text(&["description", "comment", "title", "note"]).unwrap_or(""),
        tags: tags(map),
        seen_at: ["last_seen", "first_seen", "date", "timestamp", "created"]
            .iter()
            .find_map(|key| time(map, key)),
        first_seen: time(map, "first_seen"),
        valid_until: ["valid_until", "expires_at", "expiration", "expires"]
            .iter()
            .find_map(|key| time(map, key)),
    };
    if let Some(value) = text(VALUE_KEYS) {
        return vec![entry(text(KIND_KEYS), value).step(options)];
    }
    let own: Vec<Step> = OWN_KEYS
        .iter()
        .filter_map(|key| Some(entry(Some(*key), map.get(*key)?.as_str().filter(|text| !text.is_empty())?)))
        .map(|entry| entry.step(options))
        .collect();
    if own.is_empty() {
        return reject("it has none of value, indicator, ioc, nor a kind's name as key");
    }
    own
}

/// What each source of a record says, when the element is a record as our own export writes it and its sources
/// are to be kept.
fn own_words(item: &Value, options: &FeedOptions) -> Option<Vec<NewIoc>> {
    let record = IocRecord::deserialize(item).ok().filter(|_| options.keep_sources)?;
    let indicator = record.indicator()?;
    if record.id != IocRecord::id_of(&indicator) || record.sources.is_empty() {
        return None;
    }
    let cut = |texts: Vec<String>| -> Vec<String> {
        texts.iter().map(|text| shorten(text.trim(), 200)).filter(|text| !text.is_empty()).take(100).collect()
    };
    let (tags, related_intel_ids) = (cut(record.tags), cut(record.related_intel_ids));
    let is_name = |name: &str| {
        !name.trim().is_empty() && name.chars().count() <= MAX_SOURCE && !name.contains(char::is_control)
    };
    let words = record.sources.into_iter().map(|known| {
        let seen_at = known.last_seen.min(options.now);
        NewIoc {
            indicator: indicator.clone(),
            original: record.original.clone(),
            source: if is_name(&known.source) { known.source } else { options.source.clone() },
            confidence: known.confidence.min(100),
            description: shorten(&record.description, 2000),
            tags: tags.clone(),
            related_intel_ids: related_intel_ids.clone(),
            seen_at,
            first_seen: Some(known.first_seen).filter(|first| *first < seen_at),
            valid_until: record.valid_until,
        }
    });
    Some(words.collect())
}

fn number(map: &Map<String, Value>, key: &str) -> Option<u8> {
    match map.get(key)? {
        Value::String(text) => confidence_of(text),
        number @ Value::Number(_) => confidence_of(&number.to_string()),
        _ => None,
    }
}

fn time(map: &Map<String, Value>, key: &str) -> Option<security_core::Timestamp> {
    match map.get(key)? {
        Value::String(text) => time_of(text),
        number @ Value::Number(_) => time_of(&number.to_string()),
        _ => None,
    }
}

fn tags(map: &Map<String, Value>) -> Vec<String> {
    let value = map.get("tags").or_else(|| map.get("labels"));
    let tags: Vec<String> = match value {
        Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| item.as_str().or_else(|| item.get("name").and_then(Value::as_str)))
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    tags.into_iter().map(|tag| shorten(tag.trim(), 200)).filter(|tag| !tag.is_empty()).take(100).collect()
}
