//! May this key do this? The path that every request takes.

use std::{borrow::Cow, net::IpAddr};

use security_core::{Severity, Timestamp};
use security_credentials::{
    CredentialKind, KeyDescription, KeyFacts, KeyRate, KeyReason, KeyUse, KeyVerdict, ParsedToken, UseNote,
    Verdict,
};
use security_web::LimitScope;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{LONGEST_SECRET, UsageContext, imported::Presented, keys::Question};
use crate::{Engine, Result, world};

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

/// What the look-up of a presented key found.
pub(super) struct Judged<'p> {
    pub(super) at: Timestamp,
    pub(super) reason: KeyReason,
    pub(super) note: UseNote,
    pub(super) of_document: bool,
    /// The id that the token names, for the log.
    pub(super) named: Option<Cow<'p, str>>,
    pub(super) key: Option<Seen>,
    pub(super) retry_after: Option<u64>,
}

impl Judged<'_> {
    /// Whether it is a key that nobody has a reason to use.
    pub(super) fn is_canary(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.canary.is_some())
    }

    /// It is judged as the document's `API_KEY`.
    fn settle(&mut self, verdict: Verdict) {
        self.of_document = true;
        self.note = match verdict {
            Verdict::Accepted => UseNote::Ok,
            Verdict::InGrace => UseNote::InGrace,
            Verdict::Superseded => UseNote::Superseded,
            Verdict::Wrong => UseNote::Wrong,
        };
        if verdict.is_accepted() {
            self.reason = KeyReason::Ok;
        }
    }
}

/// A key whose secret was right.
pub(super) struct Seen {
    pub(super) rate_limit: Option<KeyRate>,
    /// Its name, where any use raises an alert.
    canary: Option<String>,
}

/// The answer to "may this key do this?" as it was found, for faces that make something of their own of it.
#[derive(Debug, Clone)]
pub struct KeyAnswer<'p> {
    /// Whether it may.
    pub valid: bool,
    /// Why not, or `ok`.
    pub reason: KeyReason,
    /// The key's id; `None` unless the secret was right, and for the document's key.
    pub key_id: Option<Cow<'p, str>>,
    /// Seconds until a limited key may try again.
    pub retry_after: Option<u64>,
    /// The request that the usage record bears.
    pub request_id: RequestId,
    has_own_limit: bool,
}

impl KeyAnswer<'_> {
    /// Whether it is the document's `API_KEY`, which may do everything.
    pub fn is_document(&self) -> bool {
        self.valid && self.key_id.is_none()
    }
}

impl Engine {
    /// Verifies an API key: the document's `API_KEY` and every issued key. A wrong key of any shape is `false`,
    /// never an error; the use is recorded.
    /// # Errors
    /// When the store cannot be read: nothing is accepted then.
    pub fn verify_api_key(&self, presented: &[u8], context: UsageContext) -> Result<bool> {
        let client = context.client_address();
        let judged = self.judge_api_key(presented, &[], client, false, &mut |_| Some(()))?;
        self.record_check(&judged, client, context);
        level(judged.at, judged.reason, judged.named.is_some());
        Ok(judged.reason == KeyReason::Ok)
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
        let mut told = KeyDescription::default();
        let answer = self.answer_api_key(presented, scopes, context, &mut told)?;
        let scopes = match &answer.key_id {
            Some(_) => told.scopes().map(str::to_owned).collect(),
            None if answer.is_document() => vec!["*".to_owned()],
            None => Vec::new(),
        };
        let is_told = answer.key_id.is_some();
        Ok(KeyCheck {
            valid: answer.valid,
            reason: answer.reason,
            name: is_told.then(|| told.name().to_owned()),
            owner: told.owner().map(str::to_owned),
            scopes,
            expires_at: told.expires_at,
            retry_after: answer.retry_after,
            request_id: answer.request_id.into_text(),
            has_own_limit: answer.has_own_limit,
            key_id: answer.key_id.map(Cow::into_owned),
        })
    }

