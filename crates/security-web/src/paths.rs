//! Which paths a policy means, in spite of all the ways to write them.
//!
//! Servers and frameworks differ in how much of a path they decode, so one reading is not enough to guard a
//! door. Matching is therefore lopsided on purpose:
//!
//! - A path is **sensitive** if it comes under a sensitive one after everything that any server might do to it:
//!   percent-decoding until nothing changes, `\` as `/`, `;parameters` cut off, control characters and outer
//!   spaces of segments dropped, `//`, `/./` and `/../` resolved, case ignored. `/%61dmin`, `//Admin`,
//!   `/x/../admin` and `/admin;v=1/x` are all `/admin`.
//! - A path is **exempt** only as it stands: exact case, and nothing in it that any of the above would change.
//!   `/health/..%2fadmin` is not exempt, whatever the framework makes of it.
//!
//! Both match at segment boundaries: `/admin` means `/admin` and all below it, not `/administrator`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{WebError, error::shortened};

/// How often a path is decoded before it is held to be hiding something.
const MOST_DECODINGS: usize = 4;

/// What the policy says of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PathClass {
    /// Nothing is asked of it: no limit, no inspection.
    Exempt,
    /// For trusted networks only.
    Sensitive,
    /// The engine's own metrics, for trusted networks only.
    Metrics,
    /// Everything else.
    Ordinary,
}

/// Paths, each with all below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathSet {
    written: Vec<String>,
    /// Canonical, without a final slash; the root is empty.
    paths: Vec<String>,
}

impl PathSet {
    /// The set of these paths and all below them. A final slash makes no difference.
    /// # Errors
    /// [`WebError::NotAPath`] names the first that does not start with `/` or is not written plainly.
    pub fn of<S: AsRef<str>>(paths: impl IntoIterator<Item = S>) -> Result<Self, WebError> {
        let mut set = Self::default();
        for path in paths {
            let path = path.as_ref();
            let plain = path.trim_end_matches('/');
            let is_plain =
                path.starts_with('/') && canonical(plain).is_some_and(|found| found == plain.as_bytes());
            if !is_plain {
                return Err(WebError::NotAPath(shortened(path)));
            }
            set.paths.push(plain.to_owned());
            set.written.push(path.to_owned());
        }
        Ok(set)
    }

