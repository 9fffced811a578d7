//! A key's own limit.

use std::{borrow::Cow, fmt, str::FromStr};

use security_core::Rate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{CredentialError, error::shown};

/// A key's own limit: `100/minute`, `20/second`, `5000/hour`, or `unlimited`. Stored as that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRate {
    /// So many requests in so long.
    Limited(Rate),
    /// No limit.
    Unlimited,
}

impl fmt::Display for KeyRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited(rate) => rate.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl FromStr for KeyRate {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().eq_ignore_ascii_case("unlimited") {
            return Ok(Self::Unlimited);
        }
        text.parse().map(Self::Limited).map_err(|_| CredentialError::Rate(shown(text)))
    }
}

impl Serialize for KeyRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_rates_and_the_word() {
        assert_eq!("100/minute".parse(), Ok(KeyRate::Limited(Rate::new(100, 60))));
        assert_eq!(" Unlimited ".parse(), Ok(KeyRate::Unlimited));
        for bad in ["", "none", "0/minute", "100", "100/fortnight"] {
            assert!(bad.parse::<KeyRate>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(count in 1u32.., period in 1u32..=31 * 86_400) {
            for rate in [KeyRate::Limited(Rate::new(count, period)), KeyRate::Unlimited] {
                prop_assert_eq!(rate.to_string().parse::<KeyRate>().unwrap(), rate);
                let json = serde_json::to_string(&rate).unwrap();
                prop_assert_eq!(serde_json::from_str::<KeyRate>(&json).unwrap(), rate);
            }
        }

        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = text.parse::<KeyRate>();
        }
    }
}
