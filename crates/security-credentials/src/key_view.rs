//! What is shown of an issued key.

use std::collections::BTreeMap;

use security_core::Timestamp;
use serde::Serialize;

use crate::IssuedKey;

/// An issued key as people and callers see it: without digests, times in RFC 3339.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyView {
    /// The id that stands in the token.
    pub id: String,
    /// The token's prefix.
    pub prefix: String,
    /// Its name.
    pub name: String,
    /// Whom it was issued to.
    pub owner: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Where it may be used from, in CIDR notation; empty is anywhere.
    pub allowed_networks: Vec<String>,
    /// Its own limit, like `100/minute`; `None` is the default.
    pub rate_limit: Option<String>,
    /// Any use raises an alert.
    pub canary: bool,
    /// The application's own words.
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Until when the token before the last rotation is accepted, also when that is over; `None` when it was not
    /// accepted at all.
    pub previous_until: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why.
    pub revoked_reason: Option<String>,
}

impl IssuedKey {
    /// The key as it may be shown.
    pub fn view(&self) -> KeyView {
        KeyView {
            id: self.id.clone(),
            prefix: self.prefix.clone(),
            name: self.name.clone(),
            owner: self.owner.clone(),
            scopes: self.scopes.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            allowed_networks: self.allowed_networks.iter().map(ToString::to_string).collect(),
            rate_limit: self.rate_limit.map(|rate| rate.to_string()),
            canary: self.canary,
            metadata: self.metadata.clone(),
            previous_until: self.previous.map(|(_, until)| until).filter(|until| *until > Timestamp::MIN),
            revoked_at: self.revoked.as_ref().map(|(at, _)| *at),
            revoked_reason: self.revoked.as_ref().map(|(_, reason)| reason.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, KeyDraft};
    use std::time::Duration;

    #[test]
    fn a_view_shows_all_but_the_digests() {
        let draft = KeyDraft {
            owner: Some("billing".into()),
            scopes: vec!["read".into()],
            expires_at: Some(Timestamp::from_seconds(86_400)),
            allowed_networks: vec!["192.0.2.0/24".parse().unwrap()],
            rate_limit: Some("20/second".parse().unwrap()),
            metadata: BTreeMap::from([("ticket".into(), 7.into())]),
            ..KeyDraft::new("reporting")
        };
        let digest = Digest::from_bytes([0xab; 32]);
        let mut key = IssuedKey::issue(draft, "0123456789abcdefg", digest, Timestamp::EPOCH).unwrap();
        key.rotate(Digest::from_bytes([0xcd; 32]), Timestamp::EPOCH, Duration::from_secs(60)).unwrap();
        key.revoke(Timestamp::from_seconds(1), "leaked").unwrap();
        let json = serde_json::to_value(key.view()).unwrap();
        let expected = serde_json::json!({
            "id": "0123456789abcdefg",
            "prefix": "sk",
            "name": "reporting",
            "owner": "billing",
            "scopes": ["read"],
            "created_at": "1970-01-01T00:00:00Z",
            "expires_at": "1970-01-02T00:00:00Z",
            "allowed_networks": ["192.0.2.0/24"],
            "rate_limit": "20/second",
            "canary": false,
            "metadata": {"ticket": 7},
            "previous_until": "1970-01-01T00:01:00Z",
            "revoked_at": "1970-01-01T00:00:01Z",
            "revoked_reason": "leaked",
        });
        assert_eq!(json, expected);
    }
}
