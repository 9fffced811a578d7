//! `security policy`: what a policy does and risks (`check`), what it makes of a request and why (`explain`).

use std::path::PathBuf;

use security::GivenRequest;
use serde_json::Value;

use crate::{
    input::Input,
    output::{Exit, Failure, Outcome, Table, field, value_of},
    session::Session,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Read a policy out, and say what is risky about it; exit code 10 when something is
    Check(Check),
    /// Say what becomes of a request and why; exit code 10 when it is turned away
    Explain(Arguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is a configuration as SECURITY_CONFIG names it; of that, the table `web` is read out. Nothing is opened
or made. A file that cannot be used is exit code 2, with the line.

Example:
  security policy check deploy/security.toml")]
pub(crate) struct Check {
    /// The configuration file [default: the one in use]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is one JSON object: method, path, query (raw, without ?), headers (an object, or a list of pairs),
body (a text), remote_addr, scheme; all may be left out. Nothing is counted or recorded; limits and keys are
not looked at.

Example:
  echo '{\"path\": \"/search\", \"query\": \"q=1%27+or+1=1--\"}' | security policy explain -")]
pub(crate) struct Arguments {
    /// The request; `-` is standard input
    #[arg(value_name = "REQUEST.json")]
    file: PathBuf,
}

pub(crate) fn run(verb: &Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Check(arguments) => check(arguments, session),
        Verb::Explain(arguments) => explain(arguments, session),
    }
}

fn check(arguments: &Check, session: &mut Session) -> Outcome {
    if let Some(file) = arguments.file.as_ref().filter(|file| !file.is_file()) {
        return Err(Failure::new(Exit::NoInput, "input", format!("{}: no such file", file.display())));
    }
    let review = security::review_policy(&session.options_with(arguments.file.as_deref()))?;
    let exit = if review.has_risk() { Exit::Found } else { Exit::Clean };
    let review = value_of(&review)?;
    if session.output.is_json() {
        session.output.record(&review)?;
        return Ok(exit);
    }
    let rows = |name: &str| review[name].as_array().cloned().unwrap_or_default();
    let mut steps = Table::new(&["STEP", "WHAT IT DOES"]);
    for step in rows("steps") {
        steps.row(["step", "says"].map(|part| field(&step, part)));
    }
    session.output.table(&steps)?;
    let mut remarks = Table::new(&["LEVEL", "SETTING", "WHAT FOLLOWS"]);
    for remark in rows("remarks") {
        remarks.row(["level", "setting", "says"].map(|part| field(&remark, part)));
    }
    session.output.line("")?;
    session.output.table(&remarks)?;
    Ok(exit)
}

fn explain(arguments: &Arguments, session: &mut Session) -> Outcome {
    let input = Input::open(&arguments.file, &mut session.output)?;
    let name = input.name.clone();
    let document: Value = serde_json::from_slice(&input.read_document()?)
        .map_err(|error| wrong(&name, &format!("no JSON: {error}")))?;
    let request = request_of(&document).map_err(|problem| wrong(&name, &problem))?;
    let decision = session.engine()?.explain_request(&request)?;
    let exit = if decision.is_allowed() { Exit::Clean } else { Exit::Found };
    let decision = value_of(&decision)?;
    if session.output.is_json() {
        session.output.record(&decision)?;
        return Ok(exit);
    }
    let mut table = Table::new(&["REASON", "KIND", "WHERE", "EVIDENCE"]);
    for reason in decision["reasons"].as_array().into_iter().flatten() {
        table.row(["id", "category", "where", "evidence"].map(|part| field(reason, part)));
    }
    session.output.cells([field(&decision, "action").as_str(), &field(&decision, "status")])?;
    session.output.table(&table)?;
    Ok(exit)
}

fn wrong(name: &str, problem: &str) -> Failure {
    Failure::new(Exit::Failed, "request", format!("{name}: {problem}"))
        .with_hint("`security policy explain --help` shows what a request looks like")
}

fn request_of(document: &Value) -> Result<GivenRequest, String> {
    let fields = document.as_object().ok_or("a JSON object is needed")?;
    let mut request = GivenRequest::default();
    for (name, value) in fields {
        let text = || value.as_str().map(str::to_owned).ok_or_else(|| format!("{name}: a text is needed"));
        match name.as_str() {
            "method" => request.method = text()?,
            "path" => request.path = text()?,
            "query" => request.query = text()?,
            "scheme" => request.scheme = text()?,
            "remote_addr" if value.is_null() => {}
            "remote_addr" => request.remote_addr = Some(text()?),
            "body" if value.is_null() => {}
            "body" => request.body = Some(text()?.into_bytes()),
            "headers" => request.headers = headers_of(value)?,
            other => return Err(format!("`{other}` is no part of a request")),
        }
    }
    Ok(request)
}

fn headers_of(value: &Value) -> Result<Vec<(String, Vec<u8>)>, String> {
    const NEEDED: &str = "headers: an object of texts, or a list of pairs of texts, is needed";
    let line = |name: &str, value: &Value| {
        let value = value.as_str().ok_or(NEEDED)?;
        Ok((name.to_owned(), value.as_bytes().to_vec()))
    };
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| line(name, value)).collect(),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([Value::String(name), value]) => line(name, value),
                _ => Err(NEEDED.to_owned()),
            })
            .collect(),
        _ => Err(NEEDED.into()),
    }
}
