//! The secret store of `security.modules.credentials`, and the opaque [`Secret`] that a read gives.

use std::ffi::CString;

use pyo3::{
    exceptions::{PyTypeError, PyUserWarning, PyValueError},
    prelude::*,
    types::{PyByteArray, PyBytes, PyDict, PyMemoryView, PyString},
};
use security::{SecretDraft, SecretValue};

use crate::{
    convert::{Given, Text, optional, to_map, to_python, usage},
    errors::detached,
};

/// What stands wherever a secret would be shown.
const HIDDEN: &str = "****";

/// A secret that was read: opaque, wiped from memory with its last reference.
///
/// ``repr``, ``str``, ``format``, a traceback with its local variables and a log line show ``****``; it cannot be
/// pickled, is no JSON, has no attributes and no hash; a copy is the same object. ``==`` compares with another
/// ``Secret``, ``str`` or ``bytes`` in constant time for values of one length. It is true, and ``len`` is the number of
/// characters of a text, of bytes otherwise.
#[pyclass(frozen, module = "security._security")]
#[derive(Debug)]
pub(crate) struct Secret(SecretValue);

#[pymethods]
impl Secret {
    /// Hands the value out as text; what the interpreter does with a ``str`` is out of this object's reach.
    ///
    /// :returns: the value (``str``).
    /// :raises ValueError: if it is no UTF-8; :meth:`reveal_bytes` gives it.
    fn reveal<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let text = self.0.bytes.expose_text();
        let text = text.ok_or_else(|| PyValueError::new_err("the secret is no text; use reveal_bytes()"))?;
        Ok(PyString::new(py, text))
    }

    /// Hands the value out as bytes, those of UTF-8 for a text.
    ///
    /// :returns: the value (``bytes``).
    fn reveal_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.bytes.expose())
    }

    fn __repr__(&self) -> &'static str {
        "Secret(****)"
    }

    fn __str__(&self) -> &'static str {
        HIDDEN
    }

    fn __format__(&self, _format_spec: &Bound<'_, PyAny>) -> &'static str {
        HIDDEN
    }

    fn __bool__(&self) -> bool {
        !self.0.bytes.is_empty()
    }

    fn __len__(&self) -> usize {
        match self.0.bytes.expose_text() {
            Some(text) if self.0.is_text => text.chars().count(),
            _ => self.0.bytes.len(),
        }
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match value_of(other) {
            Some(Ok(other)) => {
                let same = self.0.bytes == other.bytes;
                Ok(same.into_pyobject(py)?.to_owned().into_any().unbind())
            }
            // Text that no UTF-8 can hold is nobody's secret.
            Some(Err(_)) => Ok(false.into_pyobject(py)?.to_owned().into_any().unbind()),
            None => Ok(py.NotImplemented()),
        }
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyTypeError::new_err("a Secret cannot be pickled; hand over its name, and read it there"))
    }
}

impl Secret {
    /// A new secret that is text.
    pub(crate) fn of_text(value: &security::Secret) -> Self {
        Self(SecretValue { bytes: security::Secret::new(value.expose()), is_text: true })
    }
}

/// The value of a ``str``, bytes or another secret; an error for text that has no UTF-8, None for anything else.
fn value_of(given: &Bound<'_, PyAny>) -> Option<PyResult<SecretValue>> {
    let of = |bytes: &[u8], is_text| SecretValue { bytes: security::Secret::new(bytes), is_text };
    if let Ok(text) = given.cast::<PyString>() {
        // The interpreter's own message would quote the text.
        let refused = |_| PyValueError::new_err("the text holds lone surrogates, which have no UTF-8");
        return Some(text.to_str().map(|text| of(text.as_bytes(), true)).map_err(refused));
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Some(Ok(of(bytes.as_bytes(), false)));
    }
    if let Ok(bytes) = given.cast::<PyByteArray>() {
        return Some(Ok(SecretValue { bytes: security::Secret::new(bytes.to_vec()), is_text: false }));
    }
    if given.is_instance_of::<PyMemoryView>() {
        let bytes = given.call_method0("tobytes").and_then(|bytes| Ok(bytes.cast_into::<PyBytes>()?));
        return Some(bytes.map(|bytes| of(bytes.as_bytes(), false)));
    }
    let secret = given.cast::<Secret>().ok()?.get();
    Some(Ok(of(secret.0.bytes.expose(), secret.0.is_text)))
}

