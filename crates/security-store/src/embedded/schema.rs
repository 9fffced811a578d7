//! The four databases: what is in them, how they are made, and how an older one is brought up to date.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use security_core::StoreFault;

use crate::{
    fault::{self, Trouble},
    permissions,
};

/// One database: its file and the steps that made its tables. A step, once released, never changes.
#[derive(Debug)]
pub(super) struct Schema {
    /// The file, relative to the data directory.
    pub(super) file: &'static str,
    /// What `PRAGMA application_id` says: four letters.
    application: i64,
    /// `FULL`: a commit survives a power cut. `NORMAL`: the last ones may not, the file stays whole.
    synchronous: &'static str,
    /// Step `n` leads from version `n` to `n + 1`.
    steps: &'static [&'static str],
}

pub(super) static CREDENTIALS: Schema = Schema {
    file: "credentials/credentials.sqlite",
    application: i64::from_be_bytes(*b"\0\0\0\0secc"),
    synchronous: "FULL",
    // `sum` is a CRC over key, version, revision and record: SQLite itself does not notice a flipped bit in a
    // value, and a revocation or an expiry must not silently become another one.
    steps: &[
        "
        CREATE TABLE revision (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL) STRICT;
        INSERT INTO revision VALUES (1, 0);
        CREATE TABLE credential (
            kind TEXT PRIMARY KEY, version INTEGER NOT NULL, revision INTEGER NOT NULL,
            sum INTEGER NOT NULL, record TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX credential_by_revision ON credential (revision);
        CREATE TABLE issued_key (
            id TEXT PRIMARY KEY, version INTEGER NOT NULL, revision INTEGER NOT NULL,
            sum INTEGER NOT NULL, record TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX issued_key_by_revision ON issued_key (revision);
        CREATE TABLE history (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, credential TEXT NOT NULL, line TEXT NOT NULL
        ) STRICT;
        CREATE INDEX history_by_credential ON history (credential, seq);
        CREATE TRIGGER history_is_never_changed BEFORE UPDATE ON history
            BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
        CREATE TRIGGER history_is_never_shortened BEFORE DELETE ON history
            BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
    ",
        "
        CREATE TABLE key_table (made INTEGER PRIMARY KEY AUTOINCREMENT, stamp BLOB NOT NULL) STRICT;
    ",
        "
        CREATE TABLE foreign_key (lookup BLOB PRIMARY KEY, id TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE foreign_route (route TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    ",
        // What is long stands last: lists and re-wrapping read none of it. The newest `secret_key` is in force, the
        // others are known until no secret needs them.
        "
        CREATE TABLE secret_key (
            made INTEGER PRIMARY KEY AUTOINCREMENT, key_id TEXT NOT NULL UNIQUE
        ) STRICT;
        CREATE TABLE secret (
            row INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL,
            key_id TEXT REFERENCES secret_key (key_id), wrapped BLOB, sum INTEGER NOT NULL, record TEXT NOT NULL,
            sealed BLOB, UNIQUE (name, version),
            CHECK ((key_id IS NULL) = (wrapped IS NULL) AND (key_id IS NULL) = (sealed IS NULL))
        ) STRICT;
        CREATE INDEX secret_by_key ON secret (key_id, name, version);
    ",
        "
        CREATE TABLE ban_revision (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL) STRICT;
        INSERT INTO ban_revision VALUES (1, 0);
        CREATE TABLE ban (
            network TEXT PRIMARY KEY, until INTEGER NOT NULL, sum INTEGER NOT NULL, record TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
    ",
        // A digest names its pepper itself. What is given up keeps its row until its key's file is gone.
        "
        CREATE TABLE pepper (
            version INTEGER PRIMARY KEY AUTOINCREMENT, key_id TEXT NOT NULL UNIQUE, made_at INTEGER NOT NULL,
            limit_seed INTEGER NOT NULL, dropped INTEGER NOT NULL DEFAULT 0
        ) STRICT;
    ",
    ],
};

pub(super) static INDICATORS: Schema = Schema {
    file: "iocs/indicators.sqlite",
    application: i64::from_be_bytes(*b"\0\0\0\0seci"),
    synchronous: "FULL",
    // A removed indicator keeps its row, without a record, so that the change feed can tell of it. The
    // full-text index keeps no copy of the text: it is asked for rows only.
    steps: &[
        "
        CREATE TABLE revision (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL) STRICT;
        INSERT INTO revision VALUES (1, 0);
        CREATE TABLE ioc (
            row INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, confidence INTEGER NOT NULL,
            last_seen INTEGER NOT NULL, revision INTEGER NOT NULL, removed INTEGER NOT NULL, record TEXT,
            UNIQUE (kind, value)
        ) STRICT;
        CREATE UNIQUE INDEX ioc_by_revision ON ioc (revision);
        CREATE INDEX ioc_by_last_seen ON ioc (last_seen, row) WHERE removed = 0;
        CREATE TABLE tally (kind TEXT PRIMARY KEY, records INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE source (
            source TEXT NOT NULL, row INTEGER NOT NULL REFERENCES ioc, PRIMARY KEY (source, row)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE tag (
            tag TEXT NOT NULL, row INTEGER NOT NULL REFERENCES ioc, PRIMARY KEY (tag, row)
        ) STRICT, WITHOUT ROWID;
        CREATE VIRTUAL TABLE ioc_text USING fts5 (
            value, description, tags, sources,
            content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2'
        );
    ",
        "
        CREATE TABLE match_index (made INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL) STRICT;
        CREATE INDEX ioc_removed ON ioc (row) WHERE removed = 1;
    ",
        // A value is found by the first half of its record's id: eight bytes in place of the value a second time, so
        // that the index of millions stays in memory and a batch touches few of its pages. What was removed before this
        // step has no id any more: a later word on it gets a new row.
        "
        CREATE TABLE ioc_of_old (
            row INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, confidence INTEGER NOT NULL,
            last_seen INTEGER NOT NULL, revision INTEGER NOT NULL, removed INTEGER NOT NULL, record TEXT
        ) STRICT;
        INSERT INTO ioc_of_old SELECT row, kind, value, confidence, last_seen, revision, removed, record FROM ioc;
        CREATE TABLE source_of_old (
            source TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (source, row)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO source_of_old SELECT source, row FROM source;
        CREATE TABLE tag_of_old (
            tag TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (tag, row)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO tag_of_old SELECT tag, row FROM tag;
        DROP TABLE source;
        DROP TABLE tag;
        DROP TABLE ioc;
        ALTER TABLE ioc_of_old RENAME TO ioc;
        ALTER TABLE source_of_old RENAME TO source;
        ALTER TABLE tag_of_old RENAME TO tag;
        CREATE UNIQUE INDEX ioc_by_revision ON ioc (revision);
        CREATE INDEX ioc_by_last_seen ON ioc (last_seen, row) WHERE removed = 0;
        CREATE INDEX ioc_by_kind ON ioc (kind, last_seen, row) WHERE removed = 0;
        CREATE TABLE ioc_key (key BLOB NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (key, row)) STRICT, WITHOUT ROWID;
        INSERT INTO ioc_key
            SELECT unhex(substr(replace(json_extract(record, '$.id'), '-', ''), 10, 16)) AS key, row
            FROM ioc WHERE removed = 0 AND json_valid(record) ORDER BY key;
        INSERT INTO ioc_text (ioc_text, rank) VALUES ('deletemerge', 40);
    ",
        // Keys of many at a time in sorted runs, and full text that is made when it is asked for.
        "
        CREATE TABLE key_run (run INTEGER PRIMARY KEY, keys INTEGER NOT NULL) STRICT;
        CREATE TABLE key_page (id INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;
        CREATE TABLE text_state (one INTEGER PRIMARY KEY CHECK (one = 1), made INTEGER NOT NULL) STRICT;
        INSERT INTO text_state SELECT 1, coalesce(max(row), 0) FROM ioc;
        CREATE TABLE text_due (row INTEGER PRIMARY KEY) STRICT;
    ",
    ],
};

pub(super) static INTEL: Schema = Schema {
    file: "intel/intel.sqlite",
    application: i64::from_be_bytes(*b"\0\0\0\0secr"),
    synchronous: "FULL",
    // The full-text index reads the flattened text from the table and is told to wipe what is deleted.
    steps: &["
        CREATE TABLE intel (
            row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source_type TEXT NOT NULL,
            priority_level TEXT NOT NULL, created_at INTEGER NOT NULL, record TEXT NOT NULL, text TEXT NOT NULL
        ) STRICT;
        CREATE INDEX intel_by_time ON intel (created_at, row);
        CREATE TABLE tag (
            tag TEXT NOT NULL, row INTEGER NOT NULL REFERENCES intel, PRIMARY KEY (tag, row)
        ) STRICT, WITHOUT ROWID;
        CREATE VIRTUAL TABLE intel_text USING fts5 (
            text, content='intel', content_rowid='row', tokenize='unicode61 remove_diacritics 2'
        );
        INSERT INTO intel_text (intel_text, rank) VALUES ('secure-delete', 1);
    "],
};

pub(super) static ALERTS: Schema = Schema {
    file: "intel/alerts.sqlite",
    application: i64::from_be_bytes(*b"\0\0\0\0seca"),
    synchronous: "NORMAL",
    steps: &["
        CREATE TABLE alert (
            row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, severity TEXT NOT NULL,
            record TEXT NOT NULL
        ) STRICT;
        CREATE INDEX alert_by_time ON alert (at, row);
        CREATE INDEX alert_by_severity ON alert (severity, at, row);
        CREATE TABLE tally (severity TEXT PRIMARY KEY, records INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    "],
};

impl Schema {
    /// Files up to this size are read through once per process before they are used: a few milliseconds.
    /// Larger ones are found out page by page; `EmbeddedStore::check` reads them whole.
    const CHECKED_UP_TO: u64 = 4 << 20;

    /// The version that this software makes.
    pub(super) fn version(&self) -> i64 {
        i64::try_from(self.steps.len()).expect("a handful of steps")
    }

    /// Makes sure that the file is there, is ours, is whole as far as can be told cheaply, and is up to date.
    pub(super) fn prepare(&self, path: &Path) -> Result<(), StoreFault> {
        // A file is made whole under another name and then published, so an empty one is never a new one, and
        // a write-ahead log without its file (looked at first: it appears last) is what is left of a loss.
        let log = size(&beside(path, "-wal"));
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if log.is_some_and(|bytes| bytes > 0) {
                    return Err(fault::damaged(path, "the file is gone but its write-ahead log is there"));
                }
                self.create(path)?;
                fs::symlink_metadata(path)
            }
            metadata => metadata,
        };
        let metadata = metadata.map_err(|error| fault::from_io(&error, path))?;
        if metadata.is_symlink() {
            return Err(fault::symlink(path));
        }
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(fault::damaged(path, "it is empty or no file"));
        }
        if metadata.mode() & 0o077 != 0
            && let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        {
            tracing::warn!(path = %path.display(), %error, "a store's file is open to others");
        }
        let mut connection = self.connect(path)?;
        let settled = log.is_none_or(|bytes| bytes == 0);
        self.verify_and_migrate(&mut connection, path, metadata.len(), settled)
            .map_err(|trouble| trouble.at(path))
    }

    /// [`Schema::connect`] for the one that writes. What an import changes fits into its memory, so that a page is
    /// neither read nor written again within a batch; the log is moved into the file less often.
    pub(super) fn connect_writer(&self, path: &Path) -> Result<Connection, StoreFault> {
        let connection = self.connect(path)?;
        if std::ptr::eq(self, &raw const INDICATORS) {
            let roomy =
                connection.execute_batch("PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 8192;");
            roomy.map_err(|error| fault::from_sqlite(&error, path))?;
        }
        Ok(connection)
    }

    /// A connection with everything set that is not stored in the file.
    pub(super) fn connect(&self, path: &Path) -> Result<Connection, StoreFault> {
        self.open(path).map_err(|error| fault::from_sqlite(&error, path))
    }

    fn open(&self, path: &Path) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(super::BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        // cell_size_check finds damaged pages before they are used; trusted_schema distrusts a schema that
        // somebody else put into the file; temporary tables hold records and so stay in memory.
        connection.execute_batch(&format!(
            "PRAGMA synchronous = {}; PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON;
             PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = {};",
            self.synchronous,
            // Whatever leaves these leaves no trace in their pages: what was disposed of, a destroyed secret.
            match std::ptr::eq(self, &raw const INTEL) || std::ptr::eq(self, &raw const CREDENTIALS) {
                true => "ON",
                false => "FAST",
            },
        ))?;
        Ok(connection)
    }

    /// Makes the file whole under another name and then gives it its own, so that no process ever sees half
    /// of it; of several that do so at once, one wins.
    fn create(&self, path: &Path) -> Result<(), StoreFault> {
        let draft = permissions::draft_beside(path);
        let made = permissions::private_file(&draft).and_then(|file| {
            drop(file);
            let mut connection = self.connect(&draft)?;
            self.fill(&mut connection).map_err(|trouble| trouble.at(path))?;
            // The last connection to close moves the log into the file and syncs it.
            connection.close().map_err(|(_, error)| fault::from_sqlite(&error, path))?;
            permissions::publish_once(&draft, path).map_err(|error| fault::from_io(&error, path))
        });
        for leftover in
            [draft.clone(), beside(&draft, "-wal"), beside(&draft, "-shm"), beside(&draft, "-journal")]
        {
            // Best effort: hidden names that nothing reads.
            let _ = fs::remove_file(leftover);
        }
        made
    }

    fn fill(&self, connection: &mut Connection) -> Result<(), Trouble> {
        connection.execute_batch(&format!("PRAGMA application_id = {}", self.application))?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(Trouble::Unreadable(format!("its journal mode is {mode}, not wal")));
        }
        self.migrate(connection)
    }

    /// `settled`: there is no write-ahead log, so the file alone must be whole.
    fn verify_and_migrate(
        &self,
        connection: &mut Connection,
        path: &Path,
        bytes: u64,
        settled: bool,
    ) -> Result<(), Trouble> {
        let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        if application != self.application {
            return Err(Trouble::Unreadable("it is a SQLite file, but not one of this store".to_owned()));
        }
        let found = version_of(connection)?;
        if found > self.version() {
            return Err(fault::newer(path, found, self.version()).into());
        }
        // SQLite takes what is missing of the last page for zeros.
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        if settled && !bytes.is_multiple_of(page.unsigned_abs().max(1)) {
            return Err(Trouble::Unreadable("its last page is cut short".to_owned()));
        }
        if bytes <= Self::CHECKED_UP_TO {
            let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if answer != "ok" {
                return Err(Trouble::Unreadable(answer));
            }
        }
        if found < self.version() {
            self.migrate(connection)?;
        }
        Ok(())
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read again under the lock: another process may have been first.
        let found = usize::try_from(version_of(&transaction)?).unwrap_or(0);
        for step in self.steps.iter().skip(found) {
            transaction.execute_batch(step)?;
        }
        if found < self.steps.len() {
            transaction.execute_batch(&format!("PRAGMA user_version = {}", self.version()))?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// The schema version that a file says it has.
pub(super) fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// The path of a companion file, `-wal` or `-shm`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A file's size; `None` when it is not there.
pub(super) fn size(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|metadata| metadata.len())
}
