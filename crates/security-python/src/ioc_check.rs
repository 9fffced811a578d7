//! The answer of `check_ioc` as Python sees it, made directly: this is what a request waits for.

use pyo3::{
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyList, PyString},
};
use security::{IocCheck, IocMatch, IocType, ListedIoc, MatchType, Timestamp};

use crate::convert::from_json;

/// What a record became, kept with it. Nobody is given it itself, nor what in it can be changed.
struct Rendered {
    whole: Py<PyDict>,
    /// The lists of texts that are not empty, by their names.
    texts: Vec<(Py<PyString>, Py<PyList>)>,
    /// The names of those that are.
    empty: Vec<Py<PyString>>,
    sources: Vec<Py<PyDict>>,
}

impl Rendered {
    fn of(whole: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = whole.py();
        let (mut texts, mut empty) = (Vec::new(), Vec::new());
        for name in [intern!(py, "tags"), intern!(py, "related_intel_ids")] {
            match whole.get_item(name)? {
                Some(list) if list.len()? > 0 => {
                    texts.push((name.clone().unbind(), list.cast_into::<PyList>()?.unbind()));
                }
                _ => empty.push(name.clone().unbind()),
            }
        }
        let sources = match whole.get_item(intern!(py, "sources"))? {
            Some(sources) => sources.cast_into::<PyList>()?.iter(),
            None => PyList::empty(py).iter(),
        };
        let sources = sources.map(|source| Ok(source.cast_into::<PyDict>()?.unbind()));
        Ok(Self { whole: whole.clone().unbind(), texts, empty, sources: sources.collect::<PyResult<_>>()? })
    }

    /// A copy, down to everything in it that can be changed.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let copy = self.whole.bind(py).copy()?;
        for name in &self.empty {
            copy.set_item(name, PyList::empty(py))?;
        }
        for (name, list) in &self.texts {
            let list = list.bind(py);
            copy.set_item(name, list.get_slice(0, list.len()))?;
        }
        let sources = match self.sources.as_slice() {
            [one] => PyList::new(py, [one.bind(py).copy()?])?,
            many => {
                PyList::new(py, many.iter().map(|one| one.bind(py).copy()).collect::<PyResult<Vec<_>>>()?)?
            }
        };
        copy.set_item(intern!(py, "sources"), sources)?;
        Ok(copy)
    }
}

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
    // What is met at once is met at one time: its text is made once.
    let mut time: Option<(Timestamp, Bound<'py, PyString>)> = None;
    let mut all = Vec::with_capacity(met.len());
    for found in met {
        let at = match &time {
            Some((known, text)) if *known == found.match_time => text.clone(),
            _ => {
                let text = PyString::new(py, found.match_time.encode(&mut [0; Timestamp::TEXT]));
                time.insert((found.match_time, text)).1.clone()
            }
        };
        let made = PyDict::new(py);
        made.set_item(intern!(py, "ioc"), record(py, &found.ioc)?)?;
        made.set_item(intern!(py, "match_type"), match_type_name(py, found.match_type))?;
        made.set_item(intern!(py, "match_time"), at)?;
        all.push(made);
    }
    PyList::new(py, all)
}

/// How it met, as a text that is made once.
fn match_type_name(py: Python<'_>, how: MatchType) -> Bound<'_, PyString> {
    let name = match how {
        MatchType::Exact => intern!(py, "exact"),
        MatchType::Cidr => intern!(py, "cidr"),
        MatchType::Subdomain => intern!(py, "subdomain"),
        MatchType::UrlPrefix => intern!(py, "url-prefix"),
        MatchType::Host => intern!(py, "host"),
        other => return PyString::intern(py, other.as_str()),
    };
    name.clone()
}

/// A record's dictionary, for whoever asked to keep and to change.
fn record<'py>(py: Python<'py>, listed: &ListedIoc) -> PyResult<Bound<'py, PyDict>> {
    if let Some(kept) = listed.rendered::<Rendered>() {
        return kept.copy(py);
    }
    let rendered = Rendered::of(&from_json(py, listed.view())?.cast_into::<PyDict>()?)?;
    let copy = rendered.copy(py)?;
    listed.keep_rendered(rendered);
    Ok(copy)
}
