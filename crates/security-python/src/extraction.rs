//! The part of `security.modules.threat` that finds indicators in texts and files.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBool, PyBytes, PyDict, PyList, PyString, PyType},
};
use security::{CONTEXT, ExtractedIoc, Finder, FoundIoc, FoundStream, IocType, Warned};

use crate::{
    convert::{Given, Text, Texts, code_points, named, optional, to_python, utf8},
    errors::detached,
    intel::{Stream, at},
    warninglists::warned,
};

/// Finds indicators in a text, defanged ones among them, in one pass.
///
/// A host or address with a path behind it (``evil[.]example/gate.php``) is one ``url``, below ``http://``; where ``url`` is
/// not among ``types``, its host is found. A lone slash or word behind a name, a list joined by slashes and a number
/// behind an address make no URL.
///
/// :param text: ``str`` or ``bytes`` (UTF-8; other bytes end a word).
/// :param types: only these kinds (``list`` of ``str``).
/// :param limit: the most results (``int``), 1 or more; None is all.
/// :param dedupe: whether each indicator is given at its first place only (``bool``).
/// :param warninglists: what becomes of indicators that are on a warninglist (``str``): ``keep``, ``flag`` (each entry then
///     has ``warnings``, as :func:`check_warninglists` gives them) or ``drop``.
/// :returns: ``list`` of ``dict`` in order: ``type``, ``value`` (canonical), ``original`` (as it stands in the text),
///     ``context`` (the text around, all ``str``), ``start`` and ``end`` (``int``: characters of a ``str``, bytes of
///     ``bytes``; ``text[start:end]`` is ``original``), ``defanged`` (``bool``).
/// :raises TypeError: if ``text`` is neither.
/// :raises ValueError: for an unknown type, or a limit below 1.
/// :raises StoreError: when the warninglists are asked and cannot be read.
#[pyfunction]
#[pyo3(
    signature = (text, types = None, limit = None, *, dedupe = Given::of(false), warninglists = Given::of(Text("keep".to_owned()))),
    text_signature = "(text, types=None, limit=None, *, dedupe=False, warninglists='keep')"
)]
pub(crate) fn extract_iocs<'py>(
    py: Python<'py>,
    text: &Bound<'py, PyAny>,
    types: Option<Given<Texts>>,
    limit: Option<Given<i64>>,
    dedupe: Given<bool>,
    warninglists: Given<Text>,
) -> PyResult<Bound<'py, PyList>> {
    let finder = finder(py, types, limit, dedupe, warninglists)?;
    let words = Words::of(text)?;
    let (finder, is_ascii) = detached(py, || Ok((finder()?, words.text.is_ascii())))?;
    let mut search = finder.search(&words.text);
    let mut entries = Entries::of(py, &words, is_ascii)?;
    let (mut found, mut given) = (Vec::new(), Vec::new());
    loop {
        detached(py, || {
            search.next_into(&mut found);
            Ok(())
        })?;
        if found.is_empty() {
            return PyList::new(py, given);
        }
        given.reserve(found.len());
        for ioc in &found {
            given.push(entries.entry(ioc)?);
        }
    }
}

/// Finds indicators in a file of any size, in bounded memory; a gzip file is unpacked as it is read.
///
/// :param path_or_file: a path (``str`` or path-like), or an open file, text or binary, whose ``read`` is called.
/// :param types: only these kinds (``list`` of ``str``).
/// :param limit: the most results (``int``), 1 or more; None is all.
/// :param dedupe: whether each indicator is given at its first place only (``bool``); they stay in memory then.
/// :param warninglists: what becomes of indicators that are on a warninglist (``str``): ``keep``, ``flag`` or ``drop``.
/// :returns: an iterator over ``dict`` as :func:`extract_iocs` gives them. ``start`` and ``end`` count the bytes of the
///     file (of what was unpacked, and in UTF-8 where ``read`` gives ``str``). They are those of the whole file, but for a
///     line longer than 16 MiB, which is read in parts.
/// :raises ValueError: for an unknown type, or a limit below 1.
/// :raises OSError: when the file cannot be read or unpacked; from the iterator where that comes later.
/// :raises StoreError: when the warninglists are asked and cannot be read.
#[pyfunction]
#[pyo3(
    signature = (path_or_file, types = None, limit = None, *, dedupe = Given::of(false), warninglists = Given::of(Text("keep".to_owned()))),
    text_signature = "(path_or_file, types=None, limit=None, *, dedupe=False, warninglists='keep')"
)]
pub(crate) fn extract_iter(
    py: Python<'_>,
    path_or_file: &Bound<'_, PyAny>,
    types: Option<Given<Texts>>,
    limit: Option<Given<i64>>,
    dedupe: Given<bool>,
    warninglists: Given<Text>,
) -> PyResult<FoundIterator> {
    let finder = finder(py, types, limit, dedupe, warninglists)?;
    let content: Box<dyn Read + Send> = if path_or_file.hasattr("read")? {
        Box::new(Stream::of(path_or_file))
    } else {
        let path = path_or_file.extract::<PathBuf>().map_err(|error| named(py, "path_or_file", error))?;
        Box::new(py.detach(|| File::open(&path)).map_err(|error| at(&path, error))?)
    };
    let finder = detached(py, finder)?;
    let stream = py.detach(|| finder.stream(content)).map_err(raised)?;
    let state = State { stream: Some(stream), ready: Vec::new().into_iter() };
    Ok(FoundIterator { state: Mutex::new(state) })
}

