//! `security breached`: passwords that are known from breaches.

use std::{io::BufReader, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    input::Input,
    output::{Exit, Outcome, field, value_of},
    progress::Bar,
    secret_input,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make the filter of a list of SHA-1 hashes; credentials are then validated against it
    Build(Build),
    /// Say whether a password is known; exit code 10 when it is
    Check(Check),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The list has a line `HASH:count` for each password, as Have I Been Pwned gives it out, in any order. The filter
takes four bytes a password and is mapped, not read. It lies in the data directory unless --output says otherwise;
`breached_passwords` in the configuration names another place.

Example:
  security breached build pwnedpasswords.txt --min-count 5")]
pub(crate) struct Build {
    /// The list; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the filter is put
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave out passwords that were seen fewer times
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_count: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The password is read from standard input (with a prompt at a terminal) or from a file, never from the command line.")]
pub(crate) struct Check {
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Build(arguments) => build(&arguments, session),
        Verb::Check(arguments) => check(&arguments, session),
    }
}

fn build(arguments: &Build, session: &mut Session) -> Outcome {
    let input = Input::open(&arguments.file, &mut session.output)?;
    let engine = session.engine()?;
    let bar = Bar::of_bytes(&session.output, &input.name, input.size);
    let reader = BufReader::with_capacity(256 << 10, bar.reading(input.reader));
    let report = engine.build_breached_filter(reader, arguments.output.as_deref(), arguments.min_count)?;
    drop(bar);
    let report = value_of(&report)?;
    if session.output.is_json() {
        session.output.record(&report)?;
    } else {
        let [entries, lines, file, bytes] =
            ["entries", "lines", "file", "bytes"].map(|name| field(&report, name));
        session.output.line(&format!("{entries} passwords of {lines} lines in {file}, {bytes} bytes"))?;
    }
    Ok(Exit::Clean)
}

fn check(arguments: &Check, session: &mut Session) -> Outcome {
    let password = secret_input::read("password", arguments.password_file.as_deref())?;
    let breached = session.engine()?.is_breached(password.expose())?;
    let Some(breached) = breached else {
        let message = "there is no filter of breached passwords";
        return Err(crate::output::Failure::new(Exit::Failed, "breached-no-filter", message)
            .with_hint("make one with `security breached build`"));
    };
    if session.output.is_json() {
        session.output.record(&json!({"breached": breached}))?;
    } else {
        session.output.line(if breached { "known from breaches" } else { "not known" })?;
    }
    Ok(if breached { Exit::Found } else { Exit::Clean })
}
