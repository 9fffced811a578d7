//! What the engine answers when it cannot, as Python exceptions: the one place that translates.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::{
    exceptions::{PyException, PyValueError},
    prelude::*,
    sync::PyOnceLock,
    types::PyType,
};
use security::{Coded, Error};

/// Runs `work` in the engine without the interpreter lock.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> security::Result<T> + Send,
) -> PyResult<T> {
    py.detach(|| caught(work)).map_err(|failure| failure.raise(py))
}

/// Runs `work` in the engine with the interpreter lock held: for what takes a microsecond, where giving the
/// lock away could cost milliseconds to get it back.
pub(crate) fn attached<T>(py: Python<'_>, work: impl FnOnce() -> security::Result<T>) -> PyResult<T> {
    caught(work).map_err(|failure| failure.raise(py))
}

/// Runs a check of a key: it takes a microsecond, but for imported keys whose hash is slow.
///
/// The engine is the caller's to keep until its answer is made: letting it go waits until the record of the use, which
/// was written last, has left this processor.
pub(crate) fn checked<T: Send>(
    py: Python<'_>,
    engine: &security::Engine,
    work: impl FnOnce(&security::Engine) -> security::Result<T> + Send,
) -> PyResult<T> {
    match engine.may_hash_slowly() {
        true => detached(py, || work(engine)),
        false => attached(py, || work(engine)),
    }
}

/// Why there is no result.
#[derive(Debug)]
enum Failure {
    Refused(Error),
    Panicked,
}

/// A panic is our mistake, but no reason to end the application: Python sees a `SecurityError`. (What PyO3
/// would raise is no `Exception`, so that no handler of an application would catch it.)
fn caught<T>(work: impl FnOnce() -> security::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(Failure::Refused),
        Err(_) => Err(Failure::Panicked),
    }
}

impl Failure {
    fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Refused(error) => raise(py, &error),
            Self::Panicked => coded(
                py,
                "SecurityError",
                "the engine failed unexpectedly",
                "internal",
                Some("standard error says where; please report it"),
            ),
        }
    }
}

/// The exception for an error of the engine.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::Invalid { .. } => return PyValueError::new_err(error.to_string()),
        Error::Configuration(_) => "ConfigurationError",
        Error::NotFound { .. } | Error::SecretEnded { .. } => "NotFoundError",
        Error::Store(_) => "StoreError",
        Error::Taxii(_) => "TaxiiError",
        Error::RotationFailed { failure, .. } => {
            let raised =
                coded(py, "SecurityError", &error.to_string(), error.code(), error.hint().as_deref());
            return match failure.cause().and_then(|cause| cause.downcast_ref::<PyErr>()) {
                // Ctrl-C and the like are no failure of the step, and nobody's error to handle.
                Some(cause) if !cause.is_instance_of::<PyException>(py) => cause.clone_ref(py),
                cause => {
                    raised.set_cause(py, cause.map(|cause| cause.clone_ref(py)));
                    raised
                }
            };
        }
        _ => "SecurityError",
    };
    coded(py, class, &error.to_string(), error.code(), error.hint().as_deref())
}

fn coded(py: Python<'_>, class: &str, message: &str, code: &str, hint: Option<&str>) -> PyErr {
    let made = exception(py, class).and_then(|class| {
        let message = hint.map_or_else(|| message.to_owned(), |hint| format!("{message} (hint: {hint})"));
        let error = class.call1((message,))?;
        error.setattr("code", code)?;
        error.setattr("hint", hint)?;
        Ok(error)
    });
    made.map_or_else(|trouble| trouble, PyErr::from_value)
}

/// The classes are written in Python, where people read and catch them.
fn exception<'py>(py: Python<'py>, class: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let module =
        MODULE.get_or_try_init(py, || PyResult::Ok(py.import("security.errors")?.into_any().unbind()))?;
    let class = module.bind(py).getattr(class)?;
    debug_assert!(class.cast::<PyType>().is_ok(), "security.errors holds classes");
    Ok(class)
}
