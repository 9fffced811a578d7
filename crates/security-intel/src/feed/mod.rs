//! Feeds: lists of indicators as others publish them, read one word at a time, and written.
//!
//! Plain lists, CSV and JSON lines stream. A JSON document, a MISP event, a STIX bundle and an OpenIOC document are read whole, up to
//! `max_bytes`; a JSON list and a STIX bundle beyond that stream as well, so that every export can be read again. A
//! single wrong entry is rejected and the rest goes on; a document that is malformed as a whole is refused as a whole,
//! when it streams, at the place where that shows.

mod csv;
mod document;
mod elements;
mod export;
mod lines;
mod misp;
mod misp_export;
mod openioc;
mod plain;
mod rows;
mod sensor_formats;
mod stix;

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead, Cursor, Read},
    str::FromStr,
};

use security_core::{Limits, Timestamp};
use security_indicators::{Indicator, IocType};

pub use export::{ExportFormat, Exported, export};
pub use sensor_formats::Dataset;

use crate::{IntelError, NewIoc, error::shorten};

/// What is read before a format is guessed, in bytes.
const HEAD: usize = 64 << 10;

/// The form a feed is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedFormat {
    /// One indicator a line; `#`, `;` and `//` begin comments; hosts files as well.
    Plain,
    /// Comma, semicolon, tab or bar separated, with or without a header.
    Csv,
    /// A JSON list of texts or objects, an object around one, or one JSON object a line.
    Json,
    /// A MISP event, a list of events, or the answer of a MISP search.
    Misp,
    /// A STIX 2.0 or 2.1 bundle.
    Stix,
    /// An OpenIOC document.
    OpenIoc,
}

impl FeedFormat {
    const ALL: [Self; 6] = [Self::Plain, Self::Csv, Self::Json, Self::Misp, Self::Stix, Self::OpenIoc];

    /// The format's one name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Misp => "misp",
            Self::Stix => "stix",
            Self::OpenIoc => "openioc",
        }
    }

    /// The format that the first bytes look like (a few kilobytes suffice), with the help of the file's name.
    pub fn guess(head: &[u8], file_name: Option<&str>) -> Self {
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if text.starts_with(['{', '[']) {
            let is_bundle = text.starts_with('{')
                && (text.contains("\"bundle--") || after_key(text, "type").any(|value| value == "bundle"));
            return if is_bundle {
                Self::Stix
            } else if ["Event", "Attribute"].iter().any(|key| after_key(text, key).next().is_some()) {
                Self::Misp
            } else {
                Self::Json
            };
        }
        if text.starts_with('<') && ["<ioc", "<openioc"].iter().any(|root| contains_ignoring_case(text, root))
        {
            return Self::OpenIoc;
        }
        let ending =
            file_name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
        if matches!(ending.as_deref(), Some("csv" | "tsv")) {
            return Self::Csv;
        }
        let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !plain::is_comment(line));
        match first {
            Some(line) if Indicator::identify(line).is_none() && rows::has_columns(line) => Self::Csv,
            _ => Self::Plain,
        }
    }
}

impl fmt::Display for FeedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FeedFormat {
    type Err = IntelError;

    /// Accepts the name in any case, and `txt`, `text`, `list`, `tsv`, `jsonl`, `ndjson`, `stix2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim().to_ascii_lowercase();
        let name = match name.as_str() {
            "txt" | "text" | "list" => "plain",
            "tsv" => "csv",
            "jsonl" | "ndjson" => "json",
            "stix2" | "stix2.1" => "stix",
            "ioc" => "openioc",
            other => other,
        };
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(|| IntelError::Format {
            given: shorten(text, 40),
            accepted: "plain, csv, json, misp, stix, openioc",
        })
    }
}

/// Whether a root element stands near the start of a text, behind its declaration and comments.
fn contains_ignoring_case(text: &str, root: &str) -> bool {
    let head = &text.as_bytes()[..text.len().min(4096)];
    head.windows(root.len() + 1).any(|part| {
        part[..root.len()].eq_ignore_ascii_case(root.as_bytes())
            && matches!(part[root.len()], b' ' | b'>' | b'\r' | b'\n' | b'\t')
    })
}

