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

/// Whether a value has both signs and a word of SQL; code and sentences have one of them.
fn names_sql(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 26] = [
        b"select",
        b"union",
        b"or",
        b"and",
        b"xor",
        b"having",
        b"like",
        b"between",
        b"insert",
        b"update",
        b"delete",
        b"drop",
        b"exec",
        b"execute",
        b"waitfor",
        b"sleep",
        b"benchmark",
        b"order",
        b"group",
        b"null",
        b"case",
        b"database",
        b"version",
        b"user",
        b"char",
        b"concat",
    ];
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b" \t\r\n.,-_:!?/&+@".contains(&byte) || byte >= 0x80;
    let has = |sign: &[u8]| memchr::memmem::find(value, sign).is_some();
    let has_signs = !value.iter().all(|byte| is_plain(*byte)) || has(b"--");
    has_signs
        && (has(b"--")
            || has(b"/*")
            || has(b"#")
            || has(b"||")
            || has(b"&&")
            || has(b"@@")
            || value
                .split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
                .any(|word| WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))))
}

/// Whether HTML that runs would come out of this value in any place a page may put it.
pub(super) fn html(decoded: &[u8], is_handler: bool) -> bool {
    let value = &decoded[..decoded.len().min(LONGEST)];
    let has = |byte| memchr::memchr(byte, value).is_some();
    (has(b'<') && XssDetector::is_xss(value, Html5Flags::DataState))
        || has(b'=')
            && ((is_handler && XssDetector::is_xss(value, Html5Flags::ValueNoQuote))
                || has(b'\'') && XssDetector::is_xss(value, Html5Flags::ValueSingleQuote)
                || has(b'"') && XssDetector::is_xss(value, Html5Flags::ValueDoubleQuote)
                || has(b'`') && XssDetector::is_xss(value, Html5Flags::ValueBackQuote))
}
