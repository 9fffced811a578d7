//! Rows of columns: lines split at a delimiter, in quotes where a field has line breaks.
//!
//! A quote that somebody forgot to close would swallow what follows. So a row ends, rejected, when its quote is still
//! open after [`MAX_BREAKS`] line breaks or [`MAX_SPAN`] bytes or at the end of the input, or when something other
//! than a delimiter follows the quote that closes a field of several lines (which is then the opening quote of a
//! later row). Reading goes on at the line after the one on which the row began, so that nothing is lost but that
//! line, and that one is told.

use std::{
    collections::VecDeque,
    io::{self, BufRead},
    mem,
};

use super::{
    Rejected,
    lines::{Line, Lines},
};
use crate::{IntelError, error::shorten};

const DELIMITERS: &[u8] = b",;\t|";
/// The longest line, in bytes.
const MAX_LINE: usize = 1 << 20;
/// The most line breaks in one row.
const MAX_BREAKS: usize = 16;
/// The most bytes of a row that has line breaks.
const MAX_SPAN: usize = 64 << 10;

/// Whether a line has more than one column.
pub(crate) fn has_columns(line: &str) -> bool {
    line.bytes().any(|byte| DELIMITERS.contains(&byte))
}

/// A row with its fields, trimmed.
pub(crate) struct Row {
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    pub(crate) fields: Vec<String>,
}

/// What comes next.
pub(crate) enum Found {
    Row(Row),
    Rejected(Rejected),
    Broken(IntelError),
}

type Numbered = io::Result<(usize, Line)>;

/// The rows of an input. The first of them decides by which sign its columns are parted.
pub(crate) struct Rows<R> {
    lines: Lines<R>,
    /// Lines that were read ahead in vain, and the parts of a line with old carriage returns.
    pending: VecDeque<Numbered>,
    number: usize,
    delimiter: Option<char>,
    comment: Option<String>,
}

impl<R: BufRead> Rows<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            lines: Lines::new(input, MAX_LINE),
            pending: VecDeque::new(),
            number: 0,
            delimiter: None,
            comment: None,
        }
    }

    /// The last comment so far that has columns.
    pub(crate) fn comment(&self) -> Option<Row> {
        let text = self.comment.as_deref()?;
        let mut split = Split::new(self.delimiter?);
        split.take(text);
        Some(Row { line: 0, fields: split.fields })
    }

    /// The next line; a lone carriage return ends one as well.
    fn line(&mut self) -> Option<Numbered> {
        if let Some(line) = self.pending.pop_front() {
            return Some(line);
        }
        let line = match self.lines.next()? {
            Ok((_, line)) => line,
            Err(error) => return Some(Err(error)),
        };
        match line {
            Line::Text(text) if text.contains('\r') => {
                for part in text.split('\r') {
                    self.number += 1;
                    self.pending.push_back(Ok((self.number, Line::Text(part.to_owned()))));
                }
                self.pending.pop_front()
            }
            line => {
                self.number += 1;
                Some(Ok((self.number, line)))
            }
        }
    }

    /// Whether the row that `text` begins is whole; reads on as long as a quote is open. What was read in vain is
    /// pending again.
    fn complete(&mut self, split: &mut Split, text: &str) -> bool {
        split.take(text);
        let mut n_bytes = text.len();
        let mut ahead: Vec<Numbered> = Vec::new();
        while split.is_open() && !split.is_spoilt {
            let next = if ahead.len() < MAX_BREAKS { self.line() } else { None };
            let Some(next) = next else { break };
            let goes_on = match &next {
                Ok((_, Line::Text(text))) if n_bytes + text.len() < MAX_SPAN => {
                    split.take(text);
                    n_bytes += text.len() + 1;
                    true
                }
                _ => false,
            };
            ahead.push(next);
            if !goes_on {
                break;
            }
        }
        let is_whole = !split.is_open() && !split.is_spoilt;
        if !is_whole {
            ahead.into_iter().rev().for_each(|line| self.pending.push_front(line));
        }
        is_whole
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let (line, text) = match self.line()? {
                Ok((line, Line::Text(text))) => (line, text),
                Ok((line, Line::TooLong(text))) => {
                    let reason = format!("it is longer than {MAX_LINE} bytes");
                    return Some(Found::Rejected(Rejected { line, text, reason }));
                }
                Err(source) => {
                    return Some(Found::Broken(IntelError::Stream { doing: "reading the feed", source }));
                }
            };
            if let Some(comment) = text.strip_prefix('#') {
                if has_columns(comment) {
                    self.comment = Some(comment.trim_start_matches('#').trim().to_owned());
                }
                continue;
            }
            if text.trim().is_empty() {
                continue;
            }
            let delimiter = *self.delimiter.get_or_insert_with(|| delimiter(&text));
            let mut split = Split::new(delimiter);
            if !self.complete(&mut split, &text) {
                let reason = "a quote is opened on this line and not closed".to_owned();
                return Some(Found::Rejected(Rejected { line, text: shorten(text.trim(), 80), reason }));
            }
            let is_empty = split.fields.iter().all(String::is_empty);
            let is_comment = split.fields.first().is_some_and(|first| first.starts_with(';'));
            if !is_empty && !is_comment {
                return Some(Found::Row(Row { line, fields: split.fields }));
            }
        }
    }
}

