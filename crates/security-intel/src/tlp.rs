//! The Traffic Light Protocol: who may be told. Source: FIRST TLP 2.0 (2022), and STIX 2.1 §7.2.1.4 for 1.0.

use std::{fmt, str::FromStr};

/// A label, most open first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tlp {
    /// Everybody; `white` in version 1.
    Clear,
    /// The community.
    Green,
    /// The recipient's organisation and its clients.
    Amber,
    /// The recipient's organisation only.
    AmberStrict,
    /// The recipient only.
    Red,
}

impl Tlp {
    /// The label as a tag: `tlp:clear`, `tlp:green`, `tlp:amber`, `tlp:amber+strict`, `tlp:red`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Clear => "tlp:clear",
            Self::Green => "tlp:green",
            Self::Amber => "tlp:amber",
            Self::AmberStrict => "tlp:amber+strict",
            Self::Red => "tlp:red",
        }
    }

    /// The marking definition that stands for the label: one that STIX 2.1 itself defines (§7.2.1.4) where there
    /// is one, so that no bundle need carry it; for amber+strict, OASIS's common object.
    pub fn marking(self) -> &'static str {
        match self {
            Self::Clear => "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
            Self::Green => "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
            Self::Amber => "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
            Self::AmberStrict => "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
            Self::Red => "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
        }
    }

    /// The label of a STIX marking definition that everybody knows by its id.
    pub fn of_marking(id: &str) -> Option<Self> {
        // STIX 2.1 §7.2.1.4 (TLP 1.0), and the OASIS common object repository for TLP 2.0.
        match id {
            "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"
            | "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487" => Some(Self::Clear),
            "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
            | "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb" => Some(Self::Green),
            "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"
            | "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421" => Some(Self::Amber),
            "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003" => Some(Self::AmberStrict),
            "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"
            | "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1" => Some(Self::Red),
            _ => None,
        }
    }
}

impl fmt::Display for Tlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// The text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no TLP label; accepted are clear, green, amber, amber+strict, red")]
pub struct UnknownTlp(String);

impl FromStr for Tlp {
    type Err = UnknownTlp;

    /// Accepts the label with or without `tlp:`, in any case, and version 1's `white`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_ascii_lowercase();
        match lower.strip_prefix("tlp:").unwrap_or(&lower).trim() {
            "clear" | "white" => Ok(Self::Clear),
            "green" => Ok(Self::Green),
            "amber" => Ok(Self::Amber),
            "amber+strict" => Ok(Self::AmberStrict),
            "red" => Ok(Self::Red),
            _ => Err(UnknownTlp(crate::error::shorten(text, 40))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_round_trip() {
        for label in [Tlp::Clear, Tlp::Green, Tlp::Amber, Tlp::AmberStrict, Tlp::Red] {
            assert_eq!(label.tag().parse(), Ok(label));
            assert_eq!(Tlp::of_marking(label.marking()), Some(label));
        }
        assert_eq!("TLP:WHITE".parse(), Ok(Tlp::Clear));
        assert!("tlp:purple".parse::<Tlp>().is_err());
        assert!(Tlp::Amber < Tlp::AmberStrict && Tlp::AmberStrict < Tlp::Red);
    }
}
