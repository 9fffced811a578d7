//! One database's connections in this process: one that writes, some that read.
//!
//! A connection belongs to the process that opened it. SQLite's locks are POSIX locks, which a child does not
//! inherit, while its own table of them, in memory, is inherited: a child that used or even closed a
//! connection of its parent would believe in locks that it does not hold, and closing the file would drop
//! locks that the parent holds. So every connection is closed before `fork` ([`Database::close`], behind the
//! closed gate), and the child opens its own store. For the same reason nothing here opens a database's file
//! except SQLite: closing any other descriptor of it would drop the process's locks on it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use security_core::{ChangeSignal, Domain, StoreFault};

use super::schema::Schema;
use crate::{
    fault::{self, Trouble},
    gate::{Gate, Pass, locked},
};

/// Reading connections kept open; more than so many at once are opened and closed again.
const IDLE_READERS: usize = 8;

pub(super) struct Database {
    path: PathBuf,
    schema: &'static Schema,
    gate: Arc<Gate>,
    signal: Arc<dyn ChangeSignal>,
    prepared: AtomicBool,
    /// Also the lock under which one thread at a time prepares the file and writes.
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Vec<Connection>>,
}

/// What a change came to.
pub(super) enum Done<T> {
    /// Commit it, and tell everybody.
    Changed(T),
    /// There was nothing to change.
    Unchanged(T),
}

/// From just before the commit until after it; whatever happens in between.
struct Announced<'a>(&'a dyn ChangeSignal, Domain);

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.0.finish(self.1);
    }
}

