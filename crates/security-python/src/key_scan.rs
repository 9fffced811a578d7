//! `security.scan_for_keys`: what is to be looked through, and what is told of it.

use std::{
    ffi::CString,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pyo3::{
    exceptions::{PyRuntimeWarning, PyTypeError},
    prelude::*,
    types::{PyBytes, PyString},
};
use security::{FoundKey, KeyScanListener, KeyScanOptions, SkippedFile};

use crate::{
    convert::{code_points, to_python, utf8},
    errors::detached,
    intel::{Interrupt, at},
};

/// How often Ctrl-C is let through.
const LOOK: Duration = Duration::from_millis(50);

/// What is looked through.
enum Place<'a> {
    Text(std::borrow::Cow<'a, str>),
    Bytes(&'a [u8]),
    Path(PathBuf),
}

impl<'a> Place<'a> {
    fn of(given: &'a Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = given.cast::<PyString>() {
            let text = utf8(text);
            // Nobody's path has a line break, and no system takes longer ones.
            let may_be_path = !text.contains(['\n', '\0']) && text.len() <= 4096;
            return match may_be_path && Path::new(text.as_ref()).exists() {
                true => Ok(Self::Path(PathBuf::from(text.as_ref()))),
                false => Ok(Self::Text(text)),
            };
        }
        if let Ok(bytes) = given.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.as_bytes()));
        }
        given.extract::<PathBuf>().map(Self::Path).map_err(|_| {
            let name = given.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
            PyTypeError::new_err(format!(
                "argument 'text_or_path': a str, bytes or a path-like object is needed, not {name}"
            ))
        })
    }
}

struct Heard {
    found: Vec<FoundKey>,
    limit: usize,
    interrupt: Interrupt,
    on_skip: Option<Py<PyAny>>,
    /// Files that nobody was told of, and the first of them.
    untold: usize,
    first: String,
    looked: Instant,
}

impl KeyScanListener for Heard {
    fn found(&mut self, key: FoundKey) -> bool {
        self.found.push(key);
        self.found.len() < self.limit
    }

    fn skipped(&mut self, file: &Path, why: SkippedFile) {
        let SkippedFile::Unreadable(problem) = why else { return };
        let file = file.display().to_string();
        if let Some(callback) = &self.on_skip {
            return self.interrupt.run(|py| callback.call1(py, (file, problem)).map(drop));
        }
        if self.untold == 0 {
            self.first = format!("{file}: {problem}");
        }
        self.untold += 1;
    }

    fn goes_on(&mut self) -> bool {
        if self.looked.elapsed() >= LOOK {
            self.interrupt.tell();
            self.looked = Instant::now();
        }
        !self.interrupt.is_set()
    }
}

pub(crate) fn run<'py>(
    py: Python<'py>,
    given: &Bound<'py, PyAny>,
    options: KeyScanOptions,
    limit: usize,
    on_skip: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let place = Place::of(given)?;
    if let Place::Path(path) = &place {
        // What was asked for must not be passed over like one file of many.
        let read = path.metadata().and_then(|what| match what {
            what if what.is_dir() => path.read_dir().map(drop),
            what if what.is_file() => std::fs::File::open(path).map(drop),
            // Opening a pipe waits for who writes into it, which this thread must not while it keeps all others waiting.
            _ => Ok(()),
        });
        read.map_err(|error| at(path, error))?;
    }
    let interrupt = Interrupt::default();
    let mut heard = Heard {
        found: Vec::new(),
        limit,
        interrupt: interrupt.clone(),
        on_skip,
        untold: 0,
        first: String::new(),
        looked: Instant::now(),
    };
    let done = detached(py, || {
        let engine = security::current()?;
        match &place {
            Place::Text(text) => engine.scan_text_for_keys(text.as_bytes(), &mut heard),
            Place::Bytes(bytes) => engine.scan_text_for_keys(bytes, &mut heard),
            Place::Path(path) => engine.scan_path_for_keys(path, options, &mut heard),
        }
    });
    interrupt.or(done)?;
    if heard.untold > 0 {
        let told = format!("{} files could not be read; the first: {}", heard.untold, heard.first);
        let told = CString::new(told.replace('\0', "?")).unwrap_or_default();
        PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &told, 1)?;
    }
    if let Place::Text(text) = &place {
        let mut offsets: Vec<usize> = heard.found.iter().map(|key| key.offset as usize).collect();
        code_points(text, &mut offsets);
        heard.found.iter_mut().zip(offsets).for_each(|(key, offset)| key.offset = offset as u64);
    }
    to_python(py, &heard.found)
}
