//! Writing the match index: every listed indicator of one state of the store, in a file of its own.
//!
//! # Why an old or a foreign file can never answer
//! Each file bears a random id, its name has it, and the store names the one that is in use. It is named *after* the
//! state that the file was made of was read, so a store that names a file has that whole state in its past, and
//! what changed since comes by the change feed. A store that was put back to an earlier state names the file of that
//! time: if it is gone, a new one is made.
//!
//! The order is: write the draft, sync it, give it its name, sync the folder, commit its id, remove the one before. A
//! kill in between leaves the old file in use, and a draft or a file that nobody named, which the next builder removes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension};
use security_core::{Entropy, Revision, StoreFault};
use security_indicators::{IndexBuilder, IndexId, IocType, Scratch};

use super::{EmbeddedStore, indicators, pool::Done};
use crate::{fault, fault::Trouble, path_lock::PathLock, permissions};

/// Entries are sorted within this many bytes; what is more goes through a file in between.
const MEMORY: usize = 32 << 20;
/// Bytes kept back before they are written.
const BUFFER: usize = 1 << 20;
/// Rows between two looks at whether to go on.
const ROWS_A_LOOK: u64 = 1024;

impl EmbeddedStore {
    /// Where the match index of an id lies, if it is there.
    pub fn match_index_path(&self, id: IndexId) -> PathBuf {
        self.indicators.path().with_file_name(format!("match-{id}.idx"))
    }

    /// The match index that this store names; `None` while none was made.
    /// # Errors
    /// When the store cannot be read.
    pub fn match_index(&self) -> Result<Option<IndexId>, StoreFault> {
        self.indicators.read(named)
    }

    /// Names no match index any more if it is this one, which proved damaged; the file goes.
    /// # Errors
    /// When the store cannot be written.
    pub fn forget_match_index(&self, id: IndexId) -> Result<(), StoreFault> {
        self.indicators.write(None, |transaction| {
            Ok(match transaction.execute("DELETE FROM match_index WHERE id = ?1", [id.0])? {
                0 => Done::Unchanged(()),
                _ => Done::Changed(()),
            })
        })?;
        // Best effort: the next builder removes what nobody names.
        let _ = fs::remove_file(self.match_index_path(id));
        Ok(())
    }