    /// As [`Engine::check_api_key`], with an answer that is cheap to make. What is told of the key is in `told`: of none
    /// where the answer has no id.
    /// # Errors
    /// When the store cannot be read: nothing is accepted then.
    pub fn answer_api_key<'p>(
        &self,
        presented: &'p [u8],
        scopes: &[String],
        context: UsageContext,
        told: &mut KeyDescription,
    ) -> Result<KeyAnswer<'p>> {
        let client = context.client_address();
        let mut wanted = |key: &KeyFacts<'_>| told.describe(key);
        let judged = self.judge_api_key(presented, scopes, client, true, &mut wanted);
        if !judged.as_ref().is_ok_and(|judged| judged.key.is_some() && judged.named.is_some()) {
            told.clear();
        }
        let judged = judged?;
        let request_id = self.record_check(&judged, client, context);
        let (at, is_named) = (judged.at, judged.named.is_some());
        let has_own_limit = judged.key.as_ref().is_some_and(|key| key.rate_limit.is_some());
        let key_id = judged.named.filter(|_| judged.key.is_some());
        let answer = KeyAnswer {
            valid: judged.reason == KeyReason::Ok,
            reason: judged.reason,
            key_id,
            retry_after: judged.retry_after,
            request_id,
            has_own_limit,
        };
        level(at, answer.reason, is_named);
        Ok(answer)
    }

    /// Judges what was presented; `wanted` takes what is wanted of the key, also where its secret turns out to be wrong,
    /// `words` says whether that is more than its terms.
    pub(super) fn judge_api_key<'p>(
        &self,
        presented: &'p [u8],
        scopes: &[String],
        client: Option<IpAddr>,
        words: bool,
        wanted: &mut impl FnMut(&KeyFacts<'_>) -> Option<()>,
    ) -> Result<Judged<'p>> {
        self.follow_credentials()?;
        let now = world::now();
        let mut judged = Judged {
            at: now,
            reason: KeyReason::Malformed,
            note: UseNote::Refused(KeyReason::Malformed),
            of_document: false,
            named: None,
            key: None,
            retry_after: None,
        };
        if presented.is_empty() || presented.len() > LONGEST_SECRET {
            return Ok(judged);
        }
        let documents = self.credentials.documents.load();
        let mut document = Verdict::Wrong;
        let mut digest = || {
            let digest = documents.peppers.digest(presented);
            document = self.value_verdict(&documents, CredentialKind::ApiKey, presented, digest, now);
            digest
        };
        // Asked for where a key names another pepper, which may have come after what was loaded above.
        let older =
            |version| Some(self.credentials.documents.load().peppers.of_version(version)?.digest(presented));
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let asked = Question { now, scopes: &scopes, client, words };
        let mut seen = |key: KeyFacts<'_>| {
            let canary = match key.canary {
                true => Some(String::from_utf8_lossy(key.texts()?.0).into_owned()),
                false => None,
            };
            wanted(&key)?;
            Some(Seen { rate_limit: key.rate_limit, canary })
        };
        // What the token's key is counted by.
        let mut counted = 0;
        let found = if let Some(token) = ParsedToken::parse(presented) {
            let digest = || {
                // Most keys have a limit; those that have none cost this all the same, as all else of a check.
                counted = LimitScope::Key(token.id()).hash(self.limit_seed);
                self.words.bring_near(counted);
                digest()
            };
            let (verdict, key) = self.judge_issued(token.id(), digest, &older, asked, &mut seen)?;
            let is_ours = verdict.reason != KeyReason::Unknown || verdict.superseded;
            let found = if is_ours || document.is_accepted() || documents.routes.is_empty() {
                Presented::Nobodys
            } else {
                // Another store of ours may have issued it, before it was imported here.
                let digest = documents.peppers.digest(presented);
                self.judge_imported(&documents, presented, &digest, asked, &mut seen)?
            };
            match found {
                Presented::Nobodys => Presented::Known(Cow::Borrowed(token.id()), verdict, key),
                found => found,
            }
        } else {
            let digest = digest();
            // Another shape is nothing malformed where keys of other systems are.
            if document.is_accepted() || documents.routes.is_empty() {
                Presented::Nobodys
            } else {
                judged.reason = KeyReason::Unknown;
                self.judge_imported(&documents, presented, &digest, asked, &mut seen)?
            }
        };
        let (id, verdict, key) = match found {
            Presented::Known(id, verdict, key) if !document.is_accepted() => (id, verdict, key),
            Presented::Busy => {
                judged.reason = KeyReason::RateLimited;
                judged.note = UseNote::Refused(KeyReason::RateLimited);
                judged.retry_after = Some(1);
                return Ok(judged);
            }
            // No token of ours, or one with a typo: there was nothing to look up, and no record to compare with.
            Presented::Known(..) | Presented::Nobodys => {
                judged.settle(document);
                return Ok(judged);
            }
        };
        judged.reason = verdict.reason;
        judged.note = note(verdict);
        if verdict.is_ok()
            && let Some(KeyRate::Limited(rate)) = key.as_ref().and_then(|key| key.rate_limit)
        {
            if matches!(id, Cow::Owned(_)) {
                counted = LimitScope::Key(&id).hash(self.limit_seed);
            }
            let admission = security_web::admit_at(&self.words, counted, rate, now);
            if !admission.admitted {
                judged.reason = KeyReason::RateLimited;
                judged.note = UseNote::Refused(KeyReason::RateLimited);
                judged.retry_after = Some(admission.retry_after_micros.div_ceil(1_000_000));
            }
        }
        judged.named = Some(id);
        judged.key = key;
        Ok(judged)
    }

    pub(super) fn record_check(
        &self,
        judged: &Judged<'_>,
        client: Option<IpAddr>,
        mut context: UsageContext,
    ) -> RequestId {
        let named = judged.named.as_deref();
        let canary = judged.key.as_ref().and_then(|key| key.canary.as_deref());
        let address = canary.and_then(|_| context.client_ip.clone());
        if canary.is_some() {
            context.extra.insert("canary".into(), true.into());
        }
        let request_id = if context.says_only(client) {
            let id = world::uuid();
            self.files.journal.append_key_use(KeyUse::new(
                judged.at,
                id,
                judged.of_document,
                judged.note,
                named,
                client,
            ));
            RequestId::Made(id)
        } else {
            let kind = if judged.of_document { "API_KEY" } else { "ISSUED_KEY" };
            let valid = judged.note.is_accepted();
            RequestId::Given(self.record_use(
                kind,
                KeyUse::OPERATION,
                valid,
                judged.note.reason(),
                named,
                context,
            ))
        };
        if let (Some(name), Some(id)) = (canary, named) {
            self.canary_used(id, name, &request_id.clone().into_text(), address.as_deref());
        }
        request_id
    }

    /// A key that nobody has a reason to use was used.
    fn canary_used(&self, id: &str, name: &str, request_id: &str, client: Option<&str>) {
        let alert = security_threat::Alert {
            id: format!("alert-{}", world::uuid()),
            at: world::now(),
            rule_id: "canary-key".into(),
            rule_name: "Canary key used".into(),
            severity: Severity::Critical,
            score: Severity::Critical.score(),
            description: format!("the canary key `{name}` was used; whoever holds it should not"),
            evidence: Vec::new(),
            tags: vec!["canary".into()],
            recommendations: vec!["find out where the key was kept, and treat that place as read".into()],
            context: Map::from_iter([
                ("key_id".to_owned(), Value::from(id)),
                ("request_id".to_owned(), Value::from(request_id)),
                ("client_ip".to_owned(), Value::from(client)),
            ]),
        };
        self.record_alerts(&[alert]);
    }
}

