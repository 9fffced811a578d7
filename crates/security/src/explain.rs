//! A request that somebody describes: judged as an adapter's would be, or explained without any consequence.

use security_web::{
    Decision, Judgement, PathClass, PresentedCredential, RequestView, Review, acceptable_request_id,
    presented_credential,
};

use crate::{
    Engine, Options, Result, Settings,
    body::{facts_of, judge_given},
    config::process_environment,
    middleware::{event_of, judge_matches},
    utils::generate_request_id,
    world,
};

/// A request that owns what a [`RequestView`] borrows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenRequest {
    /// The method; `GET` by default.
    pub method: String,
    /// The path without the query; `/` by default.
    pub path: String,
    /// The raw query without `?`.
    pub query: String,
    /// Header lines in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
    /// The address of the TCP peer; `None` for a local socket.
    pub remote_addr: Option<String>,
    /// `http` or `https`; `https` by default.
    pub scheme: String,
}

impl Default for GivenRequest {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            path: "/".into(),
            query: String::new(),
            headers: Vec::new(),
            body: None,
            remote_addr: None,
            scheme: "https".into(),
        }
    }
}

impl GivenRequest {
    /// Lends it to whoever judges.
    pub fn view<T>(&self, judge: impl FnOnce(&RequestView<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        judge(&RequestView {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            remote_addr: self.remote_addr.as_deref(),
            scheme: &self.scheme,
            body: self.body.as_deref(),
        })
    }
}

/// Reads a policy out: what it does step by step, and which of its settings are a risk. Opens nothing.
/// # Errors
/// [`crate::Error::Configuration`] names the file and the line that cannot be used.
pub fn review_policy(options: &Options) -> Result<Review> {
    Ok(Settings::resolve(options, &process_environment())?.web.review())
}

impl Engine {
    /// Judges a request with all consequences, as [`Engine::begin_request`] does: it counts against limits, its key
    /// is verified, and a refusal is recorded.
    /// # Errors
    /// When the store cannot be read.
    pub fn inspect_request(&self, request: &GivenRequest) -> Result<Decision> {
        request.view(|view| Ok(self.begin_request(view)?.decision().clone()))
    }

    /// Says what the policy makes of a request, without consequences: nothing is counted, recorded or alerted, and
    /// no key is verified. Unlike a real judgement it does not stop at the first refusal, so the reasons are
    /// everything that speaks against the request; limits and keys are not among them.
    /// # Errors
    /// When the store cannot be read.
    pub fn explain_request(&self, request: &GivenRequest) -> Result<Decision> {
        request.view(|view| {
            let policy = &self.settings.web;
            let given = view.header("x-request-id").and_then(acceptable_request_id);
            let request_id = given.map_or_else(generate_request_id, str::to_owned);
            let mut judgement = Judgement::begin(policy, view, &request_id);
            if matches!(judgement.path_class(), PathClass::Exempt | PathClass::Metrics) {
                return Ok(judgement.finish());
            }
            let client = judgement.client().ip;
            if let Some(ban) = self.ban_of(client, world::now())? {
                judgement.banned(&ban);
            }
            self.judge_indicators(&mut judgement, view)?;
            if !self.current_rules()?.rules().is_empty() {
                let mut event = event_of(view, client);
                if let Some(facts) = facts_of(&self.web, view) {
                    event["body"] = facts;
                }
                judge_matches(&mut judgement, &self.evaluate(&event)?);
            }
            let head = RequestView { body: None, ..*view };
            judgement.inspected(security_web::inspect(&policy.inspection, &head));
            if let Some(body) = view.body {
                judge_given(&mut judgement, &self.web, view, body);
            }
            if matches!(presented_credential(view.headers), PresentedCredential::Conflict) {
                judgement.refuse(&security_web::Refusal::ConflictingCredentials);
            }
            Ok(judgement.finish())
        })
    }
}
