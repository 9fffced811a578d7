//! A policy read out to people: what is done to a request, step by step, and which settings are a risk.

use ipnet::IpNet;
use security_core::Severity;
use serde::Serialize;

use crate::{
    Allowance, ForwardedHeader, HeaderPreset, Hsts, InspectionMode, Mode, Networks, PathClass, PathSet,
    Policy, Unreadable,
};

/// What a policy does, and what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Review {
    /// The steps in the order they are taken.
    pub steps: Vec<Step>,
    /// What somebody should look at, risks first.
    pub remarks: Vec<Remark>,
}

/// One step of judging a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub step: &'static str,
    /// What it does, one line.
    pub says: String,
}

/// Something about a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Whether it opens a door, or is only good to know.
    pub level: Level,
    /// The setting as the configuration names it below `web`.
    pub setting: &'static str,
    /// What follows from it, and the way out.
    pub says: String,
}

/// How much a remark matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Somebody gets further than without it.
    Risk,
    /// Good to know.
    Note,
}

impl Review {
    /// Whether there is a risk among the remarks.
    pub fn has_risk(&self) -> bool {
        self.remarks.iter().any(|remark| remark.level == Level::Risk)
    }
}

impl Policy {
    /// Reads the policy out.
    pub fn review(&self) -> Review {
        let mut remarks = Vec::new();
        self.review_who(&mut remarks);
        self.review_how_much(&mut remarks);
        self.review_payload(&mut remarks);
        self.review_answers(&mut remarks);
        remarks.sort_by_key(|remark| remark.level);
        Review { steps: self.steps(), remarks }
    }

    fn steps(&self) -> Vec<Step> {
        let step = |step, says| Step { step, says };
        let address = &self.client_address;
        let header = match address.header {
            ForwardedHeader::None => None,
            ForwardedHeader::XForwardedFor => Some("X-Forwarded-For"),
            ForwardedHeader::Forwarded => Some("Forwarded"),
            ForwardedHeader::XRealIp => Some("X-Real-IP"),
        };
        let client = match header.filter(|_| !address.trusted_proxies.is_empty()) {
            None => "the TCP peer, whatever the headers say".to_owned(),
            Some(header) => {
                let hops = address.hops.map_or_else(String::new, |hops| format!(", exactly {hops} of them"));
                format!("what {} say in {header}{hops}; else the TCP peer", words(&address.trusted_proxies))
            }
        };
        let inspection = &self.inspection;
        let payload = match inspection.mode {
            InspectionMode::Off => "not looked at".to_owned(),
            mode => format!(
                "{} from anomaly score {} on, paranoia level {}, {} bytes and {} values at most, {} exclusions",
                if mode == InspectionMode::Deny { "refused" } else { "noted" },
                inspection.threshold,
                inspection.paranoia,
                inspection.max_bytes,
                inspection.max_parameters,
                inspection.exclude.len(),
            ),
        };
        let looked_at = self.bodies.inspect && inspection.mode != InspectionMode::Off;
        let body = format!(
            "{}; {}",
            if looked_at {
                format!("the first {} bytes are looked at", inspection.max_bytes)
            } else {
                "not looked at".to_owned()
            },
            self.bodies
                .max_bytes
                .map_or_else(|| "of any size".to_owned(), |most| format!("at most {most} bytes")),
        );
        let lock_out = format!(
            "wrong secrets: {}; after {} in a row no more of them for {} seconds",
            self.limits.failed_authentication, self.lock_out.failures, self.lock_out.duration_seconds
        );
        vec![
            step(
                "mode",
                match self.mode {
                    Mode::Enforce => "in force".to_owned(),
                    Mode::Shadow => {
                        "in the shadow: limits, lists, rules and payloads are judged and turn nobody away"
                            .into()
                    }
                },
            ),
            step("client", client),
            step("exempt paths", paths(&self.exempt_paths, "nothing is asked of")),
            step(
                "sensitive paths",
                match self.sensitive_paths.is_empty() {
                    true => "none".into(),
                    false => format!(
                        "{} for {} only",
                        paths(&self.sensitive_paths, ""),
                        words(&self.trusted_networks)
                    ),
                },
            ),
            step("bans", "refused with 403, whatever key it carries".into()),
            step("client limit", self.limits.client.to_string()),
            step("indicators", format!("refused from confidence {} on", self.deny_confidence)),
            step("key limit", format!("{} for keys without a limit of their own", self.limits.key)),
            step("lock-out", lock_out),
            step("rules", format!("refused from severity {} on", self.deny_severity)),
            step("payload", payload),
            step("body", body),
            step(
                "metrics",
                match &self.metrics.path {
                    None => "none".into(),
                    Some(path) => format!("{} answers {}", paths(path, ""), words(&self.trusted_networks)),
                },
            ),
            step(
                "answers",
                format!(
                    "headers of the preset {}",
                    match self.response_headers.preset {
                        HeaderPreset::None => "none",
                        HeaderPreset::Api => "api",
                        HeaderPreset::Web => "web",
                        HeaderPreset::Strict => "strict",
                    }
                ),
            ),
        ]
    }

