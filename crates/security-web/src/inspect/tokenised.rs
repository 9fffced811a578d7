//! The tokenising detectors for SQL and HTML, with what keeps them from innocent text.

use libinjectionrs::{SqliFlags, SqliState, XssDetector, xss::Html5Flags};

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
    // The first line of an XML document is no attack, whatever the rest is.
    let decoded = match decoded.strip_prefix(b"<?x").and_then(|rest| memchr::memmem::find(rest, b"?>")) {
        Some(end) => &decoded[end + 5..],
        None => decoded,
    };
    let value = &decoded[..decoded.len().min(LONGEST)];
    let has = |byte| memchr::memchr(byte, value).is_some();
    (has(b'<') && XssDetector::is_xss(value, Html5Flags::DataState))
        || has(b'=')
            && ((is_handler && XssDetector::is_xss(value, Html5Flags::ValueNoQuote))
                || has(b'\'') && XssDetector::is_xss(value, Html5Flags::ValueSingleQuote)
                || has(b'"') && XssDetector::is_xss(value, Html5Flags::ValueDoubleQuote)
                || has(b'`') && XssDetector::is_xss(value, Html5Flags::ValueBackQuote))
}