/// The delimiter that a line uses most, what stands in quotes left out.
fn delimiter(line: &str) -> char {
    let mut in_quotes = false;
    let mut counts = [0_usize; DELIMITERS.len()];
    for byte in line.bytes() {
        if byte == b'"' {
            in_quotes = !in_quotes;
        } else if !in_quotes && let Some(at) = DELIMITERS.iter().position(|known| *known == byte) {
            counts[at] += 1;
        }
    }
    // The first of equals is the likelier one.
    let most = (0..DELIMITERS.len()).rev().max_by_key(|at| counts[*at]).unwrap_or_default();
    char::from(DELIMITERS[most])
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Before a field.
    Start,
    /// In a field without quotes, or in what follows its quotes.
    Bare,
    /// In quotes.
    Quoted,
    /// After a quote in quotes: the end, or the first half of a doubled one.
    Closed,
}

/// A row on its way, line by line.
struct Split {
    delimiter: char,
    fields: Vec<String>,
    field: String,
    state: State,
    /// Whether the field has a line break.
    spans: bool,
    /// Whether something follows the quotes of a field with a line break.
    is_spoilt: bool,
}

impl Split {
    fn new(delimiter: char) -> Self {
        Self {
            delimiter,
            fields: Vec::new(),
            field: String::new(),
            state: State::Start,
            spans: false,
            is_spoilt: false,
        }
    }

    /// Whether the row goes on in the next line.
    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    fn take(&mut self, line: &str) {
        if self.is_open() {
            self.field.push('\n');
            self.spans = true;
        }
        for letter in line.chars() {
            match (self.state, letter) {
                (State::Quoted, '"') => self.state = State::Closed,
                (State::Quoted, _) => self.field.push(letter),
                (State::Closed, '"') => {
                    self.field.push('"');
                    self.state = State::Quoted;
                }
                (_, letter) if letter == self.delimiter => self.end_field(),
                (State::Start, ' ') => {}
                (State::Start, '"') => self.state = State::Quoted,
                (State::Start | State::Bare | State::Closed, _) => {
                    self.is_spoilt |= self.spans && !letter.is_whitespace();
                    self.field.push(letter);
                    self.state = State::Bare;
                }
            }
        }
        if !self.is_open() {
            self.end_field();
        }
    }

    fn end_field(&mut self) {
        self.fields.push(mem::take(&mut self.field).trim().to_owned());
        self.state = State::Start;
        self.spans = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as `line:field|field`, rejections as `line!`.
    fn rows(text: &str) -> Vec<String> {
        Rows::new(io::BufReader::with_capacity(5, text.as_bytes()))
            .map(|found| match found {
                Found::Row(row) => format!("{}:{}", row.line, row.fields.join("|")),
                Found::Rejected(rejected) => format!("{}!", rejected.line),
                Found::Broken(error) => panic!("{error}"),
            })
            .collect()
    }

    #[test]
    fn fields_are_parted_quoted_and_trimmed() {
        for (text, expected) in [
            ("a,b\n\n c , d \n", vec!["1:a|b", "3:c|d"]),
            ("\"a,b\",c\n", vec!["1:a,b|c"]),
            ("\"a \"\"b\"\"\",c\n", vec!["1:a \"b\"|c"]),
            ("a, \"b\" ,c\n", vec!["1:a|b|c"]),
            ("\"a\"b,c\n", vec!["1:ab|c"]),
            ("a,5\" disk\nb,c\n", vec!["1:a|5\" disk", "2:b|c"]),
            ("a,\"b\nc\",d\ne,f,g\n", vec!["1:a|b\nc|d", "3:e|f|g"]),
            ("a,b\r\nc,d\r\n", vec!["1:a|b", "2:c|d"]),
            ("a,b\rc,d\r", vec!["1:a|b", "2:c|d"]),
            ("a\tb,c\td\n", vec!["1:a|b,c|d"]),
            ("\"a;b;c;d\",e\n", vec!["1:a;b;c;d|e"]),
            ("#c,d\na,b\n;x,y\n", vec!["2:a|b"]),
            (",\n\"\",\n", vec![]),
        ] {
            assert_eq!(rows(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_its_line_alone() {
        let following: String = (0..40).map(|n| format!("r{n},s\n")).collect();
        let expected = |first: usize| (0..40).map(move |n| format!("{}:r{n}|s", first + n));
        assert_eq!(
            rows(&format!("a,\"b\n{following}")),
            ["1!".into()].into_iter().chain(expected(2)).collect::<Vec<_>>()
        );
        // At the end of the input.
        assert_eq!(rows("a,b\nc,\"d\ne,f"), ["1:a|b", "2!", "3:e|f"]);
        // The next row's opening quote is no end.
        assert_eq!(rows("a,\"b\nc,\"d\"\n\"e\",f\n"), ["1!", "2:c|d", "3:e|f"]);
        // One after the other.
        assert_eq!(rows("a,\"b\nc,\"d\ne,f\n"), ["1!", "2!", "3:e|f"]);
        // Sixteen line breaks are a field, seventeen are not.
        let field = |breaks: usize| format!("a,\"{}\"\nz,z\n", "x\n".repeat(breaks));
        assert_eq!(rows(&field(16)).len(), 2);
        assert_eq!(rows(&field(17)).len(), 17 + 2);
        let long = format!("a,\"{}\n{}\"\nz,z\n", "x".repeat(40_000), "y".repeat(40_000));
        assert_eq!(rows(&long)[0], "1!");
        assert_eq!(rows(&long)[2], "3:z|z");
    }
}
