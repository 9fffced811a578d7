//! The stores: embedded SQLite, the journal, folders of documents; the only place with SQL.
//!
//! **Invariants:** every file is created with mode 0600 in folders of mode 0700; nothing is ever overwritten
//! because it looks damaged; a handle belongs to the process that opened it ([`EmbeddedStore::quiesce`] and
//! [`Journal::quiesce`] before `fork`, and the child opens its own).

mod documents;
mod embedded;
mod fault;
mod gate;
mod head_file;
mod journal;
mod path_lock;
mod permissions;
mod rotation_lock;

pub use documents::{Document, DocumentFolder};
pub use embedded::{
    DatabaseStats, EmbeddedStore, KeyWalk, KnownPepper, MAX_ALERTS, Renewal, SavedForeignKeys, StoreStats,
};
pub use head_file::HeadFile;
pub use journal::{
    Broken, ChainReport, Claim, Durability, Journal, JournalOptions, JournalStats, JournalTail, MAX_RECORD,
    Stream,
};
pub use permissions::{
    private_data_dir, private_dir, private_file, read_key, read_or_create_key, remove_key, write_new_key,
};
pub use rotation_lock::RotationLock;
