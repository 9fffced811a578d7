//! What the command says and how it ends: results on stdout, remarks and errors on stderr, exit codes.

use std::io::{self, BufWriter, ErrorKind, Write};

use security::Coded;
use serde::Serialize;
use serde_json::{Value, json};

use crate::escape::{VisibleJson, visible};

/// How a verb ended; the numbers are the process's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, nothing to report.
    Clean = 0,
    /// It could not be done, or a check did not hold.
    Failed = 1,
    /// The command line or a value on it is wrong.
    Usage = 2,
    /// There was nothing to read.
    NoInput = 3,
    /// Done, and something was found that somebody should look at.
    Found = 10,
}

/// Why a verb could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has read enough; no error.
    ReaderGone,
    /// Everything else.
    Told {
        /// The exit code.
        exit: Exit,
        /// The stable code.
        code: &'static str,
        /// What is wrong; never a secret.
        message: String,
        /// The way out.
        hint: Option<String>,
    },
}

/// What every verb gives back.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    /// A failure with its exit code and stable code.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self::Told { exit, code, message: message.into(), hint: None }
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// The same with the way out.
    pub(crate) fn with_hint(mut self, way_out: impl Into<String>) -> Self {
        if let Self::Told { hint, .. } = &mut self {
            *hint = Some(way_out.into());
        }
        self
    }
}

impl From<security::Error> for Failure {
    fn from(error: security::Error) -> Self {
        let (exit, message) = match &error {
            security::Error::Invalid { argument, problem } => {
                (Exit::Usage, format!("{}: {problem}", option_of(argument)))
            }
            security::Error::Configuration(_) => (Exit::Usage, error.to_string()),
            _ => (Exit::Failed, error.to_string()),
        };
        Self::Told { exit, code: error.code(), message, hint: error.hint() }
    }
}

/// What the command line calls an argument of the engine.
fn option_of(argument: &str) -> &str {
    match argument {
        "types" => "--type",
        "source" => "--source",
        "confidence" => "--confidence",
        "tags" => "--tag",
        "scopes" => "--scope",
        "allowed_networks" => "--network",
        "expires_in" => "--expires-in",
        "rate_limit" => "--rate-limit",
        "prefix" => "--prefix",
        "owner" => "--owner",
        "metadata" => "--metadata",
        "reason" => "--reason",
        "grace_seconds" => "--grace",
        "if_version" => "--if-version",
        "severity" => "--severity",
        "query" => "--query",
        "limit" => "--limit",
        "source_type" => "--source-type",
        "priority_level" => "--priority",
        "server_url" => "--url",
        "config_name" => "name",
        "records_or_path" | "list" => "FILE",
        "ioc_type" | "credential_type" => "type",
        other => other,
    }
}

impl From<io::Error> for Failure {
    /// For writing our own output; what cannot be read is told with the file's name where it is read.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::new(Exit::Failed, "output", format!("cannot write the output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    /// For writing our own output.
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Self::new(Exit::Failed, "output", format!("a result cannot be shown: {error}")),
        }
    }
}

/// Standard output, and the remarks on standard error.
pub(crate) struct Output {
    stdout: BufWriter<io::Stdout>,
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { stdout: BufWriter::with_capacity(64 << 10, io::stdout()), json, quiet }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a bar may be drawn: only for a person who sits before it.
    pub(crate) fn may_draw(&self) -> bool {
        !self.json && !self.quiet && console::Term::stderr().is_term()
    }

    /// One result as JSON in a line.
    pub(crate) fn record(&mut self, result: &impl Serialize) -> Result<(), Failure> {
        result.serialize(&mut serde_json::Serializer::with_formatter(&mut self.stdout, VisibleJson))?;
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// One line of text, hidden characters escaped; tabs between the cells.
    pub(crate) fn cells<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        for (at, cell) in cells.into_iter().enumerate() {
            if at > 0 {
                self.stdout.write_all(b"\t")?;
            }
            self.stdout.write_all(visible(cell).as_bytes())?;
        }
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// One line of text, hidden characters escaped.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.cells([text])
    }

