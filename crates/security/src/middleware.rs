//! `security.modules.middleware`: one call a request, one decision back.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock, OnceLock},
};

use security_core::{Rate, Secret, Timestamp, redact_tokens};
use security_credentials::KeyReason;
use security_indicators::{Indicator, IocType};
use security_store::Stream;
use security_threat::RuleMatch;
use security_web::{
    Action, BodyLength, Decision, FailureVerdict, Header, Judgement, LimitScope, ListedIndicator,
    MatchedRule, PathClass, Policy, PresentedCredential, Problem, Refusal, RequestView, ResponseHeaders,
    Stage, acceptable_request_id, judge_failure, presented_credential,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Engine, Result, WebPolicy,
    body::{Body, RuleEvent, judge_length},
    credentials::{RequestFacts, RequestKey, redacted},
    utils::generate_request_id,
    world,
};

/// How many refused requests of one client are recorded; all are counted against its limit.
static REFUSALS_RECORDED: LazyLock<Rate> = LazyLock::new(|| Rate::new(10, 60));
/// The longest text of a request that rules look at, in bytes a field.
const LONGEST_FIELD: usize = 8 << 10;
/// The longest path of a refused request that is kept, in bytes.
const LONGEST_RECORDED_PATH: usize = 256;
/// What stands in place of headers that carry secrets when a request becomes an event.
const SECRET_HEADERS: [&str; 5] =
    ["authorization", "cookie", "proxy-authorization", "x-api-key", "set-cookie"];

/// The key of a request, as an application may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiKeyView {
    /// The issued key's id; `None` for the document's `API_KEY`.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its owner.
    pub owner: Option<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
}

/// What the request carries, verified once.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a request, and it mostly is the large one")]
enum Credential {
    Missing,
    Conflict,
    Checked { check: RequestKey, refusal: Option<Refusal> },
}

/// A request below an exempt path: its key is looked at when a view asks for one and not before, so that a path
/// without limits does not tell right keys from wrong ones.
#[derive(Debug)]
struct Unasked {
    secret: Secret,
    method: String,
    path: String,
    user_agent: Option<Vec<u8>>,
}

impl Unasked {
    fn of(secret: &[u8], facts: &RequestFacts<'_>) -> Self {
        Self {
            secret: Secret::new(secret),
            method: facts.method.to_owned(),
            path: facts.path.to_owned(),
            user_agent: facts.user_agent.map(<[u8]>::to_vec),
        }
    }
}

/// One request, from the first look to the headers of its response.
#[derive(Debug)]
pub struct RequestState {
    decision: Decision,
    credential: OnceLock<Credential>,
    unasked: Option<Unasked>,
    https: bool,
    pub(crate) policy: Arc<WebPolicy>,
    pub(crate) body: Option<Box<Body>>,
    answer: Option<String>,
}

impl RequestState {
    /// The decision before any view is asked; once the body is judged, with what that said.
    pub fn decision(&self) -> &Decision {
        self.body.as_ref().and_then(|body| body.settled()).unwrap_or(&self.decision)
    }

    /// What the engine itself answers, as plain text: its metrics, where the policy has a path for them.
    pub fn answer(&self) -> Option<&str> {
        self.answer.as_deref()
    }

    /// Whether the request goes on as it came: it is not refused, the engine has no answer of its own, and nothing is to
    /// be done with its body.
    pub fn is_plain(&self) -> bool {
        self.body.is_none() && self.answer.is_none() && self.decision.is_allowed()
    }

    /// The request's id: the client's own where it is acceptable, else a fresh one.
    pub fn request_id(&self) -> &str {
        &self.decision.request_id
    }

    /// The client's address; `None` when it is not known.
    pub fn client_ip(&self) -> Option<String> {
        self.decision.client_ip.map(|ip| ip.to_string())
    }

    /// The key, if a valid one was presented.
    pub fn api_key(&self) -> Option<ApiKeyView> {
        match self.credential.get() {
            Some(Credential::Checked { check, refusal: None }) => Some(match &check.key {
                Some((id, key)) => ApiKeyView {
                    id: Some(id.clone()),
                    name: Some(key.name().to_owned()),
                    owner: key.owner().map(str::to_owned),
                    scopes: key.scopes().map(str::to_owned).collect(),
                },
                None => ApiKeyView { id: None, name: None, owner: None, scopes: vec!["*".to_owned()] },
            }),
            _ => None,
        }
    }

