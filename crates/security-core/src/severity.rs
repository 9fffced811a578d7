//! How bad a finding is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Severity of a rule, an alert or a finding, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; score 0.
    Info,
    /// Score 20.
    Low,
    /// Score 40.
    Medium,
    /// Score 60.
    High,
    /// Score 80.
    Critical,
}

/// The text names no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no severity; accepted are info, low, medium, high, critical")]
pub struct UnknownSeverity(pub String);

impl Severity {
    /// All severities, lowest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The severity's name, as it is parsed and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity as a score from 0 to 80.
    pub fn score(self) -> u8 {
        match self {
            Self::Info => 0,
            Self::Low => 20,
            Self::Medium => 40,
            Self::High => 60,
            Self::Critical => 80,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(text.trim()));
        known.ok_or_else(|| UnknownSeverity(text.chars().take(40).collect()))
    }
}
