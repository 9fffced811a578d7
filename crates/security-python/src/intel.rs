//! `security.modules.intel`: indicators, intelligence records, correlation, reports, feeds.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBytes, PyList, PyString},
};
use security::{ExportFilter, ImportOptions, IocDraft, SearchRequest};
use serde_json::{Value, json};

use crate::{
    convert::{Given, SharedText, SharedTexts, Text, Texts, named, optional, to_json, to_python, utf8},
    errors::{attached, detached},
    extraction::{Words, found_entry},
    ioc_check,
    setup::optional_json,
    warninglists::warned,
};

/// Adds one source's word on an indicator of compromise.
///
/// The same value again is merged: sources side by side, the highest confidence, the latest sight.
///
/// :param ioc_type: the kind (``str``): ``ip``, ``cidr``, ``domain``, ``url``, ``email``, ``sha256`` and so on.
/// :param value: the value, defanged or not (``str``).
/// :param source: who says so (``str``).
/// :param confidence: how sure that is (``int``), 0 to 100.
/// :param description: ``str``, at most 8 KiB.
/// :param tags: ``list`` of ``str``.
/// :param related_intel_ids: intelligence records it belongs to (``list`` of ``str``).
/// :returns: ``dict`` of the record: ``id``, ``type``, ``value``, ``source``, ``sources``, ``confidence``, ``description``,
///     ``tags``, ``related_intel_ids``, ``first_seen``, ``last_seen``, ``created_at``, ``updated_at`` (RFC 3339),
///     ``sightings``, ``valid_until``, ``active``.
/// :raises ValueError: names the argument and what is accepted.
/// :raises StoreError: when it cannot be stored.
#[pyfunction]
#[pyo3(
    signature = (ioc_type, value, source, confidence, description = Given::of(Text(String::new())), tags = None, related_intel_ids = None),
    text_signature = "(ioc_type, value, source, confidence, description='', tags=None, related_intel_ids=None)"
)]
#[expect(clippy::too_many_arguments, reason = "the document's own signature")]
pub(crate) fn add_ioc<'py>(
    py: Python<'py>,
    ioc_type: Given<Text>,
    value: Given<Text>,
    source: Given<Text>,
    confidence: Given<i64>,
    description: Given<Text>,
    tags: Option<Given<Texts>>,
    related_intel_ids: Option<Given<Texts>>,
) -> PyResult<Bound<'py, PyAny>> {
    let ioc_type = ioc_type.text("ioc_type")?;
    let value = value.text("value")?;
    let source = source.text("source")?;
    let confidence = confidence.value("confidence")?;
    let description = description.text("description")?;
    let tags = optional("tags", tags, Given::texts)?;
    let related_intel_ids = optional("related_intel_ids", related_intel_ids, Given::texts)?;
    let draft = IocDraft {
        ioc_type,
        value,
        source,
        confidence,
        description,
        tags: tags.unwrap_or_default(),
        related_intel_ids: related_intel_ids.unwrap_or_default(),
    };
    let record = detached(py, || security::current()?.add_ioc(draft))?;
    to_python(py, &record)
}

/// Says whether a value is listed: itself, its network, its parent domain, the host or the beginning of its URL.
///
/// :param ioc_type: the kind (``str``).
/// :param value: the value, defanged or not (``str``).
/// :returns: :class:`IocCheck`, true when something matched: ``value``, ``type``, ``matched``, ``count``, ``matches``
///     (``list`` of ``{ioc, match_type, match_time}``, closest first; ``match_type`` is ``exact``, ``cidr``,
///     ``subdomain``, ``url-prefix`` and so on).
/// :raises ValueError: for a value that is no indicator of that kind.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
pub(crate) fn check_ioc(
    py: Python<'_>,
    ioc_type: Given<SharedText>,
    value: Given<SharedText>,
) -> PyResult<Bound<'_, PyAny>> {
    let (ioc_type, value) = (ioc_type.value("ioc_type")?, value.value("value")?);
    let (ioc_type, value) = (ioc_type.as_ref(), value.as_ref());
    // A few microseconds, which giving the interpreter lock away would double; the store is asked without it.
    let at_hand = attached(py, || security::current()?.check_ioc_at_hand(ioc_type, value))?;
    let check = match at_hand {
        Some(check) => check,
        None => detached(py, || security::current()?.check_ioc(ioc_type, value))?,
    };
    ioc_check::to_python(py, &check)
}

