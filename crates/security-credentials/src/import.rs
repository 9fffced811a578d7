//! Records of keys that another system issued, as an application hands them over.

use std::collections::BTreeMap;

use security_core::{Secret, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    CredentialError, Digest, ForeignRoute, IssuedKey, KeyDraft, Peppers,
    error::shown,
    foreign::{Given, Sort},
    parse_network,
};

/// What a record says of a key: an object with `name` and `hash`, and as far as wanted the other [`Self::FIELDS`].
#[derive(Debug)]
pub struct ImportRecord {
    draft: KeyDraft,
    networks: Vec<String>,
    rate_limit: Option<String>,
    created_at: Option<Timestamp>,
    hash: Secret,
    algorithm: Option<String>,
    salt: Option<String>,
    key_prefix: Option<String>,
    /// The hash is of what follows the prefix.
    of_secret: bool,
}

/// A key to be stored, and how it is found when it is presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedKey {
    /// The key, version 1.
    pub key: IssuedKey,
    /// What kind of look-up finds it.
    pub route: ForeignRoute,
    /// What [`ForeignRoute::lookup`] gives for it under the newest pepper.
    pub lookup: Digest,
    /// And under the older ones, by which it may be known.
    pub older_lookups: Vec<Digest>,
}

/// A prefix must tell keys apart, and must not be the key.
const PREFIX_LENGTHS: std::ops::RangeInclusive<usize> = 4..=128;

impl ImportRecord {
    /// The names of all fields.
    ///
    /// `hash` is a PHC string of Argon2, or SHA-256 or SHA-512 in hex or Base64, also as `sha256$salt$digest` or
    /// `sha256:digest`; `algorithm` (`sha256`, `sha512`, `argon2`) is needed where the hash leaves it open; `salt`
    /// is what was hashed before the key. `key_prefix` is the text that this key and no other begins with; Argon2, a
    /// salt and a hash of the secret alone need it. `hash_covers` is `key`, the whole, or `secret`, what follows
    /// `key_prefix`. The others are as a key is issued with; `created_at` and `expires_at` are RFC 3339.
    pub const FIELDS: [&str; 14] = [
        "name",
        "hash",
        "algorithm",
        "salt",
        "key_prefix",
        "hash_covers",
        "owner",
        "scopes",
        "created_at",
        "expires_at",
        "allowed_networks",
        "rate_limit",
        "canary",
        "metadata",
    ];

    /// From JSON.
    /// # Errors
    /// [`CredentialError::ForeignRecord`] naming the field, without its value. Fields that are not known are refused: a
    /// misspelt `expires_at` must not go unnoticed.
    pub fn from_json(record: Value) -> Result<Self, CredentialError> {
        let Value::Object(mut fields) = record else {
            return Err(refused("a record is an object with a name and a hash"));
        };
        let name: Option<String> = take(&mut fields, "name", "a text")?;
        let hash: Option<String> = take(&mut fields, "hash", "a text")?;
        let (Some(name), Some(hash)) = (name, hash) else {
            return Err(refused("a record needs a name and a hash"));
        };
        let metadata: Option<BTreeMap<String, Value>> = take(&mut fields, "metadata", "an object")?;
        let of_secret = match take::<String>(&mut fields, "hash_covers", "`key` or `secret`")?.as_deref() {
            None | Some("key") => false,
            Some("secret") => true,
            Some(_) => return Err(refused("hash_covers: accepted is `key` or `secret`")),
        };
        let taken = Self {
            draft: KeyDraft {
                owner: take(&mut fields, "owner", "a text")?,
                scopes: take(&mut fields, "scopes", "a list of texts")?.unwrap_or_default(),
                expires_at: take(&mut fields, "expires_at", "a time in RFC 3339")?,
                canary: take(&mut fields, "canary", "true or false")?.unwrap_or_default(),
                metadata: metadata.unwrap_or_default(),
                ..KeyDraft::new(name)
            },
            networks: take(&mut fields, "allowed_networks", "a list of texts")?.unwrap_or_default(),
            rate_limit: take(&mut fields, "rate_limit", "a text like 100/minute")?,
            created_at: take(&mut fields, "created_at", "a time in RFC 3339")?,
            hash: Secret::new(hash),
            algorithm: take(&mut fields, "algorithm", "a text")?,
            salt: take(&mut fields, "salt", "a text")?,
            key_prefix: take(&mut fields, "key_prefix", "a text")?,
            of_secret,
        };
        match fields.keys().next() {
            Some(name) => Err(CredentialError::ForeignRecord(format!(
                "`{}` is no field of a record; accepted are {}",
                shown(name),
                Self::FIELDS.join(", ")
            ))),
            None => Ok(taken),
        }
    }

