//! What a line and a file name look like.

use std::io::Write as _;

use security_core::{StoreFault, Timestamp};
use security_credentials::{ChainLink, KeyUse, RequestUse};
use serde::Serialize;

/// The largest record in bytes; whoever records what a client sent shortens it first.
pub const MAX_RECORD: usize = 1 << 20;

/// The longest line that a journal can hold: a record, its number and its link.
pub(super) const MAX_LINE: usize = MAX_RECORD + 200;

/// What follows the record on its line: `,"chain":"`, 64 digits, `"}`.
const TAIL: usize = 10 + 64 + 2;

/// A kind of record; each has files of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Uses of credentials.
    Usage,
    /// What administrators did.
    Audit,
    /// Alerts of the detector.
    Alerts,
    /// Requests that the web layer refused.
    Requests,
}

impl Stream {
    /// All streams; the position of each is its number.
    pub const ALL: [Self; 4] = [Self::Usage, Self::Audit, Self::Alerts, Self::Requests];

    /// The stream's name, with which its files' names start.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Audit => "audit",
            Self::Alerts => "alerts",
            Self::Requests => "requests",
        }
    }
}

/// `usage-20261124T080910.123456Z-<pid>-<n>.jsonl`: sorts by time, and no two are the same.
pub(super) fn file_name(stream: Stream, now: Timestamp, process: u32, count: u64) -> String {
    let seconds = Timestamp::from_seconds(now.as_seconds()).to_string();
    let seconds: String = seconds.chars().filter(|c| !matches!(c, '-' | ':' | 'Z')).collect();
    let micros = now.as_micros().rem_euclid(1_000_000);
    format!("{}-{seconds}.{micros:06}Z-{process}-{count}.jsonl", stream.as_str())
}

/// The stream of a file and when it was opened; `None` for a name that is not a journal's.
pub(super) fn parse_file_name(name: &str) -> Option<(Stream, Timestamp)> {
    let rest = name.strip_suffix(".jsonl")?;
    let (stream, rest) = rest.split_once('-')?;
    let stream = Stream::ALL.into_iter().find(|known| known.as_str() == stream)?;
    let (time, rest) = rest.split_once('-')?;
    let (process, count) = rest.split_once('-')?;
    process.parse::<u32>().ok()?;
    count.parse::<u64>().ok()?;
    // 20261124T080910.123456Z
    let (date, clock) = time.split_once('T')?;
    if !time.is_ascii() || date.len() != 8 || clock.len() != 14 {
        return None;
    }
    let spelled = format!(
        "{}-{}-{}T{}:{}:{}",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    );
    Some((stream, spelled.parse().ok()?))
}

/// A record as JSON.
pub(super) fn body_of(record: &impl Serialize) -> Result<Vec<u8>, StoreFault> {
    let body = serde_json::to_vec(record).map_err(|error| refused(&error.to_string()))?;
    checked_body(body)
}

/// JSON that can be a line's record: one object, on one line, not too large.
pub(super) fn checked_body(body: Vec<u8>) -> Result<Vec<u8>, StoreFault> {
    let object = body == b"{}" || (body.starts_with(b"{\"") && body.ends_with(b"}"));
    if !object || body.contains(&b'\n') {
        return Err(refused("it is no JSON object on one line"));
    }
    let body = plain(body);
    if body.len() > MAX_RECORD {
        return Err(refused("it is larger than a mebibyte"));
    }
    Ok(body)
}

/// JSON without the characters that end a line for some readers, or that a terminal obeys, and which JSON lets stand:
/// delete, the controls of Latin-1, the separators of lines and paragraphs, and what turns the direction of writing.
fn plain(body: Vec<u8>) -> Vec<u8> {
    if !is_odd(&body) {
        return body;
    }
    let is_to_be_spelled = |character: char| matches!(character, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    if !text.contains(is_to_be_spelled) {
        return body;
    }
    let mut plain = String::with_capacity(text.len() + 64);
    for character in text.chars() {
        match is_to_be_spelled(character) {
            true => plain.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => plain.push(character),
        }
    }
    plain.into_bytes()
}

/// Whether a text may have one of those characters.
fn is_odd(body: &[u8]) -> bool {
    memchr::memchr3(0x7f, 0xc2, 0xe2, body).is_some()
}

/// A record that waits to be written.
#[derive(Debug)]
pub(super) enum Body {
    /// As JSON, one object on one line.
    Json(Vec<u8>),
    /// As what it says; its JSON is made by whoever writes it.
    KeyUse(KeyUse),
    /// Likewise.
    RequestUse(RequestUse),
}

impl Body {
    /// About how many bytes it takes on its line.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            Self::KeyUse(_) => KeyUse::MAX_LENGTH,
            Self::RequestUse(used) => used.length(),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Json(json) => out.extend_from_slice(json),
            Self::KeyUse(used) => used.write(out),
            Self::RequestUse(used) => {
                let start = out.len();
                used.write(out);
                // What a client sent may have characters that end a line for some.
                if is_odd(&out[start..]) {
                    let body = plain(out.split_off(start));
                    out.extend_from_slice(&body);
                }
            }
        }
    }
}

