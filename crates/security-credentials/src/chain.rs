//! The hash chain that ties the lines of a journal together.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::{CredentialError, error::shown, hex};

/// One link of a journal's chain: SHA-256 over the link before and the line.
///
/// Whoever changes, drops or moves a line must recompute every link after it; a link kept elsewhere shows that.
/// A link is no secret. Written as 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainLink([u8; 32]);

impl ChainLink {
    /// The link before a file's first line. It holds the file's name, so that the lines of one file cannot be
    /// passed off as another's.
    pub fn start(file_name: &str) -> Self {
        Self(Sha256::new().chain_update(b"security journal 1\0").chain_update(file_name).finalize().into())
    }

    /// The link of the next line, given as its bytes without the line break.
    #[must_use]
    pub fn next(&self, line: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(line).finalize().into())
    }

    /// Appends the link as it is displayed.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&hex::digits(&self.0));
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ChainLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl FromStr for ChainLink {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::decode(text).map(Self).ok_or_else(|| CredentialError::ChainLink(shown(text)))
    }
}

impl Serialize for ChainLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChainLink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chain(file: &str, lines: &[&[u8]]) -> ChainLink {
        lines.iter().fold(ChainLink::start(file), |link, line| link.next(line))
    }

    #[test]
    fn every_tampering_changes_the_last_link() {
        let whole = chain("usage-1.jsonl", &[b"a", b"b", b"c"]);
        assert_eq!(whole, chain("usage-1.jsonl", &[b"a", b"b", b"c"]));
        let others: [&[&[u8]]; 4] =
            [&[b"a", b"c"], &[b"b", b"a", b"c"], &[b"a", b"B", b"c"], &[b"a", b"b", b"c", b""]];
        for other in others {
            assert_ne!(whole, chain("usage-1.jsonl", other));
        }
        assert_ne!(whole, chain("usage-2.jsonl", &[b"a", b"b", b"c"]));
    }

    #[test]
    fn a_link_is_sha_256_of_the_link_before_and_the_line() {
        let zero = ChainLink([0; 32]);
        // sha256sum of 32 zero bytes.
        let expected = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
        assert_eq!(zero.next(b"").to_string(), expected);
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 32]) {
            let link = ChainLink(bytes);
            prop_assert_eq!(link.to_string().parse::<ChainLink>().unwrap(), link);
        }

        #[test]
        fn reading_never_panics(text in ".{0,80}") {
            let _ = text.parse::<ChainLink>();
        }
    }
}
