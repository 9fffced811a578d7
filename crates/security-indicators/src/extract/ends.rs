//! Where a URL ends that is followed by what could belong to it: the next cell of a table, the text of a link, a
//! placeholder.
//!
//! Every question looks at a bounded number of bytes.

use super::{scan::Scanner, wrap::PAGES};

/// Bytes of the text of a link that are looked at.
const LABEL: usize = 80;

/// Elements of HTML that stand right behind a URL.
const ELEMENTS: &[&str] = &[
    "a", "abbr", "b", "big", "body", "br", "button", "center", "cite", "code", "dd", "div", "dl", "dt", "em",
    "font", "form", "h1", "h2", "h3", "h4", "head", "hr", "html", "i", "img", "input", "ins", "kbd", "label",
    "li", "link", "mark", "meta", "nobr", "ol", "option", "p", "pre", "q", "s", "samp", "script", "select",
    "small", "span", "strike", "strong", "style", "sub", "sup", "table", "tbody", "td", "textarea", "tfoot",
    "th", "thead", "title", "tr", "tt", "u", "ul", "var", "wbr",
];

impl Scanner<'_> {
    /// Whether the comma or semicolon at a place ends the cell of a table that a URL from `start` on is.
    ///
    /// A cell that starts after one ends before the next. In the first cell of a line, and behind a comma and a blank, a
    /// comma is ambiguous, because URLs have commas too: there what follows must look like a cell, or what precedes
    /// like the end of a URL.
    pub(super) fn ends_cell(&self, start: usize, at: usize) -> bool {
        let sign = self.bytes[at];
        let before = start.checked_sub(1).map(|at| self.bytes[at]);
        if before == Some(sign) {
            return true;
        }
        let spaced = before == Some(b' ') && start.checked_sub(2).is_some_and(|at| self.bytes[at] == b',');
        if sign != b',' || !(spaced || matches!(before, None | Some(b'\n'))) {
            return false;
        }
        let rest = &self.bytes[at + 1..self.bytes.len().min(at + 7)];
        let name = matches!(rest, [first, second, ..] if first.is_ascii_uppercase() && (second.is_ascii_lowercase() || *second == b' '));
        let date =
            matches!(rest, [year @ .., b'-', _] if year.len() == 4 && year.iter().all(u8::is_ascii_digit));
        let word =
            self.bytes[start..at].iter().rev().take(5).take_while(|b| b.is_ascii_alphanumeric()).count();
        let page = &self.bytes[at - word..at];
        name || date
            || (self.bytes[at - word - 1] == b'.'
                && PAGES.iter().any(|name| page.eq_ignore_ascii_case(name.as_bytes())))
    }

    /// Whether the bracket at a place opens the text of a link, as AsciiDoc writes it: `http://evil.example/[Some name]`.
    /// A placeholder in the place of a folder is none: `http://evil.example/[username]`.
    pub(super) fn opens_label(&self, at: usize, clean: &str) -> bool {
        if clean.contains('?') {
            return false;
        }
        let rest = &self.bytes[at + 1..self.bytes.len().min(at + 1 + LABEL)];
        let Some(first) =
            rest.first().filter(|b| b.is_ascii_alphabetic() || matches!(b, b'"' | b'_' | b'\n'))
        else {
            return false;
        };
        let word = rest.iter().take_while(|b| !b.is_ascii_whitespace() && !b"\"]".contains(b)).count();
        match rest.get(word) {
            None => false,
            Some(b']') => {
                let goes_on =
                    rest.get(word + 1).is_some_and(|b| b.is_ascii_alphanumeric() || b"/-_[".contains(b));
                !goes_on && (first.is_ascii_uppercase() || self.bytes[at - 1] != b'/')
            }
            Some(_) => true,
        }
    }

    /// The length of a placeholder in angle brackets at a place: `?user=<user_id>`. Behind a URL stand elements of HTML
    /// too.
    pub(super) fn placeholder(&self, at: usize) -> Option<usize> {
        let rest = &self.bytes[at + 1..self.bytes.len().min(at + 34)];
        let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
        let name = &rest[..len];
        let stands = rest.get(len) == Some(&b'>')
            && name.first().is_some_and(u8::is_ascii_alphabetic)
            && b"/=_-".contains(&self.bytes[at - 1])
            && !ELEMENTS.iter().any(|element| name.eq_ignore_ascii_case(element.as_bytes()));
        stands.then_some(len + 2)
    }
}