/// Does :func:`check_ioc` for many values of one kind, on all cores when they are very many.
///
/// :param ioc_type: the kind (``str``).
/// :param values: ``list`` of ``str``, or another iterable of them.
/// :param matched_only: give the listed ones alone (``bool``): a value that is not listed then costs a look-up and no
///     Python object.
/// :returns: ``list`` of :class:`IocCheck`, in the order of the values; with ``matched_only`` each has ``index`` (``int``),
///     its place among them from 0.
/// :raises ValueError: for the first value that is no indicator of that kind.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (ioc_type, values, matched_only = Given::of(false)), text_signature = "(ioc_type, values, matched_only=False)")]
pub(crate) fn check_iocs<'py>(
    py: Python<'py>,
    ioc_type: Given<Text>,
    values: Given<SharedTexts>,
    matched_only: Given<bool>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let ioc_type = ioc_type.text("ioc_type")?;
    let SharedTexts(values) = values.value("values")?;
    if !matched_only.value("matched_only")? {
        let checks = detached(py, || security::current()?.check_iocs(&ioc_type, &values))?;
        return checks.iter().map(|check| ioc_check::to_python(py, check)).collect();
    }
    let met = detached(py, || security::current()?.matched_iocs(&ioc_type, &values))?;
    let with_index = |met: &security::Met| {
        let answer = ioc_check::to_python(py, &met.check)?;
        answer.set_item("index", met.index)?;
        Ok(answer)
    };
    met.iter().map(with_index).collect()
}

/// Finds the listed indicators in a text, defanged ones among them: extraction and look-up in one pass.
///
/// :param text: ``str`` or ``bytes`` (UTF-8; other bytes end a word).
/// :param types: only these kinds (``list`` of ``str``).
/// :param limit: the most results (``int``), 1 or more; None is all.
/// :param warninglists: ``keep``, ``flag`` or ``drop`` (``str``), as in :func:`extract_iocs`.
/// :returns: ``list`` of ``dict`` in order: what :func:`extract_iocs` gives of each (``type``, ``value``, ``original``,
///     ``context``, ``start``, ``end``, ``defanged``), and ``matches`` as of :func:`check_ioc`. What is not listed is not
///     among them.
/// :raises TypeError: if ``text`` is neither.
/// :raises ValueError: for an unknown type or a limit below 1.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(
    signature = (text, types = None, limit = None, *, warninglists = Given::of(Text("keep".to_owned()))),
    text_signature = "(text, types=None, limit=None, *, warninglists='keep')"
)]
pub(crate) fn scan_text<'py>(
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
    let listed = detached(py, || {
        let mut listed = security::current()?.scan_text(&words.text, types.as_deref(), limit, warned)?.listed;
        words.place(listed.iter_mut().map(|met| &mut met.found));
        Ok(listed)
    })?;
    let list = PyList::empty(py);
    for met in listed {
        let entry = found_entry(py, &met.found)?;
        entry.set_item("matches", ioc_check::matches(py, &met.matches)?)?;
        list.append(entry)?;
    }
    Ok(list)
}