/// The text values, empty for other ones, of a key wherever it stands in a JSON text.
fn after_key<'t>(text: &'t str, key: &str) -> impl Iterator<Item = &'t str> {
    text.split(key).skip(1).filter_map(|rest| {
        let value = rest.strip_prefix('"')?.trim_start().strip_prefix(':')?.trim_start();
        Some(value.strip_prefix('"').and_then(|value| value.split('"').next()).unwrap_or_default())
    })
}

/// What to assume about entries that do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedOptions {
    /// The source's name, `feed:…` by custom.
    pub source: String,
    /// The confidence of entries without one, 0 to 100.
    pub confidence: u8,
    /// The time of the import: what entries without a time were seen at, and the latest time of any.
    pub now: Timestamp,
    /// `max_bytes` bounds documents read whole, `max_value` each value, `max_hits` the indicators of one feed.
    pub limits: Limits,
    /// Whether MISP attributes that are not meant for detection (`to_ids` is false) are taken as well.
    pub take_all_attributes: bool,
    /// The kind of entries that do not say one; without it, each must show by itself what it is.
    pub kind: Option<IocType>,
    /// Whether records of our own JSON export keep the sources they name, each with its confidence and its times;
    /// otherwise `source` says so of every entry. A feed of somebody else could name any source.
    pub keep_sources: bool,
}

impl FeedOptions {
    /// Confidence 50, the usual limits, MISP's `to_ids` respected, kinds told from values, one source for all.
    pub fn new(source: impl Into<String>, now: Timestamp) -> Self {
        Self {
            source: source.into(),
            confidence: 50,
            now,
            limits: Limits::DEFAULT,
            take_all_attributes: false,
            kind: None,
            keep_sources: false,
        }
    }
}

/// An entry that is no indicator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The line, from 1; in documents read whole, the number of the entry, from 1.
    pub line: usize,
    /// The entry, shortened.
    pub text: String,
    /// Why.
    pub reason: String,
}

/// What became of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedTotals {
    /// Indicators given.
    pub n_indicators: usize,
    /// Entries rejected.
    pub n_rejected: usize,
    /// Entries that were never meant to be indicators, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// What a format's reader comes upon.
pub(crate) enum Step {
    Word(Box<NewIoc>),
    Rejected(Rejected),
    LeftOut(&'static str),
    Broken(IntelError),
}

/// Reads a feed, one word at a time; [`FeedReader::finish`] tells whether the end was reached.
pub struct FeedReader<'r> {
    format: FeedFormat,
    steps: Box<dyn Iterator<Item = Step> + 'r>,
    totals: FeedTotals,
    most: usize,
    failure: Option<IntelError>,
}

impl fmt::Debug for FeedReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedReader")
            .field("format", &self.format)
            .field("totals", &self.totals)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl<'r> FeedReader<'r> {
    /// Begins to read. Documents that cannot stream are read here, wholly.
    ///
    /// # Errors
    /// [`IntelError`] when the input cannot be read, is larger than `max_bytes`, or is malformed as a whole; with
    /// line and column.
    pub fn new(
        format: FeedFormat,
        input: impl BufRead + 'r,
        options: FeedOptions,
    ) -> Result<Self, IntelError> {
        Self::begin(format, with_head(input)?, options)
    }

    /// [`FeedReader::new`] for a format that is guessed from the first 64 KiB and the file's name.
    ///
    /// # Errors
    /// As [`FeedReader::new`].
    pub fn guess(
        file_name: Option<&str>,
        input: impl BufRead + 'r,
        options: FeedOptions,
    ) -> Result<Self, IntelError> {
        let mut input = with_head(input)?;
        let head =
            input.fill_buf().map_err(|source| IntelError::Stream { doing: "reading the feed", source })?;
        let format = FeedFormat::guess(head, file_name);
        Self::begin(format, input, options)
    }

    fn begin(
        format: FeedFormat,
        mut input: impl BufRead + 'r,
        options: FeedOptions,
    ) -> Result<Self, IntelError> {
        if options.confidence > 100 {
            let given = options.confidence.to_string();
            return Err(IntelError::Range { name: "confidence", given, accepted: "a number from 0 to 100" });
        }
        let most = options.limits.max_hits;
        let mut format = format;
        if matches!(format, FeedFormat::Plain | FeedFormat::Csv) {
            let head = input
                .fill_buf()
                .map_err(|source| IntelError::Stream { doing: "reading the feed", source })?;
            refuse_markup(head, format)?;
        }
        let steps: Box<dyn Iterator<Item = Step> + 'r> = match format {
            FeedFormat::Plain => Box::new(plain::read(input, options)),
            FeedFormat::Csv => csv::read(input, options)?,
            FeedFormat::OpenIoc => Box::new(openioc::read(input, &options)?.into_iter()),
            FeedFormat::Json | FeedFormat::Misp | FeedFormat::Stix => {
                let (found, steps) = document::read(format, input, options)?;
                format = found;
                steps
            }
        };
        Ok(Self { format, steps, totals: FeedTotals::default(), most, failure: None })
    }

    /// The format that is read; a `json` document that turned out to be a MISP event or a STIX bundle is read as
    /// that.
    pub fn format(&self) -> FeedFormat {
        self.format
    }

    /// What became of the feed so far.
    pub fn totals(&self) -> &FeedTotals {
        &self.totals
    }

    /// What became of the feed; call it after the last entry.
    ///
    /// # Errors
    /// [`IntelError`] when reading broke off before the end, or there were more than `max_hits` indicators.
    pub fn finish(self) -> Result<FeedTotals, IntelError> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.totals),
        }
    }
}

