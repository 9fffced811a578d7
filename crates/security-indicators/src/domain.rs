//! Host names.
//!
//! Canonical form: lower-case A-labels (UTS 46, non-transitional), no final dot. Two grades:
//!
//! - [`canonical`] is for a value somebody *says* is a domain: any host name of two or more labels, so that
//!   `intranet.local` can be listed too. A leading `*.` is dropped: a listed domain covers what is below it.
//! - [`is_public`] is what text must meet to be *found* or *identified* as one: its suffix really exists in the
//!   public suffix list, or is one of `.example`, `.test`, `.invalid` (RFC 2606; documentation and tests speak of
//!   them), a well-formed `.onion` (RFC 7686), or a root outside the DNS that malware resolves ([`OTHER_ROOTS`]). `.localhost`, `.local` and `.internal` never leave a network and
//!   look like code too often.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use memchr::memchr_iter;

/// Roots of Emercoin, Namecoin and I2P, whose names nobody can seize.
const OTHER_ROOTS: &[&str] = &["bazar", "bit", "coin", "emc", "i2p"];

/// The canonical form of a host name of two or more labels.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    let text = text.strip_prefix("*.").unwrap_or(text);
    let host = canonical_host(text)?;
    if !host.contains('.') {
        return Err("a domain has at least two labels");
    }
    Ok(host)
}

/// The canonical form of a host name of any number of labels, as it may stand in a URL.
pub(crate) fn canonical_host(text: &str) -> Result<String, &'static str> {
    // Refuse early: a longer name is an attack, not a typo. U-labels may be longer than their A-labels.
    if text.len() > 1024 {
        return Err("a domain has at most 253 characters");
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let signs = signs_of(name);
    if is_plain(name, signs) {
        check_labels(name, signs)?;
        return Ok(name.to_ascii_lowercase());
    }
    let deny = AsciiDenyList::URL;
    let ascii = Uts46::new().to_ascii(name.as_bytes(), deny, Hyphens::Allow, DnsLength::Verify);
    let ascii = ascii.map_err(|_| "its internationalised form is not valid")?;
    check_labels(&ascii, signs_of(&ascii))?;
    Ok(ascii.into_owned())
}

/// A letter in upper case.
const UPPER: u8 = 1;
/// No letter, digit, hyphen, underscore or dot.
const STRANGE: u8 = 2;
/// Beyond ASCII.
const FOREIGN: u8 = 4;
/// A hyphen, which A-labels have.
const HYPHEN: u8 = 8;

const SIGNS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'A'..=b'Z' => UPPER,
            b'-' => HYPHEN,
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' => 0,
            0x80.. => FOREIGN | STRANGE,
            _ => STRANGE,
        };
        byte += 1;
    }
    table
};

/// What kinds of bytes are in a name.
fn signs_of(name: &str) -> u8 {
    name.bytes().fold(0, |signs, byte| signs | SIGNS[byte as usize])
}

/// Whether a name is ASCII without A-labels, so that its canonical form is itself in lower case.
fn is_plain(name: &str, signs: u8) -> bool {
    signs & FOREIGN == 0 && (signs & HYPHEN == 0 || !name.split('.').any(starts_as_a_label))
}

/// Whether a text is a host name in canonical form already, in one look at each byte; `false` says nothing of one with
/// A-labels. A property test holds it against [`canonical_host`].
pub(crate) fn is_canonical_host(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_label = |label: &[u8]| (1..=63).contains(&label.len()) && !label.starts_with(b"xn--");
    let (mut start, mut is_number) = (0, true);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'-' | b'_' => is_number = false,
            b'0'..=b'9' => {}
            b'.' if is_label(&bytes[start..at]) => (start, is_number) = (at + 1, true),
            _ => return false,
        }
    }
    let last = &bytes[start..];
    bytes.len() <= 253 && is_label(last) && !is_number && !last.starts_with(b"-") && !last.ends_with(b"-")
}

fn starts_as_a_label(label: &str) -> bool {
    label.len() >= 4 && label.as_bytes()[..4].eq_ignore_ascii_case(b"xn--")
}

