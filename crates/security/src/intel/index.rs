//! The match index as this process sees it: the mapped file, and over it what changed since it was made.
//!
//! **Invariant:** what changed wins over the file, and both are replaced together, only while the follower's refresh is
//! held ([`crate::follow::Follower::refresh`]). A hit is a guess of the file until the record confirms it
//! ([`Engine::confirmed`]); a miss is none, because a damaged bucket is told and never skipped.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use security_core::{Coded as _, Domain, Revision, StoreFault, Timestamp};
use security_indicators::{Hits, IndexDamaged, IndexFile, IndexId, Indicator, LayeredIndex};
use security_intel::{IndicatorChange, IndicatorStore};
use security_shared::ReadMap;

use super::listed::ListedCache;
use crate::{Engine, Result, follow::Follower, world};

/// Steps of the change feed read at a time.
const FEED_PAGE: usize = 50_000;
/// So many changes are worth a new file, or an eighth of the file if that is more.
const WORTH_A_FILE: u64 = 20_000;
/// How often a first start looks whether the process that makes the first file is done, and how long.
const LOOKS: u32 = 1200;
const LOOK: Duration = Duration::from_millis(50);
/// A named file that is not there was replaced a moment ago; then another one is named.
const RENAMED: u32 = 16;
/// So many damaged files, one after another, are enough of files on this disk for this process.
const TOO_MANY_DAMAGED: u32 = 3;

type Index = LayeredIndex<ReadMap>;

/// The match index of this process, following the store by its change feed.
#[derive(Debug)]
pub(crate) struct IndicatorCache {
    follower: Follower,
    state: RwLock<IndexState>,
    pub(super) records: ListedCache,
    /// A thread makes a new file.
    building: Arc<AtomicBool>,
    /// It has made one, which the next refresh takes over.
    file_made: Arc<AtomicBool>,
    /// How much had changed when a file was last to be made.
    tried_at: AtomicU64,
    /// The file in which a look-up met damage; the next refresh leaves it.
    damaged: Mutex<Option<IndexId>>,
    damages: AtomicU32,
    /// When the store was last read, in microseconds; 0 before.
    read_at: AtomicI64,
}

#[derive(Debug, Default)]
struct IndexState {
    index: Index,
    revision: Revision,
}

impl Default for IndicatorCache {
    fn default() -> Self {
        Self {
            follower: Follower::new(Domain::Indicators),
            state: RwLock::default(),
            records: ListedCache::default(),
            building: Arc::default(),
            file_made: Arc::default(),
            tried_at: AtomicU64::new(0),
            damaged: Mutex::default(),
            damages: AtomicU32::new(0),
            read_at: AtomicI64::new(0),
        }
    }
}

impl IndicatorCache {
    /// How long ago the store was last read; `None` before.
    pub(crate) fn age(&self, now: Timestamp) -> Option<Duration> {
        let read_at = self.read_at.load(Ordering::Relaxed);
        (read_at > 0).then(|| now.since(Timestamp::from_micros(read_at)))
    }
}

impl IndexState {
    fn over(file: IndexFile<ReadMap>) -> Self {
        Self { revision: Revision(file.revision()), index: LayeredIndex::over(file) }
    }

    fn follow(&mut self, changes: Vec<IndicatorChange>, revision: Revision) {
        for change in changes {
            match change.removed {
                true => self.index.remove(&change.indicator, change.row),
                false => self.index.insert(&change.indicator, change.row),
            }
        }
        self.revision = revision;
    }

    fn file(&self) -> Option<IndexId> {
        self.index.file().map(IndexFile::id)
    }
}

/// How many changes are worth a file in place of one with so many entries.
fn worth(entries: u64) -> u64 {
    WORTH_A_FILE.max(entries / 8)
}

impl Engine {
    /// Runs `look` on the match index as it is now, changes of other processes included. Where it meets damage, it runs
    /// again on an index that was made anew.
    pub(crate) fn with_index<R>(
        &self,
        look: impl Fn(&Index) -> std::result::Result<R, IndexDamaged>,
    ) -> Result<R> {
        let cache = &self.indicators;
        for _ in 0..=TOO_MANY_DAMAGED {
            self.follow_index()?;
            let state = cache.state.read().unwrap_or_else(PoisonError::into_inner);
            match look(&state.index) {
                Ok(found) => return Ok(found),
                Err(IndexDamaged) => {
                    *cache.damaged.lock().unwrap_or_else(PoisonError::into_inner) = state.file();
                    cache.follower.forget();
                }
            }
        }
        // The last round has no file to be damaged.
        Err(StoreFault::new("store-damaged", "the match index is damaged however often it is made").into())
    }

