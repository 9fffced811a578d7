//! The headers of a response, merged into those of an application: as `str` for WSGI, as `bytes` for ASGI.
//!
//! The policy's headers are the same for every response of a kind, so their Python objects are made once and
//! handed out again; a response costs one list.

use std::sync::{Arc, Mutex};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyList, PyString, PyTuple},
};
use security::{Header, RequestState, ResponseHeaders};

use crate::convert::utf8;

const REQUEST_ID: &str = "X-Request-ID";

/// What a gateway takes for a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Pairs of `str`, as PEP 3333 has them.
    Wsgi,
    /// Pairs of `bytes`, names in lower case, as ASGI has them.
    Asgi,
}

impl Form {
    fn pair<'py>(self, py: Python<'py>, name: &str, value: &str) -> PyResult<Bound<'py, PyTuple>> {
        match self {
            Self::Wsgi => (PyString::new(py, name), PyString::new(py, value)).into_pyobject(py),
            Self::Asgi => {
                let name = name.to_ascii_lowercase();
                (PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value.as_bytes())).into_pyobject(py)
            }
        }
    }
}

/// The application's headers, those of the policy and of the decision that it did not set itself, and the id,
/// which is ours whatever the application says: it is what the log knows the request by.
pub(crate) fn merged<'py>(
    py: Python<'py>,
    form: Form,
    state: &RequestState,
    given: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    let authenticated = state.was_key_judged();
    let of_policy = state.policy_headers(authenticated);
    let of_decision = &state.decision().headers;
    let merged = PyList::empty(py);
    let mut own = Own::default();
    for header in given.try_iter()? {
        let header = header?;
        let name = header.get_item(0)?;
        let is_id = with_name(&name, |name| {
            own.note(name, of_policy, of_decision);
            name.eq_ignore_ascii_case(REQUEST_ID.as_bytes())
        });
        if !is_id {
            merged.append(header)?;
        }
    }
    for (at, pair) in pairs_of_policy(py, form, state, authenticated)?.iter().enumerate() {
        if !own.has(at) {
            merged.append(pair)?;
        }
    }
    for (at, (name, value)) in of_decision.iter().enumerate() {
        if !own.has(of_policy.len() + at) {
            merged.append(form.pair(py, name, value)?)?;
        }
    }
    merged.append(form.pair(py, REQUEST_ID, state.request_id())?)?;
    Ok(merged)
}

/// Which of our headers the application set itself, a bit each: there are never as many as bits.
#[derive(Debug, Default)]
struct Own(u64);

impl Own {
    fn note(&mut self, name: &[u8], of_policy: &[Header], of_decision: &[Header]) {
        let ours = of_policy.iter().chain(of_decision).take(64);
        for (at, (known, _)) in ours.enumerate() {
            if known.as_bytes().eq_ignore_ascii_case(name) {
                self.0 |= 1 << at;
            }
        }
    }

    fn has(&self, at: usize) -> bool {
        at < 64 && self.0 & (1 << at) != 0
    }
}

/// What is neither text nor bytes is no name; the server will say so.
fn with_name<T: Default>(name: &Bound<'_, PyAny>, then: impl FnOnce(&[u8]) -> T) -> T {
    if let Ok(text) = name.cast::<PyString>() {
        then(utf8(text).as_bytes())
    } else if let Ok(bytes) = name.cast::<PyBytes>() {
        then(bytes.as_bytes())
    } else {
        T::default()
    }
}

/// A policy's headers as Python objects, once made.
#[derive(Debug)]
struct Made {
    policy: Arc<ResponseHeaders>,
    kind: (Form, bool, bool),
    pairs: Py<PyTuple>,
}

/// Eight kinds a policy; a process with many policies of its own makes the rarer ones again.
static MADE: Mutex<Vec<Made>> = Mutex::new(Vec::new());
const MOST_MADE: usize = 32;

fn pairs_of_policy<'py>(
    py: Python<'py>,
    form: Form,
    state: &RequestState,
    authenticated: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let policy = state.header_policy();
    let kind = (form, state.is_https(), authenticated);
    // Nothing below waits: whoever holds the lock holds the interpreter's too.
    if let Ok(made) = MADE.try_lock()
        && let Some(known) = made.iter().find(|made| made.kind == kind && Arc::ptr_eq(&made.policy, policy))
    {
        return Ok(known.pairs.bind(py).clone());
    }
    let headers = state.policy_headers(authenticated).iter();
    let pairs = headers.map(|(name, value)| form.pair(py, name, value)).collect::<PyResult<Vec<_>>>()?;
    let pairs = PyTuple::new(py, pairs)?;
    let dropped = MADE.try_lock().ok().and_then(|mut made| {
        let oldest = (made.len() >= MOST_MADE).then(|| made.remove(0));
        made.push(Made { policy: policy.clone(), kind, pairs: pairs.clone().unbind() });
        oldest
    });
    drop(dropped); // with the lock given back: freeing an object may run other code
    Ok(pairs)
}
