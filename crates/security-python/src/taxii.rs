//! `security.modules.taxii`: servers and collections, indicators in and out.

use pyo3::prelude::*;
use security::{FetchRequest, Secret, TaxiiConfigDraft, TaxiiSession};

use crate::{
    convert::{Given, Text, Texts, moment, optional, to_python},
    errors::detached,
    intel::Interrupt,
};

/// Keeps how to reach a TAXII 2.1 server, as a file in ``taxii_configs/``; the password lies in a file of its own.
///
/// :param config_name: the name under which it is kept (``str``); an existing one is replaced.
/// :param server_url: the discovery URL (``str``), ``https://…/taxii2/``.
/// :param username: ``str``.
/// :param password: ``str``.
/// :param collections: ids of the collections that are wanted (``list`` of ``str``).
/// :param description: ``str``.
/// :returns: ``dict``: ``name``, ``server_url``, ``username``, ``has_password`` (``bool``), ``collections``,
///     ``description``, ``created_at`` (RFC 3339).
/// :raises ValueError: names the argument and what is accepted.
/// :raises StoreError: when the file cannot be written.
#[pyfunction]
#[pyo3(
    signature = (config_name, server_url, username = None, password = None, collections = None, description = Given::of(Text(String::new()))),
    text_signature = "(config_name, server_url, username=None, password=None, collections=None, description='')"
)]
pub(crate) fn create_taxii_config<'py>(
    py: Python<'py>,
    config_name: Given<Text>,
    server_url: Given<Text>,
    username: Option<Given<Text>>,
    password: Option<Given<Text>>,
    collections: Option<Given<Texts>>,
    description: Given<Text>,
) -> PyResult<Bound<'py, PyAny>> {
    let config_name = config_name.text("config_name")?;
    let server_url = server_url.text("server_url")?;
    let username = optional("username", username, Given::text)?;
    let password = optional("password", password, Given::text)?;
    let collections = optional("collections", collections, Given::texts)?;
    let description = description.text("description")?;
    let draft = TaxiiConfigDraft {
        config_name,
        server_url,
        username,
        password: password.map(Secret::new),
        collections: collections.unwrap_or_default(),
        description,
    };
    let config = detached(py, || security::current()?.create_taxii_config(draft))?;
    to_python(py, &config)
}

/// Lists the kept TAXII servers, without passwords.
///
/// :returns: ``list`` of ``dict`` as :func:`create_taxii_config` gives them.
/// :raises StoreError: when the folder cannot be read.
#[pyfunction]
pub(crate) fn list_taxii_configs(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let configs = detached(py, || security::current()?.list_taxii_configs())?;
    to_python(py, &configs)
}

/// Connects to the default TAXII server: ``TAXII_SERVER_URL``, or the only one that is kept.
///
/// :returns: ``dict`` of what the server says of itself: ``title``, ``description`` (``str``), ``api_roots`` and so on.
/// :raises ConfigurationError: if no server is known, or more than one.
/// :raises TaxiiError: if it cannot be reached or refuses.
#[pyfunction]
pub(crate) fn connect_to_taxii_server(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let discovery = detached(py, || security::current()?.taxii(None)?.discovery())?;
    to_python(py, &discovery)
}

/// Finds the default collection: ``TAXII_COLLECTION_ID`` on the default server, or the server's first.
///
/// :returns: ``dict``: ``id``, ``title``, ``description``, ``can_read``, ``can_write``, ``api_root``, ``server_id``.
/// :raises ConfigurationError: if no server is known, or more than one.
/// :raises NotFoundError: if the server has no such collection.
/// :raises TaxiiError: if it cannot be reached or refuses.
#[pyfunction]
pub(crate) fn get_taxii_collection(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let collection = detached(py, || security::current()?.taxii(None)?.collection(None))?;
    to_python(py, &collection)
}

