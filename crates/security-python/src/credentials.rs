//! `security.modules.credentials`: the application's own credentials, and the keys it issues.

use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyDict, PyList, PyString},
};
use security::{
    CredentialKind, IssueRequest, KeyAnswer, KeyDescription, KeyFilter, KeyReason, RequestId, Timestamp,
};
use serde_json::{Map, Value};

use crate::{
    convert::{
        Given, Text, Texts, answer, class_of, named, optional, presented, seconds, to_json, to_map,
        to_python, usage,
    },
    errors::{attached, checked, detached},
    key_scan,
    utils::revealed,
};

/// Verifies an API key: the document's ``API_KEY`` and every issued key that is in force.
///
/// :param api_key: what was presented, of any type; what is no key is False and never an error.
/// :param options: what is recorded of the use: ``request_id``, ``client_ip`` (or ``ip_address``), ``user_agent``,
///     ``user_id``, ``component``, ``operation``, ``error`` (``str``) and any other.
/// :returns: ``bool``; compared in constant time.
/// :raises StoreError: when the store cannot be read: nothing is accepted then.
#[pyfunction]
#[pyo3(signature = (api_key, **options))]
pub(crate) fn verify_api_key(
    py: Python<'_>,
    api_key: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<bool> {
    let (presented, context) = (presented(api_key), usage(options));
    let engine = attached(py, security::current)?;
    checked(py, &engine, |engine| engine.verify_api_key(&presented, context))
}

fn verify(
    py: Python<'_>,
    kind: CredentialKind,
    given: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<bool> {
    let (presented, context) = (presented(given), usage(options));
    attached(py, || security::current()?.verify_credential(kind, &presented, context))
}

/// Verifies the database password, ``DB_PASSWORD``.
///
/// :param password: what was presented, of any type; what is no password is False and never an error.
/// :param options: what is recorded of the use (``str``), as for :func:`verify_api_key`.
/// :returns: ``bool``; compared in constant time.
/// :raises StoreError: when the store cannot be read: nothing is accepted then.
#[pyfunction]
#[pyo3(signature = (password, **options))]
pub(crate) fn verify_db_password(
    py: Python<'_>,
    password: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<bool> {
    verify(py, CredentialKind::DbPassword, password, options)
}

/// Verifies the key of the mail service, ``MAIL_API_KEY``.
///
/// :param api_key: what was presented, of any type; what is no key is False and never an error.
/// :param options: what is recorded of the use (``str``), as for :func:`verify_api_key`.
/// :returns: ``bool``; compared in constant time.
/// :raises StoreError: when the store cannot be read: nothing is accepted then.
#[pyfunction]
#[pyo3(signature = (api_key, **options))]
pub(crate) fn verify_mail_api_key(
    py: Python<'_>,
    api_key: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<bool> {
    verify(py, CredentialKind::MailApiKey, api_key, options)
}

/// Verifies the key of the logging service, ``LOGGING_API_KEY``.
///
/// :param api_key: what was presented, of any type; what is no key is False and never an error.
/// :param options: what is recorded of the use (``str``), as for :func:`verify_api_key`.
/// :returns: ``bool``; compared in constant time.
/// :raises StoreError: when the store cannot be read: nothing is accepted then.
#[pyfunction]
#[pyo3(signature = (api_key, **options))]
pub(crate) fn verify_logging_api_key(
    py: Python<'_>,
    api_key: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<bool> {
    verify(py, CredentialKind::LoggingApiKey, api_key, options)
}

/// Verifies the secret token, ``SECRET_TOKEN``.
///
/// :param token: what was presented, of any type; what is no token is False and never an error.
/// :param options: what is recorded of the use (``str``), as for :func:`verify_api_key`.
/// :returns: ``bool``; compared in constant time.
/// :raises StoreError: when the store cannot be read: nothing is accepted then.
#[pyfunction]
#[pyo3(signature = (token, **options))]
pub(crate) fn verify_secret_token(
    py: Python<'_>,
    token: &Bound<'_, PyAny>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<bool> {
    verify(py, CredentialKind::SecretToken, token, options)
}

/// Records that a credential was used, for example to call another service.
///
/// The record is durable within 50 milliseconds by default; :func:`flush` waits for it.
///
/// :param credential_type: ``api_key``, ``API_KEY`` and so on, or the application's own word (``str``).
/// :param component: the part of the application (``str``).
/// :param operation: what was done (``str``).
/// :param options: ``success`` (``bool``; default True unless there is an ``error``), ``request_id``, ``client_ip``,
///     ``user_agent``, ``user_id``, ``error`` (``str``) and any other.
/// :returns: the request id (``str``), made when none was given.
/// :raises ValueError: for an empty type, component or operation.
#[pyfunction]
#[pyo3(signature = (credential_type, component, operation, **options))]
pub(crate) fn log_credential_usage(
    py: Python<'_>,
    credential_type: Given<Text>,
    component: Given<Text>,
    operation: Given<Text>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<String> {
    let credential_type = credential_type.text("credential_type")?;
    let component = component.text("component")?;
    let operation = operation.text("operation")?;
    let context = usage(options);
    attached(py, || {
        security::current()?.log_credential_usage(&credential_type, &component, &operation, context)
    })
}

/// Gives the newest usage records of all processes.
///
/// :param limit: the most records (``int``), 1 or more.
/// :returns: ``list`` of ``dict``, newest first: ``request_id``, ``timestamp`` (RFC 3339), ``credential_type``,
///     ``component``, ``operation``, ``success`` (``bool``), ``reason``, ``key_id``, ``client_ip``, ``ip_address``,
///     ``user_agent``, ``user_id``, ``error`` and every other option of the caller.
/// :raises ValueError: for a limit below 1.
/// :raises StoreError: when the records cannot be read.
#[pyfunction]
#[pyo3(signature = (limit = Given::of(100)), text_signature = "(limit=100)")]
pub(crate) fn get_recent_usage(py: Python<'_>, limit: Given<i64>) -> PyResult<Bound<'_, PyAny>> {
    let limit = limit.limit("limit")?;
    let records = detached(py, || security::current()?.recent_usage(limit))?;
    to_python(py, &records)
}

/// Looks for suspicious use of credentials: guessing, stuffing (one address, many keys), spraying (one key, many
/// addresses), new addresses, sleepers, strange hours, jumps in volume, use of ended keys, of old values in grace, and
/// of canaries. It finds; nothing is blocked.
///
/// :returns: ``list`` of ``dict``, worst first: ``id`` (``str``, the same whenever the same matter is found), ``type``,
///     ``severity``, ``credential_type``, ``key_id``, ``description`` (``str``), ``count`` (``int``), ``first_seen``,
///     ``last_seen`` (RFC 3339), ``evidence`` (request ids), ``client_ips``.
/// :raises StoreError: when the records cannot be read.
#[pyfunction]
pub(crate) fn analyze_for_suspicious_activity(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let findings = detached(py, || security::current()?.suspicious_activity())?;
    to_python(py, &findings)
}

/// Judges how hard a credential would be to guess, and whether it is known from breaches where a filter is in place
/// (``security breached build``); it is neither stored nor recorded.
///
/// :param credential: the candidate (``str`` or ``bytes``; anything else is judged as empty).
/// :param credential_type: ``api_key`` or ``API_KEY`` and so on (``str``).
/// :param request_id: given back (``str``); made when None.
/// :returns: :class:`StrengthReport`, true when valid: ``valid``, ``score`` (0 to 4), ``entropy_bits``, ``length``
///     (characters), ``breached`` (``bool``, or None without a filter), ``problems``, ``suggestions``,
///     ``credential_type``, ``request_id``.
/// :raises ValueError: for an unknown type.
/// :raises StoreError: for a filter that cannot be used.
#[pyfunction]
#[pyo3(signature = (credential, credential_type, request_id = None))]
pub(crate) fn validate_credential<'py>(
    py: Python<'py>,
    credential: &Bound<'py, PyAny>,
    credential_type: Given<Text>,
    request_id: Option<Given<Text>>,
) -> PyResult<Bound<'py, PyAny>> {
    let credential_type = credential_type.text("credential_type")?;
    let request_id = optional("request_id", request_id, Given::text)?;
    let candidate = presented(credential);
    let report = detached(py, || security::current()?.validate_credential(&candidate, &credential_type))?;
    let report = answer(py, "StrengthReport", &report)?;
    report.set_item("request_id", request_id.unwrap_or_else(security::generate_request_id))?;
    Ok(report)
}

/// Says when each credential that was ever set is due for rotation, and which issued keys end soon.
///
/// :returns: ``list`` of ``dict``: ``credential_type``, ``status`` (``ok``, ``planned``, ``due_soon``, ``overdue``),
///     ``last_changed_at``, ``due_at`` (RFC 3339), ``days_left`` (``int``, below zero once overdue), ``recommendation``.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
pub(crate) fn check_credential_expiration(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let reports = detached(py, || security::current()?.check_credential_expiration())?;
    to_python(py, &reports)
}

/// Makes a new value the accepted one, in every process at once.
///
/// The value is given back this once and kept as a digest only. Every previous value, the environment's among them,
/// is refused after the grace, also by processes that start later with the old environment.
///
/// :param credential_type: ``api_key`` or ``API_KEY`` and so on (``str``).
/// :param request_id: recorded with the change (``str``); made when None.
/// :param grace_seconds: how long previous values are still accepted: seconds (``int``, ``float``) or ``timedelta``.
/// :returns: the new value (``str``).
/// :raises ValueError: for an unknown type, a grace below zero or beyond a year, or a request id of more than 1024 bytes.
/// :raises SecurityError: with the code ``rotation-under-way`` when somebody else rotates it at the moment, and
///     ``rotation-failed`` when a step of :func:`on_rotate` failed; the old value is in force then.
/// :raises StoreError: when the change cannot be stored; nothing changed then.
#[pyfunction]
#[pyo3(signature = (credential_type, request_id = None, grace_seconds = None), text_signature = "(credential_type, request_id=None, grace_seconds=0)")]
pub(crate) fn rotate_credential(
    py: Python<'_>,
    credential_type: Given<Text>,
    request_id: Option<Given<Text>>,
    grace_seconds: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    let credential_type = credential_type.text("credential_type")?;
    let request_id = optional("request_id", request_id, Given::text)?;
    let grace = grace_seconds.map(|given| seconds("grace_seconds", given)).transpose()?.unwrap_or_default();
    let secret = detached(py, || {
        security::current()?.rotate_credential(&credential_type, request_id.as_deref(), grace)
    })?;
    revealed(&secret)
}

/// Takes note of every credential that is set and was never seen, so that its age counts from now.
///
/// :returns: ``dict`` by credential: ``created_at``, ``last_changed_at``, ``due_at`` (RFC 3339 or None), ``status``,
///     ``planned_for``, ``rotate_every_days``, ``warn_before_days``, ``length`` (``int``), ``complexity`` (``str``).
/// :raises StoreError: when the store cannot be written.
#[pyfunction]
pub(crate) fn init_credential_metadata(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let metadata = detached(py, || security::current()?.init_credential_metadata())?;
    to_python(py, &metadata)
}

/// Plans the rotation of every credential that was ever set, at the end of its period, at once if overdue.
///
/// What has steps in this process (:func:`on_rotate`) is rotated when its time has come, and its old value retired when
/// the grace is over, so that a timer may call this. Nothing else rotates by itself: whoever calls
/// :func:`rotate_credential` has to bring the new value to where it is used.
///
/// :returns: ``list`` of ``dict``: ``credential_type``, ``due_at`` (RFC 3339), ``status`` (``planned``, or
///     ``due_soon`` and ``overdue`` where it is urgent) and more.
/// :raises SecurityError: with the code ``rotation-failed`` when a step failed; the others had their turn.
/// :raises StoreError: when the plan cannot be stored.
#[pyfunction]
pub(crate) fn schedule_credential_rotation(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let plan = detached(py, || security::current()?.schedule_credential_rotation())?;
    to_python(py, &plan)
}

/// Issues an API key.
///
/// :param name: a name that people choose (``str``).
/// :param scopes: what it may do, exact names (``list`` of ``str``); ``*`` is everything, nothing is nothing.
/// :param owner: whom it is issued to (``str``).
/// :param expires_in: how long it lives: seconds (``int``, ``float``) or ``timedelta``; None is for ever.
/// :param allowed_networks: where it may be used from, in CIDR notation (``list`` of ``str``); nothing is anywhere.
/// :param rate_limit: ``100/minute``, ``20/second``, ``5000/hour`` or ``unlimited`` (``str``); None is the default.
/// :param prefix: how its text begins (``str``).
/// :param canary: whether any use raises a critical alert (``bool``).
/// :param metadata: the application's own words (``dict``).
/// :returns: ``dict`` of the record with its ``id`` and, this once, ``key`` (``str``); the store keeps a digest.
/// :raises ValueError: names the argument and what is accepted.
/// :raises StoreError: when it cannot be stored; nothing was issued then.
#[pyfunction]
#[pyo3(
    signature = (name, *, scopes = None, owner = None, expires_in = None, allowed_networks = None, rate_limit = None, prefix = None, canary = Given::of(false), metadata = None),
    text_signature = "(name, *, scopes=(), owner=None, expires_in=None, allowed_networks=(), rate_limit=None, prefix='sk', canary=False, metadata=None)"
)]
#[expect(clippy::too_many_arguments, reason = "all but the first are Python keywords")]
pub(crate) fn issue_api_key<'py>(
    py: Python<'py>,
    name: Given<Text>,
    scopes: Option<Given<Texts>>,
    owner: Option<Given<Text>>,
    expires_in: Option<&Bound<'py, PyAny>>,
    allowed_networks: Option<Given<Texts>>,
    rate_limit: Option<Given<Text>>,
    prefix: Option<Given<Text>>,
    canary: Given<bool>,
    metadata: Option<Given<Bound<'py, PyDict>>>,
) -> PyResult<Bound<'py, PyAny>> {
    let name = name.text("name")?;
    let scopes = optional("scopes", scopes, Given::texts)?;
    let owner = optional("owner", owner, Given::text)?;
    let allowed_networks = optional("allowed_networks", allowed_networks, Given::texts)?;
    let rate_limit = optional("rate_limit", rate_limit, Given::text)?;
    let prefix = optional("prefix", prefix, Given::text)?;
    let canary = canary.value("canary")?;
    let request = IssueRequest {
        name,
        scopes: scopes.unwrap_or_default(),
        owner,
        expires_in: expires_in.map(|given| seconds("expires_in", given)).transpose()?,
        allowed_networks: allowed_networks.unwrap_or_default(),
        rate_limit,
        prefix,
        canary,
        metadata: optional("metadata", metadata, Given::map)?.unwrap_or_default(),
    };
    let (view, secret) = detached(py, || security::current()?.issue_api_key(request))?;
    with_key(py, &view, &secret)
}

/// The record with the key itself in it: the one time that it is shown.
fn with_key<'py>(
    py: Python<'py>,
    view: &security::KeyView,
    secret: &security::Secret,
) -> PyResult<Bound<'py, PyAny>> {
    let record = to_python(py, view)?;
    record.set_item("key", revealed(secret)?)?;
    Ok(record)
}

