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
use security_credentials::ChainLink;
use serde_json::json;

use super::{
    JournalOptions, JournalStats, reader,
    record::{self, Stream},
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
    body: Vec<u8>,
    /// Where somebody waits for the record to be durable.
    outcome: Option<Arc<OnceLock<Result<(), StoreFault>>>>,
}

/// The file being written, and the one before.
#[derive(Debug, Default)]
struct Files {
    current: Option<OpenFile>,
    previous: Option<Finished>,
    count: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    opened: Timestamp,
    bytes: u64,
    end: Finished,
}

/// The end of a file as far as it was written: its name, its last number and its last link.
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
    pub(super) fn push(&self, body: Vec<u8>, patience: Duration, hurry: &dyn Fn()) {
        let mut queued = Queued { body, outcome: None };
        let end = Instant::now() + patience;
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
            if self.overflowing.load(Ordering::Relaxed) || Instant::now() >= end {
                self.overflowing.store(true, Ordering::Relaxed);
                let fault = StoreFault::new("journal-overflow", "records come faster than the disk takes them")
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
        body: Vec<u8>,
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
        outcome.get().cloned().unwrap_or_else(|| Err(fault::input_output(folder, "the record was not written")))
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
            let mut batch = Vec::new();
            let mut bytes = 0;
            while left > 0 && bytes < BATCH_BYTES {
                left -= 1;
                let Some(queued) = self.queue().pop() else { break };
                bytes += queued.body.len();
                batch.push(queued);
            }
            let (written, refused) = files.write(&batch, self.stream, folder, options);
            let rest = batch.split_off(written);
            unsynced.append(&mut batch);
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

    fn sync(&self, files: &mut Files, records: Vec<Queued>) {
        let synced = files.sync();
        self.settle(records, &synced);
    }

    fn settle(&self, records: Vec<Queued>, outcome: &Result<(), StoreFault>) {
        let mut lost = 0;
        if outcome.is_ok() {
            self.written.fetch_add(records.len() as u64, Ordering::Relaxed);
        }
        for record in records {
            match record.outcome {
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
    /// Writes records; says how many are whole in the file and why it stopped there.
    fn write(
        &mut self,
        batch: &[Queued],
        stream: Stream,
        folder: &Path,
        options: &JournalOptions,
    ) -> (usize, Option<StoreFault>) {
        if let Err(error) = self.make_ready(stream, folder, options) {
            return (0, Some(fault::from_io(&error, folder)));
        }
        let Some(open) = &mut self.current else { return (0, Some(fault::input_output(folder, "no file"))) };
        let mut text = Vec::new();
        // Where each line ends, and the end of the file if it ended there.
        let mut ends: Vec<(usize, Finished)> = Vec::with_capacity(batch.len() + 1);
        let mut end = open.end.clone();
        if open.bytes == 0 {
            let previous = self.previous.as_ref();
            let header = json!({
                "journal": 1,
                "stream": stream,
                "opened_at": open.opened,
                "previous": previous.map(|it| json!({"file": it.name, "seq": it.seq, "chain": it.link})),
            });
            end.link = record::write_line(&mut text, 0, header.to_string().as_bytes(), end.link);
            ends.push((text.len(), end.clone()));
        }
        for queued in batch {
            end.seq += 1;
            end.link = record::write_line(&mut text, end.seq, &queued.body, end.link);
            ends.push((text.len(), end.clone()));
        }
        let headers = ends.len() - batch.len();
        let (taken, refused) = write_as_far_as_possible(&mut open.file, &text);
        let whole = ends.iter().take_while(|(at, _)| *at <= taken).count();
        let whole_bytes = match whole.checked_sub(1) {
            Some(last) => {
                open.end = ends.swap_remove(last).1;
                ends.get(last).map_or(taken.min(text.len()), |_| 0)
            }
            None => 0,
        };
        let _ = whole_bytes;
        open.bytes += taken as u64;
        let Some(error) = refused else { return (batch.len(), None) };
        let fault = fault::from_io(&error, &open.path);
        let records = whole.saturating_sub(headers);
        self.abandon(records == 0 && whole <= headers);
        (records, Some(fault))
    }

    /// Opens a file if none is open or the open one was deleted by somebody.
    fn make_ready(&mut self, stream: Stream, folder: &Path, options: &JournalOptions) -> io::Result<()> {
        if let Some(open) = &self.current {
            if open.file.metadata()?.nlink() > 0 {
                return Ok(());
            }
            (self.current, self.previous) = (None, None);
        }
        if stream != Stream::Audit {
            reader::forget_oldest(folder, stream, options);
        }
        let opened = (options.clock)();
        loop {
            self.count += 1;
            let name = record::file_name(stream, opened, std::process::id(), self.count);
            let path = folder.join(&name);
            let file = match permissions::create_private(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                created => created?,
            };
            // The lock tells other processes, which delete old files, that this one is in use. A file system
            // without locks only means that nobody deletes here.
            if let Err(error) = file.try_lock() {
                tracing::debug!(%error, "a journal's file could not be locked");
            }
            permissions::sync_folder_of(&path)?;
            let end = Finished { link: ChainLink::start(&name), name, seq: 0 };
            self.current = Some(OpenFile { file, path, opened, bytes: 0, end });
            return Ok(());
        }
    }
}
