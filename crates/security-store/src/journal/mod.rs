//! The journal: usage, audit, alerts and refused requests as append-only, hash-chained JSON lines.
//!
//! Each process writes files of its own, so no process can tear another's lines. A line is one JSON object:
//! `{"seq":7,…the record's own fields…,"chain":"…"}`. The first line of a file, number 0, is its header and names the
//! file that the same process wrote before.
//!
//! What the chain shows: a record that was edited, deleted, inserted or moved inside a file, and lines cut off the
//! end of a file that its process followed by another. What it alone cannot show: lines cut off the last
//! file of a process, the loss of all files of a process, and a whole journal written anew by somebody who may write
//! here. For the audit stream the head beside the credentials shows that ([`crate::HeadFile`]).

mod reader;
mod record;
mod tail;
mod verify;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use security_core::{StoreFault, Timestamp};
use security_credentials::{JournalEnd, KeyUse, RequestUse};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use record::{MAX_RECORD, Stream};
pub use tail::JournalTail;
pub use verify::{Broken, ChainReport, Claim};

use crate::{
    fault,
    gate::{Gate, Pass, locked},
    permissions,
};
use record::Body;
use writer::Lane;

/// When [`Journal::append`] is done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When it is queued; it is durable one group commit later.
    Group,
    /// When it is durable.
    Sync,
}

/// How a journal is written.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// How long queued records wait for others to share their sync with; 50 ms.
    pub group_commit: Duration,
    /// A file that has grown so large is followed by a fresh one; 64 MiB.
    pub rotate_bytes: u64,
    /// A file that has grown so old, likewise; a day.
    pub rotate_age: Duration,
    /// So much of usage, of alerts and of requests each is kept; the oldest files go first; 1 GiB. Audit is never
    /// deleted.
    pub keep_bytes: u64,
    /// So many files of usage, of alerts and of requests each are kept, for processes that each write a line; 4096.
    pub keep_files: usize,
    /// Records of one stream that may wait to be written; 65,536.
    pub queue: usize,
    /// When [`Journal::append`] is done.
    pub durability: Durability,
    /// The clock that names files and decides on their age.
    pub clock: fn() -> Timestamp,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            group_commit: Duration::from_millis(50),
            rotate_bytes: 64 << 20,
            rotate_age: Duration::from_secs(86_400),
            keep_bytes: 1 << 30,
            keep_files: 4096,
            queue: 65_536,
            durability: Durability::Group,
            clock: system_clock,
        }
    }
}

/// What a journal did in this process, and what lies in its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JournalStats {
    /// Records written by this process.
    pub written: u64,
    /// Records that this process could not write.
    pub lost: u64,
    /// Why it could not, last time.
    pub last_error: Option<String>,
    /// Records waiting to be written.
    pub queue_depth: usize,
    /// Files in the folder, of all processes.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// The journal of one folder, for one process.
///
/// [`Journal::append`] only queues; a thread, started at the first record, writes. Dropping the journal writes
/// what is queued.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    options: JournalOptions,
    lanes: [Lane; 4],
    gate: Gate,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The thread runs; read without the lock by everybody who appends.
    running: AtomicBool,
    /// The thread sleeps until it is woken.
    sleeping: AtomicBool,
    /// The thread was told not to wait for a group to gather.
    hurried: AtomicBool,
    stop: AtomicBool,
}

impl Journal {
    /// How long [`Journal::append`] waits for room in a full queue.
    const ROOM_PATIENCE: Duration = Duration::from_millis(20);

    /// How long [`Journal::quiesce`] waits for calls in progress.
    const FORK_PATIENCE: Duration = Duration::from_secs(5);

