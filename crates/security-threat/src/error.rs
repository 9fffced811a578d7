//! What the rule parser answers to a rule it refuses.

use security_core::Coded;

/// Why a rule, or a file of rules, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The bytes are no JSON or no YAML.
    #[error("not valid {format} at line {line}, column {column}: {reason}")]
    Syntax {
        /// `JSON` or `YAML`.
        format: &'static str,
        /// Line, from 1; `0` when unknown.
        line: usize,
        /// Column, from 1; `0` when unknown.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// The input is larger than the budget.
    #[error("{what} is too large: {size}, at most {most} are read")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size, in bytes or entries.
        size: usize,
        /// The most that is accepted.
        most: usize,
    },
    /// A field that must be there is not.
    #[error("`{field}` is missing; accepted is {accepted}")]
    Missing {
        /// The field, as a dotted path.
        field: String,
        /// What it takes.
        accepted: String,
    },
    /// A key that nobody knows.
    #[error("unknown key `{key}` in `{place}`; accepted are {accepted}")]
    UnknownKey {
        /// The key, shortened.
        key: String,
        /// The field it stands in.
        place: String,
        /// The keys that are known there.
        accepted: String,
    },
    /// A field holds something it cannot take.
    #[error("`{field}` is {given}; accepted is {accepted}")]
    Field {
        /// The field, as a dotted path.
        field: String,
        /// What was given, shortened.
        given: String,
        /// What it takes.
        accepted: String,
    },
    /// A regular expression does not compile within the budget.
    #[error("`{field}` is no usable regular expression: {reason}")]
    Pattern {
        /// The field, as a dotted path.
        field: String,
        /// What the compiler says, on one line.
        reason: String,
    },
    /// A value is no indicator of its type.
    #[error("`{field}`: {source}")]
    Indicator {
        /// The field, as a dotted path.
        field: String,
        /// What is wrong with it.
        source: security_indicators::IndicatorError,
    },
}

impl RuleError {
    pub(crate) fn missing(field: &str, accepted: &str) -> Self {
        Self::Missing { field: field.to_owned(), accepted: accepted.to_owned() }
    }

    pub(crate) fn unknown_key(key: &str, place: &str, accepted: &[&str]) -> Self {
        let key = key.chars().take(40).collect();
        Self::UnknownKey { key, place: place.to_owned(), accepted: accepted.join(", ") }
    }

    pub(crate) fn field(field: &str, given: &serde_json::Value, accepted: &str) -> Self {
        Self::Field { field: field.to_owned(), given: describe(given), accepted: accepted.to_owned() }
    }
}

/// A value in a few words, never a whole document.
fn describe(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "null".to_owned(),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
        serde_json::Value::String(text) if text.chars().count() > 60 => {
            format!("`{}…`", text.chars().take(60).collect::<String>())
        }
        serde_json::Value::String(text) => format!("`{text}`"),
        serde_json::Value::Array(items) => format!("a list of {}", items.len()),
        serde_json::Value::Object(map) => format!("an object of {}", map.len()),
    }
}

impl Coded for RuleError {
    fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "rule-syntax",
            Self::TooLarge { .. } => "rule-too-large",
            Self::Missing { .. } => "rule-missing-field",
            Self::UnknownKey { .. } => "rule-unknown-key",
            Self::Field { .. } => "rule-field",
            Self::Pattern { .. } => "rule-pattern",
            Self::Indicator { .. } => "rule-indicator",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Pattern { .. } => Some(
                "patterns run in linear time: look-around and back-references do not exist, and counted \
                 repetitions must stay small"
                    .to_owned(),
            ),
            Self::Indicator { .. } => Some(
                "give `type` and `value`, like {\"type\": \"ip\", \"value\": \"192.0.2.0/24\"}".to_owned(),
            ),
            _ => None,
        }
    }
}
