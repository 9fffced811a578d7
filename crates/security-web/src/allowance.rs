//! How often something may happen: a rate, or as often as you like.

use std::{fmt, str::FromStr};

use security_core::Rate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{WebError, error::shortened};

/// A limit of the policy, written like `100/minute` or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allowance {
    /// As often as you like; nothing is counted.
    Unlimited,
    /// At most this often.
    At(Rate),
}

impl Allowance {
    /// The rate, if there is a limit.
    pub fn rate(self) -> Option<Rate> {
        match self {
            Self::Unlimited => None,
            Self::At(rate) => Some(rate),
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::At(rate) => rate.fmt(f),
        }
    }
}

impl FromStr for Allowance {
    type Err = WebError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().eq_ignore_ascii_case("unlimited") {
            return Ok(Self::Unlimited);
        }
        text.parse().map(Self::At).map_err(|_| WebError::NotAnAllowance(shortened(text)))
    }
}

impl Serialize for Allowance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Allowance {
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
    fn reads_rates_and_unlimited() {
        assert_eq!("Unlimited".parse(), Ok(Allowance::Unlimited));
        assert_eq!("100/minute".parse(), Ok(Allowance::At(Rate::new(100, 60))));
        assert_eq!("often".parse::<Allowance>(), Err(WebError::NotAnAllowance("often".into())));
    }

    proptest! {
        #[test]
        fn text_round_trips(count in 1u32..100_000, period in 1u32..86_400) {
            let allowance = Allowance::At(Rate::new(count, period));
            prop_assert_eq!(allowance.to_string().parse(), Ok(allowance));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = text.parse::<Allowance>();
        }
    }
}
