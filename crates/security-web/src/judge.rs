//! The steps of judging a request, cheapest first.
//!
//! A door calls them in this order and stops when [`Judgement::is_over`]:
//!
//! 1. [`Judgement::begin`]: the client's address; exempt and sensitive paths.
//! 2. [`Judgement::banned`] with the ban of the client, if there is one; [`Judgement::count_client`] with what the client's limit said.
//! 3. [`Judgement::indicators`] with what a look-up of the client's address and of what the request carries found.
//! 4. [`Judgement::rules`] with the rules that matched.
//! 5. [`Judgement::inspected`] with what was found in the payload.
//! 6. Where a route asks for a credential: [`Judgement::authenticated`] and [`Judgement::count_key`], or
//!    [`Judgement::refuse`].
//! 7. [`Judgement::finish`].
//!
//! When the body comes afterwards, [`Judgement::resume`] and [`Judgement::body`], and [`Judgement::finish`] again.

use security_core::{Admission, Rate, Severity};

use crate::{
    Action, AddressSource, Ban, ClientAddress, Counted, Decision, ForwardedHeader, Inspection, Mode,
    PathClass, Policy, Reason, Refusal, RequestView, SHADOW_CATEGORY, rate_limit_headers,
};

/// A listed indicator that was found in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedIndicator<'a> {
    /// Where in the request: `client`, `path`, `query`, `header host`, `body`, …
    pub where_: &'a str,
    /// The indicator's value.
    pub value: &'a str,
    /// Its confidence, 0 to 100.
    pub confidence: u8,
    /// How it matched: `exact`, `cidr`, `subdomain`, …
    pub match_type: &'a str,
}

/// A rule that matched the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchedRule<'a> {
    /// The rule's id.
    pub id: &'a str,
    /// How bad it says this is.
    pub severity: Severity,
    /// Where in the request it matched.
    pub where_: &'a str,
    /// What matched.
    pub evidence: &'a str,
}

/// A request being judged.
#[derive(Debug)]
pub struct Judgement<'p> {
    policy: &'p Policy,
    client: ClientAddress,
    class: PathClass,
    decision: Decision,
    counted: Vec<Counted>,
}

impl<'p> Judgement<'p> {
    /// Finds the client's address, and turns away who is not trusted from a sensitive path. An unknown client is
    /// not trusted.
    pub fn begin(policy: &'p Policy, request: &RequestView<'_>, request_id: &str) -> Self {
        let client = policy.client_address.resolve(request.remote_addr, request.headers);
        let class = policy.classify(request.path);
        let decision = Decision::allow(client.ip, request_id);
        let mut judgement = Self { policy, client, class, decision, counted: Vec::new() };
        if let Some(problem) = client.problem {
            let peer = request.remote_addr.unwrap_or("a local socket");
            judgement.decision.note(Reason::new(problem, "client-address", "client", peer), 0);
        }
        let mut is_trusted = client.ip.is_some_and(|ip| policy.is_trusted(ip));
        if is_trusted
            && client.source == AddressSource::Peer
            && policy.client_address.header != ForwardedHeader::None
            && let Some(header) = forwarding_header(request)
        {
            // A proxy that nobody named: its own address must not open what its clients' would not.
            is_trusted = false;
            judgement.decision.note(Reason::new("proxy-not-named", "client-address", "header", header), 0);
        }
        if matches!(class, PathClass::Sensitive | PathClass::Metrics) && !is_trusted {
            judgement
                .decision
                .note(Reason::new("sensitive-path", "path", "path", request.path), Severity::Medium.score());
            judgement.refuse(&Refusal::SensitivePath);
        }
        judgement
    }

    /// Goes on with a request that was let through so far: its body has come, or part of it.
    pub fn resume(policy: &'p Policy, client: ClientAddress, decision: Decision) -> Self {
        Self { policy, client, class: PathClass::Ordinary, decision, counted: Vec::new() }
    }

