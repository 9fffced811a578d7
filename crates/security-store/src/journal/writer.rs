//! How the records of one stream get into this process's file.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_queue::ArrayQueue;
use security_core::{StoreFault, Timestamp};
use security_credentials::{ChainLink, JournalEnd};
use serde_json::json;

use super::{
    JournalOptions, JournalStats, reader,
    record::{self, Body, Stream},
};
use crate::{fault, gate::locked, permissions};

/// Bytes written in one go.
const BATCH_BYTES: usize = 1 << 20;

/// One stream: its queue and its file.
#[derive(Debug)]
pub(super) struct Lane {
    stream: Stream,
    capacity: usize,
    queue: OnceLock<ArrayQueue<Queued>>,
    files: Mutex<Files>,
    written: AtomicU64,
    lost: AtomicU64,
    /// The queue was full and stayed full: nobody waits for room again before there is some.
    overflowing: AtomicBool,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    last: Option<String>,
    first_since_flush: Option<StoreFault>,
}

#[derive(Debug)]
struct Queued {
    body: Body,
    outcome: Waiting,
}

/// Where somebody waits for a record to be durable; for most of them nobody does.
type Waiting = Option<Arc<OnceLock<Result<(), StoreFault>>>>;

/// Lines made of a queue's records, to be written in one go. What a record said is in its line: beside the text only
/// who waits for it is kept.
#[derive(Debug, Default)]
struct Batch {
    text: Vec<u8>,
    /// Where the text may be cut, and the number and link that the file then ends with.
    ends: Vec<(usize, u64, ChainLink)>,
    waiting: Vec<Waiting>,
}

/// The file being written, and the one before.
#[derive(Debug, Default)]
struct Files {
    current: Option<OpenFile>,
    previous: Option<Finished>,
    count: u64,
    /// Kept from one time to the next: pages that are fresh each time cost as much as what is written into them.
    batch: Batch,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    opened: Timestamp,
    bytes: u64,
    /// What was written so far, as if the file ended here.
    end: Finished,
    /// A write failed: what follows goes into another file.
    torn: bool,
}

/// The end of a file: its name, its last number and its last link.
#[derive(Debug, Clone)]
struct Finished {
    name: String,
    seq: u64,
    link: ChainLink,
}

impl Lane {
    pub(super) fn new(stream: Stream, capacity: usize) -> Self {
        Self {
            stream,
            capacity: capacity.max(1),
            queue: OnceLock::new(),
            files: Mutex::default(),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            overflowing: AtomicBool::new(false),
            faults: Mutex::default(),
        }
    }

