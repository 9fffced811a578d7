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

/// What is longer is cut here, and is still too long for the engine when a line break is taken off.
const LONGEST: u64 = (64 << 10) + 3;

/// Reads a secret from the file, or from standard input: with a prompt at a terminal, else to the end of the
/// input. One line break at the end is not part of it.
pub(crate) fn read(what: &str, file: Option<&Path>) -> Result<Secret, Failure> {
    there(what, without_break(read_whole(what, file)?))
}

/// Likewise, a secret that may be no text, and is then taken as it is.
pub(crate) fn read_value(what: &str, file: Option<&Path>) -> Result<Secret, Failure> {
    let bytes = read_whole(what, file)?;
    there(what, if std::str::from_utf8(&bytes).is_ok() { without_break(bytes) } else { Secret::new(bytes) })
}

fn there(what: &str, secret: Secret) -> Result<Secret, Failure> {
    if secret.is_empty() {
        return Err(Failure::new(Exit::NoInput, "no-input", format!("there is no {what} to read"))
            .with_hint(format!("give the {what} on standard input, or name a file")));
    }
    Ok(secret)
}

fn read_whole(what: &str, file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match file {
        Some(path) => {
            let told = |error: io::Error| {
                Failure::new(Exit::NoInput, "no-input", format!("cannot read {}: {error}", path.display()))
            };
            from_reader(File::open(path).map_err(told)?).map_err(told)
        }
        None if io::stdin().is_terminal() => prompt(what).map_err(from_stdin),
        None => from_reader(io::stdin().lock()).map_err(from_stdin),
    }
}

fn from_stdin(error: io::Error) -> Failure {
    Failure::new(Exit::NoInput, "no-input", format!("cannot read standard input: {error}"))
}

fn prompt(what: &str) -> io::Result<Vec<u8>> {
    write!(io::stderr().lock(), "{}: ", visible(what))?;
    Ok(console::Term::stderr().read_secure_line()?.into_bytes())
}

fn from_reader(reader: impl Read) -> io::Result<Vec<u8>> {
    // Room for everything at once: a buffer that grows leaves copies behind that nobody wipes.
    let mut bytes = Vec::with_capacity(LONGEST as usize + 1);
    reader.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn without_break(mut bytes: Vec<u8>) -> Secret {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Secret::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_is_dropped() {
        for (input, secret) in
            [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), ("abc\n\n", "abc\n"), ("\n", "")]
        {
            assert_eq!(without_break(input.into()), Secret::new(secret), "{input:?}");
        }
    }

    #[test]
    fn what_is_cut_is_still_too_long() {
        for end in ["\n", "\r\n", "x"] {
            let long = "x".repeat(LONGEST as usize - end.len()) + end + "and more";
            assert!(without_break(from_reader(long.as_bytes()).unwrap()).len() > security::SecretValue::MOST);
        }
    }

    #[test]
    fn reading_stops_at_the_longest() {
        assert_eq!(from_reader(io::repeat(b'a')).unwrap().len(), LONGEST as usize);
    }
}
