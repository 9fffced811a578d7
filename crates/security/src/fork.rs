//! What no child may inherit open: the databases' connections and the journal's files and thread.
//!
//! Whoever forks, in whatever language, the C library calls [`before`] first and [`after_in_parent`] afterwards
//! (`pthread_atfork`). Everything open in the process is put down in between, also engines that were replaced
//! and still have users, or are being closed at this moment. Where that does not succeed in time, the child
//! is told ([`security_shared::fork::is_tainted`]) and opens nothing.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use security_core::StoreFault;
use security_shared::fork::{Around, around, generation, is_tainted};
use security_store::{EmbeddedStore, Journal};

/// How long a fork waits for another thread that opens or closes files.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lock that a child finds free although a thread that it does not have held it: it bears the generation of
/// its holder.
#[derive(Debug)]
pub(crate) struct GenerationLock(AtomicU64);

/// Holds a [`GenerationLock`] until dropped.
#[derive(Debug)]
pub(crate) struct Turn<'l>(&'l GenerationLock, u64);

impl GenerationLock {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Waits for the lock.
    pub(crate) fn turn(&self) -> Turn<'_> {
        loop {
            if let Some(turn) = self.turn_within(Duration::from_secs(3600)) {
                return turn;
            }
        }
    }

    fn turn_within(&self, patience: Duration) -> Option<Turn<'_>> {
        let mine = generation() + 1;
        let begun = Instant::now();
        loop {
            let held = self.0.load(Ordering::Acquire);
            if held != mine
                && self.0.compare_exchange(held, mine, Ordering::AcqRel, Ordering::Acquire).is_ok()
            {
                return Some(Turn(self, mine));
            }
            if begun.elapsed() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.0.0.compare_exchange(self.1, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Held while files are opened for the first time, closed for good, or put down for a fork.
static FILES: GenerationLock = GenerationLock::new();

/// Everything open in this process. Locked only by the holder of [`FILES`], so that no child inherits it locked.
static OPEN: Mutex<Vec<(u64, Weak<OpenFiles>)>> = Mutex::new(Vec::new());

/// What a fork under way has put down; `FILES` is held as long as there is something in it.
static PUT_DOWN: Mutex<Option<PutDown>> = Mutex::new(None);

struct PutDown {
    files: Vec<Arc<OpenFiles>>,
    turn: Turn<'static>,
}

/// What an engine has open.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    pub(crate) store: EmbeddedStore,
    pub(crate) journal: Journal,
    generation: u64,
}

impl OpenFiles {
    /// Takes them over before the first of them is really opened.
    /// # Errors
    /// `store-fork` in a child whose parent could not put its files down.
    pub(crate) fn new(store: EmbeddedStore, journal: Journal) -> Result<Arc<Self>, StoreFault> {
        around(Around { before, after_in_parent })?;
        if is_tainted() {
            let message = "this process was forked while its parent was busy with its files";
            return Err(StoreFault::new("store-fork", message).with_hint("end it and fork again"));
        }
        let files = Arc::new(Self { store, journal, generation: generation() });
        let _turn = FILES.turn();
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(made_in, known)| *made_in == files.generation && known.strong_count() > 0);
        open.push((files.generation, Arc::downgrade(&files)));
        Ok(files)
    }

    /// Puts everything down; whether all of it.
    fn put_down(&self) -> bool {
        let outcomes = [self.journal.quiesce(), self.store.quiesce()];
        for fault in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            tracing::warn!(%fault, "not everything was put down before the fork");
        }
        // A record that could not be written is lost, and counted; a file that is still in use is the danger.
        outcomes.iter().all(|outcome| !outcome.as_ref().is_err_and(is_busy))
    }

    fn take_up(&self) {
        self.store.resume();
        self.journal.resume();
    }
}

fn is_busy(fault: &StoreFault) -> bool {
    use security_core::Coded;
    fault.code() == "store-busy"
}

/// The last user is gone: a fork must not happen halfway through the closing.
impl Drop for OpenFiles {
    fn drop(&mut self) {
        if self.generation != generation() {
            return; // a child never drops its parent's; see `crate::process`
        }
        let _turn = FILES.turn();
        if let Err(fault) = self.journal.close() {
            tracing::warn!(%fault, "records could not be written while closing");
        }
        if let Err(fault) = self.store.quiesce() {
            tracing::warn!(%fault, "the store is still in use while closing");
        }
    }
}

/// In the forking thread, before every fork.
fn before() -> bool {
    let Some(turn) = FILES.turn_within(PATIENCE) else {
        tracing::warn!("another thread opens or closes files while the process forks");
        return false;
    };
    let mine = generation();
    let files: Vec<Arc<OpenFiles>> = {
        let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter(|(made_in, _)| *made_in == mine).filter_map(|(_, known)| known.upgrade()).collect()
    };
    // Every one is put down, also after one that could not be.
    let failures = files.iter().filter(|files| !files.put_down()).count();
    *PUT_DOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(PutDown { files, turn });
    failures == 0
}

/// In the forking thread of the parent, after every fork.
fn after_in_parent() {
    let put_down = PUT_DOWN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(PutDown { files, turn }) = put_down {
        files.iter().for_each(|files| files.take_up());
        // First the lock, then the files: the last user may have gone meanwhile, and closing takes the lock.
        drop(turn);
        drop(files);
    }
}
