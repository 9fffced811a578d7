//! Columns: with a header, or with columns that say by their content what they are.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use csv::{ReaderBuilder, StringRecord, Trim};
use security_indicators::{Indicator, IocType};

use super::{Entry, FeedOptions, Rejected, Step, confidence_of, plain_kind_name, time_of};
use crate::{IntelError, error::shorten};

const DELIMITERS: &[u8] = b",;\t|";
/// The most bytes between two rows: a quote that is never closed must not swallow the rest of the file.
const MAX_ROW: usize = 1 << 20;

/// Names of columns that hold the indicator, best first; after them the names of the kinds.
const VALUE_NAMES: &[&str] = &[
    "value",
    "indicator",
    "ioc",
    "ioc_value",
    "indicator_value",
    "observable",
    "artifact",
    "dst_ip",
    "ip_dst",
];
const KIND_NAMES: &[&str] = &["type", "ioc_type", "indicator_type", "kind", "value_type"];
const TAG_NAMES: &[&str] = &["tags", "tag", "labels", "label", "category", "threat", "threat_type"];
const TIME_NAMES: &[&str] = &[
    "last_seen",
    "last_seen_utc",
    "first_seen",
    "first_seen_utc",
    "date",
    "dateadded",
    "timestamp",
    "seen_at",
];
const END_NAMES: &[&str] = &["valid_until", "expires", "expiration", "expires_at"];
const CONFIDENCE_NAMES: &[&str] = &["confidence", "confidence_level", "score"];
const DESCRIPTION_NAMES: &[&str] = &["description", "comment", "note", "info", "title"];

/// Whether a line has more than one column.
pub(crate) fn has_columns(line: &str) -> bool {
    line.bytes().any(|byte| DELIMITERS.contains(&byte))
}

/// Where in a row things stand.
#[derive(Debug, Default, Clone, PartialEq)]
struct Columns {
    /// The columns with indicators; the kind's name where the column's own name is one.
    values: Vec<(usize, Option<String>)>,
    kind: Option<usize>,
    tags: Option<usize>,
    time: Option<usize>,
    end: Option<usize>,
    confidence: Option<usize>,
    description: Option<usize>,
}

/// Counts what was read since the last row and breaks off when that is too much.
struct Metered<R> {
    inner: R,
    since_row: Arc<AtomicUsize>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.inner.read(buffer)?;
        if self.since_row.fetch_add(n_read, Ordering::Relaxed) > MAX_ROW {
            return Err(io::Error::other("a row is longer than 1 MiB; is a quote not closed?"));
        }
        Ok(n_read)
    }
}

