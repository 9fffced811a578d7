//! Files and standard input: opened by name, read by lines or blocks with a bound on each, events in any of
//! their usual shapes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::Path,
};

use serde_json::Value;

use crate::output::{Exit, Failure, Output};

/// The longest line, and the largest document read whole.
const LONGEST_LINE: usize = 8 << 20;
const LARGEST_DOCUMENT: u64 = 64 << 20;

/// What messages call `-`.
pub(crate) const STANDARD_INPUT: &str = "standard input";

/// Something to read, and what to call it.
pub(crate) struct Input {
    pub(crate) name: String,
    /// Its size in bytes, where that is known beforehand.
    pub(crate) size: Option<u64>,
    pub(crate) reader: Box<dyn Read>,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub(crate) fn open(path: &Path, output: &mut Output) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            if io::stdin().is_terminal() {
                output.remark("reading from the terminal; end with Ctrl-D on a line of its own");
            }
            return Ok(Self {
                name: STANDARD_INPUT.into(),
                size: None,
                reader: Box::new(io::stdin().lock()),
            });
        }
        let name = path.display().to_string();
        let told = |problem: String| {
            Failure::new(Exit::NoInput, "no-input", format!("cannot read {name}: {problem}"))
        };
        let file = File::open(path).map_err(|error| told(error.to_string()))?;
        let found = file.metadata().map_err(|error| told(error.to_string()))?;
        if found.is_dir() {
            return Err(told("it is a directory".into()));
        }
        let size = found.is_file().then_some(found.len());
        Ok(Self { name, size, reader: Box::new(file) })
    }

    /// Everything at once, within bounds.
    pub(crate) fn read_document(self) -> Result<Vec<u8>, Failure> {
        let name = self.name;
        let mut bytes = Vec::new();
        self.reader
            .take(LARGEST_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(&name, &error))?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            let message = format!("{name} is larger than {LARGEST_DOCUMENT} bytes");
            return Err(Failure::new(Exit::Failed, "input-too-large", message));
        }
        if bytes.is_empty() {
            return Err(empty(&name));
        }
        Ok(bytes)
    }
}

pub(crate) fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "input", format!("cannot read {name}: {error}"))
}

/// There is an input, and nothing in it.
pub(crate) fn empty(name: &str) -> Failure {
    Failure::new(Exit::NoInput, "no-input", format!("{name} is empty"))
}

/// A reader's lines, each bounded, with their numbers.
pub(crate) struct Lines<R> {
    name: String,
    reader: R,
    number: usize,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(name: &str, reader: R) -> Self {
        Self { name: name.to_owned(), reader, number: 0, line: Vec::new() }
    }

    /// The next line without its line break, and its number from 1.
    pub(crate) fn next(&mut self) -> Result<Option<(usize, &[u8])>, Failure> {
        self.line.clear();
        let bound = LONGEST_LINE as u64 + 1;
        let read = (&mut self.reader)
            .take(bound)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| unreadable(&self.name, &error))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if read > LONGEST_LINE {
            let message = format!("{} line {} is longer than {LONGEST_LINE} bytes", self.name, self.number);
            return Err(Failure::new(Exit::Failed, "input-too-large", message));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some((self.number, line.strip_suffix(b"\r").unwrap_or(line))))
    }
}

/// How events stand in an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventFormat {
    /// JSON lines, or one JSON document that is an event or a list of events.
    Json,
    /// Every line is a text, an event `{"message": line}`.
    Text,
}

/// What became of an input with events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventCount {
    pub(crate) events: usize,
    pub(crate) skipped: usize,
}

/// Hands the events of an input over one by one with the line each began on. JSON lines are handed over as they
/// come, so that the input may be a log that never ends.
pub(crate) fn each_event(
    input: Input,
    format: EventFormat,
    skip_bad: bool,
    take: &mut dyn FnMut(Value, usize) -> Result<(), Failure>,
) -> Result<EventCount, Failure> {
    let name = input.name.clone();
    let mut reader = BufReader::with_capacity(256 << 10, input.reader);
    let mut count = EventCount::default();
    let mut lines = Lines::new(&name, &mut reader);
    while let Some((number, line)) = lines.next()? {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if format == EventFormat::Text {
            count.events += 1;
            take(serde_json::json!({"message": String::from_utf8_lossy(line)}), number)?;
            continue;
        }
        match serde_json::from_slice::<Value>(line) {
            Ok(Value::Array(events)) if count.events + count.skipped == 0 => {
                for event in events {
                    count.events += 1;
                    take(event, number)?;
                }
            }
            Ok(event) => {
                count.events += 1;
                take(event, number)?;
            }
            // The first line alone may be the beginning of one document over many lines.
            Err(error) if error.is_eof() && count == EventCount::default() => {
                let mut document = line.to_vec();
                document.push(b'\n');
                drop(lines);
                return whole_document(&name, document, number, reader, take);
            }
            Err(_) if skip_bad => count.skipped += 1,
            Err(error) => return Err(not_json(&name, number, &error)),
        }
    }
    Ok(count)
}

