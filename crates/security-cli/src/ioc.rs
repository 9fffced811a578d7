//! `security ioc`: add, check, remove, delete by source, import, export.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use security::{Engine, ExportFilter, ImportOptions, IocDraft, IocType};
use serde_json::{Value, json};

use crate::{
    escape::brief,
    identify::each_value,
    input::{Input, STANDARD_INPUT, empty},
    output::{Exit, Failure, Growing, Outcome, Table, field, tell, value_of},
    progress::Bar,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Put a value on the list; the same value again is merged
    Add(Add),
    /// Ask whether values are listed; exit code 10 when one is
    Check(Check),
    /// Take a value off the list, whoever listed it
    Remove(Remove),
    /// Take back everything that a source listed
    Delete(Delete),
    /// Import feeds
    Import(Import),
    /// Export indicators as a feed
    Export(Export),
}

#[derive(Debug, Args)]
#[command(override_usage = "security ioc add [OPTIONS] [TYPE] <VALUE>")]
pub(crate) struct Add {
    /// The value, defanged or not; before it its type, which `file_name invoice.exe` and the like need
    #[arg(value_name = "VALUE", required = true, num_args = 1..=2)]
    words: Vec<String>,
    /// Who says so
    #[arg(long, short, default_value = "manual")]
    source: String,
    /// How sure that is, 0 to 100
    #[arg(long, short, value_name = "N", default_value_t = 50, allow_negative_numbers = true)]
    confidence: i64,
    /// What it is about
    #[arg(long, short, default_value = "", hide_default_value = true)]
    description: String,
    /// A tag; may be repeated
    #[arg(long = "tag", short, value_name = "TAG")]
    tags: Vec<String>,
}

#[derive(Debug, Args)]
#[command(override_usage = "security ioc check [OPTIONS] [TYPE] [VALUE]...")]
pub(crate) struct Check {
    /// The values, defanged or not; before them their type, which `file_name invoice.exe` and the like need; no
    /// value, or `-`, reads one a line from standard input and answers as they come. Of several, those that are no
    /// indicator are shown as not recognised
    #[arg(value_name = "VALUE")]
    words: Vec<String>,
}

#[derive(Debug, Args)]
#[command(override_usage = "security ioc remove [OPTIONS] [TYPE] <VALUE>")]
pub(crate) struct Remove {
    /// The value; before it its type, which `file_name invoice.exe` and the like need
    #[arg(value_name = "VALUE", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Whose word is taken back, exactly as it is listed; what others list too stays listed by them
    #[arg(long, short)]
    source: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  security ioc import blocklist.txt --source our-honeypot --confidence 80
  curl -s https://feeds.example/latest.csv | security ioc import - --format csv --skip-bad")]
pub(crate) struct Import {
    /// Files to read; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What the files hold [default: guessed from name and content]
    #[arg(long, short, value_name = "FORMAT", value_parser = ["plain", "csv", "json", "misp", "stix", "openioc"])]
    format: Option<String>,
    /// Who says so [default: feed: and the file's name; records of an own JSON export keep their sources]
    #[arg(long, short)]
    source: Option<String>,
    /// How sure that is where the file does not say, 0 to 100 [default: 50]
    #[arg(long, short, value_name = "N", allow_negative_numbers = true)]
    confidence: Option<i64>,
    /// The type of entries that do not say one, for example domain for a list with setup.py [default: told from each
    /// value]
    #[arg(long = "type", value_name = "TYPE")]
    ioc_type: Option<String>,
    /// Take MISP attributes that are not meant for detection (`to_ids` is false) as well
    #[arg(long)]
    all_attributes: bool,
    /// Go on after entries that are no indicator, and say how many there were; of several files, go on after those
    /// that cannot be read
    #[arg(long)]
    skip_bad: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// What to write
    #[arg(long, short, value_name = "FORMAT", default_value = "plain", value_parser = ["plain", "csv", "json", "jsonl", "misp", "stix", "zeek", "suricata-text", "suricata-ip", "suricata-md5", "suricata-sha256", "rpz"])]
    format: String,
    /// Only this type
    #[arg(long = "type", value_name = "TYPE")]
    ioc_type: Option<String>,
    /// Only what this source listed
    #[arg(long, short)]
    source: Option<String>,
    /// Only with this tag
    #[arg(long, short)]
    tag: Option<String>,
    /// Only with at least this confidence, 0 to 100
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    min_confidence: Option<i64>,
    /// The file to write; it takes its place only when complete [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Add(arguments) => add(arguments, session),
        Verb::Check(arguments) => check(&arguments, session),
        Verb::Remove(arguments) => remove(&arguments, session),
        Verb::Delete(arguments) => delete(&arguments, session),
        Verb::Import(arguments) => import(&arguments, session),
        Verb::Export(arguments) => export(&arguments, session),
    }
}

