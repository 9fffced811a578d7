//! `security key scan`: own keys where they should not be.

use std::path::{Path, PathBuf};

use security::{FoundKey, KeyScanListener, KeyScanOptions, KeyScanTotals, SkippedFile};

use crate::{
    input::{Input, STANDARD_INPUT},
    output::{Exit, Failure, Growing, Outcome, Output, field, value_of},
    progress::Bar,
    session::Session,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys are told by their shape and checksum, and looked up in the store: `live` opens something,
`revoked`, `expired` and `superseded` (by a rotation) did once, `unknown` is a key of another store or of an
earlier rotation. A key itself is never shown, and a scan is no use of it.

Below a folder symbolic links are not followed. Files with zero bytes at their beginning are binary and passed
over. The exit code is 1 when a key is live, and when a file could not be read.

Examples:
  security key scan src/ /var/log/app
  git log -p --all | security key scan -
  security key scan . --json | jq -r 'select(.status == \"live\") | .key_id'")]
pub(crate) struct Arguments {
    /// Files and folders to look through; `-` is standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Look into binary files as well
    #[arg(long)]
    binary: bool,
    /// Do not unpack gzip files
    #[arg(long)]
    no_gzip: bool,
    /// Files that cannot be read do not count
    #[arg(long)]
    skip_unreadable: bool,
}

/// Shows what is found as it is found.
struct Shown<'s> {
    output: &'s mut Output,
    table: Growing,
    bar: Bar,
    skip_unreadable: bool,
    first_unreadable: Option<String>,
    unreadable: usize,
    seen: usize,
    /// What kept a finding from being shown.
    failure: Option<Failure>,
}

impl KeyScanListener for Shown<'_> {
    fn found(&mut self, key: FoundKey) -> bool {
        let shown = value_of(&key).and_then(|key| {
            if self.output.is_json() {
                return self.output.record(&key);
            }
            let place = format!("{}:{}:{}", field(&key, "file"), field(&key, "line"), field(&key, "column"));
            let named = ["status", "key", "name", "owner"].map(|name| field(&key, name));
            self.output.growing(&mut self.table, named.into_iter().chain([place]))
        });
        self.failure = shown.err();
        self.failure.is_none()
    }

    fn skipped(&mut self, file: &Path, why: SkippedFile) {
        let SkippedFile::Unreadable(problem) = why else { return };
        let told = format!("cannot read {}: {problem}", file.display());
        self.output.remark(&told);
        self.unreadable += 1;
        self.first_unreadable.get_or_insert(told);
    }

    fn goes_on(&mut self) -> bool {
        self.seen += 1;
        self.bar.at(self.seen * 64);
        true
    }
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    // Named by the caller: a wrong name must not pass for a clean file.
    for path in arguments.paths.iter().filter(|path| path.as_os_str() != "-") {
        if let Err(error) = std::fs::metadata(path) {
            let message = format!("cannot read {}: {error}", path.display());
            return Err(Failure::new(Exit::NoInput, "no-input", message));
        }
    }
    let engine = session.engine()?;
    let options =
        KeyScanOptions { binary: arguments.binary, gzip: !arguments.no_gzip, ..KeyScanOptions::default() };
    let bar = Bar::of_things(&session.output, "kB", None);
    let mut shown = Shown {
        output: &mut session.output,
        table: Growing::new(&["STATUS", "KEY", "NAME", "OWNER", "WHERE"], &[10, 25, 12, 12, 20]),
        bar,
        skip_unreadable: arguments.skip_unreadable,
        first_unreadable: None,
        unreadable: 0,
        seen: 0,
        failure: None,
    };
    let mut totals = KeyScanTotals::default();
    for path in &arguments.paths {
        let scanned = if path.as_os_str() == "-" {
            let mut input = Input::open(path, shown.output)?;
            engine.scan_reader_for_keys(STANDARD_INPUT, &mut input.reader, options, &mut shown)?
        } else {
            engine.scan_path_for_keys(path, options, &mut shown)?
        };
        totals = totals.and(scanned);
        if let Some(failure) = shown.failure {
            return Err(failure);
        }
    }
    shown.ended(totals)
}

impl Shown<'_> {
    fn ended(self, totals: KeyScanTotals) -> Outcome {
        let KeyScanTotals { files, bytes, keys, live, .. } = totals;
        self.output.remark(&format!("{keys} keys, {live} of them live, in {files} files of {bytes} bytes"));
        match self.first_unreadable {
            Some(first) if live == 0 && !self.skip_unreadable => {
                let message = format!("{} files could not be read; the first: {first}", self.unreadable);
                Err(Failure::new(Exit::Failed, "input", message)
                    .with_hint("`--skip-unreadable` passes over them"))
            }
            _ if live > 0 => Ok(Exit::Found),
            _ => Ok(Exit::Clean),
        }
    }
}
