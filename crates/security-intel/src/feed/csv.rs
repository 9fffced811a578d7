//! Columns: with a header, or with columns that say by their content what they are.

use std::io::BufRead;

use security_indicators::{Indicator, IocType};

use super::{
    Entry, FeedOptions, Rejected, Step, confidence_of, plain_kind_name,
    rows::{Found, Row, Rows},
    time_of,
};
use crate::{IntelError, error::shorten};

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
const FIRST_NAMES: &[&str] = &["first_seen", "first_seen_utc"];
const END_NAMES: &[&str] = &["valid_until", "expires", "expiration", "expires_at"];
const CONFIDENCE_NAMES: &[&str] = &["confidence", "confidence_level", "score"];
const DESCRIPTION_NAMES: &[&str] = &["description", "comment", "note", "info", "title"];

/// Where in a row things stand.
#[derive(Debug, Default, Clone, PartialEq)]
struct Columns {
    /// The columns with indicators; the kind's name where the column's own name is one.
    values: Vec<(usize, Option<String>)>,
    kind: Option<usize>,
    tags: Option<usize>,
    time: Option<usize>,
    first: Option<usize>,
    end: Option<usize>,
    confidence: Option<usize>,
    description: Option<usize>,
}

pub(crate) fn read<'r>(
    input: impl BufRead + 'r,
    options: FeedOptions,
) -> Result<Box<dyn Iterator<Item = Step> + 'r>, IntelError> {
    let mut rows = Rows::new(input);
    let mut waiting: Vec<Step> = Vec::new();
    // Reading the first row decides whether the file can be read at all.
    let first = loop {
        match rows.next() {
            None => return Ok(Box::new(waiting.into_iter())),
            Some(Found::Row(row)) => break row,
            Some(Found::Rejected(rejected)) => waiting.push(Step::Rejected(rejected)),
            Some(Found::Broken(error)) => return Err(error),
        }
    };
    let header =
        Columns::by_name(&first).filter(|named| !named.values.is_empty() && !holds_indicator(&first));
    let is_header = header.is_some();
    // The header may stand in the last comment before the rows.
    let in_comment = || {
        let names = rows.comment()?;
        let named = (names.fields.len() == first.fields.len()).then(|| Columns::by_name(&names)).flatten()?;
        (!named.values.is_empty()).then_some(named)
    };
    let columns = header.or_else(in_comment).or_else(|| Columns::by_content(&first, options.kind));
    let Some(columns) = columns else {
        return Err(IntelError::NoValueColumn { row: shorten(&first.fields.join(", "), 120) });
    };
    if !is_header {
        columns.entries(&first, &options, &mut waiting);
    }
    waiting.reverse();
    let mut is_over = false;
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            if let Some(step) = waiting.pop() {
                return Some(step);
            }
            if is_over {
                return None;
            }
            match rows.next()? {
                Found::Row(row) => columns.entries(&row, &options, &mut waiting),
                Found::Rejected(rejected) => return Some(Step::Rejected(rejected)),
                Found::Broken(error) => {
                    is_over = true;
                    return Some(Step::Broken(error));
                }
            }
            waiting.reverse();
        }
    })))
}

fn holds_indicator(row: &Row) -> bool {
    row.fields.iter().any(|field| Indicator::identify(field).is_some())
}

impl Columns {
    /// By a header's names; `None` when no name is known.
    fn by_name(header: &Row) -> Option<Self> {
        let names: Vec<String> = header
            .fields
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
            first: place(FIRST_NAMES),
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

    /// By what stands in a row; `expected` is the kind that values without one of their own are of.
    fn by_content(row: &Row, expected: Option<IocType>) -> Option<Self> {
        let row = &row.fields;
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
                let fits = |at: usize| Indicator::from_parts(&name, text_at(row, at)).is_ok();
                let same = identified.iter().find(|(at, found)| {
                    Some(*at) != kind && name.parse().map_or(fits(*at), |kind| found.kind() == kind)
                });
                same.map(|(at, _)| *at).or_else(|| (0..row.len()).find(|at| Some(*at) != kind && fits(*at)))
            }
            None => match expected {
                Some(kind) => row.iter().position(|field| Indicator::parse(kind, field).is_ok()),
                None => identified.first().map(|(at, _)| *at),
            },
        }?;
        let place = |holds: &dyn Fn(&str) -> bool| {
            (0..row.len()).find(|at| {
                *at != value && Some(*at) != kind && row.get(*at).is_some_and(|field| holds(field))
            })
        };
        Some(Self {
            values: vec![(value, None)],
            kind,
            tags: place(&|field| field.starts_with('#')),
            time: place(&|field| time_of(field).is_some()),
            ..Self::default()
        })
    }

    fn entries(&self, row: &Row, options: &FeedOptions, steps: &mut Vec<Step>) {
        let line = row.line;
        let field = |at: Option<usize>| at.map_or("", |at| text_at(&row.fields, at));
        let before = steps.len();
        for (at, own_kind) in &self.values {
            let value = text_at(&row.fields, *at);
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
                first_seen: time_of(field(self.first)),
                valid_until: time_of(field(self.end)),
            };
            steps.push(entry.step(options));
        }
        if steps.len() == before {
            let text = shorten(&row.fields.join(", "), 80);
            let reason = "the column of the indicator is empty".to_owned();
            steps.push(Step::Rejected(Rejected { line, text, reason }));
        }
    }
}

fn text_at(fields: &[String], at: usize) -> &str {
    fields.get(at).map_or("", String::as_str)
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
