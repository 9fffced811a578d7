//! Rotation of the document's credentials: alone, or in steps with a hook that brings the new value to where it is used.
//!
//! **Invariant:** while a hook runs, nothing is held but the lock of this credential's rotation: no lock of the store,
//! no transaction, nothing that a check waits for. So a hook may call the engine, and one that never returns keeps
//! other rotations of its credential from beginning and nothing else.

mod hook;

use std::time::Duration;

use security_core::{Coded as _, Secret, redact_tokens};
use security_credentials::{CredentialEvent, CredentialKind, CredentialStore as _, IssuedKey};
use security_store::RotationLock;
use serde_json::{Map, Value, json};

pub use hook::{HookFailure, RotationHook, RotationStep, on_rotate};

use super::document::kind;
use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// The most bytes of a request id that is recorded with a rotation.
const LONGEST_REQUEST_ID: usize = 1024;

impl Engine {
    /// Makes a new value the accepted one. It is given back this once and kept as a digest only; every previous
    /// value, the environment's among them, is refused after `grace`, in every process and for ever.
    ///
    /// With a hook of this process ([`on_rotate`]) the value is brought to where it is used first, see
    /// [`Engine::rotate_credential_with`].
    /// # Errors
    /// [`Error::Invalid`] for an unknown type, a grace beyond a year or a request id of more than 1024 bytes;
    /// [`Error::RotationUnderWay`] when somebody is rotating it: of two at once one wins; [`Error::RotationFailed`];
    /// [`Error::Store`]. The old value is in force then.
    pub fn rotate_credential(
        &self,
        credential_type: &str,
        request_id: Option<&str>,
        grace: Duration,
    ) -> Result<Secret> {
        let kind = kind(credential_type)?;
        let registered = hook::registered(kind);
        self.rotate_kind(kind, request_id, grace, registered.as_ref().map(|registered| &*registered.hook))
    }

    /// Likewise with a hook: it creates the value where it is used, tests it there, and switches its users over while
    /// both values are accepted; then the new value alone is in force, the old ones for `grace`. Retirement, if the hook
    /// has any, follows at once without grace, otherwise with the first [`Engine::schedule_credential_rotation`]
    /// after it, or before the next rotation.
    ///
    /// What a process leaves behind that is killed in the midst of it is resolved at the next start, or by the next
    /// rotation: the old value stays in force, and beside it a new one whose users were being switched over.
    /// # Errors
    /// As [`Engine::rotate_credential`].
    pub fn rotate_credential_with(
        &self,
        credential_type: &str,
        request_id: Option<&str>,
        grace: Duration,
        hook: &dyn RotationHook,
    ) -> Result<Secret> {
        self.rotate_kind(kind(credential_type)?, request_id, grace, Some(hook))
    }

    fn rotate_kind(
        &self,
        kind: CredentialKind,
        request_id: Option<&str>,
        grace: Duration,
        hook: Option<&dyn RotationHook>,
    ) -> Result<Secret> {
        bounded(grace)?;
        if request_id.is_some_and(|id| id.len() > LONGEST_REQUEST_ID) {
            return Err(Error::invalid("request_id", format!("accepted are {LONGEST_REQUEST_ID} bytes")));
        }
        let _turn = self.rotation_turn(kind)?;
        let policy = self.settings.policies.of(kind);
        let new = security_credentials::generate(policy.length, policy.complexity, &mut world::SystemEntropy)
            .map_err(|error| Error::invalid("credential_type", error))?;
        let request_id =
            request_id.map_or_else(generate_request_id, |given| redact_tokens(given).into_owned());
        let details = json!({"credential": kind, "grace_seconds": grace.as_secs()});
        self.audited("credential_rotated", &request_id, details, || {
            let rotation = Rotation { engine: self, kind, request_id: &request_id, grace };
            match hook {
                None => rotation.at_once(&new),
                Some(hook) => rotation.in_steps(&new, hook),
            }
        })?;
        if let Some(hook) = hook.filter(|hook| hook.retires() && grace.is_zero()) {
            // The rotation is done and its value has to reach the caller; what failed here is tried again later.
            if let Err(error) = self.retire(kind, &request_id, hook) {
                tracing::warn!(%error, "the old value is refused here, and not ended yet where it was used");
            }
        }
        Ok(new)
    }