impl Iterator for FeedReader<'_> {
    type Item = Result<NewIoc, Rejected>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failure.is_some() {
            return None;
        }
        loop {
            match self.steps.next()? {
                Step::Word(_) if self.totals.n_indicators >= self.most => {
                    let size = self.totals.n_indicators + 1;
                    let what = "the number of indicators in the feed";
                    self.failure = Some(IntelError::TooLarge { what, size, most: self.most });
                    return None;
                }
                Step::Word(word) => {
                    self.totals.n_indicators += 1;
                    return Some(Ok(*word));
                }
                Step::Rejected(rejected) => {
                    self.totals.n_rejected += 1;
                    return Some(Err(rejected));
                }
                Step::LeftOut(reason) => *self.totals.left_out.entry(reason).or_default() += 1,
                Step::Broken(failure) => {
                    self.failure = Some(failure);
                    return None;
                }
            }
        }
    }
}

/// One entry, as a format's reader sees it.
#[derive(Default)]
pub(crate) struct Entry<'e> {
    pub(crate) line: usize,
    /// The kind's name as given; without one, the value must say what it is.
    pub(crate) kind: Option<&'e str>,
    pub(crate) value: &'e str,
    pub(crate) confidence: Option<u8>,
    pub(crate) description: &'e str,
    pub(crate) tags: Vec<String>,
    pub(crate) seen_at: Option<Timestamp>,
    pub(crate) first_seen: Option<Timestamp>,
    pub(crate) valid_until: Option<Timestamp>,
}

impl Entry<'_> {
    pub(crate) fn step(self, options: &FeedOptions) -> Step {
        let value = self.value.trim();
        let reject =
            |reason: String| Step::Rejected(Rejected { line: self.line, text: shorten(value, 80), reason });
        if value.len() > options.limits.max_value {
            return reject(format!("it is longer than {} bytes", options.limits.max_value));
        }
        let parsed = match self.kind.map(plain_kind_name) {
            Some(kind) => Indicator::from_parts(&kind, value).map_err(|error| error.to_string()),
            None => match options.kind {
                Some(kind) => Indicator::parse(kind, value).map_err(|error| error.to_string()),
                None => Indicator::identify(value)
                    .ok_or_else(|| "it is not recognised as an indicator".to_owned()),
            },
        };
        let seen_at = self.seen_at.unwrap_or(options.now).min(options.now);
        match parsed {
            Ok(indicator) => Step::Word(Box::new(NewIoc {
                original: Some(value.to_owned()).filter(|given| given != indicator.value()),
                indicator,
                source: options.source.clone(),
                confidence: self.confidence.unwrap_or(options.confidence).min(100),
                description: shorten(self.description.trim(), 2000),
                tags: self.tags,
                related_intel_ids: Vec::new(),
                seen_at,
                first_seen: self.first_seen.filter(|first| *first < seen_at),
                valid_until: self.valid_until,
            })),
            Err(reason) => reject(reason),
        }
    }
}

