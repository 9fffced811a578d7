//! `security suspicion`: look for suspicious use of credentials.

use crate::{
    escape::brief,
    output::{Exit, Outcome, Table, field, moment, value_of},
    session::Session,
};

pub(crate) fn run(session: &mut Session) -> Outcome {
    let findings = value_of(&session.engine()?.suspicious_activity()?)?;
    let findings = findings.as_array().map(Vec::as_slice).unwrap_or_default();
    if session.output.is_json() {
        findings.iter().try_for_each(|finding| session.output.record(finding))?;
    } else {
        let mut table = Table::new(&["SEVERITY", "TYPE", "CREDENTIAL", "KEY", "USES", "LAST SEEN", "WHAT"]);
        for finding in findings {
            let cell = |name: &str| field(finding, name);
            let what = brief(&cell("description"), 120);
            table.row([
                cell("severity"),
                cell("type"),
                cell("credential_type"),
                cell("key_id"),
                cell("count"),
                moment(finding, "last_seen"),
                what,
            ]);
        }
        session.output.table(&table)?;
        if findings.is_empty() {
            session.output.remark("nothing suspicious");
        }
    }
    Ok(if findings.is_empty() { Exit::Clean } else { Exit::Found })
}
