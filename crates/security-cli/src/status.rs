//! `security status`: store, counts, journal, epochs, versions.

use crate::{
    output::{Exit, Outcome},
    session::Session,
};

pub(crate) fn run(session: &mut Session) -> Outcome {
    let status = session.engine()?.status();
    if session.output.is_json() {
        session.output.record(&status)?;
    } else {
        session.output.facts(&status)?;
    }
    Ok(Exit::Clean)
}
