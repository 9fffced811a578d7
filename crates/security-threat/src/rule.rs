//! A rule: read from JSON or YAML that a person wrote, or made from a draft.

use security_core::{Limits, Severity, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use crate::{Detection, RuleError};

/// The most rules in one file.
const MAX_RULES: usize = 100_000;
const KEYS: &[&str] = &[
    "id",
    "name",
    "description",
    "detection",
    "severity",
    "tags",
    "recommendations",
    "enabled",
    "created_at",
];

/// A rule that is right: its detection compiles, its id can be a file's name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// Letters, digits, `-`, `_` and `.`, at most 120 of them.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it finds, in a sentence; may be empty.
    pub description: String,
    /// What it looks for.
    pub detection: Detection,
    /// How bad a match is.
    pub severity: Severity,
    /// Tags, in the order given.
    pub tags: Vec<String>,
    /// What should be done about a match.
    pub recommendations: Vec<String>,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a caller says of a rule before it is one.
#[derive(Debug, Clone, Default)]
pub struct RuleDraft {
    /// What people call it; 1 to 200 characters.
    pub name: String,
    /// What it finds; may be empty.
    pub description: String,
    /// What it looks for, see [`Detection`].
    pub detection: Value,
    /// `info`, `low`, `medium`, `high` or `critical` in any case; empty is `medium`.
    pub severity: String,
    /// Tags.
    pub tags: Vec<String>,
    /// What should be done about a match.
    pub recommendations: Vec<String>,
}

impl RuleDraft {
    /// Makes a rule of it; the id is the name's slug, a dash and `suffix`, which the caller draws so that two
    /// rules of one name have two ids.
    ///
    /// # Errors
    /// [`RuleError`] naming the field and what it takes.
    pub fn validate(self, suffix: &str, now: Timestamp) -> Result<Rule, RuleError> {
        let severity = match self.severity.trim() {
            "" => Severity::Medium,
            text => severity_of(&Value::String(text.to_owned()))?,
        };
        let rule = Rule {
            id: format!("{}-{suffix}", slug(&self.name)),
            name: self.name.trim().to_owned(),
            description: self.description.trim().to_owned(),
            detection: Detection::parse(&self.detection)?,
            severity,
            tags: self.tags,
            recommendations: self.recommendations,
            enabled: true,
            created_at: now,
        };
        rule.check()
    }
}

impl Rule {
    /// Reads one rule from JSON. `file_time` stands in for a `created_at` that is not given; an id that is
    /// not given is made from the name, the same each time.
    ///
    /// # Errors
    /// [`RuleError`] naming the place in the text, or the field and what it takes.
    pub fn from_json(json: &[u8], file_time: Timestamp, limits: &Limits) -> Result<Self, RuleError> {
        Self::from_value(&json_value(json, limits)?, file_time)
    }

    /// Reads one rule from YAML, likewise.
    ///
    /// # Errors
    /// As [`Rule::from_json`].
    pub fn from_yaml(yaml: &[u8], file_time: Timestamp, limits: &Limits) -> Result<Self, RuleError> {
        Self::from_value(&yaml_value(yaml, limits)?, file_time)
    }

    /// Reads a file of rules in JSON: one rule, a list of rules, or `{"rules": [...]}`.
    ///
    /// # Errors
    /// As [`Rule::from_json`]; one wrong rule refuses the file.
    pub fn all_from_json(json: &[u8], file_time: Timestamp, limits: &Limits) -> Result<Vec<Self>, RuleError> {
        Self::all_from_value(&json_value(json, limits)?, file_time)
    }

    /// Reads a file of rules in YAML: one rule, a list of rules, or `rules:` with a list.
    ///
    /// # Errors
    /// As [`Rule::from_json`]; one wrong rule refuses the file.
    pub fn all_from_yaml(yaml: &[u8], file_time: Timestamp, limits: &Limits) -> Result<Vec<Self>, RuleError> {
        Self::all_from_value(&yaml_value(yaml, limits)?, file_time)
    }

    fn all_from_value(value: &Value, file_time: Timestamp) -> Result<Vec<Self>, RuleError> {
        let items = match value {
            Value::Array(items) => items,
            Value::Object(map) if !map.contains_key("detection") => match map.get("rules") {
                Some(Value::Array(items)) => items,
                _ => return Self::from_value(value, file_time).map(|rule| vec![rule]),
            },
            _ => return Self::from_value(value, file_time).map(|rule| vec![rule]),
        };
        if items.len() > MAX_RULES {
            let what = "the number of rules".to_owned();
            return Err(RuleError::TooLarge { what, size: items.len(), most: MAX_RULES });
        }
        items.iter().map(|item| Self::from_value(item, file_time)).collect()
    }

    /// Reads one rule from a JSON value, as [`Rule::from_json`] does.
    ///
    /// # Errors
    /// [`RuleError`] naming the field and what it takes.
    pub fn from_value(value: &Value, file_time: Timestamp) -> Result<Self, RuleError> {
        let map = value
            .as_object()
            .ok_or_else(|| RuleError::field("rule", value, "an object with name, description, detection"))?;
        refuse_misspelt(map)?;
        let name = text_of(map, "name")?.ok_or_else(|| RuleError::missing("name", "the rule's name"))?;
        let detection = map
            .get("detection")
            .ok_or_else(|| RuleError::missing("detection", "an object with pattern, ioc or condition"))?;
        let id = match text_of(map, "id")? {
            Some(id) if !id.is_empty() => id,
            _ => format!("{}-{:08x}", slug(&name), checksum(&name)),
        };
        let rule = Self {
            id,
            name: name.trim().to_owned(),
            description: text_of(map, "description")?.unwrap_or_default().trim().to_owned(),
            detection: Detection::parse(detection)?,
            severity: map
                .get("severity")
                .filter(|s| !s.is_null())
                .map_or(Ok(Severity::Medium), severity_of)?,
            tags: texts_of(map, "tags")?,
            recommendations: texts_of(map, "recommendations")?,
            enabled: match map.get("enabled") {
                None | Some(Value::Null) => true,
                Some(Value::Bool(enabled)) => *enabled,
                Some(other) => return Err(RuleError::field("enabled", other, "true or false")),
            },
            created_at: match map.get("created_at") {
                None | Some(Value::Null) => file_time,
                Some(given) => time_of(given).ok_or_else(|| {
                    RuleError::field("created_at", given, "RFC 3339 like 2026-11-24T08:30:00Z")
                })?,
            },
        };
        rule.check()
    }

    /// The rule as JSON for its file, indented, with a final line feed.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a rule has only text keys");
        text.push('\n');
        text
    }

    fn check(self) -> Result<Self, RuleError> {
        let refuse = |field: &str, given: &str, accepted: &str| {
            Err(RuleError::field(field, &Value::String(given.to_owned()), accepted))
        };
        if self.name.is_empty() || self.name.chars().count() > 200 || self.name.chars().any(char::is_control)
        {
            return refuse("name", &self.name, "1 to 200 characters without control characters");
        }
        if self.description.len() > 20_000 {
            return refuse("description", &self.description, "at most 20000 bytes");
        }
        let fits_a_file = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if self.id.is_empty()
            || self.id.len() > 120
            || self.id.starts_with('.')
            || !self.id.chars().all(fits_a_file)
        {
            return refuse(
                "id",
                &self.id,
                "1 to 120 letters, digits, `-`, `_` and `.`, not starting with `.`",
            );
        }
        for (field, texts) in [("tags", &self.tags), ("recommendations", &self.recommendations)] {
            if texts.len() > 200 || texts.iter().any(|text| text.len() > 2000) {
                return refuse(
                    field,
                    &format!("{} texts", texts.len()),
                    "at most 200 texts of at most 2000 bytes",
                );
            }
        }
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for Rule {
    /// `created_at` must be given here: there is no file to take it from.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.get("created_at").is_none() {
            return Err(de::Error::missing_field("created_at"));
        }
        Self::from_value(&value, Timestamp::EPOCH).map_err(de::Error::custom)
    }
}

