//! The pass over the text: atoms, the signs that join them, and what is tried at each.

use std::collections::HashSet;

use fearless_simd::Level;

use super::{
    sieve::{self, BLOCK, BLOCKS, Wanted},
    work,
};
use crate::{
    ExtractOptions, Found, Indicator, IocType,
    defang::{Mark, invisible_at, mark_at, may_start_mark},
};

/// A letter, digit, `-` or `_`.
const ATOM: u8 = 1;
/// May start a candidate.
const START: u8 = 2;

/// What each byte may be.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = match b {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => ATOM | START,
            b'-' | b'_' => ATOM,
            b':' | b'/' | 0x80..=0xff => START,
            _ => 0,
        };
        byte += 1;
    }
    table
};

pub(super) struct Scanner<'t> {
    pub(super) text: &'t str,
    pub(super) bytes: &'t [u8],
    pub(super) options: &'t ExtractOptions,
    each: &'t mut dyn FnMut(Found),
    /// How many were found.
    found: usize,
    seen: HashSet<Indicator>,
    /// The end of the last finding: nothing starts before it.
    pub(super) done: usize,
    /// The end of the last run of colons and hex digits that was tried.
    pub(super) colons_until: usize,
    /// The end of the last URL that could not be read: none is tried before it.
    pub(super) urls_from: usize,
    /// The end of the last four numbers that were a version.
    pub(super) version_end: usize,
    /// The last name beyond ASCII that was looked up, and its canonical form if it is a public one.
    pub(super) known: (String, Option<String>),
    /// The atoms of the host being read.
    pub(super) atoms: Vec<(usize, usize)>,
    /// The host being read, without disguises.
    pub(super) clean: String,
    /// What `clean` and `atoms` are for another host meanwhile.
    pub(super) spare: (String, Vec<(usize, usize)>),
}

