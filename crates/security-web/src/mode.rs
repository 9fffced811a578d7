//! Whether the policy is in force, or only says what it would do.

use serde::{Deserialize, Serialize};

/// How the policy is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What is refused is turned away.
    #[default]
    Enforce,
    /// The client's limit, lists, rules and inspection are judged, counted and recorded, and turn nobody away: for the
    /// days in which a policy is tried. What needs a key or a trusted network needs it all the same, and a key's own
    /// limit holds: trying a policy must not open what was closed before.
    Shadow,
}

/// The category of the reason that says what would have happened.
pub const SHADOW_CATEGORY: &str = "shadow";
