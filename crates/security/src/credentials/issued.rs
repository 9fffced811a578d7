//! Keys that we issue: issue, check, revoke, rotate, list.

use std::{net::IpAddr, time::Duration};

use security_core::{Secret, Severity, StoreFault, Timestamp};
use security_credentials::{
    CredentialEvent, CredentialStore, Digest, HistoryEntry, IssuedKey, KeyDraft, KeyRate, KeyReason,
    KeyVerdict, KeyView, ParsedToken, Token, Verdict,
};
use security_store::KeyWalk;
use security_web::LimitScope;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    LONGEST_SECRET, UsageContext,
    imported::{Presented, Question},
};
use crate::{Engine, Error, Result, utils::generate_request_id, world};

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

/// The answer to "may this key do this?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyCheck {
    /// Whether it may.
    pub valid: bool,
    /// Why not, or `ok`.
    pub reason: KeyReason,
    /// The key's id; `None` unless the secret was right.
    pub key_id: Option<String>,
    /// Its name, likewise.
    pub name: Option<String>,
    /// Its owner, likewise.
    pub owner: Option<String>,
    /// Its scopes, likewise.
    pub scopes: Vec<String>,
    /// When it ends, likewise.
    pub expires_at: Option<Timestamp>,
    /// Seconds until a limited key may try again.
    pub retry_after: Option<u64>,
    /// The request that the usage record bears.
    pub request_id: String,
    /// Whether the key has a limit of its own, so that the web layer's default does not count it.
    #[serde(skip)]
    pub(crate) has_own_limit: bool,
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

/// What the look-up of a presented key found.
struct Judged {
    reason: KeyReason,
    note: Option<&'static str>,
    key: Option<std::sync::Arc<IssuedKey>>,
    /// The id that the token claims, for the log.
    claimed: Option<String>,
    is_document: bool,
    retry_after: Option<u64>,
}

impl Engine {
    /// Verifies an API key: the document's `API_KEY` and every issued key. A wrong key of any shape is `false`,
    /// never an error; the use is recorded.
    /// # Errors
    /// When the store cannot be read: nothing is accepted then.
    pub fn verify_api_key(&self, presented: &[u8], context: UsageContext) -> Result<bool> {
        Ok(self.check_api_key(presented, &[], context)?.valid)
    }

    /// Checks an API key with scopes, network and its own limit, and records the use.
    ///
    /// `API_KEY` of the document counts as a key with every scope, without id, name and owner.
    /// # Errors
    /// When the store cannot be read: nothing is accepted then.
    pub fn check_api_key(
        &self,
        presented: &[u8],
        scopes: &[String],
        context: UsageContext,
    ) -> Result<KeyCheck> {
        let client = context.client_ip.as_deref().and_then(|text| text.trim().parse::<IpAddr>().ok());
        let judged = self.judge_api_key(presented, scopes, client)?;
        Ok(self.finish_check(judged, context))
    }

    fn judge_api_key(&self, presented: &[u8], scopes: &[String], client: Option<IpAddr>) -> Result<Judged> {
        let documents = self.documents()?;
        let mut judged = Judged {
            reason: KeyReason::Malformed,
            note: None,
            key: None,
            claimed: None,
            is_document: false,
            retry_after: None,
        };
        if presented.is_empty() || presented.len() > LONGEST_SECRET {
            return Ok(judged);
        }
        let now = world::now();
        let digest = self.pepper.digest(presented);
        let token = std::str::from_utf8(presented).ok().and_then(|_| ParsedToken::parse(presented));
        let of_document =
            documents.accepted(security_credentials::CredentialKind::ApiKey).verify(&digest, now);
        if of_document.is_accepted() {
            judged.reason = KeyReason::Ok;
            judged.is_document = true;
            judged.note = (of_document == Verdict::InGrace).then_some("in_grace");
            return Ok(judged);
        }
        let wanted: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let found = match token {
            Some(token) => {
                let (verdict, key) = self.judge_issued(token.id(), &digest, now, &wanted, client)?;
                Presented::Known(token.id().to_owned(), verdict, key)
            }
            None if documents.routes.is_empty() => Presented::Nobodys,
            None => {
                // Another shape is nothing malformed where keys of other systems are.
                judged.reason = KeyReason::Unknown;
                let asked = Question { presented, digest: &digest, now, scopes: &wanted, client };
                self.judge_imported(&documents.routes, &asked)?
            }
        };
        let (id, verdict, key) = match found {
            Presented::Known(id, verdict, key) => (id, verdict, key),
            Presented::Nobodys => {
                // No token of ours, or one with a typo: nothing to look up, and no record to compare with.
                judged.note = Some(if of_document == Verdict::Superseded { "superseded" } else { "wrong" });
                judged.is_document = true;
                return Ok(judged);
            }
            Presented::Busy => {
                judged.reason = KeyReason::RateLimited;
                judged.retry_after = Some(1);
                return Ok(judged);
            }
        };
        judged.reason = verdict.reason;
        judged.note = note(verdict);
        if verdict.reason == KeyReason::Ok
            && let Some(KeyRate::Limited(rate)) = key.as_ref().and_then(|key| key.rate_limit)
        {
            let scope = LimitScope::Key(&id);
            let admission = security_web::admit(&self.words, self.limit_seed, scope, rate, now);
            if !admission.admitted {
                judged.reason = KeyReason::RateLimited;
                judged.retry_after = Some(admission.retry_after_micros.div_ceil(1_000_000));
            }
        }
        judged.claimed = Some(id);
        judged.key = key;
        Ok(judged)
    }

