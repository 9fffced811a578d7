//! `security.modules.middleware` and what the adapters for web frameworks call.

use std::borrow::Cow;

use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString},
};
use security::{BodyLength, Decision, RequestView};

use crate::{
    convert::{Given, Text, Texts, to_python, utf8},
    errors::{attached, checked, detached, raise},
    response_headers::{Form, merged},
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

/// Settings of the web layer that one application has instead of the engine's.
///
/// :param settings: names and values as in the configuration's ``[web]`` table (``dict``); what is not named is the
///     engine's own. Checked at once.
/// :raises ValueError: for a name that does not exist or a value that is not accepted.
#[pyclass(frozen, module = "security._security")]
#[derive(Debug)]
pub(crate) struct PolicyOverride(security::PolicyOverride);

#[pymethods]
impl PolicyOverride {
    #[new]
    fn new(py: Python<'_>, settings: Given<Bound<'_, PyDict>>) -> PyResult<Self> {
        let settings = settings.map("policy")?;
        security::PolicyOverride::new(settings).map(Self).map_err(|error| raise(py, &error))
    }
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
    fn api_key<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(key) = self.0.api_key() else { return Ok(None) };
        let view = PyDict::new(py);
        view.set_item(pyo3::intern!(py, "id"), key.id)?;
        view.set_item(pyo3::intern!(py, "name"), key.name)?;
        view.set_item(pyo3::intern!(py, "owner"), key.owner)?;
        view.set_item(pyo3::intern!(py, "scopes"), key.scopes)?;
        Ok(Some(view))
    }

    /// Whether a valid key was presented (``bool``).
    #[getter]
    fn api_key_valid(&self) -> bool {
        self.0.api_key_valid()
    }

    /// What was found in the request, whether or not it decided (``list`` of ``{id, category, where, evidence}``). In
    /// shadow mode the category ``shadow`` says what would have been refused. For the log, never for the caller.
    #[getter]
    fn reasons<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.decision().reasons)
    }

    /// The answer that this request gets instead of a view: a refusal, or the engine's own metrics.
    ///
    /// :returns: ``dict``: ``status`` (``int``), ``headers`` (``list`` of pairs), ``body`` (``dict``) and more, or ``content``
    ///     (``str``, plain text) instead of ``body``; None when the request goes on.
    fn refusal<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let decision = self.0.decision();
        if !decision.is_allowed() {
            return to_python(py, decision).map(Some);
        }
        let Some(answer) = self.0.answer() else { return Ok(None) };
        let told = PyDict::new(py);
        told.set_item(pyo3::intern!(py, "status"), 200)?;
        told.set_item(pyo3::intern!(py, "headers"), [("Cache-Control", "no-store")])?;
        told.set_item(pyo3::intern!(py, "content"), answer)?;
        Ok(Some(told.into_any()))
    }

    /// The answer that this request gets from a view that needs a key.
    ///
    /// :param scopes: what the key must be allowed to do, all of it (``list`` of ``str``).
    /// :returns: as :meth:`refusal`; nothing is verified or counted twice.
    /// :raises StoreError: when the store cannot be read: nothing is accepted then.
    fn require<'py>(&self, py: Python<'py>, scopes: Texts) -> PyResult<Option<Bound<'py, PyAny>>> {
        let engine = attached(py, security::current)?;
        let refusal = checked(py, &engine, |engine| self.0.refusal_for(engine, &scopes.0))?;
        refusal.map(|decision: Decision| to_python(py, &decision)).transpose()
    }

    /// Whether the request goes on as it came (``bool``): there is no :meth:`refusal`, and no :attr:`has_body`.
    #[getter]
    fn is_plain(&self) -> bool {
        self.0.is_plain()
    }

    /// Whether something is to be done with the request's body (``bool``): read as far as :attr:`body_wanted` says, or
    /// held to :attr:`body_limit`.
    #[getter]
    fn has_body(&self) -> bool {
        self.0.has_body()
    }

    /// How many bytes of the body are wanted before a view sees any (``int``); 0 when none are.
    #[getter]
    fn body_wanted(&self) -> usize {
        self.0.body_wanted()
    }

    /// The length that the request announced (``int``), or None.
    #[getter]
    fn body_length(&self) -> Option<u64> {
        self.0.body_length()
    }

    /// The most bytes that may be read of a body whose length nobody told (``int``), or None for any number.
    #[getter]
    fn body_limit(&self) -> Option<u64> {
        self.0.body_limit()
    }

    /// For how many seconds to wait for what is wanted (``int``).
    #[getter]
    fn body_wait_seconds(&self) -> u32 {
        self.0.body_wait_seconds()
    }

    /// Takes what came of the body. When enough has, it is judged, and :meth:`refusal` says what became of it.
    ///
    /// :param chunk: the next bytes (``bytes`` or ``bytearray``); more than were wanted do no harm.
    /// :param is_last: whether nothing follows (``bool``).
    /// :returns: how many more are wanted (``int``).
    fn feed_body(&self, py: Python<'_>, chunk: Cow<'_, [u8]>, is_last: bool) -> PyResult<usize> {
        let feed = || Ok(self.0.feed_body(&*security::current()?, &chunk, is_last));
        if chunk.len() < LONG { attached(py, feed) } else { detached(py, feed) }
    }

    /// Says that what is wanted did not come in time; then as :meth:`feed_body`.
    fn body_is_late(&self, py: Python<'_>) -> PyResult<()> {
        attached(py, || {
            self.0.body_is_late(&*security::current()?);
            Ok(())
        })
    }

    /// The answer to a request whose body grew beyond :attr:`body_limit`.
    ///
    /// :returns: ``dict`` as :meth:`refusal` gives it.
    fn body_too_large<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let decision = attached(py, || Ok(self.0.body_too_large(&*security::current()?)))?;
        to_python(py, &decision)
    }

    /// The headers that the answer gets, whatever it is.
    ///
    /// :param authenticated: whether the answer is for the owner of a key alone (``bool``); taken for true where a key was
    ///     judged, right or wrong.
    /// :returns: ``list`` of pairs of ``str``.
    fn response_headers(&self, authenticated: bool) -> Vec<(String, String)> {
        self.0.response_headers(authenticated || self.0.was_key_judged())
    }

    /// An application's headers with those of the policy that it did not set itself, and ``X-Request-ID``.
    ///
    /// :param headers: pairs of ``str``, as WSGI has them.
    /// :returns: a new ``list``.
    fn merge_headers<'py>(
        &self,
        py: Python<'py>,
        headers: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        merged(py, Form::Wsgi, &self.0, headers)
    }

    /// As :meth:`merge_headers`, for pairs of ``bytes``, as ASGI has them.
    fn merge_headers_asgi<'py>(
        &self,
        py: Python<'py>,
        headers: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        merged(py, Form::Asgi, &self.0, headers)
    }
}