    fn review_who(&self, remarks: &mut Vec<Remark>) {
        let mut say = |level, setting, says: String| remarks.push(Remark { level, setting, says });
        let proxies = &self.client_address.trusted_proxies;
        if let Some(wide) = proxies.networks().find(|network| is_wide(network)) {
            say(
                Level::Risk,
                "client_address.trusted_proxies",
                format!(
                    "{wide} is a large part of the world: whoever is in it chooses his own address; name the proxies alone"
                ),
            );
        }
        if let Some(wide) = self.trusted_networks.networks().find(|network| is_wide(network)) {
            say(
                Level::Risk,
                "trusted_networks",
                format!("{wide} is a large part of the world, and the sensitive paths are open to it"),
            );
        }
        if proxies.is_empty() && !self.trusted_networks.is_empty() && !self.sensitive_paths.is_empty() {
            say(
                Level::Note,
                "client_address.trusted_proxies",
                "no proxy is named: behind one that adds no \
                forwarding header, every client has the proxy's address, and what that may do; name it"
                    .into(),
            );
        }
        if self.client_address.header == ForwardedHeader::XRealIp && self.client_address.hops.is_some() {
            say(
                Level::Note,
                "client_address.hops",
                "X-Real-IP holds one address: more than one hop is never found".into(),
            );
        }
        let everything =
            |set: &PathSet| PathSet::classify(set, &PathSet::default(), "/any/path") == PathClass::Exempt;
        if everything(&self.exempt_paths) {
            say(Level::Risk, "exempt_paths", "/ exempts everything: nothing is asked of any request".into());
        }
        if self.sensitive_paths.is_empty() {
            say(Level::Note, "sensitive_paths", "none: every path is open to every network".into());
        }
    }

    fn review_how_much(&self, remarks: &mut Vec<Remark>) {
        let mut say =
            |level, setting, says: &str| remarks.push(Remark { level, setting, says: says.to_owned() });
        if self.mode == Mode::Shadow {
            say(
                Level::Risk,
                "mode",
                "in the shadow nobody is turned away by limits, lists, rules or inspection; \
                set `enforce` when the log is as it should be",
            );
        }
        if self.limits.client == Allowance::Unlimited {
            say(Level::Risk, "limits.client", "unlimited: one client can take all there is");
        }
        if self.limits.failed_authentication == Allowance::Unlimited {
            say(
                Level::Risk,
                "limits.failed_authentication",
                "unlimited: secrets are guessed as fast as you answer, \
                until the lock-out",
            );
        }
        if self.limits.key == Allowance::Unlimited {
            say(
                Level::Note,
                "limits.key",
                "unlimited: a key that leaks is limited by its client's rate alone",
            );
        }
        if self.lock_out.failures > 20 {
            say(
                Level::Risk,
                "lock_out.failures",
                "more than 20 wrong secrets in a row before the client is locked out",
            );
        }
        if self.deny_confidence > 95 {
            say(Level::Note, "deny_confidence", "above 95 hardly any indicator refuses a request");
        }
        if self.deny_severity == Severity::Critical {
            say(Level::Note, "deny_severity", "rules of severity high only raise alerts");
        }
    }

