//! `security key peppers`, `rotate-pepper`, `drop-pepper`: what digests are made under.

use crate::{
    output::{Exit, Outcome, Table, field, moment, value_of},
    session::Session,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is stored of a key is a digest under the pepper in force. Everything that is accepted stays so; what is checked
from now on is kept under the new pepper, and `security key peppers` says how much still needs the old one.
With SECURITY_PEPPER set, that one is put in force; the one before belongs into SECURITY_PEPPER_PREVIOUS then.")]
pub(crate) struct Rotate {}

#[derive(Debug, clap::Args)]
pub(crate) struct Give {
    /// Its version, as `key peppers` shows it
    version: u32,
    /// Also if values that rotations ended are told by it: they count as never seen afterwards, and are accepted again where
    /// they are still set
    #[arg(long)]
    forget_superseded: bool,
}

pub(crate) fn list(session: &mut Session) -> Outcome {
    let uses = value_of(&session.engine()?.pepper_uses()?)?;
    let uses = uses.as_array().map(Vec::as_slice).unwrap_or_default();
    if session.output.is_json() {
        uses.iter().try_for_each(|pepper| session.output.record(pepper))?;
        return Ok(Exit::Clean);
    }
    let mut table =
        Table::new(&["VERSION", "ID", "SINCE", "IN FORCE", "KEYS", "IMPORTED", "VALUES", "SUPERSEDED"]);
    for pepper in uses {
        let since = moment(pepper, "made_at");
        let counts = ["in_force", "keys", "imported", "values", "superseded"].map(|name| field(pepper, name));
        let named = ["version", "key_id"].map(|name| field(pepper, name));
        table.row(named.into_iter().chain([since]).chain(counts));
    }
    session.output.table(&table)?;
    Ok(Exit::Clean)
}

pub(crate) fn rotate(session: &mut Session) -> Outcome {
    let made = value_of(&session.engine()?.rotate_pepper()?)?;
    match session.output.is_json() {
        true => session.output.record(&made)?,
        false => session.output.line(&format!(
            "pepper {} ({}) is in force",
            field(&made, "version"),
            field(&made, "key_id")
        ))?,
    }
    Ok(Exit::Clean)
}

pub(crate) fn give_up(arguments: &Give, session: &mut Session) -> Outcome {
    let version = arguments.version;
    session.engine()?.drop_pepper(version, arguments.forget_superseded)?;
    match session.output.is_json() {
        true => session.output.record(&serde_json::json!({"dropped": version}))?,
        false => session.output.line(&format!("pepper {version} is given up"))?,
    }
    Ok(Exit::Clean)
}
