//! Feeds in, lists out.

use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    str::FromStr,
    sync::mpsc::{channel, sync_channel},
};

use security_core::{Coded as _, StoreFault};
use security_indicators::IocType;
use security_intel::{
    ExportFormat, Exported, FeedFormat, FeedOptions, FeedReader, IndicatorStore, IntelError, IocFilter,
    IocRecord, NewIoc, Rejected, SourceRemoval, Upserted, export,
};
use serde::Serialize;
use serde_json::json;

use super::{confidence, name};
use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// Words stored in one transaction: at first, so that there is progress soon, and later, so that what every batch
/// costs is shared by many. Twice so many are in memory, one batch being read while another one is written.
const FIRST_BATCH: usize = 10_000;
const BATCH: usize = 50_000;
/// Records that a source's word is taken off in one transaction.
const REMOVED_TOGETHER: usize = 10_000;
/// Rejected entries that a report lists; all are counted.
const LISTED_REJECTIONS: usize = 100;
/// The most indicators of one feed; beyond it a file is no feed any more.
const MOST_INDICATORS: usize = 1_000_000_000;
/// Records on their way from the store to the writer.
const IN_FLIGHT: usize = 1024;

/// How a feed is to be read.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// `plain`, `csv`, `json`, `misp` or `stix`; guessed when not given.
    pub format: Option<String>,
    /// Who says so. When not given, `feed:` and the file's name, and records of our own JSON export keep the sources
    /// they name: give it for a feed of somebody else, who could name any.
    pub source: Option<String>,
    /// Of entries that do not say; 50 when not given.
    pub confidence: Option<i64>,
    /// Go on after entries that are no indicator; otherwise the first one ends the import before anything of its
    /// batch is stored.
    pub skip_bad: bool,
    /// Take MISP attributes that are not meant for detection (`to_ids` is false) as well.
    pub all_attributes: bool,
    /// The type's name or alias of entries that do not say one; told from each value when not given.
    pub ioc_type: Option<String>,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ImportProgress {
    /// Indicators stored.
    pub imported: usize,
    /// Entries rejected.
    pub rejected: usize,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// The format that was read.
    pub format: String,
    /// The source the indicators bear.
    pub source: String,
    /// Records made.
    pub added: usize,
    /// Records that were there and got a further word.
    pub merged: usize,
    /// Entries that are no indicator.
    pub rejected: usize,
    /// The first hundred of them.
    pub rejections: Vec<Rejection>,
    /// Entries that were never meant to be indicators, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// An entry that is no indicator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// The line or the number of the entry, from 1.
    pub line: usize,
    /// The entry, shortened.
    pub text: String,
    /// Why.
    pub reason: String,
}

/// Which indicators are wanted; every given part must hold.
#[derive(Debug, Clone, Default)]
pub struct ExportFilter {
    /// The type's name or alias.
    pub ioc_type: Option<String>,
    /// One of the sources.
    pub source: Option<String>,
    /// One of the tags.
    pub tag: Option<String>,
    /// At least so sure, 0 to 100.
    pub min_confidence: Option<i64>,
}

impl ExportFilter {
    fn resolve(&self) -> Result<IocFilter> {
        let kind = self.ioc_type.as_deref().map(IocType::from_str).transpose();
        Ok(IocFilter {
            kind: kind.map_err(|error| Error::invalid("ioc_type", error))?,
            source: self.source.clone(),
            tag: self.tag.clone(),
            min_confidence: self.min_confidence.map(least).transpose()?,
            ..IocFilter::default()
        })
    }
}