    fn review_payload(&self, remarks: &mut Vec<Remark>) {
        let mut say =
            |level, setting, says: &str| remarks.push(Remark { level, setting, says: says.to_owned() });
        let inspection = &self.inspection;
        match inspection.mode {
            InspectionMode::Off => say(Level::Risk, "inspection.mode", "off: payloads are not looked at"),
            InspectionMode::Report => {
                say(Level::Risk, "inspection.mode", "report: attacks are noted and reach the application");
            }
            InspectionMode::Deny => {}
        }
        if inspection.threshold > 5 {
            say(Level::Risk, "inspection.threshold", "above 5 one critical rule alone refuses nothing");
        }
        if inspection.exclude.iter().any(|excluded| {
            excluded.parameter.is_none()
                && excluded.rules.is_empty()
                && PathSet::classify(&excluded.path, &PathSet::default(), "/any/path") == PathClass::Exempt
        }) {
            say(
                Level::Risk,
                "inspection.exclude",
                "an exclusion names neither path nor parameter nor rule: it leaves \
                everything out",
            );
        }
        if inspection.mode != InspectionMode::Off && !self.bodies.inspect {
            say(Level::Risk, "bodies.inspect", "false: what a body holds reaches the application unseen");
        }
        if self.bodies.unreadable == Unreadable::Pass {
            say(
                Level::Risk,
                "bodies.unreadable",
                "pass: a content coding or charset that is not known hides a body",
            );
        }
        if self.bodies.max_bytes.is_none() {
            say(
                Level::Note,
                "bodies.max_bytes",
                "unset: how large a body may be is up to the application and its server",
            );
        }
    }

    fn review_answers(&self, remarks: &mut Vec<Remark>) {
        let mut say =
            |level, setting, says: &str| remarks.push(Remark { level, setting, says: says.to_owned() });
        let headers = &self.response_headers;
        if headers.preset == HeaderPreset::None {
            say(
                Level::Risk,
                "response_headers.preset",
                "none: browsers are told nothing to protect your users by",
            );
        }
        if headers.hsts == Hsts::Never {
            say(
                Level::Note,
                "response_headers.hsts",
                "never: somebody else has to send Strict-Transport-Security",
            );
        }
        let csp = headers.content_security_policy.as_deref().unwrap_or("unset");
        if csp.is_empty() && headers.preset != HeaderPreset::None {
            say(
                Level::Risk,
                "response_headers.content_security_policy",
                "empty: scripts of anybody run in your pages",
            );
        }
        if csp.contains("'unsafe-eval'") || csp.contains("script-src *") || csp.contains("default-src *") {
            say(
                Level::Risk,
                "response_headers.content_security_policy",
                "it lets scripts of anybody run in your pages",
            );
        }
    }
}

/// More than a sixteenth of IPv4, or of what is given out of IPv6.
fn is_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < 4,
        IpNet::V6(network) => network.prefix_len() < 7,
    }
}

fn words(networks: &Networks) -> String {
    if networks.is_empty() { "nobody".into() } else { networks.words().join(", ") }
}

