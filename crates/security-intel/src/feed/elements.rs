//! Documents that are too large to be held: lists and STIX bundles, an element at a time.
//!
//! The text is cut between elements by its brackets and quotes; each element is then read as JSON for itself, so that
//! a wrong one is rejected and the rest goes on. A list that is cut off is noticed only at its end.

use std::io::{self, BufRead};

use serde_json::Value;

use super::{
    FeedFormat, FeedOptions, Rejected, Step,
    document::{MAX_LINE, Steps, item_steps},
    stix::Passing,
};
use crate::{IntelError, error::shorten};

/// The longest key, and the longest value of one, that is looked at on the way to the list.
const MAX_KEY: usize = 200;

/// Reads the list of a document of which `max_bytes` bytes are not the whole.
pub(crate) fn read<'r>(
    format: FeedFormat,
    input: impl BufRead + 'r,
    options: FeedOptions,
) -> Result<(FeedFormat, Steps<'r>), IntelError> {
    let most = options.limits.max_bytes;
    let too_large = move || IntelError::TooLarge { what: "the feed", size: most.saturating_add(1), most };
    let name = match format {
        FeedFormat::Stix => "STIX",
        FeedFormat::Misp => "MISP",
        _ => "JSON",
    };
    let mut text = Text { input, name, line: 1 };
    let shape = if format == FeedFormat::Misp { Shape::Other } else { text.open()? };
    match shape {
        Shape::List if format == FeedFormat::Json => {
            let mut elements = Elements { text, number: 0, is_bundle: false, is_over: false };
            let steps = std::iter::from_fn(move || {
                Some(match elements.next()? {
                    Ok((_, Value::Object(map))) if map.contains_key("Event") => {
                        elements.is_over = true;
                        vec![Step::Broken(too_large())]
                    }
                    Ok((number, item)) => item_steps(&item, number, &options),
                    Err(step) => vec![step],
                })
            });
            Ok((format, Box::new(steps.flatten())))
        }
        Shape::Bundle => {
            let mut elements = Elements { text, number: 0, is_bundle: true, is_over: false };
            let mut passing = Some(Passing::default());
            let steps = std::iter::from_fn(move || {
                Some(match elements.next() {
                    Some(Ok((number, object))) => passing.as_mut()?.take(number, object, &options),
                    Some(Err(step)) => vec![step],
                    None => passing.take()?.finish(&options),
                })
            });
            Ok((FeedFormat::Stix, Box::new(steps.flatten())))
        }
        Shape::List | Shape::Other => Err(too_large()),
    }
}

/// What a document turned out to be; the text stands at the first element.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    List,
    Bundle,
    Other,
}

/// The elements of a list, with their numbers from 1; what is none becomes a step.
struct Elements<R> {
    text: Text<R>,
    number: usize,
    is_bundle: bool,
    is_over: bool,
}

impl<R: BufRead> Elements<R> {
    fn read(&mut self) -> Result<Option<Result<Value, Step>>, IntelError> {
        match self.text.blank()? {
            Some(b']') => {
                self.text.pass()?;
                if self.is_bundle {
                    self.text.keys()?;
                }
                return match self.text.blank()? {
                    None => Ok(None),
                    Some(_) => Err(self.text.malformed("something follows the document")),
                };
            }
            Some(b',') if self.number > 0 => {
                self.text.pass()?;
                self.text.blank()?;
            }
            Some(_) if self.number == 0 => {}
            Some(_) => return Err(self.text.malformed("a comma or a closing bracket is missing")),
            None => return Err(self.text.cut_off()),
        }
        let (bytes, is_long) = self.text.value(MAX_LINE)?;
        self.number += 1;
        let reject = |reason: String| {
            let text = shorten(&String::from_utf8_lossy(&bytes[..bytes.len().min(400)]), 80);
            Ok(Some(Err(Step::Rejected(Rejected { line: self.number, text, reason }))))
        };
        if is_long {
            return reject(format!("it is longer than {MAX_LINE} bytes"));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(Ok(value))),
            Err(error) => reject(format!("it is no JSON: {error}")),
        }
    }
}

impl<R: BufRead> Iterator for Elements<R> {
    type Item = Result<(usize, Value), Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.read() {
            Ok(Some(element)) => Some(element.map(|value| (self.number, value))),
            Ok(None) => {
                self.is_over = true;
                None
            }
            Err(error) => {
                self.is_over = true;
                Some(Err(Step::Broken(error)))
            }
        }
    }
}

/// JSON text that is read forward, by its brackets and quotes.
struct Text<R> {
    input: R,
    name: &'static str,
    line: usize,
}

impl<R: BufRead> Text<R> {
    fn malformed(&self, reason: &str) -> IntelError {
        IntelError::Malformed { format: self.name, line: self.line, column: 0, reason: reason.to_owned() }
    }