fn json_value(json: &[u8], limits: &Limits) -> Result<Value, RuleError> {
    check_size(json, limits)?;
    serde_json::from_slice(json).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or(&reason).to_owned();
        RuleError::Syntax { format: "JSON", line: error.line(), column: error.column(), reason }
    })
}

fn yaml_value(yaml: &[u8], limits: &Limits) -> Result<Value, RuleError> {
    check_size(yaml, limits)?;
    let max_depth = limits.max_depth.clamp(1, 64);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: max_depth,
            flow_nesting_limit: max_depth,
            max_nodes: 250_000,
            max_events: 1_000_000,
            max_aliases: 1000,
            max_anchors: 1000,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: 1000,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(yaml, options).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| {
            (usize::try_from(at.line()).unwrap_or(0), usize::try_from(at.column()).unwrap_or(0))
        });
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default().chars().take(200).collect();
        RuleError::Syntax { format: "YAML", line, column, reason }
    })
}

fn check_size(bytes: &[u8], limits: &Limits) -> Result<(), RuleError> {
    if bytes.len() > limits.max_bytes {
        let what = "the text of the rules".to_owned();
        return Err(RuleError::TooLarge { what, size: bytes.len(), most: limits.max_bytes });
    }
    Ok(())
}

/// Rule files of other programs carry keys of their own, which are left alone; one that looks like a slip of
/// the pen is refused, for `severty: critical` must not become a medium rule.
fn refuse_misspelt(map: &Map<String, Value>) -> Result<(), RuleError> {
    let is_slip = |key: &str| {
        !KEYS.contains(&key) && KEYS.iter().any(|known| known.len() > 3 && distance_at_most_two(key, known))
    };
    match map.keys().find(|key| {
        is_slip(&key.to_ascii_lowercase())
            || !KEYS.contains(&key.as_str()) && KEYS.contains(&key.to_ascii_lowercase().as_str())
    }) {
        Some(key) => Err(RuleError::unknown_key(key, "rule", KEYS)),
        None => Ok(()),
    }
}

