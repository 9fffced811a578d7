//! The page that tells of changes, as the processes of the host share it *now*.
//!
//! Somebody may delete `.shared/` while processes run (a cleaner, a restore). Those that started before would go on
//! with the old file, those after with a new one, and neither would hear of the other's revocations. So whether the
//! file is still the one that is mapped is looked at before each change, and by readers once a second.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use security_core::{ChangeSignal, Domain, StoreFault};
use security_shared::{Epoch, SharedPage};

use crate::world;

/// How often readers look.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The page, mapped anew when its file was replaced.
#[derive(Debug)]
pub(crate) struct HostPage {
    path: PathBuf,
    current: ArcSwap<SharedPage>,
    /// Grows with each mapping: an epoch of one page means nothing on another.
    mapping: AtomicU64,
    /// Milliseconds of the monotonic clock at the last look.
    looked: AtomicU64,
    remapping: Mutex<()>,
}

/// The epoch of a domain, and of which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    mapping: u64,
    epoch: Epoch,
}

impl Seen {
    /// Whether what is read from the store after this may be kept.
    pub(crate) fn is_settled(self) -> bool {
        self.epoch.is_settled()
    }

    /// The two numbers, for a cache to remember.
    pub(crate) fn key(self) -> (u64, u64) {
        (self.mapping, self.epoch.value())
    }
}

impl HostPage {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreFault> {
        Ok(Self {
            path: path.to_owned(),
            current: ArcSwap::from_pointee(SharedPage::open(path)?),
            mapping: AtomicU64::new(1),
            looked: AtomicU64::new(world::coarse_millis()),
            remapping: Mutex::default(),
        })
    }

    /// The epoch of a domain now. Two atomic loads and a coarse clock; once a second a look at the file.
    pub(crate) fn epoch(&self, domain: Domain) -> Seen {
        let now = world::coarse_millis();
        let last = self.looked.load(Ordering::Relaxed);
        if now.saturating_sub(last) >= LOOK_EVERY.as_millis() as u64
            && self.looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.follow_file();
        }
        // The number first: with a page that is newer than its number, the next look finds a difference.
        let mapping = self.mapping.load(Ordering::Acquire);
        Seen { mapping, epoch: self.current.load().epoch(domain) }
    }

    /// Makes the odd epoch that a killed writer left settled; for domains without a write lock.
    pub(crate) fn settle(&self, domain: Domain) {
        let page = self.current.load_full();
        page.settle(domain, page.epoch(domain));
    }

    /// Maps the file anew if it is no longer the one that is mapped.
    fn follow_file(&self) {
        let _one = self.remapping.lock().unwrap_or_else(PoisonError::into_inner);
        if self.current.load().is_current() {
            return;
        }
        match SharedPage::open(&self.path) {
            Ok(page) => {
                tracing::warn!(path = %self.path.display(), "the shared page was replaced and is mapped anew");
                self.current.store(Arc::new(page));
            }
            // Whoever reads must then ask the store each time: an epoch of no mapping is never remembered.
            Err(fault) => tracing::error!(%fault, "the shared page was removed and cannot be made again"),
        }
        self.mapping.fetch_add(1, Ordering::AcqRel);
    }
}

thread_local! {
    /// The page that this thread began a change on: it is finished there, whatever happens to the file.
    static BEGUN: std::cell::RefCell<Vec<Arc<SharedPage>>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl ChangeSignal for HostPage {
    fn begin(&self, domain: Domain) {
        self.follow_file();
        let page = self.current.load_full();
        page.begin(domain);
        BEGUN.with_borrow_mut(|begun| begun.push(page));
    }

    fn finish(&self, domain: Domain) {
        if let Some(page) = BEGUN.with_borrow_mut(Vec::pop) {
            page.finish(domain);
        }
    }
}
