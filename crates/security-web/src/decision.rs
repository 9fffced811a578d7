//! What becomes of a request.

use std::{borrow::Cow, net::IpAddr};

use security_core::redact_tokens;
use serde::Serialize;

use crate::Refusal;

/// A response header: name and value.
pub type Header = (&'static str, Cow<'static, str>);

/// The category of a reason that says why a key that is somebody's was refused.
pub(crate) const CREDENTIAL_CATEGORY: &str = "credential";
/// The longest evidence and place a reason keeps, in characters.
const LONGEST_EVIDENCE: usize = 200;

/// What the adapter does with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It goes on.
    Allow,
    /// It may come again later.
    Limit,
    /// It is turned away.
    Deny,
}

/// One thing that was found, whether or not it decided. For the log, never for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What was found: a rule's id, or one of our own words like `listed-indicator`.
    pub id: Cow<'static, str>,
    /// `client-address`, `path`, `limit`, `credential`, `indicator`, `rule`, or a kind of attack like `xss`.
    pub category: &'static str,
    /// Where in the request.
    #[serde(rename = "where")]
    pub where_: String,
    /// What it was, shortened; never a secret.
    pub evidence: String,
}

impl Reason {
    /// A reason with its place and evidence held to 200 characters each, without the secret part of a token of ours.
    pub fn new(
        id: impl Into<Cow<'static, str>>,
        category: &'static str,
        where_: &str,
        evidence: &str,
    ) -> Self {
        let held = |text: &str| redact_tokens(text).chars().take(LONGEST_EVIDENCE).collect();
        Self { id: id.into(), category, where_: held(where_), evidence: held(evidence) }
    }
}

/// The body of a refusal, `application/problem+json` (RFC 9457) with members of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status's words.
    pub title: &'static str,
    /// The status.
    pub status: u16,
    /// The stable name of the refusal.
    pub error: &'static str,
    /// One sentence.
    pub message: &'static str,
    /// By which the log finds the request.
    pub request_id: String,
    /// Whole seconds until it makes sense to come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// The media type of the body.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// The body as JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("words and numbers always have a JSON form")
    }
}

/// What becomes of one request, and what the response carries.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What the adapter does.
    pub action: Action,
    /// The status of the refusal; 200 when the request goes on.
    pub status: u16,
    /// Everything that was found, in the order found.
    pub reasons: Vec<Reason>,
    /// How bad the worst of it is, 0 to 100: a severity's score, or an indicator's confidence.
    pub score: u8,
    /// The client's address, if known.
    pub client_ip: Option<IpAddr>,
    /// The id of the API key, once verified.
    pub key_id: Option<String>,
    /// The request's id.
    pub request_id: String,
    /// Headers of the response that come from the decision; the policy's security headers are not among them.
    pub headers: Vec<Header>,
    /// The body of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Problem>,
}

impl Decision {
    /// The request goes on.
    pub fn allow(client_ip: Option<IpAddr>, request_id: impl Into<String>) -> Self {
        Self {
            action: Action::Allow,
            status: 200,
            reasons: Vec::new(),
            score: 0,
            client_ip,
            key_id: None,
            request_id: request_id.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// The same with the request turned away: status, headers and body are the refusal's. Of several the first
    /// one stands.
    pub fn refused(mut self, refusal: &Refusal) -> Self {
        if self.action != Action::Allow {
            return self;
        }
        if refusal.name() != refusal.error() {
            let missing = match refusal {
                Refusal::ScopeMissing { required } => required.join(" "),
                _ => String::new(),
            };
            self.note(Reason::new(refusal.name(), CREDENTIAL_CATEGORY, "key", &missing), 0);
        }
        self.action = refusal.action();
        self.status = refusal.status();
        self.headers.extend(refusal.headers());
        self.body = Some(Problem {
            kind: "about:blank",
            title: refusal.title(),
            status: refusal.status(),
            error: refusal.error(),
            message: refusal.message(),
            request_id: self.request_id.clone(),
            retry_after: refusal.retry_after_seconds(),
        });
        self
    }

    /// Whether the request goes on.
    pub fn is_allowed(&self) -> bool {
        self.action == Action::Allow
    }

    /// What would have turned the request away, were the policy not in the shadow ([`crate::Mode::Shadow`]).
    pub fn shadowed(&self) -> Option<&Reason> {
        self.reasons.iter().find(|reason| reason.category == crate::SHADOW_CATEGORY)
    }

    /// Adds something that was found, and its share of the score.
    pub fn note(&mut self, reason: Reason, score: u8) {
        self.reasons.push(reason);
        self.score = self.score.max(score.min(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_problem_document() {
        let decision = Decision::allow(Some("192.0.2.1".parse().unwrap()), "req-00000001")
            .refused(&Refusal::RateLimited { retry_after_micros: 1_500_000 });
        assert_eq!(
            decision.body.as_ref().unwrap().to_json(),
            r#"{"type":"about:blank","title":"Too Many Requests","status":429,"error":"rate-limited","message":"too many requests; come back later","request_id":"req-00000001","retry_after":2}"#
        );
        assert_eq!((decision.action, decision.status), (Action::Limit, 429));
    }

    #[test]
    fn serializes_as_the_faces_give_it() {
        let mut decision = Decision::allow(None, "req-00000001");
        decision.note(Reason::new("listed-indicator", "indicator", "query", "evil.example (exact)"), 90);
        assert_eq!(
            serde_json::to_string(&decision).unwrap(),
            r#"{"action":"allow","status":200,"reasons":[{"id":"listed-indicator","category":"indicator","where":"query","evidence":"evil.example (exact)"}],"score":90,"client_ip":null,"key_id":null,"request_id":"req-00000001","headers":[]}"#
        );
    }

    #[test]
    fn the_first_refusal_stands() {
        let decision =
            Decision::allow(None, "r").refused(&Refusal::CredentialMissing).refused(&Refusal::RuleMatched);
        assert_eq!(decision.status, 401);
        assert_eq!(decision.headers.len(), 1);
    }

    #[test]
    fn evidence_and_score_are_held() {
        let mut decision = Decision::allow(None, "r");
        decision.note(Reason::new("x", "rule", "body", &"é".repeat(5000)), 255);
        assert_eq!(decision.reasons[0].evidence.chars().count(), LONGEST_EVIDENCE);
        assert_eq!(decision.score, 100);
    }
}
