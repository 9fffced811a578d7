//! Writing the key table: every issued key of one state of the store, in a file of its own.
//!
//! # Why an old or a foreign table can never bring a revoked key back
//! A table bears a random stamp, and the store keeps the stamps of the last tables made of it. A table is used only
//! if the store that it stands beside knows its stamp. The stamp is committed *after* the state that the table was
//! made of was read, so a store that knows the stamp has that whole state in its past, and everything that changed
//! since has a revision above the table's: it comes by the change feed, and wins. A store that was put back to an
//! earlier state, or another one, does not know the stamp.
//!
//! The order is: read and write the draft, sync it, commit the stamp, rename. A kill in between leaves the old
//! table, whose stamp is still known, and a draft that the next builder removes.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rusqlite::OptionalExtension;
use security_core::{Entropy, Revision, StoreFault};
use security_credentials::{IssuedKey, KeyTableWriter};

use super::{EmbeddedStore, credentials, pool::Done, whole};
use crate::{fault, fault::Trouble, path_lock::PathLock, permissions};

/// Bytes kept back before they are written.
const BUFFER: usize = 1 << 20;
/// Rows between two looks at whether to go on.
const ROWS_A_LOOK: u64 = 256;
/// Tables whose stamps stay known: the one in place, and those that somebody may be about to open.
const KNOWN: i64 = 4;

/// Two places of one file that are written from their begin to their end.
struct Draft {
    file: File,
    slots: (u64, Vec<u8>),
    rest: (u64, Vec<u8>),
}

impl EmbeddedStore {
    /// Where the key table lies, if there is one.
    pub fn key_table_path(&self) -> PathBuf {
        self.credentials.path().with_file_name("keys.index")
    }

    /// Whether the key table with this stamp was made of this store.
    /// # Errors
    /// When the store cannot be read.
    pub fn knows_key_table(&self, stamp: [u8; 16]) -> Result<bool, StoreFault> {
        self.opened_credentials().read(|connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM key_table WHERE stamp = ?1")?;
            Ok(statement.query_row([stamp], |_| Ok(())).optional()?.is_some())
        })
    }

    /// Makes a new key table of everything that is stored, and puts it in place; its revision. `None` when
    /// somebody else is making one.
    ///
    /// Needs memory for a few MiB and an entry of four bytes for every four keys. Ends early when the process is
    /// about to fork and when `goes_on` says no.
    /// # Errors
    /// The store cannot be read, the disk is full, or `store-busy` when it ended early.
    pub fn build_key_table(
        &self,
        entropy: &mut dyn Entropy,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<Revision>, StoreFault> {
        let path = self.key_table_path();
        let refused = |error: io::Error| fault::from_io(&error, &path);
        let Some(_builder) = PathLock::take(&path).map_err(refused)? else { return Ok(None) };
        permissions::remove_drafts(&path);
        let draft = permissions::draft_beside(&path);
        let made = self.write_key_table(&draft, entropy, goes_on).and_then(|revision| {
            fs::rename(&draft, &path).and_then(|()| permissions::sync_folder_of(&path)).map_err(refused)?;
            Ok(revision)
        });
        if made.is_err() {
            // Best effort: the next builder removes it.
            let _ = fs::remove_file(&draft);
        }
        made.map(Some)
    }

    fn write_key_table(
        &self,
        path: &Path,
        entropy: &mut dyn Entropy,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Revision, StoreFault> {
        let refused = |error: io::Error| fault::from_io(&error, path);
        // Not the appending kind: it is written at two places.
        drop(permissions::private_file(path)?);
        let file = fs::OpenOptions::new().write(true).open(path).map_err(refused)?;
        let mut stamp = [0; 16];
        entropy.fill(&mut stamp);
        let (revision, draft, header, directory) =
            self.opened_credentials().read_one_state(|connection| {
                let revision = credentials::revision(connection)?;
                let keys: i64 =
                    connection.query_row("SELECT count(*) FROM issued_key", [], |row| row.get(0))?;
                let mut writer = KeyTableWriter::new(keys.unsigned_abs()).map_err(unfit)?;
                let mut draft = Draft {
                    file,
                    slots: (KeyTableWriter::SLOTS_AT, Vec::with_capacity(2 * BUFFER)),
                    rest: (writer.rest_at(), Vec::with_capacity(2 * BUFFER)),
                };
                let mut statement = connection
                    .prepare("SELECT id, version, revision, sum, record FROM issued_key ORDER BY id")?;
                let mut rows = statement.query([])?;
                let mut seen = 0_u64;
                while let Some(row) = rows.next()? {
                    let key: IssuedKey = credentials::read_row(row)?;
                    writer.add(&key, &mut draft.slots.1, &mut draft.rest.1).map_err(unfit)?;
                    seen += 1;
                    if seen.is_multiple_of(ROWS_A_LOOK) {
                        if self.gate.is_closed() || !goes_on() {
                            return Err(fault::busy(path, "the making of the key table was given up").into());
                        }
                        draft.write(BUFFER).map_err(refused)?;
                    }
                }
                let (header, directory) = writer.finish(stamp, revision).map_err(unfit)?;
                Ok((revision, draft, header, directory))
            })?;
        draft.complete(&header, &directory).map_err(refused)?;
        self.opened_credentials().write(None, |transaction| {
            transaction.execute("INSERT INTO key_table (stamp) VALUES (?1)", [stamp])?;
            transaction.execute(
                "DELETE FROM key_table WHERE made <= (SELECT max(made) FROM key_table) - ?1",
                [KNOWN],
            )?;
            Ok(Done::Changed(()))
        })?;
        Ok(revision)
    }

    /// Whether there are more issued keys than so many; looks at no more of them than that.
    /// # Errors
    /// When the store cannot be read.
    pub fn has_more_keys_than(&self, count: usize) -> Result<bool, StoreFault> {
        self.opened_credentials().read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM issued_key INDEXED BY issued_key_by_revision
                 WHERE revision >= 0 LIMIT ?1)",
            )?;
            let found: i64 = statement.query_row([whole(count.saturating_add(1))], |row| row.get(0))?;
            Ok(found > whole(count))
        })
    }
}

impl Draft {
    /// Writes what has gathered, where it is as much as `least`.
    fn write(&mut self, least: usize) -> io::Result<()> {
        for (at, bytes) in [&mut self.slots, &mut self.rest] {
            if bytes.len() >= least {
                self.file.write_all_at(bytes, *at)?;
                *at += bytes.len() as u64;
                bytes.clear();
            }
        }
        Ok(())
    }

    /// Writes everything, the header last, and syncs.
    fn complete(mut self, header: &[u8], directory: &[u8]) -> io::Result<()> {
        self.write(0)?;
        self.file.write_all_at(directory, self.rest.0)?;
        self.file.write_all_at(header, 0)?;
        self.file.sync_all()
    }
}

fn unfit(error: security_credentials::KeyTableError) -> Trouble {
    Trouble::Unreadable(format!("no key table can be made of it: {error}"))
}
