//! `security.modules.threat`: indicators in text, look-ups, rules, detection.

use std::path::PathBuf;

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyDict};
use security::RuleDraft;
use serde_json::{Map, Value};

use crate::{
    convert::{Given, Text, Texts, answer, optional, to_json, to_python},
    errors::detached,
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
