//! What the processes of one host share: the epoch page, the word table, counters, finished files, the fork generation; and
//! memory that no core dump has.
//!
//! This is the only crate of the project with `unsafe`: one block that views a mapped file as atomics, one that
//! maps a finished file for reading, one that has memory brought near, three that put a
//! value into pages of its own and take it out, one that registers the fork handler, and four that take a variable out of the
//! environment. Everything else is plain code over
//! [`std::sync::atomic::AtomicU64`], and the two protocols (`epoch`, `bucket`) are written apart from the memory they
//! run on, so that their tests can try interleavings and kills that no real scheduler would give twice.
//!
//! **Files.** Both files are made complete, with their final length and header, under a temporary name and
//! linked to their own only then: nobody ever maps a short one. They are never truncated afterwards. Whoever
//! deletes one while processes run splits them in two groups that no longer hear of each other; delete only
//! when nothing runs ([`SharedPage::is_current`] tells).
//!
//! **Fork.** Mappings are `MAP_SHARED` and survive `fork` at the same address: a child goes on with the
//! parent's [`SharedPage`] and [`SharedWords`] and both see each other's writes. No lock is held anywhere, so
//! none can be inherited locked.
//!
//! **Unix only**, and both files belong on a local file system.

mod bucket;
mod counters;
pub mod environment;
mod epoch;
pub mod fork;
mod mapped_file;
mod page;
mod prefetch;
mod read_map;
mod undumped;
mod words;

pub use counters::SharedCounters;
pub use epoch::Epoch;
pub use page::SharedPage;
pub use prefetch::bring_near;
pub use read_map::ReadMap;
pub use undumped::{Undumped, undumped};
pub use words::SharedWords;