impl Engine {
    /// Imports a feed. Batches of 10,000, later of 50,000, are durable one by one; `progress` hears of each. The audit trail has every
    /// import that began, with `complete` false where it broke off.
    /// # Errors
    /// [`Error::Invalid`] for a document that is malformed as a whole, with its place, and for the first rejected
    /// entry unless `skip_bad`; [`Error::Store`]. Where batches were stored before it, the error says how many
    /// indicators that were.
    pub fn import_indicators(
        &self,
        file_name: &str,
        input: impl BufRead,
        options: &ImportOptions,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportReport> {
        let format = options.format.as_deref().map(FeedFormat::from_str).transpose();
        let format = format.map_err(|error| Error::invalid("format", error))?;
        let source = match &options.source {
            Some(source) => name("source", source)?,
            None => format!("feed:{}", stem(file_name)),
        };
        let kind = options.ioc_type.as_deref().map(IocType::from_str).transpose();
        let mut feed_options = FeedOptions::new(source.clone(), world::now());
        feed_options.limits.max_hits = MOST_INDICATORS;
        feed_options.take_all_attributes = options.all_attributes;
        feed_options.kind = kind.map_err(|error| Error::invalid("ioc_type", error))?;
        feed_options.keep_sources = options.source.is_none();
        if let Some(given) = options.confidence {
            feed_options.confidence = confidence(given)?;
        }
        let feed = match format {
            Some(format) => FeedReader::new(format, input, feed_options),
            None => FeedReader::guess(Some(file_name), input, feed_options),
        };
        let feed = feed.map_err(|error| refused(file_name, &error))?;
        let mut report = ImportReport {
            format: feed.format().to_string(),
            source,
            added: 0,
            merged: 0,
            rejected: 0,
            rejections: Vec::new(),
            left_out: BTreeMap::new(),
        };
        let taken = self.take_feed(file_name, feed, options.skip_bad, &mut report, progress);
        let mut details = json!({
            "source": report.source, "format": report.format, "added": report.added, "merged": report.merged,
            "rejected": report.rejected, "complete": taken.is_ok(),
        });
        if let Err(error) = &taken {
            details["error"] = error.to_string().into();
        }
        self.audit("feed_imported", &generate_request_id(), details);
        self.index_what_changed();
        taken.map_err(|error| after(report.added + report.merged, error)).map(|()| report)
    }

    /// Stores what a feed gives; `report` has what was done, also when it breaks off. A thread of its own stores one
    /// batch while this one reads the next.
    fn take_feed(
        &self,
        file_name: &str,
        mut feed: FeedReader<'_>,
        skip_bad: bool,
        report: &mut ImportReport,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<()> {
        std::thread::scope(|scope| {
            let (hand_over, batches) = sync_channel::<(Vec<NewIoc>, usize)>(0);
            let (tell, stored) = channel();
            scope.spawn(move || {
                for (batch, rejected) in batches {
                    let stored = self.files.store.upsert_indicators(&batch);
                    let failed = stored.is_err();
                    // Whoever no longer listens has broken off, and hands nothing over any more.
                    drop(tell.send(stored.map(|stored| (stored, rejected))));
                    if failed {
                        break;
                    }
                }
            });
            let mut count = |report: &mut ImportReport, stored: StoredBatch| -> Result<()> {
                let (stored, rejected) = stored?;
                report.added += stored.added;
                report.merged += stored.merged;
                progress(ImportProgress { imported: report.added + report.merged, rejected });
                Ok(())
            };
            let read = read_feed(file_name, &mut feed, skip_bad, report, &mut |report, batch| {
                // A writer that failed receives nothing; what it met is told below.
                let on = hand_over.send((batch, report.rejected)).is_ok();
                stored.try_iter().try_for_each(|stored| count(report, stored)).map(|()| on)
            });
            drop(hand_over);
            let written = stored.iter().try_for_each(|stored| count(report, stored));
            written.and(read)
        })?;
        report.left_out = feed.finish().map_err(|error| refused(file_name, &error))?.left_out;
        Ok(())
    }

    /// Takes back everything that a source said: what nobody else lists is gone, the rest stays with the others' words.
    /// Batches of 10,000 are durable one by one; `progress` hears of each. The audit trail has every removal that
    /// began, with `complete` false where it broke off.
    /// # Errors
    /// [`Error::Invalid`] for what is no source's name; [`Error::NotFound`] when it listed nothing; [`Error::Store`].
    pub fn remove_source(
        &self,
        source: &str,
        progress: &mut dyn FnMut(SourceRemoval),
    ) -> Result<SourceRemoval> {
        let source = name("source", source)?;
        let mut done = SourceRemoval::default();
        let taken = loop {
            match self.files.store.remove_source(&source, REMOVED_TOGETHER) {
                Ok(none) if none == SourceRemoval::default() => break Ok(()),
                Ok(some) => {
                    done.removed += some.removed;
                    done.kept += some.kept;
                    progress(done);
                }
                Err(fault) => break Err(fault),
            }
        };
        if done != SourceRemoval::default() || taken.is_err() {
            let details = json!({
                "source": source, "removed": done.removed, "kept": done.kept, "complete": taken.is_ok(),
            });
            self.audit("source_removed", &generate_request_id(), details);
            self.index_what_changed();
        }
        taken?;
        match done == SourceRemoval::default() {
            true => Err(Error::NotFound { what: "source", name: source }),
            false => Ok(done),
        }
    }

    /// Writes indicators as a feed, holding a bounded number at a time.
    /// # Errors
    /// [`Error::Invalid`] for an unknown format or filter, or a writer that breaks off; [`Error::Store`].
    pub fn export_indicators(
        &self,
        format: &str,
        filter: &ExportFilter,
        output: &mut dyn Write,
    ) -> Result<Exported> {
        let format = ExportFormat::from_str(format).map_err(|error| Error::invalid("format", error))?;
        let written = self.stream_indicators(format, &filter.resolve()?, &|_| true, output)?;
        written.map_err(|error| Error::invalid("path", error))
    }

    /// Writes the records that pass the filter and that `keep` keeps; they go through a channel that holds a bounded
    /// number. The outer error is the store's, the inner one the writing's.
    pub(crate) fn stream_indicators(
        &self,
        format: ExportFormat,
        filter: &IocFilter,
        keep: &(dyn Fn(&IocRecord) -> bool + Sync),
        output: &mut dyn Write,
    ) -> Result<std::result::Result<Exported, IntelError>> {
        std::thread::scope(|scope| {
            let (sender, records) = sync_channel(IN_FLIGHT);
            let reader = scope.spawn(move || {
                self.files.store.each_indicator(filter, &mut |record| {
                    if keep(&record) {
                        // A writer that broke off no longer receives; what is left is read in vain and dropped.
                        drop(sender.send(record));
                    }
                })
            });
            let written = export(records, format, output);
            let read = reader.join().unwrap_or_else(|_| {
                Err(StoreFault::new("store-io", "reading the indicators ended unexpectedly"))
            });
            read?;
            Ok(written)
        })
    }
}

/// What became of a batch, and how many entries were rejected before its end.
type StoredBatch = std::result::Result<(Upserted, usize), StoreFault>;

/// Reads a feed to its end and gives its words in batches to `store`, which says whether to go on.
fn read_feed(
    file_name: &str,
    feed: &mut FeedReader<'_>,
    skip_bad: bool,
    report: &mut ImportReport,
    store: &mut dyn FnMut(&mut ImportReport, Vec<NewIoc>) -> Result<bool>,
) -> Result<()> {
    let mut most = FIRST_BATCH;
    let mut batch: Vec<NewIoc> = Vec::with_capacity(most);
    for entry in feed {
        match entry {
            Ok(word) => batch.push(word),
            Err(Rejected { line, text, reason }) => {
                if !skip_bad {
                    let problem = format!("{file_name} line {line}: `{text}`: {reason}");
                    return Err(Error::invalid("path_or_file", problem));
                }
                report.rejected += 1;
                if report.rejections.len() < LISTED_REJECTIONS {
                    report.rejections.push(Rejection { line, text, reason });
                }
            }
        }
        if batch.len() >= most {
            most = (2 * most).min(BATCH);
            let full = std::mem::replace(&mut batch, Vec::with_capacity(most));
            if !store(report, full)? {
                return Ok(());
            }
        }
    }
    if !batch.is_empty() {
        store(report, batch)?;
    }
    Ok(())
}

fn least(confidence: i64) -> Result<u8> {
    super::confidence(confidence).map_err(|_| {
        Error::invalid("min_confidence", format!("{confidence} is not accepted; accepted are 0 to 100"))
    })
}

/// Endings that say what a file is and nothing of where it comes from.
const ENDINGS: &[&str] = &[
    "txt", "text", "list", "lst", "hosts", "ipset", "netset", "csv", "tsv", "json", "jsonl", "ndjson",
    "misp", "stix", "stix2", "gz", "bz2", "xz", "zst", "zip",
];

/// The file's name without folders and without endings such as `.json.gz`; `feed.evil.example.txt` is
/// `feed.evil.example`.
fn stem(file_name: &str) -> String {
    let mut stem = file_name.rsplit('/').next().unwrap_or(file_name);
    while let Some((rest, ending)) = stem.rsplit_once('.')
        && !rest.is_empty()
        && ENDINGS.contains(&ending.to_ascii_lowercase().as_str())
    {
        stem = rest;
    }
    let clean: String = stem.chars().filter(|c| !c.is_control()).take(80).collect();
    if clean.is_empty() { "import".into() } else { clean }
}

/// The error with which an import ended, and how many indicators were stored before it.
fn after(stored: usize, error: Error) -> Error {
    let told = |problem: &dyn std::fmt::Display| match stored {
        1 => format!("{problem}; 1 was stored before it"),
        _ => format!("{problem}; {stored} were stored before it"),
    };
    match error {
        error if stored == 0 => error,
        Error::Invalid { argument, problem } => Error::Invalid { argument, problem: told(&problem) },
        Error::Store(fault) => {
            let mut whole = StoreFault::new(fault.code(), told(&fault));
            if let Some(hint) = fault.hint() {
                whole = whole.with_hint(hint);
            }
            Error::Store(whole)
        }
        other => other,
    }
}

fn refused(file_name: &str, error: &IntelError) -> Error {
    Error::invalid("path_or_file", format!("{file_name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_bears_the_files_name_without_known_endings() {
        for (file_name, expected) in [
            ("list.txt", "list"),
            ("/var/feeds/evil.example.com.txt", "evil.example.com"),
            ("abuse.2026-11-01.JSON.gz", "abuse.2026-11-01"),
            ("bundle.stix.json", "bundle"),
            ("stdin", "stdin"),
            (".txt", ".txt"),
            ("v1.2", "v1.2"),
            ("", "import"),
        ] {
            assert_eq!(stem(file_name), expected, "{file_name}");
        }
    }

    #[test]
    fn an_error_says_what_was_stored_before_it() {
        let invalid = after(10_000, Error::invalid("path_or_file", "line 7"));
        assert_eq!(invalid.to_string(), "path_or_file: line 7; 10000 were stored before it");
        assert_eq!(after(0, Error::invalid("x", "y")).to_string(), "x: y");
        let fault = StoreFault::new("store-full", "the disk is full").with_hint("make room");
        let Error::Store(fault) = after(1, fault.into()) else { panic!() };
        assert_eq!((fault.code(), fault.hint().as_deref()), ("store-full", Some("make room")));
        assert_eq!(fault.to_string(), "the disk is full; 1 was stored before it");
    }
}
