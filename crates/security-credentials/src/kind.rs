//! The document's five credentials.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::shown;

/// A credential that the application is given by its environment or configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    /// `API_KEY`: callers of the application.
    ApiKey,
    /// `DB_PASSWORD`: the application's database.
    DbPassword,
    /// `SECRET_TOKEN`: sessions and signatures.
    SecretToken,
    /// `MAIL_API_KEY`: the mail service.
    MailApiKey,
    /// `LOGGING_API_KEY`: the logging service.
    LoggingApiKey,
}

/// The text names no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no credential type; accepted are API_KEY, DB_PASSWORD, SECRET_TOKEN, MAIL_API_KEY, LOGGING_API_KEY in either case"
)]
pub struct UnknownKind(pub String);

impl CredentialKind {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::ApiKey, Self::DbPassword, Self::SecretToken, Self::MailApiKey, Self::LoggingApiKey];

    /// The name of the environment variable, which is also the name in records: `API_KEY`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "API_KEY",
            Self::DbPassword => "DB_PASSWORD",
            Self::SecretToken => "SECRET_TOKEN",
            Self::MailApiKey => "MAIL_API_KEY",
            Self::LoggingApiKey => "LOGGING_API_KEY",
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CredentialKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text.trim()));
        known.ok_or_else(|| UnknownKind(shown(text)))
    }
}

impl Serialize for CredentialKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for CredentialKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_spellings_name_a_credential() {
        for kind in CredentialKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.as_str().to_lowercase().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<CredentialKind>(&json).unwrap(), kind);
        }
    }

    #[test]
    fn another_name_is_refused_without_repeating_all_of_it() {
        let error = format!("api-key\n{}", "x".repeat(100)).parse::<CredentialKind>().unwrap_err();
        let expected = format!("`api-key\\n{}` is no credential type; accepted are API_KEY,", "x".repeat(32));
        assert!(error.to_string().starts_with(&expected), "{error}");
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,60}") {
            let _ = text.parse::<CredentialKind>();
        }
    }
}
