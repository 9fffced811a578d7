//! Secrets come in by a file, a pipe, or a prompt that does not show them; never by the command line, which the
//! shell's history keeps and every user of the machine can read in the process list.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::Path,
};

use security::Secret;

use crate::{
    escape::visible,
    output::{Exit, Failure},
};

/// Nothing longer is anybody's secret; the engine refuses far shorter ones.
const LONGEST: u64 = 64 << 10;

/// Reads a secret from the file, or from standard input: with a prompt at a terminal, else to the end of the
/// input. One line break at the end is not part of it.
pub(crate) fn read(what: &str, file: Option<&Path>) -> Result<Secret, Failure> {
    let secret = match file {
        Some(path) => {
            let told = |error: io::Error| {
                Failure::new(Exit::NoInput, "no-input", format!("cannot read {}: {error}", path.display()))
            };
            from_reader(File::open(path).map_err(told)?).map_err(told)?
        }
        None if io::stdin().is_terminal() => prompt(what).map_err(from_stdin)?,
        None => from_reader(io::stdin().lock()).map_err(from_stdin)?,
    };
    if secret.is_empty() {
        return Err(Failure::new(Exit::NoInput, "no-input", format!("there is no {what} to read"))
            .with_hint(format!("give the {what} on standard input, or name a file")));
    }
    Ok(secret)
}

fn from_stdin(error: io::Error) -> Failure {
    Failure::new(Exit::NoInput, "no-input", format!("cannot read standard input: {error}"))
}

fn prompt(what: &str) -> io::Result<Secret> {
    write!(io::stderr().lock(), "{}: ", visible(what))?;
    Ok(Secret::new(console::Term::stderr().read_secure_line()?))
}

fn from_reader(reader: impl Read) -> io::Result<Secret> {
    // Room for everything at once: a buffer that grows leaves copies behind that nobody wipes.
    let mut bytes = Vec::with_capacity(LONGEST as usize + 1);
    reader.take(LONGEST).read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_is_dropped() {
        for (input, secret) in
            [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), ("abc\n\n", "abc\n"), ("\n", "")]
        {
            assert_eq!(from_reader(input.as_bytes()).unwrap(), Secret::new(secret), "{input:?}");
        }
    }

    #[test]
    fn reading_stops_at_the_longest() {
        assert_eq!(from_reader(io::repeat(b'a')).unwrap().len(), LONGEST as usize);
    }
}