/// Finds indicators and intelligence records alike.
///
/// :param query: ``dict`` with dotted keys; all must hold: ``{"type": "ip"}``, ``{"data.author": "mal*"}``,
///     ``{"tags": ["a", "b"]}`` (any of these).
/// :param source_type: only records of this source type (``str``); leaves indicators out.
/// :param priority_level: only records of this priority (``str``); leaves indicators out.
/// :param tags: any of these (``list`` of ``str``).
/// :param text: words that stand anywhere, all of them (``str``).
/// :param limit: the most results (``int``), 1 to 10,000.
/// :returns: ``list`` of ``dict``, each with ``kind`` (``ioc`` or ``intel``), newest first. When there are more than
///     ``limit``, each kind has half of the places if it can fill them.
/// :raises ValueError: names the argument and what is accepted.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (query = None, source_type = None, priority_level = None, tags = None, text = None, limit = Given::of(100)), text_signature = "(query=None, source_type=None, priority_level=None, tags=None, text=None, limit=100)")]
pub(crate) fn search_intelligence<'py>(
    py: Python<'py>,
    query: Option<&Bound<'py, PyAny>>,
    source_type: Option<Given<Text>>,
    priority_level: Option<Given<Text>>,
    tags: Option<Given<Texts>>,
    text: Option<Given<Text>>,
    limit: Given<i64>,
) -> PyResult<Bound<'py, PyAny>> {
    let source_type = optional("source_type", source_type, Given::text)?;
    let priority_level = optional("priority_level", priority_level, Given::text)?;
    let tags = optional("tags", tags, Given::texts)?;
    let text = optional("text", text, Given::text)?;
    let limit = limit.limit("limit")?;
    let request = SearchRequest {
        query: optional_json("query", query)?,
        source_type,
        priority_level,
        tags: tags.unwrap_or_default(),
        text,
        limit,
    };
    let records = detached(py, || security::current()?.search_intelligence(&request))?;
    to_python(py, &records)
}

/// Files a piece of intelligence: finds what it is about and which indicators stand in it, and stores it.
///
/// :param data: any JSON, usually a ``dict`` or the text itself (``str``).
/// :param source_type: ``forums``, ``marketplaces``, ``paste_sites``, ``social_media``, ``dark_web``,
///     ``code_repositories``, ``leaked_databases``, ``other``, ``taxii:…`` or ``feed:…`` (``str``).
/// :param priority_level: ``Critical``, ``High``, ``Medium`` or ``Low`` (``str``).
/// :returns: ``dict``: ``id``, ``data``, ``metadata`` (``source_type``, ``priority_level``, ``tags``, ``categories``,
///     ``created_at``, ``ioc_count``), ``iocs`` (``list`` of ``{type, value}``) and more.
/// :raises ValueError: names the argument and what is accepted.
/// :raises TypeError: for data that is no JSON.
/// :raises StoreError: when it cannot be stored.
#[pyfunction]
pub(crate) fn categorize_intelligence<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    source_type: Given<Text>,
    priority_level: Given<Text>,
) -> PyResult<Bound<'py, PyAny>> {
    let source_type = source_type.text("source_type")?;
    let priority_level = priority_level.text("priority_level")?;
    let data = to_json("data", data)?;
    let record =
        detached(py, || security::current()?.categorize_intelligence(data, &source_type, &priority_level))?;
    to_python(py, &record)
}