/// Checks whether an API key may do something, and records the use.
///
/// ``API_KEY`` of the document counts as a key with every scope, without id, name and owner.
///
/// :param key: what was presented, of any type; what is no key is an answer and never an error.
/// :param scopes: what it must be allowed to do, all of it (``list`` of ``str``).
/// :param client_ip: the client's address (``str``); a key that is bound to networks is refused without one.
/// :param options: what is recorded of the use (``str``), as for :func:`verify_api_key`.
/// :returns: :class:`KeyCheck`, true when it may: ``valid``, ``reason`` (``ok``, ``malformed``, ``unknown``,
///     ``expired``, ``revoked``, ``scope``, ``network``, ``rate_limited``, ``locked_out``), ``key_id``, ``name``,
///     ``owner``, ``scopes``, ``expires_at``, ``retry_after`` (seconds), ``request_id``.
/// :raises TypeError: if ``scopes`` is no list of ``str``.
/// :raises StoreError: when the store cannot be read: nothing is accepted then.
#[pyfunction]
#[pyo3(
    signature = (key, *, scopes = None, client_ip = None, **options),
    text_signature = "(key, *, scopes=(), client_ip=None, **options)"
)]
pub(crate) fn check_api_key<'py>(
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    scopes: Option<Given<Texts>>,
    client_ip: Option<Given<Text>>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let scopes = optional("scopes", scopes, Given::texts)?;
    let client_ip = optional("client_ip", client_ip, Given::text)?;
    let (presented, scopes, mut context) = (presented(key), scopes.unwrap_or_default(), usage(options));
    context.client_ip = client_ip.or(context.client_ip);
    let mut told = KeyDescription::default();
    let engine = attached(py, security::current)?;
    let answer =
        checked(py, &engine, |engine| engine.answer_api_key(&presented, &scopes, context, &mut told))?;
    key_check(py, &answer, &told)
}

