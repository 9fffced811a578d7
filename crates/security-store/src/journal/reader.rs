//! Reading journals backwards, newest record first, over the files of all processes.

use std::{
    collections::BinaryHeap,
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use security_core::{StoreFault, Timestamp};
use serde_json::Value;

use super::{
    JournalOptions,
    record::{self, MAX_LINE, Stream},
};
use crate::{fault, permissions};

/// Bytes read in one go.
pub(super) const BLOCK: u64 = 64 << 10;

/// A file's last write may be noted so much earlier than it was, by clocks that are not quite one.
const CLOCK_LEEWAY_MICROS: i64 = 60_000_000;

/// A journal's file in the folder.
#[derive(Debug)]
pub(super) struct JournalFile {
    pub(super) name: String,
    pub(super) stream: Stream,
    pub(super) bytes: u64,
    pub(super) path: PathBuf,
    pub(super) opened: Timestamp,
    /// No record in it is newer.
    pub(super) newest: Timestamp,
}

/// The journal's files, oldest first; of one stream or of all.
pub(super) fn files_of(folder: &Path, stream: Option<Stream>) -> Result<Vec<JournalFile>, StoreFault> {
    let refused = |error: io::Error| fault::from_io(&error, folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((of, opened)) = record::parse_file_name(&name) else { continue };
        if stream.is_some_and(|wanted| wanted != of) {
            continue;
        }
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata.map_err(refused)?,
        };
        if !metadata.is_file() {
            continue;
        }
        let written = metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1000);
        let newest = match Timestamp::from_micros(written) {
            // Not the clock that named the file: its times say nothing.
            written if written < opened => Timestamp::MAX,
            written => Timestamp::from_micros(written.as_micros().saturating_add(CLOCK_LEEWAY_MICROS)),
        };
        files.push(JournalFile {
            path: entry.path(),
            stream: of,
            bytes: metadata.len(),
            name,
            opened,
            newest,
        });
    }
    files.sort_by(|a, b| (a.opened, &a.name).cmp(&(b.opened, &b.name)));
    Ok(files)
}

/// Removes the oldest files of a stream until the rest is within what is to be kept. Files in use stay.
pub(super) fn forget_oldest(folder: &Path, stream: Stream, options: &JournalOptions) {
    let files = files_of(folder, Some(stream)).unwrap_or_default();
    let (mut count, mut bytes) = (files.len(), files.iter().map(|file| file.bytes).sum::<u64>());
    for file in files {
        if count < options.keep_files && bytes <= options.keep_bytes {
            return;
        }
        // Whoever writes a file holds its lock.
        let unused = permissions::open_plain(&file.path).is_ok_and(|open| open.try_lock().is_ok());
        if unused && fs::remove_file(&file.path).is_ok() {
            count -= 1;
            bytes -= file.bytes;
        }
    }
}

/// Calls `each` with a stream's records, newest first, until it answers `false`.
pub(super) fn each_newest_first(
    folder: &Path,
    stream: Stream,
    each: &mut dyn FnMut(Value) -> bool,
) -> Result<(), StoreFault> {
    let mut unread = files_of(folder, Some(stream))?;
    // The file last written to is the last of the list. A file is read only when a record in it might be the
    // newest left, so that the last hundred of ten thousand files cost a look at a few.
    unread.sort_by_key(|file| file.newest);
    let mut heads: BinaryHeap<Head> = BinaryHeap::new();
    loop {
        while let Some(file) = unread.pop_if(|file| heads.peek().is_none_or(|head| file.newest >= head.at)) {
            let head = Backwards::open(&file).and_then(Head::of);
            heads.extend(head.map_err(|error| fault::from_io(&error, &file.path))?);
        }
        let Some(Head { record, rest, .. }) = heads.pop() else { return Ok(()) };
        if !each(record) {
            return Ok(());
        }
        let path = rest.path.clone();
        heads.extend(Head::of(rest).map_err(|error| fault::from_io(&error, &path))?);
    }
}

/// The newest unread record of a file, and the rest of it.
struct Head {
    at: Timestamp,
    record: Value,
    rest: Backwards,
}

impl Head {
    fn of(mut file: Backwards) -> io::Result<Option<Self>> {
        while let Some(line) = file.line_before()? {
            // The header is number 0 and the first of its file.
            if line.starts_with(b"{\"seq\":0,") {
                return Ok(None);
            }
            let Ok(Value::Object(mut record)) = serde_json::from_slice(&line) else {
                tracing::debug!(file = %file.path.display(), "a line of the journal is no record");
                continue;
            };
            record.shift_remove("seq");
            record.shift_remove("chain");
            let at = record.get("at").and_then(Value::as_str).and_then(|at| at.parse().ok());
            // A record that tells no time comes when the one after it did.
            let at = at.unwrap_or(file.at);
            file.at = at;
            return Ok(Some(Self { at, record: Value::Object(record), rest: file }));
        }
        Ok(None)
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, &self.rest.path).cmp(&(other.at, &other.rest.path))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// A file read line by line from its end. Holds no descriptor between blocks: there may be thousands of files.
pub(super) struct Backwards {
    path: PathBuf,
    /// Everything from here on was read.
    start: u64,
    /// What was read and not yet given, from `start` on; ends where a line ends, without its break.
    block: Vec<u8>,
    /// The time of the record given last.
    at: Timestamp,
}

impl Backwards {
    pub(super) fn open(file: &JournalFile) -> io::Result<Self> {
        let mut this =
            Self { path: file.path.clone(), start: file.bytes, block: Vec::new(), at: file.opened };
        // What stands after the last line break is being written, or was when its process died.
        loop {
            if let Some(end) = this.block.iter().rposition(|byte| *byte == b'\n') {
                this.block.truncate(end);
                return Ok(this);
            }
            if this.start == 0 || !this.read_block()? {
                this.block.clear();
                this.start = 0;
                return Ok(this);
            }
        }
    }

    pub(super) fn line_before(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.block.iter().rposition(|byte| *byte == b'\n') {
                let line = self.block.split_off(at + 1);
                self.block.pop();
                return Ok(Some(line));
            }
            if self.start == 0 {
                return Ok((!self.block.is_empty()).then(|| std::mem::take(&mut self.block)));
            }
            if !self.read_block()? {
                self.block.clear();
                self.start = 0;
            }
        }
    }

    /// Puts one more block in front; `false` when there is none to be had: the file was deleted or cut, or has a
    /// line longer than any that we write.
    fn read_block(&mut self) -> io::Result<bool> {
        if self.block.len() > MAX_LINE {
            tracing::warn!(file = %self.path.display(), "a line of the journal is too long; the rest is not read");
            return Ok(false);
        }
        let from = self.start.saturating_sub(BLOCK);
        let mut longer = vec![0; usize::try_from(self.start - from).unwrap_or(0)];
        let read =
            permissions::open_plain(&self.path).and_then(|file: File| file.read_exact_at(&mut longer, from));
        match read {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
                return Ok(false);
            }
            read => read?,
        }
        longer.append(&mut self.block);
        (self.block, self.start) = (longer, from);
        Ok(true)
    }
}
