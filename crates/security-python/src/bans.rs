//! The part of `security.modules.middleware` that is about bans.

use pyo3::{prelude::*, types::PyString};
use security::Error;

use crate::{
    convert::{Given, Text, refused, to_python, utf8},
    errors::detached,
};

/// An address or a network: text, or an object of the `ipaddress` module.
pub(crate) struct Network(String);

impl<'py> FromPyObject<'_, 'py> for Network {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = given.cast::<PyString>() {
            return Ok(Self(utf8(&text).into_owned()));
        }
        if given.get_type().module().is_ok_and(|module| module == "ipaddress") {
            return Ok(Self(given.str()?.to_string()));
        }
        Err(refused(&given, "a str, or an address or network of the ipaddress module, is needed"))
    }
}

impl Network {
    fn of(given: Given<Self>) -> PyResult<String> {
        given.value("address_or_network").map(|network| network.0)
    }
}

/// Turns an address or a network away for a while: 403 for every request of it, in every process of the host from its
/// next request on, whatever key it carries. Exempt paths stay open. A ban of the same network is replaced.
///
/// :param address_or_network: ``203.0.113.9``, ``203.0.113.0/24``, ``2001:db8::/32`` (``str``, or an ``ipaddress`` object); an
///     IPv6 address means its /64.
/// :param seconds: for how long: seconds (``int``, ``float``) or ``timedelta``, one second to 366 days; None is a day.
/// :param reason: why, for the record and never for the client (``str``, at most 200 characters on one line).
/// :returns: ``dict``: ``network``, ``reason``, ``since``, ``until``, ``by`` (the account and program).
/// :raises ValueError: for what is no network, or everybody; for such a duration or reason.
/// :raises StoreError: when there are 10,000 bans, or when it cannot be kept.
#[pyfunction]
#[pyo3(signature = (address_or_network, seconds = None, reason = Given::of(Text(String::new()))), text_signature = "(address_or_network, seconds=None, reason='')")]
pub(crate) fn ban_client<'py>(
    py: Python<'py>,
    address_or_network: Given<Network>,
    seconds: Option<&Bound<'py, PyAny>>,
    reason: Given<Text>,
) -> PyResult<Bound<'py, PyAny>> {
    let network = Network::of(address_or_network)?;
    let duration = seconds.map(|given| crate::convert::seconds("seconds", given)).transpose()?;
    let duration = duration.unwrap_or(security::USUAL_BAN);
    let reason = reason.text("reason")?;
    let ban =
        detached(py, || security::current()?.ban(&network, duration, &reason).map_err(in_pythons_words))?;
    to_python(py, &ban)
}

/// Lifts a ban.
///
/// :param address_or_network: exactly the network that is banned, as :func:`list_bans` has it, or the address that was given.
/// :returns: ``dict`` as :func:`ban_client` gives it: what was lifted.
/// :raises ValueError: for what is no network.
/// :raises NotFoundError: when it is not banned.
/// :raises StoreError: when it cannot be lifted.
#[pyfunction]
pub(crate) fn lift_ban(py: Python<'_>, address_or_network: Given<Network>) -> PyResult<Bound<'_, PyAny>> {
    let network = Network::of(address_or_network)?;
    let ban = detached(py, || security::current()?.lift_ban(&network).map_err(in_pythons_words))?;
    to_python(py, &ban)
}

/// Gives the bans in force, those that end first first.
///
/// :returns: ``list`` of ``dict`` as :func:`ban_client` gives them.
/// :raises StoreError: when they cannot be read.
#[pyfunction]
pub(crate) fn list_bans(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    to_python(py, &detached(py, || security::current()?.bans())?)
}

/// What the engine says of its arguments, by the names that they have here.
fn in_pythons_words(error: Error) -> Error {
    match error {
        Error::Invalid { argument: "network", problem } => {
            Error::Invalid { argument: "address_or_network", problem }
        }
        Error::Invalid { argument: "duration", problem } => Error::Invalid { argument: "seconds", problem },
        other => other,
    }
}
