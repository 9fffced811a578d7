//! `security.modules.utils`: ids, masks, fresh secrets, and getting rid of what must not stay.

use std::path::PathBuf;

use pyo3::{exceptions::PyValueError, prelude::*, types::PyString};

use crate::{
    convert::{Given, Text, presented},
    errors::{attached, detached},
};

/// Makes a request id.
///
/// :returns: a random UUID (version 4) as ``str``, 36 characters.
#[pyfunction]
pub(crate) fn generate_request_id() -> String {
    security::generate_request_id()
}

/// Masks a credential for logs and screens.
///
/// :param credential: the credential (``str``); ``bytes`` are taken as UTF-8, None is nothing.
/// :returns: ``str`` of one length for all: at most four characters of each end show, and none of a short one.
/// :raises TypeError: if it is neither ``str``, ``bytes`` nor None.
#[pyfunction]
pub(crate) fn mask_credential(credential: &Bound<'_, PyAny>) -> PyResult<String> {
    if credential.is_none() {
        return Ok(security::mask_credential(""));
    }
    if let Ok(text) = credential.cast::<PyString>() {
        return Ok(security::mask_credential(&crate::convert::utf8(text)));
    }
    if credential.is_instance_of::<pyo3::types::PyBytes>() {
        return Ok(security::mask_credential(&String::from_utf8_lossy(&presented(credential))));
    }
    // The value itself must not stand in a message, whatever it is.
    Err(pyo3::exceptions::PyTypeError::new_err("argument 'credential': a str, bytes or None is needed"))
}

/// Makes a fresh secret from the system's random source.
///
/// :param length: number of characters (``int``).
/// :param complexity: which classes of characters there are, at least one of each (``str``): ``low`` is letters,
///     ``medium`` letters and digits, ``high`` and ``very_high`` signs as well.
/// :returns: the secret (``str``), stored nowhere.
/// :raises ValueError: for a length that cannot be made, or an unknown complexity.
#[pyfunction]
#[pyo3(signature = (length = Given::of(32), complexity = Given::of(Text("high".to_owned()))), text_signature = "(length=32, complexity='high')")]
pub(crate) fn generate_secure_credential(
    py: Python<'_>,
    length: Given<i64>,
    complexity: Given<Text>,
) -> PyResult<String> {
    let length = length.value("length")?;
    let complexity = complexity.text("complexity")?;
    let length = usize::try_from(length).map_err(|_| {
        PyValueError::new_err(format!("length: {length} is not accepted; a positive number is needed"))
    })?;
    let secret = attached(py, || security::generate_secure_credential(length, &complexity))?;
    revealed(&secret)
}

/// Hands a secret to the caller, who asked for it.
pub(crate) fn revealed(secret: &security::Secret) -> PyResult<String> {
    let text = secret.expose_text().map(str::to_owned);
    text.ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("a generated secret is text"))
}

/// Removes an intelligence record, or a file.
///
/// On a journaling or copy-on-write file system and on a solid-state disk older copies may stay whatever is
/// overwritten; only encryption whose key is thrown away is certain there.
///
/// :param path_or_intel_id: the id of an intelligence record (``intel--…``), or the path of a file (``str`` or
///     path-like) outside the data directory.
/// :param secure_delete: whether (``bool``) the content is overwritten first.
/// :returns: ``bool``: True when something was removed, False when there was no such record or file.
/// :raises ValueError: for a directory, a link, or a file of the engine's own.
/// :raises StoreError: when it cannot be removed.
#[pyfunction]
#[pyo3(signature = (path_or_intel_id, secure_delete = Given::of(false)), text_signature = "(path_or_intel_id, secure_delete=False)")]
pub(crate) fn dispose_sensitive_data(
    py: Python<'_>,
    path_or_intel_id: Given<PathBuf>,
    secure_delete: Given<bool>,
) -> PyResult<bool> {
    let path_or_intel_id = path_or_intel_id.value("path_or_intel_id")?;
    let secure_delete = secure_delete.value("secure_delete")?;
    let named = path_or_intel_id
        .to_str()
        .ok_or_else(|| PyValueError::new_err("path_or_intel_id: the path is not UTF-8"))?;
    detached(py, || security::current()?.dispose_sensitive_data(named, secure_delete))
}