fn paths(set: &PathSet, before: &str) -> String {
    if set.is_empty() {
        return "none".into();
    }
    format!("{before} {}", set.written().join(", ")).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str, level: Level) -> Vec<&'static str> {
        let policy: Policy = toml::from_str(text).unwrap();
        let remarks = policy.review().remarks;
        remarks.into_iter().filter(|remark| remark.level == level).map(|remark| remark.setting).collect()
    }

    #[test]
    fn the_default_has_no_risk() {
        let review = Policy::default().review();
        assert!(!review.has_risk(), "{review:?}");
        assert_eq!(settings("", Level::Note), ["client_address.trusted_proxies", "bodies.max_bytes"]);
    }

    #[test]
    fn each_risk_is_told() {
        for (text, setting) in [
            ("mode = \"shadow\"", "mode"),
            ("client_address = { trusted_proxies = \"0.0.0.0/0\" }", "client_address.trusted_proxies"),
            (
                "client_address = { trusted_proxies = [\"loopback\", \"::/1\"] }",
                "client_address.trusted_proxies",
            ),
            ("trusted_networks = [\"128.0.0.0/1\"]", "trusted_networks"),
            ("exempt_paths = [\"/\"]", "exempt_paths"),
            ("limits = { client = \"unlimited\" }", "limits.client"),
            ("limits = { failed_authentication = \"unlimited\" }", "limits.failed_authentication"),
            ("lock_out = { failures = 21 }", "lock_out.failures"),
            ("inspection = { mode = \"off\" }", "inspection.mode"),
            ("inspection = { mode = \"report\" }", "inspection.mode"),
            ("inspection = { threshold = 6 }", "inspection.threshold"),
            ("inspection = { exclude = [{}] }", "inspection.exclude"),
            ("bodies = { inspect = false }", "bodies.inspect"),
            ("bodies = { unreadable = \"pass\" }", "bodies.unreadable"),
            ("response_headers = { preset = \"none\" }", "response_headers.preset"),
            (
                "response_headers = { content_security_policy = \"\" }",
                "response_headers.content_security_policy",
            ),
            (
                "response_headers = { content_security_policy = \"script-src * 'unsafe-eval'\" }",
                "response_headers.content_security_policy",
            ),
        ] {
            assert_eq!(settings(text, Level::Risk), [setting], "{text}");
        }
    }

    #[test]
    fn what_is_good_to_know_is_no_risk() {
        for (text, setting) in [
            ("limits = { key = \"unlimited\" }", "limits.key"),
            ("deny_confidence = 100", "deny_confidence"),
            ("deny_severity = \"critical\"", "deny_severity"),
            ("sensitive_paths = []", "sensitive_paths"),
            ("response_headers = { hsts = \"never\" }", "response_headers.hsts"),
            ("client_address = { header = \"x-real-ip\", hops = 2 }", "client_address.hops"),
        ] {
            assert_eq!(settings(text, Level::Risk), [""; 0], "{text}");
            assert!(settings(text, Level::Note).contains(&setting), "{text}");
        }
        let exclusion = "inspection = { exclude = [{ parameter = \"html\" }, { path = [\"/a\"] }, { rules = [\"xss\"] }] }";
        assert_eq!(settings(exclusion, Level::Risk), [""; 0]);
        let sized = "bodies = { max_bytes = 1000 }\nclient_address = { trusted_proxies = \"loopback\" }";
        assert_eq!(settings(sized, Level::Note), [""; 0]);
    }

    #[test]
    fn the_steps_say_what_is_set() {
        let text = "client_address = { trusted_proxies = [\"loopback\", \"10.0.0.0/8\"], hops = 2 }\n\
                    trusted_networks = \"none\"\nlimits = { client = \"5/second\" }\nbodies = { max_bytes = 7 }";
        let policy: Policy = toml::from_str(text).unwrap();
        let steps = policy.review().steps;
        let says = |name: &str| steps.iter().find(|step| step.step == name).unwrap().says.clone();
        assert_eq!(
            says("client"),
            "what loopback, 10.0.0.0/8 say in X-Forwarded-For, exactly 2 of them; else the TCP peer"
        );
        assert_eq!(says("sensitive paths"), "/admin, /security, /credentials, /internal/ for nobody only");
        assert_eq!(says("client limit"), "5/second");
        assert_eq!(says("body"), "the first 262144 bytes are looked at; at most 7 bytes");
    }
}
