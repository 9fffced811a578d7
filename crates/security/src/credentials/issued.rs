//! Keys that we issue: issue, revoke, rotate, list.

use std::time::Duration;

use security_core::{Secret, StoreFault, Timestamp};
use security_credentials::{
    CredentialEvent, CredentialStore, Digest, HistoryEntry, IssuedKey, KeyDraft, KeyRate, KeyView, Token,
};
use security_store::KeyWalk;
use serde_json::{Map, Value, json};

use super::audit::redacted;
use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// No id of a key, imported ones among them, has so many bytes.
const LONGEST_ID: usize = 256;

/// What a key to be issued is to be.
#[derive(Debug, Clone, Default)]
pub struct IssueRequest {
    /// A name people choose.
    pub name: String,
    /// What it may do; exact names, `*` is everything, nothing is nothing.
    pub scopes: Vec<String>,
    /// Whom it is issued to.
    pub owner: Option<String>,
    /// How long it lives.
    pub expires_in: Option<Duration>,
    /// Where it may be used from; nothing is anywhere.
    pub allowed_networks: Vec<String>,
    /// `100/minute`, `unlimited`, or the web layer's default.
    pub rate_limit: Option<String>,
    /// The token's prefix; `sk` when not given.
    pub prefix: Option<String>,
    /// Any use raises a critical alert.
    pub canary: bool,
    /// The application's own words.
    pub metadata: Map<String, Value>,
}

/// Which keys are wanted; every given part must hold.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Exactly this owner.
    pub owner: Option<String>,
    /// Exactly this name.
    pub name: Option<String>,
    /// Neither revoked nor expired, or one of both.
    pub active: Option<bool>,
    /// The most keys, the newest; all when not given.
    pub limit: Option<usize>,
}

impl Engine {
    /// Issues a key. The token is given back this once; the store keeps a digest.
    /// # Errors
    /// [`Error::Invalid`] naming the argument and what is accepted; [`Error::Store`].
    pub fn issue_api_key(&self, request: IssueRequest) -> Result<(KeyView, Secret)> {
        let now = world::now();
        let mut networks = Vec::new();
        for text in &request.allowed_networks {
            let network = security_credentials::parse_network(text);
            networks.push(network.map_err(|error| Error::invalid("allowed_networks", error))?);
        }
        let rate_limit = request.rate_limit.as_deref().map(str::parse::<KeyRate>).transpose();
        let draft = KeyDraft {
            prefix: request.prefix.unwrap_or_else(|| "sk".into()),
            owner: request.owner,
            scopes: request.scopes,
            expires_at: request.expires_in.map(|lifetime| now.plus(lifetime)),
            allowed_networks: networks,
            rate_limit: rate_limit.map_err(|error| Error::invalid("rate_limit", error))?,
            canary: request.canary,
            metadata: request.metadata.into_iter().collect(),
            ..KeyDraft::new(request.name)
        };
        let token = Token::generate(&draft.prefix, &mut world::SystemEntropy)
            .map_err(|error| Error::invalid("prefix", error))?;
        let digest = || Ok::<_, Error>(self.peppers()?.digest(token.secret.expose()));
        let mut key = IssuedKey::issue(draft, &token.id, digest()?, now).map_err(refused)?;
        let request_id = generate_request_id();
        let details = json!({"key_id": key.id, "name": key.name, "owner": key.owner, "scopes": key.scopes});
        self.audited("key_issued", &request_id, details.clone(), || {
            let line = line(&key, CredentialEvent::Issued, &request_id, &details);
            match self.files.store.save_issued_key(&key, &line) {
                // Its pepper was given up in between.
                Err(fault) if fault.is_conflict() => {
                    key.digest = digest()?;
                    Ok(self.files.store.save_issued_key(&key, &line)?)
                }
                saved => Ok(saved?),
            }
        })?;
        Ok((key.view(), token.secret))
    }

    /// Revokes a key: no process of the host accepts it from its next call on. A key revoked before stays as it
    /// was.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a reason that cannot be kept; [`Error::Store`].
    pub fn revoke_api_key(&self, key_id: &str, reason: &str) -> Result<KeyView> {
        let refused = |error| Error::invalid("reason", error);
        let reason = IssuedKey::reason(reason).map_err(refused)?;
        let request_id = generate_request_id();
        let details = json!({"key_id": key_id, "reason": reason});
        self.change_key(key_id, "key_revoked", CredentialEvent::Revoked, &request_id, &details, &mut |key| {
            key.revoke(world::now(), &reason).map_err(refused)
        })
    }

