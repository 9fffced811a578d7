//! What the policy refuses to be.

use security_core::Coded;

/// A value of the policy that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// Neither a preset, nor an address, nor a network.
    #[error(
        "`{0}` is no network; accepted are none, loopback, private, unix, an address like 192.0.2.1 or a network \
         like 10.0.0.0/8"
    )]
    NotANetwork(String),
    /// Neither a rate nor `unlimited`.
    #[error("`{0}` is no limit; accepted are unlimited and rates like 100/minute, 20/second, 5000/hour")]
    NotAnAllowance(String),
    /// No absolute path.
    #[error("`{0}` is no path; accepted is a path that starts with / like /admin")]
    NotAPath(String),
    /// Neither a rule's id nor a category.
    #[error("`{0}` is no rule of inspection; accepted are ids like sqli-tautology and categories like xss")]
    NotARule(String),
    /// A header value with characters that no header may have.
    #[error("{name} has characters that a header may not have; accepted is printable ASCII")]
    NotAHeaderValue {
        /// The setting.
        name: &'static str,
    },
    /// A number outside its range.
    #[error("{name} is {given}; accepted is {accepted}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// What was given.
        given: u64,
        /// The range in words.
        accepted: &'static str,
    },
}

impl Coded for WebError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotANetwork(_) => "web-not-a-network",
            Self::NotAnAllowance(_) => "web-not-a-limit",
            Self::NotAPath(_) => "web-not-a-path",
            Self::NotARule(_) => "web-not-a-rule",
            Self::NotAHeaderValue { .. } => "web-not-a-header-value",
            Self::OutOfRange { .. } => "web-out-of-range",
        }
    }
}

/// As much of a refused text as an error shows.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
