//! The embedded store: four SQLite files, used by many processes at once.

mod alerts;
mod bans;
mod credentials;
mod foreign_keys;
mod full_text;
mod history_file;
mod indicator_batch;
mod indicator_record;
mod indicators;
mod intel;
mod key_bulk;
mod key_runs;
mod key_table;
mod labels;
mod match_file;
mod peppers;
mod pool;
mod schema;
mod secrets;
mod source_removal;
mod text_due;
mod walk;

use std::{fmt, fs, path::Path, path::PathBuf, sync::Arc, time::Duration};

use security_core::{ChangeSignal, Domain, StoreFault};
use serde::Serialize;

pub use alerts::MAX_ALERTS;
pub use foreign_keys::SavedForeignKeys;
use history_file::HistoryFile;
pub use key_bulk::KeyWalk;
pub use peppers::{KnownPepper, Renewal};
use pool::Database;

use crate::{fault, gate::Gate, permissions};

/// How long a connection waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long [`EmbeddedStore::quiesce`] waits for calls in progress.
const FORK_PATIENCE: Duration = Duration::from_secs(5);

/// The oldest SQLite that does not lose commits in WAL mode, as 1000000·major + 1000·minor + patch.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Credentials, indicators, intelligence and alerts in SQLite files of one data directory.
///
/// Any number of processes and threads may use one directory at once. Files are opened at first use. Every
/// change is durable when its call returns (alerts alone may lose the last moments to a power cut, not to a
/// killed process).
pub struct EmbeddedStore {
    credentials: Database,
    indicators: Database,
    intel: Database,
    alerts: Database,
    history_file: HistoryFile,
    gate: Arc<Gate>,
}

/// What the store is made of.
#[derive(Debug, Clone, Serialize)]
pub struct StoreStats {
    /// SQLite's version.
    pub sqlite_version: &'static str,
    /// The databases.
    pub databases: Vec<DatabaseStats>,
}

/// What one database is made of.
#[derive(Debug, Clone, Serialize)]
pub struct DatabaseStats {
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file and of its write-ahead log; 0 while it was not made yet.
    pub bytes: u64,
    /// The version of its schema; `None` while it was not made yet.
    pub schema_version: Option<i64>,
}

impl EmbeddedStore {
    /// Makes the folders and names the files; none is opened before it is used.
    ///
    /// # Errors
    /// The folders cannot be made (`store-read-only`, `store-full`, `store-io`), or the SQLite linked in is too
    /// old to be trusted (`store-sqlite-too-old`).
    pub fn open(data_dir: &Path, signal: Arc<dyn ChangeSignal>) -> Result<Self, StoreFault> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            let message = format!("SQLite {} can lose commits in WAL mode", rusqlite::version());
            return Err(StoreFault::new("store-sqlite-too-old", message)
                .with_hint("build with the bundled SQLite, 3.51.3 or later"));
        }
        permissions::private_data_dir(data_dir)?;
        // SQLite is told to follow no link; the one that the operator may have put in front is resolved here.
        let data_dir = &fs::canonicalize(data_dir).map_err(|error| fault::from_io(&error, data_dir))?;
        for folder in ["credentials", "credential_history", "iocs", "intel"] {
            permissions::private_dir(&data_dir.join(folder))?;
        }
        let gate = Arc::new(Gate::default());
        let database = |schema| Database::new(data_dir, schema, gate.clone(), signal.clone());
        Ok(Self {
            credentials: database(&schema::CREDENTIALS),
            indicators: database(&schema::INDICATORS),
            intel: database(&schema::INTEL),
            alerts: database(&schema::ALERTS),
            history_file: HistoryFile::new(data_dir.join("credential_history/history.jsonl")),
            gate,
        })
    }

    /// Before `fork`: waits up to five seconds for calls in progress, closes every connection and holds new
    /// calls back until [`EmbeddedStore::resume`]. The child must not touch this store (leak it, do not drop
    /// it) and opens its own.
    ///
    /// # Errors
    /// `store-busy`: a call is still in progress; new calls are held back all the same.
    pub fn quiesce(&self) -> Result<(), StoreFault> {
        if !self.gate.close(FORK_PATIENCE) {
            return Err(fault::busy(
                self.credentials.path(),
                "a call is in progress while the process forks",
            ));
        }
        self.databases().into_iter().for_each(Database::close);
        Ok(())
    }

    /// After `fork`, in the parent: lets calls in again.
    pub fn resume(&self) {
        self.gate.open();
    }

    /// Ends the commit of a writer that was killed in the middle of it: announces a change of `domain` under
    /// the write lock, as a writer does, without making one. Every reader then looks once and is done. Does not wait.
    ///
    /// # Errors
    /// `store-busy` when a writer holds the lock: it is alive, and will finish by itself.
    pub fn settle(&self, domain: Domain) -> Result<(), StoreFault> {
        let database = match domain {
            Domain::Credentials => &self.credentials,
            Domain::Indicators => &self.indicators,
            Domain::Intel | Domain::Rules => &self.intel,
        };
        database.announce_now(domain)
    }

    /// After indicators were stored or removed in bulk: gives back the tens of megabytes that this took.
    pub fn end_of_bulk(&self) {
        self.indicators.give_memory_back();
    }

    /// Sizes and versions, for people. Makes no file.
    ///
    /// # Errors
    /// A file that is there cannot be read.
    pub fn stats(&self) -> Result<StoreStats, StoreFault> {
        let mut databases = Vec::new();
        for database in self.databases() {
            let path = database.path();
            let files = [path.to_owned(), schema::beside(path, "-wal")];
            let bytes = files.iter().filter_map(|file| schema::size(file)).sum();
            let schema_version = match database.exists() {
                true => Some(database.read(|connection| Ok(schema::version_of(connection)?))?),
                false => None,
            };
            databases.push(DatabaseStats { path: path.to_owned(), bytes, schema_version });
        }
        Ok(StoreStats { sqlite_version: rusqlite::version(), databases })
    }

    /// Reads every file through and says the first thing that is wrong; takes seconds for gigabytes.
    ///
    /// # Errors
    /// `store-damaged` with the file, or a file that is there cannot be read.
    pub fn check(&self) -> Result<(), StoreFault> {
        self.databases().into_iter().filter(|database| database.exists()).try_for_each(Database::check)
    }

    fn databases(&self) -> [&Database; 4] {
        [&self.credentials, &self.indicators, &self.intel, &self.alerts]
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("credentials", &self.credentials.path()).finish_non_exhaustive()
    }
}

/// A count as SQLite keeps it; more than it can keep is as good as no bound.
fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