/// Type and value of `[TYPE] VALUE`.
fn typed(words: &[String]) -> Result<(String, &str), Failure> {
    match words {
        [kind, value] => Ok((kind.clone(), value)),
        [value] => Ok((identified(value)?.to_owned(), value)),
        _ => Err(Failure::usage("accepted is one value, or a type and a value")),
    }
}

fn identified(value: &str) -> Result<&'static str, Failure> {
    security::identify_ioc_type(value).ok_or_else(|| {
        let message = format!("`{}` is no indicator of a kind that shows by itself", brief(value, 80));
        Failure::new(Exit::Usage, "indicator-type-unclear", message)
            .with_hint("put the type before the value, for example `file_name invoice.exe`")
    })
}

fn add(arguments: Add, session: &mut Session) -> Outcome {
    let (ioc_type, value) = typed(&arguments.words)?;
    let record = session.engine()?.add_ioc(IocDraft {
        ioc_type,
        value: value.to_owned(),
        source: arguments.source,
        confidence: arguments.confidence,
        description: arguments.description,
        tags: arguments.tags,
        ..IocDraft::default()
    })?;
    if session.output.is_json() {
        session.output.record(&record)?;
    } else {
        let sources = source_names(&record);
        let text = format!(
            "listed {} {}: confidence {}, sources {sources}",
            field(&record, "type"),
            field(&record, "value"),
            field(&record, "confidence"),
        );
        session.output.line(&text)?;
    }
    Ok(Exit::Clean)
}

fn source_names(record: &Value) -> String {
    let names = record["sources"].as_array().into_iter().flatten().map(|source| field(source, "source"));
    names.collect::<Vec<_>>().join(", ")
}

