//! `security.modules.taxii`: servers as files, collections, STIX in and out.

mod export;
mod ingest;

use std::time::Duration;

use security_core::{Limits, Secret, Timestamp};
use security_store::DocumentFolder;
use security_taxii::{Client, ClientOptions, Collection, ObjectQuery, TaxiiError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use ingest::{Ingested, Skipped};

use crate::{Engine, Error, Result, intel, utils::generate_request_id, world};

const ENDINGS: &[&str] = &["json"];
/// The name of the server that the settings describe.
const DEFAULT_SERVER: &str = "default";
const MAX_CONFIG: u64 = 1 << 20;
const MAX_PASSWORD: u64 = 4 << 10;
/// The longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most objects of one fetch, whatever the caller asks for.
const MOST_OBJECTS: usize = 10_000_000;

/// What a caller says of a server.
#[derive(Debug, Default)]
pub struct TaxiiConfigDraft {
    /// The name: letters, digits, `-`, `_`; also the file's name.
    pub config_name: String,
    /// The discovery URL; `https`, or `http` to this host.
    pub server_url: String,
    /// The user.
    pub username: Option<String>,
    /// The password; kept in a file of its own under `credentials/taxii/` (0600), shown by nothing.
    pub password: Option<Secret>,
    /// Collections to use; all readable ones when empty.
    pub collections: Vec<String>,
    /// What it is for.
    pub description: String,
}

/// A server's file: for people, and fit for git, so its password lies elsewhere.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaxiiConfig {
    name: String,
    server_url: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    collections: Vec<String>,
    #[serde(default)]
    description: String,
    created_at: Timestamp,
}

/// A server that is being spoken with.
#[derive(Debug)]
pub struct TaxiiSession {
    name: String,
    client: Client,
    wanted: Vec<String>,
}

impl TaxiiConfig {
    fn view(&self, has_password: bool) -> Value {
        json!({
            "name": self.name,
            "server_url": self.server_url,
            "username": self.username,
            "has_password": has_password,
            "collections": self.collections,
            "description": self.description,
            "created_at": self.created_at,
        })
    }
}

impl Engine {
    fn taxii_configs(&self) -> DocumentFolder {
        DocumentFolder::new(self.data_dir().join("taxii_configs"), ENDINGS, MAX_CONFIG)
    }

    fn taxii_passwords(&self) -> DocumentFolder {
        DocumentFolder::new(self.data_dir().join("credentials").join("taxii"), &["password"], MAX_PASSWORD)
    }

    fn taxii_password(&self, name: &str) -> Result<Option<Secret>> {
        Ok(self.taxii_passwords().read(&format!("{name}.password"))?.map(Secret::new))
    }

    fn read_taxii_config(&self, config_name: &str) -> Result<TaxiiConfig> {
        let name = config_name.trim();
        let found = self.taxii_configs().read(&format!("{name}.json"));
        let bytes = found.map_err(|fault| Error::invalid("config_name", fault))?;
        let bytes = bytes.ok_or_else(|| Error::not_found("TAXII configuration", name))?;
        parse_config(name, &bytes)
    }

    /// Stores a server under a name; an older one of that name is replaced. Gives `{name, server_url, username,
    /// has_password, collections, description, created_at}`.
    /// # Errors
    /// [`Error::Invalid`] for a name that is no file's name, or a URL that is not used; [`Error::Store`].
    pub fn create_taxii_config(&self, draft: TaxiiConfigDraft) -> Result<Value> {
        let name = intel::name("config_name", &draft.config_name)?;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            || name.starts_with('.')
        {
            return Err(Error::invalid("config_name", "accepted are letters, digits, `-`, `_` and `.`"));
        }
        let config = TaxiiConfig {
            name: name.clone(),
            server_url: draft.server_url,
            username: draft.username,
            collections: draft.collections,
            description: draft.description,
            created_at: world::now(),
        };
        // What the client would refuse must not be found out at the first pull.
        let password = draft.password.as_ref().map(|password| Secret::new(password.expose()));
        client(&config, password).map_err(|error| Error::invalid("server_url", error))?;
        let bytes =
            serde_json::to_vec_pretty(&config).map_err(|error| Error::invalid("config_name", error))?;
        let details = json!({"name": name, "server_url": config.server_url});
        self.audited("taxii_configured", &generate_request_id(), details, || {
            let password_file = format!("{name}.password");
            match &draft.password {
                Some(password) => drop(self.taxii_passwords().write(&password_file, password.expose())?),
                None => drop(self.taxii_passwords().remove(&password_file)?),
            }
            Ok(self.taxii_configs().write(&format!("{name}.json"), &bytes)?)
        })?;
        Ok(config.view(draft.password.is_some()))
    }

