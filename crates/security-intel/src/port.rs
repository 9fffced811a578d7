//! What intelligence asks of a store.

use security_core::{Revision, StoreFault};
use security_indicators::{Indicator, IocType};

use crate::{IntelRecord, IocRecord, NewIoc};

/// A record's place in the store: what the match index holds.
pub type Row = i64;

/// One step of the change feed that the match index follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndicatorChange {
    /// The record's place.
    pub row: Row,
    /// The indicator.
    pub indicator: Indicator,
    /// Whether it was removed.
    pub removed: bool,
}

/// What an upsert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Upserted {
    /// Records made.
    pub added: usize,
    /// Records that were there and got a further word.
    pub merged: usize,
}

/// What taking a source's word back did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceRemoval {
    /// Records that nobody else listed; they are gone.
    pub removed: usize,
    /// Records that others list too; they stay.
    pub kept: usize,
}

/// What to look for among the stored indicators; all given parts must hold.
#[derive(Debug, Clone, Default)]
pub struct IocFilter {
    /// The kind.
    pub kind: Option<IocType>,
    /// The canonical value.
    pub value: Option<String>,
    /// One of the sources.
    pub source: Option<String>,
    /// One of the tags.
    pub tag: Option<String>,
    /// Any of these sources, letter case aside; empty asks for none.
    pub any_source: Vec<String>,
    /// Any of these tags, letter case aside; empty asks for none.
    pub any_tag: Vec<String>,
    /// At least so sure.
    pub min_confidence: Option<u8>,
    /// Words that stand in value, description, tags or sources (full-text, all of them, as prefixes).
    pub text: Option<String>,
}

/// Keeps indicators.
pub trait IndicatorStore: Send + Sync {
    /// The store's revision; grows with every change.
    fn indicator_revision(&self) -> Result<Revision, StoreFault>;

    /// Up to `limit` changes after `since` in the order of their revision, with the revision they lead to;
    /// an empty list means that the reader is up to date. `Revision(0)` starts from nothing and is not told
    /// of removed ones.
    fn indicator_changes(
        &self,
        since: Revision,
        limit: usize,
    ) -> Result<(Revision, Vec<IndicatorChange>), StoreFault>;

    /// Adds words, merging each into the record of its value; one durable transaction.
    fn upsert_indicators(&self, words: &[NewIoc]) -> Result<Upserted, StoreFault>;

    /// The record of an indicator.
    fn indicator(&self, indicator: &Indicator) -> Result<Option<IocRecord>, StoreFault>;

    /// The records at these places, each with its place, in that order; those that are gone are left out.
    fn indicators_at(&self, rows: &[Row]) -> Result<Vec<(Row, IocRecord)>, StoreFault>;

    /// Records that pass the filter, most recently seen first.
    fn find_indicators(&self, filter: &IocFilter, limit: usize) -> Result<Vec<IocRecord>, StoreFault>;

    /// Calls `each` with the records that pass the filter, most recently seen first, until it answers `false`;
    /// few of them are in memory at a time.
    fn newest_indicators(
        &self,
        filter: &IocFilter,
        each: &mut dyn FnMut(IocRecord) -> bool,
    ) -> Result<(), StoreFault>;

    /// Calls `each` with every record, in pages, without holding them all.
    fn each_indicator(&self, filter: &IocFilter, each: &mut dyn FnMut(IocRecord)) -> Result<(), StoreFault>;

    /// Removes an indicator; `false` when there was none.
    fn remove_indicator(&self, indicator: &Indicator) -> Result<bool, StoreFault>;

    /// Takes the word of a source off up to `limit` records; one durable transaction. A record that nobody else
    /// listed goes. Nothing done means that nothing is left.
    fn remove_source(&self, source: &str, limit: usize) -> Result<SourceRemoval, StoreFault>;

    /// Number of records by kind.
    fn count_indicators(&self) -> Result<Vec<(IocType, u64)>, StoreFault>;
}

/// What to look for among intelligence records; all given parts must hold.
#[derive(Debug, Clone, Default)]
pub struct IntelFilter {
    /// The source type.
    pub source_type: Option<String>,
    /// The priority.
    pub priority_level: Option<String>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// Any of these tags, letter case aside; empty asks for none.
    pub any_tag: Vec<String>,
    /// Words that stand anywhere in the record (full-text, all of them, as prefixes).
    pub text: Option<String>,
}

/// Keeps intelligence records.
pub trait IntelStore: Send + Sync {
    /// Stores a new record, durably.
    fn save_intel(&self, record: &IntelRecord) -> Result<(), StoreFault>;

    /// Stores those records whose id is not there yet, in one durable transaction, and says of each whether it was
    /// new. Of two with one id the first counts.
    fn add_intel(&self, records: &[IntelRecord]) -> Result<Vec<bool>, StoreFault>;

    /// One record.
    fn intel(&self, id: &str) -> Result<Option<IntelRecord>, StoreFault>;

    /// Calls `each` with the records that pass the filter, newest first, until it answers `false`.
    fn each_intel(
        &self,
        filter: &IntelFilter,
        each: &mut dyn FnMut(IntelRecord) -> bool,
    ) -> Result<(), StoreFault>;

    /// Removes a record; with `wipe`, its pages are overwritten as well. `false` when there was none.
    fn remove_intel(&self, id: &str, wipe: bool) -> Result<bool, StoreFault>;

    /// Number of records.
    fn count_intel(&self) -> Result<u64, StoreFault>;
}
