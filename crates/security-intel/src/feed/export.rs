//! Records written as a feed, one at a time.

use std::{collections::BTreeMap, fmt, io::Write, str::FromStr};

use security_indicators::IocType;
use serde::Serialize;

use super::{
    misp_export,
    sensor_formats::{self, Dataset},
};
use crate::{IntelError, IocRecord, error::shorten, to_stix};

/// The form to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExportFormat {
    /// The value alone, one a line.
    Plain,
    /// A header, then type, value, confidence, sources, tags, description, first and last sight, end.
    Csv,
    /// A list of records, one a line, with everything known of them; read again it gives the same records.
    Json,
    /// The same records as JSON lines: one a line, without a list around them.
    JsonLines,
    /// One MISP event with an attribute for each.
    Misp,
    /// A STIX 2.1 bundle of indicators.
    Stix,
    /// A file of Zeek's Intel framework.
    Zeek,
    /// A dataset of Suricata.
    Suricata(Dataset),
    /// A response policy zone for DNS resolvers.
    Rpz,
}

/// The formats' names, as messages give them.
const ACCEPTED: &str = "plain, csv, json, jsonl, misp, stix, zeek, suricata-text, suricata-ip, suricata-md5, suricata-sha256, rpz";

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Exported {
    /// Records written.
    pub n_written: usize,
    /// Number of records of each kind that the format has no form for.
    pub left_out: BTreeMap<IocType, usize>,
}

impl ExportFormat {
    /// The format's one name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Misp => "misp",
            Self::Stix => "stix",
            Self::Zeek => "zeek",
            Self::Suricata(Dataset::Text) => "suricata-text",
            Self::Suricata(Dataset::Ip) => "suricata-ip",
            Self::Suricata(Dataset::Md5) => "suricata-md5",
            Self::Suricata(Dataset::Sha256) => "suricata-sha256",
            Self::Rpz => "rpz",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ExportFormat {
    type Err = IntelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "plain" | "txt" | "text" | "list" => Ok(Self::Plain),
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "misp" => Ok(Self::Misp),
            "stix" | "stix2" | "stix2.1" => Ok(Self::Stix),
            "zeek" => Ok(Self::Zeek),
            "suricata-text" => Ok(Self::Suricata(Dataset::Text)),
            "suricata-ip" => Ok(Self::Suricata(Dataset::Ip)),
            "suricata-md5" => Ok(Self::Suricata(Dataset::Md5)),
            "suricata-sha256" => Ok(Self::Suricata(Dataset::Sha256)),
            "rpz" => Ok(Self::Rpz),
            _ => Err(IntelError::Format { given: shorten(text, 40), accepted: ACCEPTED }),
        }
    }
}

/// Writes records as they come, holding one at a time.
///
/// In CSV, a free text that a spreadsheet would take for a formula is written with an apostrophe in front; values
/// are never changed.
///
/// # Errors
/// [`IntelError::Stream`] when writing breaks off, [`IntelError::Stix`] for a record that cannot stand in STIX.
pub fn export(
    records: impl IntoIterator<Item = IocRecord>,
    format: ExportFormat,
    mut output: impl Write,
) -> Result<Exported, IntelError> {
    let mut done = Exported::default();
    let records = records.into_iter();
    match format {
        ExportFormat::Plain => {
            for record in records {
                writeln!(output, "{}", record.value).map_err(broken)?;
                done.n_written += 1;
            }
        }
        ExportFormat::Csv => csv(records, &mut output, &mut done)?,
        ExportFormat::Json => {
            let mut separator = "[\n";
            for record in records {
                output.write_all(separator.as_bytes()).map_err(broken)?;
                serde_json::to_writer(&mut output, &record).map_err(|error| broken(error.into()))?;
                separator = ",\n";
                done.n_written += 1;
            }
            let end: &[u8] = if done.n_written == 0 { b"[]\n" } else { b"\n]\n" };
            output.write_all(end).map_err(broken)?;
        }
        ExportFormat::JsonLines => {
            for record in records {
                serde_json::to_writer(&mut output, &record).map_err(|error| broken(error.into()))?;
                output.write_all(b"\n").map_err(broken)?;
                done.n_written += 1;
            }
        }
        ExportFormat::Misp => misp_export::misp(records, &mut output, &mut done)?,
        ExportFormat::Stix => stix(records, &mut output, &mut done)?,
        ExportFormat::Zeek => sensor_formats::zeek(records, &mut output, &mut done)?,
        ExportFormat::Suricata(dataset) => {
            sensor_formats::suricata(records, dataset, &mut output, &mut done)?
        }
        ExportFormat::Rpz => sensor_formats::rpz(records, &mut output, &mut done)?,
    }
    output.flush().map_err(broken)?;
    Ok(done)
}

