//! How a cache follows the store: one atomic load says whether something changed, in any process of the host.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use security_core::Domain;
use security_shared::SharedPage;

use crate::Result;

/// A writer commits in milliseconds. One that has not finished after this long was killed in between.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a cache remembers of the epoch it was filled at.
#[derive(Debug)]
pub(crate) struct Follower {
    domain: Domain,
    /// The epoch the cache holds, plus one; `0` when it holds none for sure.
    seen: AtomicU64,
    /// One refresh at a time, and since when the epoch has been unsettled.
    refresh: Mutex<Option<Instant>>,
}

impl Follower {
    pub(crate) fn new(domain: Domain) -> Self {
        Self { domain, seen: AtomicU64::new(0), refresh: Mutex::new(None) }
    }

    /// Whether nothing changed since the cache was filled: one load from shared memory.
    pub(crate) fn is_current(&self, page: &SharedPage) -> bool {
        let epoch = page.epoch(self.domain);
        epoch.is_settled() && self.seen.load(Ordering::Acquire) == epoch.value() + 1
    }

    /// Brings the cache up to date with `read`, unless another thread just did.
    ///
    /// The epoch is taken *before* the store is read: a change that lands in between makes the cache newer than
    /// it claims, which costs one further refresh; the other order would lose the change.
    /// `settle` ends the commit of a writer that was killed; it is called under the store's write lock.
    pub(crate) fn refresh(
        &self,
        page: &SharedPage,
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
            settle()?;
            *unsettled = None;
            epoch = page.epoch(self.domain);
        }
        read()?;
        self.seen.store(if epoch.is_settled() { epoch.value() + 1 } else { 0 }, Ordering::Release);
        Ok(())
    }
}