/// Whether one word becomes the other by at most two letters added, left out or replaced.
fn distance_at_most_two(a: &str, b: &str) -> bool {
    fn within(a: &[u8], b: &[u8], left: u8) -> bool {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len() <= usize::from(left),
            ([x, a @ ..], [y, b @ ..]) if x == y => within(a, b, left),
            ([_, a_rest @ ..], [_, b_rest @ ..]) => {
                left > 0
                    && (within(a_rest, b_rest, left - 1)
                        || within(a_rest, b, left - 1)
                        || within(a, b_rest, left - 1))
            }
        }
    }
    a.len().abs_diff(b.len()) <= 2 && within(a.as_bytes(), b.as_bytes(), 2)
}

fn text_of(map: &Map<String, Value>, field: &str) -> Result<Option<String>, RuleError> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        // YAML reads `name: 42` as a number; whoever wrote it meant a name.
        Some(number @ Value::Number(_)) => Ok(Some(number.to_string())),
        Some(other) => Err(RuleError::field(field, other, "text")),
    }
}

fn texts_of(map: &Map<String, Value>, field: &str) -> Result<Vec<String>, RuleError> {
    const ACCEPTED: &str = "a list of texts";
    match map.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.clone()),
                Value::Number(_) | Value::Bool(_) => Ok(item.to_string()),
                other => Err(RuleError::field(field, other, ACCEPTED)),
            })
            .collect(),
        Some(other) => Err(RuleError::field(field, other, ACCEPTED)),
    }
}