    /// Every stored server, by name, without passwords. A file that cannot be read is left out with a warning in
    /// the log.
    /// # Errors
    /// When the folder cannot be read.
    pub fn list_taxii_configs(&self) -> Result<Vec<Value>> {
        let view = |config: &TaxiiConfig| Ok(config.view(self.taxii_password(&config.name)?.is_some()));
        self.stored_configs()?.iter().map(view).collect()
    }

    fn stored_configs(&self) -> Result<Vec<TaxiiConfig>> {
        let documents = self.taxii_configs().list()?;
        let read = documents.iter().filter_map(|document| {
            let name = document.name.trim_end_matches(".json");
            parse_config(name, &document.bytes)
                .inspect_err(
                    |error| tracing::warn!(file = document.name, %error, "TAXII configuration left out"),
                )
                .ok()
        });
        Ok(read.collect())
    }

    /// A server without its password: the one of that name, or the default one, as [`Engine::taxii`] chooses it.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Configuration`] when its file cannot be understood, or when it is not clear
    /// which server is meant.
    pub fn taxii_config(&self, config_name: Option<&str>) -> Result<Value> {
        let (config, password) = self.taxii_server(config_name)?;
        Ok(config.view(password.is_some()))
    }

    pub(crate) fn plain_taxii_servers(&self) -> Result<u64> {
        let plain = |config: &&TaxiiConfig| config.server_url.starts_with("http:");
        Ok(self.stored_configs()?.iter().filter(plain).count() as u64)
    }

    /// Opens a session with a server: the one of that name; without a name the one that `TAXII_SERVER_URL` and
    /// its companions describe, else the only stored one. Nothing is sent yet.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Configuration`] when it is not clear which server is meant.
    pub fn taxii(&self, config_name: Option<&str>) -> Result<TaxiiSession> {
        let (config, password) = self.taxii_server(config_name)?;
        let client = client(&config, password)?;
        Ok(TaxiiSession { name: config.name, client, wanted: config.collections })
    }

    /// A server and its password. Collections bear the name of their server, so the default one is found by its
    /// name as well, unless a stored one has the same.
    fn taxii_server(&self, config_name: Option<&str>) -> Result<(TaxiiConfig, Option<Secret>)> {
        let config = match (config_name, self.default_taxii_server()) {
            (Some(DEFAULT_SERVER), Some(default)) => match self.read_taxii_config(DEFAULT_SERVER) {
                Err(Error::NotFound { .. }) => return Ok(default),
                stored => stored?,
            },
            (Some(name), _) => self.read_taxii_config(name)?,
            (None, Some(default)) => return Ok(default),
            (None, None) => {
                let mut stored = self.stored_configs()?;
                match (stored.pop(), stored.is_empty()) {
                    (Some(only), true) => only,
                    (None, _) => {
                        return Err(Error::Configuration(
                            "no TAXII server: set TAXII_SERVER_URL or store one with create_taxii_config"
                                .into(),
                        ));
                    }
                    _ => {
                        return Err(Error::Configuration(
                            "several TAXII servers are stored; name one".into(),
                        ));
                    }
                }
            }
        };
        let password = self.taxii_password(&config.name)?;
        Ok((config, password))
    }

    /// The server that `TAXII_SERVER_URL` and its companions describe.
    fn default_taxii_server(&self) -> Option<(TaxiiConfig, Option<Secret>)> {
        let taxii = &self.settings.taxii;
        let config = TaxiiConfig {
            name: DEFAULT_SERVER.into(),
            server_url: taxii.server_url.as_ref()?.value.clone(),
            username: taxii.username.as_ref().map(|found| found.value.clone()),
            collections: taxii.collection_id.iter().map(|found| found.value.clone()).collect(),
            description: String::new(),
            created_at: world::now(),
        };
        Some((config, taxii.password.as_ref().map(|found| Secret::new(found.value.expose()))))
    }
}

/// What to fetch.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// One collection; the configured ones, else all readable ones, when not given.
    pub collection_id: Option<String>,
    /// Objects added after this time.
    pub start: Option<Timestamp>,
    /// Objects whose `modified` (else `created`) is not after this time.
    pub end: Option<Timestamp>,
    /// The most objects.
    pub limit: usize,
    /// Only objects of this STIX type.
    pub object_type: Option<String>,
}

impl Default for FetchRequest {
    fn default() -> Self {
        Self { collection_id: None, start: None, end: None, limit: 100, object_type: None }
    }
}

