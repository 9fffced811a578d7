//! `security extract`: find indicators in text.

use std::{collections::HashSet, io::Read, path::PathBuf};

use security::{Finder, IocType, Warned};

use crate::{
    input::{Input, empty, unreadable},
    output::{Exit, Outcome, value_of},
    progress::Bar,
    session::Session,
};

/// `scan` reads a file in blocks of this size, cut after a line: what is found in one is held until it is shown.
const BLOCK: usize = 2 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
One indicator a line, type and value with a tab between. With --json each has its `start` and `end`
in bytes of the file, whether it was `defanged`, and its `context`. Files may be of any size; gzip
files are unpacked as they are read, and places count in what was unpacked.

Examples:
  security extract report.txt
  security extract mail.eml --json | jq .value
  security extract access.log.1.gz --unique
  security extract --type domain --type url --unique -- *.log")]
pub(crate) struct Arguments {
    /// Files to read; none, or `-`, is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only this type, for example ip, domain, url, sha256; may be repeated
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    types: Vec<String>,
    /// Every value once
    #[arg(long, short)]
    unique: bool,
    /// What happens to indicators that are on a warninglist; `flag` shows the lists' names
    #[arg(long, value_name = "WHAT", default_value = "keep", value_parser = ["keep", "flag", "drop"])]
    warninglists: String,
    /// Stop after so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(crate) fn run(arguments: &Arguments, session: &mut Session) -> Outcome {
    let standard_input = [PathBuf::from("-")];
    let files = if arguments.files.is_empty() { standard_input.as_slice() } else { &arguments.files };
    let mut seen = HashSet::new();
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut empty_name = None;
    let mut read = 0;
    for file in files {
        let input = Input::open(file, &mut session.output)?;
        let name = input.name.clone();
        let shown_name = (files.len() > 1).then_some(name.as_str());
        read += extract(input, shown_name, arguments, &mut seen, &mut left, session)?;
        empty_name = Some(name);
    }
    match empty_name {
        Some(name) if read == 0 => Err(empty(&name)),
        _ => Ok(Exit::Clean),
    }
}

/// Gives the number of bytes read.
fn extract(
    input: Input,
    shown_name: Option<&str>,
    arguments: &Arguments,
    seen: &mut HashSet<(IocType, String)>,
    left: &mut usize,
    session: &mut Session,
) -> Result<usize, crate::output::Failure> {
    let types = (!arguments.types.is_empty()).then_some(arguments.types.as_slice());
    let finder = match arguments.warninglists.parse()? {
        // Needs no store.
        Warned::Keep => Finder::new(types, false, None)?,
        warned => session.engine()?.finder(types, false, None, warned)?,
    };
    let refused = |error: std::io::Error| unreadable(&input.name, &error);
    let bar = Bar::of_bytes(&session.output, &input.name, input.size);
    let mut stream = finder.stream(bar.reading(input.reader)).map_err(refused)?;
    while let Some(found) = stream.next().transpose().map_err(refused)? {
        if arguments.unique && !seen.insert((found.kind, found.value.clone())) {
            continue;
        }
        if *left == 0 {
            break;
        }
        *left -= 1;
        if session.output.is_json() {
            let mut found = value_of(&found)?;
            if let Some(name) = shown_name {
                found["file"] = name.into();
            }
            session.output.record(&found)?;
        } else {
            let lists = found.warnings.map(|warnings| {
                warnings.iter().map(|warning| warning.list.as_str()).collect::<Vec<_>>().join(", ")
            });
            let cells = [found.kind.as_str(), found.value.as_str()];
            session.output.cells(shown_name.into_iter().chain(cells).chain(lists.as_deref()))?;
        }
    }
    Ok(stream.bytes_read())
}

/// A reader in large pieces that end after a line, so that no indicator is cut in two.
pub(crate) struct Blocks<R> {
    reader: R,
    rest: Vec<u8>,
    ended: bool,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, rest: Vec::new(), ended: false }
    }

    pub(crate) fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut block = std::mem::take(&mut self.rest);
        while !self.ended && block.len() < BLOCK {
            let missing = (BLOCK - block.len()) as u64;
            self.ended = (&mut self.reader).take(missing).read_to_end(&mut block)? == 0;
        }
        if block.is_empty() {
            return Ok(None);
        }
        if !self.ended {
            // A block without any line break is binary; it is cut where a character ends.
            let cut = block
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or_else(|| character_end(&block), |at| at + 1);
            self.rest = block.split_off(cut);
        }
        Ok(Some(block))
    }
}

/// The last place, at most three bytes back, where no UTF-8 character is cut.
fn character_end(block: &[u8]) -> usize {
    let starts = |byte: &u8| *byte & 0b1100_0000 != 0b1000_0000;
    let tail = block.len().saturating_sub(4);
    block[tail..].iter().rposition(starts).filter(|at| tail + at > 0).map_or(block.len(), |at| tail + at)
}

/// The bytes as text in which every byte stands at its own offset: what is no UTF-8 becomes spaces.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| ' '));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_keep_their_place() {
        assert_eq!(readable(b"ab\xff\xfecd"), "ab  cd");
        assert_eq!(readable("grün".as_bytes()), "grün");
    }

    #[test]
    fn blocks_end_after_a_line_and_lose_nothing() {
        let line = b"x 192.0.2.1 y\n";
        let text: Vec<u8> = line.iter().copied().cycle().take(BLOCK + 5 * line.len() + 3).collect();
        let mut blocks = Blocks::new(text.as_slice());
        let mut joined = Vec::new();
        let mut sizes = Vec::new();
        while let Some(block) = blocks.next().unwrap() {
            sizes.push(block.len());
            joined.extend(block);
        }
        assert!(joined == text);
        assert_eq!(sizes.len(), 2);
        assert_eq!(sizes[0] % line.len(), 0);
    }

    #[test]
    fn a_block_without_lines_is_cut_between_characters() {
        assert_eq!(character_end("aé".as_bytes()), 1);
        assert_eq!(character_end("abc".as_bytes()), 2);
        assert_eq!(character_end(&[0x80; 6]), 6);
    }
}