impl Database {
    /// Names the database; nothing is opened.
    pub(super) fn new(
        folder: &Path,
        schema: &'static Schema,
        gate: Arc<Gate>,
        signal: Arc<dyn ChangeSignal>,
    ) -> Self {
        Self {
            path: folder.join(schema.file),
            schema,
            gate,
            signal,
            prepared: AtomicBool::new(false),
            writer: Mutex::new(None),
            readers: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads. Several readers and one writer go on at once; `work` must not call the store again.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Trouble>,
    ) -> Result<T, StoreFault> {
        let _pass = self.enter()?;
        let idle = locked(&self.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open_reader()?,
        };
        let outcome = work(&connection);
        if outcome.is_ok() {
            let mut readers = locked(&self.readers);
            if readers.len() < IDLE_READERS {
                readers.push(connection);
            }
        }
        outcome.map_err(|trouble| trouble.at(&self.path))
    }

    /// Reads several statements' worth of one state.
    pub(super) fn read_one_state<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Trouble>,
    ) -> Result<T, StoreFault> {
        self.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let found = work(&transaction)?;
            transaction.finish()?;
            Ok(found)
        })
    }

    /// Changes, in one transaction that waits for other writers, and is durable when this returns.
    pub(super) fn write<T>(
        &self,
        domain: Option<Domain>,
        work: impl FnOnce(&Transaction<'_>) -> Result<Done<T>, Trouble>,
    ) -> Result<T, StoreFault> {
        self.with_writer(|connection| self.transact(connection, domain, work))
    }

    fn transact<T>(
        &self,
        connection: &mut Connection,
        domain: Option<Domain>,
        work: impl FnOnce(&Transaction<'_>) -> Result<Done<T>, Trouble>,
    ) -> Result<T, Trouble> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match work(&transaction)? {
            Done::Unchanged(outcome) => {
                transaction.rollback()?;
                Ok(outcome)
            }
            Done::Changed(outcome) => {
                let _announced = domain.map(|domain| {
                    self.signal.begin(domain);
                    Announced(&*self.signal, domain)
                });
                transaction.commit()?;
                Ok(outcome)
            }
        }
    }

    /// Announces a change of `domain` under the write lock without making one, if the lock is free at this moment.
    pub(super) fn announce_now(&self, domain: Domain) -> Result<(), StoreFault> {
        let _pass = self.enter()?;
        let held = || fault::busy(&self.path, "a change is being made");
        let mut slot = match self.writer.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(held()),
        };
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => {
                self.prepare()?;
                self.schema.connect_writer(&self.path)?
            }
        };
        let refused = |error: &rusqlite::Error| fault::from_sqlite(error, &self.path);
        connection.busy_timeout(Duration::ZERO).map_err(|error| refused(&error))?;
        let outcome = self.transact(&mut connection, Some(domain), |_| Ok(Done::Changed(())));
        connection.busy_timeout(super::BUSY_TIMEOUT).map_err(|error| refused(&error))?;
        *slot = Some(connection);
        outcome.map_err(|trouble| trouble.at(&self.path))
    }

    /// Gives the writer's page memory back, if nobody writes at this moment.
    pub(super) fn give_memory_back(&self) {
        let Some(_pass) = self.gate.enter() else { return };
        if let Ok(slot) = self.writer.try_lock()
            && let Some(connection) = slot.as_ref()
            && let Err(error) = connection.execute_batch("PRAGMA shrink_memory")
        {
            tracing::warn!(path = %self.path.display(), %error, "a store's memory was not given back");
        }
    }

    /// Moves the write-ahead log into the file and empties it, so that nothing removed lingers there.
    pub(super) fn empty_log(&self) -> Result<(), StoreFault> {
        let done = self.with_writer(|connection| {
            let blocked: i64 =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            Ok(blocked == 0)
        })?;
        match done {
            true => Ok(()),
            false => Err(fault::busy(&self.path, "the removed record is still in its write-ahead log")),
        }
    }

    /// Reads every page and every index; `store-damaged` says what was found first.
    pub(super) fn check(&self) -> Result<(), StoreFault> {
        let answer = self.read(|connection| {
            Ok(connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))?)
        })?;
        match answer.as_str() {
            "ok" => Ok(()),
            other => Err(fault::damaged(&self.path, other)),
        }
    }

    /// Whether the file was made already, here or by another process.
    pub(super) fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Closes every connection. The gate must be closed and nobody inside.
    pub(super) fn close(&self) {
        for connection in locked(&self.readers).drain(..) {
            self.close_one(connection);
        }
        if let Some(connection) = locked(&self.writer).take() {
            self.close_one(connection);
        }
    }

    fn close_one(&self, connection: Connection) {
        if let Err((_, error)) = connection.close() {
            tracing::warn!(path = %self.path.display(), %error, "a store's connection did not close cleanly");
        }
    }

    fn with_writer<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Trouble>,
    ) -> Result<T, StoreFault> {
        let _pass = self.enter()?;
        let mut slot = locked(&self.writer);
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => {
                self.prepare()?;
                self.schema.connect_writer(&self.path)?
            }
        };
        let outcome = work(&mut connection);
        // After a refusal of SQLite or of the disk the next write starts from a fresh connection.
        if matches!(outcome, Ok(_) | Err(Trouble::Fault(_))) {
            *slot = Some(connection);
        }
        outcome.map_err(|trouble| trouble.at(&self.path))
    }

    fn open_reader(&self) -> Result<Connection, StoreFault> {
        if !self.prepared.load(Ordering::Acquire) {
            let _one_at_a_time = locked(&self.writer);
            self.prepare()?;
        }
        let connection = self.schema.connect(&self.path)?;
        let guarded = connection.execute_batch("PRAGMA query_only = ON");
        guarded.map_err(|error| fault::from_sqlite(&error, &self.path))?;
        Ok(connection)
    }

    /// Once per process, under the writer's lock.
    fn prepare(&self) -> Result<(), StoreFault> {
        if !self.prepared.load(Ordering::Acquire) {
            self.schema.prepare(&self.path)?;
            self.prepared.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn enter(&self) -> Result<Pass<'_>, StoreFault> {
        self.gate.enter().ok_or_else(|| fault::busy(&self.path, "the process is forking and does not finish"))
    }
}