fn whole_document(
    name: &str,
    mut bytes: Vec<u8>,
    first_line: usize,
    reader: impl Read,
    take: &mut dyn FnMut(Value, usize) -> Result<(), Failure>,
) -> Result<EventCount, Failure> {
    reader.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        let message = format!("{name} is larger than {LARGEST_DOCUMENT} bytes");
        return Err(Failure::new(Exit::Failed, "input-too-large", message)
            .with_hint("write the events as JSON lines, which are read one by one"));
    }
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| not_json(name, first_line - 1 + error.line(), &error))?;
    let events = match document {
        Value::Array(events) => events,
        event => vec![event],
    };
    let count = EventCount { events: events.len(), skipped: 0 };
    events.into_iter().try_for_each(|event| take(event, first_line))?;
    Ok(count)
}

fn not_json(name: &str, line: usize, error: &serde_json::Error) -> Failure {
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    Failure::new(Exit::Failed, "input-not-json", format!("{name} line {line}: {reason}"))
        .with_hint("events are JSON lines, or one JSON array or object; `--text` takes every line as a text, `--skip-bad` passes over bad lines")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(
        text: &'static str,
        format: EventFormat,
        skip_bad: bool,
    ) -> Result<(Vec<(Value, usize)>, EventCount), Failure> {
        let input = Input { name: "test".into(), size: None, reader: Box::new(text.as_bytes()) };
        let mut taken = Vec::new();
        let count = each_event(input, format, skip_bad, &mut |event, line| {
            taken.push((event, line));
            Ok(())
        })?;
        Ok((taken, count))
    }

    fn values(text: &'static str) -> Vec<i64> {
        let (taken, _) = events(text, EventFormat::Json, false).unwrap();
        taken.iter().map(|(event, _)| event["a"].as_i64().unwrap()).collect()
    }

    #[test]
    fn events_come_as_lines_array_or_object() {
        assert_eq!(values("{\"a\":1}\n\n{\"a\":2}\r\n"), [1, 2]);
        assert_eq!(values("[{\"a\":1},{\"a\":2}]"), [1, 2]);
        assert_eq!(values("\n[\n {\"a\":1},\n {\"a\":2}\n]\n"), [1, 2]);
        assert_eq!(values("{\n \"a\": 7\n}\n"), [7]);
        assert_eq!(values(""), [0; 0]);
    }

    #[test]
    fn bad_lines_are_named_or_skipped() {
        let text = "{\"a\":1}\nnot json\n{\"a\":3}\n";
        let Err(Failure::Told { message, code, .. }) = events(text, EventFormat::Json, false) else {
            panic!()
        };
        assert!(message.starts_with("test line 2: "), "{message}");
        assert_eq!(code, "input-not-json");
        let (taken, count) = events(text, EventFormat::Json, true).unwrap();
        assert_eq!(count, EventCount { events: 2, skipped: 1 });
        assert_eq!(taken[1].1, 3);
        let Err(Failure::Told { message, .. }) = events("\n{\n \"a\": x\n}", EventFormat::Json, false) else {
            panic!()
        };
        assert!(message.starts_with("test line 3: "), "{message}");
    }

    #[test]
    fn text_lines_are_messages() {
        let (taken, _) = events("GET /\n{\"a\":1}\n", EventFormat::Text, false).unwrap();
        assert_eq!(taken[1].0["message"], "{\"a\":1}");
    }

    #[test]
    fn lines_are_bounded() {
        let mut lines = Lines::new("test", BufReader::new(io::repeat(b'a')));
        assert!(matches!(lines.next(), Err(Failure::Told { code: "input-too-large", .. })));
    }
}
