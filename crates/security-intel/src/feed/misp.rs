//! MISP events. Source: the MISP core format (draft-dulaunoy-misp-core-format), "Attribute" and "Object".

use security_indicators::{Indicator, IocType};
use serde_json::Value;

use super::{Entry, FeedOptions, Rejected, Step, time_of};
use crate::{IntelError, error::shorten};

/// Whether a document is a MISP event, a list of them, or the answer of a search.
pub(crate) fn is_misp(document: &Value) -> bool {
    match document {
        Value::Array(items) => items.first().is_some_and(|first| first.get("Event").is_some()),
        other => ["Event", "Attribute", "response"].iter().any(|key| other.get(*key).is_some()),
    }
}

pub(crate) fn read(document: Value, options: FeedOptions) -> Result<impl Iterator<Item = Step>, IntelError> {
    let mut steps = Vec::new();
    let mut number = 0;
    for event in events(&document)? {
        event_steps(event, &options, &mut number, &mut steps);
    }
    Ok(steps.into_iter())
}

fn events(document: &Value) -> Result<Vec<&Value>, IntelError> {
    let refuse = |reason: &str| IntelError::malformed("MISP", reason);
    let document = document.get("response").unwrap_or(document);
    match document {
        Value::Array(items) => {
            let events: Vec<_> = items.iter().map(|item| item.get("Event").unwrap_or(item)).collect();
            match events.iter().position(|event| !event.is_object()) {
                Some(at) => Err(refuse(&format!("event {} is no object", at + 1))),
                None => Ok(events),
            }
        }
        Value::Object(map) => match map.get("Event") {
            Some(event @ Value::Object(_)) => Ok(vec![event]),
            Some(Value::Array(events)) => Ok(events.iter().collect()),
            Some(_) => Err(refuse("its `Event` is no object")),
            None if map.contains_key("Attribute") => Ok(vec![document]),
            None => Err(refuse("it has no `Event` and no `Attribute`")),
        },
        _ => Err(refuse("it is neither a list nor an object")),
    }
}

fn event_steps(event: &Value, options: &FeedOptions, number: &mut usize, steps: &mut Vec<Step>) {
    let list =
        |holder: &'_ Value, key: &str| holder.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let event_tags = tag_names(event);
    let info = event.get("info").and_then(Value::as_str).unwrap_or("");
    for attribute in list(event, "Attribute") {
        *number += 1;
        attribute_steps(&attribute, info, &event_tags, *number, options, steps);
    }
    for object in list(event, "Object") {
        for attribute in list(&object, "Attribute") {
            *number += 1;
            let is_gone = flag(&object, "deleted");
            match is_gone {
                true => steps.push(Step::LeftOut("deleted")),
                false => attribute_steps(&attribute, info, &event_tags, *number, options, steps),
            }
        }
    }
}

fn attribute_steps(
    attribute: &Value,
    info: &str,
    event_tags: &[String],
    line: usize,
    options: &FeedOptions,
    steps: &mut Vec<Step>,
) {
    let text = |key: &str| attribute.get(key).and_then(Value::as_str);
    if flag(attribute, "deleted") {
        return steps.push(Step::LeftOut("deleted"));
    }
    if !options.take_all_attributes && !flag(attribute, "to_ids") {
        return steps.push(Step::LeftOut("not meant for detection"));
    }
    let (Some(kind), Some(value)) = (text("type"), text("value").or_else(|| text("value1"))) else {
        let rejected = shorten(&attribute.to_string(), 80);
        let reason = "it has no `type` or no `value`".to_owned();
        return steps.push(Step::Rejected(Rejected { line, text: rejected, reason }));
    };
    let parts = parts(kind, value);
    if parts.is_empty() {
        // Text and the like among all attributes is no mistake; what is meant for detection should be told.
        return match flag(attribute, "to_ids") {
            true => {
                let reason = format!("attributes of type {} have no kind of indicator", shorten(kind, 40));
                steps.push(Step::Rejected(Rejected { line, text: shorten(value, 80), reason }));
            }
            false => steps.push(Step::LeftOut("no kind of indicator")),
        };
    }
    let mut tags = event_tags.to_vec();
    tags.extend(tag_names(attribute));
    tags.sort();
    tags.dedup();
    let comment = text("comment").filter(|comment| !comment.trim().is_empty()).unwrap_or(info);
    let seen_at = ["last_seen", "first_seen", "timestamp"].iter().find_map(|key| text(key).and_then(time_of));
    for (kind, value) in parts {
        let entry = Entry {
            line,
            kind: Some(kind),
            value,
            description: comment,
            tags: tags.clone(),
            seen_at,
            first_seen: text("first_seen").and_then(time_of),
            ..Entry::default()
        };
        steps.push(entry.step(options));
    }
}

/// The indicators in an attribute, by the type's parts; nothing for types that hold none.
fn parts<'a>(kind: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let split = || value.split_once('|').map(|(left, right)| (left.trim(), right.trim()));
    match kind {
        "ip-src|port" | "ip-dst|port" => vec![("ip:port", value)],
        "domain|ip" => split()
            .map_or_else(|| vec![("domain", value)], |(domain, ip)| vec![("domain", domain), ("ip", ip)]),
        "hostname|port" => vec![("domain", split().map_or(value, |(host, _)| host))],
        "regkey|value" => vec![("registry_key", split().map_or(value, |(key, _)| key))],
        // Of a file's name and its digest the digest is the indicator.
        _ if kind.starts_with("filename|") => {
            let digest = &kind["filename|".len()..];
            match value.rsplit_once('|') {
                Some((_, hash)) => parts(digest, hash.trim()),
                None => Vec::new(),
            }
        }
        // The value of these is a link to read, not to block, whatever the flag says.
        "link" | "text" | "comment" | "other" | "port" => Vec::new(),
        "email"
        | "email-src"
        | "email-dst"
        | "email-reply-to"
        | "whois-registrant-email"
        | "target-email"
        | "dns-soa-email" => vec![("email", value)],
        "uri" => match Indicator::identify(value) {
            Some(found) if found.kind() == IocType::Url => vec![("url", value)],
            _ => Vec::new(),
        },
        "AS" => vec![("asn", value)],
        "mac-eui-64" => Vec::new(),
        "impfuzzy" | "pehash" | "authentihash" | "vhash" => Vec::new(),
        "ja3-fingerprint-md5" => vec![("ja3", value)],
        "filename-pattern" | "pattern-in-file" => Vec::new(),
        // MISP's own name for a file with folders is still `filename`.
        "filename" if value.contains(['\\', '/']) => vec![("file_path", value)],
        _ => match kind.parse::<IocType>() {
            Ok(_) => vec![(kind, value)],
            Err(_) => Vec::new(),
        },
    }
}

fn flag(holder: &Value, key: &str) -> bool {
    match holder.get(key) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => matches!(text.as_str(), "1" | "true"),
        Some(Value::Number(number)) => number.as_i64() == Some(1),
        _ => false,
    }
}

/// Tags; TLP in its one spelling.
fn tag_names(holder: &Value) -> Vec<String> {
    let tags = holder.get("Tag").and_then(Value::as_array);
    tags.into_iter()
        .flatten()
        .filter_map(|tag| tag.get("name").and_then(Value::as_str))
        .take(100)
        .map(|name| match name.to_ascii_lowercase().starts_with("tlp:").then(|| name.parse::<crate::Tlp>()) {
            Some(Ok(label)) => label.tag().to_owned(),
            _ => shorten(name.trim(), 200),
        })
        .filter(|name| !name.is_empty())
        .collect()
}