/// The class `security.answers.KeyCheck` and a dictionary with all its names, which each answer begins as.
struct KeyCheckForm {
    class: Py<PyAny>,
    entries: Py<PyDict>,
}

impl KeyCheckForm {
    fn make(py: Python<'_>) -> PyResult<Self> {
        let entries = PyDict::new(py);
        entries.set_item(intern!(py, "valid"), false)?;
        entries.set_item(intern!(py, "reason"), intern!(py, "ok"))?;
        for name in ["key_id", "name", "owner", "scopes", "expires_at", "retry_after", "request_id"] {
            entries.set_item(PyString::intern(py, name), py.None())?;
        }
        Ok(Self { class: class_of(py, "KeyCheck")?.unbind(), entries: entries.unbind() })
    }
}

/// A check as `security.answers.KeyCheck`, entry by entry: requests wait for it.
fn key_check<'py>(
    py: Python<'py>,
    check: &KeyAnswer<'_>,
    key: &KeyDescription,
) -> PyResult<Bound<'py, PyAny>> {
    static FORM: PyOnceLock<KeyCheckForm> = PyOnceLock::new();
    let form = FORM.get_or_try_init(py, || KeyCheckForm::make(py))?;
    // An empty dictionary takes another one's entries over as a whole; what follows only replaces values.
    let answer = form.class.bind(py).call0()?.cast_into::<PyDict>()?;
    answer.update(form.entries.bind(py).as_mapping())?;
    if check.valid {
        answer.set_item(intern!(py, "valid"), true)?;
    }
    if check.reason != KeyReason::Ok {
        answer.set_item(intern!(py, "reason"), check.reason.as_str())?;
    }
    let scopes = match &check.key_id {
        Some(id) => {
            answer.set_item(intern!(py, "key_id"), id.as_ref())?;
            answer.set_item(intern!(py, "name"), key.name())?;
            if let Some(owner) = key.owner() {
                answer.set_item(intern!(py, "owner"), owner)?;
            }
            if let Some(end) = key.expires_at {
                answer.set_item(intern!(py, "expires_at"), end.encode(&mut [0; Timestamp::TEXT]))?;
            }
            PyList::new(py, key.scopes())?
        }
        None if check.is_document() => PyList::new(py, ["*"])?,
        None => PyList::empty(py),
    };
    answer.set_item(intern!(py, "scopes"), scopes)?;
    if let Some(seconds) = check.retry_after {
        answer.set_item(intern!(py, "retry_after"), seconds)?;
    }
    let mut buffer = [0; RequestId::MADE];
    answer.set_item(intern!(py, "request_id"), check.request_id.encode(&mut buffer))?;
    Ok(answer.into_any())
}

