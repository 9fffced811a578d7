//! Keys that we issue.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use ipnet::IpNet;
use security_core::{Timestamp, redact_tokens};
use serde::{Deserialize, Serialize};

use crate::{CredentialError, Digest, ForeignHash, KeyRate, PepperVersion, label};

/// What is stored of an issued key: everything but its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedKey {
    /// The id that stands in the token; unique, public.
    pub id: String,
    /// Count of changes; a change is made only on top of the version it was read at. Each method that changes
    /// something adds one, so store the key after each.
    pub version: u64,
    /// The token's prefix, for example `sk`.
    pub prefix: String,
    /// A name people choose.
    pub name: String,
    /// Whom it was issued to.
    pub owner: Option<String>,
    /// What it may do; exact names, `*` is everything, the empty set is nothing.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Where it may be used from; empty is anywhere.
    pub allowed_networks: Vec<IpNet>,
    /// Its own limit; `None` is the default.
    pub rate_limit: Option<KeyRate>,
    /// Any use raises an alert.
    pub canary: bool,
    /// The application's own words.
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Digest of the token in force.
    pub digest: Digest,
    /// Digest of the token before the last rotation, and until when it is accepted.
    pub previous: Option<(Digest, Timestamp)>,
    /// When and why it was revoked.
    pub revoked: Option<(Timestamp, String)>,
    /// Of an imported key that was not used yet: the hash of its token, whose digest is not known. It stands for that
    /// digest, of the token in force or of the one before, which is [`Digest::DECOY`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<ForeignHash>,
}

impl IssuedKey {
    /// The longest grace of a rotation, a year.
    pub const LONGEST_GRACE: std::time::Duration = std::time::Duration::from_secs(365 * 86_400);

    /// Makes `digest` the token in force; the one before is accepted for `grace` longer, zero is not at all. The
    /// one before that is refused at once, whatever grace it had.
    /// # Errors
    /// [`CredentialError::KeyEnded`] for a revoked or expired key: a new secret would open nothing.
    pub fn rotate(&mut self, digest: Digest, now: Timestamp, grace: Duration) -> Result<(), CredentialError> {
        let state = match self.expires_at {
            _ if self.revoked.is_some() => Some("revoked"),
            Some(end) if now >= end => Some("expired"),
            _ => None,
        };
        if let Some(state) = state {
            return Err(CredentialError::KeyEnded { id: self.id.clone(), state });
        }
        // Without grace the old token ends for ever, also if the clock is set back afterwards.
        let until = if grace.is_zero() { Timestamp::MIN } else { now.plus(grace) };
        self.previous = Some((self.digest, until));
        if self.digest != Digest::DECOY {
            // Whatever the hash stood for is over.
            self.foreign = None;
        }
        self.digest = digest;
        self.version += 1;
        Ok(())
    }

    /// The peppers that judging the key needs: of the token in force and, if there is one, of the token before.
    pub fn peppers(&self) -> (PepperVersion, Option<PepperVersion>) {
        (self.digest.pepper(), self.previous.map(|(digest, _)| digest.pepper()))
    }

    /// Puts the same token's digest under another pepper in the place of the one in force; whether that was `old`.
    pub fn renew(&mut self, old: &Digest, new: Digest) -> bool {
        let is_it = self.digest == *old && *old != Digest::DECOY;
        if is_it {
            self.digest = new;
            self.version += 1;
        }
        is_it
    }

    /// Puts the digest of an imported key's token, which has passed its foreign hash, in that hash's place.
    pub fn rehash(&mut self, digest: Digest) {
        if self.foreign.take().is_none() {
            return;
        }
        if self.digest == Digest::DECOY {
            self.digest = digest;
        } else if let Some((previous, _)) = self.previous.as_mut().filter(|(old, _)| *old == Digest::DECOY) {
            *previous = digest;
        }
        self.version += 1;
    }

    /// Puts another hash of an imported key's token in its foreign hash's place: a slow one, where the token can be guessed.
    pub fn slow_down(&mut self, hash: ForeignHash) {
        if self.foreign.is_some() {
            self.foreign = Some(hash);
            self.version += 1;
        }
    }

