//! Set-up, and what the process tells the engine: it forks, it ends.

use std::{ffi::OsString, path::PathBuf};

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyDict};
use security::{ConfigSource, Options};
use serde_json::Value;

use crate::{
    convert::{Given, Text, optional, to_json, to_map, to_python},
    errors::detached,
};

/// Sets the engine up: creates the data directory and its folders, opens the store, loads the configuration.
///
/// May be left out: the first use sets up with the defaults. Calling it again without arguments does nothing; with
/// other arguments the engine is opened anew. Safe in several threads and processes at once, before and after ``fork``.
///
/// With ``scrub_environment = true`` in the configuration's ``[hygiene]`` table the credentials are taken out of the
/// process's environment and of ``os.environ`` once they are read; the engine keeps them for later calls.
///
/// :param data_dir: the data directory (``str`` or path-like); default ``SECURITY_DATA_DIR`` or ``./data``.
/// :param config: a configuration file's path (``str`` or path-like), or its content as a ``dict``; default
///     ``SECURITY_CONFIG``, or ``./security.toml`` if that file exists.
/// :param database_url: ``postgresql://…`` (``str``); this version keeps everything in the data directory and refuses it.
/// :param valkey_url: ``redis://…`` (``str``); likewise.
/// :raises ConfigurationError: names the variable, or the file and its line, that cannot be used.
/// :raises StoreError: when the data directory cannot be used.
/// :raises TypeError: for an argument of another type.
#[pyfunction]
#[pyo3(signature = (data_dir = None, config = None, database_url = None, valkey_url = None))]
pub(crate) fn initialize(
    py: Python<'_>,
    data_dir: Option<Given<PathBuf>>,
    config: Option<&Bound<'_, PyAny>>,
    database_url: Option<Given<Text>>,
    valkey_url: Option<Given<Text>>,
) -> PyResult<()> {
    let data_dir = optional("data_dir", data_dir, Given::value)?;
    let database_url = optional("database_url", database_url, Given::text)?;
    let valkey_url = optional("valkey_url", valkey_url, Given::text)?;
    let config = config.map(config_source).transpose()?;
    let options = Options { data_dir, config, database_url, valkey_url };
    detached(py, || security::initialize(options))?;
    // `os.environ` is a copy, made when the interpreter started.
    for name in security::scrubbed_variables() {
        py.import("os")?.getattr("environ")?.call_method1("pop", (name, py.None()))?;
    }
    Ok(())
}

fn config_source(given: &Bound<'_, PyAny>) -> PyResult<ConfigSource> {
    if let Ok(dict) = given.cast::<PyDict>() {
        return Ok(ConfigSource::Inline(Value::Object(to_map("config", dict)?)));
    }
    match given.extract::<PathBuf>() {
        Ok(path) => Ok(ConfigSource::File(path)),
        Err(_) => Err(PyTypeError::new_err("argument 'config': a path or a dict is needed")),
    }
}

/// Waits until every record that was made is durable.
///
/// :raises StoreError: when the disk is full or read-only.
#[pyfunction]
pub(crate) fn flush(py: Python<'_>) -> PyResult<()> {
    detached(py, || security::current()?.flush())
}

/// Makes everything durable and closes all files of this process; the next use opens them again.
///
/// :raises StoreError: when buffered records cannot be written; everything is closed all the same.
#[pyfunction]
pub(crate) fn close(py: Python<'_>) -> PyResult<()> {
    detached(py, security::close)
}

/// Says how the engine is.
///
/// :returns: ``dict``: ``version`` (``str``), ``data_dir`` (``str``), ``process`` (``int``, its id), ``store`` (versions
///     and sizes in bytes), ``journal`` (``lost`` counts records that a full disk or queue cost), ``counts``,
///     ``credentials`` (which are set, by what, and whether a rotation superseded them), ``epochs``.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
pub(crate) fn status(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let status = detached(py, || Ok(security::current()?.status()))?;
    to_python(py, &status)
}

/// :meth:`flush`, if this process has used the engine at all; never raises.
#[pyfunction]
pub(crate) fn flush_if_open(py: Python<'_>) {
    // At the end of a process there is nobody left to tell.
    let _ = detached(py, || security::opened().map_or(Ok(()), |engine| engine.flush()));
}

/// :meth:`close` at the end of a process; never raises.
#[pyfunction]
pub(crate) fn shut_down(py: Python<'_>) {
    let _ = detached(py, security::close);
}

/// The command line; see ``security.__main__``.
#[pyfunction]
pub(crate) fn cli_main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<i32> {
    detached(py, || Ok(security_cli::run(arguments)))
}

/// JSON of an argument that may be left out.
pub(crate) fn optional_json(argument: &str, given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Value>> {
    given.filter(|given| !given.is_none()).map(|given| to_json(argument, given)).transpose()
}
