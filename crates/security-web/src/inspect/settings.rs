//! What is configured about payload inspection: the table `web.inspection`.

use serde::{Deserialize, Serialize};

use super::rules::{RULES, Rule};
use crate::{PathClass, PathSet, WebError, error::shortened};

/// What is done with a request whose payload looks like an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InspectionMode {
    /// Nothing is looked at.
    Off,
    /// It is noted in the decision and goes on.
    Report,
    /// It is refused with 403.
    Deny,
}

/// How payloads are inspected. Unknown names are refused when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InspectionPolicy {
    /// `deny` by default.
    pub mode: InspectionMode,
    /// How much suspicion is wanted, 1 (default; innocent requests pass) to 4.
    #[serde(deserialize_with = "from_one_to_four")]
    pub paranoia: u8,
    /// From which anomaly score on a request is refused; 5 by default, which is one critical rule.
    pub threshold: u32,
    /// The most bytes of one request that are looked at; 262144 by default.
    pub max_bytes: usize,
    /// The most parameters, JSON values, cookies and parts that are looked at; 2000 by default.
    pub max_parameters: usize,
    /// The deepest JSON nesting that is followed; 64 by default.
    pub max_depth: usize,
    /// Rule ids or categories that are noted in the decision and add nothing to the score; none by default. New rules,
    /// or a whole kind of attack, can be tried so while the others refuse.
    #[serde(deserialize_with = "known_rules")]
    pub report: Vec<String>,
    /// What is left out; nothing by default.
    pub exclude: Vec<Exclusion>,
}

/// Rules that are not applied to a parameter below a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// The path and all below it; everywhere if left out.
    #[serde(default = "everywhere")]
    pub path: PathSet,
    /// The parameter, cookie or header as reasons name it after the colon (`q`, `user-agent`, `/text/0`), or the
    /// last key of a JSON value (`html`); all if left out.
    #[serde(default)]
    pub parameter: Option<String>,
    /// Rule ids or categories (`xss`); all if left out.
    #[serde(default, deserialize_with = "known_rules")]
    pub rules: Vec<String>,
}

impl Default for InspectionPolicy {
    fn default() -> Self {
        Self {
            mode: InspectionMode::Deny,
            paranoia: 1,
            threshold: 5,
            max_bytes: 256 << 10,
            max_parameters: 2000,
            max_depth: 64,
            report: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

impl InspectionPolicy {
    /// Whether a rule is only noted.
    pub(super) fn only_reports(&self, rule: &Rule) -> bool {
        is_among(&self.report, rule)
    }
}

/// Whether a rule is named by its id or its category.
fn is_among(named: &[String], rule: &Rule) -> bool {
    named.iter().any(|name| name == rule.id || name == rule.category)
}

impl Exclusion {
    /// Whether this exclusion is for a path.
    pub(super) fn covers(&self, path: &str) -> bool {
        // As for exempt paths: exactly as it stands, so that no spelling gets in by another one's exclusion.
        PathSet::classify(&self.path, &PathSet::default(), path) == PathClass::Exempt
    }

    /// Whether a rule is left out for a parameter.
    pub(super) fn leaves_out(&self, parameter: &str, rule: &Rule) -> bool {
        let is_named = self.parameter.as_deref().is_none_or(|named| {
            named == parameter
                || parameter.starts_with('/')
                    && !named.starts_with('/')
                    && parameter.rsplit('/').find(|key| key.parse::<u32>().is_err()) == Some(named)
        });
        is_named && (self.rules.is_empty() || is_among(&self.rules, rule))
    }
}

fn everywhere() -> PathSet {
    PathSet::of(["/"]).expect("the root is a path")
}

fn from_one_to_four<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let given = u64::deserialize(deserializer)?;
    u8::try_from(given).ok().filter(|level| (1..=4).contains(level)).ok_or_else(|| {
        let error = WebError::OutOfRange { name: "paranoia", given, accepted: "1 to 4" };
        serde::de::Error::custom(error)
    })
}

/// A name that is no rule's would silently exclude nothing.
fn known_rules<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let named = Vec::<String>::deserialize(deserializer)?;
    let is_known = |name: &String| RULES.iter().any(|rule| rule.id == name || rule.category == name);
    match named.iter().find(|name| !is_known(name)) {
        Some(unknown) => Err(serde::de::Error::custom(WebError::NotARule(shortened(unknown)))),
        None => Ok(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses() {
        let policy: InspectionPolicy = toml::from_str(
            "mode = \"report\"\nparanoia = 2\n[[exclude]]\npath = [\"/articles\"]\nparameter = \"html\"\nrules = [\"xss\"]",
        )
        .unwrap();
        let xss = RULES.iter().find(|rule| rule.category == "xss").unwrap();
        let sql = RULES.iter().find(|rule| rule.category == "sql-injection").unwrap();
        let exclusion = &policy.exclude[0];
        assert!(exclusion.covers("/articles/7") && !exclusion.covers("/articles/../x"));
        for (parameter, rule, out) in [
            ("html", xss, true),
            ("html", sql, false),
            ("/a/html/0", xss, true),
            ("/html/b", xss, false),
            ("title", xss, false),
        ] {
            assert_eq!(exclusion.leaves_out(parameter, rule), out, "{parameter} {}", rule.id);
        }
        for bad in ["paranoia = 0", "paranoia = 5", "report = [\"xxs\"]", "mode = \"maybe\"", "treshold = 1"]
        {
            assert!(toml::from_str::<InspectionPolicy>(bad).is_err(), "{bad}");
        }
    }
}
