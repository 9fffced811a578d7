//! How often a credential is to be rotated, and what a new value looks like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Complexity, CredentialError, CredentialKind,
    generate::{LEAST_LENGTH, MOST_LENGTH},
};

/// When one of the document's credentials is due for rotation, and what its next value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RotationPolicy {
    /// Days between rotations, 1 to 36500.
    pub rotate_every_days: u32,
    /// Days before the rotation from which it is announced; less than `rotate_every_days`.
    pub warn_before_days: u32,
    /// Characters of a generated value, 8 to 4096.
    pub length: usize,
    /// What a generated value is made of.
    pub complexity: Complexity,
}

/// What a configuration changes of a [`RotationPolicy`]; what it leaves out stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyOverrides {
    /// See [`RotationPolicy::rotate_every_days`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_every_days: Option<u32>,
    /// See [`RotationPolicy::warn_before_days`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_before_days: Option<u32>,
    /// See [`RotationPolicy::length`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// See [`RotationPolicy::complexity`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complexity: Option<Complexity>,
}

/// The policies of all five credentials. Read from a table with the credentials' names as keys (in either case)
/// and [`PolicyOverrides`] as values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "BTreeMap<CredentialKind, PolicyOverrides>")]
pub struct RotationPolicies(BTreeMap<CredentialKind, RotationPolicy>);

impl RotationPolicy {
    /// The default policy of a credential.
    pub fn of(kind: CredentialKind) -> Self {
        let (rotate_every_days, warn_before_days, length, complexity) = match kind {
            CredentialKind::ApiKey | CredentialKind::MailApiKey | CredentialKind::LoggingApiKey => {
                (90, 14, 32, Complexity::High)
            }
            CredentialKind::DbPassword => (60, 10, 24, Complexity::High),
            CredentialKind::SecretToken => (30, 7, 48, Complexity::VeryHigh),
        };
        Self { rotate_every_days, warn_before_days, length, complexity }
    }

    /// This policy with a configuration's changes.
    /// # Errors
    /// [`CredentialError::Policy`] for a value out of bounds.
    pub fn with(self, overrides: &PolicyOverrides) -> Result<Self, CredentialError> {
        let rotate_every_days = overrides.rotate_every_days.unwrap_or(self.rotate_every_days);
        // Whoever asks for a rotation every week and says nothing of the warning is not to be refused for it.
        let default_warning = self.warn_before_days.min(rotate_every_days.saturating_sub(1));
        let policy = Self {
            rotate_every_days,
            warn_before_days: overrides.warn_before_days.unwrap_or(default_warning),
            length: overrides.length.unwrap_or(self.length),
            complexity: overrides.complexity.unwrap_or(self.complexity),
        };
        let refuse = |field, given, accepted| Err(CredentialError::Policy { field, given, accepted });
        if !(1..=36_500).contains(&policy.rotate_every_days) {
            let given = policy.rotate_every_days.into();
            return refuse("rotate_every_days", given, "accepted are 1 to 36500 days");
        }
        if policy.warn_before_days >= policy.rotate_every_days {
            let given = policy.warn_before_days.into();
            return refuse("warn_before_days", given, "accepted is less than rotate_every_days");
        }
        if !(LEAST_LENGTH..=MOST_LENGTH).contains(&policy.length) {
            let given = u64::try_from(policy.length).unwrap_or(u64::MAX);
            return refuse("length", given, "accepted are 8 to 4096 characters");
        }
        Ok(policy)
    }
}

impl RotationPolicies {
    /// The policy of a credential: the configured one, or the default.
    pub fn of(&self, kind: CredentialKind) -> RotationPolicy {
        self.0.get(&kind).copied().unwrap_or_else(|| RotationPolicy::of(kind))
    }
}

impl TryFrom<BTreeMap<CredentialKind, PolicyOverrides>> for RotationPolicies {
    type Error = CredentialError;

    fn try_from(overrides: BTreeMap<CredentialKind, PolicyOverrides>) -> Result<Self, Self::Error> {
        let policies =
            overrides.iter().map(|(kind, changes)| Ok((*kind, RotationPolicy::of(*kind).with(changes)?)));
        policies.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_documents() {
        let text = |kind| {
            let policy = RotationPolicy::of(kind);
            let RotationPolicy { rotate_every_days, warn_before_days, length, complexity } = policy;
            assert_eq!(policy.with(&PolicyOverrides::default()), Ok(policy), "defaults are in bounds");
            format!("{rotate_every_days} {warn_before_days} {length} {complexity}")
        };
        assert_eq!(text(CredentialKind::ApiKey), "90 14 32 high");
        assert_eq!(text(CredentialKind::MailApiKey), "90 14 32 high");
        assert_eq!(text(CredentialKind::LoggingApiKey), "90 14 32 high");
        assert_eq!(text(CredentialKind::DbPassword), "60 10 24 high");
        assert_eq!(text(CredentialKind::SecretToken), "30 7 48 very_high");
    }

    #[test]
    fn a_configuration_changes_what_it_names() {
        let policies: RotationPolicies =
            toml::from_str("[DB_PASSWORD]\nlength = 40\n[api_key]\nrotate_every_days = 7\n").unwrap();
        let database = policies.of(CredentialKind::DbPassword);
        assert_eq!((database.length, database.rotate_every_days), (40, 60));
        let key = policies.of(CredentialKind::ApiKey);
        assert_eq!((key.rotate_every_days, key.warn_before_days), (7, 6));
        assert_eq!(policies.of(CredentialKind::SecretToken), RotationPolicy::of(CredentialKind::SecretToken));
    }

    #[test]
    fn a_configuration_out_of_bounds_is_refused() {
        for bad in [
            "[API_KEY]\nrotate_every_days = 0",
            "[API_KEY]\nrotate_every_days = 36501",
            "[API_KEY]\nrotate_every_days = -1",
            "[API_KEY]\nwarn_before_days = 90",
            "[API_KEY]\nlength = 7",
            "[API_KEY]\nlength = 4097",
            "[API_KEY]\ncomplexity = \"extreme\"",
            "[API_KEY]\nrotate_every = 5",
            "[OTHER_KEY]\nlength = 32",
        ] {
            assert!(toml::from_str::<RotationPolicies>(bad).is_err(), "{bad}");
        }
    }
}
