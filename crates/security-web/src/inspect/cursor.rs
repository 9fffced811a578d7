//! Reading along a normalised value, a few bytes at a time.

/// How far a check looks beyond what was hit. Bounded, so that all checks together stay linear.
pub(super) const WINDOW: usize = 96;

/// A place in a normalised value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at: at.min(text.len()) }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn is_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// The next bytes, at most a window of them.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text[self.at..self.text.len().min(self.at + WINDOW)]
    }

    pub(super) fn eat(&mut self, word: &[u8]) -> bool {
        let is_there = self.text[self.at..].starts_with(word);
        if is_there {
            self.at += word.len();
        }
        is_there
    }

    pub(super) fn skip(&mut self, accepted: impl Fn(u8) -> bool) -> usize {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !accepted(*byte)).unwrap_or(rest.len());
        self.at += length;
        length
    }

    /// As `skip`, over a few bytes at most: nobody who is honest needs more of them.
    pub(super) fn skip_few(&mut self, accepted: impl Fn(u8) -> bool) -> usize {
        const FEW: usize = 12;
        let length = self.rest().iter().take(FEW).take_while(|byte| accepted(**byte)).count();
        self.at += length;
        length
    }

    pub(super) fn space(&mut self) -> usize {
        self.skip(|byte| byte == b' ')
    }

    /// The next name; empty if there is none here.
    pub(super) fn word(&mut self) -> &'a [u8] {
        let start = self.at;
        self.skip(is_word);
        &self.text[start..self.at]
    }
}

/// Whether a byte may be in a name.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The last byte before a place that is no space.
pub(super) fn before(text: &[u8], at: usize) -> Option<u8> {
    text[at.saturating_sub(8)..at].iter().rev().find(|byte| **byte != b' ').copied()
}

pub(super) fn has(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}