/// Revokes an issued key: every process refuses it from its next call on.
///
/// :param key_id: the key's id (``str``), not the key.
/// :param reason: why, for the record (``str``).
/// :returns: ``dict`` of the record; a key revoked before stays as it was.
/// :raises NotFoundError: if there is no such key.
/// :raises ValueError: for a reason that cannot be kept.
/// :raises StoreError: when the change cannot be stored.
#[pyfunction]
#[pyo3(signature = (key_id, reason = Given::of(Text(String::new()))), text_signature = "(key_id, reason='')")]
pub(crate) fn revoke_api_key(
    py: Python<'_>,
    key_id: Given<Text>,
    reason: Given<Text>,
) -> PyResult<Bound<'_, PyAny>> {
    let key_id = key_id.text("key_id")?;
    let reason = reason.text("reason")?;
    let view = detached(py, || security::current()?.revoke_api_key(&key_id, &reason))?;
    to_python(py, &view)
}

/// Gives an issued key a new secret; its id and settings stay.
///
/// :param key_id: the key's id (``str``), not the key.
/// :param grace_seconds: how long the old one is still accepted: seconds (``int``, ``float``) or ``timedelta``.
/// :returns: ``dict`` of the record with, this once, ``key`` (``str``).
/// :raises NotFoundError: if there is no such key.
/// :raises ValueError: for a key that has ended, or a grace that is not accepted.
/// :raises StoreError: when the change cannot be stored.
#[pyfunction]
#[pyo3(signature = (key_id, grace_seconds = None), text_signature = "(key_id, grace_seconds=0)")]
pub(crate) fn rotate_api_key<'py>(
    py: Python<'py>,
    key_id: Given<Text>,
    grace_seconds: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let key_id = key_id.text("key_id")?;
    let grace = grace_seconds.map(|given| seconds("grace_seconds", given)).transpose()?.unwrap_or_default();
    let (view, secret) = detached(py, || security::current()?.rotate_api_key(&key_id, grace))?;
    with_key(py, &view, &secret)
}

