//! `security defang` and `security refang`: disarm the indicators of a text and arm them again.

use std::{
    io::{BufReader, Write},
    path::PathBuf,
};

use serde_json::json;

use crate::{
    escape::visible,
    input::{Input, Lines, empty},
    output::{Exit, Outcome},
    session::Session,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Words to convert; none, or `-`, reads standard input line by line
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    texts: Vec<String>,
    /// Convert a file line by line
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Converts with the function given.
pub(crate) fn run(arguments: &Arguments, convert: fn(&str) -> String, session: &mut Session) -> Outcome {
    let from_input = arguments.texts.is_empty() || arguments.texts == ["-"];
    if !from_input {
        for text in &arguments.texts {
            show(text, &convert(text), session)?;
        }
        return Ok(Exit::Clean);
    }
    let path = arguments.file.clone().unwrap_or_else(|| "-".into());
    let input = Input::open(&path, &mut session.output)?;
    let name = input.name.clone();
    let mut lines = Lines::new(&name, BufReader::new(input.reader));
    let mut taken = false;
    while let Some((_, line)) = lines.next()? {
        taken = true;
        let text = String::from_utf8_lossy(line);
        show(&text, &convert(&text), session)?;
    }
    if taken { Ok(Exit::Clean) } else { Err(empty(&name)) }
}

/// Converted text keeps its tabs; other hidden characters are escaped as everywhere.
fn show(text: &str, converted: &str, session: &mut Session) -> Result<(), crate::output::Failure> {
    if session.output.is_json() {
        return session.output.record(&json!({"text": text, "result": converted}));
    }
    let safe: Vec<_> = converted.split('\t').map(visible).collect();
    let raw = session.output.raw();
    raw.write_all(safe.join("\t").as_bytes())?;
    Ok(raw.write_all(b"\n")?)
}
