//! Names in programs that are written like hosts: calls, fields, modules, placeholders, build files.
//!
//! What stands right around a name tells most of them: `reader.read(` is a call, `{item.name}` a placeholder. Names below
//! the suffixes that nearly every list is full of are hosts all the same.

use super::scan::Scanner;
use crate::file;

/// Suffixes that no method, field or module of note has.
const PLAIN: &[&str] =
    &["com", "net", "org", "edu", "gov", "biz", "ru", "cn", "de", "uk", "eu", "jp", "br", "fr", "xyz"];

/// Suffixes that are names of fields as often, beside those of short names (`PROPERTIES`).
const FIELDS: &[&str] = &[
    "app",
    "day",
    "events",
    "family",
    "group",
    "host",
    "network",
    "new",
    "properties",
    "property",
    "read",
    "safe",
    "save",
    "search",
    "space",
    "store",
    "style",
    "tools",
    "zone",
];

/// Files that builds are described in; their endings are top-level domains.
const BUILD_FILES: &[&str] = &["configure", "gnumakefile", "makefile"];

impl Scanner<'_> {
    /// Whether a name that was not disarmed is one of a program. `below` is what stands before the last dot, and
    /// `last`, in lower case, what stands after it; `property` says that it is the name of one.
    pub(super) fn is_of_code(
        &self,
        start: usize,
        stop: usize,
        below: &str,
        last: &str,
        property: bool,
    ) -> bool {
        let first = below.split('.').next().unwrap_or(below);
        let is_file = match last {
            "ac" | "am" | "in" | "pl" if BUILD_FILES.iter().any(|name| first.eq_ignore_ascii_case(name)) => {
                true
            }
            "in" => file::has_file_ending(below),
            _ => false,
        };
        if is_file || (last == "example" && matches!(below, "com" | "org" | "net")) {
            return true;
        }
        if PLAIN.contains(&last) {
            return false;
        }
        let byte = |at: usize| self.bytes.get(at).copied().unwrap_or(0);
        let back = |by: usize| start.checked_sub(by).map_or(0, |at| self.bytes[at]);
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if matches!(first, "self" | "this") {
            return true;
        }
        // `evil.example(192.0.2.1)` says where a host is.
        if byte(stop) == b'(' && !byte(stop + 1).is_ascii_digit() && byte(stop + 1) != b'[' {
            return true;
        }
        if back(1) == b'{' && matches!(byte(stop), b'}' | b'!' | b':') {
            return true;
        }
        let rest = &self.bytes[stop..self.bytes.len().min(stop + 8)];
        let line = &self.bytes[start.saturating_sub(8)..start];
        if rest.starts_with(b" import ") || line.ends_with(b"\nimport ") {
            return true;
        }
        if !(property || FIELDS.contains(&last)) {
            return false;
        }
        let argument = back(1) == b'(' && word(back(2)) && matches!(byte(stop), b')' | b',');
        let operand = matches!(back(1), b'!' | b'{') || (back(1) == b'&' && !word(back(2)));
        let blank = usize::from(byte(stop) == b' ');
        let operator = matches!(
            (byte(stop + blank), byte(stop + blank + 1)),
            (b'=' | b'!' | b'+' | b'-', b'=') | (b'&', b'&') | (b'|', b'|') | (b'?', b' ') | (b'=', b' ')
        );
        argument || operand || (operator && blank == 1)
    }
}