impl TaxiiSession {
    /// The configuration's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the server says of itself: `{title, description, contact, default, api_roots}`.
    /// # Errors
    /// [`Error::Taxii`].
    pub fn discovery(&self) -> Result<Value> {
        let found = self.client.discovery()?;
        Ok(json!({
            "title": found.title,
            "description": found.description,
            "contact": found.contact,
            "default": found.default,
            "api_roots": found.api_roots,
        }))
    }

    /// Every collection of every API root, each with `api_root` and `server_id`.
    /// # Errors
    /// [`Error::Taxii`].
    pub fn list_collections(&self) -> Result<Vec<Value>> {
        let view = |(root, collection): &(String, Collection)| self.collection_view(root, collection);
        Ok(self.collections()?.iter().map(view).collect())
    }

    /// One collection.
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Taxii`].
    pub fn collection(&self, collection_id: Option<&str>) -> Result<Value> {
        let wanted = collection_id.or(self.wanted.first().map(String::as_str));
        let collections = self.collections()?;
        let found = collections.iter().find(|(_, c)| wanted.is_none_or(|wanted| c.id == wanted));
        let (root, collection) =
            found.ok_or_else(|| Error::not_found("collection", wanted.unwrap_or_default()))?;
        Ok(self.collection_view(root, collection))
    }

    fn collection_view(&self, api_root: &str, collection: &Collection) -> Value {
        json!({
            "id": collection.id,
            "title": collection.title,
            "description": collection.description,
            "alias": collection.alias,
            "can_read": collection.can_read,
            "can_write": collection.can_write,
            "media_types": collection.media_types,
            "api_root": api_root,
            "server_id": self.name,
        })
    }

    fn collections(&self) -> Result<Vec<(String, Collection)>> {
        let mut collections = Vec::new();
        let mut failure: Option<TaxiiError> = None;
        for root in self.client.discovery()?.api_roots {
            // Servers list API roots that this user may not see.
            match self.client.collections(&root) {
                Ok(found) => {
                    collections.extend(found.into_iter().map(|collection| (root.clone(), collection)))
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if collections.is_empty() => Err(error.into()),
            _ => Ok(collections),
        }
    }

    /// STIX objects of the wanted collections, page after page; `progress` hears how many there are so far.
    /// # Errors
    /// [`Error::NotFound`] for an unknown collection; [`Error::Taxii`].
    pub fn fetch(&self, request: &FetchRequest, progress: &mut dyn FnMut(usize)) -> Result<Vec<Value>> {
        let limit = request.limit.min(MOST_OBJECTS);
        let wanted: Vec<&str> = match &request.collection_id {
            Some(id) => vec![id],
            None => self.wanted.iter().map(String::as_str).collect(),
        };
        let collections = self.collections()?;
        for id in &wanted {
            if !collections.iter().any(|(_, collection)| collection.id == *id) {
                return Err(Error::not_found("collection", id));
            }
        }
        let mut objects = Vec::new();
        for (root, collection) in &collections {
            let is_wanted = match wanted.is_empty() {
                true => collection.can_read,
                false => wanted.contains(&collection.id.as_str()),
            };
            if !is_wanted || objects.len() >= limit {
                continue;
            }
            let query = ObjectQuery {
                added_after: request.start,
                limit: Some(limit - objects.len()),
                types: request.object_type.iter().cloned().collect(),
                ..ObjectQuery::default()
            };
            for page in self.client.objects(root, &collection.id, &query)? {
                objects.extend(page?.objects.into_iter().filter(|object| is_within(object, request.end)));
                objects.truncate(limit);
                progress(objects.len());
                if objects.len() >= limit {
                    break;
                }
            }
        }
        Ok(objects)
    }
}

fn is_within(object: &Value, end: Option<Timestamp>) -> bool {
    let Some(end) = end else { return true };
    let time = object.get("modified").or_else(|| object.get("created")).and_then(Value::as_str);
    time.and_then(|text| text.parse::<Timestamp>().ok()).is_none_or(|time| time <= end)
}

fn client(config: &TaxiiConfig, password: Option<Secret>) -> Result<Client> {
    Ok(Client::new(ClientOptions {
        username: config.username.clone(),
        password,
        timeout: TIMEOUT,
        max_response_bytes: Limits::DEFAULT.max_bytes as u64,
        ..ClientOptions::new(&config.server_url)
    })?)
}

/// The parser's own message may quote a password; its place does not.
fn parse_config(name: &str, bytes: &[u8]) -> Result<TaxiiConfig> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Error::Configuration(format!("taxii_configs/{name}.json cannot be understood at {place}"))
    })
}
