//! `security config show`: every setting, its value and where it came from.

use crate::{
    output::{Exit, Outcome, Table, field, value_of},
    session::Session,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Show every setting and where its value came from; secrets are masked
    Show,
}

pub(crate) fn run(session: &mut Session) -> Outcome {
    let lines = value_of(&session.engine()?.config_show()?)?;
    let lines = lines.as_array().map(Vec::as_slice).unwrap_or_default();
    if session.output.is_json() {
        lines.iter().try_for_each(|line| session.output.record(line))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&["NAME", "VALUE", "FROM", "NOTE"]);
    for line in lines {
        let note = line["note"].as_str().unwrap_or_default().to_owned();
        table.row([field(line, "name"), field(line, "value"), field(line, "source"), note]);
    }
    session.output.table(&table)?;
    Ok(Exit::Clean)
}
