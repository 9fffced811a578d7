//! Checking the chains.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::Path,
};

use security_core::StoreFault;
use security_credentials::{ChainLink, JournalEnd};
use serde::Serialize;
use serde_json::Value;

use super::{
    reader,
    record::{self, MAX_LINE, Stream},
};
use crate::{fault, permissions};

/// What a check of a folder of journals found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// Whether everything is there as it was written.
    pub intact: bool,
    /// Records read.
    pub records: u64,
    /// Files read.
    pub files: u64,
    /// Files that end in the middle of a line: their process died or is writing just now.
    pub torn: u64,
    /// Records of the audit trail that nothing outside the journal vouches for: they came after the last writing of
    /// the head, by a process that runs or was killed. Whether more of them were there cannot be said.
    pub unvouched: u64,
    /// The first place that is not as it was written.
    pub first_broken: Option<Broken>,
    /// All of them, [`ChainReport::MOST_BROKEN`] at most.
    pub broken: Vec<Broken>,
}

/// A place in a journal that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The file's name.
    pub file: String,
    /// The line, counted from 1; 0 is the file as a whole.
    pub line: u64,
    /// What is wrong there.
    pub reason: String,
}

/// What is known of a file from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// How far it went, at least; exactly so far if it is closed.
    pub end: JournalEnd,
    /// Who says so, for the report: `the audit head`.
    pub by: String,
}

/// How a file ended, and what its header says of the one before.
struct Checked {
    lines: u64,
    seq: u64,
    link: ChainLink,
    torn: bool,
    previous: Option<(String, u64, ChainLink)>,
    broken: Option<(u64, String)>,
    vouched: u64,
}

/// What is known of one file, so that each line is held against what concerns it and no more.
#[derive(Default)]
struct Claims<'c> {
    by_number: HashMap<u64, Vec<&'c Claim>>,
    /// The one that says earliest that nothing follows.
    closed: Option<&'c Claim>,
}

impl<'c> Claims<'c> {
    fn take(&mut self, claim: &'c Claim) {
        self.by_number.entry(claim.end.seq).or_default().push(claim);
        if claim.end.closed && self.closed.is_none_or(|known| claim.end.seq < known.end.seq) {
            self.closed = Some(claim);
        }
    }
}

pub(super) fn verify(
    folder: &Path,
    claims: &[Claim],
    each: &mut dyn FnMut(Stream, &[u8]),
) -> Result<ChainReport, StoreFault> {
    let mut report = ChainReport::default();
    let mut claimed: HashMap<&str, Claims<'_>> = HashMap::new();
    for claim in claims {
        claimed.entry(&claim.end.file).or_default().take(claim);
    }
    let nothing = Claims::default();
    let mut checked: HashMap<String, Checked> = HashMap::new();
    let files = reader::files_of(folder, None)?;
    for file in &files {
        let path = folder.join(&file.name);
        let of_file = claimed.get(file.name.as_str()).unwrap_or(&nothing);
        let found = match check(&path, &file.name, file.stream, of_file, each) {
            // The oldest files go when there are too many.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found.map_err(|error| fault::from_io(&error, &path))?,
        };
        report.files += 1;
        report.records += found.seq;
        report.torn += u64::from(found.torn);
        if let Some((line, reason)) = &found.broken {
            report.breaks(&file.name, *line, reason.clone());
        }
        checked.insert(file.name.clone(), found);
    }
    for claim in claims {
        let (name, seq) = (claim.end.file.as_str(), claim.end.seq);
        match checked.get(name) {
            None => {
                report.breaks(name, 0, format!("the file is missing: {} knows {seq} records of it", claim.by))
            }
            Some(found) if found.broken.is_none() && found.seq < seq => {
                let reason = format!("its end is missing: {} knows {seq} records of it", claim.by);
                report.breaks(name, found.lines + 1, reason);
            }
            _ => {}
        }
    }
    for file in &files {
        let Some((before, seq, link)) = checked.get(&file.name).and_then(|found| found.previous.clone())
        else {
            continue;
        };
        match checked.get_mut(&before) {
            Some(found) if found.broken.is_none() && (found.seq, found.link) != (seq, link) => {
                let reason = format!("its end is missing: {} says that it has {seq} records", file.name);
                report.breaks(&before, found.lines + 1, reason);
            }
            Some(found) => found.vouched = found.seq,
            // Old usage and alerts are deleted by ourselves; the audit trail never is.
            None if file.stream == Stream::Audit => {
                report.breaks(&before, 0, format!("the file is missing: {} follows it", file.name));
            }
            None => {}
        }
    }
    let audit = files.iter().filter(|file| file.stream == Stream::Audit);
    let beyond = |file: &reader::JournalFile| {
        checked.get(&file.name).map_or(0, |found| found.seq.saturating_sub(found.vouched))
    };
    report.unvouched = audit.map(beyond).sum();
    Ok(report)
}

