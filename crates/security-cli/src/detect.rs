//! `security detect`: run events through the rules and record the alerts.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::{
    alerts::{self, evidence},
    input::{EventFormat, Input, each_event, empty},
    output::{Exit, Outcome, counted, field},
    session::Session,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  security detect events.jsonl
  tail -F /var/log/app.jsonl | security detect --json --skip-bad
  security detect --text /var/log/nginx/access.log")]
pub(crate) struct Arguments {
    /// Events: JSON lines, or one JSON array or object; none, or `-`, is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take every line as a text, an event {"message": line}
    #[arg(long)]
    text: bool,
    /// Go on after lines that are no JSON, and say how many there were
    #[arg(long, conflicts_with = "text")]
    skip_bad: bool,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    let standard_input = [PathBuf::from("-")];
    let files = if arguments.files.is_empty() { standard_input.as_slice() } else { &arguments.files };
    let format = if arguments.text { EventFormat::Text } else { EventFormat::Json };
    let (mut events, mut skipped, mut raised) = (0, 0, 0);
    for file in files {
        let input = Input::open(file, &mut session.output)?;
        let name = input.name.clone();
        let count = each_event(input, format, arguments.skip_bad, &mut |event, line| {
            let context: Map<String, Value> =
                Map::from_iter([("file".to_owned(), json!(name)), ("line".to_owned(), json!(line))]);
            let found = engine.analyze(&event, &context)?;
            if found.is_empty() {
                return Ok(());
            }
            raised += found.len();
            if session.output.is_json() {
                alerts::show(&found, session)?;
            } else {
                for alert in &found {
                    let place = format!("{name}:{line}");
                    let [severity, rule] = ["severity", "rule_name"].map(|part| field(alert, part));
                    session.output.cells([severity.as_str(), &rule, &place, &evidence(alert)])?;
                }
            }
            // Whoever watches a log that goes on wants to see an alert now.
            session.output.flush()
        })?;
        if count.events + count.skipped == 0 {
            return Err(empty(&name));
        }
        events += count.events;
        skipped += count.skipped;
    }
    let bad = if skipped > 0 { format!(", {} skipped", counted(skipped, "bad line")) } else { String::new() };
    session.output.remark(&format!("{}, {}{bad}", counted(events, "event"), counted(raised, "alert")));
    Ok(if raised > 0 { Exit::Found } else { Exit::Clean })
}
