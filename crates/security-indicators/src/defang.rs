//! Defanging: how people write indicators so that nobody follows them by accident, and back.
//!
//! The styles known are the three tables below: [`DISARMED_SCHEMES`], [`BRACKETED`] (inside any of `[]`, `()`, `{}`, `<>`,
//! also doubled, escaped for Markdown, with blanks inside, or half open: `evil[.com`) and [`LITERAL`].

use std::borrow::Cow;

use memchr::{memchr, memrchr};

use crate::{ExtractOptions, Found, IocType, extract};

/// Schemes as they are disarmed, in lower case, longest first where one starts another.
pub(crate) const DISARMED_SCHEMES: &[(&str, &str)] = &[
    ("hxxps", "https"),
    ("hxxp", "http"),
    ("hxtps", "https"),
    ("hxtp", "http"),
    ("htxps", "https"),
    ("htxp", "http"),
    ("hzzps", "https"),
    ("hzzp", "http"),
    ("h**ps", "https"),
    ("h**p", "http"),
    ("h__ps", "https"),
    ("h__p", "http"),
    ("h--ps", "https"),
    ("h--p", "http"),
    ("hxps", "https"),
    ("hxp", "http"),
    ("meows", "https"),
    ("meow", "http"),
    ("ttps", "https"),
    ("ttp", "http"),
    ("fxxp", "ftp"),
    ("fxps", "ftps"),
    ("fxp", "ftp"),
    ("f*p", "ftp"),
    ("sfxp", "sftp"),
];

/// What stands inside brackets, and what it means.
const BRACKETED: &[(&str, &str)] = &[
    ("://", "://"),
    (":/", ":/"),
    ("//", "//"),
    ("dot", "."),
    ("d0t", "."),
    ("punkt", "."),
    ("punto", "."),
    ("point", "."),
    ("at", "@"),
    ("colon", ":"),
    ("slash", "/"),
    (".", "."),
    (",", "."),
    ("\u{3002}", "."),
    ("\u{ff0e}", "."),
    ("@", "@"),
    (":", ":"),
    ("/", "/"),
];

/// What stands alone, what it means, and whether it must have a letter or digit on both sides.
const LITERAL: &[(&str, &str, bool)] = &[
    ("\u{3002}", ".", false),
    ("\u{ff0e}", ".", false),
    ("\u{ff61}", ".", false),
    ("\u{2024}", ".", false),
    ("\u{fe52}", ".", false),
    ("\u{ff20}", "@", false),
    ("\u{fe6b}", "@", false),
    ("\u{ff1a}", ":", false),
    ("\u{ff0f}", "/", false),
    ("\\u002e", ".", true),
    ("\\x2e", ".", true),
    ("\\\\.", ".", true),
    ("\\.", ".", true),
    ("\\@", "@", true),
    ("\\/", "/", false),
    ("&period;", ".", true),
    ("&#46;", ".", true),
    ("&#91;.&#93;", ".", true),
    ("&lbrack;.&rbrack;", ".", true),
    ("&lsqb;.&rsqb;", ".", true),
    ("&#x2e;", ".", true),
    ("&commat;", "@", true),
    ("&#64;", "@", true),
    ("&#x40;", "@", true),
    ("&colon;", ":", false),
    ("&#58;", ":", false),
    ("&#x3a;", ":", false),
    ("&sol;", "/", false),
    ("&#47;", "/", false),
    ("&#x2f;", "/", false),
    ("%2e", ".", true),
    ("%40", "@", true),
    ("%3a%2f%2f", "://", false),
    (".]", ".", true),
    (".}", ".", true),
    ("\".\"", ".", true),
    ("'.'", ".", true),
    ("\u{201c}.\u{201d}", ".", true),
    ("`.`", ".", true),
    ("|.|", ".", true),
    ("*.*", ".", true),
    ("^.", ".", true),
];

/// A disarmed sign: what it means and how many bytes it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// `.`, `@`, `:`, `/`, `//`, `:/` or `://`.
    pub(crate) means: &'static str,
    /// Bytes of the text.
    pub(crate) len: usize,
}

/// The bytes a [`Mark`] may start with.
pub(crate) const fn may_start_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'[' | b'('
            | b'{'
            | b'<'
            | b'\\'
            | b'&'
            | b'%'
            | b'.'
            | b'"'
            | b'\''
            | b'`'
            | b'|'
            | b'*'
            | b'^'
            | 0xe2
            | 0xe3
            | 0xef
    )
}