    /// What the index says of an indicator, if it is up to date and nobody holds it.
    pub(super) fn hits_at_hand(&self, indicator: &Indicator) -> Option<Hits> {
        let cache = &self.indicators;
        if cache.file_made.load(Ordering::Relaxed) || !cache.follower.is_current(&self.page) {
            return None;
        }
        cache.state.try_read().ok()?.index.matches(indicator).ok()
    }

    /// The file that the store names, for `status`: `{file, entries, bytes, behind}`, the last the number of changes
    /// that came after it; null without one.
    pub(crate) fn index_status(&self) -> Result<Option<serde_json::Value>> {
        let Some(file) = self.named_index(None)? else { return Ok(None) };
        let path = self.files.store.match_index_path(file.id());
        let bytes: u64 = file.sizes().iter().map(|section| section.bytes).sum();
        let behind = self.files.store.indicator_revision()?.0.saturating_sub(file.revision());
        Ok(Some(serde_json::json!({
            "file": path.display().to_string(), "entries": file.len(), "bytes": bytes, "behind": behind,
        })))
    }

    /// Brings the index up to date if any process changed an indicator: one atomic load when none did.
    fn follow_index(&self) -> Result<()> {
        let cache = &self.indicators;
        if cache.file_made.load(Ordering::Relaxed) && cache.file_made.swap(false, Ordering::AcqRel) {
            cache.follower.forget();
        }
        if cache.follower.is_current(&self.page) {
            return Ok(());
        }
        cache.follower.refresh(
            &self.page,
            || self.read_indicators(),
            || Ok(self.files.store.settle(Domain::Indicators)?),
        )
    }