    /// Ends the old value where it was used. The caller has the turn.
    fn retire(&self, kind: CredentialKind, request_id: &str, hook: &dyn RotationHook) -> Result<()> {
        self.audited("credential_retired", request_id, json!({"credential": kind}), || {
            if let Err(failure) = self.run_step(|| hook.retire()) {
                return Err(Error::RotationFailed { credential: kind, step: RotationStep::Retire, failure });
            }
            self.change_credential(kind, CredentialEvent::Retired, request_id, Map::new(), |record, _| {
                record.note_retired();
                Ok(())
            })?;
            Ok(())
        })
    }

    /// Does what is due of the credentials that have a hook in this process: ends old values whose grace is over, and
    /// rotates what has reached its time.
    pub(super) fn run_due_rotations(&self) -> Result<()> {
        let mut first_trouble = None;
        for kind in CredentialKind::ALL {
            let Some(registered) = hook::registered(kind) else { continue };
            let done = self.run_due_rotation(kind, &registered);
            // Somebody else is at it: nothing is left to do here.
            if let Err(error) = done
                && !matches!(error, Error::RotationUnderWay { .. })
            {
                first_trouble.get_or_insert(error);
            }
        }
        first_trouble.map_or(Ok(()), Err)
    }

    fn run_due_rotation(&self, kind: CredentialKind, registered: &hook::Registered) -> Result<()> {
        let Some(record) = self.files.store.credential(kind)? else { return Ok(()) };
        let hook = &*registered.hook;
        if hook.retires() && record.is_retirement_due(world::now()) {
            let _turn = self.rotation_turn(kind)?;
            let again = self.files.store.credential(kind)?;
            if again.is_some_and(|record| record.is_retirement_due(world::now())) {
                self.retire(kind, &generate_request_id(), hook)?;
            }
        }
        if record.rotation_planned_for.is_some_and(|at| at <= world::now()) {
            self.rotate_kind(kind, None, registered.grace, Some(hook))?;
        }
        Ok(())
    }

    /// Gives up what processes that ended in the midst of a rotation left behind. What cannot be written now is
    /// resolved by the next rotation.
    pub(crate) fn resolve_rotations(&self) {
        for kind in CredentialKind::ALL {
            // A start reads nothing for what never was.
            if !RotationLock::was_ever_taken(self.data_dir(), kind.as_str()) {
                continue;
            }
            let left_behind =
                self.files.store.credential(kind).map(|record| record.and_then(|it| it.pending));
            let resolved = match left_behind {
                Ok(None) => Ok(()),
                Ok(Some(_)) => self.rotation_turn(kind).and_then(|_turn| self.give_up(kind)),
                Err(fault) => Err(fault.into()),
            };
            match resolved {
                Ok(()) | Err(Error::RotationUnderWay { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, %kind, "a rotation that was left behind is not resolved yet")
                }
            }
        }
    }

    /// Gives up a rotation that was left behind, if there is one. The caller has the turn.
    fn give_up(&self, kind: CredentialKind) -> Result<()> {
        let Some(pending) = self.files.store.credential(kind)?.and_then(|record| record.pending) else {
            return Ok(());
        };
        let details = json!({
            "credential": kind, "phase": pending.phase, "begun_at": pending.begun_at, "error": "its process ended",
        });
        self.audit("credential_rotation_given_up", &pending.id, details.clone());
        let details = details.as_object().cloned().unwrap_or_default();
        self.change_credential(kind, CredentialEvent::RotationFailed, &pending.id, details, |record, _| {
            record.give_up_rotation();
            Ok(())
        })?;
        Ok(())
    }

    /// The turn to rotate a credential.
    fn rotation_turn(&self, kind: CredentialKind) -> Result<RotationLock> {
        let turn = RotationLock::take(self.data_dir(), kind.as_str())?;
        turn.ok_or_else(|| {
            let record = self.files.store.credential(kind).ok().flatten();
            let since = record.and_then(|record| record.pending).map(|pending| pending.begun_at);
            Error::RotationUnderWay { credential: kind, since }
        })
    }