fn severity_of(given: &Value) -> Result<Severity, RuleError> {
    let refuse = || RuleError::field("severity", given, "info, low, medium, high or critical");
    given.as_str().and_then(|text| text.parse().ok()).ok_or_else(refuse)
}

/// RFC 3339, or the same without an offset, which other programs write and mean UTC by.
fn time_of(given: &Value) -> Option<Timestamp> {
    let text = given.as_str()?;
    text.parse().or_else(|_| format!("{}Z", text.trim()).parse()).ok()
}

/// The name in lower case, letters and digits only, words joined by dashes; `rule` when nothing is left.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 60 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "rule".to_owned() } else { slug.to_owned() }
}

/// FNV-1a, 32 bits: tells names apart, protects nothing.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn draft(name: &str, severity: &str) -> RuleDraft {
        RuleDraft {
            name: name.to_owned(),
            detection: json!({"pattern": "x"}),
            severity: severity.to_owned(),
            ..RuleDraft::default()
        }
    }

    #[test]
    fn a_draft_becomes_a_rule() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let rule = draft("Suspicious IP, outside!", "").validate("k3f9", now).unwrap();
        assert_eq!((rule.id.as_str(), rule.severity), ("suspicious-ip-outside-k3f9", Severity::Medium));
        assert_eq!(Rule::from_json(rule.to_json().as_bytes(), Timestamp::EPOCH, &Limits::DEFAULT), Ok(rule));
    }

    #[test]
    fn a_draft_is_refused_by_field() {
        for (draft, message) in [
            (draft("", "high"), "`name` is ``"),
            (draft("x", "terrible"), "accepted is info, low, medium, high or critical"),
            (draft("x\0y", "high"), "`name`"),
        ] {
            let error = draft.validate("1", Timestamp::EPOCH).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert!(draft("x", "").validate("../1", Timestamp::EPOCH).is_err());
    }

    #[test]
    fn a_name_without_id_always_gets_the_same_one() {
        let text = br#"{"name": "Odd Agent", "detection": {"pattern": "x"}}"#;
        let read = || Rule::from_json(text, Timestamp::EPOCH, &Limits::DEFAULT).unwrap().id;
        assert_eq!(read(), read());
        assert!(read().starts_with("odd-agent-"));
    }

    #[test]
    fn slips_of_the_pen_are_refused_and_foreign_keys_are_not() {
        let with = |key: &str| {
            let mut rule = json!({"name": "x", "detection": {"pattern": "x"}});
            rule[key] = json!("critical");
            Rule::from_value(&rule, Timestamp::EPOCH)
        };
        for slip in ["severty", "Severity", "recomendation", "tag", "enable"] {
            assert!(with(slip).is_err(), "{slip}");
        }
        for foreign in ["author", "updated_at", "version", "references"] {
            assert!(with(foreign).is_ok(), "{foreign}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
        }
        bomb.push_str("name: bomb\ndetection: {pattern: x}\n");
        let error = Rule::from_yaml(bomb.as_bytes(), Timestamp::EPOCH, &Limits::DEFAULT).unwrap_err();
        assert!(matches!(error, RuleError::Syntax { format: "YAML", .. }), "{error}");
    }

    proptest! {
        #[test]
        fn never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Rule::all_from_json(&bytes, Timestamp::EPOCH, &Limits::DEFAULT);
            let _ = Rule::all_from_yaml(&bytes, Timestamp::EPOCH, &Limits::DEFAULT);
        }

        #[test]
        fn never_panics_on_near_yaml(text in "[\\[\\]{}:,\\-&*!|>'\"#%@` \\na-c0-9]{0,120}") {
            let _ = Rule::all_from_yaml(text.as_bytes(), Timestamp::EPOCH, &Limits::DEFAULT);
        }

        #[test]
        fn every_id_is_a_file_name(name in "\\PC{1,80}") {
            if let Ok(rule) = draft(&name, "low").validate("abcd1234", Timestamp::EPOCH) {
                prop_assert!(rule.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
            }
        }
    }
}