/// What both functions take, as what makes a finder without the interpreter.
fn finder(
    py: Python<'_>,
    types: Option<Given<Texts>>,
    limit: Option<Given<i64>>,
    dedupe: Given<bool>,
    warninglists: Given<Text>,
) -> PyResult<impl FnOnce() -> security::Result<Finder> + Send> {
    let types = optional("types", types, Given::texts)?;
    let limit = optional("limit", limit, Given::limit)?;
    let dedupe = dedupe.value("dedupe")?;
    let warned = warned(py, warninglists)?;
    Ok(move || match warned {
        // Needs no store.
        Warned::Keep => Finder::new(types.as_deref(), dedupe, limit),
        warned => security::current()?.finder(types.as_deref(), dedupe, limit, warned),
    })
}

/// What Python's own `read` raised, else an `OSError`.
fn raised(error: io::Error) -> PyErr {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<PyErr>()) {
        Some(theirs) => Python::attach(|py| theirs.clone_ref(py)),
        None => pyo3::exceptions::PyOSError::new_err(error.to_string()),
    }
}

/// An iterator over the indicators in a file.
#[pyclass(frozen, module = "security")]
pub(crate) struct FoundIterator {
    state: Mutex<State>,
}

struct State {
    /// None when it has ended.
    stream: Option<FoundStream<Box<dyn Read + Send>>>,
    ready: std::vec::IntoIter<ExtractedIoc>,
}

#[pymethods]
impl FoundIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        // Never waits for the lock with the interpreter held: the holder may be reading a file of Python's.
        let ready = self.state.try_lock().ok().and_then(|mut state| state.ready.next());
        let found = match ready {
            Some(ioc) => Some(ioc),
            None => py
                .detach(|| self.state.lock().unwrap_or_else(PoisonError::into_inner).next())
                .map_err(raised)?,
        };
        found.map(|ioc| found_entry(py, &ioc)).transpose()
    }
}

