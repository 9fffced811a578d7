//! Data that somebody found, made into a record: checked, sorted by its words, its indicators pulled out.

use std::{collections::HashMap, sync::LazyLock};

use security_core::{Limits, Timestamp};
use security_indicators::{ExtractOptions, extract};
use serde_json::Value;

use crate::{IntelError, IntelRecord, error::shorten};

/// The kinds of source; besides them `taxii:NAME` and `feed:NAME`.
pub const SOURCE_TYPES: &[&str] = &[
    "forums",
    "marketplaces",
    "paste_sites",
    "social_media",
    "dark_web",
    "code_repositories",
    "leaked_databases",
    "other",
];

/// The priorities, most urgent first.
pub const PRIORITY_LEVELS: &[&str] = &["Critical", "High", "Medium", "Low"];

/// The most indicators that one record names.
const MAX_INDICATORS: usize = 10_000;
/// The most tags that one record takes from its data.
const MAX_TAGS: usize = 200;

/// What data is about, by words that stand in it. A word also stands for its plural; two words joined by a
/// space, a dash or an underscore are the same.
const CATEGORIES: &[(&str, &[&str])] = &[
    (
        "botnet",
        &["botnet", "bot net", "c2", "c2 server", "command and control", "zombie", "mirai", "bot herder"],
    ),
    (
        "credential_leak",
        &[
            "credential",
            "credentials leaked",
            "password",
            "combo list",
            "combolist",
            "stealer log",
            "infostealer",
            "login dump",
            "password dump",
            "leaked password",
            "api key leaked",
            "access token",
        ],
    ),
    (
        "data_breach",
        &[
            "breach",
            "data breach",
            "data leak",
            "leaked data",
            "leaked database",
            "database dump",
            "exfiltrated",
            "exfiltration",
            "stolen data",
            "customer record",
            "db dump",
        ],
    ),
    ("ddos", &["ddos", "dos attack", "denial of service", "booter", "stresser", "amplification attack"]),
    (
        "exploit",
        &["exploit", "exploit kit", "proof of concept", "poc", "exploited in the wild", "shellcode", "rce"],
    ),
    (
        "fraud",
        &[
            "fraud",
            "carding",
            "credit card",
            "cvv",
            "fullz",
            "money mule",
            "scam",
            "counterfeit",
            "bank drop",
            "money laundering",
            "gift card",
        ],
    ),
    (
        "insider",
        &["insider", "insider threat", "disgruntled employee", "rogue employee", "recruiting employee"],
    ),
    (
        "malware",
        &[
            "malware",
            "trojan",
            "backdoor",
            "rootkit",
            "keylogger",
            "loader",
            "dropper",
            "worm",
            "spyware",
            "rat",
            "remote access trojan",
            "stealer",
            "infostealer",
            "webshell",
            "web shell",
            "wiper",
            "cryptominer",
            "virus",
        ],
    ),
    (
        "phishing",
        &[
            "phishing",
            "phish",
            "spearphishing",
            "spear phishing",
            "smishing",
            "vishing",
            "fake login",
            "credential harvesting",
            "phishing kit",
            "lookalike domain",
            "typosquatting",
        ],
    ),
    (
        "ransomware",
        &[
            "ransomware",
            "ransom",
            "ransom note",
            "double extortion",
            "extortion",
            "decryptor",
            "leak site",
            "lockbit",
            "encrypted files",
        ],
    ),
    ("supply_chain", &["supply chain", "dependency confusion", "malicious package", "trojanized update"]),
    (
        "vulnerability",
        &[
            "vulnerability",
            "vulnerabilities",
            "cve",
            "zero day",
            "0day",
            "0 day",
            "privilege escalation",
            "sql injection",
            "buffer overflow",
            "unpatched",
            "security flaw",
            "use after free",
        ],
    ),
];

/// The most words in one of the phrases above.
const LONGEST_PHRASE: usize = 4;