/// Reads one intelligence record.
///
/// :param intel_id: its id (``str``).
/// :returns: ``dict`` as :func:`categorize_intelligence` gives it, or None if there is none.
/// :raises ValueError: for an empty id.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
pub(crate) fn retrieve_intelligence(py: Python<'_>, intel_id: Given<Text>) -> PyResult<Bound<'_, PyAny>> {
    let intel_id = intel_id.text("intel_id")?;
    let record = detached(py, || security::current()?.retrieve_intelligence(&intel_id))?;
    to_python(py, &record)
}

/// Finds what belongs together: records that share indicators, or whose indicators are related.
///
/// :param iocs: ``list`` of indicators, each a ``dict`` with ``type`` and ``value``, or a ``str``.
/// :param intel_data: the records to look in (``list`` of ``dict``); None is everything stored.
/// :param threshold: the least score (``float``), 0 to 1.
/// :param max_correlations: the most results (``int``), 1 or more.
/// :returns: ``list`` of ``dict``, strongest first: ``id``, ``iocs``, ``intel_ids``, ``score`` (``float``, 0 to 1),
///     ``relation``, ``reasons``, ``first_seen``, ``last_seen``, ``severity``.
/// :raises ValueError: names the argument and what is accepted.
/// :raises TypeError: for data that is no JSON.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (iocs, intel_data = None, threshold = Given::of(0.6), max_correlations = Given::of(100)), text_signature = "(iocs, intel_data=None, threshold=0.6, max_correlations=100)")]
pub(crate) fn correlate_threats<'py>(
    py: Python<'py>,
    iocs: &Bound<'py, PyAny>,
    intel_data: Option<&Bound<'py, PyAny>>,
    threshold: Given<f64>,
    max_correlations: Given<i64>,
) -> PyResult<Bound<'py, PyAny>> {
    let threshold = threshold.value("threshold")?;
    let max_correlations = max_correlations.limit("max_correlations")?;
    let iocs = to_json("iocs", iocs)?;
    let intel_data = optional_json("intel_data", intel_data)?;
    let correlations = detached(py, || {
        security::current()?.correlate_threats(&iocs, intel_data.as_ref(), threshold, max_correlations)
    })?;
    to_python(py, &correlations.correlations)
}

/// Sums correlations up for people who decide.
///
/// :param correlations: what :func:`correlate_threats` gave (``list`` of ``dict``).
/// :returns: ``dict``: ``report_id``, ``timestamp``, ``status`` (``threats_detected`` or ``no_threats_detected``),
///     ``title``, ``summary``, ``severity_counts``, ``top_indicators``, ``recommendations``, ``markdown`` (the whole
///     report as ``str``), ``details`` and more.
/// :raises ValueError: for something else.
#[pyfunction]
pub(crate) fn generate_threat_report<'py>(
    py: Python<'py>,
    correlations: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let correlations = to_json("correlations", correlations)?;
    let report = detached(py, || security::current()?.threat_report(&correlations))?;
    to_python(py, &report)
}

/// Holds this installation against well-known demands, for an auditor.
///
/// :returns: ``dict``: ``generated_at`` (RFC 3339), ``status`` (``pass``, ``warn``, ``fail``), ``totals``, ``checks``
///     (``list`` of ``dict``: which standard asks for it, how it came out, on what evidence).
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
pub(crate) fn generate_compliance_report(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let report = detached(py, || security::current()?.compliance_report())?;
    to_python(py, &report)
}

/// Reads indicators from a file or stream: plain list, CSV, JSON, MISP, STIX, OpenIOC.
///
/// :param path_or_file: a path (``str`` or path-like), or an open file (with ``read``).
/// :param format: ``plain``, ``csv``, ``json``, ``misp``, ``stix`` and so on (``str``); told from name and content when None.
/// :param source: who says so (``str``). When None, the file's name, and records of an own JSON export keep the sources
///     they name; give it for a feed of somebody else, who could name any.
/// :param confidence: for what bears none of its own (``int``), 0 to 100.
/// :param progress: called every now and then with ``{imported, rejected}`` (counts, ``int``); what it raises
///     ends the import and is raised, and what was imported until then stays.
/// :param all_attributes: take MISP attributes that are not meant for detection (``to_ids`` is false) as well (``bool``).
/// :param ioc_type: the kind of entries that do not say one (``str``), for example ``domain`` for a list with
///     ``setup.py``; told from each value when None.
/// :returns: ``dict``: ``format``, ``source`` (``str``), ``added``, ``merged``, ``rejected`` (``int``), ``rejections``
///     (the first 100, ``list`` of ``{line, text, reason}``), ``left_out`` (what was never meant to be one, by reason;
///     ``all_attributes=True`` takes what is ``not meant for detection``).
/// :raises ValueError: for an unknown format or what is none.
/// :raises TypeError: if ``path_or_file`` is neither.
/// :raises OSError: when the file cannot be read.
/// :raises StoreError: when the indicators cannot be stored.
#[pyfunction]
#[pyo3(
    signature = (path_or_file, format = None, source = None, confidence = None, progress = None, *, all_attributes = Given::of(false), ioc_type = None),
    text_signature = "(path_or_file, format=None, source=None, confidence=None, progress=None, *, all_attributes=False, ioc_type=None)"
)]
#[expect(clippy::too_many_arguments, reason = "each is a keyword of Python's")]
pub(crate) fn import_indicators<'py>(
    py: Python<'py>,
    path_or_file: &Bound<'py, PyAny>,
    format: Option<Given<Text>>,
    source: Option<Given<Text>>,
    confidence: Option<Given<i64>>,
    progress: Option<Py<PyAny>>,
    all_attributes: Given<bool>,
    ioc_type: Option<Given<Text>>,
) -> PyResult<Bound<'py, PyAny>> {
    let format = optional("format", format, Given::text)?;
    let source = optional("source", source, Given::text)?;
    let confidence = optional("confidence", confidence, Given::value)?;
    let all_attributes = all_attributes.value("all_attributes")?;
    let ioc_type = optional("ioc_type", ioc_type, Given::text)?;
    let options = ImportOptions { format, source, confidence, skip_bad: true, all_attributes, ioc_type };
    let interrupt = Interrupt::default();
    let (name, reader) = source_of(path_or_file, &interrupt)?;
    let done = detached(py, || {
        let mut tell = |made: security::ImportProgress| {
            interrupt
                .report(progress.as_ref(), &json!({"imported": made.imported, "rejected": made.rejected}))
        };
        security::current()?.import_indicators(&name, reader, &options, &mut tell)
    });
    to_python(py, &interrupt.or(done)?)
}