    /// A secret that is shown this once, as it is: whoever asked for it must be able to copy it.
    pub(crate) fn secret(&mut self, secret: &security::Secret) -> Result<(), Failure> {
        self.stdout.write_all(secret.expose())?;
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// A stored secret as it is: a text in a line, bytes alone.
    pub(crate) fn value(&mut self, value: &security::SecretValue) -> Result<(), Failure> {
        match value.is_text {
            true => self.secret(&value.bytes),
            false => Ok(self.stdout.write_all(value.bytes.expose())?),
        }
    }

    /// A table: a line of headings in capitals, the columns aligned. No rows, no table.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        if table.rows.is_empty() {
            return Ok(());
        }
        let headings: Vec<String> = table.headings.iter().map(|heading| (*heading).to_owned()).collect();
        let mut widths = vec![0; headings.len()];
        for row in std::iter::once(&headings).chain(&table.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(console::measure_text_width(cell));
            }
        }
        for row in std::iter::once(&headings).chain(&table.rows) {
            self.aligned(row, &widths)?;
        }
        Ok(())
    }

    /// A row of a table that is shown as it grows: columns are as wide as what stood in them so far.
    pub(crate) fn growing(
        &mut self,
        table: &mut Growing,
        cells: impl IntoIterator<Item = String>,
    ) -> Result<(), Failure> {
        let row: Vec<String> = cells.into_iter().map(|cell| visible(&cell).into_owned()).collect();
        for (width, cell) in table.widths.iter_mut().zip(&row) {
            *width = (*width).max(console::measure_text_width(cell));
        }
        if !std::mem::replace(&mut table.begun, true) {
            let headings: Vec<String> = table.headings.iter().map(|heading| (*heading).to_owned()).collect();
            self.aligned(&headings, &table.widths)?;
        }
        self.aligned(&row, &table.widths)
    }

    fn aligned(&mut self, row: &[String], widths: &[usize]) -> Result<(), Failure> {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            let gap = width - console::measure_text_width(cell) + 2;
            line.extend(std::iter::repeat_n(' ', gap));
        }
        self.stdout.write_all(line.trim_end().as_bytes())?;
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// A value as indented lines of names and values, the values aligned within each group.
    pub(crate) fn facts(&mut self, facts: &Value) -> Result<(), Failure> {
        self.group(facts, 0)
    }

    fn group(&mut self, facts: &Value, depth: usize) -> Result<(), Failure> {
        let Some(fields) = facts.as_object() else { return self.line(&shown(facts)) };
        // `queue_depth` is a field, `API_KEY` a name.
        let title = |name: &str| match name.chars().any(char::is_uppercase) {
            true => visible(name).into_owned(),
            false => visible(&name.replace('_', " ")).into_owned(),
        };
        let is_group = |value: &Value| match value {
            Value::Object(inner) => !inner.is_empty(),
            Value::Array(items) => items.iter().any(Value::is_object),
            _ => false,
        };
        let plain = fields.iter().filter(|(_, value)| !is_group(value));
        let width =
            plain.clone().map(|(name, _)| console::measure_text_width(&title(name))).max().unwrap_or(0);
        for (name, value) in fields {
            let name = title(name);
            write!(self.stdout, "{:indent$}{name}", "", indent = depth * 2)?;
            if let (true, Value::Array(items)) = (is_group(value), value) {
                writeln!(self.stdout)?;
                for item in items {
                    writeln!(
                        self.stdout,
                        "{:indent$}{}",
                        "",
                        visible(&in_one_line(item)),
                        indent = depth * 2 + 2
                    )?;
                }
            } else if is_group(value) {
                writeln!(self.stdout)?;
                self.group(value, depth + 1)?;
            } else {
                let gap = width - console::measure_text_width(&name) + 2;
                writeln!(self.stdout, "{:gap$}{}", "", visible(&shown(value)))?;
            }
        }
        Ok(())
    }

    /// The raw writer, for what is written in a format of its own.
    pub(crate) fn raw(&mut self) -> &mut impl Write {
        &mut self.stdout
    }

    /// Hands everything over to whoever reads it.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }

    /// A remark for the person at the terminal, on stderr.
    pub(crate) fn remark(&mut self, text: &str) {
        if !self.quiet && !self.json {
            // Nobody is left to be told that stderr is gone.
            let _ = writeln!(io::stderr().lock(), "{}", visible(text));
        }
    }
}