    /// Whether a valid key was presented.
    pub fn api_key_valid(&self) -> bool {
        matches!(self.credential.get(), Some(Credential::Checked { refusal: None, .. }))
    }

    /// Whether a credential was looked at, a right one or a wrong one: what answers it is for nobody else, and its headers do
    /// not tell which it was.
    pub fn was_key_judged(&self) -> bool {
        matches!(self.credential.get(), Some(Credential::Checked { .. }))
    }

    /// The decision for a view that needs a key with all of these scopes. Nothing is verified or counted twice.
    /// # Errors
    /// When the store cannot be read: nothing is accepted then.
    pub fn require(&self, engine: &Engine, scopes: &[String]) -> Result<Decision> {
        Ok(self.refusal_for(engine, scopes)?.unwrap_or_else(|| self.decision().clone()))
    }

    /// As [`Self::require`], and `None` when the request goes on: most do, and nothing is copied then.
    /// # Errors
    /// When the store cannot be read: nothing is accepted then.
    pub fn refusal_for(&self, engine: &Engine, scopes: &[String]) -> Result<Option<Decision>> {
        let credential = match (self.credential.get(), &self.unasked) {
            (Some(known), _) => known,
            (None, Some(unasked)) => {
                let facts = RequestFacts {
                    request_id: self.request_id(),
                    client: self.decision.client_ip,
                    method: &unasked.method,
                    path: &unasked.path,
                    user_agent: unasked.user_agent.as_deref(),
                };
                let checked = engine.check_presented(unasked.secret.expose(), &facts, &self.policy.policy)?;
                self.credential.get_or_init(|| checked)
            }
            (None, None) => self.credential.get_or_init(|| Credential::Missing),
        };
        let decision = self.decision();
        let refused = |refusal: &Refusal| {
            let decision = decision.clone().refused(refusal);
            engine.count(&self.policy, Stage::Key, &decision, None);
            if let (Refusal::ScopeMissing { .. }, Credential::Checked { check, .. }) = (refusal, credential) {
                engine.record_scopes_missing(&decision, check);
            }
            Some(decision)
        };
        Ok(match credential {
            _ if !decision.is_allowed() => Some(decision.clone()),
            Credential::Missing => refused(&Refusal::CredentialMissing),
            Credential::Conflict => refused(&Refusal::ConflictingCredentials),
            Credential::Checked { refusal: Some(refusal), .. } => refused(refusal),
            Credential::Checked { check, refusal: None } => {
                if scopes.iter().all(|scope| check.grants(scope)) {
                    None
                } else {
                    refused(&Refusal::ScopeMissing { required: scopes.to_vec() })
                }
            }
        })
    }

    /// The security headers of the response, as the policy has them: the same for every response of a kind.
    /// `authenticated`: whether it is for the owner of a key alone.
    pub fn policy_headers(&self, authenticated: bool) -> &[Header] {
        self.policy.headers.for_response(self.https, authenticated)
    }

    /// The policy's headers in all their kinds, to tell whether two requests share them.
    pub fn header_policy(&self) -> &Arc<ResponseHeaders> {
        &self.policy.headers
    }

    /// Whether the request came over TLS, as far as the server knows.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The headers that every response gets: the security headers of the policy and those of the decision.
    pub fn response_headers(&self, authenticated: bool) -> Vec<(String, String)> {
        let of_policy = self.policy_headers(authenticated).iter();
        let all = of_policy.chain(&self.decision().headers);
        all.map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
    }
}

impl Engine {
    /// Whether an address is in the policy's trusted networks; `localhost` is.
    pub fn is_ip_trusted(&self, ip: &str) -> bool {
        let ip = ip.trim();
        ip.eq_ignore_ascii_case("localhost")
            || ip.parse::<IpAddr>().is_ok_and(|address| self.settings.web.is_trusted(address))
    }

    /// Whether a request of ordinary length is judged within microseconds: no imported key has a slow hash, and there
    /// are no rules, of which there may be thousands.
    pub fn judges_quickly(&self) -> bool {
        !self.may_hash_slowly() && !self.has_rules()
    }

    /// Judges a request: client address, paths, limits, listed indicators, the presented key, rules, payload.
    /// Each step is taken once; [`RequestState::require`] answers for the views that need a key.
    /// # Errors
    /// When the store cannot be read: the adapter then turns the request away.
    pub fn begin_request(&self, request: &RequestView<'_>) -> Result<RequestState> {
        let length = request.body.map_or(BodyLength::Absent, |body| BodyLength::Known(body.len() as u64));
        self.begin_request_under(self.web.clone(), request, length)
    }