/// Lists issued keys, without anything secret.
///
/// :param owner: only keys issued to it (``str``).
/// :param name: only keys of this name (``str``).
/// :param active: only keys that are neither revoked nor expired (True), or only the others (False).
/// :returns: ``list`` of ``dict``, newest first: ``id``, ``prefix``, ``name``, ``owner``, ``scopes``, ``created_at``,
///     ``expires_at`` (RFC 3339 or None), ``allowed_networks``, ``rate_limit``, ``canary``, ``metadata``,
///     ``previous_until``, ``revoked_at``, ``revoked_reason``.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (*, owner = None, name = None, active = None))]
pub(crate) fn list_api_keys(
    py: Python<'_>,
    owner: Option<Given<Text>>,
    name: Option<Given<Text>>,
    active: Option<Given<bool>>,
) -> PyResult<Bound<'_, PyAny>> {
    let owner = optional("owner", owner, Given::text)?;
    let name = optional("name", name, Given::text)?;
    let active = optional("active", active, Given::value)?;
    let filter = KeyFilter { owner, name, active, limit: None };
    let views = detached(py, || security::current()?.list_api_keys(&filter))?;
    to_python(py, &views)
}

/// Takes over API keys that another system issued, by the hashes that it kept of them: nobody needs a new key.
///
/// From then on they are keys like those issued here: checked, listed, limited, revoked; a rotation gives one of the
/// usual form. An import may be repeated: keys that are there already stay as they are.
///
/// A record has ``name`` and ``hash`` (``str``): SHA-256 or SHA-512 of the key in hex or Base64, also as
/// ``sha256$salt$digest`` or ``sha256:digest``, or a PHC string of Argon2. ``algorithm`` (``sha256``, ``sha512``,
/// ``argon2``) is needed where the hash leaves it open, ``salt`` is what was hashed before the key. Argon2 and salted
/// hashes need ``key_prefix``, the text that this key and no other begins with; ``hash_covers`` is ``key`` or ``secret``,
/// what follows ``key_prefix``. An Argon2 hash is computed once, at the key's first use. Further: ``owner``, ``scopes``,
/// ``created_at``, ``expires_at``, ``allowed_networks``, ``rate_limit``, ``canary``, ``metadata``, as for
/// :func:`issue_api_key`; times are RFC 3339 or ``datetime``.
///
/// :param records_or_path: an iterable of such ``dict``, or a path (``str`` or path-like) to a file of JSON lines or one
///     JSON array.
/// :param prefix: what these keys begin with once they are rotated (``str``).
/// :returns: ``dict``: ``imported``, ``present`` (were there already), ``rejected`` (``int``), ``rejections`` (the first
///     100, ``list`` of ``{record, reason}``; records count from 1).
/// :raises ValueError: for a prefix of another shape, or a file that is no JSON; what came before it is imported.
/// :raises TypeError: for what is neither records nor a path.
/// :raises OSError: when the file cannot be read.
/// :raises StoreError: when the keys cannot be stored.
#[pyfunction]
#[pyo3(signature = (records_or_path, *, prefix = None), text_signature = "(records_or_path, *, prefix='sk')")]
pub(crate) fn import_api_keys<'py>(
    py: Python<'py>,
    records_or_path: &Bound<'py, PyAny>,
    prefix: Option<Given<Text>>,
) -> PyResult<Bound<'py, PyAny>> {
    const ARGUMENT: &str = "records_or_path";
    let prefix = optional("prefix", prefix, Given::text)?;
    let report = if let Ok(path) = records_or_path.extract::<std::path::PathBuf>() {
        let file =
            py.detach(|| std::fs::File::open(&path)).map_err(|error| crate::intel::at(&path, error))?;
        let input = std::io::BufReader::with_capacity(1 << 16, file);
        detached(py, || security::current()?.import_api_key_file(input, prefix.as_deref()))?
    } else {
        if records_or_path.is_instance_of::<PyDict>() || records_or_path.is_instance_of::<PyBytes>() {
            return Err(PyTypeError::new_err(format!(
                "argument '{ARGUMENT}': a list of dict, or a path, is needed"
            )));
        }
        let records = records_or_path.try_iter().map_err(|error| named(py, ARGUMENT, error))?;
        let records = records.map(|record| to_json(ARGUMENT, &record?)).collect::<PyResult<Vec<Value>>>()?;
        detached(py, || security::current()?.import_api_keys(records, prefix.as_deref()))?
    };
    to_python(py, &report)
}