/// Rows under headings.
pub(crate) struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &'static [&'static str]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    /// Adds a row, a cell a heading; hidden characters are escaped here.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| visible(&cell).into_owned()).collect());
    }
}

/// A table of which only the columns' widths are held; they begin with what is usual.
pub(crate) struct Growing {
    headings: &'static [&'static str],
    widths: Vec<usize>,
    begun: bool,
}

impl Growing {
    pub(crate) fn new(headings: &'static [&'static str], usual: &[usize]) -> Self {
        let of = |(heading, usual): (&&str, &usize)| console::measure_text_width(heading).max(*usual);
        Self { headings, widths: headings.iter().zip(usual).map(of).collect(), begun: false }
    }
}

/// A value as a cell of a table: text as it is, `-` for nothing, lists with commas.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => "-".into(),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// The fields of one item of a list: `path /a, bytes 12`.
fn in_one_line(item: &Value) -> String {
    let Some(fields) = item.as_object() else { return shown(item) };
    let parts = fields.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), shown(value)));
    parts.collect::<Vec<_>>().join(", ")
}

/// A time of a record as a cell, to the second; `--json` has it as exact as it is.
pub(crate) fn moment(record: &Value, name: &str) -> String {
    let text = field(record, name);
    match text.split_once('.') {
        Some((seconds, fraction)) if fraction.ends_with('Z') => format!("{seconds}Z"),
        _ => text,
    }
}

/// `1 event`, `2 events`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// A field of a record as a cell.
pub(crate) fn field(record: &Value, name: &str) -> String {
    shown(record.get(name).unwrap_or(&Value::Null))
}

/// A result as the value that the tables read.
pub(crate) fn value_of(result: &impl Serialize) -> Result<Value, Failure> {
    Ok(serde_json::to_value(result)?)
}

/// Tells a failure on stderr; gives the exit code.
pub(crate) fn tell(failure: &Failure, json: bool) -> Exit {
    let Failure::Told { exit, code, message, hint } = failure else { return Exit::Clean };
    let mut stderr = io::stderr().lock();
    let text = if json {
        let error = json!({"error": {"code": code, "message": message, "hint": hint}});
        let mut bytes = Vec::new();
        let written = error.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, VisibleJson));
        written.map(|()| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    } else {
        let label = |text: &'static str| console::style(text).for_stderr().bold();
        let hint = hint.as_ref().map(|hint| format!("\n{} {}", label("hint:").cyan(), visible(hint)));
        format!("{} {}{}", label("error:").red(), visible(message), hint.unwrap_or_default())
    };
    let _ = writeln!(stderr, "{text}"); // nobody is left to be told
    *exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_say_nothing_with_a_dash() {
        assert_eq!(shown(&json!(null)), "-");
        assert_eq!(shown(&json!([])), "-");
        assert_eq!(shown(&json!(["a", 1, true])), "a, 1, yes");
        assert_eq!(field(&json!({"a": "x"}), "b"), "-");
    }

    #[test]
    fn times_are_shown_to_the_second() {
        let record = json!({"a": "2026-11-24T06:47:01.897242Z", "b": "2026-11-24T06:47:01Z", "c": null});
        assert_eq!(moment(&record, "a"), "2026-11-24T06:47:01Z");
        assert_eq!(moment(&record, "b"), "2026-11-24T06:47:01Z");
        assert_eq!(moment(&record, "c"), "-");
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error() {
        assert!(matches!(Failure::from(io::Error::from(ErrorKind::BrokenPipe)), Failure::ReaderGone));
        assert_eq!(tell(&Failure::ReaderGone, false), Exit::Clean);
    }

    #[test]
    fn wrong_values_are_wrong_usage() {
        let failure = Failure::from(security::Error::Configuration("x".into()));
        assert!(matches!(failure, Failure::Told { exit: Exit::Usage, .. }));
    }
}