    /// Makes the folder; files and the thread come with the first record.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path, options: JournalOptions) -> Result<Self, StoreFault> {
        permissions::private_dir(folder)?;
        let shared = Shared {
            folder: folder.to_owned(),
            lanes: Stream::ALL.map(|stream| Lane::new(stream, options.queue)),
            options,
            gate: Gate::default(),
            thread: Mutex::new(None),
            running: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Adds a record, a struct or map with an `at` (RFC 3339) and without fields named `seq` or `chain`.
    ///
    /// Never fails and waits 20 ms at most, for room in a full queue (with [`Durability::Sync`]: until the record is
    /// durable). A record that could not be kept is counted in [`JournalStats::lost`], and the next
    /// [`Journal::flush`] says why.
    pub fn append(&self, stream: Stream, record: &impl Serialize) {
        match record::body_of(record) {
            Ok(body) => self.append_body(stream, Body::Json(body)),
            Err(fault) => self.shared.lane(stream).lose(1, fault),
        }
    }

    /// Like [`Journal::append`], for a use of an API key, to the usage stream; its JSON is made by whoever writes
    /// it, so that the caller's cost is that of a place in the queue.
    pub fn append_key_use(&self, used: KeyUse) {
        self.append_body(Stream::Usage, Body::KeyUse(used));
    }

    /// Like [`Journal::append_key_use`], for a key that a request brought.
    pub fn append_request_use(&self, used: RequestUse) {
        self.append_body(Stream::Usage, Body::RequestUse(used));
    }

    /// Like [`Journal::append`], for a record that is JSON already: one object on one line.
    pub fn append_json(&self, stream: Stream, json: Vec<u8>) {
        match record::checked_body(json) {
            Ok(body) => self.append_body(stream, Body::Json(body)),
            Err(fault) => self.shared.lane(stream).lose(1, fault),
        }
    }

    /// Adds a record and returns when it is on disk; records that come at once share a sync.
    ///
    /// # Errors
    /// `journal-record`: it is no object or larger than [`MAX_RECORD`]; or it could not be written (`store-full`,
    /// `store-read-only`, `store-io`): it is then not in the journal, or may be lost with the next power cut.
    pub fn append_durable(&self, stream: Stream, record: &impl Serialize) -> Result<(), StoreFault> {
        let body = Body::Json(record::body_of(record)?);
        let _pass = self.shared.enter()?;
        self.shared.lane(stream).append_durable(body, &self.shared.folder, &self.shared.options)
    }

    /// Returns when everything appended before is on disk.
    ///
    /// # Errors
    /// The first reason why a record was lost since the last flush.
    pub fn flush(&self) -> Result<(), StoreFault> {
        let _pass = self.shared.enter()?;
        self.shared.drain_all();
        self.shared.take_fault()
    }

    /// Flushes, ends the thread and closes the files. A record that comes later starts them again.
    ///
    /// # Errors
    /// As [`Journal::flush`].
    pub fn close(&self) -> Result<(), StoreFault> {
        self.shared.stop_thread();
        let flushed = self.flush();
        self.shared.lanes.iter().for_each(Lane::close);
        flushed
    }

    /// Before `fork`: writes what is queued, ends the thread and closes the files. Until [`Journal::resume`],
    /// records are queued and nothing else happens. The child must not touch this journal (leak it, do not
    /// drop it) and opens its own.
    ///
    /// # Errors
    /// `store-busy`: a call is still in progress after five seconds; or as [`Journal::flush`].
    pub fn quiesce(&self) -> Result<(), StoreFault> {
        let quiet = self.shared.gate.close(Self::FORK_PATIENCE);
        self.shared.stop_thread();
        self.shared.drain_all();
        self.shared.lanes.iter().for_each(Lane::close);
        let flushed = self.shared.take_fault();
        match quiet {
            true => flushed,
            false => Err(fault::busy(&self.shared.folder, "a call is in progress while the process forks")),
        }
    }

    /// After `fork`, in the parent: goes on.
    pub fn resume(&self) {
        self.shared.gate.open();
        if self.shared.lanes.iter().any(|lane| lane.depth() > 0) {
            self.shared.start_thread();
        }
    }

    /// What happened so far.
    pub fn stats(&self) -> JournalStats {
        let mut stats = JournalStats::default();
        for lane in &self.shared.lanes {
            lane.add_to(&mut stats);
        }
        for file in reader::files_of(&self.shared.folder, None).unwrap_or_default() {
            stats.files += 1;
            stats.bytes += file.bytes;
        }
        stats
    }

    /// The newest records of a stream that pass the filter, of all processes, newest first; without `seq` and
    /// `chain`.
    ///
    /// # Errors
    /// The folder or a file cannot be read.
    pub fn newest(
        &self,
        stream: Stream,
        limit: usize,
        filter: &mut dyn FnMut(&Value) -> bool,
    ) -> Result<Vec<Value>, StoreFault> {
        let mut found = Vec::new();
        if limit > 0 {
            self.each_newest_first(stream, &mut |record| {
                if filter(&record) {
                    found.push(record);
                }
                found.len() < limit
            })?;
        }
        Ok(found)
    }

    /// Calls `each` with the records of a stream, of all processes, newest first, until it answers `false`. Reads
    /// no more of the files than it needs. Records of other processes show up when those have written them,
    /// one group commit after they came.
    ///
    /// Newest is by the records' `at`. It holds as long as the records of one file stand in the order of their
    /// time, give or take what threads do to it, and no file was last written before its records' times.
    ///
    /// # Errors
    /// The folder or a file cannot be read.
    pub fn each_newest_first(
        &self,
        stream: Stream,
        each: &mut dyn FnMut(Value) -> bool,
    ) -> Result<(), StoreFault> {
        {
            let _pass = self.shared.enter()?;
            // What cannot be written is counted there, and must not keep anybody from reading.
            self.shared.lane(stream).drain(&self.shared.folder, &self.shared.options);
        }
        reader::each_newest_first(&self.shared.folder, stream, each)
    }

    /// Calls `each` with the records of a tail's stream, of all processes, that it was not given before, oldest first
    /// by what `at` says; at the first call with the newest `most` of them. What is no such record is passed over.
    ///
    /// A few blocks are in memory at a time. Records of another process come when it has written them, so that they
    /// may be a group commit older than what came before.
    ///
    /// # Errors
    /// The folder or a file cannot be read. The tail is of no more use then.
    pub fn each_new<T: DeserializeOwned>(
        &self,
        tail: &mut JournalTail,
        most: u64,
        at: &dyn Fn(&T) -> Timestamp,
        each: &mut dyn FnMut(T),
    ) -> Result<(), StoreFault> {
        {
            let _pass = self.shared.enter()?;
            // As for each_newest_first.
            self.shared.lane(tail.stream()).drain(&self.shared.folder, &self.shared.options);
        }
        tail.each_new(&self.shared.folder, most, at, each)
    }

    /// How far this process's file of a stream went, the one that is open or else the last one; what is in it is
    /// durable. `None` before the first record.
    pub fn end(&self, stream: Stream) -> Option<JournalEnd> {
        self.shared.lane(stream).end()
    }

    /// Whether a folder has anything of a stream, of any process.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn has(folder: &Path, stream: Stream) -> Result<bool, StoreFault> {
        Ok(!reader::files_of(folder, Some(stream))?.is_empty())
    }

