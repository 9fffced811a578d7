//! What can be wrong with what is asked of credentials; no message holds a secret.

use security_core::Coded;

use crate::{CredentialKind, UnknownKind};

/// Why a credential, a key or a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The text names none of the document's credentials.
    #[error(transparent)]
    UnknownKind(#[from] UnknownKind),
    /// The text names no complexity.
    #[error("`{0}` is no complexity; accepted are low, medium, high, very_high")]
    UnknownComplexity(String),
    /// A credential of this length is not made.
    #[error("a length of {given} is not accepted; accepted are {least} to {most} characters")]
    Length {
        /// The length asked for.
        given: usize,
        /// The shortest accepted.
        least: usize,
        /// The longest accepted.
        most: usize,
    },
    /// A field of a rotation policy is out of bounds.
    #[error("{field} of {given} is not accepted; {accepted}")]
    Policy {
        /// The field.
        field: &'static str,
        /// The value given.
        given: u64,
        /// What is accepted, as a clause.
        accepted: &'static str,
    },
    /// The text cannot start a token.
    #[error(
        "`{0}` is no key prefix; accepted are 1 to 16 lower-case letters and digits that start with a letter"
    )]
    Prefix(String),
    /// The text is no id of an issued key.
    #[error("`{0}` is no key id; accepted are 17 letters and digits")]
    KeyId(String),
    /// A text that people will read holds what it must not.
    #[error("{field} {reason}")]
    Label {
        /// The argument.
        field: &'static str,
        /// What is wrong with it, as a predicate.
        reason: String,
    },
    /// The text is no scope.
    #[error("`{scope}` is no scope: {reason}")]
    Scope {
        /// The text, shortened.
        scope: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More of something than is kept.
    #[error("{given} {what} are too many; accepted are {most}")]
    TooMany {
        /// What there is too much of, in the plural.
        what: &'static str,
        /// How many were given.
        given: usize,
        /// How many are accepted.
        most: usize,
    },
    /// The text is no network.
    #[error("`{network}` is no network: {reason}")]
    Network {
        /// The text, shortened.
        network: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The text is no limit of a key.
    #[error(
        "`{0}` is no rate limit; accepted is a count and a period like 100/minute, 20/second, 5000/hour, or unlimited"
    )]
    Rate(String),
    /// The key would never be valid.
    #[error("expires_at is {0}, which is not after the time of issue")]
    ExpiryPast(security_core::Timestamp),
    /// The key has ended; nothing renews it.
    #[error("key `{id}` is {state}")]
    KeyEnded {
        /// The key's id.
        id: String,
        /// `revoked` or `expired`.
        state: &'static str,
    },
    /// The new value was in use before.
    #[error("the new value of {0} has been used before")]
    ValueReused(CredentialKind),
    /// The rotation in steps is not under way any more.
    #[error("the rotation of {0} is over: another one took its place, or it was given up")]
    RotationOver(CredentialKind),
    /// The random source gives the same bytes again and again.
    #[error("the source of random bytes is broken: it repeats itself")]
    Entropy,
    /// The text cannot name a stored secret.
    #[error(
        "`{0}` names no secret; accepted are 1 to 128 ASCII letters, digits and `._-` in words that begin with a letter or digit, joined by `/`"
    )]
    SecretName(String),
    /// The text or file is no master key.
    #[error("a master key is 32 random bytes, as 64 hex digits or as Base64")]
    MasterKey,
    /// The text or file is no pepper.
    #[error("a pepper is 32 random bytes, as 64 hex digits or as Base64")]
    Pepper,
    /// A stored secret does not open.
    #[error(
        "the stored secret does not open: it was encrypted under another key or for another place, or has changed"
    )]
    Sealed,
    /// The hash of a key from elsewhere cannot be taken; the hash itself is not told.
    #[error("hash {0}")]
    ForeignHash(&'static str),
    /// A record of a key from elsewhere does not say what is needed, or contradicts itself.
    #[error("{0}")]
    ForeignRecord(String),
    /// The text is no link of a hash chain.
    #[error("`{0}` is no chain link; accepted are 64 lower-case hex digits")]
    ChainLink(String),
}

impl Coded for CredentialError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownKind(_) => "credential-unknown-type",
            Self::UnknownComplexity(_) => "credential-unknown-complexity",
            Self::Length { .. } => "credential-length",
            Self::Policy { .. } => "credential-policy",
            Self::Prefix(_) => "credential-prefix",
            Self::KeyId(_) => "credential-key-id",
            Self::Label { .. } => "credential-label",
            Self::Scope { .. } => "credential-scope",
            Self::TooMany { .. } => "credential-too-many",
            Self::Network { .. } => "credential-network",
            Self::Rate(_) => "credential-rate",
            Self::ExpiryPast(_) => "credential-expiry-past",
            Self::KeyEnded { .. } => "credential-key-ended",
            Self::ValueReused(_) => "credential-value-reused",
            Self::RotationOver(_) => "credential-rotation-over",
            Self::Entropy => "credential-entropy",
            Self::SecretName(_) => "credential-secret-name",
            Self::MasterKey => "credential-master-key",
            Self::Pepper => "credential-pepper",
            Self::Sealed => "credential-sealed",
            Self::ForeignHash(_) => "credential-foreign-hash",
            Self::ForeignRecord(_) => "credential-foreign-record",
            Self::ChainLink(_) => "credential-chain-link",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Policy { field: "rotate_every_days", .. } => {
                "a credential that is practically never rotated has 36500"
            }
            Self::Scope { .. } => "scopes are exact names such as orders:read; `*` alone grants everything",
            Self::KeyEnded { .. } => "issue a new key",
            Self::ValueReused(_) => "rotate to a value that was never used, or let one be generated",
            Self::MasterKey | Self::Pepper => {
                "make one with `openssl rand -base64 32` and keep it apart from the data directory"
            }
            Self::Entropy => "look at the operating system's random source before making any key",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The start of a text for use in a message, with control characters made visible.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_show_hostile_text_harmlessly() {
        let error = CredentialError::Prefix(shown("a\n\u{1b}[2J\u{202e}"));
        assert!(!error.to_string().contains(['\n', '\u{1b}', '\u{202e}']), "{error}");
        assert_eq!(error.code(), "credential-prefix");
    }

    #[test]
    fn hints_say_the_way_out() {
        let error = CredentialError::KeyEnded { id: "x".into(), state: "revoked" };
        assert_eq!(error.hint().as_deref(), Some("issue a new key"));
        assert_eq!(CredentialError::Prefix(String::new()).hint(), None);
    }
}