/// The disarmed sign at a place, if there is one. Looks at no more than twenty bytes.
pub(crate) fn mark_at(text: &str, at: usize) -> Option<Mark> {
    let bytes = text.as_bytes();
    let first = *bytes.get(at)?;
    if !may_start_mark(first) {
        return None;
    }
    // Nine signs of ten are `[.]` and its like, which nothing else begins with.
    if let (b'[' | b'(' | b'{', Some([sign, b']' | b')' | b'}'])) = (first, bytes.get(at + 1..at + 3)) {
        let means = match sign {
            b'.' => ".",
            b'@' => "@",
            b':' => ":",
            b'/' => "/",
            _ => "",
        };
        if !means.is_empty() {
            return Some(Mark { means, len: 3 });
        }
    }
    let opened = matches!(first, b'[' | b'(' | b'{' | b'<')
        || (first == b'\\' && matches!(bytes.get(at + 1), Some(b'[' | b'(')));
    if opened && let Some(mark) = bracketed(bytes, at) {
        return Some(mark);
    }
    // Most brackets, dots and quotation marks are no signs, and most of them are told by the next byte.
    let next = bytes.get(at + 1);
    match first {
        b'[' | b'(' | b'{' | b'<' => return None,
        b'.' if !matches!(next, Some(b']' | b'}')) => return None,
        b'"' | b'\'' | b'`' | b'|' | b'*' | b'^' if next != Some(&b'.') => return None,
        b'%' if !matches!(next, Some(b'2'..=b'4')) => return None,
        b'&' if !matches!(next, Some(b'#' | b'p' | b'P' | b'c' | b'C' | b's' | b'S' | b'l' | b'L')) => {
            return None;
        }
        _ => {}
    }
    LITERAL.iter().find_map(|&(written, means, inner)| {
        let rest = &bytes[at..];
        let fits =
            rest.len() >= written.len() && rest[..written.len()].eq_ignore_ascii_case(written.as_bytes());
        let mark = Mark { means, len: written.len() };
        (fits && (!inner || is_inside_word(bytes, at, mark.len))).then_some(mark)
    })
}

fn is_inside_word(bytes: &[u8], at: usize, len: usize) -> bool {
    let word = |b: Option<&u8>| {
        b.is_some_and(|b| b.is_ascii_alphanumeric() || *b >= 0x80 || *b == b'-' || *b == b'_')
    };
    at > 0 && word(bytes.get(at - 1)) && word(bytes.get(at + len))
}

fn bracketed(bytes: &[u8], start: usize) -> Option<Mark> {
    let mut at = start;
    let mut depth = 0;
    while depth < 2 {
        let escaped = usize::from(bytes.get(at) == Some(&b'\\'));
        match bytes.get(at + escaped) {
            Some(b'[' | b'(' | b'{' | b'<') => at += escaped + 1,
            _ => break,
        }
        depth += 1;
    }
    let opening = bytes[start + usize::from(bytes[start] == b'\\')];
    at = skip_blanks(bytes, at);
    at += usize::from(bytes.get(at) == Some(&b'\\') && bytes.get(at + 1) == Some(&b'.'));
    let rest = &bytes[at..];
    // The first bytes of BRACKETED, in either case.
    if !matches!(rest.first()?, b'.' | b',' | b'@' | b':' | b'/' | 0x80..)
        && !b"dpacs".contains(&(rest[0] | 0x20))
    {
        return None;
    }
    let fits = |written: &str| {
        rest.len() >= written.len() && rest[..written.len()].eq_ignore_ascii_case(written.as_bytes())
    };
    let &(written, means) = BRACKETED.iter().find(|(written, _)| fits(written))?;
    at = skip_blanks(bytes, at + written.len());
    let mut closed = 0;
    while closed < depth {
        let escaped = usize::from(bytes.get(at) == Some(&b'\\'));
        match bytes.get(at + escaped) {
            Some(b']' | b')' | b'}' | b'>') => at += escaped + 1,
            _ => break,
        }
        closed += 1;
    }
    let len = at - start;
    // A comma, a tag or a half bracket means something else unless a name goes on at both sides.
    let weak = closed < depth || opening == b'<' || written == ",";
    let half = closed == 0 && !(opening == b'[' && (written == "." || written == "@"));
    if half || (weak && !is_inside_word(bytes, start, len)) { None } else { Some(Mark { means, len }) }
}

fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    at + bytes[at.min(bytes.len())..].iter().take(2).take_while(|b| **b == b' ').count()
}

/// The length of an invisible character at a place: zero-width spaces and joiners, soft hyphens, marks of direction.
pub(crate) fn invisible_at(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes.get(at)?, bytes.get(at + 1)?, bytes.get(at + 2)) {
        (0xc2, 0xad, _) => Some(2),
        (0xe2, 0x80, Some(0x8b..=0x8f | 0xaa..=0xae)) => Some(3),
        (0xe2, 0x81, Some(0xa0..=0xa9)) => Some(3),
        (0xef, 0xbb, Some(0xbf)) => Some(3),
        _ => None,
    }
}

/// The disarmed scheme a text starts with, what it means, and its length.
pub(crate) fn scheme_at(bytes: &[u8], at: usize) -> Option<(&'static str, usize)> {
    let rest = &bytes[at..];
    if !matches!(rest.first(), Some(b'h' | b'H' | b'm' | b'M' | b't' | b'T' | b'f' | b'F' | b's' | b'S')) {
        return None;
    }
    DISARMED_SCHEMES.iter().find_map(|(written, means)| {
        let fits = written.as_bytes()[0] == rest[0] | 0x20
            && rest.len() > written.len()
            && rest[..written.len()].eq_ignore_ascii_case(written.as_bytes());
        // What follows must end the word, else `ttp` is found in `ttps`.
        (fits && !rest[written.len()].is_ascii_alphanumeric()).then_some((*means, written.len()))
    })
}

/// The sign between scheme and host at a place: its length and whether it is disarmed.
///
/// `://`, `[://]`, `[:]//`, `:[//]`, `[:][/][/]`, `:\/\/`, `:\\`, `%3A%2F%2F`, ….
pub(crate) fn scheme_end_at(text: &str, start: usize) -> Option<(usize, bool)> {
    let bytes = text.as_bytes();
    if bytes[start..].starts_with(b"://") {
        return Some((3, false));
    }
    if bytes[start..].starts_with(b":\\/\\/") {
        return Some((5, false));
    }
    if bytes[start..].starts_with(b":\\\\") && bytes.get(start + 3).is_some_and(u8::is_ascii_alphanumeric) {
        return Some((3, true));
    }
    let mut at = start;
    let mut wanted = "://";
    while !wanted.is_empty() {
        match bytes.get(at) {
            Some(b':') if wanted.starts_with(':') => (at, wanted) = (at + 1, &wanted[1..]),
            Some(b'/') if wanted.starts_with('/') => (at, wanted) = (at + 1, &wanted[1..]),
            _ => {
                let mark = mark_at(text, at)?;
                wanted = wanted.strip_prefix(mark.means)?;
                at += mark.len;
            }
        }
    }
    Some((at - start, true))
}

/// Undoes defanging: `hxxp[:]//evil[.]example[.]com` is `http://evil.example.com`.
///
/// Works on any text, not only on indicators; borrowed when there is nothing to undo. Single blanks around a
/// bracketed sign go with it (`evil [.] example`), invisible characters are dropped. In the path of a URL only what
/// stands in brackets or after a backslash is undone: `%2e` and `%40` there are the URL's own.
pub fn refang(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    // Every sign and every scheme has a byte beyond these, and most values of lists have none.
    if bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')) {
        return Cow::Borrowed(text);
    }
    // First of all, because inside a scheme or a sign they would hide it, and leave something to undo behind.
    match without_invisible(text) {
        Some(visible) => Cow::Owned(armed(&visible).into_owned()),
        None => armed(text),
    }
}