fn check_labels(name: &str, signs: u8) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 253 {
        return Err("a domain has 1 to 253 characters");
    }
    let mut label = 0;
    for dot in memchr_iter(b'.', name.as_bytes()) {
        if !(1..=63).contains(&(dot - label)) {
            return Err("a label has 1 to 63 characters");
        }
        label = dot + 1;
    }
    let last = &name[label..];
    if !(1..=63).contains(&last.len()) {
        return Err("a label has 1 to 63 characters");
    }
    if signs & STRANGE != 0 {
        return Err("a label has letters, digits, hyphens and underscores only");
    }
    // A name below a number would be read as an IPv4 address (WHATWG URL, "ends in a number").
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with('-') || last.ends_with('-') {
        return Err("the last label is no top-level domain");
    }
    Ok(())
}

/// Whether a canonical host name has a suffix that exists and is more than that suffix.
///
/// A *private* suffix (`dyn.example`-like services) is a host of its own and counts; a registry's (`co.uk`) does not.
pub(crate) fn is_public(host: &str) -> bool {
    let Some(dot) = host.bytes().rposition(|b| b == b'.') else { return false };
    let (below, top) = (&host[..dot], &host[dot + 1..]);
    match top {
        "example" | "test" | "invalid" => registrable(below.rsplit('.').next().unwrap_or(below)),
        "onion" => is_onion(below.rsplit('.').next().unwrap_or(below)),
        other if OTHER_ROOTS.contains(&other) => registrable(below.rsplit('.').next().unwrap_or(below)),
        _ => match psl::suffix(host.as_bytes()) {
            Some(suffix) if suffix.is_known() => {
                let len = suffix.as_bytes().len();
                match (suffix.typ(), host.len() > len) {
                    (_, true) => registrable(host[..host.len() - len - 1].rsplit('.').next().unwrap_or(host)),
                    (Some(psl::Type::Private), false) => true,
                    _ => false,
                }
            }
            _ => false,
        },
    }
}

/// The name a registry would sell has no underscore and no outer hyphen (RFC 5891 §4.2.3.1).
fn registrable(label: &str) -> bool {
    !label.contains('_') && !label.starts_with('-') && !label.ends_with('-')
}

/// A version 3 name (56 base32 characters whose last byte is the version) or a version 2 one (16).
fn is_onion(label: &str) -> bool {
    let base32 = label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    base32 && (label.len() == 16 || (label.len() == 56 && label.ends_with('d')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_lower_case_a_labels() {
        for (text, value) in [
            ("EVIL.Example.COM.", "evil.example.com"),
            ("bücher.example.com", "xn--bcher-kva.example.com"),
            ("faß.example.com", "xn--fa-hia.example.com"),
            ("XN--BCHER-KVA.example.com", "xn--bcher-kva.example.com"),
            ("ｅｖｉｌ。example．com", "evil.example.com"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("*.example.com", "example.com"),
            ("intranet.local", "intranet.local"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(value));
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for wrong in [
            "",
            ".",
            "evil",
            "evil..example.com",
            "evil example.com",
            "192.0.2.1",
            "evil.example.com:80",
            "evil.example.com/x",
            "xn--a.example.com",
            "foo.-bar",
            "a.123",
        ] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
        assert!(canonical(&format!("{}.example.com", "a".repeat(64))).is_err());
        assert!(canonical(&"a.".repeat(200)).is_err());
    }

    #[test]
    fn public_names_have_a_suffix_that_exists() {
        for host in [
            "evil.example.com",
            "example.co.uk",
            "evil.example",
            "host.test",
            "x.invalid",
            "github.io",
            "xn--bcher-kva.example.com",
            "_dmarc.example.com",
            "expyuzz4wqqyqhjn.onion",
            "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion",
        ] {
            assert!(is_public(host), "{host}");
        }
        for host in [
            "com",
            "co.uk",
            "setup.exe",
            "foo.local",
            "a.localhost",
            "x.internal",
            "short.onion",
            "foo_bar.com",
            "-foo.com",
        ] {
            assert!(!is_public(host), "{host}");
        }
    }
}
