//! `security warninglist`: load, list, check, remove.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    escape::brief,
    identify::each_value,
    input::Input,
    output::{Exit, Failure, Outcome, Table, field, value_of},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Take lists over; they are asked in every process at once
    Load(Load),
    /// Show the lists that are asked
    List,
    /// Ask whether values are on a list; exit code 10 when one is
    Check(Check),
    /// Remove a list
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A list is a JSON file as MISP publishes it: name, type (string, substring, hostname, cidr or regex), list, and
matching_attributes. One of the same name is replaced. Ranges and names of special use (private, documentation, ...)
are built in.

Examples:
  security warninglist load misp-warninglists/lists/*/list.json
  security extract report.txt --warninglists drop")]
pub(crate) struct Load {
    /// The files; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The values, defanged or not; none, or `-`, reads one a line from standard input
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
    /// Their type [default: told from each value]
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    ioc_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The list's name
    name: String,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Load(arguments) => load(&arguments, session),
        Verb::List => list(session),
        Verb::Check(arguments) => check(&arguments, session),
        Verb::Remove(arguments) => remove(&arguments, session),
    }
}

fn load(arguments: &Load, session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    for file in &arguments.files {
        let input = Input::open(file, &mut session.output)?;
        let name = input.name.clone();
        let document = input.read_document()?;
        // A list that is refused is a matter of its content, not of the command line.
        let info = engine.load_warninglist(&document).map_err(|error| match error {
            security::Error::Invalid { problem, .. } => {
                Failure::new(Exit::Failed, "warninglist-malformed", format!("{name}: {problem}"))
            }
            other => other.into(),
        })?;
        if session.output.is_json() {
            session.output.record(&value_of(&info)?)?;
        } else {
            session.output.line(&format!("{}: {} entries, {}", info.name, info.entries, info.kind))?;
        }
    }
    Ok(Exit::Clean)
}

fn list(session: &mut Session) -> Outcome {
    let mut table = Table::new(&["NAME", "TYPE", "ENTRIES", "SPEAKS OF"]);
    for info in session.engine()?.list_warninglists()? {
        let info = value_of(&info)?;
        if session.output.is_json() {
            session.output.record(&info)?;
            continue;
        }
        let kinds = info["ioc_types"].as_array().map_or_else(
            || "everything".to_owned(),
            |kinds| kinds.iter().filter_map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "),
        );
        table.row([field(&info, "name"), field(&info, "type"), field(&info, "entries"), kinds]);
    }
    session.output.table(&table)?;
    Ok(Exit::Clean)
}

fn check(arguments: &Check, session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    let mut table = Table::new(&["VALUE", "LIST", "HOW", "ENTRY"]);
    let mut any = false;
    each_value(&arguments.values, session, &mut |value, session| {
        let kind = arguments.ioc_type.as_deref().or_else(|| security::identify_ioc_type(value));
        let Some(kind) = kind else {
            let message = format!(
                "`{}` is no indicator of a kind that shows by itself; say its --type",
                brief(value, 80)
            );
            return Err(Failure::usage(&message));
        };
        let warnings = engine.check_warninglists(kind, value)?;
        any |= !warnings.is_empty();
        if session.output.is_json() {
            let warnings = value_of(&warnings)?;
            return session.output.record(&json!({"value": value, "type": kind, "warnings": warnings}));
        }
        for warning in warnings {
            table.row([brief(value, 200), warning.list, warning.match_type.to_owned(), warning.entry]);
        }
        Ok(())
    })?;
    session.output.table(&table)?;
    Ok(if any { Exit::Found } else { Exit::Clean })
}

fn remove(arguments: &Remove, session: &mut Session) -> Outcome {
    if !session.engine()?.remove_warninglist(&arguments.name)? {
        let message = format!("there is no warninglist `{}`", brief(&arguments.name, 80));
        return Err(Failure::new(Exit::Failed, "not-found", message));
    }
    match session.output.is_json() {
        true => session.output.record(&json!({"name": arguments.name, "removed": true}))?,
        false => session.output.line(&format!("removed {}", arguments.name))?,
    }
    Ok(Exit::Clean)
}
