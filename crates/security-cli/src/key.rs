//! `security key`: verify, issue, list, revoke, rotate, import, scan, patterns, peppers.

mod patterns;
mod pepper;
mod scan;

use std::{io::BufReader, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use security::{IssueRequest, KeyFilter, UsageContext};
use serde_json::{Map, Value};

use crate::{
    arguments::{duration, pair},
    input::Input,
    output::{Exit, Failure, Outcome, Table, field, moment, value_of},
    progress::Bar,
    secret_input,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check a key: exit code 0 when it is valid, 1 when it is not
    Verify(Verify),
    /// Issue a key; it is shown this once, alone on stdout
    Issue(Issue),
    /// List the issued keys, newest first
    List(List),
    /// Revoke a key: no process of the host accepts it from its next call on
    Revoke(Revoke),
    /// Give a key a new secret; its id and settings stay
    Rotate(Rotate),
    /// Take over keys that another system issued, by the hashes that it kept of them
    Import(Import),
    /// Look for own keys in files and folders; exit code 10 when one is live
    Scan(scan::Arguments),
    /// Show the shape of own keys for a secret scanner
    Patterns(patterns::Arguments),
    /// List the peppers that keys are kept under, and how much needs each
    Peppers,
    /// Keep keys under another pepper from now on; all stay valid
    RotatePepper(pepper::Rotate),
    /// Give up an old pepper that nothing needs any more
    DropPepper(pepper::Give),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The key is read from standard input (with a prompt at a terminal) or from a file, never from the
command line: the shell would keep it in its history, and every user of the machine could read it
in the process list.

Examples:
  security key verify < key.txt
  printf %s \"$KEY\" | security key verify --scope orders:read --json")]
pub(crate) struct Verify {
    /// Read the key from this file
    #[arg(long, value_name = "FILE", conflicts_with = "stdin")]
    key_file: Option<PathBuf>,
    /// Read the key from standard input (the default)
    #[arg(long)]
    stdin: bool,
    /// A scope that the key must have; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The address of the client, for keys that are bound to networks
    #[arg(long, value_name = "ADDRESS")]
    client_ip: Option<String>,
    /// Catches keys on the command line, so that no message repeats them.
    #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
    misplaced: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// A name to know it by
    name: String,
    /// What it may do, `*` is everything; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Whom it is for
    #[arg(long)]
    owner: Option<String>,
    /// How long it lives: seconds, or 12h, 30d, 2w [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires_in: Option<Duration>,
    /// Where it may be used from, 192.0.2.0/24; may be repeated [default: anywhere]
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<String>,
    /// Its own limit: 100/minute, 20/second, unlimited
    #[arg(long, value_name = "RATE")]
    rate_limit: Option<String>,
    /// What the key begins with [default: sk]
    #[arg(long)]
    prefix: Option<String>,
    /// A key that nobody has a reason to use: any use raises a critical alert
    #[arg(long)]
    canary: bool,
    /// A word of your own, kept with the key; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only keys of this owner
    #[arg(long)]
    owner: Option<String>,
    /// Only keys of this name
    #[arg(long)]
    name: Option<String>,
    /// Only keys that are neither revoked nor expired
    #[arg(long, conflicts_with = "ended")]
    active: bool,
    /// Only keys that are revoked or expired
    #[arg(long)]
    ended: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The key's id, as `key list` shows it
    id: String,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The key's id, as `key list` shows it
    id: String,
    /// How long the old secret is still accepted: seconds, or 15m, 12h, 7d
    #[arg(long, value_name = "SECONDS", value_parser = duration, default_value = "0")]
    grace: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The file is JSON lines, or one JSON array, of objects with `name` and `hash`: SHA-256 or SHA-512 of the key in hex
or Base64, also as `sha256$salt$digest` or `sha256:digest`, or a PHC string of Argon2. Further fields:
  algorithm         sha256, sha512 or argon2, where the hash leaves it open
  salt              what was hashed before the key
  key_prefix        the text that this key and no other begins with; Argon2 and salted hashes need it
  hash_covers       `key` (the whole), or `secret`: what follows key_prefix
  owner, scopes, created_at, expires_at (RFC 3339), allowed_networks, rate_limit, canary, metadata
An import may be repeated. The exit code is 1 when a record was rejected.

Example:
  echo '{\"name\": \"billing\", \"scopes\": [\"orders:read\"], \"hash\": \"sha256:9f86d0...\"}' | security key import -")]
pub(crate) struct Import {
    /// The records; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What these keys begin with once they are rotated [default: sk]
    #[arg(long)]
    prefix: Option<String>,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Verify(arguments) => verify(arguments, session),
        Verb::Issue(arguments) => issue(arguments, session),
        Verb::List(arguments) => list(arguments, session),
        Verb::Revoke(arguments) => revoke(&arguments, session),
        Verb::Rotate(arguments) => rotate(&arguments, session),
        Verb::Import(arguments) => import(&arguments, session),
        Verb::Scan(arguments) => scan::run(&arguments, session),
        Verb::Patterns(arguments) => patterns::run(&arguments, session),
        Verb::Peppers => pepper::list(session),
        Verb::RotatePepper(_) => pepper::rotate(session),
        Verb::DropPepper(arguments) => pepper::give_up(&arguments, session),
    }
}

