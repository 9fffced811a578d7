//! `security ban`: add, list, remove.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::{
    arguments::duration,
    output::{Exit, Outcome, Table, field, moment, value_of},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Turn an address or a network away for a while, in every process of the host
    Add(Add),
    /// List the bans in force, those that end first first
    List,
    /// Lift a ban
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every request from there is answered with 403 from its next request on, whatever key it carries; exempt paths
stay open. An IPv6 address is banned with its /64. A ban of the same network is replaced. What is to be turned
away for good belongs on the list of indicators (`security ioc add`).

Example:
  security ban add 203.0.113.0/24 --for 12h --reason 'credential stuffing, ticket 4711'")]
pub(crate) struct Add {
    /// An address or a network: 203.0.113.9, 203.0.113.0/24, 2001:db8::/32
    network: String,
    /// For how long: seconds, or 15m, 12h, 7d
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "24h")]
    duration: Duration,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The network, as `ban list` shows it
    network: String,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Add(arguments) => add(&arguments, session),
        Verb::List => list(session),
        Verb::Remove(arguments) => remove(&arguments, session),
    }
}

fn add(arguments: &Add, session: &mut Session) -> Outcome {
    let ban = session.engine()?.ban(&arguments.network, arguments.duration, &arguments.reason)?;
    let ban = value_of(&ban)?;
    if session.output.is_json() {
        session.output.record(&ban)?;
    } else {
        let text = format!("banned {} until {}", field(&ban, "network"), moment(&ban, "until"));
        session.output.line(&text)?;
    }
    Ok(Exit::Clean)
}

fn list(session: &mut Session) -> Outcome {
    let bans = value_of(&session.engine()?.bans()?)?;
    let bans = bans.as_array().map(Vec::as_slice).unwrap_or_default();
    if session.output.is_json() {
        bans.iter().try_for_each(|ban| session.output.record(ban))?;
        return Ok(Exit::Clean);
    }
    let mut table = Table::new(&["NETWORK", "UNTIL", "SINCE", "BY", "REASON"]);
    for ban in bans {
        table.row([
            field(ban, "network"),
            moment(ban, "until"),
            moment(ban, "since"),
            field(ban, "by"),
            field(ban, "reason"),
        ]);
    }
    session.output.table(&table)?;
    if bans.is_empty() {
        session.output.remark("no bans");
    }
    Ok(Exit::Clean)
}

fn remove(arguments: &Remove, session: &mut Session) -> Outcome {
    let ban = value_of(&session.engine()?.lift_ban(&arguments.network)?)?;
    if session.output.is_json() {
        session.output.record(&ban)?;
    } else {
        session.output.line(&format!("lifted the ban of {}", field(&ban, "network")))?;
    }
    Ok(Exit::Clean)
}