fn check(arguments: &Check, session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    // A type's name is no indicator itself, so that a first word that is one can only be meant as the type.
    let named = arguments
        .words
        .split_first()
        .filter(|(first, rest)| !rest.is_empty() && first.parse::<IocType>().is_ok());
    let (ioc_type, values) = match named {
        Some((first, rest)) => (Some(first.as_str()), rest),
        None => (None, arguments.words.as_slice()),
    };
    let is_stream = values.is_empty() || values == ["-"];
    let mut table = Table::new(&HEADINGS);
    let mut growing = Growing::new(&HEADINGS, &USUAL_WIDTHS);
    let (mut any, mut unclear) = (false, 0);
    each_value(values, session, &mut |value, session| {
        let checked = match ioc_type.map_or_else(|| identified(value), Ok) {
            Ok(kind) => engine.check_ioc(kind, value).map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        let check = match checked {
            Ok(check) => value_of(&check)?,
            // One wrong value is a wrong command line; among several it must not keep the others from being seen.
            Err(Failure::Told { exit: Exit::Usage, message, .. }) if is_stream || values.len() > 1 => {
                unclear += 1;
                json!({"value": value, "type": null, "matched": false, "count": 0, "matches": [], "problem": message})
            }
            Err(failure) => return Err(failure),
        };
        any |= check["matched"] == true;
        if session.output.is_json() {
            session.output.record(&check)?;
        } else {
            for row in rows(&check) {
                if is_stream { session.output.growing(&mut growing, row)? } else { table.row(row) }
            }
        }
        // Whoever watches a log that goes on wants to see a hit now.
        if is_stream { session.output.flush() } else { Ok(()) }
    })?;
    session.output.table(&table)?;
    Ok(match (any, unclear) {
        (true, _) => Exit::Found,
        (false, 0) => Exit::Clean,
        (false, _) => Exit::Failed,
    })
}

const HEADINGS: [&str; 7] = ["VALUE", "TYPE", "LISTED", "HOW", "AS", "SOURCES", "CONFIDENCE"];
const USUAL_WIDTHS: [usize; 7] = [24, 6, 14, 10, 24, 12, 10];

/// The rows of one value's answer.
fn rows(check: &Value) -> Vec<[String; 7]> {
    let nothing = || "-".to_owned();
    let [value, kind] = ["value", "type"].map(|name| field(check, name));
    let matches = check["matches"].as_array().map(Vec::as_slice).unwrap_or_default();
    if matches.is_empty() {
        let listed = if check["problem"].is_null() { "no" } else { "not recognised" };
        let value = brief(&value, 200);
        return vec![[value, kind, listed.into(), nothing(), nothing(), nothing(), nothing()]];
    }
    let row = |found: &Value| {
        let ioc = &found["ioc"];
        [
            value.clone(),
            kind.clone(),
            "yes".into(),
            field(found, "match_type"),
            field(ioc, "value"),
            source_names(ioc),
            field(ioc, "confidence"),
        ]
    };
    matches.iter().map(row).collect()
}

fn remove(arguments: &Remove, session: &mut Session) -> Outcome {
    let (ioc_type, value) = typed(&arguments.words)?;
    let removed = session.engine()?.remove_ioc(&ioc_type, value)?;
    if !removed {
        let message = format!("`{}` is not listed", brief(value, 80));
        return Err(Failure::new(Exit::Failed, "not-found", message));
    }
    if session.output.is_json() {
        session.output.record(&json!({"type": ioc_type, "value": value, "removed": true}))?;
    } else {
        session.output.line(&format!("removed {ioc_type} {value}"))?;
    }
    Ok(Exit::Clean)
}

fn delete(arguments: &Delete, session: &mut Session) -> Outcome {
    let bar = Bar::of_things(&session.output, &arguments.source, None);
    let done =
        session.engine()?.remove_source(&arguments.source, &mut |done| bar.at(done.removed + done.kept));
    drop(bar);
    let done = done?;
    if session.output.is_json() {
        let source = arguments.source.trim();
        session.output.record(&json!({"source": source, "removed": done.removed, "kept": done.kept}))?;
    } else {
        let (removed, kept) = (done.removed, done.kept);
        session.output.line(&format!("{removed} removed, {kept} stay listed by others"))?;
    }
    Ok(Exit::Clean)
}

fn import(arguments: &Import, session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    let options = ImportOptions {
        format: arguments.format.clone(),
        source: arguments.source.clone(),
        confidence: arguments.confidence,
        skip_bad: arguments.skip_bad,
        all_attributes: arguments.all_attributes,
        ioc_type: arguments.ioc_type.clone(),
    };
    let goes_on = arguments.skip_bad && arguments.files.len() > 1;
    let mut exit = Exit::Clean;
    for path in &arguments.files {
        match import_file(path, &engine, &options, session) {
            // A matter of this file; the store, the disk and the command line are matters of all.
            Err(failure @ Failure::Told { code: "feed-refused" | "no-input" | "input", .. }) if goes_on => {
                session.output.flush()?;
                tell(&failure, session.output.is_json());
                exit = Exit::Failed;
            }
            done => done?,
        }
    }
    Ok(exit)
}

fn import_file(
    path: &Path,
    engine: &Engine,
    options: &ImportOptions,
    session: &mut Session,
) -> Result<(), Failure> {
    let input = Input::open(path, &mut session.output)?;
    let name = if path.as_os_str() == "-" { "stdin".to_owned() } else { input.name };
    let bar = Bar::of_bytes(&session.output, &name, input.size);
    let mut reader = BufReader::with_capacity(256 << 10, bar.reading(input.reader));
    if io::BufRead::fill_buf(&mut reader).map_err(|error| crate::input::unreadable(&name, &error))?.is_empty()
    {
        return Err(empty(if name == "stdin" { STANDARD_INPUT } else { &name }));
    }
    let report = engine.import_indicators(&name, reader, options, &mut |done| {
        bar.say(format!("{} indicators, {} rejected", done.imported, done.rejected));
    });
    drop(bar);
    let report = value_of(&report.map_err(|error| refused(error, options.skip_bad))?)?;
    if session.output.is_json() {
        let mut record = report.clone();
        record["file"] = name.as_str().into();
        return session.output.record(&record);
    }
    let left_out: u64 =
        report["left_out"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    let text = format!(
        "{name}: {} added, {} merged, {} rejected{} ({}, source {})",
        field(&report, "added"),
        field(&report, "merged"),
        field(&report, "rejected"),
        if left_out > 0 { format!(", {left_out} left out") } else { String::new() },
        field(&report, "format"),
        field(&report, "source"),
    );
    session.output.line(&text)?;
    say_rejections(&report, session);
    say_left_out(&report, session);
    Ok(())
}

/// What was never meant to be an indicator, and the way out when that was everything.
fn say_left_out(report: &Value, session: &mut Session) {
    let Some(left_out) = report["left_out"].as_object().filter(|left_out| !left_out.is_empty()) else {
        return;
    };
    let parts: Vec<String> = left_out.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    session.output.remark(&format!("  left out: {}", parts.join(", ")));
    let is_everything = ["added", "merged", "rejected"].iter().all(|name| report[name] == 0);
    if is_everything && left_out.contains_key("not meant for detection") {
        session
            .output
            .remark("  nothing is left; `--all-attributes` takes what is not meant for detection as well");
    }
}

/// Rejections named on stderr; the report of `--json` has a hundred.
const NAMED: usize = 5;

fn say_rejections(report: &Value, session: &mut Session) {
    let rejections = report["rejections"].as_array().map(Vec::as_slice).unwrap_or_default();
    for rejection in rejections.iter().take(NAMED) {
        let text = brief(&field(rejection, "text"), 60);
        session.output.remark(&format!(
            "  line {}: `{text}`: {}",
            field(rejection, "line"),
            field(rejection, "reason")
        ));
    }
    let rejected = report["rejected"].as_u64().unwrap_or_default();
    if rejected > NAMED as u64 {
        session
            .output
            .remark(&format!("  and {} more; `--json` lists the first hundred", rejected - NAMED as u64));
    }
}

/// A feed that is refused is a matter of its content, not of the command line.
fn refused(error: security::Error, skips_bad: bool) -> Failure {
    match error {
        security::Error::Invalid { argument: "path_or_file", problem } => {
            let hint = match skips_bad {
                true => "`--format` says what the file holds",
                false => {
                    "`--skip-bad` goes on after entries that are no indicator; `--format` says what the file \
                     holds, `--type` what its entries are"
                }
            };
            Failure::new(Exit::Failed, "feed-refused", problem).with_hint(hint)
        }
        other => other.into(),
    }
}

fn export(arguments: &Export, session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    let filter = ExportFilter {
        ioc_type: arguments.ioc_type.clone(),
        source: arguments.source.clone(),
        tag: arguments.tag.clone(),
        min_confidence: arguments.min_confidence,
    };
    let exported = match &arguments.output {
        Some(path) => {
            let part = part_beside(path)?;
            let exported =
                write_file(&part, |writer| engine.export_indicators(&arguments.format, &filter, writer))
                    .and_then(|exported| {
                        std::fs::rename(&part, path).map(|()| exported).map_err(|e| unwritable(path, &e))
                    });
            if exported.is_err() {
                let _ = std::fs::remove_file(&part); // it may never have been made
            }
            exported?
        }
        None => {
            let mut watched = Watched { inner: session.output.raw(), is_gone: false };
            let exported = engine.export_indicators(&arguments.format, &filter, &mut watched);
            if watched.is_gone {
                return Err(Failure::ReaderGone);
            }
            exported?
        }
    };
    let exported = value_of(&exported)?;
    match (&arguments.output, session.output.is_json()) {
        (Some(path), true) => {
            let mut record = exported;
            record["file"] = path.display().to_string().into();
            session.output.record(&record)?;
        }
        (Some(path), false) => {
            session.output.line(&format!("{}: {}", path.display(), told(&exported)))?;
        }
        // The feed itself is what stdout is for.
        (None, _) => session.output.remark(&told(&exported)),
    }
    Ok(Exit::Clean)
}

fn told(exported: &Value) -> String {
    let left_out: Vec<String> = exported["left_out"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let written = format!("{} written", field(exported, "n_written"));
    if left_out.is_empty() {
        return written;
    }
    format!("{written}; the format has no form for {}", left_out.join(", "))
}

/// A name beside the file, so that what is half written never bears the file's own.
fn part_beside(path: &Path) -> Result<PathBuf, Failure> {
    let name =
        path.file_name().ok_or_else(|| Failure::usage(format!("`{}` names no file", path.display())))?;
    let mut part = std::ffi::OsString::from(".");
    part.push(name);
    part.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(part))
}

fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, security::Error>,
) -> Result<T, Failure> {
    let file =
        File::options().write(true).create_new(true).open(path).map_err(|error| unwritable(path, &error))?;
    let mut writer = BufWriter::new(file);
    let written = write(&mut writer)?;
    let file = writer.into_inner().map_err(|error| unwritable(path, error.error()))?;
    file.sync_all().map_err(|error| unwritable(path, &error))?;
    Ok(written)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "output", format!("cannot write {}: {error}", path.display()))
}

/// A writer that remembers whether its reader is gone, which the engine can only report as a broken-off export.
struct Watched<'a, W> {
    inner: &'a mut W,
    is_gone: bool,
}

impl<W: Write> Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.is_gone |= written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