    /// Whether no further step is needed: the request is turned away, its path is exempt, or the engine answers it.
    pub fn is_over(&self) -> bool {
        matches!(self.class, PathClass::Exempt | PathClass::Metrics) || !self.decision.is_allowed()
    }

    /// The client's address as found.
    pub fn client(&self) -> ClientAddress {
        self.client
    }

    /// What the policy says of the path.
    pub fn path_class(&self) -> PathClass {
        self.class
    }

    /// Turns a banned client away; also in the shadow: an operator has said so.
    pub fn banned(&mut self, ban: &Ban) {
        let evidence = format!("{} until {}: {}", ban.network, ban.until, ban.reason);
        self.decision.note(Reason::new("banned", "ban", "client", &evidence), Severity::High.score());
        self.refuse(&Refusal::Banned);
    }

    /// Takes what the client's limit said.
    pub fn count_client(&mut self, rate: Rate, admission: Admission) {
        self.count("client", rate, admission);
        if !admission.admitted {
            self.turn_away(&Refusal::RateLimited { retry_after_micros: admission.retry_after_micros });
        }
    }

    /// Takes what the API key's limit said. In force also in the shadow: it belongs to the key.
    pub fn count_key(&mut self, rate: Rate, admission: Admission) {
        self.count("key", rate, admission);
        if !admission.admitted {
            self.refuse(&Refusal::RateLimited { retry_after_micros: admission.retry_after_micros });
        }
    }

