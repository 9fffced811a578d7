//! What a stored secret may be called.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{CredentialError, error::shown};

/// The name of a stored secret: `mail/smtp-password`.
///
/// 1 to 128 ASCII characters: words of letters, digits, `.`, `_` and `-` that begin with a letter or a digit, joined
/// by `/`. So no name climbs out of a folder (`..` begins with a dot), holds a control or direction character, or
/// looks like another one that is spelled with letters of another script. Upper and lower case differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

impl SecretName {
    /// The longest name, in characters.
    pub const MOST: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretName {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
                && !word.contains("..")
        };
        match text.len() <= Self::MOST && text.split('/').all(word) {
            true => Ok(Self(text.to_owned())),
            false => Err(CredentialError::SecretName(shown(text))),
        }
    }
}

impl Serialize for SecretName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretName {
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
    fn names_are_plain_words() {
        for good in ["a", "DB_PASSWORD", "mail/smtp-password", "2026/key.v2", &"x".repeat(128)] {
            assert_eq!(good.parse::<SecretName>().unwrap().as_str(), good);
        }
        let bad = [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".hidden",
            "-x",
            "a b",
            "a\0",
            "a\n",
            "a\u{202e}b",
            "p\u{430}ssword",
            "\u{ff41}",
            "a\\b",
            "a%2e%2e",
            "a:b",
            "~a",
            "caf\u{e9}",
        ];
        for bad in bad {
            assert!(bad.parse::<SecretName>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(129).parse::<SecretName>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_harmless(text in "\\PC{0,40}|[a-z./]{0,12}") {
            if let Ok(name) = text.parse::<SecretName>() {
                prop_assert!(name.as_str().is_ascii() && !name.as_str().contains(".."));
                prop_assert!(!name.as_str().starts_with('/') && !name.as_str().is_empty());
            }
        }
    }
}