    fn finish_check(&self, judged: Judged, context: UsageContext) -> KeyCheck {
        let valid = judged.reason == KeyReason::Ok;
        let kind = if judged.is_document { "API_KEY" } else { "ISSUED_KEY" };
        let reason = judged.note.or((!valid).then_some(judged.reason.as_str()));
        let address = context.client_ip.clone();
        let mut context = context;
        if judged.key.as_deref().is_some_and(|key| key.canary) {
            context.extra.insert("canary".into(), true.into());
        }
        let request_id = self.record_use(kind, "verify", valid, reason, judged.claimed.as_deref(), context);
        if let Some(key) = judged.key.as_deref().filter(|key| key.canary) {
            self.canary_used(key, &request_id, address.as_deref());
        }
        let key = judged.key.as_deref();
        KeyCheck {
            valid,
            reason: judged.reason,
            key_id: key.map(|key| key.id.clone()),
            name: key.map(|key| key.name.clone()),
            owner: key.and_then(|key| key.owner.clone()),
            scopes: match key {
                Some(key) => key.scopes.clone(),
                None if valid => vec!["*".into()],
                None => Vec::new(),
            },
            expires_at: key.and_then(|key| key.expires_at),
            retry_after: judged.retry_after,
            request_id,
            has_own_limit: key.is_some_and(|key| key.rate_limit.is_some()),
        }
    }

    /// A key that nobody has a reason to use was used.
    fn canary_used(&self, key: &IssuedKey, request_id: &str, client: Option<&str>) {
        let alert = security_threat::Alert {
            id: format!("alert-{}", world::uuid()),
            at: world::now(),
            rule_id: "canary-key".into(),
            rule_name: "Canary key used".into(),
            severity: Severity::Critical,
            score: Severity::Critical.score(),
            description: format!("the canary key `{}` was used; whoever holds it should not", key.name),
            evidence: Vec::new(),
            tags: vec!["canary".into()],
            recommendations: vec!["find out where the key was kept, and treat that place as read".into()],
            context: Map::from_iter([
                ("key_id".to_owned(), Value::from(key.id.as_str())),
                ("request_id".to_owned(), Value::from(request_id)),
                ("client_ip".to_owned(), Value::from(client)),
            ]),
        };
        self.record_alerts(&[alert]);
    }

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
        let digest = self.pepper.digest(token.secret.expose());
        let key = IssuedKey::issue(draft, &token.id, digest, now).map_err(refused)?;
        let request_id = generate_request_id();
        let details = json!({"key_id": key.id, "name": key.name, "owner": key.owner, "scopes": key.scopes});
        self.audited("key_issued", &request_id, details.clone(), || {
            let line = line(&key, CredentialEvent::Issued, &request_id, &details);
            Ok(self.files.store.save_issued_key(&key, &line)?)
        })?;
        Ok((key.view(), token.secret))
    }

    /// Revokes a key: no process of the host accepts it from its next call on. A key revoked before stays as it
    /// was.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a reason that cannot be kept; [`Error::Store`].
    pub fn revoke_api_key(&self, key_id: &str, reason: &str) -> Result<KeyView> {
        let request_id = generate_request_id();
        let details = json!({"key_id": key_id, "reason": reason});
        self.change_key(key_id, "key_revoked", CredentialEvent::Revoked, &request_id, &details, &mut |key| {
            key.revoke(world::now(), reason).map_err(|error| Error::invalid("reason", error))
        })
    }

    /// Gives a key a new secret; id and settings stay. The old token is refused after `grace`.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a key that has ended; [`Error::Store`].
    pub fn rotate_api_key(&self, key_id: &str, grace: Duration) -> Result<(KeyView, Secret)> {
        let key = self.files.store.issued_key(key_id)?.ok_or_else(|| Error::not_found("key", key_id))?;
        let token = Token::renew(&key.prefix, &key.id, &mut world::SystemEntropy).map_err(refused)?;
        let digest: Digest = self.pepper.digest(token.secret.expose());
        let request_id = generate_request_id();
        let details = json!({"key_id": key_id, "grace_seconds": grace.as_secs()});
        let view = self.change_key(
            key_id,
            "key_rotated",
            CredentialEvent::Rotated,
            &request_id,
            &details,
            &mut |key| key.rotate(digest, world::now(), grace).map(|()| true).map_err(refused),
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

fn note(verdict: KeyVerdict) -> Option<&'static str> {
    match (verdict.in_grace, verdict.superseded) {
        (true, _) if verdict.is_ok() => Some("in_grace"),
        (_, true) => Some("superseded"),
        _ => None,
    }
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
        details: details.as_object().cloned().unwrap_or_default(),
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
