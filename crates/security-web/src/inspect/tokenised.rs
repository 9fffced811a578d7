//! The tokenising detectors for SQL and HTML, with what keeps them from innocent text.

use std::borrow::Cow;

use libinjectionrs::{SqliFlags, SqliState, XssDetector, xss::Html5Flags};

use super::{script, sql_shape, work::Work};

/// How much of a value the detectors read: they judge by its beginning, and are linear, but not free.
pub(super) const LONGEST: usize = 4 << 10;

/// What the SQL tokeniser says of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sql {
    Innocent,
    /// Names and numbers joined by a word like `or`, which people write too.
    Weak,
    Strong,
}

/// Judges a value. The tokeniser is asked last: what tells an attack from a sentence is far cheaper, and without it the
/// answer counts from level 2 on alone (`is_weak_wanted`).
pub(super) fn sql(decoded: &[u8], is_weak_wanted: bool, work: &mut Work) -> Sql {
    let value = &decoded[..decoded.len().min(LONGEST)];
    let is_strong = sql_shape::is_suspicious(value);
    if !is_strong && !is_weak_wanted
        || !work.tokenise(value.len())
        || !SqliState::new(value, SqliFlags::FLAG_NONE).detect()
    {
        return Sql::Innocent;
    }
    if is_strong { Sql::Strong } else { Sql::Weak }
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

/// Elements that only do something by their attributes, where they have none; a script that has no code; links to
/// nothing.
fn mask_empty(value: &[u8], masked: &mut Cow<'_, [u8]>) {
    const NAMES: [&[u8]; 11] = [
        b"script>",
        b"iframe>",
        b"object>",
        b"embed>",
        b"style>",
        b"applet>",
        b"base>",
        b"meta>",
        b"link>",
        b"frameset>",
        b"isindex>",
    ];
    for at in memchr::memchr_iter(b'<', value) {
        let name = &value[at + 1..];
        let is_bare =
            |known: &&[u8]| name.get(..known.len()).is_some_and(|found| found.eq_ignore_ascii_case(known));
        let Some(known) = NAMES.iter().find(|known| is_bare(known)) else { continue };
        let may_run = *known == NAMES[0] && script::has_code(&name[known.len()..]);
        if !may_run {
            masked.to_mut()[at + 1..at + known.len()].fill(b'z');
        }
    }
    for at in memchr::memmem::find_iter(value, b"javascript:void(0)") {
        masked.to_mut()[at..at + 10].fill(b'z');
    }
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
    for at in memchr::memchr_iter(b'=', value).filter(|at| script::calls_own(&value[at + 1..])) {
        let name = value[..at].iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        masked.to_mut()[at - name..at].fill(b'z');
    }
    // A comment that hides nothing; conditional ones do.
    let mut from = 0;
    while let Some(start) = memchr::memmem::find(&value[from..], b"<!--").map(|at| from + at + 4) {
        let Some(end) = memchr::memmem::find(&value[start..], b"-->").map(|at| start + at) else { break };
        let inside = &value[start..end];
        if !inside.contains(&b'<') && memchr::memmem::find(inside, b"[if").is_none() {
            masked.to_mut()[start..end].fill(b' ');
        }
        from = end;
    }
    mask_empty(value, &mut masked);
    // The declaration of a document, wherever one tells of it.
    for start in memchr::memmem::find_iter(value, b"<?xml ") {
        let inside = &value[start + 6..value.len().min(start + 100)];
        if let Some(end) = memchr::memmem::find(inside, b"?>").filter(|end| !inside[..*end].contains(&b'<')) {
            masked.to_mut()[start..start + 8 + end].fill(b' ');
        }
    }
    // An element called XML without attributes is an example; data islands have an id.
    for at in
        memchr::memmem::find_iter(value, b"xml>").filter(|at| *at > 0 && matches!(value[at - 1], b'<' | b'/'))
    {
        masked.to_mut()[at] = b'z';
    }
    let is_named = || {
        let declaration = &value[..memchr::memchr(b'>', value).unwrap_or(value.len()).min(200)];
        value.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"<!doctype"))
            && memchr::memmem::find(declaration, b" SYSTEM \"urn:").is_some()
            && !declaration.contains(&b'[')
    };
    if value.get(..DOCTYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(DOCTYPE)) || is_named() {
        let end = memchr::memchr(b'>', value).unwrap_or(value.len() - 1);
        masked.to_mut()[..=end].fill(b' ');
    }
    masked
}