/// Finds own API keys in a text, a file or a folder, and says which of them still open something.
///
/// Keys are told by shape and checksum, then looked up. A scan is no use of a key: nothing is recorded or alerted.
/// Below a folder symbolic links are not followed; files with zero bytes at their beginning are passed over.
///
/// :param text_or_path: ``bytes`` are a text and path-like objects are a path. A ``str`` is a path if something exists
///     there and it holds no line break, else a text: give ``pathlib.Path(...)`` where a wrong path must not pass
///     for a clean text.
/// :param binary: whether to look into binary files as well (``bool``).
/// :param gzip: whether to unpack gzip files (``bool``), up to 1 GiB each.
/// :param limit: the most findings (``int``); the scan ends there.
/// :param on_skip: called with ``(file, problem)`` (``str``) for each file below a folder that cannot be read. When
///     None, a ``RuntimeWarning`` says how many there were.
/// :returns: ``list`` of ``dict`` in the order they were met: ``key`` (masked), ``key_id``, ``status`` (``live``,
///     ``revoked``, ``expired``, ``superseded`` by a rotation, ``unknown``), ``name``, ``owner``, ``file`` (``str`` or None),
///     ``line``, ``column`` (characters, from 1), ``offset`` (of ``str``: characters; of files and ``bytes``: bytes).
/// :raises OSError: when the path itself cannot be read.
/// :raises TypeError: for anything else than a text or path.
/// :raises ValueError: for a limit below 1.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(
    signature = (text_or_path, *, binary = Given::of(false), gzip = Given::of(true), limit = Given::of(10_000), on_skip = None),
    text_signature = "(text_or_path, *, binary=False, gzip=True, limit=10000, on_skip=None)"
)]
pub(crate) fn scan_for_keys<'py>(
    py: Python<'py>,
    text_or_path: &Bound<'py, PyAny>,
    binary: Given<bool>,
    gzip: Given<bool>,
    limit: Given<i64>,
    on_skip: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = security::KeyScanOptions {
        binary: binary.value("binary")?,
        gzip: gzip.value("gzip")?,
        ..security::KeyScanOptions::default()
    };
    key_scan::run(py, text_or_path, options, limit.limit("limit")?, on_skip)
}

