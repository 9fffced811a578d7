//! A key before it is issued: what it is asked to be, and the bounds of that.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use security_core::Timestamp;

use crate::{CredentialError, Digest, IssuedKey, KeyRate, label, network, token};

/// What a key to be issued is to be; [`IssuedKey::issue`] makes the key of it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyDraft {
    /// A name people choose: 1 to 128 characters, no control characters.
    pub name: String,
    /// The token's prefix: a lower-case letter, and up to 15 lower-case letters and digits.
    pub prefix: String,
    /// Whom it is issued to: up to 256 characters, likewise.
    pub owner: Option<String>,
    /// What it may do, at most 64: visible ASCII without quotes and backslashes, up to 128 characters each
    /// (RFC 6749 §3.3), or `*` alone for everything. Empty is nothing.
    pub scopes: Vec<String>,
    /// When it ends; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// Where it may be used from, at most 64; empty is anywhere. See [`crate::parse_network`].
    pub allowed_networks: Vec<IpNet>,
    /// Its own limit; `None` is the default.
    pub rate_limit: Option<KeyRate>,
    /// Any use raises an alert.
    pub canary: bool,
    /// The application's own words: at most 32, names of up to 64 characters, 8 KiB of JSON in all.
    pub metadata: BTreeMap<String, serde_json::Value>,
}

impl KeyDraft {
    /// A key with this name, the prefix `sk`, and nothing else: no scopes, no end, from anywhere.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prefix: "sk".to_owned(),
            owner: None,
            scopes: Vec::new(),
            expires_at: None,
            allowed_networks: Vec::new(),
            rate_limit: None,
            canary: false,
            metadata: BTreeMap::new(),
        }
    }

    /// Refuses what is out of bounds.
    fn check(&self, now: Timestamp) -> Result<(), CredentialError> {
        label::check_present("name", &self.name, 128)?;
        token::check_prefix(&self.prefix)?;
        if let Some(owner) = &self.owner {
            label::check_present("owner", owner, 256)?;
        }
        few("scopes", self.scopes.len(), 64)?;
        self.scopes.iter().try_for_each(|scope| label::check_scope(scope))?;
        few("allowed networks", self.allowed_networks.len(), 64)?;
        if let Some(end) = self.expires_at
            && end <= now
        {
            return Err(CredentialError::ExpiryPast(end));
        }
        few("metadata entries", self.metadata.len(), 32)?;
        self.metadata.keys().try_for_each(|name| label::check_present("metadata name", name, 64))?;
        let size = self.metadata.values().map(|value| value.to_string().len()).sum();
        few("bytes of metadata", size, 8192)
    }
}

fn few(what: &'static str, given: usize, most: usize) -> Result<(), CredentialError> {
    if given > most { Err(CredentialError::TooMany { what, given, most }) } else { Ok(()) }
}

impl IssuedKey {
    /// The key of a draft, version 1. `id` and `digest` are those of its [`crate::Token`].
    ///
    /// Repeated scopes and networks are kept once.
    /// # Errors
    /// [`CredentialError`] for the first field out of bounds, and for an end that is not after `now`.
    pub fn issue(draft: KeyDraft, id: &str, digest: Digest, now: Timestamp) -> Result<Self, CredentialError> {
        draft.check(now)?;
        token::check_id(id)?;
        let mut seen = BTreeSet::new();
        let mut scopes = draft.scopes;
        scopes.retain(|scope| seen.insert(scope.clone()));
        let mut allowed_networks: Vec<IpNet> = Vec::new();
        for allowed in draft.allowed_networks.into_iter().map(network::folded) {
            if !allowed_networks.contains(&allowed) {
                allowed_networks.push(allowed);
            }
        }
        Ok(Self {
            id: id.to_owned(),
            version: 1,
            prefix: draft.prefix,
            name: draft.name,
            owner: draft.owner,
            scopes,
            created_at: now,
            expires_at: draft.expires_at,
            allowed_networks,
            rate_limit: draft.rate_limit,
            canary: draft.canary,
            metadata: draft.metadata,
            digest,
            previous: None,
            revoked: None,
            foreign: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_core::Coded;

    const NOW: Timestamp = Timestamp::EPOCH;

    fn issue(draft: KeyDraft) -> Result<IssuedKey, CredentialError> {
        IssuedKey::issue(draft, "0123456789abcdefg", Digest::from_bytes([1; 32]), NOW)
    }

    #[test]
    fn a_draft_becomes_a_key() {
        let scopes = ["read", "write", "read"].map(str::to_owned).to_vec();
        let networks = ["::ffff:192.0.2.0/120", "192.0.2.9/24", "2001:db8::/32"];
        let allowed_networks = networks.map(|text| text.parse().unwrap()).to_vec();
        let key = issue(KeyDraft { scopes, allowed_networks, ..KeyDraft::new("Müller") }).unwrap();
        assert_eq!((key.version, key.prefix.as_str(), key.created_at), (1, "sk", NOW));
        assert_eq!(key.scopes, ["read", "write"]);
        let networks: Vec<String> = key.allowed_networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["192.0.2.0/24", "2001:db8::/32"]);
        assert_eq!(key.owner, None);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_name() {
        let fine = || KeyDraft::new("fine");
        let text = |length| "a".repeat(length);
        let metadata = |name: &str, value: usize| {
            BTreeMap::from([(name.to_owned(), serde_json::Value::from(text(value)))])
        };
        let cases = [
            ("credential-label", KeyDraft::new("")),
            ("credential-label", KeyDraft::new("a\nb")),
            ("credential-label", KeyDraft::new(text(129))),
            ("credential-prefix", KeyDraft { prefix: "SK".into(), ..fine() }),
            ("credential-label", KeyDraft { owner: Some(" ".into()), ..fine() }),
            ("credential-label", KeyDraft { owner: Some("\u{202e}".into()), ..fine() }),
            ("credential-scope", KeyDraft { scopes: vec!["a b".into()], ..fine() }),
            ("credential-too-many", KeyDraft { scopes: vec!["a".into(); 65], ..fine() }),
            ("credential-expiry-past", KeyDraft { expires_at: Some(NOW), ..fine() }),
            (
                "credential-too-many",
                KeyDraft { allowed_networks: vec!["192.0.2.0/24".parse().unwrap(); 65], ..fine() },
            ),
            ("credential-label", KeyDraft { metadata: metadata("", 1), ..fine() }),
            ("credential-label", KeyDraft { metadata: metadata(&text(65), 1), ..fine() }),
            ("credential-too-many", KeyDraft { metadata: metadata("a", 8191), ..fine() }),
        ];
        for (code, draft) in cases {
            assert_eq!(issue(draft.clone()).unwrap_err().code(), code, "{draft:?}");
        }
        assert!(issue(KeyDraft { metadata: metadata("a", 8190), ..fine() }).is_ok());
        let many = (0..33).map(|n| (n.to_string(), serde_json::Value::Null)).collect();
        assert_eq!(
            issue(KeyDraft { metadata: many, ..fine() }).unwrap_err().to_string(),
            "33 metadata entries are too many; accepted are 32"
        );
        assert!(IssuedKey::issue(fine(), "short", Digest::from_bytes([1; 32]), NOW).is_err());
    }
}