    /// The key of the record. `id` is its new id, `prefix` what its tokens will begin with once it is rotated.
    /// # Errors
    /// [`CredentialError`] for the first field that cannot be taken, never with the hash.
    pub fn resolve(
        self,
        peppers: &Peppers,
        id: &str,
        prefix: &str,
        now: Timestamp,
    ) -> Result<ImportedKey, CredentialError> {
        if let Some(begins) = &self.key_prefix
            && !PREFIX_LENGTHS.contains(&begins.len())
        {
            return Err(refused("key_prefix: accepted are 4 to 128 bytes"));
        }
        let prefix_length = self.key_prefix.as_ref().map(|text| text.len() as u16); // 128 at most
        let skipped = match prefix_length {
            _ if !self.of_secret => 0,
            Some(length) => length,
            None => return Err(refused("hash_covers: `secret` needs the key_prefix before it")),
        };
        let sort = Sort { algorithm: self.algorithm.as_deref(), salt: self.salt.as_deref(), skipped };
        let of = |route: ForeignRoute, hash: &[u8]| {
            let older = peppers.all().skip(1).map(|pepper| route.of_hash(pepper, hash)).collect::<Vec<_>>();
            (route, route.of_hash(peppers.newest(), hash), older)
        };
        let ((route, lookup, older_lookups), digest, foreign) =
            match (Given::read(&self.hash, sort)?, &self.key_prefix) {
                (Given::Plain(route, hash), _) => {
                    let found_by = of(route, &hash);
                    let digest = found_by.1;
                    (found_by, digest, None)
                }
                (Given::Checked(hash), Some(begins)) => {
                    let route = ForeignRoute::Prefix(begins.len() as u16); // 128 at most
                    (of(route, begins.as_bytes()), Digest::DECOY, Some(hash))
                }
                (Given::Checked(_), None) => {
                    let problem =
                        "key_prefix is needed: a salted or slow hash does not tell which key it is of";
                    return Err(refused(problem));
                }
            };
        let draft = KeyDraft {
            prefix: prefix.to_owned(),
            allowed_networks: self
                .networks
                .iter()
                .map(|text| parse_network(text))
                .collect::<Result<_, _>>()?,
            rate_limit: self.rate_limit.as_deref().map(str::parse).transpose()?,
            ..self.draft
        };
        let issued = IssuedKey::issue(draft, id, digest, now)?;
        let created_at = self.created_at.filter(|at| *at <= now).unwrap_or(now);
        Ok(ImportedKey { key: IssuedKey { created_at, foreign, ..issued }, route, lookup, older_lookups })
    }
}

fn refused(problem: &str) -> CredentialError {
    CredentialError::ForeignRecord(problem.to_owned())
}