    fn cut_off(&self) -> IntelError {
        self.malformed("it is cut off")
    }

    fn available(&mut self) -> Result<&[u8], IntelError> {
        loop {
            match self.input.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(IntelError::Stream { doing: "reading the feed", source }),
            }
        }
        self.input.fill_buf().map_err(|source| IntelError::Stream { doing: "reading the feed", source })
    }

    /// The next byte that is no blank; `None` at the end.
    fn blank(&mut self) -> Result<Option<u8>, IntelError> {
        loop {
            let available = self.available()?;
            let n_blank = available.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let next = available.get(n_blank).copied();
            let n_lines = available[..n_blank].iter().filter(|byte| **byte == b'\n').count();
            self.input.consume(n_blank);
            self.line += n_lines;
            if next.is_some() || n_blank == 0 {
                return Ok(next);
            }
        }
    }

    /// Passes over the next byte, which is there and no line break.
    fn pass(&mut self) -> Result<(), IntelError> {
        self.available()?;
        self.input.consume(1);
        Ok(())
    }

    /// Goes to the elements: those of a list, or of `objects` in a bundle.
    fn open(&mut self) -> Result<Shape, IntelError> {
        for byte in "\u{feff}".bytes() {
            if self.available()?.first() == Some(&byte) {
                self.input.consume(1);
            }
        }
        match self.blank()? {
            Some(b'[') => {
                self.pass()?;
                Ok(Shape::List)
            }
            Some(b'{') => {
                self.pass()?;
                self.keys()
            }
            _ => Ok(Shape::Other),
        }
    }

    /// Goes over the keys of an object, up to the elements of a bundle's `objects` or to the object's end.
    fn keys(&mut self) -> Result<Shape, IntelError> {
        let mut is_bundle = false;
        loop {
            match self.blank()? {
                Some(b'}') => {
                    self.pass()?;
                    return Ok(Shape::Other);
                }
                Some(b',') => self.pass()?,
                Some(b'"') => {
                    let (key, _) = self.value(MAX_KEY)?;
                    if self.blank()? != Some(b':') {
                        return Err(self.malformed("a colon is missing"));
                    }
                    self.pass()?;
                    if self.blank()? == Some(b'[') && key == b"\"objects\"" && is_bundle {
                        self.pass()?;
                        return Ok(Shape::Bundle);
                    }
                    let (value, _) = self.value(MAX_KEY)?;
                    is_bundle |= key == b"\"type\"" && value == b"\"bundle\"";
                }
                Some(_) => return Err(self.malformed("a key is missing")),
                None => return Err(self.cut_off()),
            }
        }
    }

    /// Reads to the end of the value that begins here. Of one that is longer than `most` bytes, gives the beginning
    /// and `true`.
    fn value(&mut self, most: usize) -> Result<(Vec<u8>, bool), IntelError> {
        let mut bytes = Vec::new();
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        let (mut is_long, mut is_over) = (false, false);
        while !is_over {
            let available = self.available()?;
            if available.is_empty() {
                return Err(self.cut_off());
            }
            let mut n_used = 0;
            for &byte in available {
                if in_text {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => {
                            in_text = false;
                            is_over = depth == 0;
                        }
                        _ => {}
                    }
                } else {
                    match byte {
                        // What ends a number or a word at the top is no part of it.
                        b',' | b']' | b'}' if depth == 0 => {
                            is_over = true;
                            break;
                        }
                        b'"' => in_text = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => {
                            depth -= 1;
                            is_over = depth == 0;
                        }
                        _ => {}
                    }
                }
                n_used += 1;
                if is_over {
                    break;
                }
            }
            let room = most - bytes.len();
            bytes.extend_from_slice(&available[..n_used.min(room)]);
            is_long |= n_used > room;
            let n_lines = available[..n_used].iter().filter(|byte| **byte == b'\n').count();
            self.input.consume(n_used);
            self.line += n_lines;
        }
        Ok((bytes, is_long))
    }
}

#[cfg(test)]
mod tests {
    use security_core::{Limits, Timestamp};

    use super::*;
    use crate::FeedReader;

    /// Words as `type:value`, rejections as `number!`, the failure at the end.
    fn read(format: FeedFormat, text: &str) -> Vec<String> {
        let limits = Limits { max_bytes: 4, ..Limits::DEFAULT };
        let options = FeedOptions { limits, ..FeedOptions::new("x", Timestamp::from_seconds(2_000_000_000)) };
        let input = io::BufReader::with_capacity(3, text.as_bytes());
        let mut reader = match FeedReader::new(format, input, options) {
            Ok(reader) => reader,
            Err(error) => return vec![error.to_string()],
        };
        let mut told: Vec<String> = reader
            .by_ref()
            .map(|entry| match entry {
                Ok(word) => word.indicator.to_string(),
                Err(rejected) => format!("{}! {}", rejected.line, rejected.reason),
            })
            .collect();
        told.extend(reader.finish().err().map(|error| error.to_string()));
        told
    }