    /// A reason as it is kept: without the secret of a token of ours, which whoever reports a leak may well paste.
    /// # Errors
    /// [`CredentialError::Label`] for a reason of more than 512 characters, or with control characters.
    pub fn reason(given: &str) -> Result<Cow<'_, str>, CredentialError> {
        label::check("reason", given, 512)?;
        Ok(redact_tokens(given))
    }

    /// Revokes the key, for ever; tells whether that changed anything. A key that is revoked already keeps the
    /// time and the reason it has.
    /// # Errors
    /// As [`IssuedKey::reason`].
    pub fn revoke(&mut self, now: Timestamp, reason: &str) -> Result<bool, CredentialError> {
        let reason = Self::reason(reason)?;
        if self.revoked.is_some() {
            return Ok(false);
        }
        self.revoked = Some((now, reason.into_owned()));
        self.version += 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyDraft;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    fn key() -> IssuedKey {
        let draft = KeyDraft { expires_at: Some(at(100)), ..KeyDraft::new("reporting") };
        IssuedKey::issue(draft, "0123456789abcdefg", digest(1), at(0)).unwrap()
    }

    #[test]
    fn a_rotation_keeps_the_last_token_for_its_grace() {
        let mut key = key();
        key.rotate(digest(2), at(10), Duration::from_secs(5)).unwrap();
        assert_eq!((key.digest, key.previous, key.version), (digest(2), Some((digest(1), at(15))), 2));
        key.rotate(digest(3), at(11), Duration::MAX).unwrap();
        assert_eq!((key.digest, key.previous), (digest(3), Some((digest(2), Timestamp::MAX))));
    }

    #[test]
    fn an_ended_key_is_not_renewed() {
        let mut expired = key();
        let refused = expired.rotate(digest(2), at(100), Duration::ZERO);
        assert_eq!(refused.unwrap_err().to_string(), "key `0123456789abcdefg` is expired");
        let mut revoked = key();
        revoked.revoke(at(1), "").unwrap();
        let before = revoked.clone();
        let refused = revoked.rotate(digest(2), at(2), Duration::ZERO);
        assert_eq!(refused.unwrap_err().to_string(), "key `0123456789abcdefg` is revoked");
        assert_eq!(revoked, before);
    }

    #[test]
    fn a_key_is_revoked_once() {
        let mut key = key();
        assert!(key.revoke(at(1), "bad\u{1b}").is_err());
        assert_eq!(key.revoke(at(1), "left the company"), Ok(true));
        assert_eq!(key.revoke(at(2), "again"), Ok(false));
        assert_eq!((key.version, key.revoked), (2, Some((at(1), "left the company".into()))));
    }

    #[test]
    fn a_digest_is_renewed_only_in_place_of_its_own() {
        let mut key = key();
        let new = Digest::under(PepperVersion::new(2).unwrap(), [9; 32]);
        assert!(!key.renew(&digest(2), new) && !key.renew(&new, new));
        assert_eq!((key.digest, key.version), (digest(1), 1));
        assert!(key.renew(&digest(1), new));
        assert_eq!((key.digest, key.version), (new, 2));
        key.rotate(digest(3), at(10), Duration::from_secs(5)).unwrap();
        assert_eq!(key.peppers(), (PepperVersion::FIRST, PepperVersion::new(2)));
        let mut imported = IssuedKey { digest: Digest::DECOY, ..key };
        assert!(!imported.renew(&Digest::DECOY, new), "what stands for no digest is none");
    }

    #[test]
    fn a_foreign_hash_stands_for_the_digest_that_is_not_known() {
        let hash: ForeignHash =
            serde_json::from_str(r#"{"form":{"sha256":["salt","00"]},"skipped":0}"#).unwrap();
        let imported = IssuedKey { digest: Digest::DECOY, foreign: Some(hash), ..key() };
        let mut used = imported.clone();
        used.rehash(digest(1));
        assert_eq!((used.digest, &used.foreign, used.version), (digest(1), &None, 2));
        used.rehash(digest(9));
        assert_eq!((used.digest, used.version), (digest(1), 2));
        // Rotated before its first use: the hash stands for the token before, and ends with it.
        let mut rotated = imported.clone();
        rotated.rotate(digest(2), at(10), Duration::from_secs(5)).unwrap();
        let mut in_grace = rotated.clone();
        in_grace.rehash(digest(1));
        assert_eq!((in_grace.digest, in_grace.previous), (digest(2), Some((digest(1), at(15)))));
        rotated.rotate(digest(3), at(11), Duration::ZERO).unwrap();
        assert_eq!((rotated.digest, rotated.foreign), (digest(3), None));
        let json = serde_json::to_string(&imported).unwrap();
        assert_eq!(serde_json::from_str::<IssuedKey>(&json).unwrap(), imported);
    }

    #[test]
    fn what_is_stored_reads_back() {
        let mut key = key();
        key.rotate(digest(2), at(10), Duration::from_secs(5)).unwrap();
        key.rate_limit = Some(KeyRate::Unlimited);
        key.allowed_networks = vec!["192.0.2.0/24".parse().unwrap()];
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<IssuedKey>(&json).unwrap(), key);
    }
}
