//! `credential_history/history.jsonl`: a copy of the history that people and their tools read.
//!
//! The database is the truth. The file follows it: whoever writes next, in any process, first adds the lines
//! that are missing, so a process killed between commit and copy leaves no gap for long. A copy that fails is
//! a warning; it never costs the change.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rusqlite::params;
use rustix::fs::OFlags;

use super::pool::Database;
use crate::{fault, permissions};

/// Lines copied in one step.
const BATCH: usize = 1000;

pub(super) struct HistoryFile {
    path: PathBuf,
    used: AtomicBool,
}

impl HistoryFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, used: AtomicBool::new(false) }
    }

    /// `true` the first time in this process.
    pub(super) fn first_use(&self) -> bool {
        !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed)
    }

    /// Adds what the database has and the file has not.
    pub(super) fn catch_up(&self, database: &Database) {
        match self.copy(database) {
            Ok(true) => {}
            Ok(false) => tracing::debug!("another process holds the history file and copies for us"),
            Err(fault) => {
                tracing::warn!(%fault, "the credential history was kept, but not copied to its file")
            }
        }
    }

    fn copy(&self, database: &Database) -> Result<bool, security_core::StoreFault> {
        let refused = |error: io::Error| fault::from_io(&error, &self.path);
        let Some(mut file) = self.open_locked().map_err(refused)? else { return Ok(false) };
        let mut last = last_seq(&mut file.0).map_err(refused)?;
        let newest = database.read(|connection| {
            let sql = "SELECT coalesce(max(seq), 0) FROM history";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?)
        })?;
        if last > newest {
            // The database was restored from a backup: its next lines are other ones with the same numbers.
            let aside = self.path.with_file_name(format!("history-until-{last}.jsonl"));
            tracing::warn!(file = %aside.display(), "the history file is ahead of the store and was put aside");
            fs::rename(&self.path, aside).map_err(refused)?;
            let Some(fresh) = self.open_locked().map_err(refused)? else { return Ok(false) };
            (file, last) = (fresh, 0);
        }
        loop {
            let lines = database.read(|connection| {
                let sql = "SELECT seq, line FROM history WHERE seq > ?1 ORDER BY seq LIMIT ?2";
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map(params![last, super::whole(BATCH)], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                })?;
                Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
            })?;
            let Some(&(newest, _)) = lines.last() else { return Ok(true) };
            let text: String = lines
                .iter()
                .filter_map(|(seq, line)| Some(format!("{{\"seq\":{seq},{}\n", line.strip_prefix('{')?)))
                .collect();
            file.0.write_all(text.as_bytes()).map_err(refused)?;
            last = newest;
        }
    }

    /// The file under its lock; `None` when another process holds it for long (it copies our lines, or the
    /// next writer does).
    fn open_locked(&self) -> io::Result<Option<Locked>> {
        for _ in 0..100 {
            let flags = OFlags::NOFOLLOW.bits().cast_signed();
            let opened = fs::OpenOptions::new().read(true).append(true).custom_flags(flags).open(&self.path);
            let file = match opened {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    match permissions::create_private(&self.path) {
                        Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                        created => created?,
                    }
                }
                opened => opened?,
            };
            match file.try_lock() {
                Ok(()) => return Ok(Some(Locked(file))),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// The file while we hold its lock.
///
/// The lock is given back by name: a process forked in the meantime holds a descriptor of the same file, and
/// would keep the lock by it.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the history file was not given back");
        }
    }
}

/// The number of the last whole line; what a killed process left of a line after it is taken off.
fn last_seq(file: &mut File) -> io::Result<i64> {
    let whole = file.seek(SeekFrom::End(0))?;
    let mut start = whole;
    let mut tail: Vec<u8> = Vec::new();
    loop {
        if let Some(last_break) = tail.iter().rposition(|byte| *byte == b'\n') {
            let before = tail[..last_break].iter().rposition(|byte| *byte == b'\n');
            if before.is_some() || start == 0 {
                let end = start + last_break as u64 + 1;
                if end < whole {
                    file.set_len(end)?;
                }
                let line = &tail[before.map_or(0, |at| at + 1)..last_break];
                let line: serde_json::Value = serde_json::from_slice(line)?;
                return line["seq"].as_i64().ok_or_else(|| ErrorKind::InvalidData.into());
            }
        } else if start == 0 {
            file.set_len(0)?;
            return Ok(0);
        }
        let block = start.min(8 << 10);
        start -= block;
        let mut longer = vec![0; usize::try_from(block).map_err(|_| ErrorKind::FileTooLarge)?];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut longer)?;
        longer.append(&mut tail);
        tail = longer;
    }
}