/// Stores a new version of a secret, encrypted; earlier versions stay.
///
/// Without a master key of the operator's (``SECURITY_MASTER_KEY`` or ``SECURITY_MASTER_KEY_FILE``) the first secret
/// makes a key file in the data directory and warns: whoever loses it loses the secrets.
///
/// :param name: words of ASCII letters, digits and ``._-``, joined by ``/``, like ``mail/smtp-password`` (``str``).
/// :param value: 1 to 65536 bytes (``str``, ``bytes``, ``bytearray``, ``memoryview`` or :class:`Secret`).
/// :param if_version: store only if this (``int``) is the number of the newest version, 0 if there is to be none yet.
/// :param metadata: words of your own about it, kept readable and not encrypted (JSON): at most 32, 8 KiB in all.
/// :returns: ``dict``: ``name``, ``version`` (``int``, 1 is the first), ``created_at`` (RFC 3339), ``metadata``,
///     ``deleted_at``, ``destroyed_at`` (None).
/// :raises ValueError: names the argument and what is accepted.
/// :raises TypeError: for a value of another type.
/// :raises StoreError: when it cannot be stored; with the code ``store-conflict`` when ``if_version`` is not the newest.
#[pyfunction]
#[pyo3(signature = (name, value, *, if_version = None, **metadata))]
pub(crate) fn store_secret<'py>(
    py: Python<'py>,
    name: Given<Text>,
    value: &Bound<'py, PyAny>,
    if_version: Option<Given<i64>>,
    metadata: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let name = name.text("name")?;
    let value = value_of(value).ok_or_else(|| {
        let kind =
            value.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!("argument 'value': str, bytes or a Secret is needed, not {kind}"))
    })?;
    let value = value.map_err(|error| PyValueError::new_err(format!("value: {}", error.value(py))))?;
    let if_version = optional("if_version", if_version, |given, argument| number(given, argument, 0))?;
    let metadata = metadata.map(|given| to_map("metadata", given)).transpose()?.unwrap_or_default();
    let draft = SecretDraft { name, value, metadata, if_version };
    let stored = detached(py, || security::current()?.store_secret(draft))?;
    if let Some(file) = stored.made_key_file {
        let message = format!(
            "a master key was made for stored secrets: keep a copy of {} apart from the data directory, without it no \
             secret can be read; or give a key of your own in SECURITY_MASTER_KEY",
            file.display()
        );
        // A path holds no NUL.
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(message).unwrap_or_default(), 1)?;
    }
    to_python(py, &stored.view)
}