    /// Calls `each` with every line of a stream, of all processes, header lines included, oldest file first.
    ///
    /// # Errors
    /// The folder or a file cannot be read. Nothing is checked.
    pub fn each_line(
        folder: &Path,
        stream: Stream,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> Result<(), StoreFault> {
        verify::each_line(folder, stream, each)
    }

    /// As [`Journal::verify`], and holds the files against what is known of them from elsewhere; `each` is called
    /// with every line that continues its chain.
    ///
    /// # Errors
    /// As [`Journal::verify`].
    pub fn verify_against(
        folder: &Path,
        claims: &[Claim],
        each: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<ChainReport, StoreFault> {
        verify::verify(folder, claims, each)
    }

    /// Checks every line of every file in a folder of journals.
    ///
    /// # Errors
    /// The folder or a file cannot be read. A broken chain is no error but the report's
    /// [`ChainReport::first_broken`].
    pub fn verify(folder: &Path) -> Result<ChainReport, StoreFault> {
        verify::verify(folder, &[], &mut |_, _| ())
    }

    fn append_body(&self, stream: Stream, body: Body) {
        let shared = &self.shared;
        let lane = shared.lane(stream);
        if shared.options.durability == Durability::Sync {
            let pass = shared.enter();
            let kept = pass.and_then(|_pass| lane.append_durable(body, &shared.folder, &shared.options));
            if let Err(fault) = kept {
                lane.lose(1, fault);
            }
            return;
        }
        if !shared.running.load(Ordering::Acquire) {
            shared.start_thread();
        }
        lane.push(body, Self::ROOM_PATIENCE, &|| shared.hurry());
        // Either the thread sees the record before it goes to sleep, or we see that it sleeps: the queue's end and this
        // word are read and written in one order that all agree on. A fence would wait besides until the record has
        // left this processor, which the thread's processor read that place from last.
        if shared.sleeping.load(Ordering::SeqCst) && shared.sleeping.swap(false, Ordering::SeqCst) {
            shared.wake();
        }
        if lane.is_half_full() {
            shared.hurry();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(fault) = self.close() {
            tracing::warn!(%fault, "records were lost when the journal was closed");
        }
    }
}

impl Shared {
    /// How long the thread sleeps before it looks once more and sleeps until it is woken.
    const SECOND_LOOK: Duration = Duration::from_millis(5);

    fn lane(&self, stream: Stream) -> &Lane {
        &self.lanes[stream as usize]
    }

    fn enter(&self) -> Result<Pass<'_>, StoreFault> {
        let refused = || fault::busy(&self.folder, "the process is forking and does not finish");
        self.gate.enter().ok_or_else(refused)
    }

    fn drain_all(&self) {
        for lane in &self.lanes {
            lane.drain(&self.folder, &self.options);
        }
    }

    /// The first fault since the last flush; forgets those of all lanes.
    fn take_fault(&self) -> Result<(), StoreFault> {
        self.lanes.each_ref().map(Lane::take_fault).into_iter().fold(Ok(()), Result::and)
    }

    fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.depth() == 0)
    }