/// Makes a record of data that somebody found.
///
/// `source_type` is one of [`SOURCE_TYPES`], `taxii:NAME` or `feed:NAME`, kept in lower case; `priority_level`
/// one of [`PRIORITY_LEVELS`]; both in any case. `data` may be any JSON; tags are taken from its `tags`.
/// Indicators and categories are looked for in all its texts.
///
/// # Errors
/// [`IntelError`] when source type or priority is none, or the data exceeds `max_bytes` or `max_depth`.
pub fn categorize(
    data: Value,
    source_type: &str,
    priority_level: &str,
    id: String,
    now: Timestamp,
    limits: &Limits,
) -> Result<IntelRecord, IntelError> {
    let source_type = canonical_source_type(source_type)?;
    let priority_level = canonical_priority(priority_level)?.to_owned();
    let texts = texts(&data, limits)?;
    let mut iocs = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let most = MAX_INDICATORS.min(limits.max_hits);
    let options = ExtractOptions { dedupe: true, max_hits: most, ..ExtractOptions::default() };
    'texts: for text in &texts {
        for found in extract(text, &options) {
            if iocs.len() >= most {
                break 'texts;
            }
            let name = format!("{}:{}", found.indicator.kind(), found.indicator.value());
            if seen.insert(name.clone()) {
                iocs.push(name);
            }
        }
    }
    let mut categories: Vec<&str> = texts.iter().flat_map(|text| categories_of(text)).collect();
    categories.sort_unstable();
    categories.dedup();
    let categories = categories.into_iter().map(str::to_owned).collect();
    Ok(IntelRecord {
        id,
        source_type,
        priority_level,
        created_at: now,
        categories,
        tags: tags(&data),
        iocs,
        data,
    })
}

/// The one spelling of a source type.
///
/// # Errors
/// [`IntelError::SourceType`] with what is accepted.
pub fn canonical_source_type(given: &str) -> Result<String, IntelError> {
    let name = given.trim().to_lowercase();
    let is_named = ["taxii:", "feed:"].iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            !rest.trim().is_empty() && rest.len() <= 200 && !rest.chars().any(char::is_control)
        })
    });
    if is_named || SOURCE_TYPES.contains(&name.as_str()) {
        return Ok(name);
    }
    let accepted = format!("{}, taxii:NAME, feed:NAME", SOURCE_TYPES.join(", "));
    Err(IntelError::SourceType { given: shorten(given, 60), accepted })
}

/// The one spelling of a priority.
///
/// # Errors
/// [`IntelError::Priority`] with what is accepted.
pub fn canonical_priority(given: &str) -> Result<&'static str, IntelError> {
    PRIORITY_LEVELS
        .iter()
        .copied()
        .find(|level| level.eq_ignore_ascii_case(given.trim()))
        .ok_or_else(|| IntelError::Priority { given: shorten(given, 60) })
}

