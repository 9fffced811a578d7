//! `security identify`: say what kind of indicator a value is.

use std::io::BufReader;

use serde_json::json;

use crate::{
    input::{Input, Lines, STANDARD_INPUT, empty},
    output::{Exit, Failure, Outcome},
    session::Session,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The values; none, or `-`, reads one a line from standard input
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    let mut all_known = true;
    each_value(&arguments.values, session, &mut |value, session| {
        let kind = security::identify_ioc_type(value);
        all_known &= kind.is_some();
        match session.output.is_json() {
            true => session.output.record(&json!({"value": value, "type": kind})),
            false => session.output.cells([kind.unwrap_or("unknown"), value]),
        }
    })?;
    Ok(if all_known { Exit::Clean } else { Exit::Failed })
}

/// Hands over the values of the command line, or those of standard input when there are none or one is `-`.
pub(crate) fn each_value(
    values: &[String],
    session: &mut Session,
    take: &mut dyn FnMut(&str, &mut Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !values.is_empty() && values != ["-"] {
        return values.iter().try_for_each(|value| take(value, session));
    }
    let input = Input::open("-".as_ref(), &mut session.output)?;
    let mut lines = Lines::new(STANDARD_INPUT, BufReader::new(input.reader));
    let mut taken = false;
    while let Some((_, line)) = lines.next()? {
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            taken = true;
            take(text.trim(), session)?;
        }
    }
    if taken { Ok(()) } else { Err(empty(STANDARD_INPUT)) }
}