/// Takes indicators of the default collection in.
///
/// :param limit: the most STIX objects (``int``), 1 or more.
/// :returns: ``list`` of indicator records, as :func:`add_ioc` gives them.
/// :raises ValueError: for a limit below 1.
/// :raises ConfigurationError: if no server is known, or more than one.
/// :raises TaxiiError: if it cannot be reached or refuses.
/// :raises StoreError: when the indicators cannot be stored.
#[pyfunction]
#[pyo3(signature = (limit = Given::of(100)), text_signature = "(limit=100)")]
pub(crate) fn import_stix_indicators(py: Python<'_>, limit: Given<i64>) -> PyResult<Bound<'_, PyAny>> {
    let limit = limit.limit("limit")?;
    let interrupt = Interrupt::default();
    let done = detached(py, || security::current()?.import_stix_indicators(limit, &mut |_| interrupt.tell()));
    to_python(py, &interrupt.or(done)?)
}

/// Writes every active indicator into a STIX 2.1 bundle in ``data/intel/``, as it reads them.
///
/// :returns: the file's path (``str``), or None if there is nothing to write.
/// :raises StoreError: when it cannot be written.
#[pyfunction]
pub(crate) fn export_iocs_to_stix(py: Python<'_>) -> PyResult<Option<String>> {
    let path = detached(py, || security::current()?.export_iocs_to_stix())?;
    Ok(path.map(|path| path.display().to_string()))
}

/// A client of one TAXII 2.1 server. Making one connects to nothing.
///
/// :param config_name: the name of a kept server (``str``); None is the default server.
#[pyclass(frozen, subclass, module = "security._security")]
#[derive(Debug)]
pub(crate) struct TAXIIClient {
    config_name: Option<String>,
}

impl TAXIIClient {
    /// The session with the server that a call names, or with the client's own.
    fn session(&self, server_id: Option<&str>) -> security::Result<TaxiiSession> {
        security::current()?.taxii(server_id.or(self.config_name.as_deref()))
    }
}

#[pymethods]
impl TAXIIClient {
    #[new]
    #[pyo3(signature = (config_name = None))]
    fn new(config_name: Option<Given<Text>>) -> PyResult<Self> {
        let config_name = optional("config_name", config_name, Given::text)?;
        Ok(Self { config_name })
    }

    /// The name of the kept server (``str``), or None for the default one.
    #[getter]
    fn config_name(&self) -> Option<&str> {
        self.config_name.as_deref()
    }

    /// Reads how the server is reached.
    ///
    /// :returns: ``dict`` as :func:`create_taxii_config` gives it, without the password.
    /// :raises NotFoundError: if there is no server of this name.
    /// :raises ConfigurationError: without a name, if no server is known, or more than one.
    fn load_config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let config = detached(py, || security::current()?.taxii_config(self.config_name.as_deref()))?;
        to_python(py, &config)
    }

    /// Lists the collections of the server, over all its API roots.
    ///
    /// :param server_id: the name of a kept server (``str``); None is the client's own.
    /// :returns: ``list`` of ``dict``: ``id``, ``title``, ``description`` (``str``), ``can_read``, ``can_write`` (``bool``),
    ///     ``api_root``, ``server_id`` (``str``).
    /// :raises TaxiiError: if it cannot be reached or refuses.
    #[pyo3(signature = (server_id = None))]
    fn list_collections<'py>(
        &self,
        py: Python<'py>,
        server_id: Option<Given<Text>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let server = optional("server_id", server_id, Given::text)?;
        let collections = detached(py, || self.session(server.as_deref())?.list_collections())?;
        to_python(py, &collections)
    }

    /// Finds one collection.
    ///
    /// :param collection_id: its id (``str``); None is the configured one, or the server's first.
    /// :param server_id: as for :meth:`list_collections` (``str``).
    /// :returns: ``dict`` as :meth:`list_collections` gives it.
    /// :raises NotFoundError: if the server has no such collection.
    /// :raises TaxiiError: if it cannot be reached or refuses.
    #[pyo3(signature = (collection_id = None, server_id = None))]
    fn get_collection<'py>(
        &self,
        py: Python<'py>,
        collection_id: Option<Given<Text>>,
        server_id: Option<Given<Text>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = optional("collection_id", collection_id, Given::text)?;
        let server = optional("server_id", server_id, Given::text)?;
        let collection = detached(py, || self.session(server.as_deref())?.collection(id.as_deref()))?;
        to_python(py, &collection)
    }

    /// Fetches STIX objects without storing anything.
    ///
    /// :param server_id: the name of a kept server (``str``), as a collection's ``server_id``; None is the client's own.
    /// :param collection_id: the collection's id (``str``); None as for :meth:`get_collection`.
    /// :param start_time: only what was added after (``datetime`` or RFC 3339 ``str``).
    /// :param end_time: only what was added before (``datetime`` or RFC 3339 ``str``).
    /// :param limit: the most objects (``int``), 1 or more.
    /// :returns: ``list`` of STIX objects (``dict``).
    /// :raises ValueError: names the argument and what is accepted.
    /// :raises NotFoundError: if there is no such server or collection.
    /// :raises TaxiiError: if it cannot be reached or refuses.
    #[pyo3(signature = (server_id = None, collection_id = None, start_time = None, end_time = None, limit = Given::of(100)), text_signature = "($self, server_id=None, collection_id=None, start_time=None, end_time=None, limit=100)")]
    fn fetch_intelligence<'py>(
        &self,
        py: Python<'py>,
        server_id: Option<Given<Text>>,
        collection_id: Option<Given<Text>>,
        start_time: Option<&Bound<'py, PyAny>>,
        end_time: Option<&Bound<'py, PyAny>>,
        limit: Given<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let server_id = optional("server_id", server_id, Given::text)?;
        let collection_id = optional("collection_id", collection_id, Given::text)?;
        let limit = limit.limit("limit")?;
        let (server, collection_id) = (server_id, collection_id);
        let start = start_time.map(|given| moment("start_time", given)).transpose()?;
        let end = end_time.map(|given| moment("end_time", given)).transpose()?;
        let interrupt = Interrupt::default();
        let done = detached(py, || {
            let request = FetchRequest { collection_id, start, end, limit, ..FetchRequest::default() };
            self.session(server.as_deref())?.fetch(&request, &mut |_| interrupt.tell())
        });
        to_python(py, &interrupt.or(done)?)
    }

    /// Fetches STIX objects and takes their indicators in. What was taken in before is not filed twice.
    ///
    /// :param server_id: as for :meth:`fetch_intelligence` (``str``).
    /// :param collection_id: as for :meth:`fetch_intelligence` (``str``).
    /// :param start_time: only what was added after (``datetime`` or RFC 3339 ``str``).
    /// :param store: whether (``bool``) every object is filed as an intelligence record as well.
    /// :param priority_level: the priority of these records (``str``).
    /// :param limit: the most objects (``int``), 1 or more.
    /// :returns: ``dict``: ``objects``, ``indicators_added``, ``indicators_merged`` (``int``), ``skipped`` (``list`` of ``{id,
    ///     reason}``), ``intel_ids`` (``list`` of ``str``: new ones and those that are there), ``intel_added`` (``int``: the
    ///     new ones).
    /// :raises ValueError: names the argument and what is accepted.
    /// :raises NotFoundError: if there is no such server or collection.
    /// :raises TaxiiError: if it cannot be reached or refuses.
    /// :raises StoreError: when the indicators cannot be stored.
    #[pyo3(
        signature = (server_id = None, collection_id = None, start_time = None, store = Given::of(true), priority_level = Given::of(Text("Medium".to_owned())), limit = Given::of(1000)),
        text_signature = "($self, server_id=None, collection_id=None, start_time=None, store=True, priority_level='Medium', limit=1000)"
    )]
    #[expect(clippy::too_many_arguments, reason = "the document's own signature")]
    fn ingest_intelligence<'py>(
        &self,
        py: Python<'py>,
        server_id: Option<Given<Text>>,
        collection_id: Option<Given<Text>>,
        start_time: Option<&Bound<'py, PyAny>>,
        store: Given<bool>,
        priority_level: Given<Text>,
        limit: Given<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let server_id = optional("server_id", server_id, Given::text)?;
        let collection_id = optional("collection_id", collection_id, Given::text)?;
        let store = store.value("store")?;
        let priority_level = priority_level.text("priority_level")?;
        let limit = limit.limit("limit")?;
        let (server, collection_id) = (server_id, collection_id);
        let start = start_time.map(|given| moment("start_time", given)).transpose()?;
        let interrupt = Interrupt::default();
        let done = detached(py, || {
            let request = FetchRequest { collection_id, start, limit, ..FetchRequest::default() };
            let (engine, session) = (security::current()?, self.session(server.as_deref())?);
            engine.ingest_taxii(&session, &request, &priority_level, store, &mut |_| interrupt.tell())
        });
        to_python(py, &interrupt.or(done)?)
    }
}
