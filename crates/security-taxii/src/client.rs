//! The client.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use crate::{
    ApiRoot, ClientOptions, Collection, Discovery, ManifestRecord, ObjectQuery, Pages, Status, TaxiiError,
    address::below, exchange::Exchange, resource::Collections,
};

/// A client of one TAXII 2.1 server. It may be used by several threads at once and keeps connections open.
///
/// API roots are named by their address or by their path (`/alpha/`); they must be on the configured server.
#[derive(Debug)]
pub struct Client {
    exchange: Exchange,
    total_timeout: Duration,
    max_pages: usize,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`TaxiiError::BadConfiguration`] for an address that is no `https` URL (or `http` on loopback), for half a
    /// pair of credentials, and for certificates that cannot be read.
    pub fn new(options: ClientOptions) -> Result<Self, TaxiiError> {
        let (total_timeout, max_pages) = (options.total_timeout, options.max_pages);
        Ok(Self { exchange: Exchange::new(options)?, total_timeout, max_pages })
    }

    /// Asks what the server is and where its API roots are.
    ///
    /// # Errors
    /// [`TaxiiError`] as for every request: the server is not reached in time, does not accept the credentials,
    /// says something else than TAXII 2.1, or too much.
    pub fn discovery(&self) -> Result<Discovery, TaxiiError> {
        let url = self.exchange.server().discovery();
        let mut discovery: Discovery = self.exchange.get(url, None)?.read()?;
        // Relative ones are allowed (TAXII 2.1 §4.1.1). What is no address at all stays as it is and leads nowhere.
        let full = |text: &String| url.join(text).map_or_else(|_| text.clone(), String::from);
        discovery.api_roots = discovery.api_roots.iter().map(full).collect();
        discovery.default = discovery.default.as_ref().map(full);
        Ok(discovery)
    }

    /// Asks what an API root is.
    ///
    /// # Errors
    /// As [`Client::discovery`]; [`TaxiiError::ForeignHost`] if it is on another server.
    pub fn api_root(&self, api_root: &str) -> Result<ApiRoot, TaxiiError> {
        let url = self.exchange.server().api_root(api_root)?;
        self.exchange.get(&url, None)?.read()
    }

    /// Asks which collections an API root has.
    ///
    /// # Errors
    /// As [`Client::api_root`].
    pub fn collections(&self, api_root: &str) -> Result<Vec<Collection>, TaxiiError> {
        let url = self.below(api_root, &["collections"])?;
        let listed: Collections = self.exchange.get(&url, None)?.read()?;
        Ok(listed.collections)
    }

    /// Asks what a collection is, by its id or alias.
    ///
    /// # Errors
    /// As [`Client::api_root`]; [`TaxiiError::NotFound`] if there is none.
    pub fn collection(&self, api_root: &str, collection_id: &str) -> Result<Collection, TaxiiError> {
        let url = self.below(api_root, &["collections", collection_id])?;
        self.exchange.get(&url, None)?.read()
    }

    /// Walks over the objects of a collection, page by page; a page is asked for when the iterator is.
    ///
    /// # Errors
    /// [`TaxiiError`] at once for an API root or id that cannot be asked for; later ones come from the iterator, and
    /// end it.
    pub fn objects(
        &self,
        api_root: &str,
        collection_id: &str,
        query: &ObjectQuery,
    ) -> Result<Pages<'_, Value>, TaxiiError> {
        let url = self.below(api_root, &["collections", collection_id, "objects"])?;
        Ok(Pages::new(self, url, query))
    }

    /// Walks over what a collection holds without the content of the objects.
    ///
    /// # Errors
    /// As [`Client::objects`].
    pub fn manifest(
        &self,
        api_root: &str,
        collection_id: &str,
        query: &ObjectQuery,
    ) -> Result<Pages<'_, ManifestRecord>, TaxiiError> {
        let url = self.below(api_root, &["collections", collection_id, "manifest"])?;
        Ok(Pages::new(self, url, query))
    }

    /// Adds objects to a collection. The server may still be at it when it answers: [`Client::status`] tells.
    ///
    /// # Errors
    /// As [`Client::collection`]; [`TaxiiError::Forbidden`] if the user may not write there.
    pub fn add_objects(
        &self,
        api_root: &str,
        collection_id: &str,
        objects: &[Value],
    ) -> Result<Status, TaxiiError> {
        let url = self.below(api_root, &["collections", collection_id, "objects"])?;
        self.exchange.post(&url, json!({ "objects": objects }).to_string().as_bytes())?.read()
    }

    /// Asks how far the server is with objects it was given.
    ///
    /// # Errors
    /// As [`Client::collection`].
    pub fn status(&self, api_root: &str, status_id: &str) -> Result<Status, TaxiiError> {
        let url = self.below(api_root, &["status", status_id])?;
        self.exchange.get(&url, None)?.read()
    }

    fn below(&self, api_root: &str, names: &[&str]) -> Result<Url, TaxiiError> {
        below(&self.exchange.server().api_root(api_root)?, names)
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(crate) fn total_timeout(&self) -> Duration {
        self.total_timeout
    }

    pub(crate) fn max_pages(&self) -> usize {
        self.max_pages
    }
}
