//! `security.on_rotate`: the application's functions as the steps of a rotation.

use std::sync::Arc;

use pyo3::{exceptions::PyTypeError, prelude::*};
use security::{HookFailure, RotationHook};

use crate::{
    convert::{Given, Text, seconds},
    errors::detached,
    secrets::Secret,
};

/// Says how a new value of a credential is brought to where it is used, before the old one ends.
///
/// From then on :func:`rotate_credential` of this process goes in steps. ``create(new)`` makes the value where it is
/// used, beside the old one; ``test(new)`` tries it there; ``switch(new)`` hands it to its users, while both are accepted;
/// then the new value is in force and the old one in its grace; ``retire()`` ends the old one where it was used, once the
/// grace is over: at once without grace, else at the first :func:`schedule_credential_rotation` after it, and in any
/// case before the next rotation begins. ``new`` is a :class:`Secret`.
///
/// A step that raises (or a ``test`` that gives something false other than None) ends the rotation: the old value stays
/// in force. Only the exception's class is recorded. A process may end between any two steps, so each has to be
/// repeatable: ``create`` overwrites what an earlier try left behind. A step may call this library, and no lock is held
/// meanwhile but that against a second rotation of the same credential.
///
/// :param credential_type: ``db_password`` or ``DB_PASSWORD`` and so on (``str``).
/// :param create: called with the new value; None takes the steps away.
/// :param test: likewise, or None.
/// :param switch: likewise, or None.
/// :param retire: called without arguments, or None.
/// :param grace_seconds: how long rotations that :func:`schedule_credential_rotation` does keep the old value: seconds
///     (``int``, ``float``) or ``timedelta``.
/// :returns: ``None``.
/// :raises ValueError: for an unknown type, or a grace below zero or beyond a year.
/// :raises TypeError: for a step that cannot be called, or steps without ``create``.
#[pyfunction]
#[pyo3(
    signature = (credential_type, *, create, test = None, switch = None, retire = None, grace_seconds = None),
    text_signature = "(credential_type, *, create, test=None, switch=None, retire=None, grace_seconds=0)"
)]
pub(crate) fn on_rotate(
    py: Python<'_>,
    credential_type: Given<Text>,
    create: Option<Py<PyAny>>,
    test: Option<Py<PyAny>>,
    switch: Option<Py<PyAny>>,
    retire: Option<Py<PyAny>>,
    grace_seconds: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let credential_type = credential_type.text("credential_type")?;
    let grace = grace_seconds.map(|given| seconds("grace_seconds", given)).transpose()?.unwrap_or_default();
    for (argument, step) in [("create", &create), ("test", &test), ("switch", &switch), ("retire", &retire)] {
        if let Some(step) = step.as_ref().filter(|step| !step.bind(py).is_callable()) {
            let name =
                step.bind(py).get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
            return Err(PyTypeError::new_err(format!(
                "argument '{argument}': a callable is needed, not {name}"
            )));
        }
    }
    let hook: Option<Arc<dyn RotationHook>> = match create {
        Some(create) => Some(Arc::new(Steps { create, test, switch, retire })),
        None if test.is_some() || switch.is_some() || retire.is_some() => {
            return Err(PyTypeError::new_err(
                "argument 'create': a callable is needed beside the other steps",
            ));
        }
        None => None,
    };
    detached(py, || security::on_rotate(&credential_type, hook, grace))
}

struct Steps {
    create: Py<PyAny>,
    test: Option<Py<PyAny>>,
    switch: Option<Py<PyAny>>,
    retire: Option<Py<PyAny>>,
}

impl RotationHook for Steps {
    fn create(&self, new: &security::Secret) -> Result<(), HookFailure> {
        with_secret(&self.create, new).map(drop)
    }

    fn test(&self, new: &security::Secret) -> Result<(), HookFailure> {
        let Some(test) = &self.test else { return Ok(()) };
        let answer = with_secret(test, new)?;
        let passed = Python::attach(|py| Ok(answer.is_none(py) || answer.bind(py).is_truthy()?));
        match passed.map_err(failure)? {
            true => Ok(()),
            false => Err(HookFailure::of_kind("the test gave False")),
        }
    }

    fn switches(&self) -> bool {
        self.switch.is_some()
    }

    fn switch(&self, new: &security::Secret) -> Result<(), HookFailure> {
        self.switch.as_ref().map_or(Ok(()), |switch| with_secret(switch, new).map(drop))
    }

    fn retires(&self) -> bool {
        self.retire.is_some()
    }

    fn retire(&self) -> Result<(), HookFailure> {
        let Some(retire) = &self.retire else { return Ok(()) };
        Python::attach(|py| retire.call0(py)).map(drop).map_err(failure)
    }
}

fn with_secret(step: &Py<PyAny>, new: &security::Secret) -> Result<Py<PyAny>, HookFailure> {
    Python::attach(|py| step.call1(py, (Secret::of_text(new),))).map_err(failure)
}

fn failure(error: PyErr) -> HookFailure {
    let kind = Python::attach(|py| error.get_type(py).name().map(|name| name.to_string()));
    HookFailure::of_kind(&kind.unwrap_or_else(|_| "an exception".to_owned())).because(error)
}
