//! A request's body, after the request itself was let through: gathered while it comes, judged once.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use security_threat::RuleMatch;
use security_web::{
    BodyLength, BodyPrefix, ClientAddress, Decision, Inspection, InspectionMode, Judgement, Mode, Refusal,
    RequestView, Stage, Unreadable, UnreadableBody,
};
use serde_json::Value;

use crate::{
    Engine, RequestState, Result, WebPolicy,
    middleware::{context_of, internal_error, judge_matches},
    world,
};

/// What is kept of a request that has a body.
#[derive(Debug)]
pub(crate) struct Body {
    length: BodyLength,
    client: ClientAddress,
    method: String,
    path: String,
    /// What came so far; nothing once it is judged.
    prefix: Mutex<Option<BodyPrefix>>,
    /// How many bytes came so far, wanted or not.
    seen: AtomicU64,
    /// What the rules are to see together with the body; nothing where there are no rules.
    seen_by_rules: Option<RuleEvent>,
    /// The request's decision after its body, where that says something new.
    settled: OnceLock<Decision>,
}

/// The request as the rules saw it before its body came.
#[derive(Debug)]
pub(crate) struct RuleEvent {
    /// As [`crate::middleware::event_of`] gives it.
    pub(crate) event: Value,
    /// The ids of the rules that hold for it already, and are not to be raised again.
    pub(crate) matched: Vec<String>,
}

impl Body {
    /// `None` when nobody asks for anything of the body.
    pub(crate) fn of(
        web: &WebPolicy,
        request: &RequestView<'_>,
        client: ClientAddress,
        length: BodyLength,
        seen_by_rules: Option<RuleEvent>,
    ) -> Option<Box<Self>> {
        let bodies = &web.policy.bodies;
        if matches!(length, BodyLength::Absent | BodyLength::Endless) {
            return None;
        }
        let prefix = BodyPrefix::of(bodies, &web.body_inspection, request);
        if prefix.is_none() && bodies.max_bytes.is_none() {
            return None;
        }
        Some(Box::new(Self {
            length,
            client,
            method: request.method.to_owned(),
            path: request.path.to_owned(),
            prefix: Mutex::new(prefix),
            seen: AtomicU64::new(0),
            seen_by_rules,
            settled: OnceLock::new(),
        }))
    }

    pub(crate) fn settled(&self) -> Option<&Decision> {
        self.settled.get()
    }
}

/// What can be said of a body before any of it has come.
pub(crate) fn judge_length(judgement: &mut Judgement<'_>, web: &WebPolicy, length: BodyLength) {
    let bodies = &web.policy.bodies;
    let is_inspected = bodies.inspect && web.body_inspection.mode != InspectionMode::Off;
    match (length, bodies.max_bytes) {
        (BodyLength::Known(given), Some(most)) if given > most => {
            judgement.body(&Refusal::BodyTooLarge, &format!("{given} bytes, {most} are accepted"));
        }
        (BodyLength::Endless, most) if is_inspected || most.is_some() => {
            let what = "chunked, and the server does not say where it ends";
            if is_inspected && web.body_inspection.mode == InspectionMode::Report {
                judgement.body_noted(&Refusal::LengthRequired, what);
            } else {
                judgement.body(&Refusal::LengthRequired, what);
            }
        }
        _ => {}
    }
}

/// The whole of a body that is there already.
pub(crate) fn judge_given(
    judgement: &mut Judgement<'_>,
    web: &WebPolicy,
    request: &RequestView<'_>,
    bytes: &[u8],
) {
    judge_length(judgement, web, BodyLength::Known(bytes.len() as u64));
    if let Some(mut gathered) = BodyPrefix::of(&web.policy.bodies, &web.body_inspection, request) {
        gathered.take(bytes, true);
        judge_said(judgement, web, gathered.inspect(&web.body_inspection));
    }
}

/// The facts of a body that is there already, for the rules.
pub(crate) fn facts_of(web: &WebPolicy, request: &RequestView<'_>) -> Option<Value> {
    let mut gathered = BodyPrefix::of(&web.policy.bodies, &web.body_inspection, request)?;
    gathered.take(request.body?, true);
    gathered.facts()
}

fn judge_said(
    judgement: &mut Judgement<'_>,
    web: &WebPolicy,
    said: std::result::Result<Inspection, UnreadableBody>,
) {
    match said {
        Ok(found) => judgement.inspected(found),
        Err(UnreadableBody(why)) => {
            let is_refused = web.policy.bodies.unreadable == Unreadable::Refuse
                && web.body_inspection.mode == InspectionMode::Deny;
            if is_refused {
                judgement.body(&Refusal::BodyUnreadable, why);
            } else {
                judgement.body_noted(&Refusal::BodyUnreadable, why);
            }
        }
    }
}

impl RequestState {
    /// Whether something is to be done with the body: read as far as [`RequestState::body_wanted`] says, or held to
    /// [`RequestState::body_limit`].
    pub fn has_body(&self) -> bool {
        self.body_wanted() > 0 || self.body_limit().is_some()
    }

    /// How many bytes of the body are wanted now, to be judged before a view gets to see any; `0` when none are.
    pub fn body_wanted(&self) -> usize {
        let Some(body) = &self.body else { return 0 };
        let prefix = body.prefix.lock().unwrap_or_else(PoisonError::into_inner);
        prefix.as_ref().map_or(0, BodyPrefix::wanted)
    }

