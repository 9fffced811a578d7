//! The answer of `check_ioc` as Python sees it, made directly: this is what a request waits for.

use pyo3::{
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyList, PyString},
};
use security::{IocCheck, IocMatch, IocType, ListedIoc};

use crate::convert::from_json;

/// What a record became, kept with it. Nobody is given it itself: it is theirs to change.
struct Rendered(Py<PyDict>);

/// As a `security.answers.IocCheck`.
pub(crate) fn to_python<'py>(py: Python<'py>, check: &IocCheck) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS
        .get_or_try_init(py, || PyResult::Ok(py.import("security.answers")?.getattr("IocCheck")?.unbind()))?;
    let made = class.bind(py).call0()?;
    let answer = made.cast::<PyDict>()?;
    answer.set_item(intern!(py, "value"), &check.value)?;
    answer.set_item(intern!(py, "type"), kind_name(py, check.kind))?;
    answer.set_item(intern!(py, "matched"), check.matched)?;
    answer.set_item(intern!(py, "count"), check.count)?;
    answer.set_item(intern!(py, "matches"), matches(py, &check.matches)?)?;
    Ok(made)
}

/// A kind's name; made once, since every answer has one.
fn kind_name(py: Python<'_>, kind: IocType) -> &Bound<'_, PyString> {
    static NAMES: PyOnceLock<Vec<Py<PyString>>> = PyOnceLock::new();
    let names = NAMES.get_or_init(py, || {
        IocType::ALL.iter().map(|kind| PyString::intern(py, kind.as_str()).unbind()).collect()
    });
    names[kind as usize].bind(py)
}

/// What was met, as a list of `{ioc, match_type, match_time}`.
pub(crate) fn matches<'py>(py: Python<'py>, met: &[IocMatch]) -> PyResult<Bound<'py, PyList>> {
    let matches = PyList::empty(py);
    for found in met {
        matches.append(one(py, found)?)?;
    }
    Ok(matches)
}

fn one<'py>(py: Python<'py>, found: &IocMatch) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    made.set_item(intern!(py, "ioc"), record(py, &found.ioc)?)?;
    made.set_item(intern!(py, "match_type"), PyString::intern(py, found.match_type.as_str()))?;
    made.set_item(intern!(py, "match_time"), found.match_time.to_string())?;
    Ok(made)
}

/// A copy of the record, down to everything in it that can be changed.
fn record<'py>(py: Python<'py>, listed: &ListedIoc) -> PyResult<Bound<'py, PyDict>> {
    if listed.rendered::<Rendered>().is_none() {
        let rendered = from_json(py, listed.view())?.cast_into::<PyDict>()?;
        listed.keep_rendered(Rendered(rendered.unbind()));
    }
    let Some(Rendered(kept)) = listed.rendered() else {
        return Ok(from_json(py, listed.view())?.cast_into()?);
    };
    let copy = kept.bind(py).copy()?;
    // Lists of what cannot be changed.
    for name in [intern!(py, "tags"), intern!(py, "related_intel_ids")] {
        if let Some(list) = copy.get_item(name)? {
            let list = list.cast_into::<PyList>()?;
            copy.set_item(name, list.get_slice(0, list.len()))?;
        }
    }
    if let Some(sources) = copy.get_item(intern!(py, "sources"))? {
        let copies = PyList::empty(py);
        for source in sources.cast_into::<PyList>()? {
            copies.append(source.cast_into::<PyDict>()?.copy()?)?;
        }
        copy.set_item(intern!(py, "sources"), copies)?;
    }
    Ok(copy)
}