/// From how many bytes on judging takes longer than it may take to get the interpreter's lock back.
const LONG: usize = 4 << 10;

/// Begins a request: one call for the client's address, limits, trusted networks, listed indicators, rules and the
/// presented key.
///
/// :param environ: the request as WSGI gives it (``dict``, PEP 3333).
/// :param policy: settings of the application's own (:class:`PolicyOverride`), or None for the engine's.
/// :returns: :class:`RequestState`. The body is not touched; what is to be done with it, the state says.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (environ, policy = None))]
pub(crate) fn begin_request(
    py: Python<'_>,
    environ: &Bound<'_, PyDict>,
    policy: Option<&Bound<'_, PolicyOverride>>,
) -> PyResult<RequestState> {
    // One buffer for all names, which WSGI spells with underscores.
    let mut names = String::with_capacity(512);
    let mut found: Vec<(std::ops::Range<usize>, Bound<'_, PyString>)> = Vec::with_capacity(24);
    // Nothing here runs Python code, so the dictionary cannot change meanwhile.
    for (key, value) in environ {
        let (Ok(key), Ok(value)) = (key.cast::<PyString>(), value.cast_into::<PyString>()) else { continue };
        let Ok(key) = key.to_str() else { continue };
        // With the prefix these two are no headers but somebody's try to pass for them.
        let name = match key.strip_prefix("HTTP_") {
            Some(name) => Some(name).filter(|name| !BODY_HEADERS.contains(name)),
            None => Some(key).filter(|key| BODY_HEADERS.contains(key)),
        };
        if let Some(name) = name {
            let start = names.len();
            names.extend(name.chars().map(|c| if c == '_' { '-' } else { c }));
            found.push((start..names.len(), value));
        }
    }
    let values: Vec<Cow<'_, [u8]>> = found.iter().map(|(_, value)| bytes_of(value)).collect();
    let headers: Vec<(&str, &[u8])> =
        found.iter().zip(&values).map(|((name, _), value)| (&names[name.clone()], &**value)).collect();
    let method = text(environ, pyo3::intern!(py, "REQUEST_METHOD"))?;
    let path = text(environ, pyo3::intern!(py, "PATH_INFO"))?;
    let query = text(environ, pyo3::intern!(py, "QUERY_STRING"))?;
    let scheme = text(environ, pyo3::intern!(py, "wsgi.url_scheme"))?;
    let peer = text(environ, pyo3::intern!(py, "REMOTE_ADDR"))?;
    let peer = peer.as_ref().map(|peer| text_of(Some(peer)));
    let view = RequestView {
        method: &text_of(method.as_ref()),
        path: &text_of(path.as_ref()),
        query: &text_of(query.as_ref()),
        headers: &headers,
        remote_addr: peer.as_deref(),
        scheme: &text_of(scheme.as_ref()),
        body: None,
    };
    begin(py, &view, policy, body_of(environ, &headers)?)
}

/// What PEP 3333 and servers say of a body: a length; or chunks, whose end only some servers tell (those that set
/// ``wsgi.input_terminated``).
fn body_of(environ: &Bound<'_, PyDict>, headers: &[(&str, &[u8])]) -> PyResult<BodyLength> {
    let py = environ.py();
    let mut length = None;
    let mut is_chunked = false;
    for (name, value) in headers {
        match *name {
            "CONTENT-LENGTH" => {
                length = std::str::from_utf8(value.trim_ascii()).ok().filter(|v| !v.is_empty())
            }
            "TRANSFER-ENCODING" => is_chunked = true,
            _ => {}
        }
    }
    let is_terminated = || -> PyResult<bool> {
        match environ.get_item(pyo3::intern!(py, "wsgi.input_terminated"))? {
            Some(value) => value.is_truthy(),
            None => Ok(false),
        }
    };
    Ok(match length.map(str::parse::<u64>) {
        _ if is_chunked && is_terminated()? => BodyLength::Streamed,
        Some(Ok(0)) => BodyLength::Absent,
        Some(Ok(length)) => BodyLength::Known(length),
        None if !is_chunked => {
            // HTTP/2 needs neither of both.
            let protocol = text(environ, pyo3::intern!(py, "SERVER_PROTOCOL"))?;
            let is_framed = !text_of(protocol.as_ref()).starts_with("HTTP/1");
            if is_framed && is_terminated()? { BodyLength::Streamed } else { BodyLength::Absent }
        }
        _ if is_terminated()? => BodyLength::Streamed,
        _ => BodyLength::Endless,
    })
}

/// As :func:`begin_request`, for a request or WebSocket handshake as ASGI gives it.
///
/// Several lines of one header count as one with commas between (RFC 9110 §5.3), as WSGI servers hand them over; the
/// path is the one below ``root_path``; so a request is judged alike whichever interface it comes through.
///
/// :param scope: the connection scope (``dict``), of type ``http`` or ``websocket``.
/// :param policy: as for :func:`begin_request`.
/// :returns: :class:`RequestState`.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (scope, policy = None))]
pub(crate) fn begin_request_asgi(
    py: Python<'_>,
    scope: &Bound<'_, PyDict>,
    policy: Option<&Bound<'_, PolicyOverride>>,
) -> PyResult<RequestState> {
    let mut pairs = Vec::with_capacity(24);
    if let Some(headers) = scope.get_item(pyo3::intern!(py, "headers"))? {
        for header in headers.try_iter()? {
            let header = header?;
            let (name, value) = (header.get_item(0)?, header.get_item(1)?);
            if let (Ok(name), Ok(value)) = (name.cast_into::<PyBytes>(), value.cast_into::<PyBytes>()) {
                pairs.push((name, value));
            }
        }
    }
    let lines = pairs.iter().filter_map(|(name, value)| {
        Some((std::str::from_utf8(name.as_bytes()).ok()?, Cow::Borrowed(value.as_bytes())))
    });
    let joined = joined(lines);
    let headers: Vec<(&str, &[u8])> = joined.iter().map(|(name, value)| (*name, &**value)).collect();
    let method = text(scope, pyo3::intern!(py, "method"))?;
    let path = text(scope, pyo3::intern!(py, "path"))?;
    let root = text(scope, pyo3::intern!(py, "root_path"))?;
    let scheme = text(scope, pyo3::intern!(py, "scheme"))?;
    let query = scope
        .get_item(pyo3::intern!(py, "query_string"))?
        .and_then(|query| query.cast_into::<PyBytes>().ok());
    let client = scope.get_item(pyo3::intern!(py, "client"))?.filter(|client| !client.is_none());
    let peer = client.and_then(|client| client.get_item(0).ok());
    let peer = peer.and_then(|peer| peer.cast_into::<PyString>().ok());
    let peer = peer.as_ref().map(utf8);
    let (path, root) = (path.as_ref().map_or("/".into(), utf8), root.as_ref().map_or("".into(), utf8));
    let scheme = match scheme.as_ref().map_or("http".into(), utf8) {
        scheme if scheme == "wss" => Cow::Borrowed("https"),
        scheme => scheme,
    };
    let view = RequestView {
        // A WebSocket's handshake is a GET.
        method: &method.as_ref().map_or("GET".into(), utf8),
        path: below(&path, &root),
        query: &query.as_ref().map_or("".into(), |query| String::from_utf8_lossy(query.as_bytes())),
        headers: &headers,
        remote_addr: peer.as_deref(),
        scheme: &scheme,
        body: None,
    };
    let is_http = text(scope, pyo3::intern!(py, "type"))?.as_ref().is_none_or(|kind| utf8(kind) == "http");
    let version = text(scope, pyo3::intern!(py, "http_version"))?;
    let is_framed = version.as_ref().is_some_and(|version| !utf8(version).starts_with("1"));
    let body = if is_http { body_of_asgi(&headers, is_framed) } else { BodyLength::Absent };
    begin(py, &view, policy, body)
}

/// A server that speaks ASGI always tells where a body ends. HTTP/2 and 3 (`is_framed`) announce none: there, any
/// request may have one.
fn body_of_asgi(headers: &[(&str, &[u8])], is_framed: bool) -> BodyLength {
    let mut length = None;
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return BodyLength::Streamed;
        }
        if name.eq_ignore_ascii_case("content-length") {
            length =
                Some(std::str::from_utf8(value.trim_ascii()).ok().and_then(|text| text.parse::<u64>().ok()));
        }
    }
    match length {
        Some(Some(0)) => BodyLength::Absent,
        Some(Some(length)) => BodyLength::Known(length),
        None if !is_framed => BodyLength::Absent,
        _ => BodyLength::Streamed,
    }
}