    /// Gives a key a new secret; id and settings stay. The old token is refused after `grace`.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a key that has ended; [`Error::Store`], a conflict among them: of two
    /// rotations at once one wins.
    pub fn rotate_api_key(&self, key_id: &str, grace: Duration) -> Result<(KeyView, Secret)> {
        super::rotation::bounded(grace)?;
        let key = self.files.store.issued_key(key_id)?.ok_or_else(|| Error::not_found("key", key_id))?;
        let token = Token::renew(&key.prefix, &key.id, &mut world::SystemEntropy).map_err(refused)?;
        let digest: Digest = self.peppers()?.digest(token.secret.expose());
        let request_id = generate_request_id();
        let details = json!({"key_id": key_id, "grace_seconds": grace.as_secs()});
        let view = self.change_key(
            key_id,
            "key_rotated",
            CredentialEvent::Rotated,
            &request_id,
            &details,
            &mut |now_stored| {
                // Another rotation was first, and its token was given to somebody.
                if now_stored.previous != key.previous {
                    return Err(StoreFault::conflict(key_id).into());
                }
                now_stored.rotate(digest, world::now(), grace).map(|()| true).map_err(refused)
            },
        )?;
        Ok((view, token.secret))
    }

    fn change_key(
        &self,
        key_id: &str,
        act: &str,
        event: CredentialEvent,
        request_id: &str,
        details: &Value,
        change: &mut dyn FnMut(&mut IssuedKey) -> Result<bool>,
    ) -> Result<KeyView> {
        if key_id.len() > LONGEST_ID {
            return Err(Error::not_found("key", key_id));
        }
        self.audited(act, request_id, details.clone(), || {
            for _ in 0..8 {
                let mut key =
                    self.files.store.issued_key(key_id)?.ok_or_else(|| Error::not_found("key", key_id))?;
                if !change(&mut key)? {
                    return Ok(key.view());
                }
                match self.files.store.save_issued_key(&key, &line(&key, event, request_id, details)) {
                    Ok(()) => return Ok(key.view()),
                    Err(fault) if fault.is_conflict() => {}
                    Err(fault) => return Err(fault.into()),
                }
            }
            Err(StoreFault::conflict(key_id).into())
        })
    }

    /// The issued keys that pass the filter, newest first; without secrets and digests. Read from the store, a
    /// page at a time: what is in memory is what is given back, twice `limit` keys at most if there is one.
    /// # Errors
    /// When the store cannot be read.
    pub fn list_api_keys(&self, filter: &KeyFilter) -> Result<Vec<KeyView>> {
        let now = world::now();
        let walk = KeyWalk { owner: filter.owner.as_deref(), name: filter.name.as_deref() };
        let most = filter.limit.unwrap_or(usize::MAX);
        let mut views: Vec<KeyView> = Vec::new();
        let newest = |views: &mut Vec<KeyView>| {
            views.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
            views.truncate(most);
        };
        self.files.store.each_issued_key(walk, &mut |key| {
            if filter.active.is_none_or(|active| is_live(&key, now) == active) {
                views.push(key.view());
                if views.len() >= most.saturating_mul(2).max(1024) {
                    newest(&mut views);
                }
            }
            true
        })?;
        newest(&mut views);
        Ok(views)
    }

    /// Calls `each` with every key that is neither revoked nor expired.
    pub(crate) fn each_live_key(&self, each: &mut dyn FnMut(IssuedKey)) -> Result<()> {
        let now = world::now();
        self.files.store.each_issued_key(KeyWalk::default(), &mut |key| {
            if is_live(&key, now) {
                each(key);
            }
            true
        })?;
        Ok(())
    }
}

fn is_live(key: &IssuedKey, now: Timestamp) -> bool {
    key.revoked.is_none() && key.expires_at.is_none_or(|end| end > now)
}

pub(super) fn line(
    key: &IssuedKey,
    event: CredentialEvent,
    request_id: &str,
    details: &Value,
) -> HistoryEntry {
    HistoryEntry {
        at: world::now(),
        credential: key.id.clone(),
        event,
        request_id: request_id.to_owned(),
        details: redacted(details).as_object().cloned().unwrap_or_default(),
    }
}

/// The argument that a refused draft concerns.
fn refused(error: security_credentials::CredentialError) -> Error {
    use security_credentials::CredentialError as E;
    let argument = match &error {
        E::Prefix(_) => "prefix",
        E::KeyId(_) | E::KeyEnded { .. } => "key_id",
        E::Scope { .. } => "scopes",
        E::Network { .. } => "allowed_networks",
        E::Rate(_) => "rate_limit",
        E::ExpiryPast(_) => "expires_in",
        E::Label { field, .. } => field,
        E::TooMany { what, .. } if what.contains("scope") => "scopes",
        E::TooMany { what, .. } if what.contains("network") => "allowed_networks",
        E::TooMany { .. } => "metadata",
        _ => "name",
    };
    Error::invalid(argument, error)
}