    /// Whether the request announced a body of so many bytes; `None` when it did not say, or has none.
    pub fn body_length(&self) -> Option<u64> {
        match self.body.as_ref()?.length {
            BodyLength::Known(length) => Some(length),
            _ => None,
        }
    }

    /// The most bytes that a view may read of a body whose length nobody told; `None` for any number.
    pub fn body_limit(&self) -> Option<u64> {
        let body = self.body.as_ref()?;
        let bodies = &self.policy.policy.bodies;
        bodies.max_bytes.filter(|_| {
            self.policy.policy.mode == Mode::Enforce && !matches!(body.length, BodyLength::Known(_))
        })
    }

    /// For how many seconds a server with an event loop waits for what is wanted.
    pub fn body_wait_seconds(&self) -> u32 {
        self.policy.policy.bodies.wait_seconds
    }

    /// Takes the next bytes of the body, or more of them than are wanted; `is_last`: nothing follows. Gives how
    /// many more are wanted. With the last of them the body is judged, and [`RequestState::decision`] says so.
    pub fn feed_body(&self, engine: &Engine, chunk: &[u8], is_last: bool) -> usize {
        let Some(body) = &self.body else { return 0 };
        let seen = body.seen.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
        if self.body_limit().is_some_and(|limit| seen > limit) {
            body.prefix.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.settle(engine, body, |judgement| {
                judgement.body(&Refusal::BodyTooLarge, "more bytes came than are accepted");
            });
            return 0;
        }
        let gathered = {
            let mut prefix = body.prefix.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(known) = prefix.as_mut() else { return 0 };
            known.take(chunk, is_last);
            match known.wanted() {
                0 => prefix.take(),
                wanted => return wanted,
            }
        };
        let Some(gathered) = gathered else { return 0 };
        let said = gathered.inspect(&self.policy.body_inspection);
        let matches = match self.rules_on(engine, body, &gathered) {
            Ok(matches) => matches,
            Err(error) => {
                // As when it happens before the body: nobody gets in.
                tracing::error!(%error, request_id = self.request_id(), "the rules cannot be read");
                let _ = body.settled.set(internal_error(self.request_id()));
                return 0;
            }
        };
        if !matches.is_empty() || said.as_ref().map_or(true, |found| !found.reasons.is_empty()) {
            self.settle(engine, body, |judgement| {
                judge_matches(judgement, &matches);
                if !judgement.is_over() {
                    judge_said(judgement, &self.policy, said);
                }
            });
        }
        0
    }

    /// The rules that hold once the body is known and did not before, with their alerts raised.
    fn rules_on(&self, engine: &Engine, body: &Body, gathered: &BodyPrefix) -> Result<Vec<RuleMatch>> {
        let Some(RuleEvent { event, matched }) = &body.seen_by_rules else { return Ok(Vec::new()) };
        let Some(facts) = gathered.facts() else { return Ok(Vec::new()) };
        let mut event = event.clone();
        event["body"] = facts;
        let mut matches = engine.evaluate(&event)?;
        matches.retain(|found| !matched.contains(&found.rule.id));
        if !matches.is_empty() {
            let context = context_of(self.request_id(), body.client.ip, &body.method, &body.path);
            engine.raise(&matches, &context)?;
        }
        Ok(matches)
    }

    /// The wanted part of the body did not come in time: the request is turned away, unless inspection only reports.
    pub fn body_is_late(&self, engine: &Engine) {
        let Some(body) = &self.body else { return };
        body.prefix.lock().unwrap_or_else(PoisonError::into_inner).take();
        let what = format!("not there after {} seconds", self.body_wait_seconds());
        self.settle(engine, body, |judgement| match self.policy.body_inspection.mode {
            InspectionMode::Deny => judgement.body(&Refusal::BodyLate, &what),
            _ => judgement.body_noted(&Refusal::BodyLate, &what),
        });
    }

    /// The answer to a request whose body grew beyond [`RequestState::body_limit`] while a view read it.
    pub fn body_too_large(&self, engine: &Engine) -> Decision {
        let decision = self.decision().clone();
        let Some(body) = &self.body else { return decision.refused(&Refusal::BodyTooLarge) };
        let mut judgement = Judgement::resume(&self.policy.policy, body.client, decision);
        judgement.body(&Refusal::BodyTooLarge, "more bytes came than are accepted");
        let decision = judgement.finish();
        self.record(engine, body, &decision);
        decision
    }

    fn settle(&self, engine: &Engine, body: &Body, judge: impl FnOnce(&mut Judgement<'_>)) {
        let mut judgement = Judgement::resume(&self.policy.policy, body.client, self.decision().clone());
        judge(&mut judgement);
        let decision = judgement.finish();
        let was_known = self.decision().shadowed().is_some();
        if !decision.is_allowed() || (decision.shadowed().is_some() && !was_known) {
            self.record(engine, body, &decision);
        }
        let _ = body.settled.set(decision);
    }

    fn record(&self, engine: &Engine, body: &Body, decision: &Decision) {
        let request = RequestView { method: &body.method, path: &body.path, ..RequestView::default() };
        engine.record_refusal(decision, &request, world::now());
        engine.count(&self.policy, Stage::Body, decision, None);
    }
}
