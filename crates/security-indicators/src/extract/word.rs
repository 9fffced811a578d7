//! What a single atom may be: digests, CVE and AS numbers, techniques, wallets, hardware addresses.

use super::{scan::Scanner, work};
use crate::{IocType, asn, cve, hash, mac, technique, wallet};

/// Words before 32 hex digits that say they are no plain MD5.
const NAMED_MD5: &[(&str, IocType)] =
    &[("imphash", IocType::Imphash), ("ja3", IocType::Ja3), ("ja3s", IocType::Ja3)];

/// Words before 40 hex digits that say they are no SHA-1 of a file.
const COMMITS: &[&str] = &["commit", "commits", "changeset", "revision"];

impl Scanner<'_> {
    /// Notes what is in an atom; several digests may be joined by `-` or `_`.
    pub(super) fn word(&mut self, start: usize, end: usize) {
        work::add(end - start);
        let word = &self.text[start..end];
        let bytes = word.as_bytes();
        let first = bytes[0];
        if bytes.len() < 26 {
            match first {
                b'T' if bytes.len() == 5 => self.technique(start, end),
                b'A' if word.starts_with("AS") => self.autonomous_system(start, end),
                b'C' | b'c' if bytes.len() == 3 && word.eq_ignore_ascii_case("cve") => {
                    self.wide_cve(start, end)
                }
                _ if bytes.len() >= 13 && bytes.contains(&b'-') => self.cve_inside(start, end),
                _ => {}
            }
            if bytes.len() == 17 && bytes[2] == b'-' {
                self.push_if(IocType::Mac, mac::canonical(word), start, end);
            }
            return;
        }
        let whole = match (first, bytes.len()) {
            (b'0', 42) => self.push_if(IocType::Eth, wallet::canonical_eth(word), start, end),
            (b'1' | b'3', 26..=35) if is_mixed(bytes) => {
                self.push_if(IocType::Btc, wallet::canonical_btc(word), start, end)
            }
            (b'b' | b'B', 14..=90) => self.push_if(IocType::Btc, wallet::canonical_btc(word), start, end),
            (b'4' | b'8', 95 | 106) => self.push_if(IocType::Xmr, wallet::canonical_xmr(word), start, end),
            (b'T' | b't', 72) => self.push_if(IocType::Tlsh, hash::canonical_tlsh(word), start, end),
            (b'1'..=b'9' | b'A'..=b'Z' | b'a'..=b'z', 43 | 44)
                if is_mixed(bytes) && self.speaks_of_solana(start) =>
            {
                self.push_if(IocType::Sol, wallet::canonical_sol(word), start, end)
            }
            (_, 36) => self.push_if(IocType::Ja4, hash::canonical_ja4(word), start, end),
            _ => false,
        };
        if whole {
            return;
        }
        if bytes.contains(&b'-') {
            self.cve_inside(start, end);
        }
        if bytes.len() >= 32 {
            self.digests(start.max(self.done), end);
        }
    }

    fn push_if(
        &mut self,
        kind: IocType,
        value: Result<String, &'static str>,
        start: usize,
        end: usize,
    ) -> bool {
        value.is_ok_and(|value| self.push(kind, value, start, end, false))
    }

    /// Whether the line says `sol` or `solana` shortly before a place: such an address has no checksum, and so many random
    /// letters are a token of something else as often.
    fn speaks_of_solana(&self, start: usize) -> bool {
        let line = self.bytes[..start].iter().rev().take(64).take_while(|b| **b != b'\n').count();
        let words = self.bytes[start - line..start].split(|b| !b.is_ascii_alphanumeric());
        words
            .into_iter()
            .any(|word| word.eq_ignore_ascii_case(b"sol") || word.eq_ignore_ascii_case(b"solana"))
    }

    /// Digests among the parts of an atom; a run of any other length is none.
    fn digests(&mut self, start: usize, end: usize) {
        let mut at = start;
        while at < end {
            let part_end =
                self.bytes[at..end].iter().position(|b| matches!(b, b'-' | b'_')).map_or(end, |n| at + n);
            let part = &self.bytes[at..part_end];
            if let Some(kind) = hash::kind_of_length(part.len())
                && is_random_hex(part)
            {
                let kind = if kind == IocType::Md5 { self.named_md5(at) } else { kind };
                if kind == IocType::Sha1
                    && COMMITS.iter().any(|name| self.word_just_before(at).eq_ignore_ascii_case(name))
                {
                    at = part_end + 1;
                    continue;
                }
                self.push(kind, self.text[at..part_end].to_ascii_lowercase(), at, part_end, false);
            }
            at = part_end + 1;
        }
    }

    /// MD5, unless the word just before says `imphash` or `ja3`.
    fn named_md5(&self, start: usize) -> IocType {
        let word = self.word_just_before(start);
        NAMED_MD5
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name))
            .map_or(IocType::Md5, |(_, kind)| *kind)
    }

    /// The word just before a place, of nine letters at most; signs and blanks may stand between.
    fn word_just_before(&self, start: usize) -> &str {
        let mut end = start;
        let is_gap = |b: u8| b.is_ascii_whitespace() || b"\"':=|()[`*,#".contains(&b);
        let mut gap = 0;
        while end > 0 && gap < 8 && is_gap(self.bytes[end - 1]) {
            (end, gap) = (end - 1, gap + 1);
        }
        let letters =
            self.bytes[..end].iter().rev().take(9).take_while(|b| b.is_ascii_alphanumeric()).count();
        &self.text[end - letters..end]
    }

    /// CVE numbers among the parts of an atom, as in `exploit-CVE-2024-12345_v2`.
    fn cve_inside(&mut self, start: usize, end: usize) {
        let mut at = start;
        while at + 13 <= end {
            if self.bytes[at..at + 4].eq_ignore_ascii_case(b"cve-") {
                let year_end = at + 8;
                let digits = self.bytes[(year_end + 1).min(end)..end]
                    .iter()
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                let cve_end = year_end + 1 + digits;
                if cve_end <= end
                    && (cve_end == end || !self.bytes[cve_end].is_ascii_alphanumeric())
                    && self.text.is_char_boundary(cve_end)
                    && let Some(number) = self.text.get(at..cve_end)
                {
                    self.push_if(IocType::Cve, cve::canonical(number), at, cve_end);
                }
            }
            // To the start of the next part.
            let next = self.bytes[at..end].iter().position(|b| matches!(b, b'-' | b'_'));
            at = next.map_or(end, |n| at + n + 1);
        }
    }

    /// `CVE` with hyphens of another width, which end the atom.
    fn wide_cve(&mut self, start: usize, end: usize) {
        let mut at = end;
        for digits in [4..=4, 4..=19] {
            let Some(hyphen) = self.text[at..].chars().next().filter(|c| cve::is_hyphen(*c)) else { return };
            at += hyphen.len_utf8();
            let count = self.bytes[at..].iter().take(20).take_while(|b| b.is_ascii_digit()).count();
            if !digits.contains(&count) {
                return;
            }
            at += count;
        }
        if self.is_end(at) {
            self.push_if(IocType::Cve, cve::canonical(&self.text[start..at]), start, at);
        }
    }

    /// `AS64496` and `ASN 64496`. Three digits at least: `AS2` is a protocol, and `AS400` a computer.
    fn autonomous_system(&mut self, start: usize, end: usize) {
        let word = &self.text[start..end];
        let (digits_start, end) = match word {
            "ASN" if self.bytes.get(end) == Some(&b' ') => {
                let count = self.bytes[end + 1..].iter().take(11).take_while(|b| b.is_ascii_digit()).count();
                (end + 1, end + 1 + count)
            }
            _ => (start + if word.starts_with("ASN") { 3 } else { 2 }, end),
        };
        let digits = &self.bytes[digits_start..end];
        if digits.len() >= 3 && digits.iter().all(u8::is_ascii_digit) && word != "AS400" && self.is_end(end) {
            self.push_if(IocType::Asn, asn::canonical(&self.text[start..end]), start, end);
        }
    }

    /// `T1059`, and `T1059.001` when three digits follow a dot.
    fn technique(&mut self, start: usize, end: usize) {
        let sub = self.dot_at(end).and_then(|(len, defanged)| {
            let digits = end + len;
            let count = self.bytes[digits..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
            (count == 3 && self.is_end(digits + 3)).then_some((digits, defanged))
        });
        if let Some((digits, defanged)) = sub {
            let text = format!("{}.{}", &self.text[start..end], &self.text[digits..digits + 3]);
            if let Ok(value) = technique::canonical(&text) {
                self.push(IocType::AttackTechnique, value, start, digits + 3, defanged);
                return;
            }
        }
        self.push_if(IocType::AttackTechnique, technique::canonical(&self.text[start..end]), start, end);
    }

    /// An ssdeep hash that starts with a number at a place. Short ones look like times and are not taken.
    pub(super) fn ssdeep(&mut self, start: usize, end: usize) -> Option<usize> {
        if self.bytes.get(end) != Some(&b':')
            || end - start > 11
            || !hash::is_block_size(&self.text[start..end])
        {
            return None;
        }
        let part =
            |from: usize| self.bytes[from..].iter().take(65).take_while(|b| hash::is_base64(**b)).count();
        let first = part(end + 1);
        let middle = end + 1 + first;
        if !(6..=64).contains(&first) || self.bytes.get(middle) != Some(&b':') {
            return None;
        }
        let second = part(middle + 1);
        let stop = middle + 1 + second;
        let letters = self.bytes[end + 1..middle].iter().any(u8::is_ascii_alphabetic);
        if !(3..=64).contains(&second) || !letters || !self.is_end(stop) {
            return None;
        }
        let value = hash::canonical_ssdeep(&self.text[start..stop]).ok()?;
        self.push(IocType::Ssdeep, value, start, stop, false).then_some(stop)
    }
}

/// The value of each hex digit; 16 for what is none.
const HEX: [u8; 256] = {
    let mut table = [16; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

/// Whether all are hex digits and look drawn at random: decimal numbers, fillers and structures in hex (Windows SIDs, UTF-16) do
/// not. Of random digests fewer than one in a million is refused.
fn is_random_hex(digits: &[u8]) -> bool {
    // Two rows: the counter of one digit is not waited for by the next.
    let mut counts = [[0u8; 32]; 2];
    for pair in digits.chunks_exact(2) {
        counts[0][usize::from(HEX[pair[0] as usize] & 31)] += 1;
        counts[1][usize::from(HEX[pair[1] as usize] & 31)] += 1;
    }
    let of = |value: usize| usize::from(counts[0][value]) + usize::from(counts[1][value]);
    let most = (0..16).map(of).max().unwrap_or_default();
    of(16) == 0 && (10..16).any(|value| of(value) > 0) && most * 5 < digits.len() * 2
}

/// Upper case, lower case and a digit: what thirty random base58 characters nearly always have.
fn is_mixed(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_uppercase)
        && bytes.iter().any(u8::is_ascii_lowercase)
        && bytes[1..].iter().any(u8::is_ascii_digit)
}