    #[test]
    fn lists_stream() {
        for (text, expected) in [
            (
                "[ \"192.0.2.1\" ,{\"value\":\"192.0.2.2\",\"x\":[{}]}\n,\"evil.example\"]\n",
                vec!["ip:192.0.2.1", "ip:192.0.2.2", "domain:evil.example"],
            ),
            ("\u{feff}[\"192.0.2.1\"]   ", vec!["ip:192.0.2.1"]),
            ("[         ]", vec![]),
            (
                "[17, {\"a\": \"]\\\"}\"}, \"192.0.2.1\"]",
                vec![
                    "1! it is neither text nor an object",
                    "2! it has none of value, indicator, ioc, nor a kind's name as key",
                    "ip:192.0.2.1",
                ],
            ),
            (
                "[\"192.0.2.1\",\n\"192",
                vec!["ip:192.0.2.1", "not a valid JSON feed at line 2, column 0: it is cut off"],
            ),
            (
                "[\"192.0.2.1\"] x",
                vec![
                    "ip:192.0.2.1",
                    "not a valid JSON feed at line 1, column 0: something follows the document",
                ],
            ),
            (
                "[\"192.0.2.1\" \"192.0.2.2\"]",
                vec![
                    "ip:192.0.2.1",
                    "not a valid JSON feed at line 1, column 0: a comma or a closing bracket is missing",
                ],
            ),
            ("{\"data\": [\"192.0.2.1\"]}", vec!["the feed is too large: 5, at most 4 are accepted"]),
            ("[{\"Event\": {}}]", vec!["the feed is too large: 5, at most 4 are accepted"]),
        ] {
            assert_eq!(read(FeedFormat::Json, text), expected, "{text}");
        }
        let wrong = read(FeedFormat::Json, "[{\"value\" 1}, \"192.0.2.1\"]");
        assert!(wrong[0].starts_with("1! it is no JSON"), "{wrong:?}");
        assert_eq!(wrong[1], "ip:192.0.2.1");
        let long = format!("[\"{}\", \"192.0.2.1\"]", "a".repeat(MAX_LINE));
        assert_eq!(read(FeedFormat::Json, &long), ["1! it is longer than 1048576 bytes", "ip:192.0.2.1"]);
    }

    #[test]
    fn bundles_stream() {
        let object = |number: usize, more: &str| {
            format!(
                "{{\"type\": \"indicator\", \"spec_version\": \"2.1\", \"id\": \"indicator--00000000-0000-4000-8000-{number:012}\",
                 \"created\": \"2026-01-01T00:00:00.000Z\", \"modified\": \"2026-01-02T00:00:00.000Z\",
                 \"pattern_type\": \"stix\", \"valid_from\": \"2026-01-01T00:00:00Z\"{more}}}"
            )
        };
        let pattern = |number: usize| {
            let value = format!("192.0.{}.{}", number / 250, number % 250);
            object(number, &format!(", \"pattern\": \"[ipv4-addr:value = '{value}']\""))
        };
        // More than are looked at together, with wrong ones among them.
        let mut objects: Vec<String> = (0..1200).map(pattern).collect();
        objects[3] = object(3, "");
        objects[700] = "{\"type\": \"indicator\"}".to_owned();
        objects[701] = "{\"type\": \"observed-data\", \"object_refs\": []}".to_owned();
        let text = format!(
            "{{\"id\": \"bundle--1\", \"type\": \"bundle\", \"objects\": [{}], \"x\": {{}}}}",
            objects.join(",\n")
        );
        let told = read(FeedFormat::Json, &text);
        assert_eq!(told.iter().filter(|one| one.starts_with("ip:")).count(), 1197);
        let rejected: Vec<&str> = told
            .iter()
            .filter(|one| !one.starts_with("ip:"))
            .map(|one| one.split('!').next().unwrap())
            .collect();
        assert_eq!(rejected.len(), 3, "{rejected:?}");
        for number in ["4", "701", "702"] {
            assert!(rejected.contains(&number), "{rejected:?}");
        }
        assert_eq!(read(FeedFormat::Stix, &text), told);
        let cut = read(FeedFormat::Stix, &text[..text.len() - 4]);
        assert!(cut.last().unwrap().contains("cut off"), "{cut:?}");
        assert_eq!(read(FeedFormat::Stix, "{\"type\": \"report\"}").len(), 1);
    }
}
