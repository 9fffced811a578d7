//! Reading a stream on from where it was read to, oldest record first, over the files of all processes.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use security_core::{StoreFault, Timestamp};
use serde::de::DeserializeOwned;

use super::{
    reader::{self, BLOCK, Backwards, JournalFile},
    record::{MAX_LINE, Stream},
};
use crate::{fault, permissions};

/// How far one reader has come in a stream: a place in each of its files. Takes some hundred bytes a file.
#[derive(Debug)]
pub struct JournalTail {
    stream: Stream,
    /// The bytes of each file that need not be read again; nothing before the first reading.
    read: Option<HashMap<String, u64>>,
}

impl JournalTail {
    /// A reader that has read nothing.
    pub fn new(stream: Stream) -> Self {
        Self { stream, read: None }
    }

    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// Calls `each` with the records that were not given before, in the order that `at` says; at the first reading
    /// with the newest `most` of them. After an error some were given, and the tail is of no more use.
    pub(super) fn each_new<T: DeserializeOwned>(
        &mut self,
        folder: &Path,
        most: u64,
        at: &dyn Fn(&T) -> Timestamp,
        each: &mut dyn FnMut(T),
    ) -> Result<(), StoreFault> {
        let files = reader::files_of(folder, Some(self.stream))?;
        let mut read: HashMap<String, u64> = HashMap::with_capacity(files.len());
        let mut unread = VecDeque::new();
        match self.read.take() {
            // Files that are no longer there are forgotten with the old places.
            Some(mut before) => {
                for file in files {
                    let from = before.remove(&file.name).unwrap_or(0);
                    unread.push_back(Forwards::of(file, from, 0));
                }
            }
            None => {
                for (file, skipped) in newest(files, most).map_err(|error| fault::from_io(&error, folder))? {
                    let from = if skipped.is_none() { file.bytes } else { 0 };
                    unread.push_back(Forwards::of(file, from, skipped.unwrap_or(0)));
                }
            }
        }
        let mut heads: BinaryHeap<Reverse<Head<T>>> = BinaryHeap::new();
        loop {
            // A file is opened when its turn may have come: no record in it is older than itself.
            while let Some(file) = unread.pop_front_if(|file| {
                file.is_begun() || heads.peek().is_none_or(|Reverse(head)| file.opened <= head.at)
            }) {
                advance(file, at, &mut heads, &mut read)?;
            }
            let Some(Reverse(head)) = heads.pop() else { break };
            each(head.record);
            advance(head.rest, at, &mut heads, &mut read)?;
        }
        self.read = Some(read);
        Ok(())
    }
}

/// The files with how many of their first records are too many; `None` where all are.
fn newest(mut files: Vec<JournalFile>, most: u64) -> io::Result<Vec<(JournalFile, Option<u64>)>> {
    files.sort_by_key(|file| Reverse(file.newest));
    let mut left = most;
    let mut chosen = Vec::with_capacity(files.len());
    for file in files {
        if left == 0 {
            chosen.push((file, None));
            continue;
        }
        // The last record bears their number.
        let last = Backwards::open(&file)?.line_before()?;
        let count = last.as_deref().and_then(number_of).unwrap_or(0);
        chosen.push((file, Some(count.saturating_sub(left))));
        left = left.saturating_sub(count);
    }
    chosen.sort_by(|(a, _), (b, _)| (a.opened, &a.name).cmp(&(b.opened, &b.name)));
    Ok(chosen)
}

/// The number that a line begins with.
fn number_of(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"{\"seq\":")?;
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}

/// Puts the next record of a file among the heads, or notes how far the file was read.
fn advance<T: DeserializeOwned>(
    mut file: Forwards,
    at: &dyn Fn(&T) -> Timestamp,
    heads: &mut BinaryHeap<Reverse<Head<T>>>,
    read: &mut HashMap<String, u64>,
) -> Result<(), StoreFault> {
    match file.record::<T>().map_err(|error| fault::from_io(&error, &file.path))? {
        Some(record) => heads.push(Reverse(Head { at: at(&record), record, rest: file })),
        None => drop(read.insert(file.name, file.done)),
    }
    Ok(())
}

/// The oldest unread record of a file, and the rest of it.
struct Head<T> {
    at: Timestamp,
    record: T,
    rest: Forwards,
}

impl<T> Ord for Head<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, &self.rest.name).cmp(&(other.at, &other.rest.name))
    }
}

impl<T> PartialOrd for Head<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Head<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Head<T> {}

/// A file read line by line. Holds no descriptor between blocks, as there may be thousands of files.
struct Forwards {
    path: PathBuf,
    name: String,
    opened: Timestamp,
    /// Records up to this number are passed over.
    skipped: u64,
    /// Everything before was given.
    done: u64,
    /// The file's length when it was listed; what comes later is read the next time.
    end: u64,
    /// What was read from `done` on, given up to `used`.
    block: Vec<u8>,
    used: usize,
}

impl Forwards {
    fn of(file: JournalFile, from: u64, skipped: u64) -> Self {
        let done = from.min(file.bytes);
        let JournalFile { path, name, opened, bytes: end, .. } = file;
        Self { path, name, opened, skipped, done, end, block: Vec::new(), used: 0 }
    }

    fn is_begun(&self) -> bool {
        self.done > 0
    }

    /// The next record; `None` when there is none yet.
    fn record<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            let line = &self.block[line];
            // The header is number 0.
            let number = number_of(line);
            if number.is_none_or(|number| number <= self.skipped) {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(record) => return Ok(Some(record)),
                Err(error) => {
                    tracing::debug!(file = %self.path.display(), %error, "a line of the journal is no record");
                }
            }
        }
    }

    /// Where the next whole line stands in the block, without its break.
    fn line(&mut self) -> io::Result<Option<std::ops::Range<usize>>> {
        let mut looked = self.used;
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.block[looked..]) {
                let line = self.used..looked + length;
                self.done += (line.len() + 1) as u64;
                self.used = line.end + 1;
                return Ok(Some(line));
            }
            if self.block.len() - self.used > MAX_LINE {
                tracing::warn!(file = %self.path.display(), "a line of the journal is too long; the rest is not read");
                self.done = self.end;
                return Ok(None);
            }
            self.block.drain(..self.used);
            self.used = 0;
            looked = self.block.len();
            let from = self.done + looked as u64;
            let more = BLOCK.min(self.end.saturating_sub(from));
            if more == 0 {
                // What stands after the last line break is being written.
                return Ok(None);
            }
            self.block.resize(looked + usize::try_from(more).unwrap_or(0), 0);
            let read = permissions::open_plain(&self.path)
                .and_then(|file| file.read_exact_at(&mut self.block[looked..], from));
            match read {
                // Deleted, or cut by whoever writes it.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
                    self.block.truncate(looked);
                    return Ok(None);
                }
                read => read?,
            }
        }
    }
}