/// A text without its invisible characters, if it has any.
fn without_invisible(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    for (at, _) in text.char_indices() {
        if let Some(len) = invisible_at(bytes, at) {
            out.push_str(&text[copied..at]);
            copied = at + len;
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// [`refang`] of a text without invisible characters.
fn armed(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    let mut in_path = false;
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b'/' | b'?' => {
                in_path |= at > 0 && !b":/]})\\".contains(&bytes[at - 1]) && bytes.get(at + 1) != Some(&b'/')
            }
            b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'<' => in_path = false,
            _ => {}
        }
        let (replacement, len) = if byte.is_ascii_alphabetic() {
            let word_starts = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
            match scheme_at(bytes, at)
                .filter(|(_, len)| word_starts && scheme_end_at(text, at + len).is_some())
            {
                Some(found) => found,
                None => {
                    at += 1;
                    continue;
                }
            }
        } else if byte == b':' && bytes[at..].starts_with(b":\\\\") && is_scheme_before(bytes, at) {
            ("://", 3)
        } else if let Some(mark) = mark_at(text, at).filter(|_| !in_path || b"[({\\".contains(&byte)) {
            (mark.means, mark.len)
        } else {
            at += 1;
            continue;
        };
        let blanks = matches!(byte, b'[' | b'(' | b'{' | b'\\');
        let before = usize::from(blanks && is_single_blank(bytes, at.wrapping_sub(1), copied));
        let after = usize::from(
            before == 1
                && bytes.get(at + len) == Some(&b' ')
                && bytes.get(at + len + 1).is_some_and(u8::is_ascii_alphanumeric),
        );
        // Blanks belong to the sign only when they are on both sides or on its left alone before a name.
        let before =
            if after == 1 || bytes.get(at + len).is_some_and(u8::is_ascii_alphanumeric) { before } else { 0 };
        out.push_str(&text[copied..at - before]);
        out.push_str(replacement);
        at += len + after;
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

fn is_single_blank(bytes: &[u8], at: usize, floor: usize) -> bool {
    at != usize::MAX && at > floor && bytes[at] == b' ' && bytes[at - 1].is_ascii_alphanumeric()
}

fn is_scheme_before(bytes: &[u8], colon: usize) -> bool {
    let start = bytes[..colon].iter().rev().take(6).take_while(|b| b.is_ascii_alphanumeric()).count();
    let word = &bytes[colon - start..colon];
    [&b"http"[..], b"https", b"ftp", b"hxxp", b"hxxps"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Disarms the indicators in a text and nothing else: `http` becomes `hxxp`, dots of hosts and addresses `[.]`,
/// the `@` of e-mail addresses `[@]`. What is disarmed already stays as it is.
pub fn defang(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut copied = 0;
    for found in extract(text, &ExtractOptions::default()) {
        out.push_str(&text[copied..found.start]);
        let part = &text[found.start..found.end];
        if found.defanged {
            out.push_str(part)
        } else {
            push_defanged(&mut out, &found, part)
        }
        copied = found.end;
    }
    out.push_str(&text[copied..]);
    out
}

fn push_defanged(out: &mut String, found: &Found, part: &str) {
    match found.indicator.kind() {
        IocType::Url => {
            let scheme = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '+').unwrap_or(part.len());
            if scheme_end_at(part, scheme).is_none() {
                // One without a scheme.
                let host = part.find(['/', '?', '#']).unwrap_or(part.len());
                push_dots(out, &part[..host], false);
                out.push_str(&part[host..]);
                return;
            }
            let (name, rest) = part.split_at(scheme);
            match name.to_ascii_lowercase().as_str() {
                "http" | "https" => {
                    out.push_str("hxxp");
                    out.push_str(&name[4..]);
                }
                "ftp" => out.push_str("fxp"),
                _ => out.push_str(name),
            }
            // A URL that is percent-encoded as a whole is disarmed by its scheme alone.
            let host_start =
                scheme_end_at(part, scheme).filter(|_| !rest.starts_with('%')).map_or(0, |(len, _)| len);
            let host = rest[host_start..].find(['/', '?', '#', '\\']).unwrap_or(rest.len() - host_start);
            out.push_str(&rest[..host_start]);
            if host_start > 0 {
                push_dots(out, &rest[host_start..host_start + host], false);
                out.push_str(&rest[host_start + host..]);
            } else {
                out.push_str(rest);
            }
        }
        IocType::Email | IocType::Domain | IocType::Ip | IocType::IpPort | IocType::Cidr => {
            push_dots(out, part, true)
        }
        _ => out.push_str(part),
    }
}

fn push_dots(out: &mut String, part: &str, colons: bool) {
    // An IPv6 address has no dots, so its first colon is disarmed; of `::1` the last one, which stands before a digit.
    let colon = match part {
        _ if part.contains('.') || !colons => None,
        _ if part.starts_with(':') => memrchr(b':', part.as_bytes()),
        _ => memchr(b':', part.as_bytes()),
    };
    for (at, c) in part.char_indices() {
        match c {
            '.' => out.push_str("[.]"),
            '@' => out.push_str("[@]"),
            ':' if Some(at) == colon => out.push_str("[:]"),
            other => out.push(other),
        }
    }
}
