//! URLs without a scheme: `evil[.]example/gate.php`, as lists and prose write them.
//!
//! Nearly every dotted name with a path behind it is one. What is none: two names of a list joined by a slash, a word
//! after a name (`example.com/example`), an address and its mask.

use std::net::Ipv4Addr;

use super::{scan::Scanner, web::Opening};
use crate::{IocType, domain, file, ip, refang};

/// Bytes of the first folder that are judged.
const JUDGED: usize = 80;

impl Scanner<'_> {
    /// A URL without a scheme, whose host stands from `start` to `stop`.
    pub(super) fn bare_url(&mut self, start: usize, stop: usize, disarmed: bool) -> Option<usize> {
        if start < self.urls_from || !matches!(self.bytes.get(stop)?, b'/' | b':' | b'[') {
            return None;
        }
        let slash = self.path_start(stop)?;
        let path = &self.bytes[slash..self.bytes.len().min(slash + JUDGED)];
        let before = start.checked_sub(1).map(|at| self.bytes[at]);
        if !self.options.wants(IocType::Url) || !self.is_path(slash, path, disarmed, before) {
            return None;
        }
        self.read_url(&Opening::bare(start))
    }

    /// Where the path starts behind a host that ends at a place, and its port.
    fn path_start(&self, stop: usize) -> Option<usize> {
        match self.bytes[stop] {
            b'/' => return Some(stop),
            b'[' => return (self.sign_at(stop, "/")? == 3).then_some(stop),
            _ => {}
        }
        let digits = self.bytes[stop + 1..].iter().take(6).take_while(|b| b.is_ascii_digit()).count();
        let slash = stop + 1 + digits;
        let is_port =
            self.bytes.get(slash) == Some(&b'/') && ip::parse_port(&self.text[stop + 1..slash]).is_ok();
        is_port.then_some(slash)
    }

    /// Whether what starts with a slash is the path of a URL.
    fn is_path(&self, slash: usize, path: &[u8], disarmed: bool, before: Option<u8>) -> bool {
        let bracketed = path.first() == Some(&b'[');
        let rest = &path[if bracketed { 3 } else { 1 }.min(path.len())..];
        let of_word = |b: &u8| b.is_ascii_alphanumeric() || *b >= 0x80 || b"-._~%+@[]()".contains(b);
        let folder = &rest[..rest.iter().take_while(|b| of_word(b)).count()];
        let after = rest.get(folder.len());
        if folder.is_empty() {
            // `evil[.]example/?a=1`; a lone slash says no more than the name.
            return matches!(after, Some(b'?' | b'#'));
        }
        let goes_on = matches!(after, Some(b'/' | b'?' | b'#' | b'=' | b'&'));
        let letters = folder.iter().any(|b| b.is_ascii_alphabetic() || *b >= 0x80);
        if !letters && !goes_on {
            return false;
        }
        if folder.contains(&b'.') && after != Some(&b'?') {
            let from = slash + if bracketed { 3 } else { 1 };
            let mut end = from + folder.len();
            while !self.text.is_char_boundary(end) {
                end -= 1;
            }
            if is_another(&self.text[from..end]) {
                return false;
            }
        }
        // In a cell, in quotation marks or alone on its line a word is no part of a sentence.
        let ends = |b: Option<&u8>| b.is_none_or(|b| b"\r\n\t,|\"'`".contains(b));
        let alone = ends(before.as_ref()) && ends(after);
        let mut name = folder.iter().rev().skip_while(|b| b".-_".contains(b));
        disarmed || goes_on || alone || name.any(|b| !b.is_ascii_alphabetic())
    }
}

/// Whether the first folder is rather the next indicator of a list.
fn is_another(folder: &str) -> bool {
    let name = refang(folder.trim_end_matches(['.', '-', '_', ')', ']']));
    if name.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let Some((_, last)) = name.rsplit_once('.') else { return false };
    let last = last.to_ascii_lowercase();
    let is_file = file::AMBIGUOUS.contains(&&*last) || (last != "com" && file::IN_PATHS.contains(&&*last));
    !is_file && domain::canonical(&name).is_ok_and(|name| domain::is_public(&name))
}