/// Takes a field out; null is nothing.
fn take<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
    accepted: &str,
) -> Result<Option<T>, CredentialError> {
    // Serde's own message would repeat the value.
    let wrong = |_| CredentialError::ForeignRecord(format!("{name}: accepted is {accepted}"));
    fields
        .remove(name)
        .filter(|value| !value.is_null())
        .map(serde_json::from_value)
        .transpose()
        .map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pepper;
    use security_core::Coded;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::EPOCH;
    const ID: &str = "0123456789abcdefg";

    fn resolve(record: Value) -> Result<ImportedKey, CredentialError> {
        let pepper = Pepper::new(&Secret::new(vec![7; 32])).unwrap();
        ImportRecord::from_json(record)?.resolve(&Peppers::new(pepper, []), ID, "sk", NOW)
    }

    fn hash() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn a_record_becomes_a_key_with_all_that_it_says() {
        let imported = resolve(json!({
            "name": "billing", "hash": hash(), "owner": "finance", "scopes": ["read"],
            "created_at": "1969-01-01T00:00:00Z", "expires_at": "2070-01-01T00:00:00Z",
            "allowed_networks": ["192.0.2.0/24"], "rate_limit": "5/minute", "canary": true,
            "metadata": {"old_id": 7}, "salt": null,
        }))
        .unwrap();
        let pepper = Pepper::new(&Secret::new(vec![7; 32])).unwrap();
        assert_eq!(imported.route, ForeignRoute::Sha256);
        assert_eq!(imported.lookup, ForeignRoute::Sha256.of_hash(&pepper, &[0xab; 32]));
        assert_eq!((imported.key.digest, &imported.key.foreign), (imported.lookup, &None));
        let view = serde_json::to_value(imported.key.view()).unwrap();
        assert_eq!(view["created_at"], "1969-01-01T00:00:00Z");
        assert_eq!((&view["scopes"], &view["rate_limit"]), (&json!(["read"]), &json!("5/minute")));
        assert_eq!((&view["owner"], &view["metadata"]), (&json!("finance"), &json!({"old_id": 7})));
    }

    #[test]
    fn a_hash_that_finds_nothing_needs_a_prefix() {
        let salted = json!({"name": "a", "hash": hash(), "salt": "pinch"});
        assert!(resolve(salted.clone()).unwrap_err().to_string().starts_with("key_prefix is needed"));
        let mut with_prefix = salted;
        with_prefix["key_prefix"] = "ab_12".into();
        let imported = resolve(with_prefix.clone()).unwrap();
        assert_eq!(imported.route, ForeignRoute::Prefix(5));
        assert_eq!(imported.key.digest, Digest::DECOY);
        assert!(imported.key.foreign.is_some());
        with_prefix["key_prefix"] = "ab".into();
        assert!(resolve(with_prefix).is_err());
        let of_secret = json!({"name": "a", "hash": hash(), "key_prefix": "ab_12", "hash_covers": "secret"});
        assert_eq!(resolve(of_secret).unwrap().route, ForeignRoute::Prefix(5));
        let whole = json!({"name": "a", "hash": hash(), "key_prefix": "ab_12"});
        assert_eq!(resolve(whole).unwrap().route, ForeignRoute::Sha256);
    }

    #[test]
    fn what_is_wrong_is_named_and_values_are_not_repeated() {
        for (code, record) in [
            ("credential-foreign-record", json!("text")),
            ("credential-foreign-record", json!({"name": "a"})),
            ("credential-foreign-record", json!({"name": 7777, "hash": hash()})),
            ("credential-foreign-record", json!({"name": "a", "hash": 77777})),
            ("credential-foreign-record", json!({"name": "a", "hash": hash(), "scope": ["read"]})),
            ("credential-foreign-record", json!({"name": "a", "hash": hash(), "expires_at": "77777"})),
            ("credential-foreign-record", json!({"name": "a", "hash": hash(), "hash_covers": "77777"})),
            ("credential-foreign-record", json!({"name": "a", "hash": hash(), "hash_covers": "secret"})),
            ("credential-foreign-hash", json!({"name": "a", "hash": "7777"})),
            ("credential-label", json!({"name": "a\n", "hash": hash()})),
            ("credential-scope", json!({"name": "a", "hash": hash(), "scopes": ["a b"]})),
            (
                "credential-expiry-past",
                json!({"name": "a", "hash": hash(), "expires_at": "1970-01-01T00:00:00Z"}),
            ),
            ("credential-network", json!({"name": "a", "hash": hash(), "allowed_networks": ["010.0.0.1"]})),
        ] {
            let error = resolve(record.clone()).unwrap_err();
            assert_eq!(error.code(), code, "{record}");
            assert!(!error.to_string().contains("7777"), "{error}");
        }
    }
}
