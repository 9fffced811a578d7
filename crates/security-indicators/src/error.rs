//! What the parsers answer to text that is no indicator.

use security_core::Coded;

use crate::IocType;

/// Why a text is no indicator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndicatorError {
    /// The name names no kind of indicator.
    #[error("`{name}` is not an indicator type; accepted are {}", names())]
    UnknownType {
        /// The name as given, shortened.
        name: String,
    },
    /// The value is none of its kind.
    #[error("`{value}` is not a valid {kind}: {reason}")]
    Invalid {
        /// The kind asked for.
        kind: IocType,
        /// The value as given, shortened.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn names() -> String {
    IocType::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

impl IndicatorError {
    pub(crate) fn unknown_type(name: &str) -> Self {
        Self::UnknownType { name: name.chars().take(40).collect() }
    }

    pub(crate) fn invalid(kind: IocType, value: &str, reason: &'static str) -> Self {
        Self::Invalid { kind, value: value.chars().take(80).collect(), reason }
    }
}

impl Coded for IndicatorError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => "indicator-unknown-type",
            Self::Invalid { .. } => "indicator-invalid",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownType { .. } => Some(format!("use one of {}", names())),
            Self::Invalid { kind, .. } => Some(format!("a valid one is {}", kind.example())),
        }
    }
}
