//! Counters that all processes of the host add to: what metrics are made of.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use security_core::StoreFault;

use crate::mapped_file::{HEADER, Kind, MappedFile, WORD};

/// Processes add in a stripe of their own where there are few, so that they seldom wait for each other's cache
/// lines; whoever reads adds the stripes up.
const STRIPES: u64 = 16;
const KIND: Kind =
    Kind { magic: *b"SECCOUNT", version: 1, entry_bytes: SharedCounters::COUNT * WORD, max_entries: STRIPES };

/// So many counters, each a number of 64 bits that only grows, for all processes of the host together.
///
/// Adding is one atomic operation in memory, and nobody waits. The counts live as long as the file does, over
/// restarts; two reads of several counters are not of one moment.
#[derive(Debug)]
pub struct SharedCounters {
    file: MappedFile,
    stripe: usize,
}

impl SharedCounters {
    /// How many there are.
    pub const COUNT: usize = 128;

    /// Maps the counters at `path`, and makes them first if they are not there (the file 0600, missing folders
    /// 0700). `process`: this process's number, which chooses its stripe.
    /// # Errors
    /// `shared-damaged`, `shared-other-version` and `shared-unavailable` as for [`crate::SharedPage::open`].
    pub fn open(path: &Path, process: u32) -> Result<Self, StoreFault> {
        let file = MappedFile::open(path, &KIND, STRIPES)?;
        let stripes = file.entries().max(1);
        let stripe = usize::try_from(u64::from(process) % stripes).unwrap_or(0);
        if file.entries() == 0 {
            return Err(StoreFault::new("shared-damaged", "the counters have no room")
                .with_hint("delete the file while no process runs; it holds nothing that has to be kept")
                .at(path));
        }
        Ok(Self { file, stripe })
    }

    /// Adds to a counter; to one that does not exist, nothing.
    pub fn add(&self, counter: usize, count: u64) {
        if let Some(cell) = self.cell(self.stripe, counter) {
            cell.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What all processes have added to a counter.
    pub fn total(&self, counter: usize) -> u64 {
        let stripes = usize::try_from(self.file.entries()).unwrap_or(0);
        let cells = (0..stripes).filter_map(|stripe| self.cell(stripe, counter));
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }

    fn cell(&self, stripe: usize, counter: usize) -> Option<&AtomicU64> {
        if counter >= Self::COUNT {
            return None;
        }
        self.file.words().get(HEADER / WORD + stripe * Self::COUNT + counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_add_to_the_same_counters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counters");
        let one = SharedCounters::open(&path, 1).unwrap();
        let others: Vec<SharedCounters> =
            [2, 17, 40_000].iter().map(|process| SharedCounters::open(&path, *process).unwrap()).collect();
        std::thread::scope(|scope| {
            for counters in others.iter().chain([&one]) {
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        counters.add(0, 1);
                        counters.add(127, 2);
                    }
                });
            }
        });
        assert_eq!((one.total(0), one.total(127), one.total(5)), (40_000, 80_000, 0));
        drop(one);
        assert_eq!(SharedCounters::open(&path, 9).unwrap().total(0), 40_000, "they outlive the processes");
    }

    #[test]
    fn what_does_not_exist_counts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let counters = SharedCounters::open(&folder.path().join("counters"), 7).unwrap();
        counters.add(SharedCounters::COUNT, 1);
        counters.add(usize::MAX, 1);
        assert_eq!(counters.total(SharedCounters::COUNT), 0);
        assert!((0..SharedCounters::COUNT).all(|counter| counters.total(counter) == 0));
    }
}