fn refused(reason: &str) -> StoreFault {
    StoreFault::new("journal-record", format!("this cannot be a record of the journal: {reason}"))
}

/// Appends the line of a record, which `body` appends as a JSON object, and gives the chain's next link.
pub(super) fn write_line(
    out: &mut Vec<u8>,
    seq: u64,
    link: ChainLink,
    body: impl FnOnce(&mut Vec<u8>),
) -> ChainLink {
    let start = out.len();
    write!(out, "{{\"seq\":{seq}").expect("a vector takes every write");
    let brace = out.len();
    body(out);
    // The object's own brace gives way to the comma after the number.
    match &out[brace..] {
        b"{}" => drop(out.remove(brace)),
        _ => out[brace] = b',',
    }
    let next = link.next(&out[start..]);
    out.pop();
    out.extend_from_slice(b",\"chain\":\"");
    next.write(out);
    out.extend_from_slice(b"\"}\n");
    next
}

/// Takes a line, without its line break, apart: its number, what the chain covers, and its link.
pub(super) fn read_line(line: &[u8]) -> Option<(u64, Vec<u8>, ChainLink)> {
    let (start, tail) = line.split_at_checked(line.len().checked_sub(TAIL)?)?;
    let link = tail.strip_prefix(b",\"chain\":\"")?.strip_suffix(b"\"}")?;
    let link: ChainLink = std::str::from_utf8(link).ok()?.parse().ok()?;
    let number = start.strip_prefix(b"{\"seq\":")?;
    let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let seq = std::str::from_utf8(&number[..digits]).ok()?.parse().ok()?;
    let mut covered = start.to_vec();
    covered.push(b'}');
    Some((seq, covered, link))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_sort_by_time() {
        let at = |text: &str| file_name(Stream::Usage, text.parse().unwrap(), 7, 1);
        assert_eq!(at("2026-11-24T08:09:10.123456Z"), "usage-20261124T080910.123456Z-7-1.jsonl");
        assert_eq!(at("2026-11-24T08:09:10Z"), "usage-20261124T080910.000000Z-7-1.jsonl");
        assert!(at("2026-11-24T08:09:10Z") < at("2026-11-24T08:09:10.000001Z"));
        for name in
            ["usage.jsonl", "usage-x-1-1.jsonl", "other-20261124T080910.123456Z-7-1.jsonl", "é-é-é-é.jsonl"]
        {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bad in ["", "1", "[]", "{", "{ }", "{\"a\":\n1}"] {
            assert!(checked_body(bad.into()).is_err(), "{bad}");
        }
        assert!(body_of(&"text").is_err());
        assert!(checked_body(format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_RECORD)).into()).is_err());
    }

    proptest! {
        #[test]
        fn names_round_trip(micros in 0i64..253_402_207_200_000_000, process: u32, count: u64) {
            let now = Timestamp::from_micros(micros);
            for stream in Stream::ALL {
                prop_assert_eq!(parse_file_name(&file_name(stream, now, process, count)), Some((stream, now)));
            }
        }

        #[test]
        fn lines_round_trip(text in ".{0,40}", seq: u64) {
            let body = body_of(&serde_json::json!({"text": text})).unwrap();
            let mut line = Vec::new();
            let link = write_line(&mut line, seq, ChainLink::start("x"), |out| out.extend_from_slice(&body));
            line.pop();
            let (read, covered, named) = read_line(&line).unwrap();
            prop_assert_eq!((read, named), (seq, link));
            prop_assert_eq!(ChainLink::start("x").next(&covered), link);
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(value["text"].as_str(), Some(&*text));
        }

        #[test]
        fn no_text_ends_a_line_or_moves_a_terminal(text in "[a\u{7f}-\u{a0}\u{2000}-\u{2070}\\\\\"é]{0,20}") {
            let body = body_of(&serde_json::json!({"text": text, &text: 1})).unwrap();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(value["text"].as_str(), Some(&*text));
            let body = String::from_utf8(body).unwrap();
            let moves = |found: char| found.is_control() || matches!(found, '\u{2028}' | '\u{2029}' | '\u{202e}' | '\u{2066}');
            prop_assert!(!body.contains(moves), "{:?}", body);
        }

        #[test]
        fn a_request_is_written_as_plainly(text in "[a\u{7f}-\u{a0}\u{2000}-\u{2070}\\\\\"é]{0,20}") {
            let facts = (Timestamp::EPOCH, true, security_credentials::UseNote::Ok);
            let used = RequestUse::new(facts, None, None, "request", ("GET", &text), Some(text.as_bytes()));
            let mut out = b"before".to_vec();
            Body::RequestUse(used).write(&mut out);
            prop_assert_eq!(checked_body(out[6..].to_vec()).unwrap(), &out[6..]);
            let value: serde_json::Value = serde_json::from_slice(&out[6..]).unwrap();
            prop_assert_eq!(value["user_agent"].as_str(), Some(&*text));
        }

        #[test]
        fn no_line_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_line(&line);
            let _ = parse_file_name(&String::from_utf8_lossy(&line));
        }
    }
}
