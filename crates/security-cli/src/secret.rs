//! `security secret`: put, get, list, delete, restore, rotate.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use security::{SecretDraft, SecretValue, UsageContext};
use serde_json::{Map, Value, json};

use crate::{
    arguments::pair,
    output::{Exit, Failure, Outcome, Table, counted, field, moment, value_of},
    secret_input,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Store a new version of a secret, encrypted
    Put(Put),
    /// Show a secret, alone on stdout
    Get(Get),
    /// List the secrets, never their values
    List(List),
    /// Delete a secret: it is refused, and can be restored
    Delete(Delete),
    /// Take the deletion of a secret back
    Restore(Restore),
    /// Put another master key in force, and wrap every secret's own key anew under it
    Rotate,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The value is read from standard input (with a prompt at a terminal) or from a file, never from the
command line: the shell would keep it in its history, and every user of the machine could read it
in the process list. One line break at the end of a text is not part of it.

Examples:
  security secret put mail/smtp-password < password.txt
  printf %s \"$TOKEN\" | security secret put deploy/token --if-version 0")]
pub(crate) struct Put {
    /// What it is called: words of letters, digits and `._-`, joined by `/`
    name: String,
    /// Read the value from this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A word of your own about it, not encrypted; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Only if this is the number of the newest version, 0 if there is to be none yet
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    /// Catches values on the command line, so that no message repeats them.
    #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
    misplaced: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The secret's name
    name: String,
    /// This version instead of the newest
    #[arg(long, value_name = "N")]
    version: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also secrets whose newest version is deleted or destroyed
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The secret's name
    name: String,
    /// This version alone, instead of all
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Overwrite the value in the store: nothing brings it back
    #[arg(long)]
    destroy: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The secret's name
    name: String,
    /// This version alone, instead of all
    #[arg(long, value_name = "N")]
    version: Option<u64>,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Put(arguments) => put(arguments, session),
        Verb::Get(arguments) => get(&arguments, session),
        Verb::List(arguments) => list(&arguments, session),
        Verb::Delete(Delete { name, version, destroy }) => {
            let changed = session.engine()?.delete_secret(&name, version, destroy)?;
            changes(if destroy { "destroyed" } else { "deleted" }, &name, changed, session)
        }
        Verb::Restore(Restore { name, version }) => {
            let changed = session.engine()?.restore_secret(&name, version)?;
            changes("restored", &name, changed, session)
        }
        Verb::Rotate => rotate(session),
    }
}

fn put(arguments: Put, session: &mut Session) -> Outcome {
    if !arguments.misplaced.is_empty() {
        let message = "`secret put` takes the name alone beside its options; a value is not taken from the command line";
        return Err(Failure::usage(message).with_hint(
            "give the value on standard input or with --file; one that stood on a command line is in the shell's \
             history and should be replaced",
        ));
    }
    let bytes = secret_input::read_value("value", arguments.file.as_deref())?;
    let is_text = bytes.expose_text().is_some();
    let metadata: Map<String, Value> =
        arguments.metadata.into_iter().map(|(name, value)| (name, value.into())).collect();
    let stored = session.engine()?.store_secret(SecretDraft {
        name: arguments.name,
        value: SecretValue { bytes, is_text },
        metadata,
        if_version: arguments.if_version,
    })?;
    let view = value_of(&stored.view)?;
    if session.output.is_json() {
        session.output.record(&view)?;
    } else {
        let text = format!("stored {} version {}", field(&view, "name"), field(&view, "version"));
        session.output.line(&text)?;
    }
    Ok(Exit::Clean)
}

fn get(arguments: &Get, session: &mut Session) -> Outcome {
    let context = UsageContext { component: Some("command-line".into()), ..UsageContext::default() };
    let value = session.engine()?.read_secret(&arguments.name, arguments.version, context)?;
    if session.output.is_json() {
        let Some(text) = value.bytes.expose_text() else {
            let message = format!("`{}` is no text, and so no JSON", arguments.name);
            return Err(Failure::new(Exit::Failed, "output", message).with_hint("leave --json out"));
        };
        session.output.record(&json!({"name": arguments.name, "value": text}))?;
    } else {
        session.output.value(&value)?;
    }
    Ok(Exit::Clean)
}

fn list(arguments: &List, session: &mut Session) -> Outcome {
    let secrets = value_of(&session.engine()?.list_secrets(arguments.all)?)?;
    let secrets = secrets.as_array().map(Vec::as_slice).unwrap_or_default();
    if session.output.is_json() {
        secrets.iter().try_for_each(|secret| session.output.record(secret))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&["NAME", "VERSION", "STORED", "STATE", "METADATA"]);
    for secret in secrets {
        let state = match (secret["destroyed_at"].is_string(), secret["deleted_at"].is_string()) {
            (true, _) => "destroyed",
            (false, true) => "deleted",
            (false, false) => "-",
        };
        let metadata: Vec<String> = secret["metadata"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={}", crate::output::shown(value)))
            .collect();
        table.row([
            field(secret, "name"),
            field(secret, "version"),
            moment(secret, "created_at"),
            state.to_owned(),
            crate::escape::brief(&metadata.join(" "), 80),
        ]);
    }
    session.output.table(&table)?;
    if secrets.is_empty() {
        session.output.remark("no secrets");
    }
    Ok(Exit::Clean)
}

fn changes(act: &str, name: &str, changed: usize, session: &mut Session) -> Outcome {
    if session.output.is_json() {
        session.output.record(&json!({"name": name, "act": act, "versions": changed}))?;
    } else {
        session.output.line(&format!("{act} {} of {name}", counted(changed, "version")))?;
    }
    Ok(Exit::Clean)
}

fn rotate(session: &mut Session) -> Outcome {
    let report = session.engine()?.rotate_master_key()?;
    if session.output.is_json() {
        session.output.record(&report)?;
    } else {
        session.output.facts(&value_of(&report)?)?;
    }
    Ok(if report.refused.is_empty() { Exit::Clean } else { Exit::Failed })
}
