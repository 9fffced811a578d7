//! Whether the policy is in force, or only says what it would do.

use serde::{Deserialize, Serialize};

use crate::{Action, Decision, Reason};

/// How the policy is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What is refused is turned away.
    #[default]
    Enforce,
    /// Everything is judged, counted and recorded, and nothing is turned away: neither by limits, lists, rules and
    /// paths nor for want of a key. For the days before an application is protected, never instead of it.
    Shadow,
}

/// The category of the reason that says what would have happened.
pub const SHADOW_CATEGORY: &str = "shadow";

impl Mode {
    /// The decision as the adapter is to follow it. In the shadow a refusal becomes a reason: its id is the refusal's
    /// name, its place the action, its evidence the status that would have been sent.
    pub fn applied(self, mut decision: Decision) -> Decision {
        if self == Self::Enforce || decision.is_allowed() {
            return decision;
        }
        let refused = decision.body.take();
        let name = refused.map_or("refused", |body| body.error);
        let action = if decision.action == Action::Limit { "limit" } else { "deny" };
        let reason = Reason::new(name, SHADOW_CATEGORY, action, &decision.status.to_string());
        // What tells a client to show a key or to wait would be a lie; the state of the limits is none.
        decision.headers.retain(|(name, _)| !matches!(*name, "WWW-Authenticate" | "Retry-After"));
        (decision.action, decision.status) = (Action::Allow, 200);
        decision.note(reason, 0);
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Refusal;

    #[test]
    fn a_shadow_tells_and_lets_through() {
        let mut refused = Decision::allow(None, "req-00000001")
            .refused(&Refusal::RateLimited { retry_after_micros: 1_500_000 });
        refused.headers.push(("RateLimit", "\"client\";r=0;t=2".into()));
        assert_eq!(Mode::Enforce.applied(refused.clone()), refused);
        let seen = Mode::Shadow.applied(refused);
        assert_eq!((seen.action, seen.status, seen.body.is_none()), (Action::Allow, 200, true));
        assert_eq!(seen.headers.len(), 1, "{:?}", seen.headers);
        let reason = &seen.reasons[0];
        assert_eq!(
            (reason.id.as_ref(), reason.category, reason.where_.as_str(), reason.evidence.as_str()),
            ("rate-limited", "shadow", "limit", "429")
        );
    }

    #[test]
    fn what_is_allowed_stays_as_it_is() {
        let decision = Decision::allow(None, "req-00000001");
        assert_eq!(Mode::Shadow.applied(decision.clone()), decision);
    }
}