    /// Runs a part of a hook. A child that a hook made and that comes back from it is no rotation.
    fn run_step(
        &self,
        step: impl FnOnce() -> std::result::Result<(), HookFailure>,
    ) -> std::result::Result<(), HookFailure> {
        let outcome = step();
        match security_shared::fork::generation() == self.generation() {
            true => outcome,
            false => Err(HookFailure::of_kind("a child process came back from the hook")),
        }
    }
}

/// Refuses a grace that is longer than any.
pub(super) fn bounded(grace: Duration) -> Result<()> {
    match grace > IssuedKey::LONGEST_GRACE {
        true => Err(Error::invalid("grace_seconds", "accepted are 0 to 31536000 seconds")),
        false => Ok(()),
    }
}

/// A rotation whose turn it is.
struct Rotation<'r> {
    engine: &'r Engine,
    kind: CredentialKind,
    request_id: &'r str,
    grace: Duration,
}

impl Rotation<'_> {
    fn at_once(&self, new: &Secret) -> Result<()> {
        let digest = self.engine.peppers()?.digest(new.expose());
        self.change(CredentialEvent::Rotated, self.with_grace(), |record, operator| {
            record.rotate(operator, digest, world::now(), self.grace)
        })
    }

    fn in_steps(&self, new: &Secret, hook: &dyn RotationHook) -> Result<()> {
        let (engine, kind) = (self.engine, self.kind);
        engine.give_up(kind)?;
        let owed = engine.files.store.credential(kind)?.is_some_and(|record| record.retire_at.is_some());
        if owed && hook.retires() {
            // Of two places that alternate, the one that the new value is to go to is still the last one's old value.
            engine.retire(kind, self.request_id, hook)?;
        }
        // Request ids are the caller's and may come again; this one does not.
        let id = generate_request_id();
        let digest = engine.peppers()?.digest(new.expose());
        self.change(CredentialEvent::RotationBegun, self.with_grace(), |record, operator| {
            record.begin_rotation(&id, operator, digest, world::now())
        })?;
        self.step(&id, RotationStep::Create, || hook.create(new))?;
        self.step(&id, RotationStep::Test, || hook.test(new))?;
        if hook.switches() {
            self.change(CredentialEvent::RotationSwitched, Map::new(), |record, _| {
                record.switch_rotation(&id, world::now())
            })?;
            self.step(&id, RotationStep::Switch, || hook.switch(new))?;
        }
        self.change(CredentialEvent::Rotated, self.with_grace(), |record, operator| {
            record.commit_rotation(&id, operator, world::now(), self.grace, hook.retires())
        })
    }

    /// A step of the hook; when it fails, the rotation is over and the old value stays.
    fn step(
        &self,
        id: &str,
        step: RotationStep,
        run: impl FnOnce() -> std::result::Result<(), HookFailure>,
    ) -> Result<()> {
        let Err(failure) = self.engine.run_step(run) else { return Ok(()) };
        if security_shared::fork::generation() == self.engine.generation() {
            let details = json!({"step": step, "error": failure.kind()});
            let details = details.as_object().cloned().unwrap_or_default();
            let failed = self.change(CredentialEvent::RotationFailed, details, |record, _| {
                record.fail_rotation(id, world::now())
            });
            if let Err(error) = failed {
                tracing::warn!(%error, "the failed rotation is resolved by the next one");
            }
        }
        Err(Error::RotationFailed { credential: self.kind, step, failure })
    }

    fn change(
        &self,
        event: CredentialEvent,
        details: Map<String, Value>,
        mut change: impl FnMut(
            &mut security_credentials::CredentialRecord,
            &[security_credentials::Digest],
        ) -> std::result::Result<(), security_credentials::CredentialError>,
    ) -> Result<()> {
        let changed =
            self.engine.change_credential(self.kind, event, self.request_id, details, |record, operator| {
                change(record, operator).map_err(|error| match error.code() {
                    "credential-rotation-over" => {
                        Error::RotationUnderWay { credential: self.kind, since: None }
                    }
                    _ => Error::invalid("credential_type", error),
                })
            });
        changed.map(|_| ())
    }

    fn with_grace(&self) -> Map<String, Value> {
        Map::from_iter([("grace_seconds".to_owned(), Value::from(self.grace.as_secs()))])
    }
}
