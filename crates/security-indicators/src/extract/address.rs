//! IPv4, IPv6 and hardware addresses in text.

use std::{mem, net::Ipv6Addr};

use super::{scan::Scanner, work};
use crate::{IocType, defang::mark_at, ip, mac};

/// Words after which four numbers are a version.
const VERSION_WORDS: &[&str] = &[
    "v",
    "ver",
    "vers",
    "versions",
    "build",
    "builds",
    "release",
    "releases",
    "rev",
    "revision",
    "firmware",
    "patch",
    "section",
    "sections",
    "chapter",
    "clause",
    "appendix",
    "paragraph",
];

/// Words that end versions of four numbers, as `.It` after an address begins a sentence.
const QUALIFIERS: &[&str] = &["Final", "Release", "Alpha", "Beta", "Build", "Snapshot", "Patch"];

/// Programs whose versions have four numbers, as user agents write them: `Name/1.2.3.4`.
const PRODUCTS: &[&str] = &[
    "chrome",
    "chromium",
    "headlesschrome",
    "firefox",
    "safari",
    "edg",
    "edge",
    "opr",
    "opera",
    "version",
    "crios",
    "mozilla",
    "curl",
    "wget",
    "python",
    "java",
    "nginx",
    "apache",
    "openssl",
    "php",
    "vivaldi",
    "yabrowser",
    "electron",
    "okhttp",
    "webkit",
    "applewebkit",
    "msie",
    "trident",
    "seamonkey",
    "thunderbird",
    "samsungbrowser",
];

