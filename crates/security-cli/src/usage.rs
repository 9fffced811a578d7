//! `security usage`: the latest uses of credentials.

use crate::{
    escape::brief,
    output::{Exit, Outcome, Table, field, moment},
    session::Session,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The most records
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    let records = session.engine()?.recent_usage(arguments.limit)?;
    if session.output.is_json() {
        records.iter().try_for_each(|record| session.output.record(record))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&[
        "TIME",
        "CREDENTIAL",
        "KEY",
        "COMPONENT",
        "OPERATION",
        "OK",
        "REASON",
        "CLIENT",
        "USER AGENT",
    ]);
    for record in &records {
        let cell = |name: &str| brief(&field(record, name), 40);
        table.row([
            moment(record, "timestamp"),
            cell("credential_type"),
            cell("key_id"),
            cell("component"),
            cell("operation"),
            cell("success"),
            cell("reason"),
            cell("client_ip"),
            cell("user_agent"),
        ]);
    }
    session.output.table(&table)?;
    if records.is_empty() {
        session.output.remark("no uses recorded");
    }
    Ok(Exit::Clean)
}
