//! The records behind hits, read and rendered once and kept until any indicator changes.
//!
//! **Invariant:** a record that was read before a change is not kept after it. Each fill bears the number that stood
//! here before the store was read; every refresh of the follower raises the number and drops what is kept, *after* it
//! took the epoch that it will claim. So a fill that raced with a change finds another number and is not kept.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use security_core::Timestamp;
use security_indicators::Indicator;
use security_intel::{IocRecord, Row};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{ioc_view, is_active};

/// Records of one generation; two are kept.
const KEPT: usize = 2048;
/// What more is said of an indicator than this, in bytes about, is read again each time.
const LARGEST_KEPT: usize = 16 << 10;

/// A listed indicator with everything known of it, as [`crate::Engine::add_ioc`] shows it. Cheap to clone.
#[derive(Clone)]
pub struct ListedIoc(Arc<Listed>);

struct Listed {
    record: IocRecord,
    indicator: Indicator,
    view: OnceLock<Value>,
    of_face: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl ListedIoc {
    /// `None` for a record whose value is no indicator to this version.
    pub(super) fn new(record: IocRecord) -> Option<Self> {
        let indicator = record.indicator()?;
        let (view, of_face) = (OnceLock::new(), OnceLock::new());
        Some(Self(Arc::new(Listed { record, indicator, view, of_face })))
    }

    /// The record.
    pub(crate) fn record(&self) -> &IocRecord {
        &self.0.record
    }

    /// What is listed.
    pub(super) fn indicator(&self) -> &Indicator {
        &self.0.indicator
    }

    /// Whether it still counts.
    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        is_active(&self.0.record, now)
    }

    /// As it is shown.
    pub fn view(&self) -> &Value {
        // Whoever is shown it asked whether it is active first, so the moment does not matter.
        self.0.view.get_or_init(|| ioc_view(&self.0.record, Timestamp::MIN))
    }

    /// What a face made of it before ([`ListedIoc::keep_rendered`]); it stays as long as the record is kept.
    pub fn rendered<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.of_face.get()?.downcast_ref()
    }

    /// Keeps what a face made of it, unless something is kept already. (Nobody waits here: a face may hold a lock of its
    /// own while it renders.)
    pub fn keep_rendered<T: Any + Send + Sync>(&self, rendered: T) {
        // Of two that rendered at once, one is as good as the other.
        let _ = self.0.of_face.set(Box::new(rendered));
    }

    fn is_small(&self) -> bool {
        let record = &self.0.record;
        let lists = record.sources.len() + record.tags.len() + record.related_intel_ids.len();
        record.description.len() + 100 * lists <= LARGEST_KEPT
    }
}

impl fmt::Debug for ListedIoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListedIoc").field(&self.0.record).finish()
    }
}

impl PartialEq for ListedIoc {
    fn eq(&self, other: &Self) -> bool {
        self.0.record == other.0.record
    }
}

impl Serialize for ListedIoc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}

/// What is kept, by row: those met lately, and those met before them.
#[derive(Debug, Default)]
pub(super) struct ListedCache(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    number: u64,
    young: HashMap<Row, ListedIoc>,
    old: HashMap<Row, ListedIoc>,
}

/// Which changes a reader had heard of when it began to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard(u64);

impl ListedCache {
    /// What is kept of a row, and what to hand to [`ListedCache::keep`] when it is nothing.
    pub(super) fn find(&self, row: Row) -> Result<ListedIoc, Heard> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.young.get(&row) {
            return Ok(found.clone());
        }
        let heard = Heard(kept.number);
        let Some(found) = kept.old.get(&row).cloned() else { return Err(heard) };
        drop(kept);
        self.keep(row, found.clone(), heard);
        Ok(found)
    }

    /// Keeps what was read, unless something changed since.
    pub(super) fn keep(&self, row: Row, read: ListedIoc, heard: Heard) {
        if !read.is_small() {
            return;
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.number != heard.0 {
            return;
        }
        kept.young.insert(row, read);
        if kept.young.len() >= KEPT {
            let young = std::mem::take(&mut kept.young);
            let old = std::mem::replace(&mut kept.old, young);
            drop(kept);
            // Thousands of records may go here; nobody waits for that.
            drop(old);
        }
    }

    /// Drops everything, because something changed.
    pub(super) fn forget(&self) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.number += 1;
        let gone = (std::mem::take(&mut kept.young), std::mem::take(&mut kept.old));
        drop(kept);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_intel::NewIoc;

    fn listed(description: &str) -> ListedIoc {
        ListedIoc::new(IocRecord::new(NewIoc {
            indicator: Indicator::identify("192.0.2.1").unwrap(),
            original: None,
            source: "internal".into(),
            confidence: 80,
            description: description.into(),
            tags: Vec::new(),
            related_intel_ids: Vec::new(),
            seen_at: Timestamp::EPOCH,
            first_seen: None,
            valid_until: None,
        }))
        .unwrap()
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = ListedCache::default();
        let before = cache.find(1).unwrap_err();
        cache.forget();
        cache.keep(1, listed("old"), before);
        let after = cache.find(1).unwrap_err();
        cache.keep(1, listed("new"), after);
        assert_eq!(cache.find(1).unwrap().record().description, "new");
        cache.forget();
        assert!(cache.find(1).is_err());
    }

    #[test]
    fn it_is_bounded_and_what_is_met_again_stays() {
        let cache = ListedCache::default();
        let heard = cache.find(0).unwrap_err();
        for row in 0..20 * KEPT as i64 {
            cache.keep(row, listed(""), heard);
            assert!(cache.find(7.min(row)).is_ok(), "{row}");
        }
        let kept = cache.0.read().unwrap();
        assert!(kept.young.len() + kept.old.len() <= 2 * KEPT);
        drop(kept);
        cache.keep(-1, listed(&"x".repeat(LARGEST_KEPT)), heard);
        assert!(cache.find(-1).is_err(), "too large to be kept");
    }

    #[test]
    fn a_face_renders_once() {
        let listed = listed("x");
        assert_eq!(listed.rendered::<u8>(), None);
        listed.keep_rendered(7_u8);
        listed.clone().keep_rendered(8_u8);
        assert_eq!((listed.clone().rendered::<u8>(), listed.rendered::<u16>()), (Some(&7), None));
        assert_eq!(serde_json::to_value(&listed).unwrap()["active"], true);
    }
}