    /// The same for a request whose body is still to come: the adapter hands it over as far as
    /// [`RequestState::body_wanted`] says.
    /// # Errors
    /// When the store cannot be read: the adapter then turns the request away.
    pub fn begin_request_before(&self, request: &RequestView<'_>, body: BodyLength) -> Result<RequestState> {
        self.begin_request_under(self.web.clone(), request, body)
    }

    /// The same under a policy of one application's own ([`crate::PolicyOverride`]).
    /// # Errors
    /// When the store cannot be read: the adapter then turns the request away.
    pub fn begin_request_under(
        &self,
        web: Arc<WebPolicy>,
        request: &RequestView<'_>,
        length: BodyLength,
    ) -> Result<RequestState> {
        let policy = &web.policy;
        let began = self.measured(&web);
        let given = request.header("x-request-id").and_then(acceptable_request_id);
        let request_id = given.map_or_else(generate_request_id, str::to_owned);
        let now = world::now();
        let mut judgement = Judgement::begin(policy, request, &request_id);
        let client = judgement.client().ip;
        let credential = OnceLock::new();
        let mut presented = match presented_credential(request.headers) {
            PresentedCredential::Missing => None,
            PresentedCredential::Conflict => {
                let _ = credential.set(Credential::Conflict);
                None
            }
            PresentedCredential::One { secret, .. } => Some(secret),
        };
        let facts = facts_of(request, &request_id, client);
        let mut seen_by_rules = None;
        if judgement.path_class() != PathClass::Exempt {
            if !judgement.is_over()
                && let Some(ban) = self.ban_of(client, now)?
            {
                judgement.banned(&ban);
            }
            if !judgement.is_over()
                && let Some(rate) = policy.limits.client.rate()
            {
                let scope = LimitScope::Client(client);
                judgement
                    .count_client(rate, security_web::admit(&self.words, self.limit_seed, scope, rate, now));
            }
            if !judgement.is_over() {
                self.judge_indicators(&mut judgement, request)?;
            }
            if !judgement.is_over() {
                if let Some(secret) = presented.take() {
                    let checked = self.check_presented(secret, &facts, policy)?;
                    if let Credential::Checked { check, refusal: None } = &checked {
                        judgement.authenticated(check.id());
                    }
                    let _ = credential.set(checked);
                }
                seen_by_rules = self.judge_rules(&mut judgement, request, &request_id, client)?;
            }
            if !judgement.is_over() {
                let head = RequestView { body: None, ..*request };
                judgement.inspected(security_web::inspect(&policy.inspection, &head));
            }
            if !judgement.is_over() {
                judge_length(&mut judgement, &web, length);
            }
        }
        let (address, class) = (judgement.client(), judgement.path_class());
        let body = match judgement.is_over() {
            true => None,
            false => Body::of(&web, request, address, length, seen_by_rules),
        };
        let decision = judgement.finish();
        if !decision.is_allowed() || decision.shadowed().is_some() {
            self.record_refusal(&decision, request, now);
        }
        self.count(&web, Stage::Request, &decision, began);
        let is_metrics = class == PathClass::Metrics && decision.is_allowed();
        let answer = is_metrics.then(|| self.metrics_text());
        let https = request.is_https();
        let unasked = presented.map(|secret| Unasked::of(secret, &facts));
        let state = RequestState { decision, credential, unasked, https, policy: web, body, answer };
        if let Some(body) = request.body {
            state.feed_body(self, body, true);
        }
        Ok(state)
    }

    /// The answer to an error that nobody caught: it tells nothing of the inside.
    pub fn error_response(&self, request_id: &str) -> Decision {
        internal_error(request_id)
    }