fn csv(
    records: impl Iterator<Item = IocRecord>,
    output: &mut impl Write,
    done: &mut Exported,
) -> Result<(), IntelError> {
    let mut writer = csv::Writer::from_writer(output);
    let header = [
        "type",
        "value",
        "confidence",
        "sources",
        "tags",
        "description",
        "first_seen",
        "last_seen",
        "valid_until",
    ];
    let broken_row = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(source) => broken(source),
        other => broken(std::io::Error::other(format!("{other:?}"))),
    };
    writer.write_record(header).map_err(broken_row)?;
    for record in records {
        let sources = record.sources.iter().map(|known| known.source.as_str()).collect::<Vec<_>>().join(";");
        let row = [
            record.kind.to_string(),
            record.value.clone(),
            record.confidence.to_string(),
            no_formula(sources),
            no_formula(record.tags.join(";")),
            no_formula(record.description.clone()),
            record.first_seen.to_string(),
            record.last_seen.to_string(),
            record.valid_until.map(|end| end.to_string()).unwrap_or_default(),
        ];
        writer.write_record(row).map_err(broken_row)?;
        done.n_written += 1;
    }
    writer.flush().map_err(broken)
}

/// Spreadsheets run what begins with one of these signs. Source: OWASP, "CSV Injection".
fn no_formula(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

fn stix(
    records: impl Iterator<Item = IocRecord>,
    output: &mut impl Write,
    done: &mut Exported,
) -> Result<(), IntelError> {
    const NAMESPACE: uuid::Uuid = uuid::uuid!("0d2f6a7e-55f1-4e0b-8d8e-6f0b6a1c9b42");
    // The same records in the same order are the same bundle; the id stands at the end because it is known there.
    let mut id = NAMESPACE;
    output.write_all(b"{\"type\":\"bundle\"").map_err(broken)?;
    let mut separator = ",\"objects\":[\n";
    for record in records {
        let Some(object) = to_stix(&record)? else {
            *done.left_out.entry(record.kind).or_default() += 1;
            continue;
        };
        output.write_all(separator.as_bytes()).map_err(broken)?;
        serde_json::to_writer(&mut *output, &object).map_err(|error| broken(error.into()))?;
        id = uuid::Uuid::new_v5(&id, format!("{} {}", record.id, record.last_seen).as_bytes());
        separator = ",\n";
        done.n_written += 1;
    }
    let end = if done.n_written == 0 { "" } else { "\n]" };
    // An empty bundle has an id as well.
    let id = uuid::Uuid::new_v5(&id, b"end");
    writeln!(output, "{end},\"id\":\"bundle--{id}\"}}").map_err(broken)
}

pub(super) fn broken(source: std::io::Error) -> IntelError {
    IntelError::Stream { doing: "writing the export", source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FeedFormat, FeedOptions, FeedReader, NewIoc};
    use security_core::Timestamp;
    use security_indicators::Indicator;

    fn records() -> Vec<IocRecord> {
        IocType::ALL
            .iter()
            .map(|kind| {
                let mut record = IocRecord::new(NewIoc {
                    indicator: Indicator::parse(*kind, kind.example()).unwrap(),
                    original: None,
                    source: "feed:own".to_owned(),
                    confidence: 61,
                    description: "=1+1, \"quoted\"\nline".to_owned(),
                    tags: vec!["a".to_owned(), "b".to_owned()],
                    related_intel_ids: Vec::new(),
                    seen_at: Timestamp::EPOCH,
                    first_seen: None,
                    valid_until: None,
                });
                record.valid_until = Some(Timestamp::from_seconds(4_000_000_000));
                record
            })
            .collect()
    }

    #[test]
    fn every_export_is_a_feed_again() {
        for (export_format, feed_format) in [
            (ExportFormat::Csv, FeedFormat::Csv),
            (ExportFormat::Json, FeedFormat::Json),
            (ExportFormat::JsonLines, FeedFormat::Json),
            (ExportFormat::Stix, FeedFormat::Stix),
        ] {
            let mut text = Vec::new();
            let done = export(records(), export_format, &mut text).unwrap();
            assert_eq!(FeedFormat::guess(&text, None), feed_format);
            let now = Timestamp::from_seconds(2_000_000_000);
            let mut reader =
                FeedReader::new(feed_format, text.as_slice(), FeedOptions::new("x", now)).unwrap();
            let words: Vec<NewIoc> = reader.by_ref().map(|word| word.unwrap()).collect();
            let totals = reader.finish().unwrap();
            assert_eq!((totals.n_indicators, totals.n_rejected), (done.n_written, 0), "{export_format}");
            assert_eq!(done.n_written + done.left_out.values().sum::<usize>(), IocType::ALL.len());
            for word in words {
                let original =
                    records().into_iter().find(|record| record.kind == word.indicator.kind()).unwrap();
                assert_eq!(word.indicator.value(), original.value, "{export_format}");
                assert_eq!((word.confidence, word.seen_at), (61, Timestamp::EPOCH));
                assert_eq!(word.valid_until, original.valid_until);
            }
        }
    }

    /// Records of two sources each, as a store keeps them.
    fn of_two_sources() -> Vec<IocRecord> {
        let mut records = records();
        for record in &mut records {
            record.merge(NewIoc {
                indicator: record.indicator().unwrap(),
                original: None,
                source: "taxii:partner/one".to_owned(),
                confidence: 33,
                description: String::new(),
                tags: vec!["c".to_owned()],
                related_intel_ids: vec!["intel--1".to_owned()],
                seen_at: Timestamp::from_seconds(2000),
                first_seen: Some(Timestamp::from_seconds(1000)),
                valid_until: Some(Timestamp::from_seconds(4_000_000_000)),
            });
        }
        records
    }

    /// Reads an export into records as a store would, holding `max_bytes` of it.
    fn read_back(text: &[u8], max_bytes: usize, keep_sources: bool) -> Vec<IocRecord> {
        let limits = security_core::Limits { max_bytes, ..security_core::Limits::DEFAULT };
        let now = Timestamp::from_seconds(2_000_000_000);
        let options = FeedOptions { limits, keep_sources, ..FeedOptions::new("feed:file", now) };
        let mut reader = FeedReader::guess(None, text, options).unwrap();
        let mut records: Vec<IocRecord> = Vec::new();
        for word in reader.by_ref() {
            let word = word.unwrap();
            match records.iter_mut().find(|record| record.indicator().as_ref() == Some(&word.indicator)) {
                Some(record) => record.merge(word),
                None => records.push(IocRecord::new(word)),
            }
        }
        reader.finish().unwrap();
        records
    }

    #[test]
    fn a_json_export_comes_back_as_it_was() {
        let records = of_two_sources();
        let mut text = Vec::new();
        export(records.clone(), ExportFormat::JsonLines, &mut text).unwrap();
        assert_eq!(read_back(&text, text.len(), true), records, "as lines");
        text.clear();
        export(records.clone(), ExportFormat::Json, &mut text).unwrap();
        for max_bytes in [text.len(), 10] {
            assert_eq!(read_back(&text, max_bytes, true), records, "at most {max_bytes} bytes at once");
            let others = read_back(&text, max_bytes, false);
            for (other, record) in others.iter().zip(&records) {
                let sources: Vec<_> = other.sources.iter().map(|known| known.source.as_str()).collect();
                assert_eq!(sources, ["feed:file"]);
                assert_eq!((other.first_seen, other.last_seen), (record.first_seen, record.last_seen));
                assert_eq!((&other.tags, &other.description), (&record.tags, &record.description));
            }
        }
        // Who names a source must be a record as we write it.
        let forged =
            String::from_utf8(text.clone()).unwrap().replace("indicator--", "indicator--0").into_bytes();
        assert_eq!(read_back(&forged, text.len() * 2, true)[0].sources[0].source, "feed:file");
    }

    #[test]
    fn a_stix_export_of_any_size_comes_back() {
        let mut text = Vec::new();
        let done = export(of_two_sources(), ExportFormat::Stix, &mut text).unwrap();
        let whole = read_back(&text, text.len(), false);
        assert_eq!(whole.len(), done.n_written);
        assert_eq!(read_back(&text, 10, false), whole);
        assert!(whole.iter().all(|record| {
            (record.first_seen, record.last_seen) == (Timestamp::EPOCH, Timestamp::from_seconds(2000))
        }));
    }

    #[test]
    fn a_spreadsheet_gets_no_formula() {
        let mut text = Vec::new();
        export(records().into_iter().take(1), ExportFormat::Csv, &mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("\"'=1+1, "));
    }

    #[test]
    fn empty_exports_are_whole() {
        for (format, expected) in
            [(ExportFormat::Plain, ""), (ExportFormat::Json, "[]\n"), (ExportFormat::JsonLines, "")]
        {
            let mut text = Vec::new();
            export([], format, &mut text).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
        let mut text = Vec::new();
        export([], ExportFormat::Stix, &mut text).unwrap();
        assert!(security_stix::Bundle::parse(&text, security_core::Limits::DEFAULT).is_ok());
    }
}