    /// Takes the listed indicators that were found, and refuses from the policy's confidence on.
    pub fn indicators(&mut self, found: &[ListedIndicator<'_>]) {
        for indicator in found {
            let confidence = indicator.confidence.min(100);
            let evidence = format!("{} ({}, confidence {confidence})", indicator.value, indicator.match_type);
            let reason = Reason::new("listed-indicator", "indicator", indicator.where_, &evidence);
            self.decision.note(reason, confidence);
            if confidence >= self.policy.deny_confidence {
                self.turn_away(&Refusal::Listed);
            }
        }
    }

    /// Takes the rules that matched, and refuses from the policy's severity on.
    pub fn rules(&mut self, matched: &[MatchedRule<'_>]) {
        for rule in matched {
            let reason = Reason::new(rule.id.to_owned(), "rule", rule.where_, rule.evidence);
            self.decision.note(reason, rule.severity.score());
            if rule.severity >= self.policy.deny_severity {
                self.turn_away(&Refusal::RuleMatched);
            }
        }
    }

    /// Takes what payload inspection found, and refuses where it says so. Ten points of the decision's score are
    /// one of the anomaly score.
    pub fn inspected(&mut self, found: Inspection) {
        let score = u8::try_from(found.score.saturating_mul(10).min(100)).unwrap_or(100);
        for reason in found.reasons {
            // A body is looked at with the path and the type it belongs to; what those had to say is known.
            if !self.decision.reasons.contains(&reason) {
                self.decision.note(reason, score);
            }
        }
        if found.is_denied {
            self.turn_away(&Refusal::PayloadRefused);
        }
    }

    /// Takes what speaks against the body itself: its size, its coding, how slowly it comes. `what`: for the log.
    pub fn body(&mut self, refusal: &Refusal, what: &str) {
        self.decision.note(Reason::new(refusal.error(), "body", "body", what), Severity::Low.score());
        self.turn_away(refusal);
    }

    /// Notes what speaks against the body and refuses nothing.
    pub fn body_noted(&mut self, refusal: &Refusal, what: &str) {
        self.decision.note(Reason::new(refusal.error(), "body", "body", what), 0);
    }

    /// Takes the id of the API key that was verified.
    pub fn authenticated(&mut self, key_id: &str) {
        self.decision.key_id = Some(key_id.to_owned());
    }

    /// Turns the request away, unless it is already; also in the shadow.
    pub fn refuse(&mut self, refusal: &Refusal) {
        let decision = std::mem::replace(&mut self.decision, Decision::allow(None, String::new()));
        self.decision = decision.refused(refusal);
    }

    /// The decision, with the headers of the limits that were counted.
    pub fn finish(mut self) -> Decision {
        self.decision.headers.extend(rate_limit_headers(&self.counted));
        self.decision
    }

    /// Turns the request away; in the shadow the first refusal becomes a reason: its id is the refusal's name, its
    /// place the action, its evidence the status that would have been sent.
    fn turn_away(&mut self, refusal: &Refusal) {
        match self.policy.mode {
            Mode::Enforce => self.refuse(refusal),
            Mode::Shadow if self.decision.shadowed().is_none() => {
                let action = if refusal.action() == Action::Limit { "limit" } else { "deny" };
                let status = refusal.status().to_string();
                self.decision.note(Reason::new(refusal.name(), SHADOW_CATEGORY, action, &status), 0);
            }
            Mode::Shadow => {}
        }
    }

    fn count(&mut self, name: &'static str, rate: Rate, admission: Admission) {
        self.counted.push(Counted { name, rate, admission });
        if admission.admitted {
            return;
        }
        self.decision
            .note(Reason::new("rate-limited", "limit", name, &rate.to_string()), Severity::Low.score());
    }
}

/// The header by which a request says that somebody has passed it on.
fn forwarding_header(request: &RequestView<'_>) -> Option<&'static str> {
    const SAID_BY: [&str; 6] =
        ["x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "via"];
    SAID_BY.into_iter().find(|name| request.header(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMITTED: Admission = Admission { admitted: true, remaining: 9, retry_after_micros: 0 };
    const HELD: Admission = Admission { admitted: false, remaining: 0, retry_after_micros: 2_500_000 };

    fn request<'a>(path: &'a str, peer: &'a str) -> RequestView<'a> {
        RequestView {
            method: "GET",
            path,
            remote_addr: Some(peer),
            scheme: "https",
            ..RequestView::default()
        }
    }

    fn begin<'p>(policy: &'p Policy, path: &str, peer: &str) -> Judgement<'p> {
        Judgement::begin(policy, &request(path, peer), "req-00000001")
    }

    #[test]
    fn sensitive_paths_are_for_trusted_networks() {
        let policy = Policy::default();
        assert!(!begin(&policy, "/admin", "127.0.0.1").is_over());
        assert!(!begin(&policy, "/admin", "::ffff:10.1.1.1").is_over());
        let decision = begin(&policy, "//%61dmin/x", "203.0.113.7").finish();
        assert_eq!((decision.action, decision.status), (Action::Deny, 403));
        assert_eq!(decision.reasons[0].id, "sensitive-path");
        assert!(begin(&policy, "/admin", "nonsense").is_over());
    }

    #[test]
    fn a_body_is_judged_after_the_rest_and_what_is_known_is_not_said_twice() {
        let policy = Policy::default();
        let mut judgement = begin(&policy, "/", "203.0.113.7");
        judgement.count_client(Rate::new(1000, 60), ADMITTED);
        let client = judgement.client();
        let found = |id: &'static str, is_denied| Inspection {
            score: 5,
            reasons: vec![Reason::new(id, "xss", "path", "x")],
            is_denied,
        };
        judgement.inspected(found("a", false));
        let first = judgement.finish();
        let mut judgement = Judgement::resume(&policy, client, first.clone());
        judgement.inspected(found("a", false));
        assert_eq!(judgement.finish(), first);
        let mut judgement = Judgement::resume(&policy, client, first.clone());
        judgement.inspected(found("b", true));
        let decision = judgement.finish();
        assert_eq!((decision.status, decision.reasons.len(), decision.client_ip), (403, 2, client.ip));
        assert_eq!(decision.headers, first.headers, "the limits are told once");
    }

    #[test]
    fn a_body_that_is_refused_for_itself() {
        let policy = Policy::default();
        for (refusal, status) in [
            (Refusal::BodyLate, 408),
            (Refusal::LengthRequired, 411),
            (Refusal::BodyTooLarge, 413),
            (Refusal::BodyUnreadable, 415),
        ] {
            let mut judgement = begin(&policy, "/", "203.0.113.7");
            judgement.body_noted(&refusal, "why");
            assert!(!judgement.is_over());
            judgement.body(&refusal, "why");
            assert_eq!(judgement.finish().status, status);
        }
        let shadow = Policy { mode: Mode::Shadow, ..Policy::default() };
        let mut judgement = begin(&shadow, "/", "203.0.113.7");
        judgement.body(&Refusal::BodyTooLarge, "why");
        let decision = judgement.finish();
        assert_eq!((decision.status, decision.shadowed().unwrap().evidence.as_str()), (200, "413"));
    }

    #[test]
    fn a_proxy_that_nobody_named_opens_nothing_by_its_own_address() {
        let sent = |policy: &Policy, header: &str| {
            let headers: [(&str, &[u8]); 1] = [(header, b"203.0.113.9")];
            let view = RequestView { headers: &headers, ..request("/admin", "127.0.0.1") };
            Judgement::begin(policy, &view, "req-00000001").finish()
        };
        let policy = Policy::default();
        for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto"] {
            let decision = sent(&policy, header);
            assert_eq!(
                (decision.status, decision.reasons[0].id.as_ref()),
                (403, "proxy-not-named"),
                "{header}"
            );
        }
        assert_eq!(sent(&policy, "X-Other").status, 200);
        // Who says that there is none is believed, and so is the one who is named.
        let no_proxy: Policy = toml::from_str("client_address = { header = \"none\" }").unwrap();
        assert_eq!(sent(&no_proxy, "X-Forwarded-For").status, 200);
        let named: Policy = toml::from_str("client_address = { trusted_proxies = \"loopback\" }").unwrap();
        assert_eq!(sent(&named, "X-Forwarded-For").status, 403, "the client is an outsider");
        let decision = sent(&named, "Via");
        assert_eq!((decision.status, decision.client_ip), (403, None), "and here nobody knows");
    }

    #[test]
    fn the_shadow_leaves_sensitive_paths_closed() {
        let policy = Policy { mode: Mode::Shadow, ..Policy::default() };
        assert_eq!(begin(&policy, "/admin", "203.0.113.7").finish().status, 403);
    }

    #[test]
    fn exempt_paths_are_over_at_once_and_allowed() {
        let policy = Policy::default();
        let judgement = begin(&policy, "/health", "203.0.113.7");
        assert!(judgement.is_over() && judgement.path_class() == PathClass::Exempt);
        assert_eq!(judgement.finish(), Decision::allow(Some("203.0.113.7".parse().unwrap()), "req-00000001"));
    }

    #[test]
    fn metrics_are_for_trusted_networks() {
        let policy: Policy = toml::from_str("metrics = { path = \"/metrics\" }").unwrap();
        assert!(begin(&policy, "/metrics", "127.0.0.1").is_over());
        assert_eq!(begin(&policy, "/metrics", "127.0.0.1").finish().status, 200);
        assert_eq!(begin(&policy, "/metrics", "203.0.113.7").finish().status, 403);
        assert_eq!(begin(&Policy::default(), "/metrics", "203.0.113.7").path_class(), PathClass::Exempt);
    }

    #[test]
    fn an_unknown_client_is_noted_and_goes_on() {
        let policy = Policy::default();
        let decision = begin(&policy, "/", "<script>").finish();
        assert_eq!((decision.action, decision.client_ip), (Action::Allow, None));
        assert_eq!(
            (decision.reasons[0].id.as_ref(), decision.reasons[0].category),
            ("peer-malformed", "client-address")
        );
    }

    #[test]
    fn a_ban_holds_also_in_the_shadow() {
        let ban = Ban {
            network: "203.0.113.0/24".parse().unwrap(),
            reason: "scans".into(),
            since: security_core::Timestamp::EPOCH,
            until: security_core::Timestamp::from_seconds(60),
            by: String::new(),
        };
        for mode in [Mode::Enforce, Mode::Shadow] {
            let policy = Policy { mode, ..Policy::default() };
            let mut judgement = begin(&policy, "/", "203.0.113.7");
            judgement.banned(&ban);
            let decision = judgement.finish();
            assert_eq!((decision.status, decision.reasons[0].id.as_ref()), (403, "banned"));
            assert_eq!(decision.reasons[0].evidence, "203.0.113.0/24 until 1970-01-01T00:01:00Z: scans");
            assert!(!decision.body.unwrap().to_json().contains("scans"), "the reason is for the log");
        }
    }

    #[test]
    fn limits_hold_and_tell() {
        let policy = Policy::default();
        let mut judgement = begin(&policy, "/", "203.0.113.7");
        judgement.count_client(Rate::new(1000, 60), ADMITTED);
        judgement.authenticated("key-1");
        judgement.count_key(Rate::new(10, 60), HELD);
        let decision = judgement.finish();
        assert_eq!((decision.action, decision.status), (Action::Limit, 429));
        assert_eq!(decision.key_id.as_deref(), Some("key-1"));
        let header = |name| decision.headers.iter().find(|header| header.0 == name).unwrap().1.clone();
        assert_eq!(header("Retry-After"), "3");
        assert_eq!(header("RateLimit"), r#""client";r=9, "key";r=0;t=3"#);
    }

    #[test]
    fn indicators_refuse_from_the_confidence_on() {
        let policy = Policy::default();
        let listed = |confidence| ListedIndicator {
            where_: "client",
            value: "203.0.113.7",
            confidence,
            match_type: "exact",
        };
        let mut judgement = begin(&policy, "/", "203.0.113.7");
        judgement.indicators(&[listed(74)]);
        assert!(!judgement.is_over());
        judgement.indicators(&[listed(75)]);
        let decision = judgement.finish();
        assert_eq!((decision.status, decision.score, decision.reasons.len()), (403, 75, 2));
        assert_eq!(decision.reasons[1].evidence, "203.0.113.7 (exact, confidence 75)");
    }

    #[test]
    fn rules_refuse_from_the_severity_on() {
        let policy = Policy::default();
        let rule = |severity| MatchedRule { id: "r-1", severity, where_: "query", evidence: "x" };
        let mut judgement = begin(&policy, "/", "203.0.113.7");
        judgement.rules(&[rule(Severity::Medium)]);
        assert!(!judgement.is_over());
        judgement.rules(&[rule(Severity::High)]);
        let decision = judgement.finish();
        assert_eq!((decision.status, decision.score), (403, 60));
    }

    #[test]
    fn the_shadow_finds_the_same_and_lets_pass() {
        let policy = Policy { mode: Mode::Shadow, ..Policy::default() };
        let mut judgement = begin(&policy, "/", "203.0.113.7");
        judgement.count_client(Rate::new(1, 60), HELD);
        judgement.indicators(&[ListedIndicator {
            where_: "body",
            value: "x",
            confidence: 100,
            match_type: "exact",
        }]);
        judgement.rules(&[MatchedRule {
            id: "r",
            severity: Severity::Critical,
            where_: "body",
            evidence: "x",
        }]);
        let ids: Vec<String> =
            judgement.decision.reasons.iter().map(|reason| reason.id.to_string()).collect();
        assert_eq!(ids, ["rate-limited", "rate-limited", "listed-indicator", "r"]);
        let shadowed = judgement.decision.shadowed().unwrap();
        assert_eq!(
            (shadowed.where_.as_str(), shadowed.evidence.as_str()),
            ("limit", "429"),
            "the first of them"
        );
        assert!(!judgement.is_over());
        judgement.refuse(&Refusal::CredentialMissing);
        let decision = judgement.finish();
        assert_eq!((decision.status, decision.score), (401, 100));
    }
}