    fn read_indicators(&self) -> Result<()> {
        let cache = &self.indicators;
        let (mut since, using) = {
            let state = cache.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.revision, state.file())
        };
        let mut fresh = None;
        let damaged = cache.damaged.lock().unwrap_or_else(PoisonError::into_inner).take();
        if damaged.is_some() && damaged == using {
            self.leave_damaged(damaged);
            (fresh, since) = (Some(IndexState::default()), Revision::default());
        }
        if let Some(file) = self.other_index(using, since == Revision::default())? {
            since = Revision(file.revision());
            fresh = Some(IndexState::over(file));
        }
        loop {
            let (revision, changes) = self.files.store.indicator_changes(since, FEED_PAGE)?;
            if revision < since {
                // The store was put back beneath us: everything anew.
                (fresh, since) = (Some(IndexState::default()), Revision::default());
                continue;
            }
            let done = changes.is_empty();
            match fresh.as_mut() {
                Some(fresh) => fresh.follow(changes, revision),
                None => {
                    let mut state = cache.state.write().unwrap_or_else(PoisonError::into_inner);
                    state.follow(changes, revision);
                }
            }
            since = revision;
            if done {
                break;
            }
        }
        if let Some(fresh) = fresh {
            let mut state = cache.state.write().unwrap_or_else(PoisonError::into_inner);
            let old = std::mem::replace(&mut *state, fresh);
            drop(state);
            // Very many entries may go here; nobody waits for that.
            drop(old);
            cache.tried_at.store(0, Ordering::Relaxed);
        }
        cache.records.forget();
        cache.read_at.store(world::now().as_micros(), Ordering::Relaxed);
        self.renew_index();
        Ok(())
    }

    /// Takes care that a damaged file is opened by nobody any more.
    fn leave_damaged(&self, id: Option<IndexId>) {
        let Some(id) = id else { return };
        self.indicators.damages.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(path = %self.files.store.match_index_path(id).display(), "the match index is damaged; it is made anew");
        if let Err(error) = self.files.store.forget_match_index(id) {
            tracing::warn!(%error, "the damaged match index stays named");
        }
    }

    /// The file that the store names, if it is another one than that in use. At the first look, a store with many
    /// indicators and no file gets one: it takes no longer than reading them, and they then take no memory of this
    /// process.
    ///
    /// Only under the follower's refresh.
    fn other_index(&self, using: Option<IndexId>, first: bool) -> Result<Option<IndexFile<ReadMap>>> {
        let store = &self.files.store;
        if self.indicators.damages.load(Ordering::Relaxed) >= TOO_MANY_DAMAGED {
            return Ok(None);
        }
        let found = self.named_index(using)?;
        if found.is_some() || !first || store.indicator_revision()?.0 <= WORTH_A_FILE {
            return Ok(found);
        }
        for _ in 0..LOOKS {
            match store.build_match_index(&mut world::SystemEntropy, &|| true) {
                Ok(Some(_)) => break,
                // Somebody else makes it: waiting costs less than reading everything as well.
                Ok(None) => std::thread::sleep(LOOK),
                // The process forked meanwhile; the building begins again.
                Err(fault) if fault.code() == "store-busy" => std::thread::sleep(LOOK),
                Err(error) => {
                    tracing::warn!(%error, "no match index could be made; the indicators are read into memory");
                    break;
                }
            }
            if let Some(made) = self.named_index(using)? {
                return Ok(Some(made));
            }
        }
        self.named_index(using)
    }

    /// The file that the store names, if it is another one and can be used; what is wrong with it is logged.
    fn named_index(&self, using: Option<IndexId>) -> Result<Option<IndexFile<ReadMap>>> {
        for _ in 0..RENAMED {
            let Some(id) = self.files.store.match_index()?.filter(|id| Some(*id) != using) else {
                return Ok(None);
            };
            let path = self.files.store.match_index_path(id);
            let not_used = |why: &dyn std::fmt::Display| {
                tracing::warn!(path = %path.display(), error = %why, "the match index is not used");
                Ok(None)
            };
            let map = match ReadMap::open(&path) {
                Ok(Some(map)) => map,
                Ok(None) => continue,
                Err(error) => return not_used(&error),
            };
            let file = match IndexFile::parse(map) {
                Ok(file) => file,
                Err(error) => return not_used(&error),
            };
            if file.id() != id || Revision(file.revision()) > self.files.store.indicator_revision()? {
                return not_used(&"it is another one than its name says");
            }
            return Ok(Some(file));
        }
        Ok(None)
    }

    /// Makes a new file in a thread of its own when enough has changed. It ends early when the engine closes or the
    /// process forks; the next change begins anew.
    fn renew_index(&self) {
        let cache = &self.indicators;
        let changed = {
            let state = cache.state.read().unwrap_or_else(PoisonError::into_inner);
            let enough = worth(state.index.file().map_or(0, IndexFile::len));
            let changed = state.index.changed();
            if changed <= cache.tried_at.load(Ordering::Relaxed).saturating_add(enough)
                || cache.damages.load(Ordering::Relaxed) >= TOO_MANY_DAMAGED
            {
                return;
            }
            changed
        };
        if cache.building.swap(true, Ordering::AcqRel) {
            return;
        }
        cache.tried_at.store(changed, Ordering::Relaxed);
        let (files, building, made) = (self.files.clone(), cache.building.clone(), cache.file_made.clone());
        let work = move || {
            let goes_on = || Arc::strong_count(&files) > 1;
            match files.store.build_match_index(&mut world::SystemEntropy, &goes_on) {
                Ok(Some(_)) => made.store(true, Ordering::Release),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no new match index was made"),
            }
            building.store(false, Ordering::Release);
        };
        if let Err(error) = std::thread::Builder::new().name("security-index".into()).spawn(work) {
            cache.building.store(false, Ordering::Release);
            tracing::warn!(%error, "no new match index was made");
        }
    }

    /// After an import or a removal in bulk: makes a new file now if enough has changed, so that nobody who starts
    /// later has to. What keeps it from being made is logged; what was stored is stored.
    pub(super) fn index_what_changed(&self) {
        self.files.store.end_of_bulk();
        let make = || -> Result<()> {
            let file = self.named_index(None)?;
            let (made_at, entries) = file.map_or((0, 0), |file| (file.revision(), file.len()));
            if self.files.store.indicator_revision()?.0.saturating_sub(made_at) > worth(entries) {
                self.files.store.build_match_index(&mut world::SystemEntropy, &|| true)?;
            }
            Ok(())
        };
        if let Err(error) = make() {
            tracing::warn!(%error, "no new match index was made");
        }
    }
}
