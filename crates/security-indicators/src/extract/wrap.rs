//! URLs that a line break cuts: by mail programs (quoted-printable, RFC 2045 §6.7) and at the margin of a page.
//!
//! A list of indicators has one a line, so a break is an end unless all speaks against it: the line is as wide as a page,
//! it ends in a sign that a URL goes on after, and the next line starts with what is no indicator, word or heading.

use super::work;
use crate::hash;

/// A narrower line was not broken by a margin.
const NARROWEST: usize = 60;
/// Lines of quoted-printable end in `=` at their 76th column at the latest, and few writers end them much before.
const QUOTED: std::ops::RangeInclusive<usize> = 70..=76;
/// Bytes of the next line that are judged.
const JUDGED: usize = 256;
/// Endings of what a web server gives out, told from the suffixes of names.
pub(super) const PAGES: &[&str] = &[
    "php", "html", "htm", "asp", "aspx", "jsp", "exe", "dll", "zip", "rar", "js", "txt", "png", "jpg", "pdf",
    "bin",
];

/// A line break inside a URL.
pub(super) struct Wrap {
    /// Bytes of the break.
    pub(super) len: usize,
    /// The sign before it belongs to the break, not to the URL.
    pub(super) drops_sign: bool,
}

/// Whether what ends at a line's end could go on after it.
pub(super) fn may_wrap(bytes: &[u8], line_end: usize) -> bool {
    let end = line_end - usize::from(line_end > 0 && bytes[line_end - 1] == b'\r');
    end > 0 && b"/?&=-_%".contains(&bytes[end - 1])
}

/// The break at a place, if the URL before it goes on after it.
pub(super) fn wrap_at(bytes: &[u8], at: usize) -> Option<Wrap> {
    let line_end = at + usize::from(bytes[at] == b'\r');
    if bytes.get(line_end) != Some(&b'\n') || !may_wrap(bytes, line_end) {
        return None;
    }
    let width = bytes[..at].iter().rev().take(NARROWEST + 40).take_while(|b| **b != b'\n').count();
    let next = &bytes[line_end + 1..bytes.len().min(line_end + 1 + JUDGED)];
    let len = line_end + 1 - at;
    work::add(width + next.len());
    if bytes[at - 1] == b'=' && QUOTED.contains(&width) && !is_of_a_query(&bytes[at - width..at - 1], next) {
        return next.first().is_some_and(|b| is_of_url(*b)).then_some(Wrap { len, drops_sign: true });
    }
    let token = &next[..next.iter().take_while(|b| is_of_url(**b)).count()];
    (width >= NARROWEST && goes_on(token)).then_some(Wrap { len, drops_sign: false })
}

/// Whether the `=` after `line` is that of a query whose value follows: behind a name, and not where quoted-printable
/// says that it writes its own `=` as `=3D`.
fn is_of_a_query(line: &[u8], next: &[u8]) -> bool {
    let name = line.iter().rev().take_while(|b| b.is_ascii_alphanumeric() || b"_-".contains(b)).count();
    let sign = line.len().checked_sub(name + 1).map(|at| line[at]);
    let quoted = |part: &[u8]| part.windows(3).any(|three| three.eq_ignore_ascii_case(b"=3d"));
    name > 0 && matches!(sign, Some(b'?' | b'&')) && !quoted(line) && !quoted(next)
}

fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/?#@!$&'*+,;=%:".contains(&byte)
}

/// Whether the first word of a line is the rest of a path or query.
fn goes_on(token: &[u8]) -> bool {
    let starts = |word: &[u8]| token.len() >= word.len() && token[..word.len()].eq_ignore_ascii_case(word);
    let first = &token[..token.iter().take_while(|b| !b"/?#&=".contains(b)).count()];
    let has = |wanted: fn(&u8) -> bool| token.iter().any(wanted);
    let named = [&b"http"[..], b"hxxp", b"ftp", b"cve-"].iter().any(|word| starts(word))
        || has(|b| b":@".contains(b));
    let page = first.rsplit(|b| *b == b'.').next().unwrap_or_default();
    let page = PAGES.iter().any(|name| page.eq_ignore_ascii_case(name.as_bytes()));
    let word = !has(u8::is_ascii_digit) && !has(|b| b"/?=&%_.".contains(b));
    let technique = token.len() == 5 && token[0] == b'T' && token[1..].iter().all(u8::is_ascii_digit);
    let digest = hash::kind_of_length(first.len()).is_some() && first.iter().all(u8::is_ascii_hexdigit);
    let name = first.contains(&b'.') && !page;
    has(u8::is_ascii_alphanumeric) && !named && !word && !technique && !digest && !name
}