/// Reads a secret. The use is recorded, with the secret's name and never its value.
///
/// :param name: the secret's name (``str``).
/// :param version: which version (``int``); None is the newest.
/// :param options: what is recorded of the use (``str``), as for :func:`verify_api_key`.
/// :returns: :class:`Secret`, which shows nothing; its ``reveal()`` gives the ``str``.
/// :raises NotFoundError: if there is no such secret, or that version is deleted or destroyed.
/// :raises ValueError: for what can be no name.
/// :raises StoreError: with the code ``secret-master-key`` when the master key that it is encrypted under is not here,
///     ``secret-sealed`` when it was changed or put in another one's place.
#[pyfunction]
#[pyo3(signature = (name, *, version = None, **options))]
pub(crate) fn read_secret(
    py: Python<'_>,
    name: Given<Text>,
    version: Option<Given<i64>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Secret> {
    let name = name.text("name")?;
    let version = optional("version", version, |given, argument| number(given, argument, 1))?;
    let context = usage(options);
    detached(py, || security::current()?.read_secret(&name, version, context)).map(Secret)
}

/// Lists the secrets by name, never their values.
///
/// :param include_deleted: also those whose newest version is deleted or destroyed (``bool``).
/// :returns: ``list`` of ``dict`` about the newest version: ``name``, ``version``, ``created_at`` (RFC 3339),
///     ``metadata``, ``deleted_at``, ``destroyed_at`` (RFC 3339 or None), and ``versions``: all of them, newest first.
/// :raises StoreError: when the store cannot be read.
#[pyfunction]
#[pyo3(signature = (*, include_deleted = Given::of(false)), text_signature = "(*, include_deleted=False)")]
pub(crate) fn list_secrets(py: Python<'_>, include_deleted: Given<bool>) -> PyResult<Bound<'_, PyAny>> {
    let include_deleted = include_deleted.value("include_deleted")?;
    let secrets = detached(py, || security::current()?.list_secrets(include_deleted))?;
    to_python(py, &secrets)
}

/// Deletes a secret: it cannot be read any more, and :func:`restore_secret` brings it back.
///
/// :param name: the secret's name (``str``).
/// :param version: this version alone (``int``); None is all.
/// :param destroy: whether (``bool``) the value is overwritten in the store and gone for good.
/// :returns: how many versions that changed (``int``).
/// :raises NotFoundError: if there is no such secret or version.
/// :raises ValueError: for what can be no name.
/// :raises StoreError: when the change cannot be stored.
#[pyfunction]
#[pyo3(signature = (name, *, version = None, destroy = Given::of(false)), text_signature = "(name, *, version=None, destroy=False)")]
pub(crate) fn delete_secret(
    py: Python<'_>,
    name: Given<Text>,
    version: Option<Given<i64>>,
    destroy: Given<bool>,
) -> PyResult<usize> {
    let name = name.text("name")?;
    let version = optional("version", version, |given, argument| number(given, argument, 1))?;
    let destroy = destroy.value("destroy")?;
    detached(py, || security::current()?.delete_secret(&name, version, destroy))
}

/// Takes the deletion of a secret back. What was destroyed stays so.
///
/// :param name: the secret's name (``str``).
/// :param version: this version alone (``int``); None is all.
/// :returns: how many versions that changed (``int``).
/// :raises NotFoundError: if there is no such secret or version.
/// :raises ValueError: for what can be no name.
/// :raises StoreError: when the change cannot be stored.
#[pyfunction]
#[pyo3(signature = (name, *, version = None))]
pub(crate) fn restore_secret(
    py: Python<'_>,
    name: Given<Text>,
    version: Option<Given<i64>>,
) -> PyResult<usize> {
    let name = name.text("name")?;
    let version = optional("version", version, |given, argument| number(given, argument, 1))?;
    detached(py, || security::current()?.restore_secret(&name, version))
}

/// Puts another master key in force: ``SECURITY_MASTER_KEY`` if it is set, else a new one in a file of its own.
///
/// Only the secrets' own keys are encrypted anew, no value is read. Killed at any point, everything can still be read,
/// and the next call goes on from there. The operator's present key has to stand in ``SECURITY_MASTER_KEY_PREVIOUS``.
///
/// :returns: ``dict``: ``key_id`` (``str``, of the key in force now), ``retired`` (``list`` of the ids that nothing needs
///     any more), ``rewrapped`` (``int``, versions), ``resumed`` (``bool``: it ended an earlier rotation and began none),
///     ``refused`` (``list`` of ``str``: versions whose keys do not open and which stay as they are), ``key_file``
///     (``str``: keep a copy of it elsewhere; None when the operator holds the key).
/// :raises ConfigurationError: if ``SECURITY_MASTER_KEY`` is the one in force.
/// :raises StoreError: with the code ``secret-master-key`` when the present key is not here, ``store-conflict`` when
///     another process was first: nothing changed then.
#[pyfunction]
pub(crate) fn rotate_master_key(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let report = detached(py, || security::current()?.rotate_master_key())?;
    to_python(py, &report)
}

/// A version's number, `least` or more.
fn number(given: Given<i64>, argument: &str, least: u64) -> PyResult<u64> {
    let given = given.value(argument)?;
    let accepted = u64::try_from(given).ok().filter(|number| *number >= least);
    accepted.ok_or_else(|| {
        PyValueError::new_err(format!("{argument}: {given} is not accepted; accepted is {least} or more"))
    })
}
