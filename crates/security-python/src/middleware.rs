//! `security.modules.middleware` and what the adapters for web frameworks call.

use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};
use security::{Decision, RequestView};

use crate::{
    convert::{Text, Texts, to_python, utf8},
    errors::{attached, detached},
};

/// Says whether an address belongs to the trusted networks.
///
/// :param ip: the address (``str``, or an ``ipaddress`` object); ``localhost`` counts as the loopback address.
/// :returns: ``bool``; what is no address is False and never an error.
#[pyfunction]
pub(crate) fn is_ip_trusted(py: Python<'_>, ip: &Bound<'_, PyAny>) -> PyResult<bool> {
    let address = if let Ok(text) = ip.cast::<PyString>() {
        utf8(text).into_owned()
    } else if ip.get_type().module().is_ok_and(|module| module == "ipaddress") {
        ip.str()?.to_string()
    } else {
        return Ok(false);
    };
    attached(py, || Ok(security::current()?.is_ip_trusted(&address)))
}

/// What the engine knows of one request, from its beginning to its end.
#[pyclass(frozen, module = "security._security")]
#[derive(Debug)]
pub(crate) struct RequestState(security::RequestState);

#[pymethods]
impl RequestState {
    /// The request's id (``str``).
    #[getter]
    fn request_id(&self) -> &str {
        self.0.request_id()
    }

    /// The client's address (``str``), or None when it is not known.
    #[getter]
    fn client_ip(&self) -> Option<String> {
        self.0.client_ip()
    }

    /// The presented key's ``{id, name, owner, scopes}`` (``dict``), or None without a valid one.
    #[getter]
    fn api_key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.api_key())
    }

    /// Whether a valid key was presented (``bool``).
    #[getter]
    fn api_key_valid(&self) -> bool {
        self.0.api_key_valid()
    }

    /// The answer that this request gets instead of a view.
    ///
    /// :returns: ``dict``: ``status`` (``int``), ``headers`` (``list`` of pairs), ``body`` (``dict``) and more, or None when
    ///     the request goes on.
    fn refusal<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        refusal(py, self.0.decision())
    }

    /// The answer that this request gets from a view that needs a key.
    ///
    /// :param scopes: what the key must be allowed to do, all of it (``list`` of ``str``).
    /// :returns: as :meth:`refusal`; nothing is verified or counted twice.
    /// :raises StoreError: when the store cannot be read: nothing is accepted then.
    fn require<'py>(&self, py: Python<'py>, scopes: Texts) -> PyResult<Option<Bound<'py, PyAny>>> {
        let decision = attached(py, || self.0.require(&*security::current()?, &scopes.0))?;
        refusal(py, &decision)
    }

    /// The headers that the answer gets, whatever it is.
    ///
    /// :param authenticated: whether the answer is for the owner of a key alone (``bool``).
    /// :returns: ``list`` of pairs of ``str``.
    fn response_headers(&self, authenticated: bool) -> Vec<(String, String)> {
        self.0.response_headers(authenticated)
    }
}

fn refusal<'py>(py: Python<'py>, decision: &Decision) -> PyResult<Option<Bound<'py, PyAny>>> {
    if decision.is_allowed() {
        return Ok(None);
    }
    to_python(py, decision).map(Some)
}

/// Begins a request: one call for the client's address, limits, trusted networks, listed indicators, rules and the
/// presented key.
///
/// :param environ: the request as WSGI gives it (``dict``, PEP 3333).
/// :returns: :class:`RequestState`.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
pub(crate) fn begin_request(py: Python<'_>, environ: &Bound<'_, PyDict>) -> PyResult<RequestState> {
    let mut headers: Vec<(String, Vec<u8>)> = Vec::with_capacity(16);
    // Nothing here runs Python code, so the dictionary cannot change meanwhile.
    for (key, value) in environ {
        let (Ok(key), Ok(value)) = (key.cast::<PyString>(), value.cast::<PyString>()) else { continue };
        let Ok(key) = key.to_str() else { continue };
        if let Some(name) = key.strip_prefix("HTTP_").or(Some(key).filter(|key| BODY_HEADERS.contains(key))) {
            headers.push((name.replace('_', "-"), bytes_of(value)));
        }
    }
    let text = |key: &str| -> PyResult<Option<Vec<u8>>> {
        let value = environ.get_item(key)?;
        Ok(value.and_then(|value| value.cast::<PyString>().ok().map(bytes_of)))
    };
    let owned = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let method = owned(text("REQUEST_METHOD")?);
    let path = owned(text("PATH_INFO")?);
    let query = owned(text("QUERY_STRING")?);
    let scheme = owned(text("wsgi.url_scheme")?);
    let remote_addr = text("REMOTE_ADDR")?.map(|bytes| owned(Some(bytes)));
    let headers: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let view = RequestView {
        method: &method,
        path: &path,
        query: &query,
        headers: &headers,
        remote_addr: remote_addr.as_deref(),
        scheme: &scheme,
        body: None,
    };
    detached(py, || security::current()?.begin_request(&view)).map(RequestState)
}

/// The headers that WSGI gives without the prefix.
const BODY_HEADERS: [&str; 2] = ["CONTENT_TYPE", "CONTENT_LENGTH"];

/// What stood on the wire: WSGI hands it over as a `str` with one character for each byte.
fn bytes_of(value: &Bound<'_, PyString>) -> Vec<u8> {
    let text = utf8(value);
    if text.is_ascii() {
        return text.into_owned().into_bytes();
    }
    let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
    // Beyond that range it is no server's work but a test's, which means the text.
    bytes.unwrap_or_else(|_| text.into_owned().into_bytes())
}

/// The answer to a request that failed unexpectedly: it tells nothing of the inside.
///
/// :param request_id: the request's id (``str``).
/// :returns: ``dict`` as :meth:`RequestState.refusal` gives it.
#[pyfunction]
pub(crate) fn error_response(py: Python<'_>, request_id: Text) -> PyResult<Bound<'_, PyAny>> {
    let decision = attached(py, || Ok(security::current()?.error_response(&request_id.0)))?;
    to_python(py, &decision)
}