/// All texts of a JSON value in their order, within the budget.
pub(crate) fn texts<'v>(data: &'v Value, limits: &Limits) -> Result<Vec<&'v str>, IntelError> {
    let mut texts = Vec::new();
    let mut n_bytes = 0usize;
    let mut waiting = vec![(data, 0usize)];
    while let Some((value, depth)) = waiting.pop() {
        if depth > limits.max_depth {
            return Err(IntelError::TooLarge {
                what: "the nesting of data",
                size: depth,
                most: limits.max_depth,
            });
        }
        match value {
            Value::String(text) => {
                n_bytes += text.len();
                if n_bytes > limits.max_bytes {
                    let most = limits.max_bytes;
                    return Err(IntelError::TooLarge { what: "the text of data", size: n_bytes, most });
                }
                texts.push(text.as_str());
            }
            // Reversed, because the last one pushed is looked at first.
            Value::Array(items) => waiting.extend(items.iter().rev().map(|item| (item, depth + 1))),
            Value::Object(map) => waiting.extend(map.values().rev().map(|item| (item, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    Ok(texts)
}

/// The tags in `data["tags"]`: a list of texts, or one text with commas between them.
fn tags(data: &Value) -> Vec<String> {
    let mut tags: Vec<String> = match data.get("tags") {
        Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    tags.iter_mut().for_each(|tag| *tag = shorten(tag.trim(), 200));
    tags.retain(|tag| !tag.is_empty());
    tags.sort();
    tags.dedup();
    tags.truncate(MAX_TAGS);
    tags
}

fn categories_of(text: &str) -> Vec<&'static str> {
    static PHRASES: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
        let mut phrases: HashMap<_, Vec<_>> = HashMap::new();
        for (category, words) in CATEGORIES {
            for phrase in *words {
                phrases.entry(*phrase).or_default().push(*category);
            }
        }
        phrases
    });
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    let mut phrase = String::new();
    for start in 0..words.len() {
        phrase.clear();
        for word in words[start..].iter().take(LONGEST_PHRASE) {
            if !phrase.is_empty() {
                phrase.push(' ');
            }
            phrase.push_str(word);
            let singular = phrase.strip_suffix('s').unwrap_or(&phrase);
            for category in
                PHRASES.get(phrase.as_str()).or_else(|| PHRASES.get(singular)).into_iter().flatten().copied()
            {
                if !found.contains(&category) {
                    found.push(category);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn make(data: Value, source: &str, priority: &str) -> Result<IntelRecord, IntelError> {
        categorize(data, source, priority, "intel--1".to_owned(), Timestamp::EPOCH, &Limits::DEFAULT)
    }

    #[test]
    fn a_record_holds_what_was_found() {
        let data = json!({
            "title": "Combo-list for sale",
            "tags": ["shop", "shop", " eu "],
            "posts": [{"text": "new stealer logs, panel at hxxp://panel[.]example[.]com/gate and 192.0.2.7"}],
        });
        let record = make(data.clone(), "FORUMS", "critical").unwrap();
        assert_eq!((record.source_type.as_str(), record.priority_level.as_str()), ("forums", "Critical"));
        assert_eq!(record.categories, ["credential_leak", "malware"]);
        assert_eq!(record.tags, ["eu", "shop"]);
        assert!(record.iocs.contains(&"url:http://panel.example.com/gate".to_owned()), "{:?}", record.iocs);
        assert!(record.iocs.contains(&"ip:192.0.2.7".to_owned()), "{:?}", record.iocs);
        assert_eq!(record.data, data);
    }

    #[test]
    fn words_count_whole_and_in_the_plural() {
        for (text, expected) in [
            ("Two ransom-notes were found", vec!["ransomware"]),
            ("command_and_control panel", vec!["botnet"]),
            ("rational separation of operations", vec![]),
            ("CVE-2099-0001 gives privilege escalation", vec!["vulnerability"]),
            ("a DDoS by a botnet", vec!["ddos", "botnet"]),
        ] {
            assert_eq!(categories_of(text), expected, "{text}");
        }
    }

    #[test]
    fn any_json_is_data_and_named_sources_are_taken() {
        assert!(make(json!("text"), "other", "Low").is_ok());
        assert!(make(json!([1, null, ["x"]]), "Feed:Own List", "LOW").is_ok());
        assert_eq!(make(json!({}), " TAXII:Partner/C1 ", "medium").unwrap().source_type, "taxii:partner/c1");
    }

    #[test]
    fn the_unknown_is_refused_with_what_is_accepted() {
        for (source, priority, accepted) in [
            ("blogs", "Low", "paste_sites"),
            ("taxii:", "Low", "taxii:NAME"),
            ("feed:\n", "Low", "feed:NAME"),
            ("other", "urgent", "Critical, High, Medium, Low"),
        ] {
            let error = make(json!({}), source, priority).unwrap_err().to_string();
            assert!(error.contains(accepted), "{error}");
        }
        let deep = (0..80).fold(json!("x"), |inner, _| json!([inner]));
        assert!(matches!(make(deep, "other", "Low"), Err(IntelError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn never_panics_on_any_text(text in "\\PC{0,200}") {
            let record = make(json!({"text": text, "tags": text}), "other", "Low").unwrap();
            prop_assert!(record.categories.is_sorted());
        }
    }
}