/// Where indicators come from: its name, for guessing the format, and its content.
fn source_of(given: &Bound<'_, PyAny>, interrupt: &Interrupt) -> PyResult<(String, BufReader<Source>)> {
    let (name, content): (PathBuf, Box<dyn Read + Send>) = if given.hasattr("read")? {
        let name = given.getattr("name").ok().and_then(|name| name.extract().ok());
        (name.unwrap_or_default(), Box::new(Stream::of(given)))
    } else {
        let path = given.extract::<PathBuf>().map_err(|error| named(given.py(), "path_or_file", error))?;
        let file = given.py().detach(|| File::open(&path)).map_err(|error| at(&path, error))?;
        (path, Box::new(file))
    };
    let source = Source { content, interrupt: interrupt.clone() };
    Ok((name.display().to_string(), BufReader::with_capacity(1 << 20, source)))
}

/// What Python raised while the engine was at work; the engine sees the end of its input.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<Option<PyErr>>>);

impl Interrupt {
    fn set(&self, raised: PyErr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(raised);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The result of the work, or what was raised meanwhile.
    pub(crate) fn or<T>(&self, done: PyResult<T>) -> PyResult<T> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(raised) => Err(raised),
            None => done,
        }
    }

    /// Lets Ctrl-C through, since the interpreter is not running meanwhile.
    pub(crate) fn tell(&self) {
        self.run(|_| Ok(()));
    }

    /// Tells `callback` of the progress.
    fn report(&self, callback: Option<&Py<PyAny>>, progress: &Value) {
        self.run(|py| {
            let Some(callback) = callback else { return Ok(()) };
            callback.call1(py, (to_python(py, progress)?,)).map(drop)
        });
    }

    pub(crate) fn run(&self, work: impl FnOnce(Python<'_>) -> PyResult<()>) {
        if self.is_set() {
            return;
        }
        let done = Python::attach(|py| py.check_signals().and_then(|()| work(py)));
        if let Err(raised) = done {
            self.set(raised);
        }
    }
}

/// Content that ends with an error as soon as Python raised something.
struct Source {
    content: Box<dyn Read + Send>,
    interrupt: Interrupt,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupt.is_set() {
            return Err(io::Error::other("stopped by the caller"));
        }
        self.content.read(buffer).inspect_err(|error| {
            let raised = io::Error::new(error.kind(), error.to_string());
            let python = error.get_ref().and_then(|inner| inner.downcast_ref::<PyErr>());
            self.interrupt
                .set(Python::attach(|py| python.map_or_else(|| raised.into(), |e| e.clone_ref(py))));
        })
    }
}

