//! The epoch page: one word a domain, by which a change in one process holds in all at their next call.

use std::{
    cell::RefCell,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use security_core::{ChangeSignal, Domain, StoreFault};

use crate::{
    epoch::{self, Epoch},
    mapped_file::{HEADER, Kind, MappedFile, WORD},
};

/// Two cache lines for each word, so that a change in one domain does not slow readers of another.
const KIND: Kind = Kind { magic: *b"SECEPOCH", version: 1, entry_bytes: 128, max_entries: 1024 };

thread_local! {
    /// What this thread began: the page, the domain, and the word it made.
    static BEGUN: RefCell<Vec<(u64, usize, u64)>> = const { RefCell::new(Vec::new()) };
}

/// The epochs of all domains, in memory that all processes of the host share.
///
/// Reading an epoch is one atomic load. A reader does this, in this order:
///
/// 1. load [`SharedPage::epoch`];
/// 2. if it [is settled](Epoch::is_settled) and equals the one its cache was filled at, use the cache;
/// 3. else read the store, and keep the answer under the epoch of step 1 only if that was settled.
///
/// Writers use the page as [`ChangeSignal`], under the store's write lock, `begin` and `finish` on the same
/// thread. The module `epoch` of the source has the protocol and why a kill at any instruction leaves no
/// process with an old answer.
///
/// The words live as long as the file; they say nothing about what is on disk. After `fork`, parent and child
/// go on with the same page.
#[derive(Debug)]
pub struct SharedPage {
    file: MappedFile,
    id: u64,
}

impl SharedPage {
    /// Maps the page at `path`, and makes it first if it is not there (the file 0600, missing folders 0700).
    /// # Errors
    /// `shared-damaged` when the file is not whole: others may have it mapped, so it is left alone.
    /// `shared-other-version` when another version of the engine made it. `shared-unavailable` when it cannot
    /// be made or opened; a symbolic link is never followed.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        static PAGES: AtomicU64 = AtomicU64::new(0);
        let file = MappedFile::open(path, &KIND, Domain::ALL.len() as u64)?;
        if file.entries() < Domain::ALL.len() as u64 {
            return Err(StoreFault::new("shared-damaged", "the epoch page has too few words")
                .with_hint("delete the file while no process runs; it holds nothing that has to be kept")
                .at(path));
        }
        Ok(Self { file, id: PAGES.fetch_add(1, Ordering::Relaxed) })
    }

    /// The epoch of a domain now. One atomic load.
    pub fn epoch(&self, domain: Domain) -> Epoch {
        Epoch(self.word(domain).load(Ordering::SeqCst))
    }

    /// Ends the slow state that a killed writer left: makes the odd epoch `seen` settled.
    ///
    /// **Call it only while holding the store's write lock**, with an epoch loaded under that lock: then nobody
    /// else is between `begin` and the end of a commit. Gives whether the epoch is settled now; `false` means
    /// that the word is no longer `seen`.
    pub fn settle(&self, domain: Domain, seen: Epoch) -> bool {
        let settled = epoch::settled(seen.0);
        self.word(domain).compare_exchange(seen.0, settled, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Whether the file at the path is still the one mapped here. `false` means that somebody deleted or
    /// replaced it: processes started since then do not hear of this one's changes, nor this one of theirs.
    /// Asks the file system; not for the hot path.
    pub fn is_current(&self) -> bool {
        self.file.is_current()
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    fn word(&self, domain: Domain) -> &AtomicU64 {
        &self.file.words()[(HEADER + position(domain) * KIND.entry_bytes) / WORD]
    }

    /// Replaces the word by what `step` makes of it; gives the new word.
    fn advance(&self, domain: Domain, step: impl Fn(u64) -> u64) -> u64 {
        let word = self.word(domain);
        let mut seen = word.load(Ordering::SeqCst);
        loop {
            let next = step(seen);
            match word.compare_exchange(seen, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return next,
                Err(now) => seen = now,
            }
        }
    }
}

impl ChangeSignal for SharedPage {
    /// Makes the epoch odd and larger: from now on every reader of every process asks the store itself.
    fn begin(&self, domain: Domain) {
        let ticket = self.advance(domain, epoch::begun);
        let at = position(domain);
        BEGUN.with_borrow_mut(|begun| {
            begun.retain(|(page, domain, _)| (*page, *domain) != (self.id, at));
            begun.push((self.id, at, ticket));
        });
    }

    /// Settles the epoch, larger than before, unless another writer has begun since: then that one will.
    fn finish(&self, domain: Domain) {
        let at = position(domain);
        let ticket = BEGUN.with_borrow_mut(|begun| {
            let found = begun.iter().position(|(page, domain, _)| (*page, *domain) == (self.id, at))?;
            Some(begun.swap_remove(found).2)
        });
        self.advance(domain, |word| epoch::finished(word, ticket));
    }
}

/// The place of a domain's word, by [`Domain::ALL`].
fn position(domain: Domain) -> usize {
    match domain {
        Domain::Credentials => 0,
        Domain::Indicators => 1,
        Domain::Intel => 2,
        Domain::Rules => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> (tempfile::TempDir, SharedPage) {
        let folder = tempfile::tempdir().unwrap();
        let page = SharedPage::open(&folder.path().join("page")).unwrap();
        (folder, page)
    }

    #[test]
    fn places_follow_the_order_of_all_domains() {
        let places: Vec<usize> = Domain::ALL.into_iter().map(position).collect();
        assert_eq!(places, [0, 1, 2, 3]);
    }

    #[test]
    fn a_change_is_odd_while_it_lasts_and_larger_afterwards() {
        let (_folder, page) = page();
        let before = page.epoch(Domain::Indicators);
        page.begin(Domain::Indicators);
        let during = page.epoch(Domain::Indicators);
        page.finish(Domain::Indicators);
        let after = page.epoch(Domain::Indicators);
        assert!(before.is_settled() && !during.is_settled() && after.is_settled());
        assert!(before.value() < during.value() && during.value() < after.value());
        assert_eq!(page.epoch(Domain::Credentials), before);
    }

    #[test]
    fn a_second_page_over_the_same_file_sees_the_change() {
        let (_folder, page) = page();
        let other = SharedPage::open(page.path()).unwrap();
        let before = other.epoch(Domain::Rules);
        page.begin(Domain::Rules);
        assert!(!other.epoch(Domain::Rules).is_settled());
        page.finish(Domain::Rules);
        assert_ne!(other.epoch(Domain::Rules), before);
    }

    #[test]
    fn after_a_killed_writer_the_next_change_settles() {
        let (_folder, page) = page();
        // A writer that never came to `finish`, seen by a page of its own as another process would have.
        SharedPage::open(page.path()).unwrap().begin(Domain::Credentials);
        let stuck = page.epoch(Domain::Credentials);
        page.begin(Domain::Credentials);
        let during = page.epoch(Domain::Credentials);
        assert!(!during.is_settled() && during.value() > stuck.value());
        page.finish(Domain::Credentials);
        assert!(page.epoch(Domain::Credentials).is_settled());
    }

    #[test]
    fn an_overlapping_change_stays_unsettled_until_the_later_one_is_finished() {
        let (_folder, page) = page();
        let other = SharedPage::open(page.path()).unwrap();
        page.begin(Domain::Credentials);
        other.begin(Domain::Credentials);
        page.finish(Domain::Credentials);
        assert!(!page.epoch(Domain::Credentials).is_settled());
        other.finish(Domain::Credentials);
        assert!(page.epoch(Domain::Credentials).is_settled());
    }

    #[test]
    fn settle_repairs_exactly_what_was_seen() {
        let (_folder, page) = page();
        SharedPage::open(page.path()).unwrap().begin(Domain::Intel);
        let seen = page.epoch(Domain::Intel);
        assert!(!page.settle(Domain::Intel, Epoch(seen.value() + 2)));
        assert!(page.settle(Domain::Intel, seen));
        let after = page.epoch(Domain::Intel);
        assert!(after.is_settled() && after.value() > seen.value());
        assert!(page.settle(Domain::Intel, after));
        assert_eq!(page.epoch(Domain::Intel), after);
    }

    #[test]
    fn many_writers_never_take_the_word_backwards() {
        let (_folder, page) = page();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let before = page.epoch(Domain::Rules).value();
                        page.begin(Domain::Rules);
                        page.finish(Domain::Rules);
                        assert!(page.epoch(Domain::Rules).value() > before);
                    }
                });
            }
        });
        assert!(page.epoch(Domain::Rules).is_settled());
    }
}
