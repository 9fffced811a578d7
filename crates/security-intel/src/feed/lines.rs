//! Lines of any input, none of them held when it is too long.

use std::io::{self, BufRead};

/// One line without its end.
pub(crate) enum Line {
    /// The text; what is not UTF-8 became `U+FFFD`.
    Text(String),
    /// Longer than allowed; its beginning.
    TooLong(String),
}

/// Lines with their numbers, from 1.
pub(crate) struct Lines<R> {
    input: R,
    number: usize,
    most: usize,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `most` bytes.
    pub(crate) fn new(input: R, most: usize) -> Self {
        Self { input, number: 0, most }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let mut too_long = false;
        let mut is_end = true;
        loop {
            let (used, done) = {
                let available = match self.input.fill_buf() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => other?,
                };
                if available.is_empty() {
                    break;
                }
                is_end = false;
                let (part, done) = match available.iter().position(|byte| *byte == b'\n') {
                    Some(at) => (&available[..=at], true),
                    None => (available, false),
                };
                let room = (self.most + 2).saturating_sub(bytes.len());
                bytes.extend_from_slice(&part[..part.len().min(room)]);
                too_long |= part.len() > room;
                (part.len(), done)
            };
            self.input.consume(used);
            if done {
                break;
            }
        }
        if is_end {
            return Ok(None);
        }
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        self.number += 1;
        let start = if self.number == 1 && bytes.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
        let text = String::from_utf8_lossy(&bytes[start..]);
        Ok(Some(match too_long || bytes.len() > self.most {
            true => Line::TooLong(text.chars().take(80).collect()),
            false => Line::Text(text.into_owned()),
        }))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<(usize, Line)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().map(|line| line.map(|line| (self.number, line))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_passed_over() {
        let text = format!("\u{feff}a\r\n{}\nb\n\nc", "x".repeat(100));
        let lines: Vec<_> = Lines::new(io::BufReader::with_capacity(7, text.as_bytes()), 10)
            .map(|line| match line.unwrap() {
                (number, Line::Text(text)) => (number, text),
                (number, Line::TooLong(text)) => (number, format!("long {}", text.len())),
            })
            .collect();
        let expected = [(1, "a"), (2, "long 12"), (3, "b"), (4, ""), (5, "c")];
        assert_eq!(lines, expected.map(|(number, text)| (number, text.to_owned())));
    }
}