/// An `OSError` that names the file.
pub(crate) fn at(path: &std::path::Path, error: io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(number) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            pyo3::exceptions::PyOSError::new_err((number, text, path.display().to_string()))
        }
        None => error.into(),
    }
}

/// An open file of Python's, text or binary.
pub(crate) struct Stream {
    file: Py<PyAny>,
    rest: Vec<u8>,
    at: usize,
}

impl Stream {
    pub(crate) fn of(file: &Bound<'_, PyAny>) -> Self {
        Self { file: file.clone().unbind(), rest: Vec::new(), at: 0 }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.rest.len() {
            self.rest = Python::attach(|py| -> PyResult<Vec<u8>> {
                let read = self.file.bind(py).call_method1("read", (1 << 16,))?;
                if let Ok(text) = read.cast::<PyString>() {
                    return Ok(utf8(text).into_owned().into_bytes());
                }
                if let Ok(bytes) = read.cast::<PyBytes>() {
                    return Ok(bytes.as_bytes().to_vec());
                }
                Err(PyTypeError::new_err("argument 'path_or_file': read() gave neither str nor bytes"))
            })?;
            self.at = 0;
        }
        let n_bytes = buffer.len().min(self.rest.len() - self.at);
        buffer[..n_bytes].copy_from_slice(&self.rest[self.at..self.at + n_bytes]);
        self.at += n_bytes;
        Ok(n_bytes)
    }
}

/// Writes the indicators to a file.
///
/// :param path: the file (``str`` or path-like), replaced in one step when everything is written.
/// :param format: ``plain``, ``csv``, ``json``, ``jsonl``, ``misp`` (one event), ``stix``; for sensors ``zeek`` (Intel framework),
///     ``suricata-text``, ``suricata-ip``, ``suricata-md5``, ``suricata-sha256`` (datasets), ``rpz`` (a DNS zone) (``str``).
/// :param ioc_type: only this kind (``str``).
/// :param source: only what this source lists (``str``).
/// :param tag: only what bears this tag (``str``).
/// :param min_confidence: only what is at least so sure (``int``), 0 to 100.
/// :returns: ``dict``: ``n_written`` (``int``), ``left_out`` (how many of each kind the format has no form for).
/// :raises ValueError: for an unknown format or filter value.
/// :raises OSError: when the file cannot be written.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (path, format, *, ioc_type = None, source = None, tag = None, min_confidence = None))]
pub(crate) fn export_indicators<'py>(
    py: Python<'py>,
    path: Given<PathBuf>,
    format: Given<Text>,
    ioc_type: Option<Given<Text>>,
    source: Option<Given<Text>>,
    tag: Option<Given<Text>>,
    min_confidence: Option<Given<i64>>,
) -> PyResult<Bound<'py, PyAny>> {
    let path = path.value("path")?;
    let format = format.text("format")?;
    let ioc_type = optional("ioc_type", ioc_type, Given::text)?;
    let source = optional("source", source, Given::text)?;
    let tag = optional("tag", tag, Given::text)?;
    let min_confidence = optional("min_confidence", min_confidence, Given::value)?;
    let filter = ExportFilter { ioc_type, source, tag, min_confidence };
    let mut name = path.clone().into_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(name);
    let file = File::create(&part).map_err(|error| at(&part, error))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let written = detached(py, || security::current()?.export_indicators(&format, &filter, &mut writer));
    let finished = written.and_then(|exported| {
        writer.flush().map_err(|error| at(&part, error))?;
        std::fs::rename(&part, &path).map_err(|error| at(&path, error))?;
        Ok(exported)
    });
    if finished.is_err() {
        // The error that is raised matters; a part that stays behind says so by its name.
        let _ = std::fs::remove_file(&part);
    }
    to_python(py, &finished?)
}
