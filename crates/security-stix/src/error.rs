//! What can be wrong with STIX content.

use security_core::Coded;

use crate::{PatternError, StixId};

/// Why a text, an object or a bundle is not STIX.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StixError {
    /// The text is not JSON.
    #[error("not JSON: {reason}")]
    NotJson {
        /// What the JSON reader met, with line and column.
        reason: String,
    },
    /// The text is longer than the limit.
    #[error("{bytes} bytes of STIX, the limit is {limit}")]
    TooLarge {
        /// The length of the text in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The JSON is nested deeper than the limit.
    #[error("JSON nested deeper than {limit} levels")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
    },
    /// There are more objects than the limit.
    #[error("{found} objects in one bundle, the limit is {limit}")]
    TooMany {
        /// How many objects there are.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The JSON is no bundle.
    #[error("not a STIX bundle: {reason}")]
    NotABundle {
        /// What is missing or wrong.
        reason: String,
    },
    /// The JSON is no object with a type.
    #[error("not a STIX object: {reason}")]
    NotAnObject {
        /// What is missing or wrong.
        reason: String,
    },
    /// The text is no STIX id.
    #[error("`{text}` is not a STIX id: {reason}")]
    BadId {
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The text is no STIX time.
    #[error("`{text}` is not a STIX time; accepted is RFC 3339 in UTC like 2026-11-24T08:30:00.000Z")]
    BadTime {
        /// The text, shortened.
        text: String,
    },
    /// The object is of a STIX version that is neither 2.0 nor 2.1.
    #[error("`{version}` is not a STIX version read here; 2.0 and 2.1 are")]
    UnknownVersion {
        /// What `spec_version` said, shortened.
        version: String,
    },
    /// A property that the object's type must have is not there.
    #[error("{object_type} without `{property}`")]
    MissingProperty {
        /// The type of the object.
        object_type: String,
        /// The property, or the choice of properties.
        property: String,
    },
    /// A property is there with a value that it cannot have.
    #[error("{object_type}: `{property}` {reason}")]
    BadProperty {
        /// The type of the object.
        object_type: String,
        /// The property.
        property: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// The same version of an object was there before.
    #[error("{id} was already in this bundle in the same version")]
    Duplicate {
        /// The id of the object.
        id: StixId,
    },
    /// The pattern of an indicator cannot be read.
    #[error("pattern {0}")]
    BadPattern(#[from] PatternError),
}

impl StixError {
    /// Shortens text of unknown origin for a message and makes control characters visible.
    pub(crate) fn excerpt(text: &str) -> String {
        const LONGEST: usize = 80;
        let mut shown: String = text.chars().take(LONGEST).flat_map(visible).collect();
        if text.chars().nth(LONGEST).is_some() {
            shown.push('…');
        }
        shown
    }
}

fn visible(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

impl Coded for StixError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "stix-not-json",
            Self::TooLarge { .. } => "stix-too-large",
            Self::TooDeep { .. } => "stix-too-deep",
            Self::TooMany { .. } => "stix-too-many",
            Self::NotABundle { .. } => "stix-not-a-bundle",
            Self::NotAnObject { .. } => "stix-not-an-object",
            Self::BadId { .. } => "stix-bad-id",
            Self::BadTime { .. } => "stix-bad-time",
            Self::UnknownVersion { .. } => "stix-unknown-version",
            Self::MissingProperty { .. } => "stix-missing-property",
            Self::BadProperty { .. } => "stix-bad-property",
            Self::Duplicate { .. } => "stix-duplicate",
            Self::BadPattern(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooLarge { .. } | Self::TooMany { .. } | Self::TooDeep { .. } => {
                Some("split the bundle, or raise the limit if its source is trusted".into())
            }
            Self::NotABundle { .. } => {
                Some("a bundle is a JSON object with \"type\": \"bundle\" and a list \"objects\"".into())
            }
            Self::BadId { .. } => Some("an id is the object's type, two dashes and a UUID".into()),
            Self::BadPattern(error) => error.hint(),
            _ => None,
        }
    }
}
