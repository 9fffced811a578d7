//! What an application gives a rotation: how a new value is brought to where it is used.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use security_core::Secret;
use security_credentials::CredentialKind;
use serde::Serialize;

use super::{bounded, kind};
use crate::Result;

/// A step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationStep {
    /// The new value is made where it is used.
    Create,
    /// It is tried there.
    Test,
    /// Its users go over to it.
    Switch,
    /// The old value is ended there.
    Retire,
}

impl fmt::Display for RotationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Test => "test",
            Self::Switch => "switch",
            Self::Retire => "retire",
        })
    }
}

/// Brings a new value of a credential to where it is used.
///
/// Each step may be run again with another value, for a process may end in the midst of it: `create` overwrites what an
/// earlier attempt left, `retire` of what is ended already does nothing.
pub trait RotationHook: Send + Sync {
    /// Makes the new value where it is used, beside the old one: both work there afterwards.
    /// # Errors
    /// The rotation fails; the old value stays in force.
    fn create(&self, new: &Secret) -> std::result::Result<(), HookFailure>;

    /// Tries the new value where it is used.
    /// # Errors
    /// As above.
    fn test(&self, _new: &Secret) -> std::result::Result<(), HookFailure> {
        Ok(())
    }

    /// Whether there is anything to switch.
    fn switches(&self) -> bool {
        false
    }

    /// Hands the new value to those who use it; old and new are both accepted meanwhile.
    /// # Errors
    /// As above; the new value is refused from then on.
    fn switch(&self, _new: &Secret) -> std::result::Result<(), HookFailure> {
        Ok(())
    }

    /// Whether there is anything to retire.
    fn retires(&self) -> bool {
        false
    }

    /// Ends the old value where it was used.
    /// # Errors
    /// The rotation stands; the retirement is tried again.
    fn retire(&self) -> std::result::Result<(), HookFailure> {
        Ok(())
    }
}

/// Why a step of a hook failed. What is shown and recorded is its kind alone: messages of databases and their like
/// may hold the value itself.
pub struct HookFailure {
    kind: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl HookFailure {
    /// A failure of a kind, such as the name of an exception's class; no secret, 80 characters are kept.
    pub fn of_kind(kind: &str) -> Self {
        Self { kind: kind.chars().filter(|c| !c.is_control()).take(80).collect(), cause: None }
    }

    /// The same with what caused it, for the caller alone: it is never recorded.
    #[must_use]
    pub fn because(self, cause: impl StdError + Send + Sync + 'static) -> Self {
        Self { cause: Some(Box::new(cause)), ..self }
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What caused it.
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.cause.as_deref()
    }
}

impl fmt::Display for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)
    }
}

impl fmt::Debug for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookFailure({})", self.kind)
    }
}

/// A hook, and how long scheduled rotations leave the old value.
#[derive(Clone)]
pub(super) struct Registered {
    pub(super) hook: Arc<dyn RotationHook>,
    pub(super) grace: Duration,
}

type Hooks = [Option<Registered>; CredentialKind::ALL.len()];

/// No lock: a fork at any moment leaves a child a whole list.
static HOOKS: ArcSwapOption<Hooks> = ArcSwapOption::const_empty();

/// Sets the hook of a credential, for all engines of this process, in place of an earlier one; `None` takes it away.
/// `grace` is what scheduled rotations give the old value. A rotation under way goes on with the hook it began with.
/// # Errors
/// [`crate::Error::Invalid`] for an unknown type or a grace beyond a year.
pub fn on_rotate(credential_type: &str, hook: Option<Arc<dyn RotationHook>>, grace: Duration) -> Result<()> {
    let kind = kind(credential_type)?;
    bounded(grace)?;
    let registered = hook.map(|hook| Registered { hook, grace });
    HOOKS.rcu(|known| {
        let mut hooks: Hooks = known.as_deref().cloned().unwrap_or_default();
        hooks[kind as usize] = registered.clone();
        Some(Arc::new(hooks))
    });
    Ok(())
}

pub(super) fn registered(kind: CredentialKind) -> Option<Registered> {
    HOOKS.load().as_ref().and_then(|hooks| hooks[kind as usize].clone())
}
