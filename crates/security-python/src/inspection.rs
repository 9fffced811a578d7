//! `inspect_request`: a request that no adapter received.

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyByteArray, PyBytes, PyDict, PyString},
};
use security::GivenRequest;

use crate::{
    convert::{to_python, utf8},
    errors::detached,
};

/// Judges one request with everything the web layer does, for servers that have no adapter.
///
/// It counts against the client's limits, verifies the presented key, asks the lists and the rules, and inspects the
/// payload (path, query, headers, cookies, body). A refused request is recorded.
///
/// :param request: ``dict`` with any of ``method`` (``str``, default ``'GET'``), ``path`` (``str``, without the query,
///     default ``'/'``), ``query`` (``str``, raw, without ``?``), ``headers`` (``dict``, or iterable of pairs, of ``str``
///     or ``bytes``), ``body`` (``bytes`` or None), ``remote_addr`` (``str`` or None: the TCP peer, never a header),
///     ``scheme`` (``str``, default ``'https'``).
/// :returns: ``dict``: ``action`` (``'allow'``, ``'limit'``, ``'deny'``), ``status`` (``int``), ``reasons`` (``list`` of
///     ``{id, category, where, evidence}``; for the log, never for the client), ``score`` (``int``, 0 to 100),
///     ``client_ip`` (``str`` or None), ``key_id`` (``str`` or None), ``request_id`` (``str``), ``headers`` (``list`` of
///     pairs of ``str``, for the answer), and with a refusal ``body`` (``dict``, RFC 9457).
/// :raises TypeError: when ``request`` or something in it has the wrong type.
/// :raises ValueError: when it has a name that is not among these.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
pub(crate) fn inspect_request<'py>(
    py: Python<'py>,
    request: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let fields = request.cast::<PyDict>().map_err(|_| wrong("request", "a dict is needed"))?;
    let mut given = GivenRequest::default();
    // A copy: converting what is in it may run somebody's code, which may change the original.
    for (name, value) in fields.copy()? {
        let name = text("request", &name)?;
        match name.as_str() {
            "method" => given.method = text("method", &value)?,
            "path" => given.path = text("path", &value)?,
            "query" => given.query = text("query", &value)?,
            "scheme" => given.scheme = text("scheme", &value)?,
            "remote_addr" => given.remote_addr = unless_none(&value, |value| text("remote_addr", value))?,
            "body" => given.body = unless_none(&value, body)?,
            "headers" => given.headers = headers(&value)?,
            other => {
                let message = format!(
                    "request: '{other}' is not accepted; accepted are method, path, query, headers, body, remote_addr and scheme"
                );
                return Err(PyValueError::new_err(message));
            }
        }
    }
    let decision = detached(py, || security::current()?.inspect_request(&given))?;
    to_python(py, &decision)
}

fn wrong(argument: &str, needed: &str) -> PyErr {
    PyTypeError::new_err(format!("argument '{argument}': {needed}"))
}

fn text(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = value.cast::<PyString>().map_err(|_| wrong(argument, "a str is needed"))?;
    Ok(utf8(text).into_owned())
}

fn unless_none<'py, T>(
    value: &Bound<'py, PyAny>,
    read: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    if value.is_none() { Ok(None) } else { read(value).map(Some) }
}

fn body(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    let bytes = value.cast::<PyByteArray>().map_err(|_| wrong("body", "bytes are needed"))?;
    Ok(bytes.to_vec())
}

fn headers(value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Vec<u8>)>> {
    const NEEDED: &str = "a dict, or an iterable of pairs, of str or bytes is needed";
    let part = |value: &Bound<'_, PyAny>| -> PyResult<Vec<u8>> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(bytes.as_bytes().to_vec());
        }
        let text = value.cast::<PyString>().map_err(|_| wrong("headers", NEEDED))?;
        Ok(utf8(text).into_owned().into_bytes())
    };
    let line = |name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>| -> PyResult<(String, Vec<u8>)> {
        Ok((String::from_utf8_lossy(&part(name)?).into_owned(), part(value)?))
    };
    if let Ok(fields) = value.cast::<PyDict>() {
        return fields.copy()?.iter().map(|(name, value)| line(&name, &value)).collect();
    }
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return Err(wrong("headers", NEEDED));
    }
    let pairs = value.try_iter().map_err(|_| wrong("headers", NEEDED))?;
    pairs
        .map(|pair| {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
                pair?.extract().map_err(|_| wrong("headers", NEEDED))?;
            line(&name, &value)
        })
        .collect()
}
