//! The tokenising detectors for SQL and HTML, with what keeps them from innocent text.

use std::borrow::Cow;

use libinjectionrs::{SqliFlags, SqliState, XssDetector, xss::Html5Flags};

use super::sql_shape;

/// How much of a value the detectors read: they judge by its beginning, and are linear, but not free.
const LONGEST: usize = 4 << 10;

/// What the SQL tokeniser says of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sql {
    Innocent,
    /// Names and numbers joined by a word like `or`, which people write too.
    Weak,
    Strong,
}

pub(super) fn sql(decoded: &[u8]) -> Sql {
    let value = &decoded[..decoded.len().min(LONGEST)];
    let mut state = SqliState::new(value, SqliFlags::FLAG_NONE);
    if !state.detect() {
        return Sql::Innocent;
    }
    if sql_shape::is_innocent(value) {
        return Sql::Weak;
    }
    // Short values with a quotation mark and no call are what it was made for: `'='`, `1'-'1`.
    let is_short =
        value.len() < 32 && !value.contains(&b'(') && memchr::memchr2(b'\'', b'"', value).is_some();
    if is_short || names_sql(value) { Sql::Strong } else { Sql::Weak }
}

/// Whether a value has both signs and a word of SQL; code and sentences have one of them. In a text of many words,
/// one of those that sentences are made of does not count.
fn names_sql(value: &[u8]) -> bool {
    const STATEMENTS: [&[u8]; 13] = [
        b"select",
        b"union",
        b"xor",
        b"having",
        b"exec",
        b"execute",
        b"waitfor",
        b"sleep",
        b"benchmark",
        b"database",
        b"version",
        b"concat",
        b"insert",
    ];
    const SENTENCES: [&[u8]; 12] = [
        b"or", b"and", b"like", b"between", b"update", b"delete", b"drop", b"order", b"group", b"null",
        b"case", b"user",
    ];
    const MOST_WORDS: usize = 8;
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b" \t\r\n.,-_:!?/&+@".contains(&byte) || byte >= 0x80;
    let has = |sign: &[u8]| memchr::memmem::find(value, sign).is_some();
    if value.iter().all(|byte| is_plain(*byte)) && !has(b"--") {
        return false;
    }
    if [&b"--"[..], b"/*", b"#", b"||", b"&&", b"@@"].iter().any(|sign| has(sign)) {
        return true;
    }
    let words =
        || value.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').filter(|word| !word.is_empty());
    let names =
        |known: &[&[u8]]| words().any(|word| known.iter().any(|known| known.eq_ignore_ascii_case(word)));
    let is_text = memchr::memchr3(b'=', b'\'', b'"', value).is_none() && words().nth(MOST_WORDS).is_some();
    names(&STATEMENTS) || !is_text && names(&SENTENCES)
}

/// Whether HTML that runs would come out of this value in any place a page may put it.
pub(super) fn html(decoded: &[u8], is_handler: bool) -> bool {
    // The first line of a document is no attack, whatever the rest is.
    let decoded = match decoded.strip_prefix(b"<?x").and_then(|rest| memchr::memmem::find(rest, b"?>")) {
        Some(end) => &decoded[end + 5..],
        None => decoded,
    };
    let value = &without_harmless(&decoded[..decoded.len().min(LONGEST)]);
    let has = |byte| memchr::memchr(byte, value).is_some();
    (has(b'<') && XssDetector::is_xss(value, Html5Flags::DataState))
        || has(b'=')
            && ((is_handler && XssDetector::is_xss(value, Html5Flags::ValueNoQuote))
                || has(b'\'') && XssDetector::is_xss(value, Html5Flags::ValueSingleQuote)
                || has(b'"') && XssDetector::is_xss(value, Html5Flags::ValueDoubleQuote)
                || has(b'`') && XssDetector::is_xss(value, Html5Flags::ValueBackQuote))
}

/// The detector takes every style, name space and document type for an attack; mails and feeds are full of them.
/// What can be wrong with a style has words of its own in the automaton, and so has an element with a prefix.
fn without_harmless(value: &[u8]) -> Cow<'_, [u8]> {
    const DOCTYPE: &[u8] = b"<!doctype html";
    let mut masked = Cow::Borrowed(value);
    for word in [&b"style"[..], b"xmlns"] {
        for at in memchr::memchr2_iter(word[0], word[0].to_ascii_uppercase(), value) {
            let is_name =
                value.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
            if !is_name || at == 0 || !matches!(value[at - 1], b' ' | b'\n' | b'\t' | b'\r' | b'"' | b'\'') {
                continue;
            }
            let rest = &value[at + word.len()..];
            let name = rest
                .iter()
                .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b':')
                .unwrap_or(rest.len());
            if rest[name..].trim_ascii_start().first() == Some(&b'=') {
                masked.to_mut()[at..at + word.len() + name].fill(b'z');
            }
        }
    }
    if value.get(..DOCTYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(DOCTYPE)) {
        let end = memchr::memchr(b'>', value).unwrap_or(value.len() - 1);
        masked.to_mut()[..=end].fill(b' ');
    }
    masked
}
