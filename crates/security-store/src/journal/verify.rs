//! Checking the chains.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::Path,
};

use security_core::StoreFault;
use security_credentials::ChainLink;
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
    /// Whether every line continues its chain.
    pub intact: bool,
    /// Records read.
    pub records: u64,
    /// Files read.
    pub files: u64,
    /// Files that end in the middle of a line: their process died or is writing just now.
    pub torn: u64,
    /// The first place that is not as it was written.
    pub first_broken: Option<Broken>,
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

/// How a file ended, and what its header says of the one before.
struct Checked {
    lines: u64,
    seq: u64,
    link: ChainLink,
    torn: bool,
    previous: Option<(String, u64, ChainLink)>,
    broken: Option<(u64, String)>,
}

pub(super) fn verify(folder: &Path) -> Result<ChainReport, StoreFault> {
    let mut report = ChainReport { intact: true, records: 0, files: 0, torn: 0, first_broken: None };
    let mut checked: HashMap<String, Checked> = HashMap::new();
    let files = reader::files_of(folder, None)?;
    for file in &files {
        let path = folder.join(&file.name);
        let found = match check(&path, &file.name, file.stream) {
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
    for file in &files {
        let Some((before, seq, link)) = checked.get(&file.name).and_then(|found| found.previous.as_ref())
        else {
            continue;
        };
        match checked.get(before) {
            Some(found) if found.broken.is_none() && (found.seq, found.link) != (*seq, *link) => {
                let reason = format!("its end is missing: {} says that it has {seq} records", file.name);
                report.breaks(before, found.lines + 1, reason);
            }
            // Old usage and alerts are deleted by ourselves; the audit trail never is.
            None if file.stream == Stream::Audit => {
                report.breaks(before, 0, format!("the file is missing: {} follows it", file.name));
            }
            _ => {}
        }
    }
    Ok(report)
}

impl ChainReport {
    fn breaks(&mut self, file: &str, line: u64, reason: String) {
        self.intact = false;
        self.first_broken.get_or_insert(Broken { file: file.to_owned(), line, reason });
    }
}

fn check(path: &Path, name: &str, stream: Stream) -> io::Result<Checked> {
    let mut reader = BufReader::with_capacity(64 << 10, permissions::open_plain(path)?);
    let link = ChainLink::start(name);
    let mut found = Checked { lines: 0, seq: 0, link, torn: false, previous: None, broken: None };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(found);
        }
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            match read > MAX_LINE {
                true => found.broken = Some((found.lines + 1, "a line longer than any we write".to_owned())),
                false => found.torn = true,
            }
            return Ok(found);
        }
        found.lines += 1;
        if let Err(reason) = found.follow(&line, stream) {
            found.broken = Some((found.lines, reason));
            return Ok(found);
        }
    }
}

impl Checked {
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
