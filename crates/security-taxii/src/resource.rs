//! What a server tells about itself. All properties that the standard asks for and a client can do without are
//! optional here; properties it does not know are skipped.

use security_core::Timestamp;
use serde::{Deserialize, Deserializer};

/// What the server is and where its API roots are. Source: TAXII 2.1 §4.1.1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// The name of the server.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// What it is about.
    #[serde(default)]
    pub description: Option<String>,
    /// Whom to ask.
    #[serde(default)]
    pub contact: Option<String>,
    /// The API root to use if no other is asked for, as a full address.
    #[serde(default)]
    pub default: Option<String>,
    /// All API roots, as full addresses; those on other servers cannot be asked by this client.
    #[serde(default, deserialize_with = "or_default")]
    pub api_roots: Vec<String>,
}

/// One API root. Source: TAXII 2.1 §4.2.1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiRoot {
    /// The name.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// What it is about.
    #[serde(default)]
    pub description: Option<String>,
    /// The media types it speaks, for example `application/taxii+json;version=2.1`.
    #[serde(default, deserialize_with = "or_default")]
    pub versions: Vec<String>,
    /// The longest request it takes, in bytes.
    #[serde(default)]
    pub max_content_length: Option<u64>,
}

/// One collection of objects. Source: TAXII 2.1 §5.2.1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Collection {
    /// The id, a UUID.
    pub id: String,
    /// The name.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// What is in it.
    #[serde(default)]
    pub description: Option<String>,
    /// A second, readable id.
    #[serde(default)]
    pub alias: Option<String>,
    /// Whether this user may read it.
    #[serde(default, deserialize_with = "or_default")]
    pub can_read: bool,
    /// Whether this user may add to it.
    #[serde(default, deserialize_with = "or_default")]
    pub can_write: bool,
    /// What is in it by media type, for example `application/stix+json;version=2.1`.
    #[serde(default, deserialize_with = "or_default")]
    pub media_types: Vec<String>,
}

/// One version of an object without its content. Source: TAXII 2.1 §5.3.1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ManifestRecord {
    /// The id of the object.
    pub id: String,
    /// When the server got it.
    pub date_added: Timestamp,
    /// Its version, mostly the time it was modified.
    pub version: String,
    /// What it is by media type.
    #[serde(default)]
    pub media_type: Option<String>,
}

/// How far the server is with objects it was given. Source: TAXII 2.1 §4.3.1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The id to ask with again.
    pub id: String,
    /// `complete` or `pending`.
    pub status: String,
    /// How many objects there were.
    #[serde(default)]
    pub total_count: u64,
    /// How many of them the server took.
    #[serde(default)]
    pub success_count: u64,
    /// How many it did not take.
    #[serde(default)]
    pub failure_count: u64,
    /// How many it has not decided about.
    #[serde(default)]
    pub pending_count: u64,
    /// Those it did not take.
    #[serde(default, deserialize_with = "or_default")]
    pub failures: Vec<StatusDetail>,
}

/// What became of one object. Source: TAXII 2.1 §4.3.1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StatusDetail {
    /// The id of the object.
    pub id: String,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// Why.
    #[serde(default)]
    pub message: Option<String>,
}

/// The list of collections; a server without any may leave the property out. Source: TAXII 2.1 §5.1.1.
#[derive(Debug, Deserialize)]
pub(crate) struct Collections {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) collections: Vec<Collection>,
}

/// One page of objects or manifest records. Source: TAXII 2.1 §3.7, §5.3.1.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(crate) struct Envelope<T> {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) more: bool,
    #[serde(default, deserialize_with = "text_or_number")]
    pub(crate) next: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) objects: Vec<T>,
}

/// What a server says about a failure. Source: TAXII 2.1 §3.6.1.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorMessage {
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) description: Option<String>,
}

/// `null` counts as absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The standard says text; some servers count.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(serde_json::Number),
    }
    Ok(Option::<Either>::deserialize(deserializer)?.map(|either| match either {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    }))
}
