//! How a cache follows the store: one atomic load says whether something changed, in any process of the host.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use security_core::Domain;

use crate::{
    Result,
    host_page::{HostPage, Seen},
};

/// A writer commits in milliseconds. One that has not finished after this long was killed in between, or is slow.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a cache remembers of the epoch it was filled at.
#[derive(Debug)]
pub(crate) struct Follower {
    domain: Domain,
    /// The mapping and the epoch the cache was filled at, folded into one word; `0` when it holds none for sure.
    seen: AtomicU64,
    /// One refresh at a time, and since when the epoch has been unsettled.
    refresh: Mutex<Option<Instant>>,
}

impl Follower {
    pub(crate) fn new(domain: Domain) -> Self {
        Self { domain, seen: AtomicU64::new(0), refresh: Mutex::new(None) }
    }

    /// Whether nothing changed since the cache was filled: a load from shared memory.
    pub(crate) fn is_current(&self, page: &HostPage) -> bool {
        let now = page.epoch(self.domain);
        now.is_settled() && self.seen.load(Ordering::Acquire) == folded(now)
    }

    /// Lets the next call look again, although no record changed.
    pub(crate) fn forget(&self) {
        self.seen.store(0, Ordering::Release);
    }

    /// Brings the cache up to date with `read`, unless another thread just did.
    ///
    /// The epoch is taken *before* the store is read: a change that lands in between makes the cache newer than
    /// it claims, which costs one further refresh; the other order would lose the change.
    /// `settle` ends the commit of a writer that was killed; it takes the store's write lock if that is free, and
    /// refuses if a writer holds it.
    pub(crate) fn refresh(
        &self,
        page: &HostPage,
        read: impl FnOnce() -> Result<()>,
        settle: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut unsettled: MutexGuard<'_, Option<Instant>> =
            self.refresh.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_current(page) {
            return Ok(());
        }
        let mut epoch = page.epoch(self.domain);
        if epoch.is_settled() {
            *unsettled = None;
        } else if unsettled.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            // A writer that is merely slow still holds the lock: then nothing is settled, and we read as before.
            match settle() {
                Ok(()) => epoch = page.epoch(self.domain),
                Err(error) => tracing::debug!(%error, "a change is being committed for long"),
            }
            *unsettled = None;
        }
        read()?;
        self.seen.store(if epoch.is_settled() { folded(epoch) } else { 0 }, Ordering::Release);
        Ok(())
    }
}

/// One word for both numbers, never `0`. Mappings are few and epochs count changes, so neither fills its half
/// in the life of a process.
fn folded(seen: Seen) -> u64 {
    let (mapping, epoch) = seen.key();
    (mapping << 48) ^ (epoch + 1)
}