/// The kind's name without what other programs add to it: `FileHash-SHA256`, `md5_hash`, `Email Address`.
fn plain_kind_name(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase().replace(' ', "_");
    let name = name.strip_prefix("filehash-").unwrap_or(&name);
    name.strip_suffix("_hash").filter(|rest| *rest != "file").unwrap_or(name).to_owned()
}

/// A time in one of the spellings of feeds: RFC 3339, the same with a blank or without an offset (UTC is meant), a
/// day, or seconds since 1970.
pub(crate) fn time_of(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_end_matches(" UTC").trim_end_matches(" utc");
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if text.len() >= 9 && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Timestamp::from_seconds);
    }
    let shaped = text.len() >= 10 && text.as_bytes().get(4) == Some(&b'-') && text.is_ascii();
    if !shaped {
        return None;
    }
    let with_time = if text.len() == 10 { format!("{text}T00:00:00") } else { text.replacen(' ', "T", 1) };
    with_time.parse().or_else(|_| format!("{with_time}Z").parse()).ok()
}

/// A confidence from 0 to 100; words as feeds use them are understood.
pub(crate) fn confidence_of(text: &str) -> Option<u8> {
    let text = text.trim().trim_end_matches('%');
    match text.to_ascii_lowercase().as_str() {
        "high" => return Some(85),
        "medium" => return Some(50),
        "low" => return Some(15),
        _ => {}
    }
    let number: f64 = text.parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number.round() as u8)
}

/// An error page, or a feed for news readers, is not a list with thousands of wrong lines.
fn refuse_markup(head: &[u8], format: FeedFormat) -> Result<(), IntelError> {
    let head = String::from_utf8_lossy(&head[..head.len().min(512)]).to_ascii_lowercase();
    let head = head.trim_start_matches('\u{feff}').trim_start();
    match ["<?xml", "<!doctype", "<html", "<rss", "<feed"].iter().any(|start| head.starts_with(start)) {
        true => Err(IntelError::malformed(format.as_str(), "it is HTML or XML, not a list")),
        false => Ok(()),
    }
}

/// The input with its first 64 KiB, or all of a shorter one, at hand: a pipe gives its bytes in pieces, and what a
/// feed is must not depend on them.
fn with_head(mut input: impl BufRead) -> Result<impl BufRead, IntelError> {
    let mut head = Vec::new();
    input
        .by_ref()
        .take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(|source| IntelError::Stream { doing: "reading the feed", source })?;
    Ok(Cursor::new(head).chain(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_spellings_of_feeds() {
        let expected: Timestamp = "2026-07-23T01:31:00Z".parse().unwrap();
        for text in [
            "2026-07-23T01:31:00Z",
            "2026-07-23 01:31:00",
            "2026-07-23 01:31:00 UTC",
            "2026-07-23T03:31:00+02:00",
            "1784770260",
        ] {
            assert_eq!(time_of(text), Some(expected), "{text}");
        }
        assert_eq!(time_of("2026-07-23"), Some("2026-07-23T00:00:00Z".parse().unwrap()));
        for bad in ["", "yesterday", "2026-13-01", "12", "2026-07-23 25:00:00"] {
            assert_eq!(time_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn formats_are_guessed() {
        for (head, name, format) in [
            ("# list\nevil.example\n", None, FeedFormat::Plain),
            ("http://evil.example/a,b;c\n", None, FeedFormat::Plain),
            ("type,value\nip,192.0.2.1\n", None, FeedFormat::Csv),
            ("evil.example\n", Some("x.CSV"), FeedFormat::Csv),
            ("\u{feff}[{\"value\": 1}]", Some("x.txt"), FeedFormat::Json),
            ("{\"response\": [{\"Event\": {", None, FeedFormat::Misp),
            ("{\"id\": \"bundle--1\", ", None, FeedFormat::Stix),
            ("", None, FeedFormat::Plain),
        ] {
            assert_eq!(FeedFormat::guess(head.as_bytes(), name), format, "{head}");
        }
        assert!(
            "xml".parse::<FeedFormat>().unwrap_err().to_string().contains("plain, csv, json, misp, stix")
        );
        assert_eq!(" TXT".parse::<FeedFormat>().unwrap(), FeedFormat::Plain);
    }
}
