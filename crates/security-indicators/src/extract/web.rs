//! URLs in text.

use std::mem;

use memchr::memchr;

use super::{
    scan::{Scanner, label_char},
    sieve, work,
    wrap::wrap_at,
};
use crate::{
    IocType,
    defang::{DISARMED_SCHEMES, invisible_at, mark_at, scheme_at, scheme_end_at},
    url::{self, SCHEMES},
};

/// The longest URL that is kept; of a longer one only the host is.
const LONGEST: usize = 8 << 10;

/// The last letters of schemes, armed or not, in either case.
const SCHEME_ENDS: [bool; 256] = {
    let mut table = [false; 256];
    let mut index = 0;
    while index < SCHEMES.len() {
        let scheme = SCHEMES[index].as_bytes();
        table[scheme[scheme.len() - 1] as usize] = true;
        table[scheme[scheme.len() - 1].to_ascii_uppercase() as usize] = true;
        index += 1;
    }
    index = 0;
    while index < DISARMED_SCHEMES.len() {
        let scheme = DISARMED_SCHEMES[index].0.as_bytes();
        table[scheme[scheme.len() - 1] as usize] = true;
        table[scheme[scheme.len() - 1].to_ascii_uppercase() as usize] = true;
        index += 1;
    }
    table
};

/// Schemes that are recognised at the end of a longer word too: `\nhttp://`, `URLhttp://`.
const GLUED: &[&str] = &["https", "http", "hxxps", "hxxp", "ftp"];

/// Character references that end a URL: quotation marks, angle brackets, blanks.
const ENDING_REFERENCES: &[&str] = &[
    "&quot;", "&apos;", "&lt;", "&gt;", "&nbsp;", "&#34;", "&#39;", "&#039;", "&#60;", "&#62;", "&#x22;",
    "&#x27;", "&#x3c;", "&#x3e;", "&#10;", "&#13;",
];

/// Ways to write `&` in HTML and JSON.
const AMPERSANDS: &[&str] = &["&amp;", "&#38;", "&#x26;", "\\u0026", "\\x26"];

/// Percent-encoded quotation marks, brackets and blanks that end a URL and were not meant as a part of it.
const ENCODED_ENDS: &[&str] = &["%22", "%27", "%3c", "%3e", "%20", "%0a", "%0d", "%09", "%5c", "%60"];

/// Before the `tcp` and `ssl` of what miners speak.
const MINER: &str = "stratum+";

/// Means itself in the host of a URL.
const IN_HOST: u8 = 1;
/// Means itself in what follows the host.
const IN_PATH: u8 = 2;

/// Which bytes of a URL mean themselves wherever they stand.
const ITSELF: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => IN_HOST | IN_PATH,
            b'-' | b'_' | b'~' | b':' | b'=' | b'+' | b'$' => IN_HOST | IN_PATH,
            b'.' | b'/' | b'?' | b'#' | b'@' | b'%' | b'!' | b'*' => IN_PATH,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// How a URL starts.
pub(super) struct Opening {
    scheme: &'static str,
    /// `http[s]://`.
    plural: bool,
    /// `stratum+tcp://`.
    miner: bool,
    start: usize,
    body: usize,
    disarmed: bool,
    /// `http%3A%2F%2F`: the whole is percent-encoded.
    encoded: bool,
    /// `http:\\`: backslashes are its slashes.
    backslashes: bool,
}

impl Opening {
    /// That of a URL without a scheme, which starts with its host.
    pub(super) fn bare(start: usize) -> Self {
        Self {
            scheme: "http",
            plural: false,
            miner: false,
            start,
            body: start,
            disarmed: false,
            encoded: false,
            backslashes: false,
        }
    }

    fn is_bare(&self) -> bool {
        self.body == self.start
    }

    fn write_scheme(&self, clean: &mut String) {
        clean.clear();
        clean.push_str(if self.miner { MINER } else { "" });
        clean.push_str(self.scheme);
        clean.push_str(if self.plural { "s://" } else { "://" });
    }
}

/// What follows the scheme. What is read of it without disguises is in the scanner's `clean`.
struct Body {
    end: usize,
    /// Where the host starts in the text, after a user name.
    host: usize,
    disarmed: bool,
}