    fn wake(&self) {
        if let Some(thread) = &*locked(&self.thread) {
            thread.thread().unpark();
        }
    }

    fn hurry(&self) {
        if !self.hurried.swap(true, Ordering::Relaxed) {
            self.wake();
        }
    }

    fn start_thread(self: &Arc<Self>) {
        let mut thread = locked(&self.thread);
        // While the process forks nothing starts; `resume` does it.
        if thread.is_some() || self.gate.is_closed() {
            return;
        }
        self.stop.store(false, Ordering::SeqCst);
        let shared = self.clone();
        match thread::Builder::new().name("security-journal".to_owned()).spawn(move || shared.run()) {
            Ok(started) => {
                *thread = Some(started);
                self.running.store(true, Ordering::Release);
            }
            // The records stay in the queue; whoever flushes writes them.
            Err(error) => tracing::warn!(%error, "the journal's thread did not start"),
        }
    }

    fn stop_thread(&self) {
        let running = locked(&self.thread).take();
        if let Some(running) = running {
            self.running.store(false, Ordering::Release);
            self.stop.store(true, Ordering::SeqCst);
            running.thread().unpark();
            if running.join().is_err() {
                tracing::error!("the journal's thread panicked");
            }
        }
    }

    fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            if self.is_idle() {
                self.sleeping.store(true, Ordering::SeqCst);
                // A second look after a moment, so that all does not hang on how the queue orders its own words.
                for patience in [Some(Self::SECOND_LOOK), None] {
                    let asleep = || self.sleeping.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst);
                    if self.is_idle() && asleep() {
                        patience.map_or_else(thread::park, thread::park_timeout);
                    }
                }
                self.sleeping.store(false, Ordering::SeqCst);
                continue;
            }
            if !self.hurried.load(Ordering::Relaxed) {
                thread::park_timeout(self.options.group_commit);
            }
            self.hurried.store(false, Ordering::Relaxed);
            self.drain_all();
        }
    }
}

fn system_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
