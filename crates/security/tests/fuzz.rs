//! Every parser that reads what strangers write, over mutated texts of the tables: it must not panic, and what it says
//! of its input must hold. A thousand inputs a target in `cargo test`; `make fuzz` goes on for as long as it is told.
//!
//! The mutations know no coverage, but they start from every text of `testdata/` and splice them, which reaches further
//! than random bytes. Inputs are the same in every run; `SECURITY_FUZZ_SEED` makes others.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use security_core::{Limits, Timestamp};
use security_indicators::{ExtractOptions, Indicator, IocType, defang, extract, extract_through, refang};
use security_intel::{ExportFormat, FeedFormat, FeedOptions, FeedReader, IocRecord, export};
use security_web::{ClientAddressPolicy, ForwardedHeader, InspectionPolicy, Networks, RequestView};

/// Inputs a target where no time is given.
const INPUTS: usize = 1000;
/// The longest input, in bytes.
const LONGEST: usize = 4096;

/// Numbers that are the same in every run (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % end.max(1)
    }
}

/// Every text in the tables of `testdata/`, and the tables themselves in part.
fn corpus(files: &[&str]) -> Vec<Vec<u8>> {
    fn texts(value: &toml::Value, all: &mut Vec<Vec<u8>>) {
        match value {
            toml::Value::String(text) => all.push(text.clone().into_bytes()),
            toml::Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
            toml::Value::Table(table) => table.values().for_each(|item| texts(item, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(file);
        let table: toml::Value = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        texts(&table, &mut all);
    }
    assert!(all.len() > 10, "{files:?} hold texts");
    all
}

/// What means something to one parser or another.
const WORDS: &[&[u8]] = &[
    b"[.]",
    b"hxxp://",
    b"://",
    b"%2e",
    b"%00",
    b"\\u0000",
    b"\xff",
    b"\xed\xa0\x80",
    "\u{200b}".as_bytes(),
    "。".as_bytes(),
    b"\r\n",
    b"\n",
    b"\t",
    b"'",
    b"\"",
    b"[",
    b"]",
    b"{",
    b"}",
    b"(",
    b")",
    b"<!--",
    b"<![CDATA[",
    b"&amp;",
    b"*",
    b"&x",
    b"- ",
    b": ",
    b"#",
    b"\\",
    b"0",
    b"-1",
    b"1e400",
    b"99999999999999999999",
    b"null",
    b"=",
    b",",
    b";",
    b"|",
    b"AND ",
    b"FOLLOWEDBY ",
    b"REPEATS 5 TIMES",
    b"for=",
    b"\"_x\"",
    b"--B\r\n",
    b"${",
    b"../",
    b"0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    b"::1",
    b"/24",
    b"T1059.",
    b"@",
    b" ",
];

fn mutated(corpus: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = corpus[numbers.below(corpus.len())].clone();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        let until = at + numbers.below((bytes.len() - at).min(64) + 1);
        match numbers.below(7) {
            0 => bytes.splice(at..at, WORDS[numbers.below(WORDS.len())].iter().copied()).for_each(drop),
            1 => bytes.drain(at..until).for_each(drop),
            2 => {
                let piece = bytes[at..until].repeat(1 + numbers.below(8));
                bytes.splice(at..at, piece).for_each(drop);
            }
            3 => {
                let other = &corpus[numbers.below(corpus.len())];
                let from = numbers.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            4 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            5 if at < bytes.len() => bytes[at] = numbers.below(256) as u8,
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Runs one target over many inputs; one that makes it panic is shown.
fn fuzz(files: &[&str], target: impl Fn(&[u8])) {
    let corpus = corpus(files);
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let mut numbers = Numbers(number("SECURITY_FUZZ_SEED").unwrap_or(1) | 1 << 40);
    let until = number("SECURITY_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut inputs = 0;
    while until.map_or(inputs < INPUTS, |until| Instant::now() < until) {
        inputs += 1;
        let input = mutated(&corpus, &mut numbers);
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            panic!("input {inputs}: {}", input.escape_ascii());
        }
    }
    assert!(inputs > 0);
}

const TEXTS: &[&str] =
    &["extract.toml", "extract_reports.toml", "extract_vendors.toml", "defang.toml", "identify.toml"];

#[test]
fn indicators() {
    fuzz(TEXTS, |input| {
        let text = String::from_utf8_lossy(input);
        for kind in IocType::ALL {
            if let Ok(indicator) = Indicator::parse(*kind, &text) {
                let again = Indicator::parse(indicator.kind(), indicator.value());
                assert_eq!(again.as_ref(), Ok(&indicator), "the canonical form parses to itself");
            }
        }
        let _ = (Indicator::identify(&text), refang(&text), defang(&text));
    });
}

#[test]
fn extraction() {
    fuzz(TEXTS, |input| {
        let text = String::from_utf8_lossy(input);
        let every: Vec<String> = IocType::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
        for file_names in [false, true] {
            let options = ExtractOptions { file_names, ..ExtractOptions::default() };
            let found = extract(&text, &options);
            assert_eq!(found, extract_through(&text, &options), "the masks leave nothing out");
            let mut done = 0;
            for one in &found {
                assert!(done <= one.start && one.start < one.end, "in order, apart");
                assert!(text.get(one.start..one.end).is_some(), "at characters");
                done = one.end;
            }
        }
        let whole = security::Finder::new(Some(&every), false, None).unwrap().find(&text);
        let stream =
            security::Finder::new(Some(&every), false, None).unwrap().stream(text.as_bytes()).unwrap();
        let streamed: Vec<_> =
            stream.map(Result::unwrap).map(|ioc| (ioc.value, ioc.start, ioc.end)).collect();
        let whole: Vec<_> = whole
            .iter()
            .map(|ioc| (ioc.found.indicator.value().to_owned(), ioc.found.start, ioc.found.end))
            .collect();
        // A gzip stream by chance is no text.
        assert!(text.as_bytes().starts_with(&[0x1f, 0x8b]) || streamed == whole, "a stream is its text");
    });
}

#[test]
fn stix_patterns() {
    fuzz(&["stix_patterns.toml"], |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(pattern) = security_stix::Pattern::parse(&text) {
            let written = pattern.to_string();
            assert!(
                security_stix::Pattern::parse(&written).is_ok(),
                "what is written can be read: {written}"
            );
        }
    });
}

#[test]
fn feeds() {
    fuzz(&["feeds.toml", "extract_reports.toml"], |input| {
        let now = Timestamp::from_seconds(2_000_000_000);
        let formats = [
            FeedFormat::Plain,
            FeedFormat::Csv,
            FeedFormat::Json,
            FeedFormat::Misp,
            FeedFormat::Stix,
            FeedFormat::OpenIoc,
        ];
        // Small limits reach the readers of streams as well.
        for (format, max_bytes) in formats.into_iter().flat_map(|format| [(format, 1 << 20), (format, 64)]) {
            let limits = Limits { max_bytes, ..Limits::DEFAULT };
            let options = FeedOptions { limits, ..FeedOptions::new("fuzz", now) };
            let Ok(mut reader) = FeedReader::new(format, input, options) else { continue };
            let records: Vec<IocRecord> =
                reader.by_ref().filter_map(Result::ok).map(IocRecord::new).collect();
            let _ = reader.finish();
            for format in ["zeek", "suricata-text", "suricata-ip", "rpz", "csv", "stix"] {
                let format: ExportFormat = format.parse().unwrap();
                let mut text = Vec::new();
                export(records.clone(), format, &mut text).unwrap();
                assert!(std::str::from_utf8(&text).is_ok());
            }
        }
        let _ = FeedFormat::guess(input, Some("x.csv"));
    });
}

#[test]
fn rules() {
    fuzz(&["rules.toml"], |input| {
        for name in ["x.yml", "x.json"] {
            let _ = security::read_rule_file(name, input);
        }
    });
}

#[test]
fn payloads() {
    fuzz(&["inspect.toml", "extract.toml"], |input| {
        let policy = InspectionPolicy::default();
        let types: [&[u8]; 5] = [
            b"application/json",
            b"text/xml",
            b"multipart/form-data; boundary=B",
            b"application/x-www-form-urlencoded",
            b"text/plain",
        ];
        for content_type in types {
            let headers = [("Content-Type", content_type), ("Cookie", input)];
            let request =
                RequestView { path: "/x", headers: &headers, body: Some(input), ..RequestView::default() };
            let _ = security_web::inspect(&policy, &request);
        }
        let text = String::from_utf8_lossy(input);
        let request = RequestView { path: &text, query: &text, ..RequestView::default() };
        let _ = security_web::inspect(&policy, &request);
    });
}

#[test]
fn tokens() {
    fuzz(&["tokens.toml"], |input| {
        if let Some(token) = security_credentials::ParsedToken::parse(input) {
            assert_eq!(token.expose(), input, "a token is its text");
        }
        let text = String::from_utf8_lossy(input);
        let _ = security_credentials::find_tokens(&text);
        let redacted = security_core::redact_tokens(&text);
        assert!(security_credentials::find_tokens(&redacted).is_empty(), "none is left");
    });
}

#[test]
fn forwarding_headers() {
    fuzz(&["client_address.toml"], |input| {
        let names = [
            (ForwardedHeader::XForwardedFor, "x-forwarded-for"),
            (ForwardedHeader::Forwarded, "forwarded"),
            (ForwardedHeader::XRealIp, "x-real-ip"),
        ];
        for (header, name) in names {
            for hops in [None, Some(1), Some(3)] {
                let trusted_proxies = Networks::of(["private"]).unwrap();
                let policy = ClientAddressPolicy { trusted_proxies, header, hops };
                let found = policy.resolve(Some("10.0.0.1"), &[(name, input), (name, input)]);
                let stranger = policy.resolve(Some("203.0.113.9"), &[(name, input)]);
                assert_eq!(stranger.ip, "203.0.113.9".parse().ok(), "a stranger is who he is: {found:?}");
            }
        }
    });
}