impl State {
    fn next(&mut self) -> io::Result<Option<ExtractedIoc>> {
        if self.ready.len() == 0
            && let Some(mut stream) = self.stream.take()
        {
            self.ready = stream.batch()?.into_iter();
            if self.ready.len() > 0 {
                self.stream = Some(stream);
            }
        }
        Ok(self.ready.next())
    }
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
    pub(crate) fn place<'f>(&self, found: impl Iterator<Item = &'f mut ExtractedIoc>) {
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

/// Makes the dictionaries of what was found in one text, in the order of the text.
///
/// A log gives millions of them, so each is a copy of one that has everything but what differs: see [`templates`].
struct Entries<'a, 'py> {
    py: Python<'py>,
    text: &'a str,
    is_ascii: bool,
    counts_points: bool,
    /// The last place that was counted: its byte, and the code points before it.
    counted: (usize, usize),
    templates: &'py Templates,
    keys: [Bound<'py, PyString>; 5],
}

impl<'a, 'py> Entries<'a, 'py> {
    fn of(py: Python<'py>, words: &'a Words<'_>, is_ascii: bool) -> PyResult<Self> {
        Ok(Self {
            py,
            text: &words.text,
            is_ascii,
            counts_points: !is_ascii && !words.counts_bytes,
            counted: (0, 0),
            templates: templates(py)?,
            keys: [
                intern!(py, "value").clone(),
                intern!(py, "original").clone(),
                intern!(py, "context").clone(),
                intern!(py, "start").clone(),
                intern!(py, "end").clone(),
            ],
        })
    }

    fn entry(&mut self, ioc: &FoundIoc) -> PyResult<Bound<'py, PyDict>> {
        let found = &ioc.found;
        let entry = copied(self.py, self.templates, found.indicator.kind(), found.defanged)?;
        let [value_key, original_key, context_key, start_key, end_key] = &self.keys;
        let original = &self.text[found.start..found.end];
        let shown = PyString::new(self.py, original);
        if found.indicator.value() == original {
            entry.set_item(value_key, &shown)?;
        } else {
            entry.set_item(value_key, PyString::new(self.py, found.indicator.value()))?;
        }
        entry.set_item(original_key, shown)?;
        let context = if self.is_ascii {
            let end = self.text.len().min(found.end + CONTEXT);
            &self.text[found.start.saturating_sub(CONTEXT)..end]
        } else {
            found.context(self.text, CONTEXT)
        };
        entry.set_item(context_key, PyString::new(self.py, context))?;
        let (mut start, mut end) = (found.start, found.end);
        if self.counts_points {
            start = points(self.text, &mut self.counted, start);
            end = points(self.text, &mut self.counted, end);
        }
        entry.set_item(start_key, start)?;
        entry.set_item(end_key, end)?;
        if let Some(warnings) = &ioc.warnings {
            entry.set_item(intern!(self.py, "warnings"), to_python(self.py, warnings)?)?;
        }
        Ok(entry)
    }
}

/// Entries with their keys in order, and everything in them that other finds have as well: by kind and whether it was
/// disarmed. Nobody is given one of them, only copies.
type Templates = Vec<[Py<PyDict>; 2]>;

/// The templates, made at the first use.
///
/// They are the attributes of instances of one class. CPython keeps the keys of such dictionaries once for all of them,
/// and a copy of one does so too: it has half the size of any other, and is made and freed in half the time. That
/// is all there is to it: they are dictionaries like others, whatever an interpreter does with them.
fn templates(py: Python<'_>) -> PyResult<&Templates> {
    static TEMPLATES: PyOnceLock<Templates> = PyOnceLock::new();
    TEMPLATES.get_or_try_init(py, || {
        let class = py.get_type::<PyType>().call1(("Found", (), PyDict::new(py)))?;
        let instance = |kind: IocType, defanged: bool| -> PyResult<Bound<'_, PyAny>> {
            let instance = class.call0()?;
            instance.setattr(intern!(py, "type"), PyString::intern(py, kind.as_str()))?;
            for name in [intern!(py, "value"), intern!(py, "original"), intern!(py, "context")] {
                instance.setattr(name, intern!(py, ""))?;
            }
            instance.setattr(intern!(py, "start"), 0)?;
            instance.setattr(intern!(py, "end"), 0)?;
            instance.setattr(intern!(py, "defanged"), PyBool::new(py, defanged))?;
            Ok(instance)
        };
        // The first instances of a class have room for attributes that may come.
        for _ in 0..64 {
            instance(IocType::Ip, false)?;
        }
        let template = |kind, defanged| -> PyResult<Py<PyDict>> {
            let attributes = instance(kind, defanged)?.getattr(intern!(py, "__dict__"))?;
            Ok(attributes.cast_into::<PyDict>()?.unbind())
        };
        IocType::ALL.iter().map(|kind| Ok([template(*kind, false)?, template(*kind, true)?])).collect()
    })
}

/// A copy of a template.
fn copied<'py>(
    py: Python<'py>,
    templates: &Templates,
    kind: IocType,
    defanged: bool,
) -> PyResult<Bound<'py, PyDict>> {
    templates[kind as usize][usize::from(defanged)].bind(py).copy()
}

/// The code points before a byte of a text, counted on from the last place that was asked for.
fn points(text: &str, counted: &mut (usize, usize), at: usize) -> usize {
    // A byte of the form 10xxxxxx continues a code point, every other one begins one.
    let new = text.as_bytes()[counted.0..at].iter().filter(|byte| (**byte & 0xc0) != 0x80).count();
    *counted = (at, counted.1 + new);
    counted.1
}

/// What was found, as a `dict`.
pub(crate) fn found_entry<'py>(py: Python<'py>, ioc: &ExtractedIoc) -> PyResult<Bound<'py, PyDict>> {
    let entry = copied(py, templates(py)?, ioc.kind, ioc.defanged)?;
    entry.set_item(intern!(py, "value"), &ioc.value)?;
    entry.set_item(intern!(py, "original"), &ioc.original)?;
    entry.set_item(intern!(py, "context"), &ioc.context)?;
    entry.set_item(intern!(py, "start"), ioc.start)?;
    entry.set_item(intern!(py, "end"), ioc.end)?;
    if let Some(warnings) = &ioc.warnings {
        entry.set_item(intern!(py, "warnings"), to_python(py, warnings)?)?;
    }
    Ok(entry)
}