    /// Queues a record; when there is no room, hurries the thread and waits a little.
    pub(super) fn push(&self, body: Body, patience: Duration, hurry: &dyn Fn()) {
        let mut queued = Queued { body, outcome: None };
        // The clock is asked only when there is no room.
        let mut end = None;
        loop {
            match self.queue().push(queued) {
                Ok(()) => {
                    if self.overflowing.load(Ordering::Relaxed) {
                        self.overflowing.store(false, Ordering::Relaxed);
                    }
                    return;
                }
                Err(back) => queued = back,
            }
            hurry();
            let end = *end.get_or_insert_with(|| Instant::now() + patience);
            if self.overflowing.load(Ordering::Relaxed) || Instant::now() >= end {
                self.overflowing.store(true, Ordering::Relaxed);
                let fault =
                    StoreFault::new("journal-overflow", "records come faster than the disk takes them")
                        .with_hint("use a faster disk, or a larger queue for bursts");
                return self.lose(1, fault);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Queues a record, then writes and syncs the queue unless somebody else does so meanwhile: of several
    /// threads that come at once, one syncs for all.
    pub(super) fn append_durable(
        &self,
        body: Body,
        folder: &Path,
        options: &JournalOptions,
    ) -> Result<(), StoreFault> {
        let outcome = Arc::new(OnceLock::new());
        let mut queued = Queued { body, outcome: Some(outcome.clone()) };
        while let Err(back) = self.queue().push(queued) {
            queued = back;
            self.drain(folder, options);
        }
        // The record may be out already; then its outcome was there before the lock was free again.
        let mut files = locked(&self.files);
        if outcome.get().is_none() {
            self.drain_locked(&mut files, folder, options);
        }
        outcome
            .get()
            .cloned()
            .unwrap_or_else(|| Err(fault::input_output(folder, "the record was not written")))
    }

    /// Writes and syncs what is queued.
    pub(super) fn drain(&self, folder: &Path, options: &JournalOptions) {
        self.drain_locked(&mut locked(&self.files), folder, options);
    }

    /// Lets the file go; the next record opens a fresh one.
    pub(super) fn close(&self) {
        locked(&self.files).finish();
    }

    /// Counts records that are not kept, and remembers why.
    pub(super) fn lose(&self, count: u64, fault: StoreFault) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        let mut faults = locked(&self.faults);
        faults.last = Some(fault.to_string());
        if faults.first_since_flush.is_none() {
            tracing::warn!(stream = self.stream.as_str(), %fault, "records of the journal are lost");
            faults.first_since_flush = Some(fault);
        }
    }

    /// The first reason for a loss since this was last asked.
    pub(super) fn take_fault(&self) -> Result<(), StoreFault> {
        locked(&self.faults).first_since_flush.take().map_or(Ok(()), Err)
    }

    /// How far the file went, the open one or else the last one.
    pub(super) fn end(&self) -> Option<JournalEnd> {
        let files = locked(&self.files);
        let open = files.current.as_ref().filter(|open| open.end.seq > 0);
        let (end, closed) =
            open.map(|open| (&open.end, false)).or(files.previous.as_ref().map(|end| (end, true)))?;
        Some(JournalEnd { file: end.name.clone(), seq: end.seq, chain: end.link, closed })
    }

    pub(super) fn depth(&self) -> usize {
        self.queue.get().map_or(0, ArrayQueue::len)
    }

    pub(super) fn is_half_full(&self) -> bool {
        self.depth() > self.capacity / 2
    }

    pub(super) fn add_to(&self, stats: &mut JournalStats) {
        stats.written += self.written.load(Ordering::Relaxed);
        stats.lost += self.lost.load(Ordering::Relaxed);
        stats.queue_depth += self.depth();
        stats.last_error = locked(&self.faults).last.clone().or(stats.last_error.take());
    }

    fn queue(&self) -> &ArrayQueue<Queued> {
        self.queue.get_or_init(|| ArrayQueue::new(self.capacity))
    }

    fn drain_locked(&self, files: &mut Files, folder: &Path, options: &JournalOptions) {
        let mut left = self.depth();
        let mut unsynced = Vec::new();
        while left > 0 {
            let mut bytes = 0;
            let mut next = || {
                if left == 0 || bytes >= BATCH_BYTES {
                    return None;
                }
                left -= 1;
                let queued = self.queue().pop()?;
                bytes += queued.body.length();
                Some(queued)
            };
            let (mut waiting, written, refused) = files.write(&mut next, self.stream, folder, options);
            let rest = waiting.split_off(written);
            unsynced.append(&mut waiting);
            if let Some(fault) = refused {
                self.settle(rest, &Err(fault));
            }
            if files.is_due(options) {
                self.sync(files, std::mem::take(&mut unsynced));
                files.finish();
            }
        }
        if !unsynced.is_empty() {
            self.sync(files, unsynced);
        }
    }

    fn sync(&self, files: &mut Files, records: Vec<Waiting>) {
        let synced = files.sync();
        self.settle(records, &synced);
    }

    fn settle(&self, records: Vec<Waiting>, outcome: &Result<(), StoreFault>) {
        let mut lost = 0;
        if outcome.is_ok() {
            self.written.fetch_add(records.len() as u64, Ordering::Relaxed);
        }
        for record in records {
            match record {
                // Whoever waits for this has the other handle, and nobody else sets it.
                Some(waiting) => drop(waiting.set(outcome.clone())),
                None => lost += u64::from(outcome.is_err()),
            }
        }
        if let (Err(fault), true) = (outcome, lost > 0) {
            self.lose(lost, fault.clone());
        }
    }
}

impl Files {
    /// Writes the records that come; gives who waits for each, how many of them are whole in the file, and why it
    /// stopped there.
    fn write(
        &mut self,
        next: &mut dyn FnMut() -> Option<Queued>,
        stream: Stream,
        folder: &Path,
        options: &JournalOptions,
    ) -> (Vec<Waiting>, usize, Option<StoreFault>) {
        let mut batch = std::mem::take(&mut self.batch);
        let done = self.write_batch(&mut batch, next, stream, folder, options);
        let waiting = std::mem::take(&mut batch.waiting);
        if batch.text.capacity() <= 2 * BATCH_BYTES {
            self.batch = batch;
        }
        (waiting, done.0, done.1)
    }

    fn write_batch(
        &mut self,
        batch: &mut Batch,
        next: &mut dyn FnMut() -> Option<Queued>,
        stream: Stream,
        folder: &Path,
        options: &JournalOptions,
    ) -> (usize, Option<StoreFault>) {
        let Batch { text, ends, waiting } = batch;
        let (open, previous) = match self.ready(stream, folder, options) {
            Ok(ready) => ready,
            Err(error) => {
                waiting.extend(std::iter::from_fn(next).map(|queued| queued.outcome));
                return (0, Some(fault::from_io(&error, folder)));
            }
        };
        text.clear();
        ends.clear();
        let (mut seq, mut link) = (open.end.seq, open.end.link);
        ends.push((0, seq, link));
        if open.bytes == 0 {
            let previous = previous.map(|it| json!({"file": it.name, "seq": it.seq, "chain": it.link}));
            let header =
                json!({"journal": 1, "stream": stream, "opened_at": open.opened, "previous": previous});
            let header = header.to_string();
            link = record::write_line(text, seq, link, |out| out.extend_from_slice(header.as_bytes()));
            ends.push((text.len(), seq, link));
        }
        let first = ends.len();
        while let Some(Queued { body, outcome }) = next() {
            seq += 1;
            link = record::write_line(text, seq, link, |out| body.write(out));
            ends.push((text.len(), seq, link));
            waiting.push(outcome);
        }
        let (taken, refused) = write_as_far_as_possible(&mut open.file, text);
        let last = ends.iter().rposition(|(at, ..)| *at <= taken).unwrap_or(0);
        let (whole, seq, link) = ends[last];
        (open.end.seq, open.end.link) = (seq, link);
        open.bytes += whole as u64;
        let Some(error) = refused else { return (waiting.len(), None) };
        // The torn line is taken off, best effort: if it stays, readers know a line without its break.
        if let Err(error) = open.file.set_len(open.bytes) {
            tracing::debug!(%error, "a torn line stays in the journal");
        }
        open.torn = true;
        ((last + 1).saturating_sub(first), Some(fault::from_io(&error, &open.path)))
    }

    /// The file to write to, opened if none is or if somebody deleted the open one, and the one before it.
    fn ready(
        &mut self,
        stream: Stream,
        folder: &Path,
        options: &JournalOptions,
    ) -> io::Result<(&mut OpenFile, Option<&Finished>)> {
        let usable = match &self.current {
            Some(open) => open.file.metadata()?.nlink() > 0,
            None => false,
        };
        let open = match self.current.take() {
            Some(open) if usable => open,
            deleted => {
                if deleted.is_some() {
                    self.previous = None;
                }
                if stream != Stream::Audit {
                    reader::forget_oldest(folder, stream, options);
                }
                self.create(stream, folder, (options.clock)())?
            }
        };
        Ok((self.current.insert(open), self.previous.as_ref()))
    }

    fn create(&mut self, stream: Stream, folder: &Path, opened: Timestamp) -> io::Result<OpenFile> {
        loop {
            self.count += 1;
            let name = record::file_name(stream, opened, std::process::id(), self.count);
            let path = folder.join(&name);
            let file = match permissions::create_private(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                created => created?,
            };
            // The lock tells other processes, which delete old files, that this one is in use. Where a file
            // system has no locks, nobody deletes.
            if let Err(error) = file.try_lock() {
                tracing::debug!(%error, "a journal's file could not be locked");
            }
            permissions::sync_folder_of(&path)?;
            let end = Finished { link: ChainLink::start(&name), name, seq: 0 };
            return Ok(OpenFile { file, path, opened, bytes: 0, end, torn: false });
        }
    }

    /// Whether what follows belongs into a fresh file.
    fn is_due(&self, options: &JournalOptions) -> bool {
        self.current.as_ref().is_some_and(|open| {
            open.torn
                || open.bytes >= options.rotate_bytes
                || (options.clock)().since(open.opened) >= options.rotate_age
        })
    }

    fn sync(&mut self) -> Result<(), StoreFault> {
        let Some(open) = &self.current else { return Ok(()) };
        let synced = open.file.sync_data().map_err(|error| fault::from_io(&error, &open.path));
        if synced.is_err() {
            // After a failed sync the kernel may have dropped what it could not write, and a second try would
            // succeed without it: this file cannot be trusted any further, nor be vouched for by the next.
            (self.current, self.previous) = (None, None);
        }
        synced
    }

    /// Lets the file go. One that no record got into is removed.
    fn finish(&mut self) {
        let Some(open) = self.current.take() else { return };
        if open.end.seq > 0 {
            self.previous = Some(open.end);
        } else if let Err(error) = fs::remove_file(&open.path) {
            tracing::debug!(%error, "an empty journal file stays behind");
        }
    }
}

/// Writes; gives the bytes that got in, and the error that ended it.
fn write_as_far_as_possible(file: &mut File, mut text: &[u8]) -> (usize, Option<io::Error>) {
    let mut taken = 0;
    while !text.is_empty() {
        match file.write(text) {
            Ok(0) => return (taken, Some(ErrorKind::WriteZero.into())),
            Ok(bytes) => {
                taken += bytes;
                text = &text[bytes..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (taken, Some(error)),
        }
    }
    (taken, None)
}
