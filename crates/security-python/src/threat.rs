//! `security.modules.threat`: indicators in text, look-ups, rules, detection.

use std::{borrow::Cow, path::PathBuf};

use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString},
};
use security::{RuleDraft, Warned};
use serde_json::{Map, Value};

use crate::{
    convert::{Given, Text, Texts, answer, code_points, optional, to_json, to_python, utf8},
    errors::detached,
    warninglists::warned,
};

/// Tells what kind of indicator a value is.
///
/// :param value: the value, defanged or not (``str``).
/// :returns: the kind's name (``str``): ``ip``, ``cidr``, ``domain``, ``url``, ``email``, ``sha256`` and so on, or None.
/// :raises TypeError: if it is no ``str``.
#[pyfunction]
pub(crate) fn identify_ioc_type(value: Given<Text>) -> PyResult<Option<&'static str>> {
    let value = value.text("value")?;
    Ok(security::identify_ioc_type(&value))
}

/// Finds indicators in a text, defanged ones among them, in one pass.
///
/// :param text: ``str`` or ``bytes`` (UTF-8; other bytes end a word).
/// :param types: only these kinds (``list`` of ``str``).
/// :param limit: the most results (``int``), 1 or more; None is all.
/// :param warninglists: what becomes of indicators that are on a warninglist (``str``): ``keep``, ``flag`` (each entry then
///     has ``warnings``, as :func:`check_warninglists` gives them) or ``drop``.
/// :returns: ``list`` of ``dict`` in order: ``type``, ``value`` (canonical), ``original`` (as it stands in the text),
///     ``context`` (the text around, all ``str``), ``start`` and ``end`` (``int``: characters of a ``str``, bytes of
///     ``bytes``; ``text[start:end]`` is ``original``), ``defanged`` (``bool``).
/// :raises TypeError: if ``text`` is neither.
/// :raises ValueError: for an unknown type, a limit below 1, or a text beyond 64 MiB.
/// :raises StoreError: when the warninglists are asked and cannot be read.
#[pyfunction]
#[pyo3(
    signature = (text, types = None, limit = None, *, warninglists = Given::of(Text("keep".to_owned()))),
    text_signature = "(text, types=None, limit=None, *, warninglists='keep')"
)]
pub(crate) fn extract_iocs<'py>(
    py: Python<'py>,
    text: &Bound<'py, PyAny>,
    types: Option<Given<Texts>>,
    limit: Option<Given<i64>>,
    warninglists: Given<Text>,
) -> PyResult<Bound<'py, PyList>> {
    let types = optional("types", types, Given::texts)?;
    let limit = optional("limit", limit, Given::limit)?;
    let warned = warned(py, warninglists)?;
    let words = Words::of(text)?;
    let found = detached(py, || {
        let mut found = match warned {
            // Needs no store.
            Warned::Keep => security::extract_iocs(&words.text, types.as_deref(), limit)?,
            warned => security::current()?.extract_warned(&words.text, types.as_deref(), limit, warned)?,
        };
        words.place(found.iter_mut());
        Ok(found)
    })?;
    let list = PyList::empty(py);
    for ioc in found {
        list.append(found_entry(py, &ioc)?)?;
    }
    Ok(list)
}

/// A text to look through, and how places in it count.
pub(crate) struct Words<'a> {
    pub(crate) text: Cow<'a, str>,
    counts_bytes: bool,
}

impl<'a> Words<'a> {
    pub(crate) fn of(given: &'a Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = given.cast::<PyString>() {
            return Ok(Self { text: utf8(text), counts_bytes: false });
        }
        if let Ok(bytes) = given.cast::<PyBytes>() {
            return Ok(Self { text: utf8_of_bytes(bytes.as_bytes()), counts_bytes: true });
        }
        Err(PyTypeError::new_err("argument 'text': a str or bytes is needed"))
    }

    /// Turns places that the engine counted in bytes of UTF-8 into the caller's.
    pub(crate) fn place<'f>(&self, found: impl Iterator<Item = &'f mut security::ExtractedIoc>) {
        if self.counts_bytes {
            return;
        }
        let mut found: Vec<_> = found.collect();
        let mut offsets: Vec<usize> = found.iter().flat_map(|ioc| [ioc.start, ioc.end]).collect();
        code_points(&self.text, &mut offsets);
        for (ioc, place) in found.iter_mut().zip(offsets.chunks_exact(2)) {
            (ioc.start, ioc.end) = (place[0], place[1]);
        }
    }
}

/// What was found, as a `dict`. Not through JSON: a log gives thousands of these.
pub(crate) fn found_entry<'py>(
    py: Python<'py>,
    ioc: &security::ExtractedIoc,
) -> PyResult<Bound<'py, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item(intern!(py, "type"), PyString::intern(py, ioc.kind.as_str()))?;
    entry.set_item(intern!(py, "value"), &ioc.value)?;
    entry.set_item(intern!(py, "original"), &ioc.original)?;
    entry.set_item(intern!(py, "context"), &ioc.context)?;
    entry.set_item(intern!(py, "start"), ioc.start)?;
    entry.set_item(intern!(py, "end"), ioc.end)?;
    entry.set_item(intern!(py, "defanged"), ioc.defanged)?;
    if let Some(warnings) = &ioc.warnings {
        entry.set_item(intern!(py, "warnings"), to_python(py, warnings)?)?;
    }
    Ok(entry)
}

