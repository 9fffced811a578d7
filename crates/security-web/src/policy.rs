//! The web layer's policy: what the configuration file's `web` table says.

use std::net::IpAddr;

use security_core::{Rate, Severity};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    Allowance, BodyPolicy, ClientAddressPolicy, HeaderPolicy, InspectionPolicy, LockOut, MetricsPolicy, Mode,
    Networks, PathClass, PathSet, WebError,
};

/// Everything that is configured about the web layer. Unknown names are refused when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// `enforce` by default; in the `shadow` limits, lists, rules and inspection only say what they would have done.
    pub mode: Mode,
    /// How the client's address is found; no proxy is trusted by default.
    pub client_address: ClientAddressPolicy,
    /// Networks that may use sensitive paths: loopback and private ones by default.
    pub trusted_networks: Networks,
    /// Paths that nothing is asked of: `/health`, `/metrics`, `/docs`, `/static` by default.
    pub exempt_paths: PathSet,
    /// Paths for trusted networks only: `/admin`, `/security`, `/credentials`, `/internal/` by default.
    pub sensitive_paths: PathSet,
    /// How often.
    pub limits: LimitPolicy,
    /// When wrong secrets lock a client out.
    pub lock_out: LockOut,
    /// A listed address or other indicator is refused from this confidence on, 0 to 100; 75 by default.
    #[serde(deserialize_with = "confidence")]
    pub deny_confidence: u8,
    /// A request that a rule matches is refused from this severity on; `high` by default.
    pub deny_severity: Severity,
    /// How payloads are inspected for attacks.
    pub inspection: InspectionPolicy,
    /// Request bodies: whether they are inspected, and how large they may be.
    pub bodies: BodyPolicy,
    /// The security headers of responses.
    pub response_headers: HeaderPolicy,
    /// Whether requests are counted, and where that can be read.
    pub metrics: MetricsPolicy,
}

/// How often something may happen, for whom. Defaults in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitPolicy {
    /// Requests with one API key that has no limit of its own (100/minute).
    pub key: Allowance,
    /// Requests from one client, whatever they carry (1000/minute).
    pub client: Allowance,
    /// Wrong secrets from one client (5/minute).
    pub failed_authentication: Allowance,
}

impl Default for LimitPolicy {
    fn default() -> Self {
        let per_minute = |count| Allowance::At(Rate::new(count, 60));
        Self { key: per_minute(100), client: per_minute(1000), failed_authentication: per_minute(5) }
    }
}

impl Default for Policy {
    fn default() -> Self {
        let paths = |paths: &[&str]| PathSet::of(paths).expect("the defaults are plain paths");
        Self {
            mode: Mode::default(),
            client_address: ClientAddressPolicy::default(),
            trusted_networks: Networks::local(),
            exempt_paths: paths(&["/health", "/metrics", "/docs", "/static"]),
            sensitive_paths: paths(&["/admin", "/security", "/credentials", "/internal/"]),
            limits: LimitPolicy::default(),
            lock_out: LockOut::default(),
            deny_confidence: 75,
            deny_severity: Severity::High,
            inspection: InspectionPolicy::default(),
            bodies: BodyPolicy::default(),
            response_headers: HeaderPolicy::default(),
            metrics: MetricsPolicy::default(),
        }
    }
}

impl Policy {
    /// Whether the address is in a trusted network.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_networks.contains(address)
    }

    /// What the policy says of a path.
    pub fn classify(&self, path: &str) -> PathClass {
        if self.metrics.is_at(path) {
            return PathClass::Metrics;
        }
        PathSet::classify(&self.exempt_paths, &self.sensitive_paths, path)
    }

    /// Each setting for people: its name (`limits.key`), its value, and whether that is the default.
    pub fn lines(&self) -> Vec<(String, String, bool)> {
        let mut lines = Vec::new();
        if let (Ok(mine), Ok(default)) = (serde_json::to_value(self), serde_json::to_value(Self::default())) {
            collect("", &mine, &default, &mut lines);
        }
        lines
    }
}

