//! `security taxii`: servers, their collections, and what they hold.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use security::{Engine, FetchRequest, TaxiiConfigDraft, TaxiiSession, Timestamp};

use crate::{
    escape::brief,
    output::{Exit, Failure, Outcome, Table, field, value_of},
    progress::Bar,
    secret_input,
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Store a server under a name; an older one of that name is replaced
    Add(Add),
    /// List the stored servers
    List,
    /// List the collections of a server
    Collections(Collections),
    /// Pull what a server holds, and keep it
    Pull(Pull),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A password is read from standard input (with a prompt at a terminal) or from a file, never from the
command line, which every user of the machine can read in the process list.")]
pub(crate) struct Add {
    /// The name: letters, digits, `-`, `_`, `.`
    name: String,
    /// The discovery URL
    #[arg(long)]
    url: String,
    /// The user
    #[arg(long, short, value_name = "USER")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Read the password from this file
    #[arg(long, value_name = "FILE", requires = "username", conflicts_with = "password_stdin")]
    password_file: Option<PathBuf>,
    /// Catches passwords on the command line, so that no message repeats them.
    #[arg(long = "password", hide = true, num_args = 0..=1, allow_hyphen_values = true)]
    misplaced: Option<Option<std::ffi::OsString>>,
    /// A collection to pull from; may be repeated [default: all that can be read]
    #[arg(long = "collection", value_name = "ID")]
    collections: Vec<String>,
    /// What it is for
    #[arg(long, short, default_value = "", hide_default_value = true)]
    description: String,
}

#[derive(Debug, Args)]
pub(crate) struct Collections {
    /// The server's name [default: TAXII_SERVER_URL, or the only stored one]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The server's name [default: TAXII_SERVER_URL, or the only stored one]
    name: Option<String>,
    /// Only this collection [default: the stored ones, or all that can be read]
    #[arg(long, value_name = "ID")]
    collection: Option<String>,
    /// Only what was added after this time, 2026-11-24T08:30:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// The most objects
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,
    /// The priority of the intelligence records: Critical, High, Medium, Low
    #[arg(long, value_name = "LEVEL", default_value = "Medium")]
    priority: String,
    /// Keep the indicators only, no intelligence records
    #[arg(long)]
    indicators_only: bool,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Add(arguments) => add(arguments, session),
        Verb::List => list(session),
        Verb::Collections(arguments) => collections(&arguments, session),
        Verb::Pull(arguments) => pull(&arguments, session),
    }
}

fn add(arguments: Add, session: &mut Session) -> Outcome {
    if arguments.misplaced.is_some() {
        return Err(Failure::usage("a password is not taken from the command line")
            .with_hint("use --password-stdin or --password-file"));
    }
    let password = match (&arguments.password_file, arguments.password_stdin) {
        (None, false) => None,
        (file, _) => Some(secret_input::read("password", file.as_deref())?),
    };
    let server = session.engine()?.create_taxii_config(TaxiiConfigDraft {
        config_name: arguments.name,
        server_url: arguments.url,
        username: arguments.username,
        password,
        collections: arguments.collections,
        description: arguments.description,
    })?;
    if session.output.is_json() {
        session.output.record(&server)?;
    } else {
        session.output.line(&format!(
            "stored {} ({})",
            field(&server, "name"),
            field(&server, "server_url")
        ))?;
    }
    Ok(Exit::Clean)
}

fn list(session: &mut Session) -> Outcome {
    let servers = session.engine()?.list_taxii_configs()?;
    if session.output.is_json() {
        servers.iter().try_for_each(|server| session.output.record(server))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&["NAME", "URL", "USER", "PASSWORD", "COLLECTIONS", "DESCRIPTION"]);
    for server in &servers {
        let cell = |name: &str| field(server, name);
        let (collections, description) = (brief(&cell("collections"), 80), brief(&cell("description"), 60));
        table.row([
            cell("name"),
            cell("server_url"),
            cell("username"),
            cell("has_password"),
            collections,
            description,
        ]);
    }
    session.output.table(&table)?;
    if servers.is_empty() {
        session.output.remark("no servers");
    }
    Ok(Exit::Clean)
}

fn server(engine: &Engine, name: Option<&str>) -> Result<TaxiiSession, Failure> {
    engine.taxii(name).map_err(|error| match error {
        security::Error::Configuration(_) | security::Error::NotFound { .. } => Failure::from(error)
            .with_hint("`security taxii list` shows the stored servers, `security taxii add` stores one"),
        other => other.into(),
    })
}

fn collections(arguments: &Collections, session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    let collections = server(&engine, arguments.name.as_deref())?.list_collections()?;
    if session.output.is_json() {
        collections.iter().try_for_each(|collection| session.output.record(collection))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&["ID", "TITLE", "READ", "WRITE", "API ROOT"]);
    for collection in &collections {
        let cell = |name: &str| field(collection, name);
        table.row([
            cell("id"),
            brief(&cell("title"), 60),
            cell("can_read"),
            cell("can_write"),
            cell("api_root"),
        ]);
    }
    session.output.table(&table)?;
    if collections.is_empty() {
        session.output.remark("no collections");
    }
    Ok(Exit::Clean)
}

fn pull(arguments: &Pull, session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    let server = server(&engine, arguments.name.as_deref())?;
    let request = FetchRequest {
        collection_id: arguments.collection.clone(),
        start: arguments.since,
        limit: arguments.limit,
        ..FetchRequest::default()
    };
    let bar = Bar::of_things(&session.output, server.name(), None);
    bar.say("objects".into());
    let store = !arguments.indicators_only;
    let done =
        engine.ingest_taxii(&server, &request, &arguments.priority, store, &mut |objects| bar.at(objects));
    drop(bar);
    let done = done?;
    if session.output.is_json() {
        session.output.record(&value_of(&done)?)?;
        return Ok(Exit::Clean);
    }
    let text = format!(
        "{}: {} objects; indicators: {} added, {} merged, {} skipped; intelligence records: {} added, {} known",
        server.name(),
        done.objects,
        done.indicators_added,
        done.indicators_merged,
        done.skipped.len(),
        done.intel_added,
        done.intel_ids.len().saturating_sub(done.intel_added),
    );
    session.output.line(&text)?;
    Ok(Exit::Clean)
}