/// A request's id: the caller's, or one that is spelled out only where somebody wants to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// Made by the engine.
    Made(Uuid),
    /// The caller's.
    Given(String),
}

impl RequestId {
    /// The most bytes that [`RequestId::encode`] writes.
    pub const MADE: usize = uuid::fmt::Hyphenated::LENGTH;

    /// The text, written into `buffer` if it has to be made.
    pub fn encode<'t>(&'t self, buffer: &'t mut [u8; Self::MADE]) -> &'t str {
        match self {
            Self::Made(id) => id.hyphenated().encode_lower(buffer),
            Self::Given(text) => text,
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        match self {
            Self::Made(id) => id.to_string(),
            Self::Given(text) => text,
        }
    }
}

/// Lets a refusal take as long as any other one, as the last thing that is done for it. A text that is no token of
/// ours, or one with a typo, is told by its looks, and its refusal ends when it ends.
pub(super) fn level(begun: Timestamp, reason: KeyReason, is_named: bool) {
    if reason != KeyReason::Ok && is_named {
        world::level_refusal(begun);
    }
}

fn note(verdict: KeyVerdict) -> UseNote {
    match verdict.reason {
        KeyReason::Ok if verdict.in_grace => UseNote::InGrace,
        KeyReason::Ok => UseNote::Ok,
        _ if verdict.superseded => UseNote::Superseded,
        reason => UseNote::Refused(reason),
    }
}
