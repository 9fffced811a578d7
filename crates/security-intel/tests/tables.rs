//! The tables `testdata/feeds.toml` and `testdata/correlation.toml`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use security_core::{Limits, Severity, Timestamp};
use security_indicators::IocType;
use security_intel::{
    CorrelateOptions, FeedFormat, FeedOptions, FeedReader, FeedTotals, IntelError, IntelInput, IocInput,
    IocRecord, NewIoc, Rejected, categorize, correlate,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Feeds {
    case: Vec<FeedCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedCase {
    name: String,
    guess: String,
    file_name: Option<String>,
    format: Option<String>,
    feed: String,
    #[serde(default)]
    finds: Vec<String>,
    #[serde(default)]
    rejects: Vec<String>,
    #[serde(default)]
    left_out: BTreeMap<String, usize>,
    first: Option<First>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    confidence: u8,
    tags: Vec<String>,
    description: String,
    seen_at: Timestamp,
    valid_until: Option<Timestamp>,
}

type Outcome = (Vec<NewIoc>, Vec<Rejected>, FeedTotals);

fn now() -> Timestamp {
    "2026-08-01T00:00:00Z".parse().expect("the tests' own input is right")
}

fn read(format: FeedFormat, feed: &[u8], options: FeedOptions) -> Result<Outcome, IntelError> {
    let mut reader = FeedReader::new(format, feed, options)?;
    let (mut words, mut rejected) = (Vec::new(), Vec::new());
    for entry in reader.by_ref() {
        match entry {
            Ok(word) => words.push(word),
            Err(wrong) => rejected.push(wrong),
        }
    }
    Ok((words, rejected, reader.finish()?))
}

#[test]
fn every_feed_of_the_table_reads_as_said() {
    let table: Feeds = toml::from_str(include_str!("../../../testdata/feeds.toml")).unwrap();
    let mut failures = Vec::new();
    for case in table.case {
        let mut fail = |what: String| failures.push(format!("{}: {what}", case.name));
        let guess = FeedFormat::guess(case.feed.as_bytes(), case.file_name.as_deref());
        if guess.as_str() != case.guess {
            fail(format!("guessed {guess}"));
        }
        let format = case.format.as_ref().unwrap_or(&case.guess).parse().unwrap();
        let (words, rejected, totals) =
            match (read(format, case.feed.as_bytes(), FeedOptions::new("feed:test", now())), &case.error) {
                (Ok(outcome), None) => outcome,
                (Err(error), Some(expected)) if error.to_string().contains(expected) => continue,
                (Err(error), _) => {
                    fail(format!("refused: {error}"));
                    continue;
                }
                (Ok(_), Some(_)) => {
                    fail("not refused".to_owned());
                    continue;
                }
            };
        let finds: Vec<_> = words
            .iter()
            .map(|word| format!("{}:{}", word.indicator.kind(), word.indicator.value()))
            .collect();
        if finds != case.finds {
            fail(format!("finds {finds:?}"));
        }
        let expected = case.rejects.iter().map(|text| text.split_once(':').unwrap());
        let as_said = rejected.len() == case.rejects.len()
            && rejected.iter().zip(expected).all(|(found, (line, reason))| {
                found.line.to_string() == line && found.reason.contains(reason)
            });
        if !as_said {
            fail(format!("rejects {rejected:?}"));
        }
        let left_out: BTreeMap<_, _> =
            totals.left_out.iter().map(|(why, n)| ((*why).to_owned(), *n)).collect();
        if left_out != case.left_out {
            fail(format!("left out {left_out:?}"));
        }
        if (totals.n_indicators, totals.n_rejected) != (words.len(), rejected.len()) {
            fail(format!("counts {totals:?}"));
        }
        if let (Some(first), Some(word)) = (case.first, words.first()) {
            let as_said = word.confidence == first.confidence
                && word.tags == first.tags
                && word.description == first.description
                && word.seen_at == first.seen_at
                && word.valid_until == first.valid_until
                && word.source == "feed:test";
            if !as_said {
                fail(format!("first {word:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn budgets_hold() {
    let options = |limits| FeedOptions { limits, ..FeedOptions::new("x", now()) };
    let small = Limits { max_hits: 2, ..Limits::DEFAULT };
    let feed = b"192.0.2.1\n192.0.2.2\n192.0.2.3\n";
    let error = read(FeedFormat::Plain, feed, options(small)).unwrap_err();
    assert!(matches!(error, IntelError::TooLarge { most: 2, .. }), "{error}");
    let short = Limits { max_bytes: 10, ..Limits::DEFAULT };
    let error = read(FeedFormat::Json, br#"{"data": ["192.0.2.1"]}"#, options(short)).unwrap_err();
    assert!(matches!(error, IntelError::TooLarge { most: 10, .. }), "{error}");
    let unclosed = format!("type,value\nip,192.0.2.1\nip,\"{}", "x\n".repeat(1 << 15));
    let (words, rejected, _) = read(FeedFormat::Csv, unclosed.as_bytes(), options(Limits::DEFAULT)).unwrap();
    assert_eq!((words.len(), rejected.len()), (1, 1 << 15));
    assert!(rejected[0].line == 3 && rejected[0].reason.contains("quote"), "{:?}", rejected[0]);
    let long = format!("{}\n192.0.2.1\n", "a".repeat(100_000));
    let (words, rejected, _) = read(FeedFormat::Plain, long.as_bytes(), options(Limits::DEFAULT)).unwrap();
    assert_eq!((words.len(), rejected.len(), rejected[0].text.len()), (1, 1, 80));
}

#[test]
fn attributes_that_are_not_for_detection_are_taken_when_asked_for() {
    let feed =
        br#"{"Event": {"Attribute": [{"type": "sha1", "value": "0123456789abcdef0123456789abcdef01234567",
        "to_ids": false}, {"type": "text", "value": "x", "to_ids": false}]}}"#;
    let options = FeedOptions { take_all_attributes: true, ..FeedOptions::new("x", now()) };
    let (words, rejected, totals) = read(FeedFormat::Misp, feed, options).unwrap();
    assert_eq!((words.len(), rejected.len()), (1, 0));
    assert_eq!(totals.left_out["no kind of indicator"], 1);
}

/// Gives a byte at a time, as a slow pipe does.
struct Slow<'a>(&'a [u8]);

impl std::io::Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n_bytes = self.0.len().min(buffer.len()).min(1);
        buffer[..n_bytes].copy_from_slice(&self.0[..n_bytes]);
        self.0 = &self.0[n_bytes..];
        Ok(n_bytes)
    }
}

#[test]
fn what_a_feed_is_does_not_depend_on_the_pieces_it_comes_in() {
    for (feed, format) in [
        ("# made up\n# type;value\nip;192.0.2.1\nip;192.0.2.2\n", FeedFormat::Csv),
        ("{\"value\": \"192.0.2.1\"}\n{\"value\": \"192.0.2.2\"}\n", FeedFormat::Json),
        ("192.0.2.1\n192.0.2.2\n", FeedFormat::Plain),
        (
            "{\"response\": [{\"Event\": {\"Attribute\": [
            {\"type\": \"ip-dst\", \"value\": \"192.0.2.1\", \"to_ids\": true},
            {\"type\": \"ip-dst\", \"value\": \"192.0.2.2\", \"to_ids\": true}]}}]}",
            FeedFormat::Misp,
        ),
    ] {
        let input = std::io::BufReader::new(Slow(feed.as_bytes()));
        let mut reader = FeedReader::guess(None, input, FeedOptions::new("x", now())).unwrap();
        assert_eq!(reader.format(), format);
        let values: Vec<_> = reader.by_ref().map(|word| word.unwrap().indicator.value().to_owned()).collect();
        assert_eq!(values, ["192.0.2.1", "192.0.2.2"], "{format}");
        reader.finish().unwrap();
    }
}

#[test]
fn entries_that_do_not_say_are_of_the_kind_expected() {
    let options = FeedOptions { kind: Some(IocType::Domain), ..FeedOptions::new("x", now()) };
    for (format, feed) in [
        (FeedFormat::Plain, "setup.py\n192.0.2.1\ninvoice.zip # seen\n"),
        (FeedFormat::Json, "[\"setup.py\", \"192.0.2.1\", {\"value\": \"invoice.zip\"}]"),
        (FeedFormat::Csv, "1,setup.py\n2,192.0.2.1\n3,invoice.zip\n"),
        (FeedFormat::Csv, "note,value\n1,setup.py\n2,192.0.2.1\n3,invoice.zip\n"),
    ] {
        let (words, rejected, _) = read(format, feed.as_bytes(), options.clone()).unwrap();
        let values: Vec<_> = words.iter().map(|word| word.indicator.to_string()).collect();
        assert_eq!(values, ["domain:setup.py", "domain:invoice.zip"], "{feed}");
        assert!(rejected.len() == 1 && rejected[0].reason.contains("not a valid domain"), "{rejected:?}");
    }
    let (words, _, _) =
        read(FeedFormat::Json, br#"[{"type": "ip", "value": "192.0.2.1"}]"#, options).unwrap();
    assert_eq!(words[0].indicator.to_string(), "ip:192.0.2.1", "an entry that says its kind is of that");
}

#[derive(Deserialize)]
struct Correlations {
    case: Vec<CorrelationCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CorrelationCase {
    name: String,
    iocs: String,
    intel: String,
    threshold: Option<f64>,
    max_correlations: Option<usize>,
    common_above: Option<usize>,
    #[serde(default)]
    finds: Vec<String>,
    n_found: Option<usize>,
    #[serde(default)]
    common: Vec<String>,
    error: Option<String>,
}

impl CorrelationCase {
    fn run(&self) -> Result<security_intel::Correlations, IntelError> {
        let iocs: Vec<Value> = serde_json::from_str(&self.iocs).expect("the tests' own input is right");
        let iocs = iocs.iter().enumerate().map(|(at, ioc)| IocInput::from_json(ioc, &format!("iocs[{at}]")));
        let intel: Vec<Value> = serde_json::from_str(&self.intel).expect("the tests' own input is right");
        let intel =
            intel.iter().enumerate().map(|(at, one)| IntelInput::from_json(one, at, &Limits::DEFAULT));
        let usual = CorrelateOptions::default();
        correlate(
            &iocs.collect::<Result<Vec<_>, _>>()?,
            &intel.collect::<Result<Vec<_>, _>>()?,
            CorrelateOptions {
                threshold: self.threshold.unwrap_or(usual.threshold),
                max_correlations: self.max_correlations.unwrap_or(usual.max_correlations),
                common_above: self.common_above.unwrap_or(usual.common_above),
            },
        )
    }
}

fn word_of(value: impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .expect("the tests' own input is right")
        .as_str()
        .expect("the tests' own input is right")
        .to_owned()
}

#[test]
fn every_correlation_of_the_table_is_found_as_said() {
    let table: Correlations = toml::from_str(include_str!("../../../testdata/correlation.toml")).unwrap();
    let mut failures = Vec::new();
    for case in table.case {
        let found = match (case.run(), &case.error) {
            (Ok(found), None) => found,
            (Err(error), Some(expected)) if error.to_string().contains(expected) => continue,
            (other, _) => {
                failures.push(format!("{}: {other:?}", case.name));
                continue;
            }
        };
        let finds: Vec<_> = found
            .correlations
            .iter()
            .map(|one| {
                let iocs: Vec<_> = one.iocs.iter().map(|ioc| format!("{}:{}", ioc.kind, ioc.value)).collect();
                let mut iocs = iocs;
                iocs.sort();
                let relation = word_of(one.relation);
                format!("{relation} {:.2} {} / {}", one.score, iocs.join(" "), one.intel_ids.join(" "))
            })
            .collect();
        let common: Vec<_> = found
            .common
            .iter()
            .map(|key| format!("{} {} {}", word_of(key.relation), key.value, key.n_records))
            .collect();
        if finds != case.finds
            || common != case.common
            || found.n_found != case.n_found.unwrap_or(finds.len())
        {
            failures.push(format!("{}: {finds:?} {common:?} {}", case.name, found.n_found));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn stored_records_correlate_like_what_a_caller_gives() {
    let word = NewIoc {
        indicator: "domain:evil.example".parse().unwrap(),
        original: None,
        source: "internal".to_owned(),
        confidence: 80,
        description: String::new(),
        tags: Vec::new(),
        related_intel_ids: Vec::new(),
        seen_at: now(),
        first_seen: None,
        valid_until: None,
    };
    let ioc = IocInput::from_record(&IocRecord::new(word)).unwrap();
    let data = serde_json::json!("lure at evil[.]example");
    let record = categorize(data, "forums", "high", "intel--1".to_owned(), now(), &Limits::DEFAULT).unwrap();
    let found = correlate(&[ioc], &[IntelInput::from(&record)], CorrelateOptions::default()).unwrap();
    let one = &found.correlations[0];
    // The same day adds to the same indicator: 1 - 0.1 * 0.85.
    assert_eq!((one.score, one.severity, one.first_seen), (0.92, Severity::High, Some(now())));
}

#[test]
fn a_correlation_is_explained_and_severe_as_its_records() {
    let ioc =
        IocInput::from_json(&serde_json::json!({"value": "evil.example", "confidence": 95}), "x").unwrap();
    let record = serde_json::json!({"id": "a", "priority_level": "Critical", "data": "evil.example"});
    let intel = IntelInput::from_json(&record, 0, &Limits::DEFAULT).unwrap();
    let found = correlate(&[ioc], &[intel], CorrelateOptions::default()).unwrap();
    let one = &found.correlations[0];
    assert_eq!(one.severity, Severity::Critical);
    assert_eq!(one.reasons, ["the same indicator: domain evil.example (weight 0.90)"]);
    assert_eq!(found, correlate_again());
}

/// The same input gives the same ids and order.
fn correlate_again() -> security_intel::Correlations {
    let ioc = IocInput::from_json(&serde_json::json!({"value": "evil.example", "confidence": 95}), "x")
        .expect("the tests' own input is right");
    let record = serde_json::json!({"id": "a", "priority_level": "Critical", "data": "evil.example"});
    let intel = IntelInput::from_json(&record, 0, &Limits::DEFAULT).expect("the tests' own input is right");
    correlate(&[ioc], &[intel], CorrelateOptions::default()).expect("the tests' own input is right")
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), format in 0usize..5,
    ) {
        let formats = [FeedFormat::Plain, FeedFormat::Csv, FeedFormat::Json, FeedFormat::Misp, FeedFormat::Stix];
        FeedFormat::guess(&bytes, None);
        let _ = read(formats[format], &bytes, FeedOptions::new("x", now()));
    }

    #[test]
    fn no_near_feed_makes_a_reader_panic(
        text in "([{}\\[\\]\":, \\n#;|\t]|192\\.0\\.2\\.1|evil\\.example|type|value|Event|Attribute|to_ids|true|[a-z0-9]){0,60}",
    ) {
        for format in [FeedFormat::Plain, FeedFormat::Csv, FeedFormat::Json, FeedFormat::Misp, FeedFormat::Stix] {
            if let Ok((words, rejected, totals)) = read(format, text.as_bytes(), FeedOptions::new("x", now())) {
                prop_assert_eq!((words.len(), rejected.len()), (totals.n_indicators, totals.n_rejected));
            }
            let limits = Limits { max_bytes: 3, ..Limits::DEFAULT };
            let _ = read(format, text.as_bytes(), FeedOptions { limits, ..FeedOptions::new("x", now()) });
        }
    }

    #[test]
    fn a_list_that_streams_gives_what_it_gives_as_a_whole(
        items in prop::collection::vec("(\"192\\.0\\.2\\.[0-9]\"|[1-9][0-9]{0,2}|null|\\{\"value\": \"[a-z,\\]}]{0,9}(\\\\\"|\\\\\\\\)?\"\\}|\\[\\[\\], 1\\])", 0..8),
        blank in "[ \n]{0,3}",
    ) {
        let text = format!("[{blank}{}{blank}]{blank}", items.join(&format!("{blank},{blank}")));
        let limits = Limits { max_bytes: 1, ..Limits::DEFAULT };
        let streamed = read(FeedFormat::Json, text.as_bytes(), FeedOptions { limits, ..FeedOptions::new("x", now()) });
        let whole = read(FeedFormat::Json, text.as_bytes(), FeedOptions::new("x", now()));
        prop_assert_eq!(streamed.unwrap(), whole.unwrap());
    }

    #[test]
    fn no_row_of_a_csv_feed_is_lost(lines in prop::collection::vec("(ip,192\\.0\\.2\\.[1-9]|ip,\"192\\.0\\.2\\.[1-9]\"|ip,\"x|ip,x)", 1..60)) {
        let feed = format!("type,value\n{}\n", lines.join("\n"));
        let (words, rejected, _) = read(FeedFormat::Csv, feed.as_bytes(), FeedOptions::new("x", now())).unwrap();
        // Only the line on which a quote was left open is lost, and that one is told.
        let right = lines.iter().filter(|line| line.contains("192")).count();
        prop_assert_eq!((words.len(), words.len() + rejected.len()), (right, lines.len()));
    }
}