/// Gives the newest records of the audit trail: who did what to the engine.
///
/// :param limit: the most records (``int``), 1 or more.
/// :param filters: fields that must be equal (``str`` and so on), for example ``event="key_issued"``.
/// :returns: ``list`` of ``dict``, newest first: ``at`` (RFC 3339), ``event``, ``request_id``, ``process``, ``details``.
/// :raises ValueError: for a limit below 1.
/// :raises TypeError: for a filter that is no JSON.
/// :raises StoreError: when the trail cannot be read.
#[pyfunction]
#[pyo3(signature = (limit = Given::of(100), **filters), text_signature = "(limit=100, **filters)")]
pub(crate) fn get_audit_log<'py>(
    py: Python<'py>,
    limit: Given<i64>,
    filters: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let limit = limit.limit("limit")?;
    let filter: Map<String, Value> =
        filters.map(|given| to_map("filters", given)).transpose()?.unwrap_or_default();
    let records = detached(py, || security::current()?.audit_log(limit, &filter))?;
    to_python(py, &records)
}

/// Checks the hash chains of the journal, and the audit trail against its head and the credential store: an edited,
/// removed, added or reordered line is found, and so are a cut-off end, a missing file and a part that was put back
/// to an older copy.
///
/// :returns: ``dict``: ``intact`` (``bool``), ``records``, ``files`` (``int``), ``torn``, ``unvouched`` (``int``: audit
///     records newer than the head, as a process that runs or was killed leaves them), ``first_broken`` (``dict`` of
///     ``file``, ``line``, ``reason``, or None), ``broken`` (``list`` of the same, 100 at most).
/// :raises StoreError: when the journal cannot be read.
#[pyfunction]
pub(crate) fn verify_audit_log(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let report = detached(py, || security::current()?.verify_audit_log())?;
    to_python(py, &report)
}