    /// The client's address and the referrer's host, against the list.
    pub(crate) fn judge_indicators(
        &self,
        judgement: &mut Judgement<'_>,
        request: &RequestView<'_>,
    ) -> Result<()> {
        let client = judgement.client().ip.map(|ip| ("client", Indicator::from(ip)));
        let referrer = request.header("referer").and_then(|bytes| std::str::from_utf8(bytes).ok());
        let referrer = referrer.and_then(|url| Indicator::parse(IocType::Url, clipped(url)).ok());
        for (place, indicator) in client.into_iter().chain(referrer.map(|url| ("header referer", url))) {
            let hits = self.with_index(|index| index.matches(&indicator))?;
            // Most requests come from nobody who is listed, and no answer is made then.
            if hits.is_empty() {
                continue;
            }
            for found in self.check_indicator(&indicator)?.matches {
                judgement.indicators(&[ListedIndicator {
                    where_: place,
                    value: indicator.value(),
                    confidence: found.confidence(),
                    match_type: found.match_type.as_str(),
                }]);
            }
        }
        Ok(())
    }

    /// Verifies what the request carries. A right secret is never turned away for somebody else's wrong ones: the
    /// client's failures are looked at only after the secret proved wrong.
    fn check_presented(
        &self,
        secret: &[u8],
        facts: &RequestFacts<'_>,
        policy: &Policy,
    ) -> Result<Credential> {
        let now = world::now();
        let client = facts.client;
        let check = self.check_request_key(secret, facts)?;
        let refusal = match check.reason {
            KeyReason::Ok => {
                policy.lock_out.client_succeeded(&self.words, self.limit_seed, client, now);
                let id = check.id();
                let default = policy.limits.key.rate().filter(|_| !check.has_own_limit);
                default.and_then(|rate| {
                    let scope = LimitScope::Key(id);
                    let admission = security_web::admit(&self.words, self.limit_seed, scope, rate, now);
                    let retry_after_micros = admission.retry_after_micros;
                    (!admission.admitted).then_some(Refusal::RateLimited { retry_after_micros })
                })
            }
            KeyReason::Malformed | KeyReason::Unknown => {
                let rate = policy.limits.failed_authentication.rate();
                let verdict =
                    judge_failure(&self.words, self.limit_seed, client, &policy.lock_out, rate, now);
                let refusal = self.refusal_of(verdict, client, facts.request_id);
                // Gateways join two lines of a header with a comma: then it is two keys, and nobody knows which is meant.
                // It counts as a failure all the same, since a key of the operator's own may hold a comma.
                let is_list = secret.contains(&b',');
                Some(match refusal {
                    Refusal::CredentialInvalid if is_list => Refusal::ConflictingCredentials,
                    other => other,
                })
            }
            KeyReason::Network => Some(Refusal::NetworkNotAllowed),
            KeyReason::RateLimited => Some(Refusal::RateLimited {
                retry_after_micros: check.retry_after.unwrap_or(1).saturating_mul(1_000_000),
            }),
            _ => Some(Refusal::CredentialInvalid),
        };
        Ok(Credential::Checked { check, refusal })
    }

    /// A record of a refused request, in a stream of its own that is bounded, and few a client: whoever is
    /// refused must not be able to fill the disk with being refused. In the shadow: of one that would have been.
    pub(crate) fn record_refusal(&self, decision: &Decision, request: &RequestView<'_>, now: Timestamp) {
        let scope = LimitScope::RefusalRecord(decision.client_ip);
        if !security_web::admit(&self.words, self.limit_seed, scope, *REFUSALS_RECORDED, now).admitted {
            return;
        }
        let path = &request.path[..request.path.floor_char_boundary(LONGEST_RECORDED_PATH)];
        let error = match (&decision.body, decision.shadowed()) {
            (Some(body), _) => Some(body.error),
            (None, shadowed) => shadowed.map(|reason| &*reason.id),
        };
        let record = json!({
            "at": now, "event": "request_refused", "request_id": decision.request_id, "status": decision.status,
            "action": decision.action, "error": error,
            "client_ip": decision.client_ip, "method": clipped(request.method),
            "path": path, "reasons": decision.reasons,
        });
        self.files.journal.append(Stream::Requests, &redacted(&record));
    }

    /// That a valid key's scopes did not suffice, for the operator: its owner is not told. Few a client, as refusals are.
    fn record_scopes_missing(&self, decision: &Decision, check: &RequestKey) {
        let scope = LimitScope::RefusalRecord(decision.client_ip);
        let now = world::now();
        if !security_web::admit(&self.words, self.limit_seed, scope, *REFUSALS_RECORDED, now).admitted {
            return;
        }
        let record = json!({
            "at": now, "event": "scope_missing", "request_id": decision.request_id, "status": decision.status,
            "client_ip": decision.client_ip, "key_id": check.key.as_ref().map(|(id, _)| id),
            "reasons": decision.reasons,
        });
        self.files.journal.append(Stream::Requests, &redacted(&record));
    }