impl Scanner<'_> {
    /// An IPv4 address, network or address with a port that starts at a place.
    pub(super) fn ipv4(&mut self, start: usize) -> Option<usize> {
        let (octets, end, defanged) = self.quad(start)?;
        if !self.is_end(end) || (self.dot_at(end).is_some() && !self.starts_sentence(end)) {
            return None;
        }
        let suffixed = self.bytes.get(end) == Some(&b'-')
            && self.bytes.get(end + 1).is_some_and(u8::is_ascii_alphabetic);
        if !defanged && (self.is_version(start) || self.follows_version(start)) {
            self.version_end = end;
            return None;
        }
        if !defanged && (suffixed || self.is_oid(start, end) || self.is_heading(octets, start, end)) {
            return None;
        }
        let mut address = mem::take(&mut self.clean);
        address.clear();
        if defanged {
            for (index, octet) in octets.iter().enumerate() {
                if index > 0 {
                    address.push('.');
                }
                push_number(&mut address, u16::from(*octet));
            }
        } else {
            // A strict quad is its own canonical form.
            address.push_str(&self.text[start..end]);
        }
        let end = self.push_address(&mut address, start, end, defanged);
        self.clean = address;
        Some(end)
    }

    fn quad(&self, start: usize) -> Option<([u8; 4], usize, bool)> {
        let mut octets = [0; 4];
        let (mut at, mut disarmed) = (start, false);
        for (index, octet) in octets.iter_mut().enumerate() {
            if index > 0 {
                let (len, defanged) = self.dot_at(at)?;
                disarmed |= defanged;
                at += len;
            }
            let count = self.bytes[at..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
            let digits = &self.text[at..at + count];
            if count > 1 && digits.starts_with('0') {
                return None;
            }
            let number = digits.bytes().fold(0u16, |number, digit| number * 10 + u16::from(digit - b'0'));
            *octet = if count == 0 { None } else { u8::try_from(number).ok() }?;
            at += count;
        }
        Some((octets, at, disarmed))
    }

    /// Notes an address with what follows it: a prefix length, a port, or nothing. The place to go on from.
    fn push_address(&mut self, address: &mut String, start: usize, end: usize, defanged: bool) -> usize {
        if let Some((digits, len, sign)) = self.number_after(end, "/", b'/')
            && !matches!(self.bytes.get(digits + len), Some(b'/' | b'.' | b'-' | b':') if !self.is_end(digits + len + 1))
            && let Ok(value) =
                ip::canonical_network(&format!("{address}/{}", &self.text[digits..digits + len]))
            && self.push(IocType::Cidr, value, start, digits + len, defanged || sign)
        {
            return digits + len;
        }
        if !address.contains(':') {
            if let Some(stop) = self.bare_url(start, end, defanged) {
                return stop;
            }
            if self.options.wants(IocType::IpPort)
                && let Some((stop, port, sign)) = self.port_after(end)
            {
                address.push(':');
                push_number(address, port);
                self.push(IocType::IpPort, address.as_str(), start, stop, defanged || sign);
                return stop;
            }
            self.push(IocType::Ip, address.as_str(), start, end, defanged);
        } else if let Ok(value) = ip::canonical(address) {
            self.push(IocType::Ip, value, start, end, defanged);
        }
        end
    }

    /// Where a port after an address ends, the port, and whether its sign is disarmed.
    fn port_after(&self, end: usize) -> Option<(usize, u16, bool)> {
        let (digits, len, sign) = self.number_after(end, ":", b':')?;
        let stop = digits + len;
        // `192.0.2.1:12:30` and `192.0.2.1:1.2` are something else.
        if matches!(self.bytes.get(stop), Some(b':' | b'.')) && !self.is_end(stop + 1) {
            return None;
        }
        Some((stop, ip::parse_port(&self.text[digits..stop]).ok()?, sign))
    }

    /// A number after a sign: where its digits start, how many they are, and whether the sign is disarmed.
    fn number_after(&self, at: usize, sign: &str, plain: u8) -> Option<(usize, usize, bool)> {
        let (len, defanged) = match self.bytes.get(at)? {
            byte if *byte == plain => (1, false),
            b'[' | b'(' | b'{' => (mark_at(self.text, at).filter(|mark| mark.means == sign)?.len, true),
            _ => return None,
        };
        let digits = self.bytes[at + len..].iter().take(6).take_while(|b| b.is_ascii_digit()).count();
        (digits > 0 && self.is_end(at + len + digits)).then_some((at + len, digits, defanged))
    }

    /// Whether the words before say that four numbers are a version.
    fn is_version(&self, start: usize) -> bool {
        let mut end = start;
        if end > 0 && self.bytes[end - 1] == b'/' {
            let word = self.word_before(end - 1);
            return PRODUCTS.iter().any(|name| word.eq_ignore_ascii_case(name));
        }
        let mut gap = 0;
        while end > 0 && gap < 5 && b" =:\"'>(.\t".contains(&self.bytes[end - 1]) {
            (end, gap) = (end - 1, gap + 1);
        }
        let word = self.word_before(end);
        let tail = word.len().saturating_sub(7);
        VERSION_WORDS.iter().any(|name| word.eq_ignore_ascii_case(name))
            || word.get(tail..).is_some_and(|tail| tail.eq_ignore_ascii_case("version"))
    }

    /// Whether four numbers go on with a list of versions: `versions 1.2.3.4, 1.2.3.5 and 1.2.3.6`.
    fn follows_version(&self, start: usize) -> bool {
        let between = self.bytes.get(self.version_end..start).unwrap_or_default();
        self.version_end > 0
            && between.len() <= 6
            && matches!(
                between,
                b", " | b"," | b" and " | b", and " | b" or " | b", or " | b" to " | b" - " | b"-" | b"/"
            )
    }

    /// Whether the dot at a place ends a sentence, and the next one begins without a blank: `192.0.2.1.It answers`.
    fn starts_sentence(&self, dot: usize) -> bool {
        let rest = &self.bytes[dot..self.bytes.len().min(dot + 24)];
        let letters = rest.iter().skip(1).take_while(|b| b.is_ascii_alphabetic()).count();
        let word = &rest[1..1 + letters];
        rest[0] == b'.'
            && rest.get(1 + letters) == Some(&b' ')
            && letters > 1
            && word[0].is_ascii_uppercase()
            && word[1..].iter().all(u8::is_ascii_lowercase)
            && !QUALIFIERS.iter().any(|name| name.as_bytes() == word)
    }

    /// Whether four numbers are an object identifier (X.660): below an arc that has short ones, on a line that says so.
    fn is_oid(&self, start: usize, end: usize) -> bool {
        let arc = ["1.2.", "1.3.", "2.5.", "2.16."].iter().any(|arc| self.text[start..end].starts_with(arc));
        let line = self.bytes[..start].iter().rev().take(64).take_while(|b| arc && **b != b'\n').count();
        let mut words = self.bytes[start - line..start].split(|b| !b.is_ascii_alphabetic());
        words.any(|word| word.eq_ignore_ascii_case(b"oid") || word.eq_ignore_ascii_case(b"oids"))
    }

    /// Whether four small numbers number a section: they start their line, and a heading follows: `3.7.2.6. Unit`.
    fn is_heading(&self, octets: [u8; 4], start: usize, end: usize) -> bool {
        let small = octets.iter().all(|octet| *octet < 40);
        let rest = &self.bytes[end..self.bytes.len().min(end + 3)];
        let heading = matches!(rest, [b'.', b' ', first] if first.is_ascii_uppercase());
        small && heading && {
            let line = self.bytes[..start].iter().rev().take(9).take_while(|b| **b != b'\n').count();
            line < 9 && !self.bytes[start - line..start].iter().any(u8::is_ascii_alphanumeric)
        }
    }

    fn word_before(&self, end: usize) -> &str {
        let letters = self.bytes[..end].iter().rev().take(24).take_while(|b| b.is_ascii_alphabetic()).count();
        &self.text[end - letters..end]
    }

    /// An IPv6 or hardware address in the run of hex digits and colons that starts at a place. Each run is tried
    /// once, at its start.
    pub(super) fn colons(&mut self, start: usize) -> Option<usize> {
        if start < self.colons_until {
            return None;
        }
        let digits = self.bytes[start..].iter().take(5).take_while(|b| b.is_ascii_hexdigit()).count();
        if digits > 4 || !matches!(self.bytes.get(start + digits), Some(b':' | b'[' | b'(' | b'{')) {
            return None;
        }
        let before = start.checked_sub(1).map(|at| self.bytes[at]);
        let (mut end, mut colons, mut disarmed) = (start, 0, false);
        let mut clean = String::new();
        loop {
            match self.bytes.get(end) {
                Some(byte) if byte.is_ascii_hexdigit() || *byte == b':' || *byte == b'.' => {
                    colons += usize::from(*byte == b':');
                    // Longer than any address: read on to the end of the run, but keep nothing.
                    if clean.len() < 64 {
                        clean.push(char::from(*byte));
                    }
                    end += 1;
                }
                Some(b'[' | b'(' | b'{') => match mark_at(self.text, end) {
                    Some(mark) if mark.means == ":" || (mark.means == "." && colons > 1) => {
                        colons += usize::from(mark.means == ":");
                        clean.push_str(mark.means);
                        disarmed = true;
                        end += mark.len;
                    }
                    _ => break,
                },
                _ => break,
            }
        }
        work::add(end - start);
        if colons == 0 {
            return None;
        }
        self.colons_until = end;
        let glued = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
        if colons < 2 || glued || clean.len() >= 64 {
            return None;
        }
        while let Some(last @ ('.' | ':')) = clean.chars().last() {
            if clean.ends_with("::") || self.bytes[end - 1] != last as u8 {
                break;
            }
            clean.pop();
            end -= 1;
        }
        if !self.is_end(end) {
            return None;
        }
        if clean.len() == 17
            && let Ok(value) = mac::canonical(&clean)
        {
            self.push(IocType::Mac, value, start, end, disarmed);
            return Some(end);
        }
        clean.parse::<Ipv6Addr>().ok().filter(|_| disarmed || looks_meant(&clean))?;
        let bracketed = before == Some(b'[') && self.bytes.get(end) == Some(&b']') && start > self.done;
        if bracketed
            && let Some((stop, port, sign)) = self.port_after(end + 1)
            && let Ok(value) = ip::canonical_with_port(&format!("[{clean}]:{port}"))
            && self.push(IocType::IpPort, value, start - 1, stop, disarmed || sign)
        {
            return Some(stop);
        }
        // After a lone address nothing but a prefix length belongs to it: a colon would be a part of it.
        Some(self.push_address(&mut clean, start, end, disarmed))
    }
}

/// Adds a number in decimal: formatting it takes ten times as long.
fn push_number(text: &mut String, number: u16) {
    let mut unit = 10_000;
    while unit > 1 && number < unit {
        unit /= 10;
    }
    while unit > 0 {
        text.push(char::from(b'0' + (number / unit % 10) as u8));
        unit /= 10;
    }
}

/// Whether a text that reads as IPv6 was meant as one: `a::b` is code, and eight pairs are part of a fingerprint.
fn looks_meant(text: &str) -> bool {
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let pairs = text.split(':').all(|group| group.len() == 2);
    let first = text.split(':').next().unwrap_or_default().len();
    let colons = text.bytes().filter(|b| *b == b':').count();
    digits && !pairs && (first >= 3 || text.starts_with("::") || colons >= 3)
}
