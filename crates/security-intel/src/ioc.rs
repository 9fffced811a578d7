//! An indicator of compromise as it is kept: one record a value, every source on it.

use security_core::Timestamp;
use security_indicators::{Indicator, IocType};
use serde::{Deserialize, Serialize};

/// What one source says of an indicator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The source's name: `internal`, `feed:abuse`, `taxii:partner/collection`, ….
    pub source: String,
    /// How sure it is, 0 to 100.
    pub confidence: u8,
    /// When it first said so.
    pub first_seen: Timestamp,
    /// When it last said so.
    pub last_seen: Timestamp,
}

/// One indicator with everything known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IocRecord {
    /// `indicator--` and a UUIDv5 of type and value: the same everywhere.
    pub id: String,
    /// The kind.
    #[serde(rename = "type")]
    pub kind: IocType,
    /// The canonical value.
    pub value: String,
    /// The value as it was first given, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// The sources, first one first.
    pub sources: Vec<Provenance>,
    /// The highest confidence among the sources, 0 to 100.
    pub confidence: u8,
    /// What it is about; the first description given that is not empty.
    pub description: String,
    /// Tags, sorted, no duplicates.
    pub tags: Vec<String>,
    /// Intelligence records it belongs to.
    pub related_intel_ids: Vec<String>,
    /// The earliest first sight among the sources.
    pub first_seen: Timestamp,
    /// The latest sight among the sources.
    pub last_seen: Timestamp,
    /// How often it was added.
    pub sightings: u64,
    /// When it stops to be one; `None` is never.
    pub valid_until: Option<Timestamp>,
}

/// One source's word on one indicator, as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIoc {
    /// The indicator.
    pub indicator: Indicator,
    /// The value as it was given, where it differs from the canonical one.
    pub original: Option<String>,
    /// The source's name.
    pub source: String,
    /// 0 to 100.
    pub confidence: u8,
    /// May be empty.
    pub description: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Intelligence records it belongs to.
    pub related_intel_ids: Vec<String>,
    /// When the source saw it, for the last time where it saw it more than once.
    pub seen_at: Timestamp,
    /// When the source saw it first, where that is before `seen_at`.
    pub first_seen: Option<Timestamp>,
    /// When it stops to be one.
    pub valid_until: Option<Timestamp>,
}

impl NewIoc {
    /// When the source saw it first.
    pub fn first_sight(&self) -> Timestamp {
        self.first_seen.map_or(self.seen_at, |first| first.min(self.seen_at))
    }
}

impl IocRecord {
    /// The indicator that the record is about; `None` only when a store hands out a value that is no longer one.
    pub fn indicator(&self) -> Option<Indicator> {
        Indicator::parse(self.kind, &self.value).ok()
    }

    /// The record's id for an indicator.
    pub fn id_of(indicator: &Indicator) -> String {
        Self::id_from(Self::key_of(indicator.kind(), indicator.value()))
    }

    /// The sixteen bytes of the UUIDv5 of a kind and a canonical value: the same everywhere.
    pub fn key_of(kind: IocType, value: &str) -> [u8; 16] {
        // The namespace of STIX 2.1 deterministic identifiers (OASIS STIX 2.1 §2.9).
        const NAMESPACE: uuid::Uuid = uuid::uuid!("00abedb4-aa42-466c-9c01-fed23315a9b7");
        let name = [kind.as_str(), "\n", value].concat();
        uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes()).into_bytes()
    }

    /// The record's id for a key of [`IocRecord::key_of`].
    pub fn id_from(key: [u8; 16]) -> String {
        let mut text = [0; 36];
        ["indicator--", uuid::Uuid::from_bytes(key).hyphenated().encode_lower(&mut text)].concat()
    }

    /// A first record.
    pub fn new(word: NewIoc) -> Self {
        let key = Self::key_of(word.indicator.kind(), word.indicator.value());
        Self::keyed(word, key)
    }

    /// [`IocRecord::new`] where the indicator's key is known already.
    pub fn keyed(word: NewIoc, key: [u8; 16]) -> Self {
        let first_seen = word.first_sight();
        let provenance = Provenance {
            source: word.source,
            confidence: word.confidence,
            first_seen,
            last_seen: word.seen_at,
        };
        let mut record = Self {
            id: Self::id_from(key),
            kind: word.indicator.kind(),
            value: word.indicator.value().to_owned(),
            original: word.original,
            confidence: provenance.confidence,
            sources: vec![provenance],
            description: word.description,
            tags: word.tags,
            related_intel_ids: word.related_intel_ids,
            first_seen,
            last_seen: word.seen_at,
            sightings: 1,
            valid_until: word.valid_until,
        };
        record.tags.sort();
        record.tags.dedup();
        record.related_intel_ids.sort();
        record.related_intel_ids.dedup();
        record
    }

    /// Adds a further word on the same indicator: sources side by side, highest confidence, first and last
    /// sight, tags and relations joined; a word without an end lifts the end.
    pub fn merge(&mut self, word: NewIoc) {
        let first_seen = word.first_sight();
        match self.sources.iter_mut().find(|known| known.source == word.source) {
            Some(known) => {
                known.confidence = word.confidence;
                known.first_seen = known.first_seen.min(first_seen);
                known.last_seen = known.last_seen.max(word.seen_at);
            }
            None => self.sources.push(Provenance {
                source: word.source,
                confidence: word.confidence,
                first_seen,
                last_seen: word.seen_at,
            }),
        }
        self.confidence = self.sources.iter().map(|known| known.confidence).max().unwrap_or(0);
        if self.description.is_empty() {
            self.description = word.description;
        }
        self.tags.extend(word.tags);
        self.tags.sort();
        self.tags.dedup();
        self.related_intel_ids.extend(word.related_intel_ids);
        self.related_intel_ids.sort();
        self.related_intel_ids.dedup();
        self.first_seen = self.first_seen.min(first_seen);
        self.last_seen = self.last_seen.max(word.seen_at);
        self.sightings += 1;
        self.valid_until = match (self.valid_until, word.valid_until) {
            (Some(known), Some(new)) => Some(known.max(new)),
            _ => None,
        };
    }

    /// Takes the word of a source back; whether another source is left. Confidence and times are then those of the
    /// others; description and tags, which bear no source, stay.
    pub fn take_back(&mut self, source: &str) -> bool {
        self.sources.retain(|known| known.source != source);
        let (Some(first), Some(last)) = (
            self.sources.iter().map(|known| known.first_seen).min(),
            self.sources.iter().map(|known| known.last_seen).max(),
        ) else {
            return false;
        };
        self.confidence = self.sources.iter().map(|known| known.confidence).max().unwrap_or(0);
        (self.first_seen, self.last_seen) = (first, last);
        true
    }
}