fn verify(arguments: Verify, session: &mut Session) -> Outcome {
    if !arguments.misplaced.is_empty() {
        let message =
            "`key verify` takes no words beside its options; a key is not taken from the command line";
        return Err(Failure::usage(message).with_hint(
            "give the key on standard input or with --key-file; one that stood on a command line is in the shell's \
             history and should be rotated",
        ));
    }
    let key = secret_input::read("key", arguments.key_file.as_deref())?;
    let context = UsageContext {
        client_ip: arguments.client_ip,
        component: Some("command-line".into()),
        ..UsageContext::default()
    };
    let check = value_of(&session.engine()?.check_api_key(key.expose(), &arguments.scopes, context)?)?;
    let valid = check["valid"] == true;
    if session.output.is_json() {
        session.output.record(&check)?;
    } else {
        let word = if valid { "valid" } else { "not valid" };
        let reason = if valid { String::new() } else { format!(": {}", field(&check, "reason")) };
        let name = match check["key_id"].as_str() {
            Some(id) => format!(" ({}, {id})", field(&check, "name")),
            None => String::new(),
        };
        session.output.line(&format!("{word}{reason}{name}"))?;
    }
    Ok(if valid { Exit::Clean } else { Exit::Failed })
}

fn issue(arguments: Issue, session: &mut Session) -> Outcome {
    let metadata: Map<String, Value> =
        arguments.metadata.into_iter().map(|(name, value)| (name, value.into())).collect();
    let (view, key) = session.engine()?.issue_api_key(IssueRequest {
        name: arguments.name,
        scopes: arguments.scopes,
        owner: arguments.owner,
        expires_in: arguments.expires_in,
        allowed_networks: arguments.networks,
        rate_limit: arguments.rate_limit,
        prefix: arguments.prefix,
        canary: arguments.canary,
        metadata,
    })?;
    show_once("issued", &value_of(&view)?, &key, session)
}

fn rotate(arguments: &Rotate, session: &mut Session) -> Outcome {
    let (view, key) = session.engine()?.rotate_api_key(&arguments.id, arguments.grace)?;
    show_once("rotated", &value_of(&view)?, &key, session)
}

/// The key goes to stdout alone, so that `KEY=$(security key issue app)` works; the rest is a remark.
fn show_once(act: &str, view: &Value, key: &security::Secret, session: &mut Session) -> Outcome {
    if session.output.is_json() {
        let mut record = view.clone();
        record["key"] = key.expose_text().into();
        session.output.record(&record)?;
    } else {
        session.output.remark(&format!(
            "{act} key {} ({}); it is shown this once and cannot be read back:",
            field(view, "id"),
            field(view, "name")
        ));
        session.output.secret(key)?;
    }
    Ok(Exit::Clean)
}

fn import(arguments: &Import, session: &mut Session) -> Outcome {
    let input = Input::open(&arguments.file, &mut session.output)?;
    let engine = session.engine()?;
    let bar = Bar::of_bytes(&session.output, &input.name, input.size);
    let reader = BufReader::with_capacity(64 << 10, bar.reading(input.reader));
    let report = engine.import_api_key_file(reader, arguments.prefix.as_deref())?;
    drop(bar);
    let exit = if report.rejected == 0 { Exit::Clean } else { Exit::Failed };
    let report = value_of(&report)?;
    if session.output.is_json() {
        session.output.record(&report)?;
        return Ok(exit);
    }
    for rejection in report["rejections"].as_array().into_iter().flatten() {
        let told = format!("record {}: {}", field(rejection, "record"), field(rejection, "reason"));
        session.output.remark(&told);
    }
    let [imported, present, rejected] = ["imported", "present", "rejected"].map(|name| field(&report, name));
    session
        .output
        .line(&format!("{imported} imported, {present} were there already, {rejected} rejected"))?;
    Ok(exit)
}

fn list(arguments: List, session: &mut Session) -> Outcome {
    let active = (arguments.active || arguments.ended).then_some(arguments.active);
    let filter = KeyFilter { owner: arguments.owner, name: arguments.name, active, limit: None };
    let keys = value_of(&session.engine()?.list_api_keys(&filter)?)?;
    let keys = keys.as_array().map(Vec::as_slice).unwrap_or_default();
    if session.output.is_json() {
        keys.iter().try_for_each(|key| session.output.record(key))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&["ID", "NAME", "OWNER", "SCOPES", "LIMIT", "CREATED", "EXPIRES", "REVOKED"]);
    for key in keys {
        let named = ["id", "name", "owner", "scopes", "rate_limit"].map(|name| field(key, name));
        let times = ["created_at", "expires_at", "revoked_at"].map(|name| moment(key, name));
        table.row(named.into_iter().chain(times));
    }
    session.output.table(&table)?;
    if keys.is_empty() {
        session.output.remark("no keys");
    }
    Ok(Exit::Clean)
}

fn revoke(arguments: &Revoke, session: &mut Session) -> Outcome {
    let view = value_of(&session.engine()?.revoke_api_key(&arguments.id, &arguments.reason)?)?;
    if session.output.is_json() {
        session.output.record(&view)?;
    } else {
        let text = format!(
            "revoked {} ({}) at {}",
            field(&view, "id"),
            field(&view, "name"),
            moment(&view, "revoked_at")
        );
        session.output.line(&text)?;
    }
    Ok(Exit::Clean)
}
