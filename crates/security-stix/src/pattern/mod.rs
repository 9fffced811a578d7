//! The STIX pattern language: `[ipv4-addr:value = '198.51.100.1' OR domain-name:value = 'evil.example']`.
//!
//! Source: STIX 2.1 §9 and the ANTLR grammar that OASIS publishes with it.

mod display;
mod expression;
mod lexer;
mod parser;
mod values;

use std::{fmt, str::FromStr};

use security_core::{Coded, Limits};

pub use expression::{
    Comparison, ComparisonTest, Literal, ObjectPath, Observation, Operator, PathStep, Qualifier,
};
pub use values::PatternValue;

/// The longest pattern [`Pattern::parse`] reads; real ones with thousands of values fit.
const LONGEST: usize = 1 << 20;
/// What nesting is held to whatever the caller allows, because reading goes some calls deeper with each level and a
/// thread may have a small stack.
const DEEPEST: usize = 64;

/// A pattern that was read without an error.
///
/// Its `Display` writes canonical text: one space around operators, `=` and `!=` for their doubles, quotes around
/// property names only where the grammar asks for them, no parenthesis that changes nothing, no comments. Reading
/// that text gives the same pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    root: Observation,
}

/// Why a text is no pattern. Offsets are bytes from the start of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Something else stands where the grammar asks for one thing.
    #[error("at byte {offset}: expected {expected}, found {found}")]
    Syntax {
        /// Where.
        offset: usize,
        /// What may stand there.
        expected: String,
        /// What stands there, shortened.
        found: String,
    },
    /// A literal or qualifier is written rightly and means nothing.
    #[error("at byte {offset}: {reason}")]
    Meaningless {
        /// Where.
        offset: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The text is longer than the limit.
    #[error("is {bytes} bytes long, the limit is {limit}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Parentheses are nested deeper than the limit.
    #[error("at byte {offset}: nested deeper than {limit} parentheses")]
    TooDeep {
        /// Where the limit was passed.
        offset: usize,
        /// The limit.
        limit: usize,
    },
}

impl PatternError {
    /// Where in the text, in bytes from its start; `None` if it is about the whole.
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Syntax { offset, .. } | Self::Meaningless { offset, .. } | Self::TooDeep { offset, .. } => {
                Some(*offset)
            }
            Self::TooLong { .. } => None,
        }
    }
}

impl Coded for PatternError {
    fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "stix-pattern-syntax",
            Self::Meaningless { .. } => "stix-pattern-meaningless",
            Self::TooLong { .. } => "stix-pattern-too-long",
            Self::TooDeep { .. } => "stix-pattern-too-deep",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { .. } => {
                Some("a pattern looks like [domain-name:value = 'evil.example']; \\ and ' in text are written \\\\ and \\'".into())
            }
            _ => None,
        }
    }
}

impl Pattern {
    /// Reads a pattern of up to 1 MiB with up to 64 nested parentheses.
    ///
    /// One liberty is taken with the grammar, because feeds take it: a property name with a dash needs no quotes
    /// (`file:hashes.SHA-256`).
    ///
    /// # Errors
    /// [`PatternError`] with the place and what was expected there.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::parse_with(text, Limits { max_bytes: LONGEST, ..Limits::DEFAULT })
    }

    /// Reads a pattern of up to `max_bytes` bytes with up to `max_depth` (at most 64) nested parentheses.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn parse_with(text: &str, limits: Limits) -> Result<Self, PatternError> {
        if text.len() > limits.max_bytes {
            return Err(PatternError::TooLong { bytes: text.len(), limit: limits.max_bytes });
        }
        let root = parser::parse_pattern(text, limits.max_depth.min(DEEPEST))?;
        Ok(Self { root })
    }

    /// The whole expression.
    pub fn root(&self) -> &Observation {
        &self.root
    }

    /// All comparisons in the order of the text.
    pub fn comparisons(&self) -> Vec<&ComparisonTest> {
        let mut found = Vec::new();
        self.root.each_comparison(&mut |comparison| found.push(comparison));
        found
    }

    /// The values that positive comparisons by `=`, `IN` and `ISSUBSET` look for, in the order of the text.
    ///
    /// A value that the pattern asks for together with others is no indicator by itself:
    /// [`PatternValue::suffices`] tells.
    pub fn indicator_values(&self) -> Vec<PatternValue> {
        values::collect(&self.root).0
    }

    /// Whether the pattern means "any of these values" and nothing else: single comparisons with
    /// [`Pattern::indicator_values`] joined by `OR`.
    pub fn is_simple(&self) -> bool {
        values::collect(&self.root).1
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl FromStr for ObjectPath {
    type Err = PatternError;

    /// Reads a path alone, for example `file:hashes.'SHA-256'`.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > LONGEST {
            return Err(PatternError::TooLong { bytes: text.len(), limit: LONGEST });
        }
        parser::parse_path(text)
    }
}

/// The pattern that looks for one value, with the value escaped as the language asks.
///
/// # Errors
/// [`PatternError`] if `object_path` is no path.
pub fn pattern_for(object_path: &str, value: &str) -> Result<String, PatternError> {
    let test = ComparisonTest {
        path: object_path.parse()?,
        negated: false,
        operator: Operator::Equal,
        operands: vec![Literal::Text(value.into())],
    };
    Ok(Observation::Test(Comparison::Test(test)).to_string())
}