    /// The paths as they were written.
    pub fn written(&self) -> &[String] {
        &self.written
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// What these exempt and sensitive sets say of a path. Sensitive wins.
    pub fn classify(exempt: &Self, sensitive: &Self, path: &str) -> PathClass {
        let Some(found) = canonical(path) else {
            // Decoded again and again, it still changes: nobody writes that in good faith.
            return if sensitive.paths.is_empty() { PathClass::Ordinary } else { PathClass::Sensitive };
        };
        if sensitive
            .paths
            .iter()
            .any(|known| is_under(&found, known.as_bytes(), <[u8]>::eq_ignore_ascii_case))
        {
            return PathClass::Sensitive;
        }
        let stands_as_it_is = *found == *path.trim_end_matches('/').as_bytes();
        if stands_as_it_is
            && exempt.paths.iter().any(|known| is_under(&found, known.as_bytes(), |a, b| a == b))
        {
            return PathClass::Exempt;
        }
        PathClass::Ordinary
    }
}

fn is_under(path: &[u8], known: &[u8], equal: fn(&[u8], &[u8]) -> bool) -> bool {
    path.split_at_checked(known.len())
        .is_some_and(|(start, rest)| equal(start, known) && (rest.is_empty() || rest.starts_with(b"/")))
}

/// The path with everything resolved, without a final slash; `None` if it is decoded too often.
fn canonical(path: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = path.as_bytes();
    if is_plain(bytes) {
        return Some(Cow::Borrowed(path.trim_end_matches('/').as_bytes()));
    }
    let mut decoded = bytes.to_vec();
    let mut rounds = 0;
    loop {
        let before = decoded.len();
        decode(&mut decoded);
        decoded.retain(|byte| *byte >= 0x20 && *byte != 0x7f);
        if decoded.len() == before {
            break;
        }
        rounds += 1;
        if rounds > MOST_DECODINGS {
            return None;
        }
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        let named = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        match named.trim_ascii() {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let mut resolved = Vec::with_capacity(decoded.len());
    for segment in segments {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    Some(Cow::Owned(resolved))
}

/// Whether resolving would change nothing but a final slash; the usual case, told without an allocation.
fn is_plain(path: &[u8]) -> bool {
    let mut before = b'x';
    path.starts_with(b"/")
        && path.iter().all(|byte| {
            let is_fine = match byte {
                b'%' | b'\\' | b';' | 0..=b' ' | 0x7f => false,
                b'/' | b'.' => before != b'/',
                _ => true,
            };
            before = *byte;
            is_fine
        })
        || path.is_empty()
}

/// Decodes each `%41` once, which makes the path shorter if there is any.
fn decode(bytes: &mut Vec<u8>) {
    let digit = |at: usize, bytes: &[u8]| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut read, mut written) = (0, 0);
    while read < bytes.len() {
        let mut byte = bytes[read];
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(read + 1, bytes), digit(read + 2, bytes))
        {
            byte = u8::try_from(high * 16 + low).unwrap_or(byte);
            read += 2;
        }
        bytes[written] = byte;
        read += 1;
        written += 1;
    }
    bytes.truncate(written);
}

impl Serialize for PathSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PathSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Vec::<String>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(path: &str) -> PathClass {
        let exempt = PathSet::of(["/health", "/docs", "/static"]).unwrap();
        let sensitive = PathSet::of(["/admin", "/internal/"]).unwrap();
        PathSet::classify(&exempt, &sensitive, path)
    }

    #[test]
    fn sensitive_in_every_spelling() {
        for path in [
            "/admin",
            "/admin/",
            "/admin/users",
            "/ADMIN",
            "//admin",
            "///admin//x",
            "/./admin",
            "/x/../admin",
            "/../admin",
            "/%61dmin",
            "/%61%64min/x",
            "/%2561dmin",
            "/%252561dmin",
            "/%41DMIN",
            "/x/%2e%2e/admin",
            "/x%2f..%2fadmin",
            "/x/..\\admin",
            "\\admin",
            "/admin;jsessionid=1",
            "/admin;a/x",
            "/admin%3bx",
            "/admin%00",
            "/admin%20",
            "/ad%0amin",
            "/%%0161dmin",
            "admin",
            "/health/../admin",
            "/health/..%2fadmin",
            "/internal",
            "/internal/x",
            "/%25252525252561nything",
        ] {
            assert_eq!(class(path), PathClass::Sensitive, "{path}");
        }
    }

    #[test]
    fn ordinary_at_the_segment_boundary() {
        for path in [
            "/",
            "",
            "/administrator",
            "/admi",
            "/api/admin",
            "/healthy",
            "/internals",
            "/admin/..",
            "/admin%zz",
        ] {
            assert_eq!(class(path), PathClass::Ordinary, "{path}");
        }
    }

    #[test]
    fn exempt_only_as_it_stands() {
        for path in ["/health", "/health/", "/health/live", "/static/a.b/c-d.js", "/docs/.well/x"] {
            assert_eq!(class(path), PathClass::Exempt, "{path}");
        }
        for path in [
            "/Health",
            "//health",
            "/health;x",
            "/he%61lth",
            "/health/./x",
            "/x/../health",
            "/health/%2e%2e/x",
        ] {
            assert_eq!(class(path), PathClass::Ordinary, "{path}");
        }
    }

    #[test]
    fn the_root_is_everything() {
        let all = PathSet::of(["/"]).unwrap();
        let none = PathSet::default();
        assert_eq!(PathSet::classify(&none, &all, "/x"), PathClass::Sensitive);
        assert_eq!(PathSet::classify(&all, &none, "/x/y"), PathClass::Exempt);
        assert_eq!(PathSet::classify(&none, &none, "/%25252525252561"), PathClass::Ordinary);
    }

    #[test]
    fn refuses_paths_that_are_not_written_plainly() {
        for bad in ["", "admin", "/a//b", "/a/../b", "/%61", "/a;b", "/a b/ "] {
            assert_eq!(PathSet::of([bad]), Err(WebError::NotAPath(bad.to_owned())), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn resolving_twice_changes_nothing(path in "[/.%;\\\\a-c0-9 ]{0,40}") {
            if let Some(once) = canonical(&path)
                && let Ok(text) = std::str::from_utf8(&once)
            {
                let twice = canonical(text);
                prop_assert_eq!(twice.as_deref(), Some(&*once));
            }
        }

        /// Any letters percent-encoded, any number of times up to the bound, and the path is still found.
        #[test]
        fn encoding_hides_nothing(which in prop::collection::vec(any::<bool>(), 5), times in 1usize..4) {
            let mut path = String::from("/");
            for (letter, encode) in "admin".bytes().zip(which) {
                if encode {
                    path.push('%');
                    path.push_str(&"25".repeat(times - 1));
                    path.push_str(&format!("{letter:02x}"));
                } else {
                    path.push(char::from(letter));
                }
            }
            prop_assert_eq!(class(&path), PathClass::Sensitive);
        }

        #[test]
        fn never_panics(path in ".{0,60}") {
            let _ = class(&path);
        }
    }
}