pub(crate) fn read<'r>(
    mut input: impl BufRead + 'r,
    options: FeedOptions,
) -> Result<Box<dyn Iterator<Item = Step> + 'r>, IntelError> {
    let broken = |source| IntelError::Stream { doing: "reading the feed", source };
    let head = String::from_utf8_lossy(input.fill_buf().map_err(broken)?).into_owned();
    let since_row = Arc::new(AtomicUsize::new(0));
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .delimiter(delimiter(&head))
        .from_reader(Metered { inner: input, since_row: Arc::clone(&since_row) });
    // The header may stand in the last comment before the rows.
    let commented = head
        .trim_start_matches('\u{feff}')
        .lines()
        .take_while(|line| line.trim().is_empty() || line.starts_with('#'))
        .filter(|line| line.starts_with('#') && has_columns(line))
        .last()
        .map(|line| line.trim_start_matches('#').trim().to_owned());
    let mut row = StringRecord::new();
    let mut columns: Option<Columns> = None;
    let mut row_bytes = Vec::new();
    // Reading the first row decides whether the file can be read at all.
    let mut pending = match next_row(&mut reader, &mut row, &mut row_bytes, &since_row)? {
        false => return Ok(Box::new(std::iter::empty())),
        true => true,
    };
    let by_name = |row: &StringRecord| Columns::by_name(row);
    if let Some(named) = by_name(&row).filter(|named| !named.values.is_empty() && !holds_indicator(&row)) {
        columns = Some(named);
        pending = false;
    } else if let Some(comment) = commented {
        let mut inner = ReaderBuilder::new()
            .has_headers(false)
            .trim(Trim::All)
            .delimiter(delimiter(&head))
            .from_reader(comment.as_bytes());
        if let Some(Ok(header)) = inner.records().next()
            && header.len() == row.len()
        {
            columns = by_name(&header).filter(|named| !named.values.is_empty());
        }
    }
    let columns = match columns.or_else(|| Columns::by_content(&row)) {
        Some(columns) => columns,
        None => {
            let row = row.iter().collect::<Vec<_>>().join(", ");
            return Err(IntelError::NoValueColumn { row: shorten(&row, 120) });
        }
    };
    let mut waiting: Vec<Step> = Vec::new();
    let mut is_over = false;
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            if let Some(step) = waiting.pop() {
                return Some(step);
            }
            if is_over {
                return None;
            }
            if !std::mem::take(&mut pending) {
                match next_row(&mut reader, &mut row, &mut row_bytes, &since_row) {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) => {
                        is_over = true;
                        return Some(Step::Broken(error));
                    }
                }
            }
            let line = row.position().map_or(0, |at| usize::try_from(at.line()).unwrap_or(usize::MAX));
            columns.entries(&row, line, &options, &mut waiting);
            waiting.reverse();
        }
    })))
}

/// Reads a row; what is not UTF-8 becomes `U+FFFD`. `false` at the end.
fn next_row<R: Read>(
    reader: &mut csv::Reader<R>,
    row: &mut StringRecord,
    scratch: &mut Vec<String>,
    since_row: &AtomicUsize,
) -> Result<bool, IntelError> {
    let mut bytes = csv::ByteRecord::new();
    loop {
        let more = reader.read_byte_record(&mut bytes).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(source) => IntelError::Stream { doing: "reading the feed", source },
            other => IntelError::malformed("CSV", &format!("{other:?}")),
        })?;
        since_row.store(0, Ordering::Relaxed);
        if !more {
            return Ok(false);
        }
        let is_empty = bytes.iter().all(<[u8]>::is_empty);
        let is_comment = bytes.get(0).is_some_and(|first| first.starts_with(b";"));
        if is_empty || is_comment {
            continue;
        }
        scratch.clear();
        scratch.extend(bytes.iter().map(|field| String::from_utf8_lossy(field).into_owned()));
        if let Some(first) = scratch.first_mut()
            && let Some(rest) = first.strip_prefix('\u{feff}')
        {
            *first = rest.to_owned();
        }
        row.clear();
        scratch.iter().for_each(|field| row.push_field(field));
        row.set_position(bytes.position().cloned());
        return Ok(true);
    }
}

