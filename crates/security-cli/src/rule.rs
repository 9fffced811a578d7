//! `security rule`: add, test, list.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use security::RuleDraft;
use serde_json::{Value, json};

use crate::{
    alerts::evidence,
    escape::brief,
    input::{EventFormat, Input, each_event, empty},
    output::{Exit, Failure, Outcome, Table, counted, field, value_of},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a rule; it is in force at once in every process
    Add(Add),
    /// Try a rule on events; nothing is stored or recorded. Exit code 10 when it matches one
    Test(Test),
    /// List the rules in force, and what is wrong with the others
    List,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  security rule add rules/scanner.yml
  security rule add 'Bad path' --detection '{\"pattern\": \"/wp-admin\", \"field\": \"path\"}'
  security rule add 'Bad network' --severity high --detection @network.json")]
pub(crate) struct Add {
    /// A rule file (.yml, .yaml, .json), or the name of a rule that the options describe
    #[arg(value_name = "FILE|NAME")]
    name: String,
    /// What it looks for: JSON, or `@FILE` with JSON
    #[arg(long, value_name = "JSON|@FILE")]
    detection: Option<String>,
    /// What it finds
    #[arg(long, short, requires = "detection")]
    description: Option<String>,
    /// info, low, medium, high or critical [default: medium]
    #[arg(long, short, requires = "detection")]
    severity: Option<String>,
    /// A tag; may be repeated
    #[arg(long = "tag", short, value_name = "TAG", requires = "detection")]
    tags: Vec<String>,
    /// What should be done about a match; may be repeated
    #[arg(long = "recommend", value_name = "TEXT", requires = "detection")]
    recommendations: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The rule file (.yml, .yaml, .json); every rule in it is tried
    rule: PathBuf,
    /// The events: JSON lines, or one JSON array or object; `-` is standard input
    events: PathBuf,
    /// Take every line as a text
    #[arg(long)]
    text: bool,
}

pub(crate) fn run(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Add(arguments) => add(arguments, session),
        Verb::Test(arguments) => test(&arguments, session),
        Verb::List => list(session),
    }
}

fn is_rule_file(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["yml", "yaml", "json"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

fn add(arguments: Add, session: &mut Session) -> Outcome {
    let rules = match &arguments.detection {
        Some(detection) => {
            let draft = RuleDraft {
                name: arguments.name,
                description: arguments.description.unwrap_or_default(),
                detection: detection_of(detection, session)?,
                severity: arguments.severity.unwrap_or_default(),
                tags: arguments.tags,
                recommendations: arguments.recommendations,
            };
            vec![session.engine()?.create_threat_rule(draft)?]
        }
        None if is_rule_file(Path::new(&arguments.name)) => {
            let (name, bytes) = rule_file(Path::new(&arguments.name), session)?;
            session.engine()?.add_rule_file(&name, &bytes)?
        }
        None => {
            return Err(Failure::usage("a rule needs something to look for")
                .with_hint("give `--detection JSON`, or a rule file ending in .yml, .yaml or .json"));
        }
    };
    if session.output.is_json() {
        rules.iter().try_for_each(|rule| session.output.record(rule))?;
        return Ok(Exit::Clean);
    }
    for rule in &rules {
        let text = format!(
            "rule {} in force: {} ({})",
            field(rule, "id"),
            field(rule, "name"),
            field(rule, "severity")
        );
        session.output.line(&text)?;
    }
    Ok(Exit::Clean)
}

fn detection_of(text: &str, session: &mut Session) -> Result<Value, Failure> {
    let (name, bytes) = match text.strip_prefix('@') {
        Some(path) => (path.to_owned(), Input::open(Path::new(path), &mut session.output)?.read_document()?),
        None => ("--detection".to_owned(), text.as_bytes().to_vec()),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::usage(format!("{name}: {error}")).with_hint(
            "accepted is JSON like '{\"pattern\": \"/etc/passwd\"}', or @ and the name of a file with it",
        )
    })
}

fn rule_file(path: &Path, session: &mut Session) -> Result<(String, Vec<u8>), Failure> {
    let bytes = Input::open(path, &mut session.output)?.read_document()?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok((name.to_owned(), bytes))
}

fn test(arguments: &Test, session: &mut Session) -> Outcome {
    let (name, bytes) = rule_file(&arguments.rule, session)?;
    let rules = security::read_rule_file(&name, &bytes)?;
    let format = if arguments.text { EventFormat::Text } else { EventFormat::Json };
    let input = Input::open(&arguments.events, &mut session.output)?;
    let events_name = input.name.clone();
    let mut events = Vec::new();
    let mut lines = Vec::new();
    each_event(input, format, false, &mut |event, line| {
        events.push(event);
        lines.push(line);
        Ok(())
    })?;
    if events.is_empty() {
        return Err(empty(&events_name));
    }
    let engine = session.engine()?;
    let mut table = Table::new(&["RULE", "LINE", "MATCH", "EVIDENCE"]);
    let mut matched = 0;
    for rule in &rules {
        for trial in engine.test_rule(rule, &events)? {
            let line = lines[trial.event];
            matched += usize::from(trial.matched);
            let trial = value_of(&trial)?;
            if session.output.is_json() {
                let mut record = json!({"rule_id": rule["id"], "rule_name": rule["name"], "line": line});
                for (name, value) in trial.as_object().into_iter().flatten() {
                    record[name] = value.clone();
                }
                session.output.record(&record)?;
            } else {
                let shown = if trial["matched"] == true { brief(&evidence(&trial), 80) } else { "-".into() };
                table.row([
                    brief(&field(rule, "name"), 40),
                    line.to_string(),
                    field(&trial, "matched"),
                    shown,
                ]);
            }
        }
    }
    session.output.table(&table)?;
    session.output.remark(&format!(
        "{} on {}: {matched} matched",
        counted(rules.len(), "rule"),
        counted(events.len(), "event")
    ));
    Ok(if matched > 0 { Exit::Found } else { Exit::Clean })
}

fn list(session: &mut Session) -> Outcome {
    let engine = session.engine()?;
    let load = value_of(&engine.load_rules(None)?)?;
    let rules = engine.list_rules()?;
    if session.output.is_json() {
        rules.iter().try_for_each(|rule| session.output.record(rule))?;
    } else {
        let mut table = Table::new(&["ID", "SEVERITY", "ENABLED", "NAME", "TAGS", "FILE"]);
        for rule in &rules {
            let cell = |name: &str| field(rule, name);
            let (name, tags) = (brief(&cell("name"), 60), brief(&cell("tags"), 40));
            table.row([cell("id"), cell("severity"), cell("enabled"), name, tags, cell("file")]);
        }
        session.output.table(&table)?;
        if rules.is_empty() {
            session.output.remark("no rules");
        }
    }
    // A rule that somebody believes to be in force and that is not must be seen, whatever the output.
    let problems = load["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    if problems.is_empty() {
        return Ok(Exit::Clean);
    }
    let told: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}", field(problem, "file"), field(problem, "problem")))
        .collect();
    Err(Failure::new(Exit::Failed, "rules-left-out", format!("not in force: {}", told.join("; ")))
        .with_hint("mend or remove the files in the data directory's `threat_rules`"))
}