impl Default for ChainReport {
    fn default() -> Self {
        Self {
            intact: true,
            records: 0,
            files: 0,
            torn: 0,
            unvouched: 0,
            first_broken: None,
            broken: Vec::new(),
        }
    }
}

impl ChainReport {
    /// The most places that are listed.
    pub const MOST_BROKEN: usize = 100;

    /// Takes a place in that is not as it was written; the same one once.
    pub fn breaks(&mut self, file: &str, line: u64, reason: String) {
        self.intact = false;
        let broken = Broken { file: file.to_owned(), line, reason };
        if self.broken.iter().any(|known| known.file == file && known.line == line) {
            return;
        }
        self.first_broken.get_or_insert_with(|| broken.clone());
        if self.broken.len() < Self::MOST_BROKEN {
            self.broken.push(broken);
        }
    }
}

pub(super) fn each_line(
    folder: &Path,
    stream: Stream,
    each: &mut dyn FnMut(&str, &[u8]),
) -> Result<(), StoreFault> {
    for file in reader::files_of(folder, Some(stream))? {
        let path = folder.join(&file.name);
        let mut line_of = |line: &[u8]| {
            each(&file.name, line);
            Ok(())
        };
        match lines_of(&path, &mut line_of) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => drop(read.map_err(|error| fault::from_io(&error, &path))?),
        }
    }
    Ok(())
}

/// How the lines of a file ended.
enum End {
    Whole,
    /// In the middle of a line.
    Torn,
    /// With a line longer than any we write.
    TooLong,
    /// With the line that was refused, for this reason.
    Refused(String),
}

/// Gives the lines of a file without their breaks, until one is refused.
fn lines_of(path: &Path, each: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> io::Result<End> {
    let mut reader = BufReader::with_capacity(64 << 10, permissions::open_plain(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(End::Whole);
        }
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            return Ok(if read > MAX_LINE { End::TooLong } else { End::Torn });
        }
        if let Err(reason) = each(&line) {
            return Ok(End::Refused(reason));
        }
    }
}

fn check(
    path: &Path,
    name: &str,
    stream: Stream,
    claims: &Claims<'_>,
    each: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<Checked> {
    let link = ChainLink::start(name);
    let mut found = Checked { lines: 0, seq: 0, link, torn: false, previous: None, broken: None, vouched: 0 };
    let end = lines_of(path, &mut |line| {
        found.lines += 1;
        found.follow(line, stream)?;
        found.meets(claims)?;
        each(stream, line);
        Ok(())
    })?;
    match end {
        End::Whole => {}
        End::Torn => found.torn = true,
        End::TooLong => found.broken = Some((found.lines + 1, "a line longer than any we write".to_owned())),
        End::Refused(reason) => found.broken = Some((found.lines, reason)),
    }
    Ok(found)
}

impl Checked {
    /// Holds the line just followed against what is known of it from elsewhere.
    fn meets(&mut self, claims: &Claims<'_>) -> Result<(), String> {
        if let Some(known) = claims.by_number.get(&self.seq) {
            if let Some(claim) = known.iter().find(|claim| claim.end.chain != self.link) {
                return Err(format!("the records up to here are not those that {} knows", claim.by));
            }
            self.vouched = self.seq;
        }
        match claims.closed {
            Some(Claim { end, by }) if self.seq > end.seq => {
                Err(format!("the record was added: {by} knows {} records of the file", end.seq))
            }
            _ => Ok(()),
        }
    }

    /// Takes the next line in, or says why it cannot be it.
    fn follow(&mut self, line: &[u8], stream: Stream) -> Result<(), String> {
        let Some((seq, covered, link)) = record::read_line(line) else {
            return Err("it is no line of a journal".to_owned());
        };
        let expected = self.lines - 1;
        if seq != expected {
            return Err(format!("record {expected} belongs here, record {seq} is here"));
        }
        if self.link.next(&covered) != link {
            return Err(match seq {
                0 => "the header was changed, or belongs to another file".to_owned(),
                _ => "the record was changed".to_owned(),
            });
        }
        if seq == 0 {
            let header: Value = serde_json::from_slice(line).map_err(|_| "it is no header".to_owned())?;
            if header["journal"] != 1 || header["stream"] != stream.as_str() {
                return Err("it is no header of this stream".to_owned());
            }
            let before = &header["previous"];
            self.previous = before["file"].as_str().zip(before["seq"].as_u64()).and_then(|(file, seq)| {
                Some((file.to_owned(), seq, before["chain"].as_str()?.parse().ok()?))
            });
        }
        (self.seq, self.link) = (seq, link);
        Ok(())
    }
}
