//! `security audit`: verify the audit trail's hash chains, and show it.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::{
    escape::brief,
    output::{Exit, Outcome, Table, field, moment, value_of},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check the hash chain of every journal file; exit code 1 when one is broken
    Verify,
    /// Show the latest records of the audit trail
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The most records
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Only records of this event, for example `key_revoked`
    #[arg(long)]
    event: Option<String>,
    /// Only records about this key
    #[arg(long, value_name = "ID")]
    key: Option<String>,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Verify => verify(session),
        Verb::Show(arguments) => show(arguments, session),
    }
}

fn verify(session: &mut Session) -> Outcome {
    let report = value_of(&session.engine()?.verify_audit_log()?)?;
    if session.output.is_json() {
        session.output.record(&report)?;
    } else {
        session.output.facts(&report)?;
    }
    Ok(if report["intact"] == true { Exit::Clean } else { Exit::Failed })
}

fn show(arguments: Show, session: &mut Session) -> Outcome {
    let named = [("event", arguments.event), ("key_id", arguments.key)];
    let filter: Map<String, Value> =
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
    let records = session.engine()?.audit_log(arguments.limit, &filter)?;
    if session.output.is_json() {
        records.iter().try_for_each(|record| session.output.record(record))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&["TIME", "EVENT", "REQUEST", "DETAILS"]);
    for record in &records {
        let details: Vec<String> = record["details"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={}", crate::output::shown(value)))
            .collect();
        table.row([
            moment(record, "at"),
            field(record, "event"),
            field(record, "request_id"),
            brief(&details.join(" "), 120),
        ]);
    }
    session.output.table(&table)?;
    if records.is_empty() {
        session.output.remark("no records");
    }
    Ok(Exit::Clean)
}
