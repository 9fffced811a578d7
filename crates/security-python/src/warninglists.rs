//! The part of `security.modules.intel` that is about warninglists.

use std::path::PathBuf;

use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};
use security::Warned;

use crate::{
    convert::{Given, Text, named, to_map, to_python},
    errors::{attached, detached},
    intel::at,
};

/// What becomes of what is on a warninglist, from the argument's text.
pub(crate) fn warned(py: Python<'_>, given: Given<Text>) -> PyResult<Warned> {
    let given = given.text("warninglists")?;
    attached(py, || given.parse())
}

/// Takes a warninglist over, as MISP publishes it; it is asked in every process at once, and stays.
///
/// :param path_or_dict: a path (``str`` or path-like), or the list itself (``dict``): ``name``, ``type`` (``string``,
///     ``substring``, ``hostname``, ``cidr`` or ``regex``), ``list`` (of ``str``), and if it has them
///     ``matching_attributes``, ``description``, ``version``. One of the same name is replaced.
/// :returns: ``dict``: ``name``, ``description``, ``version``, ``type``, ``ioc_types`` (``list`` of ``str``; None is every
///     kind), ``entries`` (``int``).
/// :raises ValueError: says what is wrong with it.
/// :raises OSError: when the file cannot be read.
/// :raises StoreError: when it cannot be kept.
#[pyfunction]
pub(crate) fn load_warninglist<'py>(
    py: Python<'py>,
    path_or_dict: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let document = match path_or_dict.cast::<PyDict>() {
        Ok(dict) => serde_json::Value::Object(to_map("path_or_dict", dict)?).to_string().into_bytes(),
        Err(_) => {
            let path = path_or_dict.extract::<PathBuf>().map_err(|error| named(py, "path_or_dict", error))?;
            py.detach(|| std::fs::read(&path)).map_err(|error| at(&path, error))?
        }
    };
    let info = detached(py, || security::current()?.load_warninglist(&document))?;
    to_python(py, &info)
}

/// Gives the warninglists that are asked.
///
/// :returns: ``list`` of ``dict`` as :func:`load_warninglist` gives them.
/// :raises StoreError: when they cannot be read.
#[pyfunction]
pub(crate) fn list_warninglists(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    to_python(py, &detached(py, || security::current()?.list_warninglists())?)
}

/// Removes a warninglist.
///
/// :param name: its name (``str``).
/// :returns: ``bool``: False when there is none.
/// :raises StoreError: when it cannot be removed.
#[pyfunction]
pub(crate) fn remove_warninglist(py: Python<'_>, name: Given<Text>) -> PyResult<bool> {
    let name = name.text("name")?;
    detached(py, || security::current()?.remove_warninglist(&name))
}

/// Says whether a value is known and harmless, or too common to be an indicator.
///
/// :param ioc_type: the kind (``str``).
/// :param value: the value, defanged or not (``str``).
/// :returns: ``list`` of ``dict``, empty when it is on no list: ``list`` (the list's name; ``special-use`` for private,
///     reserved and documentation ranges and names, which are built in), ``match_type``, ``entry`` (``str``).
/// :raises ValueError: for a value that is no indicator of that kind.
/// :raises StoreError: when the lists cannot be read.
#[pyfunction]
pub(crate) fn check_warninglists(
    py: Python<'_>,
    ioc_type: Given<Text>,
    value: Given<Text>,
) -> PyResult<Bound<'_, PyList>> {
    let (ioc_type, value) = (ioc_type.text("ioc_type")?, value.text("value")?);
    let warnings = detached(py, || security::current()?.check_warninglists(&ioc_type, &value))?;
    Ok(to_python(py, &warnings)?.cast_into()?)
}
