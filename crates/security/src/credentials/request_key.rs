//! The key that a web request brought: checked as any other, with what its views and the journal want of it.

use std::net::IpAddr;

use security_credentials::{KeyDescription, KeyFacts, KeyReason, RequestUse};

use super::{UsageContext, check::level};
use crate::{Engine, Result};

/// What is known of a request whose key is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestFacts<'r> {
    /// Its id.
    pub(crate) request_id: &'r str,
    /// Its client's address.
    pub(crate) client: Option<IpAddr>,
    /// Its method.
    pub(crate) method: &'r str,
    /// What of its path is recorded.
    pub(crate) path: &'r str,
    /// Its `User-Agent`, as it came.
    pub(crate) user_agent: Option<&'r [u8]>,
}

impl RequestFacts<'_> {
    fn as_context(&self) -> UsageContext {
        UsageContext {
            request_id: Some(self.request_id.to_owned()),
            client_ip: self.client.map(|ip| ip.to_string()),
            user_agent: self.user_agent.map(|agent| String::from_utf8_lossy(agent).into_owned()),
            component: Some(RequestUse::COMPONENT.into()),
            operation: Some(format!("{} {}", self.method, self.path)),
            ..UsageContext::default()
        }
    }
}

/// What the check of a request's key said.
#[derive(Debug)]
pub(crate) struct RequestKey {
    pub(crate) reason: KeyReason,
    /// The key's id and what is told of it; `None` unless the secret was right, and for the document's key.
    pub(crate) key: Option<(String, KeyDescription)>,
    /// Seconds until a limited key may try again.
    pub(crate) retry_after: Option<u64>,
    /// Whether the key has a limit of its own, so that the web layer's default does not count it.
    pub(crate) has_own_limit: bool,
}

impl RequestKey {
    /// The key's name for limits and logs.
    pub(crate) fn id(&self) -> &str {
        self.key.as_ref().map_or("API_KEY", |(id, _)| id)
    }

    /// Whether it may do this. Asked of keys that were accepted; the document's may do everything.
    pub(crate) fn grants(&self, scope: &str) -> bool {
        match &self.key {
            Some((_, key)) => key.scopes().any(|held| held == "*" || held == scope),
            None => self.reason == KeyReason::Ok,
        }
    }
}

impl Engine {
    /// As [`Engine::check_api_key`], for the key of a request, without asking for scopes: its views do.
    /// # Errors
    /// When the store cannot be read: nothing is accepted then.
    pub(crate) fn check_request_key(
        &self,
        presented: &[u8],
        request: &RequestFacts<'_>,
    ) -> Result<RequestKey> {
        let mut told = KeyDescription::default();
        let mut wanted = |key: &KeyFacts<'_>| told.describe(key);
        let judged = self.judge_api_key(presented, &[], request.client, true, &mut wanted)?;
        if judged.is_canary() {
            self.record_check(&judged, request.client, request.as_context());
        } else {
            self.files.journal.append_request_use(RequestUse::new(
                (judged.at, judged.of_document, judged.note),
                judged.named.as_deref(),
                request.client,
                request.request_id,
                (request.method, request.path),
                request.user_agent,
            ));
        }
        let (at, reason, is_named) = (judged.at, judged.reason, judged.named.is_some());
        let has_own_limit = judged.key.as_ref().is_some_and(|key| key.rate_limit.is_some());
        // What is told of a key whose secret was wrong stays here.
        let key = judged.key.and(judged.named).map(|id| (id.into_owned(), told));
        let answer = RequestKey { reason, key, retry_after: judged.retry_after, has_own_limit };
        level(at, reason, is_named);
        Ok(answer)
    }
}