/// Bytes as text of the same length: what is no UTF-8 becomes SUB (U+001A), which ends every indicator.
fn utf8_of_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(std::iter::repeat_n('\u{1a}', chunk.invalid().len()));
    }
    Cow::Owned(text)
}

/// Makes the indicators in a text harmless to click: ``evil.example`` becomes ``evil[.]example``.
///
/// :param text: ``str``.
/// :returns: ``str``; :func:`refang` gives the text back.
/// :raises TypeError: if it is no ``str``.
#[pyfunction]
pub(crate) fn defang(py: Python<'_>, text: Given<Text>) -> PyResult<String> {
    let text = text.text("text")?;
    detached(py, || Ok(security::defang(&text)))
}

/// Undoes :func:`defang` and the other ways of writing indicators down harmlessly.
///
/// :param text: ``str``.
/// :returns: ``str``.
/// :raises TypeError: if it is no ``str``.
#[pyfunction]
pub(crate) fn refang(py: Python<'_>, text: Given<Text>) -> PyResult<String> {
    let text = text.text("text")?;
    detached(py, || Ok(security::refang(&text).into_owned()))
}

/// Looks a value up in everything that is known.
///
/// :param value: the value, defanged or not (``str``).
/// :param ioc_type: its kind (``str``); identified when None.
/// :returns: :class:`ThreatLookup`, true when listed: ``value``, ``type``, ``found``, ``score`` and ``confidence`` (0 to
///     100), ``severity``, ``source``, ``sources``, ``first_seen``, ``last_seen``, ``matches``, ``tags``.
/// :raises ValueError: for a value that is no indicator of that kind.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (value, ioc_type = None))]
pub(crate) fn check_threat_intelligence(
    py: Python<'_>,
    value: Given<Text>,
    ioc_type: Option<Given<Text>>,
) -> PyResult<Bound<'_, PyAny>> {
    let value = value.text("value")?;
    let ioc_type = optional("ioc_type", ioc_type, Given::text)?;
    let kind = ioc_type;
    let found = detached(py, || security::current()?.check_threat_intelligence(&value, kind.as_deref()))?;
    answer(py, "ThreatLookup", &found)
}

/// Makes a rule, stores it as a file in ``threat_rules/`` and puts it in force in every process at once.
///
/// :param name: ``str``.
/// :param description: ``str``.
/// :param detection: ``dict`` with ``pattern`` (a regular expression; with a dotted ``field``), ``ioc`` (``type`` and
///     ``value``: an address, a network, a domain, ``*`` as wildcard), ``condition`` (``field`` with ``contains``,
///     ``equals`` and so on), joined by ``all``, ``any``, ``not``; what stands side by side must hold together.
/// :param severity: ``critical``, ``high``, ``medium``, ``low`` or ``info`` (``str``): score 80, 60, 40, 20, 0.
/// :param tags: ``list`` of ``str``.
/// :param recommendations: what to do about it (``list`` of ``str``).
/// :returns: ``dict``: ``id``, ``name``, ``description``, ``detection``, ``severity``, ``score``, ``tags``,
///     ``recommendations``, ``enabled``, ``created_at``, ``file``.
/// :raises ValueError: names the field of the rule and what it takes.
/// :raises StoreError: when the file cannot be written.
#[pyfunction]
#[pyo3(
    signature = (name, description, detection, severity = Given::of(Text("medium".to_owned())), tags = None, recommendations = None),
    text_signature = "(name, description, detection, severity='medium', tags=None, recommendations=None)"
)]
pub(crate) fn create_threat_rule<'py>(
    py: Python<'py>,
    name: Given<Text>,
    description: Given<Text>,
    detection: Given<Bound<'py, PyDict>>,
    severity: Given<Text>,
    tags: Option<Given<Texts>>,
    recommendations: Option<Given<Texts>>,
) -> PyResult<Bound<'py, PyAny>> {
    let name = name.text("name")?;
    let description = description.text("description")?;
    let severity = severity.text("severity")?;
    let tags = optional("tags", tags, Given::texts)?;
    let recommendations = optional("recommendations", recommendations, Given::texts)?;
    let draft = RuleDraft {
        name,
        description,
        detection: Value::Object(detection.map("detection")?),
        severity,
        tags: tags.unwrap_or_default(),
        recommendations: recommendations.unwrap_or_default(),
    };
    let rule = detached(py, || security::current()?.create_threat_rule(draft))?;
    to_python(py, &rule)
}