    /// Makes a match index of everything that is listed, and names it; its revision. `None` when somebody else is
    /// making one.
    ///
    /// Takes 32 MiB of memory and a bit for each row. Ends early when the process is about to fork and when
    /// `goes_on` says no.
    /// # Errors
    /// The store cannot be read or written, the disk is full, or `store-busy` when it ended early.
    pub fn build_match_index(
        &self,
        entropy: &mut dyn Entropy,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<Revision>, StoreFault> {
        let place = self.indicators.path().with_file_name("match.idx");
        let refused = |error: io::Error| fault::from_io(&error, &place);
        let Some(_builder) = PathLock::take(&place).map_err(refused)? else { return Ok(None) };
        permissions::remove_drafts(&place);
        // Asked under the lock: whoever held it before may have named another one.
        self.remove_others(self.match_index()?);
        let mut random = [0; 32];
        entropy.fill(&mut random);
        let (mut id, mut key) = ([0; 16], [0; 16]);
        id.copy_from_slice(&random[..16]);
        key.copy_from_slice(&random[16..]);
        let id = IndexId(id);
        let draft = permissions::draft_beside(&place);
        let made = self.write_match_index(id, key, &place, &draft, goes_on).and_then(|revision| {
            let path = self.match_index_path(id);
            fs::rename(&draft, &path).and_then(|()| permissions::sync_folder_of(&path)).map_err(refused)?;
            Ok(revision)
        });
        let named = made.and_then(|revision| {
            self.indicators.write(None, |transaction| {
                transaction.execute("DELETE FROM match_index", [])?;
                transaction.execute("INSERT INTO match_index (id) VALUES (?1)", [id.0])?;
                Ok(Done::Changed(Some(revision)))
            })
        });
        if named.is_err() {
            // Best effort: the next builder removes it.
            let _ = fs::remove_file(&draft);
        } else {
            self.remove_others(Some(id));
        }
        named
    }

    fn write_match_index(
        &self,
        id: IndexId,
        key: [u8; 16],
        place: &Path,
        draft: &Path,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Revision, StoreFault> {
        let refused = |error: io::Error| fault::from_io(&error, draft);
        let on = || match self.gate.is_closed() || !goes_on() {
            true => Err(fault::busy(draft, "the making of the match index was given up")),
            false => Ok(()),
        };
        let runs = Runs::beside(place).map_err(refused)?;
        let (revision, builder) = self.indicators.read_one_state(|connection| {
            let revision = indicators::revision(connection)?;
            let mut builder = IndexBuilder::new(id, key, revision.0, MEMORY, runs);
            each_listed(connection, |row, kind, value, seen| {
                if seen.is_multiple_of(ROWS_A_LOOK) {
                    on()?;
                }
                Ok(builder.insert(kind, value, row).map_err(refused)?)
            })?;
            Ok((revision, builder))
        })?;
        on()?;
        // Not the appending kind: its header is written last, at the beginning.
        drop(permissions::create_private(draft).map_err(refused)?);
        let file = OpenOptions::new().write(true).open(draft).map_err(refused)?;
        let mut output = builder.finish(BufWriter::with_capacity(BUFFER, file)).map_err(refused)?;
        output.flush().and_then(|()| output.get_ref().sync_all()).map_err(refused)?;
        on()?;
        Ok(revision)
    }

    /// Removes the files that the store does not name; only for the builder.
    fn remove_others(&self, named: Option<IndexId>) {
        let kept = named.map(|id| self.match_index_path(id));
        let entries = self.indicators.path().parent().and_then(|folder| fs::read_dir(folder).ok());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let id = name.strip_prefix("match-").and_then(|rest| rest.strip_suffix(".idx"));
            if id.is_some_and(|id| id.parse::<IndexId>().is_ok()) && Some(entry.path()) != kept {
                // Best effort: it only takes room. Who has it mapped keeps it.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn named(connection: &Connection) -> Result<Option<IndexId>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT id FROM match_index ORDER BY made DESC LIMIT 1")?;
    Ok(statement.query_row([], |row| row.get::<_, [u8; 16]>(0)).optional()?.map(IndexId))
}

/// Calls `each` with row, kind, canonical value and a running number of every listed indicator.
fn each_listed(
    connection: &Connection,
    mut each: impl FnMut(i64, IocType, &str, u64) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut statement = connection.prepare(LISTED)?;
    let mut rows = statement.query([])?;
    let mut seen = 0;
    // A handful of names; most rows bear one that was met before.
    let mut kinds: Vec<(String, Option<IocType>)> = Vec::new();
    while let Some(found) = rows.next()? {
        let text = |column| found.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let name = text(1)?;
        let kind = match kinds.iter().find(|(known, _)| known == name) {
            Some((_, kind)) => *kind,
            None => {
                let kind = name.parse::<IocType>().ok();
                kinds.push((name.to_owned(), kind));
                kind
            }
        };
        if let Some(kind) = kind {
            each(found.get(0)?, kind, text(2)?, seen)?;
        }
        seen += 1;
    }
    Ok(())
}

const LISTED: &str = "SELECT row, kind, value FROM ioc WHERE removed = 0";

/// Sorted runs in a file without a name: it is gone with its descriptor, whatever happens.
struct Runs {
    file: File,
}

impl Runs {
    fn beside(place: &Path) -> io::Result<Self> {
        let path = permissions::draft_beside(place);
        let file = permissions::create_private(&path)?;
        fs::remove_file(&path)?;
        Ok(Self { file })
    }
}

impl Scratch for Runs {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}
