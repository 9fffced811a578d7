//! `security alerts`: the latest alerts of all processes.

use serde_json::Value;

use crate::{
    escape::brief,
    output::{Exit, Failure, Outcome, Table, field, moment},
    session::Session,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only alerts of this severity: info, low, medium, high, critical
    #[arg(long)]
    severity: Option<String>,
    /// The most alerts
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    let alerts = session.engine()?.recent_alerts(arguments.severity.as_deref(), arguments.limit)?;
    show(&alerts, session)?;
    if alerts.is_empty() {
        session.output.remark("no alerts");
    }
    Ok(Exit::Clean)
}

/// Alerts as a table, or as JSON lines.
pub(crate) fn show(alerts: &[Value], session: &mut Session) -> Result<(), Failure> {
    if session.output.is_json() {
        return alerts.iter().try_for_each(|alert| session.output.record(alert));
    }
    let mut table = Table::new(&["TIME", "SEVERITY", "RULE", "EVIDENCE"]);
    for alert in alerts {
        table.row([
            moment(alert, "timestamp"),
            field(alert, "severity"),
            brief(&field(alert, "rule_name"), 60),
            brief(&evidence(alert), 80),
        ]);
    }
    session.output.table(&table)
}

/// What an alert rests on, in one line: `field=value, …`; its description where it names nothing.
pub(crate) fn evidence(alert: &Value) -> String {
    let shown: Vec<String> = alert["evidence"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|part| match part["field"].as_str().filter(|name| !name.is_empty()) {
            Some(name) => format!("{name}={}", field(part, "value")),
            None => field(part, "value"),
        })
        .collect();
    if shown.is_empty() { field(alert, "description") } else { shown.join(", ") }
}