impl Scanner<'_> {
    /// A URL whose scheme starts with, or is the end of, an atom.
    pub(super) fn url(&mut self, start: usize, end: usize) -> Option<usize> {
        if start < self.urls_from || !self.may_be_scheme(start, end) {
            return None;
        }
        let opening = self.opening(start, end)?;
        self.read_url(&opening)
    }

    /// The URL behind an opening.
    pub(super) fn read_url(&mut self, opening: &Opening) -> Option<usize> {
        let mut clean = mem::take(&mut self.clean);
        opening.write_scheme(&mut clean);
        let read = if opening.encoded { Self::encoded_body } else { Self::body };
        let mut body = read(self, opening, &mut clean);
        self.trim(opening, &mut body, &mut clean);
        let too_long = body.end - opening.start > LONGEST;
        let is_public = if too_long { None } else { url::found(&mut clean).ok() };
        if is_public == Some(true) {
            let disarmed = opening.disarmed || body.disarmed;
            self.push(IocType::Url, clean.as_str(), opening.start, body.end, disarmed);
        }
        self.clean = clean;
        match is_public {
            Some(_) if self.options.wants(IocType::Url) => Some(body.end),
            Some(_) => Some(self.host_only(body.host, body.end)),
            None => {
                // Within what could not be read no other URL is tried, so that each byte is read once.
                self.urls_from = body.end;
                (too_long && !opening.is_bare()).then(|| self.host_only(body.host, body.end))
            }
        }
    }

    /// The host of a URL that is not reported itself.
    fn host_only(&mut self, host: usize, end: usize) -> usize {
        let host = host + usize::from(self.bytes.get(host) == Some(&b'['));
        let first_end = self.atom_end(host);
        if first_end > host {
            let tried = self.colons(host).or_else(|| self.ipv4(host));
            let next = tried.unwrap_or_else(|| self.host(host, first_end));
            return end.max(next);
        }
        end
    }

    fn opening(&self, start: usize, end: usize) -> Option<Opening> {
        let (scheme, from, mut to, mut disarmed) = self.scheme(start, end)?;
        let mut start = from;
        let bracketed =
            self.bytes.get(to) == Some(&b']') && start > self.done && self.bytes[start - 1] == b'[';
        if bracketed {
            (start, to, disarmed) = (start - 1, to + 1, true);
        }
        let plural = self.bytes[to..].starts_with(b"[s]") || self.bytes[to..].starts_with(b"(s)");
        if plural {
            (to, disarmed) = (to + 3, true);
        }
        // `hxxp ://evil.example`.
        if self.bytes.get(to) == Some(&b' ') {
            (to, disarmed) = (to + 1, true);
        }
        let one_slash = || {
            // `hxxp:/evil.example`: nothing but a URL is meant.
            let goes_on = self.bytes.get(to + 2).is_some_and(u8::is_ascii_alphanumeric);
            (goes_on && self.bytes[to..].starts_with(b":/") && sieve::takes_one_slash(self.bytes, to))
                .then_some((2, true))
        };
        let (len, sign) = scheme_end_at(self.text, to).or_else(one_slash)?;
        let encoded = self.bytes[to] == b'%';
        let body = to + len;
        let backslashes = self.bytes[to..body].ends_with(b"\\\\");
        let miner = matches!(scheme, "tcp" | "ssl")
            && !plural
            && self.bytes[self.done.min(start)..start].ends_with(MINER.as_bytes());
        if miner {
            start -= MINER.len();
        }
        let disarmed = disarmed || (sign && !encoded);
        Some(Opening { scheme, plural, miner, start, body, disarmed, encoded, backslashes })
    }

    /// Whether the last letter of an atom and the sign after it are those of a scheme: few are.
    fn may_be_scheme(&self, start: usize, end: usize) -> bool {
        let last = self.bytes[end - 1];
        let signs = match self.bytes.get(end) {
            None | Some(b'.' | b'@' | b'"' | b'\'' | b'`' | b'|' | b'^') => false,
            Some(b' ') => self.bytes[end + 1..].starts_with(b"://"),
            // `h**p` is two atoms.
            Some(b'*') => return true,
            Some(b'\\') => matches!(self.bytes.get(end + 1), Some(b'[' | b'(')),
            Some(b':') if self.bytes.get(end + 1) == Some(&b'\\') => {
                matches!(self.bytes.get(end + 2), Some(b'\\' | b'/' | b'[' | b'('))
            }
            _ => true,
        };
        signs && end - start > 1 && (last >= 0x80 || SCHEME_ENDS[last as usize])
    }

    /// The scheme, where it starts and ends, and whether it is disarmed.
    fn scheme(&self, start: usize, end: usize) -> Option<(&'static str, usize, usize, bool)> {
        match &self.bytes[start..end] {
            b"https" => return Some(("https", start, end, false)),
            b"http" => return Some(("http", start, end, false)),
            b"hxxps" => return Some(("https", start, end, true)),
            b"hxxp" => return Some(("http", start, end, true)),
            _ => {}
        }
        if let Some((means, len)) = scheme_at(self.bytes, start)
            && start + len >= end
        {
            return Some((means, start, start + len, true));
        }
        let word = &self.bytes[start..end];
        if let Some(scheme) = SCHEMES.iter().find(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes())) {
            return Some((scheme, start, end, false));
        }
        GLUED.iter().find_map(|glued| {
            let from = end.checked_sub(glued.len()).filter(|from| *from > start)?;
            if !self.bytes[from..end].eq_ignore_ascii_case(glued.as_bytes()) {
                return None;
            }
            match scheme_at(self.bytes, from) {
                Some((means, _)) => Some((means, from, end, true)),
                None => Some((*glued, from, end, false)),
            }
        })
    }

    /// Reads host and path, undoing what disarms them, up to what cannot belong to a URL.
    fn body(&self, opening: &Opening, clean: &mut String) -> Body {
        let mut at = opening.body;
        let mut host = at;
        let mut disarmed = false;
        let mut in_host = true;
        let mut open = [0usize; 3];
        let before = opening.start.checked_sub(1).map(|at| self.bytes[at]);
        let user_end = self.user_end(opening.body);
        while let Some(&byte) = self.bytes.get(at) {
            // Too long to be kept: read on to its end, so that it is passed, without keeping more of it.
            let keep = clean.len() <= LONGEST;
            // Most of a URL means itself.
            let class = if in_host { IN_HOST } else { IN_PATH };
            let run = self.bytes[at..].iter().position(|b| ITSELF[*b as usize] & class == 0);
            let run = run.unwrap_or(self.bytes.len() - at);
            if run > 0 {
                if keep {
                    clean.push_str(&self.text[at..at + run.min(LONGEST)]);
                }
                at += run;
                continue;
            }
            if in_host && let Some((means, len)) = self.sign_in_host(at) {
                disarmed = true;
                clean.push_str(means);
                at += len;
                match means {
                    "/" => in_host = false,
                    "@" => host = at,
                    _ => {}
                }
                continue;
            }
            let slot = match byte {
                b'(' | b')' => 0,
                b'[' | b']' => 1,
                _ => 2,
            };
            match byte {
                b'.' => {}
                b'/' | b'?' | b'#' => in_host = false,
                b'@' => host = at + 1,
                b'%' | b'!' | b'*' if at < user_end => {}
                b'*' if at == host && self.bytes.get(at + 1) == Some(&b':') => {}
                b'[' if in_host && at == host => match self.literal(at) {
                    Some(len) => {
                        clean.push_str(&self.text[at..at + len]);
                        at += len;
                        continue;
                    }
                    None => break,
                },
                b'&' => {
                    if starts_with_any(self.bytes, at, ENDING_REFERENCES).is_some() {
                        break;
                    }
                    if let Some(len) = starts_with_any(self.bytes, at, AMPERSANDS) {
                        if in_host {
                            break;
                        }
                        clean.push('&');
                        at += len;
                        continue;
                    }
                    if in_host {
                        break;
                    }
                }
                b'\\' => match self.backslash(at, opening.backslashes) {
                    Some((means, len, sign)) => {
                        in_host &= means != "/";
                        disarmed |= sign;
                        clean.push_str(means);
                        at += len;
                        continue;
                    }
                    None => break,
                },
                b'\r' | b'\n' if !in_host => match wrap_at(self.bytes, at) {
                    Some(wrap) => {
                        if wrap.drops_sign {
                            clean.pop();
                        }
                        at += wrap.len;
                        continue;
                    }
                    None => break,
                },
                b',' | b';' if in_host || self.opens_url(at + 1) || self.ends_cell(opening.start, at) => {
                    break;
                }
                b',' | b';' => {}
                b'\'' if in_host || before == Some(b'\'') => break,
                b'\'' => {}
                b'(' | b'[' | b'{' => {
                    if let Some(mark) = mark_at(self.text, at) {
                        disarmed = true;
                        clean.push_str(mark.means);
                        at += mark.len;
                        continue;
                    }
                    if in_host || (byte == b'[' && self.opens_label(at, clean)) {
                        break;
                    }
                    open[slot] += 1;
                }
                b')' | b']' | b'}' => {
                    if in_host || open[slot] == 0 {
                        break;
                    }
                    open[slot] -= 1;
                }
                b'<' if !in_host => match self.placeholder(at) {
                    Some(len) => {
                        if keep {
                            clean.push_str(&self.text[at..at + len]);
                        }
                        at += len;
                        continue;
                    }
                    None => break,
                },
                0x80.. => {
                    if let Some(len) = invisible_at(self.bytes, at) {
                        // At the end of the URL it belongs to the text.
                        let goes_on = self
                            .bytes
                            .get(at + len)
                            .is_some_and(|b| b.is_ascii_alphanumeric() || b"./-_".contains(b));
                        if !goes_on {
                            break;
                        }
                        disarmed = true;
                        at += len;
                        continue;
                    }
                    match label_char(self.text, at) {
                        Some((len, wide)) if !(wide && in_host && at > host && self.bytes[at - 1] < 0x80) => {
                            if keep {
                                clean.push_str(&self.text[at..at + len]);
                            }
                            at += len;
                            continue;
                        }
                        _ => break,
                    }
                }
                _ => break,
            }
            if keep {
                clean.push(char::from(byte));
            }
            at += 1;
        }
        work::add(at - opening.body);
        Body { end: at, host, disarmed }
    }

    /// Where the last `@` of the authority stands, if there is one: before it a host may be feigned with signs that
    /// no host has, as in `http://bank.example%2Flogin@evil.example/`.
    fn user_end(&self, start: usize) -> usize {
        let near = &self.bytes[start..self.bytes.len().min(start + 512)];
        // Most have none, and that is soon seen.
        work::add(near.len() / 16);
        if memchr(b'@', near).is_none() {
            return start;
        }
        let authority = near.iter().take_while(|b| !b.is_ascii_whitespace() && !b"/?#\\\"<>".contains(b));
        let authority = authority.inspect(|_| work::add(1));
        let at = authority.enumerate().filter(|(_, b)| **b == b'@').last();
        at.map_or(start, |(at, _)| start + at)
    }

    /// A disarmed sign inside the authority.
    fn sign_in_host(&self, at: usize) -> Option<(&'static str, usize)> {
        if self.bytes[at] == b' ' {
            let len = self.sign_at(at, ".")?;
            return self.bytes.get(at + len).is_some_and(u8::is_ascii_alphanumeric).then_some((".", len));
        }
        let mark = mark_at(self.text, at).filter(|mark| matches!(mark.means, "." | "@" | ":" | "/"))?;
        let escaped_slash = self.bytes[at] == b'\\' && mark.means == "/";
        // A full stop of Chinese or Japanese goes on with a name or ends the sentence.
        let stop = self.bytes[at] >= 0x80
            && !self.bytes.get(at + mark.len).is_some_and(|b| b.is_ascii_alphanumeric() || *b >= 0x80);
        if escaped_slash || stop { None } else { Some((mark.means, mark.len)) }
    }

    /// `[2001:db8::1]`.
    fn literal(&self, at: usize) -> Option<usize> {
        let inner = |b: &u8| b.is_ascii_hexdigit() || *b == b':' || *b == b'.';
        let len = self.bytes[at + 1..].iter().take(48).take_while(|b| inner(b)).count();
        (len > 1 && self.bytes.get(at + 1 + len) == Some(&b']')).then_some(len + 2)
    }

    /// What a backslash in a URL means, its length, and whether it disarms; `None` ends the URL.
    fn backslash(&self, at: usize, is_slash: bool) -> Option<(&'static str, usize, bool)> {
        if self.bytes.get(at + 1) == Some(&b'/') {
            return Some(("/", 2, false));
        }
        if let Some(len) = starts_with_any(self.bytes, at, AMPERSANDS) {
            return Some(("&", len, false));
        }
        if starts_with_any(self.bytes, at, &["\\u003d", "\\x3d"]).is_some_and(|len| len > 0) {
            return Some(("=", if self.bytes[at + 1] == b'u' { 6 } else { 4 }, false));
        }
        if let Some(mark) = mark_at(self.text, at) {
            return Some((mark.means, mark.len, true));
        }
        let goes_on = self.bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
        (is_slash && goes_on).then_some(("/", 1, true))
    }

    /// Whether another URL starts at a place, as in a list of them.
    fn opens_url(&self, at: usize) -> bool {
        let rest = &self.bytes[at.min(self.bytes.len())..];
        let first = rest.get(..4).is_some_and(|four| {
            [&b"http"[..], b"hxxp", b"ftp:"].iter().any(|s| four.eq_ignore_ascii_case(s))
        });
        first && rest.iter().take(10).any(|b| matches!(b, b':' | b'['))
    }

    /// Reads a URL that is percent-encoded as a whole.
    fn encoded_body(&self, opening: &Opening, clean: &mut String) -> Body {
        let mut decoded = Vec::new();
        let mut at = opening.body;
        while let Some(&byte) = self.bytes.get(at) {
            let (value, len) = match byte {
                b'%' => {
                    match self.text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                        Some(value) => (value, 3),
                        None => break,
                    }
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b'!' | b'*' => {
                    (byte, 1)
                }
                _ => break,
            };
            if value <= b' ' || matches!(value, b'"' | b'<' | b'>' | b'\'' | 0x7f) {
                break;
            }
            if decoded.len() <= LONGEST {
                decoded.push(value);
            }
            at += len;
        }
        work::add(at - opening.body);
        clean.push_str(&String::from_utf8_lossy(&decoded));
        Body { end: at, host: opening.body, disarmed: false }
    }

    /// Takes `[3]` off the end: the number of a footnote, unless the URL has a query, where it would be an index.
    fn trim_footnote(&self, opening: &Opening, body: &mut Body, clean: &mut String) {
        let raw = &self.bytes[opening.body..body.end];
        if raw.last() != Some(&b']') {
            return;
        }
        let digits = raw.iter().rev().skip(1).take(4).take_while(|b| b.is_ascii_digit()).count();
        let len = digits + 2;
        let is_note = (1..=3).contains(&digits) && raw.len() > len && raw[raw.len() - len] == b'[';
        if is_note && !clean.contains('?') && clean.as_bytes().ends_with(&raw[raw.len() - len..]) {
            clean.truncate(clean.len() - len);
            body.end -= len;
        }
    }

    /// Takes the punctuation of the sentence off the end.
    fn trim(&self, opening: &Opening, body: &mut Body, clean: &mut String) {
        self.trim_footnote(opening, body, clean);
        // `_http://evil.example/_`, `++http://evil.example/++`: what stands on both sides marks the text.
        let marked = opening.start.checked_sub(1).map(|at| self.bytes[at]).filter(|b| b"_+~=".contains(b));
        while body.end > opening.body {
            work::add(1);
            let last = self.bytes[body.end - 1];
            let raw = &self.bytes[opening.body..body.end];
            if last.is_ascii_alphanumeric() && raw.len() > 3 && raw[raw.len() - 3] != b'%' {
                break;
            }
            if let Some(len) = ends_with_any(raw, &AMPERSANDS[..3]).filter(|_| clean.ends_with('&')) {
                clean.pop();
                body.end -= len;
            } else if b".,;:!?'*&([{".contains(&last) || marked == Some(last) {
                if clean.as_bytes().last() != Some(&last) {
                    break;
                }
                clean.pop();
                body.end -= 1;
            } else if let Some(len) = ends_with_any(raw, ENCODED_ENDS).filter(|_| !opening.encoded)
                && ends_with_any(clean.as_bytes(), ENCODED_ENDS).is_some()
            {
                clean.truncate(clean.len() - len);
                body.end -= len;
            } else {
                break;
            }
        }
    }
}

fn starts_with_any(bytes: &[u8], at: usize, list: &[&str]) -> Option<usize> {
    let rest = &bytes[at..];
    let fits =
        |text: &&&str| rest.len() >= text.len() && rest[..text.len()].eq_ignore_ascii_case(text.as_bytes());
    list.iter().find(fits).map(|text| text.len())
}

fn ends_with_any(bytes: &[u8], list: &[&str]) -> Option<usize> {
    let fits = |text: &&&str| {
        bytes.len() >= text.len() && bytes[bytes.len() - text.len()..].eq_ignore_ascii_case(text.as_bytes())
    };
    list.iter().find(fits).map(|text| text.len())
}