/// The delimiter that the first lines use most.
fn delimiter(head: &str) -> u8 {
    let line =
        head.lines().find(|line| !line.trim().is_empty() && !line.starts_with(['#', ';'])).unwrap_or("");
    let count = |delimiter: u8| line.bytes().filter(|byte| *byte == delimiter).count();
    // The first of equals is the likelier one.
    DELIMITERS.iter().copied().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

fn holds_indicator(row: &StringRecord) -> bool {
    row.iter().any(|field| Indicator::identify(field).is_some())
}

impl Columns {
    /// By a header's names; `None` when no name is known.
    fn by_name(header: &StringRecord) -> Option<Self> {
        let names: Vec<String> = header
            .iter()
            .map(|name| name.trim_matches('"').trim().to_ascii_lowercase().replace([' ', '-'], "_"))
            .collect();
        let place =
            |known: &[&str]| known.iter().find_map(|known| names.iter().position(|name| name == known));
        let mut columns = Self {
            values: place(VALUE_NAMES).map(|at| (at, None)).into_iter().collect(),
            kind: place(KIND_NAMES),
            tags: place(TAG_NAMES),
            time: place(TIME_NAMES),
            end: place(END_NAMES),
            confidence: place(CONFIDENCE_NAMES),
            description: place(DESCRIPTION_NAMES),
        };
        if columns.values.is_empty() {
            columns.kind = None;
            let kinds = names.iter().enumerate().filter_map(|(at, name)| {
                let kind = plain_kind_name(name);
                (kind == "hash" || kind.parse::<IocType>().is_ok()).then_some((at, Some(kind)))
            });
            columns.values = kinds.collect();
        }
        (columns != Self::default()).then_some(columns)
    }

    /// By what stands in a row.
    fn by_content(row: &StringRecord) -> Option<Self> {
        let kind_at = |at: usize| {
            let name = plain_kind_name(row.get(at)?);
            (!name.is_empty() && (name == "hash" || name.parse::<IocType>().is_ok())).then_some(name)
        };
        let identified: Vec<(usize, Indicator)> = row
            .iter()
            .enumerate()
            .filter_map(|(at, field)| Some((at, Indicator::identify(field)?)))
            .collect();
        let kind = (0..row.len()).find(|at| kind_at(*at).is_some());
        let value = match kind.and_then(kind_at) {
            // Beside a kind stands a value of that kind.
            Some(name) => {
                let fits = |at: usize| Indicator::from_parts(&name, row.get(at).unwrap_or("")).is_ok();
                let same = identified.iter().find(|(at, found)| {
                    Some(*at) != kind && name.parse().map_or(fits(*at), |kind| found.kind() == kind)
                });
                same.map(|(at, _)| *at).or_else(|| (0..row.len()).find(|at| Some(*at) != kind && fits(*at)))
            }
            None => identified.first().map(|(at, _)| *at),
        }?;
        let place = |holds: &dyn Fn(&str) -> bool| {
            (0..row.len()).find(|at| *at != value && Some(*at) != kind && row.get(*at).is_some_and(holds))
        };
        Some(Self {
            values: vec![(value, None)],
            kind,
            tags: place(&|field| field.starts_with('#')),
            time: place(&|field| time_of(field).is_some()),
            ..Self::default()
        })
    }

    fn entries(&self, row: &StringRecord, line: usize, options: &FeedOptions, steps: &mut Vec<Step>) {
        let field = |at: Option<usize>| at.and_then(|at| row.get(at)).unwrap_or("");
        let before = steps.len();
        for (at, own_kind) in &self.values {
            let value = row.get(*at).unwrap_or("");
            if value.is_empty() {
                continue;
            }
            let kind = own_kind.as_deref().or(Some(field(self.kind)).filter(|kind| !kind.is_empty()));
            let entry = Entry {
                line,
                kind,
                value,
                confidence: confidence_of(field(self.confidence)),
                description: field(self.description),
                tags: tags_of(field(self.tags)),
                seen_at: time_of(field(self.time)),
                valid_until: time_of(field(self.end)),
            };
            steps.push(entry.step(options));
        }
        if steps.len() == before {
            let text = shorten(&row.iter().collect::<Vec<_>>().join(", "), 80);
            let reason = "the column of the indicator is empty".to_owned();
            steps.push(Step::Rejected(Rejected { line, text, reason }));
        }
    }
}

/// Tags with commas, semicolons, bars or blanks between them; a leading `#` is decoration.
fn tags_of(field: &str) -> Vec<String> {
    let parts: Vec<&str> = if field.starts_with('#') {
        field.split_whitespace().collect()
    } else {
        field.split([',', ';', '|']).collect()
    };
    parts
        .into_iter()
        .map(|tag| shorten(tag.trim().trim_start_matches('#'), 200))
        .filter(|tag| !tag.is_empty())
        .take(100)
        .collect()
}