fn collect(
    name: &str,
    mine: &serde_json::Value,
    default: &serde_json::Value,
    lines: &mut Vec<(String, String, bool)>,
) {
    if let Some(fields) = mine.as_object() {
        for (field, value) in fields {
            let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
            collect(&name, value, &default[field], lines);
        }
        return;
    }
    let shown = match mine {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "unset".into(),
        serde_json::Value::Array(values) => {
            let words: Vec<&str> = values.iter().filter_map(serde_json::Value::as_str).collect();
            match (words.is_empty(), values.len()) {
                (_, 0) => "none".into(),
                (true, 1) => "1 entry".into(),
                (true, n) => format!("{n} entries"),
                (false, _) => words.join(", "),
            }
        }
        other => other.to_string(),
    };
    lines.push((name.to_owned(), shown, mine == default));
}

fn confidence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let given = u64::deserialize(deserializer)?;
    u8::try_from(given).ok().filter(|confidence| *confidence <= 100).ok_or_else(|| {
        de::Error::custom(WebError::OutOfRange { name: "deny_confidence", given, accepted: "0 to 100" })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default() {
        let policy: Policy = toml::from_str("").unwrap();
        assert_eq!(policy, Policy::default());
        assert_eq!(policy.classify("/metrics"), PathClass::Exempt);
        assert_eq!(policy.classify("/internal"), PathClass::Sensitive);
        assert!(policy.is_trusted("192.168.1.1".parse().unwrap()));
        assert!(policy.is_trusted("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!policy.is_trusted("203.0.113.1".parse().unwrap()));
    }

    #[test]
    fn a_written_policy_comes_back() {
        let text = r#"
            mode = "shadow"
            trusted_networks = ["loopback", "192.0.2.0/24"]
            exempt_paths = ["/ping"]
            deny_confidence = 90
            deny_severity = "critical"
            client_address = { trusted_proxies = "private", header = "forwarded", hops = 2 }
            limits = { client = "unlimited", key = "20/second" }
            lock_out = { failures = 3 }
            response_headers = { preset = "api" }
        "#;
        let policy: Policy = toml::from_str(text).unwrap();
        assert_eq!(policy.limits.client, Allowance::Unlimited);
        assert_eq!(policy.limits.failed_authentication, Allowance::At(Rate::new(5, 60)));
        assert_eq!(policy.client_address.hops, Some(2));
        let again: Policy = serde_json::from_value(serde_json::to_value(&policy).unwrap()).unwrap();
        assert_eq!(again, policy);
    }

    #[test]
    fn refuses_what_it_does_not_know_or_cannot_use() {
        for (text, mentions) in [
            ("deny_confidenec = 5", "deny_confidenec"),
            ("mode = \"off\"", "off"),
            ("deny_confidence = 101", "0 to 100"),
            ("deny_severity = \"dire\"", "dire"),
            ("exempt_paths = [\"health\"]", "`health` is no path"),
            ("trusted_networks = \"everybody\"", "`everybody` is no network"),
            ("limits = { key = \"often\" }", "`often` is no limit"),
            ("limits = { keys = \"1/second\" }", "keys"),
            ("client_address = { hops = 0 }", "hops is 0"),
            ("client_address = { header = \"x-client-ip\" }", "x-client-ip"),
            ("inspection = { paranoia = 7 }", "accepted is 1 to 4"),
            ("inspection = { exclude = [{ rules = [\"xxs\"] }] }", "`xxs` is no rule"),
            ("lock_out = { failures = 0 }", "failures is 0"),
            ("response_headers = { preset = \"paranoid\" }", "paranoid"),
        ] {
            let error = toml::from_str::<Policy>(text).unwrap_err().to_string();
            assert!(error.contains(mentions), "{text}: {error}");
        }
    }

    #[test]
    fn lines_name_every_setting_and_tell_the_default() {
        let policy: Policy = toml::from_str("limits = { key = \"7/second\" }").unwrap();
        let lines = policy.lines();
        let line = |name: &str| lines.iter().find(|line| line.0 == name).cloned().unwrap();
        assert_eq!(line("limits.key"), ("limits.key".into(), "7/second".into(), false));
        assert_eq!(line("limits.client"), ("limits.client".into(), "1000/minute".into(), true));
        assert_eq!(line("client_address.trusted_proxies").1, "none");
        assert_eq!(line("client_address.hops").1, "unset");
        assert_eq!(line("exempt_paths").1, "/health, /metrics, /docs, /static");
        assert_eq!(line("lock_out.failures").1, "5");
        assert!(lines.iter().filter(|line| !line.2).count() == 1);
    }
}