fn text<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyString>>> {
    Ok(dict.get_item(key)?.and_then(|value| value.cast_into::<PyString>().ok()))
}

fn begin(
    py: Python<'_>,
    view: &RequestView<'_>,
    policy: Option<&Bound<'_, PolicyOverride>>,
    body: BodyLength,
) -> PyResult<RequestState> {
    let policy = policy.map(|policy| &policy.get().0);
    let engine = attached(py, security::current)?;
    let judge = || match policy {
        None => engine.begin_request_before(view, body),
        Some(policy) => engine.begin_request_under(policy.on(&engine)?, view, body),
    };
    let length = view.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let is_short = length + view.path.len() + view.query.len() < LONG;
    let state = if is_short && engine.judges_quickly() { attached(py, judge) } else { detached(py, judge) };
    state.map(RequestState)
}

/// The lines of each header as one. Names rarely come twice, and then few do; but nobody keeps a client from
/// sending thousands, so from a few dozen on they are looked up and not compared.
fn joined<'a>(lines: impl Iterator<Item = (&'a str, Cow<'a, [u8]>)>) -> Vec<(&'a str, Cow<'a, [u8]>)> {
    const FEW: usize = 32;
    let mut headers: Vec<(&str, Cow<'_, [u8]>)> = Vec::with_capacity(24);
    let mut places = std::collections::HashMap::new();
    for (name, value) in lines {
        let place = if headers.len() < FEW {
            headers.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))
        } else {
            if places.is_empty() {
                places.extend(
                    headers.iter().enumerate().map(|(at, (known, _))| (known.to_ascii_lowercase(), at)),
                );
            }
            let next = headers.len();
            let place = *places.entry(name.to_ascii_lowercase()).or_insert(next);
            (place < next).then_some(place)
        };
        match place.and_then(|place| headers.get_mut(place)) {
            Some((_, known)) => {
                let known = known.to_mut();
                known.push(b',');
                known.extend_from_slice(&value);
            }
            None => headers.push((name, value)),
        }
    }
    headers
}

/// The path below where the application is mounted.
fn below<'a>(path: &'a str, root: &str) -> &'a str {
    match path.strip_prefix(root) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// The headers that WSGI gives without the prefix.
const BODY_HEADERS: [&str; 2] = ["CONTENT_TYPE", "CONTENT_LENGTH"];

/// What stood on the wire: WSGI hands it over as a `str` with one character for each byte.
fn bytes_of<'a>(value: &'a Bound<'_, PyString>) -> Cow<'a, [u8]> {
    let text = utf8(value);
    if !text.is_ascii() {
        let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        // Beyond that range it is no server's work but a test's, which means the text.
        if let Ok(bytes) = bytes {
            return Cow::Owned(bytes);
        }
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn text_of<'a>(value: Option<&'a Bound<'_, PyString>>) -> Cow<'a, str> {
    match value.map_or(Cow::Borrowed(&b""[..]), bytes_of) {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
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
