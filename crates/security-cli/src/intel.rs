//! `security intel`: search indicators and intelligence records, show one.

use clap::{Args, Subcommand};
use security::SearchRequest;
use serde_json::Value;

use crate::{
    escape::brief,
    output::{Exit, Failure, Outcome, Table, field, moment},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Search indicators and intelligence records alike, newest first
    Search(Search),
    /// Show one intelligence record
    Show(Show),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  security intel search phishing
  security intel search --query '{\"type\": \"ip\", \"tags\": [\"botnet\", \"scanner\"]}' --json")]
pub(crate) struct Search {
    /// Words that stand anywhere in it, all of them
    text: Vec<String>,
    /// Fields that must be equal, as a JSON object with dotted keys
    #[arg(long, value_name = "JSON")]
    query: Option<String>,
    /// Only records of this source type
    #[arg(long, value_name = "TYPE")]
    source_type: Option<String>,
    /// Only records of this priority: Critical, High, Medium, Low
    #[arg(long, value_name = "LEVEL")]
    priority: Option<String>,
    /// Any of these tags; may be repeated
    #[arg(long = "tag", short, value_name = "TAG")]
    tags: Vec<String>,
    /// The most results
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The record's id
    id: String,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Search(arguments) => search(arguments, session),
        Verb::Show(arguments) => show(&arguments, session),
    }
}

fn search(arguments: Search, session: &mut Session) -> Outcome {
    let query = arguments.query.as_deref().map(serde_json::from_str).transpose().map_err(|error| {
        Failure::usage(format!("--query: {error}"))
            .with_hint("accepted is a JSON object like '{\"type\": \"ip\"}'")
    })?;
    let request = SearchRequest {
        query,
        source_type: arguments.source_type,
        priority_level: arguments.priority,
        tags: arguments.tags,
        text: (!arguments.text.is_empty()).then(|| arguments.text.join(" ")),
        limit: arguments.limit,
    };
    let results = session.engine()?.search_intelligence(&request)?;
    if session.output.is_json() {
        results.iter().try_for_each(|result| session.output.record(result))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&["KIND", "ID", "WHAT", "FROM", "LEVEL", "TAGS", "SEEN"]);
    for result in &results {
        table.row(row(result));
    }
    session.output.table(&table)?;
    if results.is_empty() {
        session.output.remark("nothing found");
    }
    Ok(Exit::Clean)
}

fn row(result: &Value) -> [String; 7] {
    let cell = |name: &str| field(result, name);
    let tags = brief(&cell("tags"), 40);
    if result["kind"] == "ioc" {
        let what = format!("{} {}", cell("type"), cell("value"));
        return [
            "ioc".into(),
            cell("id"),
            what,
            cell("source"),
            cell("confidence"),
            tags,
            moment(result, "last_seen"),
        ];
    }
    let what = brief(&title(&result["data"]), 60);
    [
        "intel".into(),
        cell("id"),
        what,
        cell("source_type"),
        cell("priority_level"),
        tags,
        moment(result, "created_at"),
    ]
}

/// What a record is about, in a few words: the field that usually says so, else the beginning of it all.
fn title(data: &Value) -> String {
    let named = ["title", "name", "subject", "value", "description", "content", "text"].into_iter();
    named
        .filter_map(|name| data.get(name)?.as_str())
        .next()
        .map_or_else(|| crate::output::shown(data), str::to_owned)
}

fn show(arguments: &Show, session: &mut Session) -> Outcome {
    let Some(record) = session.engine()?.retrieve_intelligence(&arguments.id)? else {
        let message = format!("there is no intelligence record `{}`", brief(&arguments.id, 80));
        return Err(Failure::new(Exit::Failed, "not-found", message)
            .with_hint("`security intel search` lists records with their ids"));
    };
    if session.output.is_json() {
        session.output.record(&record)?;
    } else {
        session.output.facts(&record)?;
    }
    Ok(Exit::Clean)
}
