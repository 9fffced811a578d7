//! Finding indicators in text.
//!
//! Masks say where in a text an indicator may stand (`sieve`); there the text is read atom by atom (a run of letters,
//! digits, `-`, `_`). The sign after an atom (a dot in any disguise, `@`, `:`, `://`, `\`) says what it may be the start
//! of, and the kind's own parser says whether it is. What was read as one candidate is not read again, and nobody goes
//! back behind what was read, so the work grows with the text and nothing else.
//!
//! Findings never overlap. The longest and most meaningful wins: a URL over its host, an e-mail address over its
//! domain, an address with a port over the address. When a kind is not asked for, the next one inside is looked for.

mod address;
mod bare;
mod code;
mod cut;
mod ends;
mod host;
mod place;
mod scan;
mod sieve;
mod web;
mod word;
mod work;
mod wrap;

use std::ops::Range;

use security_core::Limits;

pub use cut::{LOOK_BACK, safe_cut};

use crate::{Indicator, IocType};

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TypeSet(u64);

impl TypeSet {
    /// Whether a kind is in it.
    pub fn contains(self, kind: IocType) -> bool {
        self.0 & (1 << kind as u64) != 0
    }
}

impl FromIterator<IocType> for TypeSet {
    fn from_iter<I: IntoIterator<Item = IocType>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u64))
    }
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtractOptions {
    /// Only these kinds; `None` is every kind but `FileName` and `FilePath`.
    pub types: Option<TypeSet>,
    /// Look for file names and absolute paths as well.
    pub file_names: bool,
    /// Report an indicator at its first place only.
    pub dedupe: bool,
    /// Stop after so many findings.
    pub max_hits: usize,
}

impl Default for ExtractOptions {
    /// Every kind but file names and paths, every place, a million findings.
    fn default() -> Self {
        Self { types: None, file_names: false, dedupe: false, max_hits: Limits::DEFAULT.max_hits }
    }
}

impl ExtractOptions {
    /// Whether a kind is looked for.
    pub fn wants(&self, kind: IocType) -> bool {
        match (self.types, kind) {
            (Some(types), IocType::FileName | IocType::FilePath) => self.file_names || types.contains(kind),
            (Some(types), _) => types.contains(kind),
            (None, IocType::FileName | IocType::FilePath) => self.file_names,
            (None, _) => true,
        }
    }
}

/// An indicator found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The indicator in canonical form.
    pub indicator: Indicator,
    /// The byte its first character starts at.
    pub start: usize,
    /// The byte after its last character.
    pub end: usize,
    /// Whether it was disarmed in the text (`hxxp`, `[.]`, …).
    pub defanged: bool,
}

impl Found {
    /// The finding with up to so many characters of its surroundings on each side; `text` is the text searched.
    pub fn context<'t>(&self, text: &'t str, chars: usize) -> &'t str {
        let before =
            text[..self.start].char_indices().rev().take(chars).last().map_or(self.start, |(at, _)| at);
        let after = text[self.end..].char_indices().nth(chars).map_or(text.len(), |(at, _)| self.end + at);
        &text[before..after]
    }
}

/// The indicators in a text, in the order they stand in it, none overlapping another.
///
/// Offsets are bytes of the text and stand at character boundaries. Linear in the length of the text, whatever it
/// holds; a single URL is read up to 8 KiB.
pub fn extract(text: &str, options: &ExtractOptions) -> Vec<Found> {
    let mut found = Vec::new();
    extract_each(text, options, &mut |one| found.push(one));
    found
}

/// Hands over what [`extract`] finds one by one, as it is found.
pub fn extract_each(text: &str, options: &ExtractOptions, each: &mut dyn FnMut(Found)) {
    scan::Scanner::new(text, 0, options, each).run();
}

/// Hands over what [`extract`] finds in a part of a text, with offsets in the whole of it.
///
/// `within` starts and ends where [`safe_cut`] allows it, else what stands across its ends is read as its halves.
pub fn extract_within(
    text: &str,
    within: Range<usize>,
    options: &ExtractOptions,
    each: &mut dyn FnMut(Found),
) {
    scan::Scanner::new(&text[..within.end], within.start, options, each).run();
}

/// What [`extract`] finds, by reading every atom of the text: the oracle of tests and benches, several times slower.
#[doc(hidden)]
pub fn extract_through(text: &str, options: &ExtractOptions) -> Vec<Found> {
    let mut found = Vec::new();
    scan::Scanner::new(text, 0, options, &mut |one| found.push(one)).run_through();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_cut_at_characters() {
        let text = "«ü» evil.example.com «ß»";
        let found = &extract(text, &ExtractOptions::default())[0];
        assert_eq!(found.context(text, 0), "evil.example.com");
        assert_eq!(found.context(text, 3), "ü» evil.example.com «ß");
        assert_eq!(found.context(text, 99), text);
    }

    #[test]
    fn options_narrow_what_is_found() {
        let text = "http://a@evil.example.com/x b@evil.example.com 192.0.2.1:80 evil.example.com setup.py C:\\a\\b.exe";
        let kinds = |options: &ExtractOptions| -> Vec<String> {
            extract(text, options).iter().map(|found| found.indicator.to_string()).collect()
        };
        let only =
            |kind| ExtractOptions { types: Some([kind].into_iter().collect()), ..ExtractOptions::default() };
        assert_eq!(kinds(&only(IocType::Domain)), ["domain:evil.example.com"; 3]);
        assert_eq!(kinds(&only(IocType::Ip)), ["ip:192.0.2.1"]);
        assert_eq!(kinds(&only(IocType::FileName)), ["file_name:setup.py"]);
        let dedupe = ExtractOptions { dedupe: true, ..only(IocType::Domain) };
        assert_eq!(kinds(&dedupe), ["domain:evil.example.com"]);
        assert_eq!(kinds(&ExtractOptions { max_hits: 2, ..ExtractOptions::default() }).len(), 2);
        let files = ExtractOptions { file_names: true, ..ExtractOptions::default() };
        assert_eq!(kinds(&files)[4..], ["file_name:setup.py", r"file_path:c:\a\b.exe"]);
    }
}
