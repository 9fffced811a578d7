//! Feeds in, lists out.

use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    str::FromStr,
    sync::mpsc::sync_channel,
};

use security_core::StoreFault;
use security_indicators::IocType;
use security_intel::{
    ExportFormat, Exported, FeedFormat, FeedOptions, FeedReader, IndicatorStore, IntelError, IocFilter,
    NewIoc, export,
};
use serde::Serialize;
use serde_json::json;

use super::{confidence, name};
use crate::{Engine, Error, Result, utils::generate_request_id, world};

/// Words stored in one transaction.
const BATCH: usize = 10_000;
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
    /// Who says so; `feed:` and the file's name when not given.
    pub source: Option<String>,
    /// Of entries that do not say; 50 when not given.
    pub confidence: Option<i64>,
    /// Go on after entries that are no indicator; otherwise the first one ends the import before anything of its
    /// batch is stored.
    pub skip_bad: bool,
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
    /// Imports a feed. Batches of 10,000 are durable one by one; `progress` hears of each.
    /// # Errors
    /// [`Error::Invalid`] for a document that is malformed as a whole, with its place, and for the first rejected
    /// entry unless `skip_bad`; [`Error::Store`].
    pub fn import_indicators(
        &self,
        file_name: &str,
        mut input: impl BufRead,
        options: &ImportOptions,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<ImportReport> {
        let format = match &options.format {
            Some(name) => FeedFormat::from_str(name).map_err(|error| Error::invalid("format", error))?,
            None => {
                let head = input.fill_buf().map_err(|error| unreadable(file_name, &error))?;
                FeedFormat::guess(head, Some(file_name))
            }
        };
        let source = match &options.source {
            Some(source) => name("source", source)?,
            None => format!("feed:{}", stem(file_name)),
        };
        let mut feed_options = FeedOptions::new(source.clone(), world::now());
        feed_options.limits.max_hits = MOST_INDICATORS;
        if let Some(given) = options.confidence {
            feed_options.confidence = confidence(given)?;
        }
        let mut feed =
            FeedReader::new(format, input, feed_options).map_err(|error| refused(file_name, &error))?;
        let mut report = ImportReport {
            format: feed.format().to_string(),
            source,
            added: 0,
            merged: 0,
            rejected: 0,
            rejections: Vec::new(),
            left_out: BTreeMap::new(),
        };
        let mut batch: Vec<NewIoc> = Vec::with_capacity(BATCH);
        loop {
            let entry = feed.next();
            let ended = entry.is_none();
            match entry {
                Some(Ok(word)) => batch.push(word),
                Some(Err(rejected)) => {
                    let rejection =
                        Rejection { line: rejected.line, text: rejected.text, reason: rejected.reason };
                    if !options.skip_bad {
                        let Rejection { line, text, reason } = rejection;
                        let problem = format!("{file_name} line {line}: `{text}`: {reason}");
                        return Err(Error::invalid("path_or_file", problem));
                    }
                    report.rejected += 1;
                    if report.rejections.len() < LISTED_REJECTIONS {
                        report.rejections.push(rejection);
                    }
                }
                None => {}
            }
            if batch.len() >= BATCH || (ended && !batch.is_empty()) {
                let stored = self.store.upsert_indicators(&batch)?;
                report.added += stored.added;
                report.merged += stored.merged;
                batch.clear();
                progress(ImportProgress {
                    imported: report.added + report.merged,
                    rejected: report.rejected,
                });
            }
            if ended {
                break;
            }
        }
        report.left_out = feed.finish().map_err(|error| refused(file_name, &error))?.left_out;
        let details = json!({
            "source": report.source, "format": report.format, "added": report.added, "merged": report.merged,
            "rejected": report.rejected,
        });
        self.audit("feed_imported", &generate_request_id(), details)?;
        Ok(report)
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
        let filter = filter.resolve()?;
        std::thread::scope(|scope| {
            let (sender, records) = sync_channel(IN_FLIGHT);
            let reader = scope.spawn(move || {
                // A writer that broke off no longer receives; what is left is read in vain and dropped.
                self.store.each_indicator(&filter, &mut |record| drop(sender.send(record)))
            });
            let written = export(records, format, output).map_err(|error| Error::invalid("path", error));
            let read = reader.join().unwrap_or_else(|_| {
                Err(StoreFault::new("store-io", "reading the indicators ended unexpectedly"))
            });
            read?;
            written
        })
    }
}

fn least(confidence: i64) -> Result<u8> {
    super::confidence(confidence).map_err(|_| {
        Error::invalid("min_confidence", format!("{confidence} is not accepted; accepted are 0 to 100"))
    })
}

fn stem(file_name: &str) -> String {
    let name = file_name.rsplit('/').next().unwrap_or(file_name);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let clean: String = stem.chars().filter(|c| !c.is_control()).take(80).collect();
    if clean.is_empty() { "import".into() } else { clean }
}

fn unreadable(file_name: &str, error: &std::io::Error) -> Error {
    Error::invalid("path_or_file", format!("{file_name}: {error}"))
}

fn refused(file_name: &str, error: &IntelError) -> Error {
    Error::invalid("path_or_file", format!("{file_name}: {error}"))
}
