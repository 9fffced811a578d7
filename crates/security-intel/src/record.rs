//! Intelligence records: what was read somewhere, with where and how urgent.

use security_core::Timestamp;
use serde::{Deserialize, Serialize};

/// One piece of intelligence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntelRecord {
    /// `intel--` and a UUID.
    pub id: String,
    /// `forums`, `paste_sites`, `taxii:…`, ….
    pub source_type: String,
    /// `Critical`, `High`, `Medium` or `Low`.
    pub priority_level: String,
    /// When it was filed.
    pub created_at: Timestamp,
    /// What it is about, found by its words.
    pub categories: Vec<String>,
    /// Tags: from the data and from the caller.
    pub tags: Vec<String>,
    /// Indicators found in it, as `type:value`.
    pub iocs: Vec<String>,
    /// The data as it was given.
    pub data: serde_json::Value,
}