    fn refusal_of(&self, verdict: FailureVerdict, client: Option<IpAddr>, request_id: &str) -> Refusal {
        match verdict {
            FailureVerdict::Refused { locks_until } => {
                if let Some(until) = locks_until {
                    let record = json!({
                        "at": world::now(), "event": "client_locked_out",
                        "request_id": redact_tokens(request_id),
                        "client_ip": client, "until": until,
                    });
                    self.files.journal.append(Stream::Requests, &record);
                }
                Refusal::CredentialInvalid
            }
            FailureVerdict::Limited { retry_after_micros } => Refusal::RateLimited { retry_after_micros },
            FailureVerdict::LockedOut { until } => {
                let left = until.since(world::now()).as_micros();
                Refusal::LockedOut { retry_after_micros: u64::try_from(left).unwrap_or(u64::MAX) }
            }
        }
    }

    /// The request as an event for the rules; what they saw, for when its body has come.
    fn judge_rules(
        &self,
        judgement: &mut Judgement<'_>,
        request: &RequestView<'_>,
        request_id: &str,
        client: Option<IpAddr>,
    ) -> Result<Option<RuleEvent>> {
        if self.current_rules()?.rules().is_empty() {
            return Ok(None);
        }
        let event = event_of(request, client);
        let matches = self.evaluate(&event)?;
        if !matches.is_empty() {
            self.raise(&matches, &context_of(request_id, client, request.method, request.path))?;
            judge_matches(judgement, &matches);
        }
        Ok(Some(RuleEvent { event, matched: matches.iter().map(|found| found.rule.id.clone()).collect() }))
    }
}

/// What an alert says of the request that raised it.
pub(crate) fn context_of(
    request_id: &str,
    client: Option<IpAddr>,
    method: &str,
    path: &str,
) -> Map<String, Value> {
    Map::from_iter([
        ("request_id".to_owned(), Value::from(request_id)),
        ("client_ip".to_owned(), json!(client)),
        ("method".to_owned(), method.into()),
        ("path".to_owned(), clipped(path).into()),
    ])
}

/// Tells the judgement of the rules that matched.
pub(crate) fn judge_matches(judgement: &mut Judgement<'_>, matches: &[RuleMatch]) {
    for found in matches {
        let evidence = found.evidence.first();
        judgement.rules(&[MatchedRule {
            id: &found.rule.id,
            severity: found.rule.severity,
            where_: evidence.map_or("", |evidence| evidence.field.as_str()),
            evidence: evidence.map_or("", |evidence| evidence.value.as_str()),
        }]);
    }
}

/// As [`Engine::error_response`], for when there is no engine.
pub(crate) fn internal_error(request_id: &str) -> Decision {
    let mut decision = Decision::allow(None, request_id);
    decision.action = Action::Deny;
    decision.status = 500;
    decision.body = Some(Problem {
        kind: "about:blank",
        title: "Internal Server Error",
        status: 500,
        error: "internal",
        message: "the request could not be answered; the log has the reason under this request id",
        request_id: request_id.to_owned(),
        retry_after: None,
    });
    decision
}

fn facts_of<'r>(
    request: &'r RequestView<'_>,
    request_id: &'r str,
    client: Option<IpAddr>,
) -> RequestFacts<'r> {
    RequestFacts {
        request_id,
        client,
        method: request.method,
        path: &request.path[..request.path.floor_char_boundary(LONGEST_RECORDED_PATH)],
        user_agent: request.header("user-agent"),
    }
}

/// `{method, path, query, client_ip, headers: {name: value}}`; names in lower case, secrets left out. Once the body has
/// come, `body` is added: JSON as it is, a form as `{name: value}`, other text as text.
pub(crate) fn event_of(request: &RequestView<'_>, client: Option<IpAddr>) -> Value {
    let mut headers = Map::new();
    for (name, value) in request.headers {
        let name = name.to_ascii_lowercase();
        if SECRET_HEADERS.contains(&name.as_str()) {
            continue;
        }
        let text = String::from_utf8_lossy(&value[..value.len().min(LONGEST_FIELD)]).into_owned();
        headers.insert(name, text.into());
    }
    json!({
        "method": request.method,
        "path": clipped(request.path),
        "query": clipped(request.query),
        "client_ip": client,
        "headers": headers,
    })
}

fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_FIELD)]
}
