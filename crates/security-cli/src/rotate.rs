//! `security rotate`: replace one of the document's five credentials.

use std::time::Duration;

use serde_json::json;

use crate::{
    arguments::duration,
    output::{Exit, Outcome},
    session::Session,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The new value is shown this once, alone on stdout; only a digest of it is kept. Every previous value,
the environment's among them, is refused after the grace, in every process.")]
pub(crate) struct Arguments {
    /// API_KEY, DB_PASSWORD, SECRET_TOKEN, MAIL_API_KEY or LOGGING_API_KEY, in either case
    #[arg(value_name = "TYPE")]
    credential_type: String,
    /// How long the previous value is still accepted: seconds, or 15m, 12h, 7d
    #[arg(long, value_name = "SECONDS", value_parser = duration, default_value = "0")]
    grace: Duration,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    let new = session.engine()?.rotate_credential(&arguments.credential_type, None, arguments.grace)?;
    let name = arguments.credential_type.trim().to_ascii_uppercase();
    if session.output.is_json() {
        let grace = arguments.grace.as_secs();
        session
            .output
            .record(&json!({"credential_type": name, "grace_seconds": grace, "value": new.expose_text()}))?;
    } else {
        session.output.remark(&format!("the new {name}; it is shown this once and cannot be read back:"));
        session.output.secret(&new)?;
    }
    Ok(Exit::Clean)
}
