//! `security scan`: the listed indicators in files.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use security::Engine;
use serde_json::Value;

use crate::{
    extract::{Blocks, readable},
    input::{Input, empty, unreadable},
    output::{Exit, Failure, Growing, Outcome, field, value_of},
    progress::Bar,
    session::Session,
};

/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every indicator that stands in the files, defanged ones too, is looked up; those that are listed are shown. With
--json each is an object with its `file`, `start` and `end` in bytes (of what was unpacked), and its `matches`.
The exit code is 10 when something listed was found.

Below a folder symbolic links are not followed. Gzip files are unpacked.

Examples:
  security scan /var/log/nginx
  zstd -dc flows.zst | security scan
  security scan mail.eml --json | jq -r '.matches[].ioc.source'")]
pub(crate) struct Arguments {
    /// Files and folders; none, or `-`, is standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only this type, for example ip, domain, url, sha256; may be repeated
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    types: Vec<String>,
    /// What happens to indicators that are on a warninglist; `flag` names the lists in --json
    #[arg(long, value_name = "WHAT", default_value = "keep", value_parser = ["keep", "flag", "drop"])]
    warninglists: String,
}

/// What a run has met.
#[derive(Default)]
struct Met {
    files: usize,
    seen: usize,
    listed: usize,
    /// Files below a folder that could not be read; the first one's problem.
    unreadable: Option<String>,
}

const HEADINGS: [&str; 6] = ["VALUE", "TYPE", "HOW", "AS", "SOURCES", "WHERE"];
const USUAL_WIDTHS: [usize; 6] = [24, 6, 10, 24, 12, 24];

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    let standard_input = [PathBuf::from("-")];
    let paths = if arguments.paths.is_empty() { standard_input.as_slice() } else { &arguments.paths };
    let engine = session.engine()?;
    let mut table = Growing::new(&HEADINGS, &USUAL_WIDTHS);
    let mut met = Met::default();
    for path in paths {
        if path.as_os_str() != "-" && path.is_dir() {
            scan_folder(path, &engine, arguments, &mut table, &mut met, session)?;
            continue;
        }
        // Named by the caller: a wrong or an empty one must not pass for a clean file.
        let input = Input::open(path, &mut session.output)?;
        let name = input.name.clone();
        if scan(input, &engine, arguments, &mut table, &mut met, session)? == 0 {
            return Err(empty(&name));
        }
    }
    let Met { files, seen, listed, unreadable } = met;
    session.output.remark(&format!("{seen} indicators in {files} files, {listed} of them listed"));
    match unreadable {
        _ if listed > 0 => Ok(Exit::Found),
        Some(first) => Err(Failure::new(Exit::Failed, "input", first)),
        None => Ok(Exit::Clean),
    }
}

/// The plain files below a folder, in the order of their names.
fn scan_folder(
    folder: &Path,
    engine: &Engine,
    arguments: &Arguments,
    table: &mut Growing,
    met: &mut Met,
    session: &mut Session,
) -> Result<(), Failure> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let mut refused = |error: &io::Error, session: &mut Session| {
            let told = format!("cannot read {}: {error}", path.display());
            session.output.remark(&told);
            met.unreadable.get_or_insert(told);
        };
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) => {
                refused(&error, session);
                continue;
            }
        };
        if found.is_dir() {
            match fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                Ok(mut entries) => {
                    entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
                    waiting.extend(entries.iter().map(fs::DirEntry::path));
                }
                Err(error) => refused(&error, session),
            }
        } else if found.is_file() {
            match Input::open(&path, &mut session.output) {
                Ok(input) => match scan(input, engine, arguments, table, met, session) {
                    Err(Failure::Told { code: "input", message, .. }) => {
                        session.output.remark(&message);
                        met.unreadable.get_or_insert(message);
                    }
                    done => drop(done?),
                },
                Err(Failure::Told { message, .. }) => {
                    session.output.remark(&message);
                    met.unreadable.get_or_insert(message);
                }
                Err(other) => return Err(other),
            }
        }
    }
    Ok(())
}

/// Gives the number of bytes read, unpacked ones where it was packed.
fn scan(
    input: Input,
    engine: &Engine,
    arguments: &Arguments,
    table: &mut Growing,
    met: &mut Met,
    session: &mut Session,
) -> Result<usize, Failure> {
    let types = (!arguments.types.is_empty()).then_some(arguments.types.as_slice());
    let warned = arguments.warninglists.parse()?;
    let name = input.name;
    let refused = |error: io::Error| unreadable(&name, &error);
    let bar = Bar::of_bytes(&session.output, &name, input.size);
    let mut reader = BufReader::with_capacity(256 << 10, bar.reading(input.reader));
    let is_packed = reader.fill_buf().map_err(refused)?.starts_with(&GZIP);
    let reader: Box<dyn Read + '_> =
        if is_packed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    let mut blocks = Blocks::new(reader);
    let mut read = 0;
    while let Some(block) = blocks.next().map_err(refused)? {
        let report = engine.scan_text(&readable(&block), types, None, warned)?;
        met.seen += report.seen;
        met.listed += report.listed.len();
        for found in &report.listed {
            let mut found = value_of(found)?;
            for end in ["start", "end"] {
                found[end] = found[end].as_u64().map(|at| at + read as u64).into();
            }
            if session.output.is_json() {
                found["file"] = name.as_str().into();
                session.output.record(&found)?;
            } else {
                rows(&name, &found).into_iter().try_for_each(|row| session.output.growing(table, row))?;
            }
        }
        read += block.len();
    }
    // Types are refused by the engine even when there is no text at all.
    if read == 0 {
        engine.scan_text("", types, None, warned)?;
    }
    met.files += 1;
    Ok(read)
}

fn rows(name: &str, found: &Value) -> Vec<[String; 6]> {
    let [value, kind] = ["value", "type"].map(|part| field(found, part));
    let place = format!("{name}:{}", field(found, "start"));
    let row = |listing: &Value| {
        let sources = listing["ioc"]["sources"].as_array().into_iter().flatten();
        let sources: Vec<String> = sources.map(|source| field(source, "source")).collect();
        let (how, listed) = (field(listing, "match_type"), field(&listing["ioc"], "value"));
        [value.clone(), kind.clone(), how, listed, sources.join(", "), place.clone()]
    };
    found["matches"].as_array().into_iter().flatten().map(row).collect()
}
