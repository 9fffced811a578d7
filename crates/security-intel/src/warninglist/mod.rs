//! Warninglists of MISP: what is known and harmless, or too common to be an indicator.
//!
//! A list is a JSON object `{name, description, version, type, matching_attributes, list}`. Its type says how an entry
//! meets a value: `string` is the value itself, `substring` stands in it, `hostname` is its host or a parent of that,
//! `cidr` is a network around it, `regex` matches in it. [`WarningLists`] is any number of them, compiled.

mod compiled;
mod networks;
mod pattern;

use std::{borrow::Cow, fmt};

use security_indicators::{IocType, TypeSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use compiled::WarningLists;

use crate::{IntelError, error::shorten};

/// The most entries of one list, and the longest of them in bytes.
const MOST_ENTRIES: usize = 10_000_000;
const LONGEST_ENTRY: usize = 8192;
const LONGEST_NAME: usize = 200;

/// How entries meet values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarningKind {
    /// The same value.
    String,
    /// The entry stands somewhere in the value, in any case.
    Substring,
    /// The entry is the value's host or a parent of it.
    Hostname,
    /// The entry is a network around the value's address or network.
    Cidr,
    /// The entry is a regular expression that matches in the value.
    Regex,
}

impl WarningKind {
    /// `string`, `substring`, `hostname`, `cidr` or `regex`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Substring => "substring",
            Self::Hostname => "hostname",
            Self::Cidr => "cidr",
            Self::Regex => "regex",
        }
    }
}

impl fmt::Display for WarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a list says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WarningListInfo {
    /// Its name.
    pub name: String,
    /// What is on it and why.
    pub description: String,
    /// Its version, a number or a text.
    pub version: Value,
    /// How its entries meet values.
    #[serde(rename = "type")]
    pub kind: WarningKind,
    /// The kinds of indicators it speaks of; `None` is every kind.
    #[serde(rename = "ioc_types")]
    pub applies_to: Option<Vec<IocType>>,
    /// How many entries it has.
    pub entries: usize,
}

/// One list, read and not yet compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningList {
    pub(super) info: WarningListInfo,
    pub(super) entries: Vec<String>,
}

/// An entry that a value met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning<'l> {
    /// The list's name; `special-use` for the ranges and names that the IETF set aside, which are built in.
    pub list: &'l str,
    /// How they met.
    pub match_type: &'static str,
    /// The entry, in canonical form where it has one; of special use its name (`private`, `documentation`, …).
    pub entry: Cow<'l, str>,
}

#[derive(Deserialize)]
struct Document {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    version: Value,
    #[serde(rename = "type")]
    kind: WarningKind,
    #[serde(default)]
    matching_attributes: Vec<String>,
    list: Vec<String>,
}

impl WarningList {
    /// Reads a list as MISP publishes it. Whether its entries are of its type is told when it is compiled.
    /// # Errors
    /// [`IntelError::Warninglist`] with what is wrong, [`IntelError::TooLarge`] for more than ten million entries.
    pub fn from_json(bytes: &[u8]) -> Result<Self, IntelError> {
        let document = serde_json::from_slice(bytes).map_err(|error| refused("the document", &error))?;
        Self::of(document)
    }

    /// Takes a list that was read already.
    /// # Errors
    /// As [`WarningList::from_json`].
    pub fn from_value(value: Value) -> Result<Self, IntelError> {
        Self::of(serde_json::from_value(value).map_err(|error| refused("the document", &error))?)
    }

    fn of(document: Document) -> Result<Self, IntelError> {
        let Document { name, description, version, kind, matching_attributes, list: entries } = document;
        let name = name.trim();
        if name.is_empty()
            || name.chars().count() > LONGEST_NAME
            || name.chars().any(security_core::is_invisible)
        {
            return Err(refused(
                "the document",
                &"its name has 1 to 200 characters without control characters",
            ));
        }
        if entries.len() > MOST_ENTRIES {
            let (size, most) = (entries.len(), MOST_ENTRIES);
            return Err(IntelError::TooLarge { what: "the warninglist", size, most });
        }
        let odd = |entry: &&String| entry.trim().is_empty() || entry.len() > LONGEST_ENTRY;
        if let Some(odd) = entries.iter().find(odd) {
            let problem = format!("`{}` has no 1 to {LONGEST_ENTRY} bytes", shorten(odd, 60));
            return Err(refused(name, &problem));
        }
        let applies_to = (!matching_attributes.is_empty()).then(|| kinds(&matching_attributes));
        let count = entries.len();
        let info =
            WarningListInfo { name: name.to_owned(), description, version, kind, applies_to, entries: count };
        Ok(Self { info, entries })
    }

    /// What it says of itself.
    pub fn info(&self) -> &WarningListInfo {
        &self.info
    }
}

impl WarningListInfo {
    pub(super) fn types(&self) -> Option<TypeSet> {
        self.applies_to.as_ref().map(|kinds| kinds.iter().copied().collect())
    }
}

/// The kinds that attributes of MISP speak of; one that is no indicator of ours speaks of none.
fn kinds(attributes: &[String]) -> Vec<IocType> {
    let mut kinds = Vec::new();
    for attribute in attributes {
        match attribute.parse::<IocType>() {
            Ok(kind) => kinds.push(kind),
            Err(_) if attribute.contains("email") => kinds.push(IocType::Email),
            Err(_) => kinds.extend(attribute.split('|').filter_map(|part| part.parse::<IocType>().ok())),
        }
    }
    if kinds.contains(&IocType::Ip) {
        kinds.push(IocType::Cidr);
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

pub(super) fn refused(name: &str, problem: &dyn fmt::Display) -> IntelError {
    IntelError::Warninglist { name: shorten(name, 80), reason: shorten(&problem.to_string(), 200) }
}