impl<'t> Scanner<'t> {
    /// `each` is handed every finding in the order of the text, from a place on; what stands before it is read for the
    /// words there alone.
    pub(super) fn new(
        text: &'t str,
        start: usize,
        options: &'t ExtractOptions,
        each: &'t mut dyn FnMut(Found),
    ) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            options,
            each,
            found: 0,
            seen: HashSet::new(),
            done: start,
            colons_until: 0,
            urls_from: 0,
            version_end: 0,
            known: (String::new(), None),
            atoms: Vec::new(),
            clean: String::new(),
            spare: Default::default(),
        }
    }

    /// Reads every atom: slow, plain, and what [`Self::run`] is held against.
    pub(super) fn run_through(mut self) {
        let mut at = self.done;
        while self.found < self.options.max_hits {
            match self.next_start(at) {
                Some(start) => at = self.step(start),
                None => break,
            }
        }
    }

    /// Reads the atoms around candidates alone.
    ///
    /// From a candidate the pass goes back to the start of the run of atoms and signs it stands in, but not behind
    /// what was read already, reads on until it is past the candidate and between two words, and asks the masks
    /// again. So each byte is gone over at most twice.
    pub(super) fn run(mut self) {
        let level = Level::new();
        let wanted = Wanted {
            names: self.options.wants(IocType::FileName),
            paths: self.options.wants(IocType::FilePath),
        };
        let mut masks = [0; BLOCKS];
        let (mut at, mut from) = (self.done, self.done / BLOCK * BLOCK);
        while from < self.bytes.len() {
            sieve::candidates(level, self.bytes, from, wanted, &mut masks);
            for (index, mask) in masks.iter().enumerate() {
                let base = from + index * BLOCK;
                let mut mask = *mask;
                while mask != 0 {
                    let candidate = base + mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    if candidate < at || !sieve::is_meant(self.bytes, candidate) {
                        continue;
                    }
                    at = self.back_from(candidate, at);
                    while at <= candidate + 1 || self.inside_word(at) {
                        if self.found >= self.options.max_hits {
                            return;
                        }
                        // Where nothing starts any more nothing is found; what was passed is not looked at again.
                        let Some(start) = self.next_start(at) else { return };
                        if start > candidate + 1 && !self.inside_word(at) {
                            at = start;
                            break;
                        }
                        at = self.step(start);
                    }
                }
            }
            // A finding may end blocks later.
            from = (from + BLOCK * BLOCKS).max(at / BLOCK * BLOCK);
        }
    }

    /// The next place something may start at.
    fn next_start(&self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        let skip = rest.iter().position(|b| CLASS[*b as usize] & START != 0);
        work::add(skip.unwrap_or(rest.len()));
        skip.map(|skip| at + skip)
    }

    fn inside_word(&self, at: usize) -> bool {
        self.bytes.get(at).is_some_and(|b| CLASS[*b as usize] & ATOM != 0 || *b >= 0x80)
    }

    /// The start of the run a candidate stands in: atoms, dots, colons and percent signs, with the blanks or the
    /// quotation mark a disarmed sign may have before it.
    fn back_from(&self, candidate: usize, floor: usize) -> usize {
        let mut at = candidate;
        let before = &self.bytes[floor..candidate];
        match self.bytes[candidate] {
            b'[' | b'(' | b'{' | b'\\' => {
                at -= before.iter().rev().take(2).take_while(|b| **b == b' ').count();
            }
            b'.' => at -= before.iter().rev().take(1).filter(|b| b"\"'`|*^".contains(b)).count(),
            b':' => at -= before.iter().rev().take(1).filter(|b| **b == b' ').count(),
            _ => {}
        }
        let run = |b: &&u8| CLASS[**b as usize] & ATOM != 0 || **b >= 0x80 || matches!(b, b'.' | b':' | b'%');
        let back = self.bytes[floor..at].iter().rev().take_while(run).count();
        work::add(back);
        at - back
    }

    /// Tries everything that may start at a place; the place to go on from.
    fn step(&mut self, at: usize) -> usize {
        work::add(1);
        match self.bytes[at] {
            b':' if at < self.colons_until => {
                at + self.bytes[at..].iter().take_while(|b| **b == b':').count()
            }
            b':' if matches!(self.bytes.get(at + 1), Some(b':' | b'[')) => self.colons(at).unwrap_or(at + 1),
            b':' => at + 1,
            b'/' => self.posix_path(at).unwrap_or(at + 1),
            byte if byte < 0x80 => self.atom(at),
            _ => match label_char(self.text, at) {
                Some(_) => self.atom(at),
                None => at + char_len(self.bytes[at]),
            },
        }
    }

    /// Tries everything that may start with the atom at a place; the place to go on from.
    pub(super) fn atom(&mut self, start: usize) -> usize {
        let start = self.skip_escape(start);
        let end = self.atom_end(start);
        if end == start {
            return end.max(start + 1).min(self.bytes.len());
        }
        if !self.joins(end) {
            self.word(start, end);
            return end.max(self.done);
        }
        if self.bytes[end] == b'.' {
            // Neither a scheme nor a colon nor a backslash comes next.
            return self.ipv4(start).unwrap_or_else(|| self.host(start, end));
        }
        if self.bytes[end] == b':' && self.bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric) {
            // No `://`, no `:\\` and no dot comes next.
            let tried = self.colons(start).or_else(|| self.ssdeep(start, end));
            return tried.unwrap_or_else(|| {
                self.word(start, end);
                end.max(self.done)
            });
        }
        let tried = self.colons(start).or_else(|| self.ipv4(start)).or_else(|| self.ssdeep(start, end));
        let tried = tried.or_else(|| self.url(start, end)).or_else(|| self.place(start, end));
        tried.unwrap_or_else(|| self.host(start, end))
    }

    /// The end of the atom at a place. An atom is of one script: Chinese, Japanese, Korean and Thai text is written
    /// without blanks around a Latin name.
    pub(super) fn atom_end(&self, start: usize) -> usize {
        let mut at = start;
        let mut script = None;
        loop {
            let run = self.bytes[at..].iter().position(|b| CLASS[*b as usize] & ATOM == 0);
            let ascii_end = run.map_or(self.bytes.len(), |run| at + run);
            work::add(ascii_end - at + 1);
            if ascii_end > at {
                if script == Some(true) && self.bytes[at].is_ascii_alphanumeric() {
                    return at;
                }
                script.get_or_insert(false);
                at = ascii_end;
            }
            if self.bytes.get(at).is_none_or(|b| *b < 0x80) {
                return at;
            }
            if let Some(len) = invisible_at(self.bytes, at) {
                // Inside a word only; at its end it is no part of it.
                match self.bytes.get(at + len) {
                    Some(b) if CLASS[*b as usize] & ATOM != 0 => at += len,
                    _ => return at,
                }
                continue;
            }
            match label_char(self.text, at) {
                Some((len, wide)) if script.is_none_or(|was| was == wide) => {
                    script = Some(wide);
                    at += len;
                }
                _ => return at,
            }
        }
    }

    /// Whether the sign at the end of an atom may join it to something.
    fn joins(&self, at: usize) -> bool {
        let next = |wanted: &[u8]| self.bytes.get(at + 1).is_some_and(|b| wanted.contains(b));
        match self.bytes.get(at) {
            None => false,
            Some(b':' | b'@') => true,
            Some(b' ') => next(b"[({\\ :"),
            Some(b'"' | b'\'' | b'`' | b'|' | b'^') => next(b"."),
            Some(b']') => next(b":["),
            Some(b'*') => next(b"*."),
            Some(byte) => may_start_mark(*byte),
        }
    }

    /// The dot between two atoms at a place: its length, and whether it is disarmed.
    pub(super) fn dot_at(&self, at: usize) -> Option<(usize, bool)> {
        let found = match self.bytes.get(at)? {
            b'.' if self.starts_atom(at + 1) => (1, false),
            _ => (self.sign_at(at, ".")?, true),
        };
        let after = at + found.0;
        // `evil.example。然后`: there the ideographic stop ends a sentence.
        let stop = self.bytes[at] >= 0x80 && label_char(self.text, after).is_some_and(|(_, wide)| wide);
        let latin = at > 0 && self.bytes[at - 1] < 0x80;
        if self.starts_atom(after) && !(stop && latin) { Some(found) } else { None }
    }

    /// The `@` between two atoms at a place.
    pub(super) fn at_at(&self, at: usize) -> Option<(usize, bool)> {
        let found = match self.bytes.get(at)? {
            b'@' => (1, false),
            _ => (self.sign_at(at, "@")?, true),
        };
        self.starts_atom(at + found.0).then_some(found)
    }

    /// The length of a disarmed sign, with single blanks around it when it stands in brackets.
    pub(super) fn sign_at(&self, at: usize, means: &str) -> Option<usize> {
        if self.bytes[at] != b' ' {
            return mark_at(self.text, at).filter(|mark| mark.means == means).map(|mark| mark.len);
        }
        let blanks = self.bytes[at..].iter().take(2).take_while(|b| **b == b' ').count();
        if !matches!(self.bytes.get(at + blanks), Some(b'[' | b'(' | b'{' | b'\\')) {
            return None;
        }
        let Mark { len, .. } = mark_at(self.text, at + blanks).filter(|mark| mark.means == means)?;
        let closed = matches!(self.bytes[at + blanks + len - 1], b']' | b')' | b'}');
        let after = self.bytes[at + blanks + len..].iter().take(2).take_while(|b| **b == b' ').count();
        closed.then_some(blanks + len + after)
    }

    fn starts_atom(&self, at: usize) -> bool {
        match self.bytes.get(at) {
            Some(b) if *b < 0x80 => b.is_ascii_alphanumeric() || *b == b'_',
            Some(_) => label_char(self.text, at).is_some(),
            None => false,
        }
    }

    /// Passes an escape whose letters would be taken for the start of a word: `\n`, `\fB`, `\u003c`, `\x22`,
    /// `%2F`.
    fn skip_escape(&self, start: usize) -> usize {
        let hex = |from: usize, count: usize| {
            self.bytes.get(from..from + count).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        let before = start.checked_sub(1).map(|at| self.bytes[at]);
        let skip = match (before, self.bytes[start]) {
            (Some(b'%'), _) if hex(start, 2) => 2,
            (Some(b'\\'), b'n' | b'r' | b't') if !self.is_share(start) => 1,
            // Changes of the font in manual pages: `\fIname\fP`.
            (Some(b'\\'), b'f')
                if matches!(
                    self.bytes.get(start + 1),
                    Some(b'B' | b'I' | b'R' | b'P' | b'C' | b'0'..=b'9')
                ) && self.bytes.get(start + 2).is_some_and(u8::is_ascii_alphanumeric) =>
            {
                2
            }
            (Some(b'\\'), b'u') if hex(start + 1, 4) => 5,
            (Some(b'\\'), b'x') if hex(start + 1, 2) => 3,
            _ => 0,
        };
        start + skip
    }

    /// Whether a word stands after the two backslashes of a network share.
    fn is_share(&self, start: usize) -> bool {
        start >= 2
            && self.bytes[start - 2] == b'\\'
            && start.checked_sub(3).is_none_or(|at| !self.bytes[at].is_ascii_alphanumeric())
    }

    /// Whether a finding may end here: no letter, digit or underscore goes on.
    pub(super) fn is_end(&self, at: usize) -> bool {
        match self.bytes.get(at) {
            Some(b) if *b < 0x80 => !(b.is_ascii_alphanumeric() || *b == b'_'),
            Some(_) => label_char(self.text, at).is_none_or(|(_, wide)| wide),
            None => true,
        }
    }

    /// Notes a finding if its kind is wanted; whether it is.
    pub(super) fn push(
        &mut self,
        kind: IocType,
        value: impl Into<Box<str>>,
        start: usize,
        end: usize,
        defanged: bool,
    ) -> bool {
        if !self.options.wants(kind) {
            return false;
        }
        debug_assert!(self.done <= start && start < end, "findings are in order and not empty");
        let indicator = Indicator::of_canonical(kind, value);
        self.done = end;
        let full = self.found >= self.options.max_hits;
        if full {
            return true;
        }
        if !self.options.dedupe || self.seen.insert(indicator.clone()) {
            self.found += 1;
            (self.each)(Found { indicator, start, end, defanged });
        }
        true
    }
}

/// The length of a character that may stand in a host label, and whether its script is written without blanks.
pub(super) fn label_char(text: &str, at: usize) -> Option<(usize, bool)> {
    let c = text.get(at..)?.chars().next()?;
    // What most texts beyond ASCII are made of, without a look at the tables of Unicode.
    match c {
        '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}' | '\u{400}'..='\u{481}' => {
            return Some((2, false));
        }
        '\u{e01}'..='\u{e30}'
        | '\u{e32}'
        | '\u{e33}'
        | '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' => return Some((3, true)),
        '\u{1f300}'..='\u{1faff}' => return None,
        _ => {}
    }
    let is_mark = matches!(c, '\u{300}'..='\u{36f}' | '\u{93c}'..='\u{94d}' | '\u{e31}'..='\u{e4e}');
    let wide = matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{feff}' | '\u{20000}'..='\u{3ffff}');
    // Small raised digits number footnotes.
    let raised = matches!(c, '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}'..='\u{2079}');
    ((c.is_alphanumeric() && !raised) || is_mark).then_some((c.len_utf8(), wide))
}

fn char_len(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}
