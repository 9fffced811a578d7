//! `security extract`: find indicators in text.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use security::{ExtractedIoc, Finder, IocType, Warned, on_all_cores};

use crate::{
    input::{Input, empty, unreadable},
    output::{Exit, Failure, Outcome, value_of},
    progress::Bar,
    session::Session,
};

/// Of a folder, so many files are read at a time, on all cores, and then shown in order.
const TOGETHER: usize = 64;
/// A larger file of a folder is read by itself, piece by piece: what is found in smaller ones is held until it is shown.
const HELD: u64 = 4 << 20;

/// `scan` reads a file in blocks of this size, cut after a line: what is found in one is held until it is shown.
const BLOCK: usize = 2 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
One indicator a line, type and value with a tab between. With --json each has its `start` and `end`
in bytes of the file, whether it was `defanged`, and its `context`. Files may be of any size; gzip
files are unpacked as they are read, and places count in what was unpacked. Of a folder all plain
files are read, in the order of their names and on all cores, and each line says which.

Examples:
  security extract report.txt
  security extract mail.eml --json | jq .value
  security extract access.log.1.gz --unique
  security extract --type domain --type url --unique -- *.log")]
pub(crate) struct Arguments {
    /// Files and folders to read; none, or `-`, is standard input
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
    let finder = finder(arguments, session)?;
    let mut shown = Shown { seen: HashSet::new(), left: arguments.limit.unwrap_or(usize::MAX), arguments };
    let mut empty_name = None;
    let mut unreadable_file = None;
    let mut read = 0;
    for file in files {
        if file.as_os_str() != "-" && file.is_dir() {
            read += of_folder(file, &finder, &mut shown, &mut unreadable_file, session)?;
            empty_name = Some(file.display().to_string());
            continue;
        }
        let input = Input::open(file, &mut session.output)?;
        let name = input.name.clone();
        let shown_name = (files.len() > 1).then_some(name.as_str());
        read += extract(input, shown_name, &finder, &mut shown, session)?;
        empty_name = Some(name);
    }
    match (unreadable_file, empty_name) {
        (Some(told), _) => Err(Failure::new(Exit::Failed, "input", told)),
        (None, Some(name)) if read == 0 => Err(empty(&name)),
        _ => Ok(Exit::Clean),
    }
}

fn finder(arguments: &Arguments, session: &mut Session) -> Result<Finder, Failure> {
    let types = (!arguments.types.is_empty()).then_some(arguments.types.as_slice());
    Ok(match arguments.warninglists.parse()? {
        // Needs no store.
        Warned::Keep => Finder::new(types, false, None)?,
        warned => session.engine()?.finder(types, false, None, warned)?,
    })
}

/// What was shown so far.
struct Shown<'a> {
    arguments: &'a Arguments,
    seen: HashSet<(IocType, String)>,
    left: usize,
}

impl Shown<'_> {
    /// Shows a find, unless it was shown already and once is enough; whether there may be more.
    fn show(
        &mut self,
        found: ExtractedIoc,
        file: Option<&str>,
        session: &mut Session,
    ) -> Result<bool, Failure> {
        if self.arguments.unique && !self.seen.insert((found.kind, found.value.clone())) {
            return Ok(true);
        }
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        if session.output.is_json() {
            let mut found = value_of(&found)?;
            if let Some(name) = file {
                found["file"] = name.into();
            }
            session.output.record(&found)?;
        } else {
            let lists = found.warnings.map(|warnings| {
                warnings.iter().map(|warning| warning.list.as_str()).collect::<Vec<_>>().join(", ")
            });
            let cells = [found.kind.as_str(), found.value.as_str()];
            session.output.cells(file.into_iter().chain(cells).chain(lists.as_deref()))?;
        }
        Ok(true)
    }
}

/// Gives the number of bytes read.
fn extract(
    input: Input,
    shown_name: Option<&str>,
    finder: &Finder,
    shown: &mut Shown<'_>,
    session: &mut Session,
) -> Result<usize, Failure> {
    let refused = |error: std::io::Error| unreadable(&input.name, &error);
    let bar = Bar::of_bytes(&session.output, &input.name, input.size);
    let mut stream = finder.clone().stream(bar.reading(input.reader)).map_err(refused)?;
    while let Some(found) = stream.next().transpose().map_err(refused)? {
        if !shown.show(found, shown_name, session)? {
            break;
        }
    }
    Ok(stream.bytes_read())
}

/// The plain files below a folder, in the order of their names; gives the number of bytes read. What cannot be read is
/// told, and the first such file is the command's failure at its end.
fn of_folder(
    folder: &Path,
    finder: &Finder,
    shown: &mut Shown<'_>,
    unreadable_file: &mut Option<String>,
    session: &mut Session,
) -> Result<usize, Failure> {
    let (mut files, mut waiting, mut read) = (Vec::new(), vec![folder.to_owned()], 0);
    while let Some(path) = waiting.pop() {
        // Of links only the one that the caller named is followed.
        let found = if path == folder { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        match found.and_then(|found| contents(&path, &found)) {
            Ok(Content::Folder(entries)) => waiting.extend(entries.into_iter().rev()),
            Ok(Content::File(size)) => files.push((path, size)),
            Ok(Content::Other) => {}
            Err(error) => tell(&path.display().to_string(), &error, unreadable_file, session),
        }
    }
    let searched = |(path, size): &(PathBuf, u64)| {
        (*size <= HELD).then(|| -> io::Result<(Vec<ExtractedIoc>, usize)> {
            let mut stream = finder.clone().stream(File::open(path)?)?;
            let found = stream.by_ref().collect::<io::Result<_>>()?;
            Ok((found, stream.bytes_read()))
        })
    };
    for some in files.chunks(TOGETHER) {
        for ((path, _), held) in some.iter().zip(on_all_cores(some, searched)) {
            let name = path.display().to_string();
            match held {
                Some(Ok((found, bytes))) => {
                    read += bytes;
                    for ioc in found {
                        if !shown.show(ioc, Some(&name), session)? {
                            return Ok(read);
                        }
                    }
                }
                Some(Err(error)) => tell(&name, &error, unreadable_file, session),
                None => {
                    let input = Input::open(path, &mut session.output)?;
                    match extract(input, Some(&name), finder, shown, session) {
                        Ok(bytes) => read += bytes,
                        Err(Failure::Told { code: "input", message, .. }) => {
                            session.output.remark(&message);
                            unreadable_file.get_or_insert(message);
                        }
                        Err(other) => return Err(other),
                    }
                }
            }
        }
    }
    Ok(read)
}

/// What stands at a path.
enum Content {
    /// A folder, and what is in it, in the order of the names.
    Folder(Vec<PathBuf>),
    /// A plain file, and its size in bytes.
    File(u64),
    /// A link, a pipe or the like: not followed, not read.
    Other,
}

fn contents(path: &Path, found: &fs::Metadata) -> io::Result<Content> {
    if found.is_dir() {
        let mut entries = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        return Ok(Content::Folder(entries));
    }
    Ok(if found.is_file() { Content::File(found.len()) } else { Content::Other })
}

fn tell(name: &str, error: &io::Error, first: &mut Option<String>, session: &mut Session) {
    let told = format!("cannot read {name}: {error}");
    session.output.remark(&told);
    first.get_or_insert(told);
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