/// Tries a rule on events; nothing is stored or recorded.
///
/// :param rule: ``dict`` as :func:`create_threat_rule` gives it, or as it stands in a file.
/// :param events: ``list`` of events, each any JSON; a ``str`` counts as ``{"message": text}``.
/// :returns: ``list`` of ``dict``, one for each event: ``event`` (its place, from 0), ``matched`` (``bool``), ``evidence``.
/// :raises ValueError: names the field of the rule and what it takes.
#[pyfunction]
pub(crate) fn test_rule<'py>(
    py: Python<'py>,
    rule: &Bound<'py, PyAny>,
    events: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let rule = to_json("rule", rule)?;
    let Value::Array(events) = to_json("events", events)? else {
        return Err(PyTypeError::new_err("argument 'events': a list is needed"));
    };
    let trials = detached(py, || security::current()?.test_rule(&rule, &events))?;
    to_python(py, &trials)
}

/// Looks at a request as a whole: rules, and every indicator that stands in it. Alerts are recorded.
///
/// :param request_data: what is known of the request, usually a ``dict`` (``path``, ``headers``, ``body``, …).
/// :param request_id: recorded with the alerts (``str``); made when None.
/// :returns: :class:`ThreatReport`, true when anything was detected: ``detected``, ``request_id``, ``score`` (0 to 100),
///     ``severity``, ``threats`` (alerts), ``iocs`` (checks that matched, 256 at most), ``recommendations``, ``truncated``
///     (``bool``: the request was too large to be looked at whole, which counts as a detection of severity ``low``).
/// :raises TypeError: for data that is no JSON.
/// :raises StoreError: when rules or indicators cannot be read.
#[pyfunction]
#[pyo3(signature = (request_data, request_id = None))]
pub(crate) fn detect_threats<'py>(
    py: Python<'py>,
    request_data: &Bound<'py, PyAny>,
    request_id: Option<Given<Text>>,
) -> PyResult<Bound<'py, PyAny>> {
    let request_id = optional("request_id", request_id, Given::text)?;
    let data = to_json("request_data", request_data)?;
    let request_id = request_id.unwrap_or_else(security::generate_request_id);
    let report = detached(py, || security::current()?.detect_threats(&data, &request_id))?;
    answer(py, "ThreatReport", &report)
}

/// Runs events through the rules. It holds nothing itself: every instance shares the engine's rules and alerts.
#[pyclass(frozen, subclass, module = "security._security")]
#[derive(Debug)]
pub(crate) struct ThreatDetector;

#[pymethods]
impl ThreatDetector {
    #[new]
    fn new() -> Self {
        Self
    }

    /// Reads the rules again; with a folder, its rules are in force in this process as well from now on.
    ///
    /// :param rules_dir: a folder of ``.json``, ``.yml`` and ``.yaml`` files (``str`` or path-like).
    /// :returns: ``dict``: ``loaded`` (``int``: rules in force), ``problems`` (``list`` of ``{file, code, problem}``).
    /// :raises ValueError: if the folder does not exist.
    /// :raises StoreError: when it cannot be read.
    #[pyo3(signature = (rules_dir = None))]
    fn load_rules<'py>(
        &self,
        py: Python<'py>,
        rules_dir: Option<Given<PathBuf>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let rules_dir = optional("rules_dir", rules_dir, Given::value)?;
        let load = detached(py, || security::current()?.load_rules(rules_dir.as_deref()))?;
        to_python(py, &load)
    }

    /// Runs an event through the rules in force and records the alerts.
    ///
    /// :param data: any JSON, usually a ``dict``; a ``str`` counts as ``{"message": text}``.
    /// :param context: what is kept with the alerts (``dict``).
    /// :returns: ``list`` of alerts: ``id``, ``timestamp`` (RFC 3339), ``rule_id``, ``rule_name``, ``severity``, ``score``
    ///     (``int``), ``description``, ``evidence``, ``tags``, ``recommendations``, ``context``.
    /// :raises TypeError: for data that is no JSON.
    /// :raises StoreError: when the rules cannot be read.
    #[pyo3(signature = (data, context = None))]
    fn analyze<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        context: Option<Given<Bound<'py, PyDict>>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let event = to_json("data", data)?;
        let context: Map<String, Value> = optional("context", context, Given::map)?.unwrap_or_default();
        let alerts = detached(py, || security::current()?.analyze(&event, &context))?;
        to_python(py, &alerts)
    }

    /// Gives the newest alerts of all processes.
    ///
    /// :param severity: only alerts of this severity (``str``).
    /// :param limit: the most alerts (``int``), 1 or more.
    /// :returns: ``list`` of alerts as :meth:`analyze` gives them, newest first.
    /// :raises ValueError: for an unknown severity or a limit below 1.
    /// :raises StoreError: when they cannot be read.
    #[pyo3(signature = (severity = None, limit = Given::of(10)), text_signature = "($self, severity=None, limit=10)")]
    fn get_recent_alerts<'py>(
        &self,
        py: Python<'py>,
        severity: Option<Given<Text>>,
        limit: Given<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let severity = optional("severity", severity, Given::text)?;
        let limit = limit.limit("limit")?;
        let alerts = detached(py, || security::current()?.recent_alerts(severity.as_deref(), limit))?;
        to_python(py, &alerts)
    }
}
