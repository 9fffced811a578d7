//! Threat detection: rules, compiler, evaluator, alerts.

mod alert;
mod compile;
mod detection;
mod error;
mod evaluate;
mod event;
mod fold;
mod indicator_match;
mod literal;
mod mask;
mod rule;
mod score;

pub use alert::{Alert, AlertStore, Evidence};
pub use compile::{RuleProblem, RuleSet};
pub use detection::Detection;
pub use error::RuleError;
pub use evaluate::{Evaluation, RuleMatch};
pub use rule::{Rule, RuleDraft};
pub use score::ThreatScore;
