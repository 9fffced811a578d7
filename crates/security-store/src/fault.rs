//! The one place where the errors of SQLite and of the file system become [`StoreFault`]s.

use std::{io, path::Path};

use rusqlite::{Error, ErrorCode, ffi};
use security_core::StoreFault;

/// What can go wrong while a database is worked on, before the file it concerns is named.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// SQLite's answer.
    Sql(Error),
    /// A stored record that is no record.
    Unreadable(String),
    /// Already a fault.
    Fault(StoreFault),
}

impl Trouble {
    /// The fault, with the file it concerns.
    pub(crate) fn at(self, path: &Path) -> StoreFault {
        match self {
            Self::Sql(error) => from_sqlite(&error, path),
            Self::Unreadable(what) => damaged(path, &what),
            Self::Fault(fault) => fault,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreFault> for Trouble {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<serde_json::Error> for Trouble {
    fn from(error: serde_json::Error) -> Self {
        // Where, not what: the text of the record may be somebody's data.
        Self::Unreadable(format!("a record is not what was written, at byte {} of it", error.column()))
    }
}

/// The file does not hold what was written to it.
pub(crate) fn damaged(path: &Path, what: &str) -> StoreFault {
    StoreFault::new("store-damaged", format!("the store is damaged: {what}"))
        .at(path)
        .with_hint("restore this file from a backup, or move it away to start empty; nothing was overwritten")
}

/// The file was written by a later version of this software.
pub(crate) fn newer(path: &Path, found: i64, known: i64) -> StoreFault {
    let message = format!("the store has schema {found}, this version knows {known} at most");
    StoreFault::new("store-newer", message)
        .at(path)
        .with_hint("upgrade to the version that wrote it, or later")
}

/// Somebody else holds the store for too long.
pub(crate) fn busy(path: &Path, what: &str) -> StoreFault {
    StoreFault::new("store-busy", format!("the store is busy: {what}"))
        .at(path)
        .with_hint("try again; if it lasts, look for a process that is stuck in a write")
}

/// There is no room.
pub(crate) fn full(path: &Path) -> StoreFault {
    StoreFault::new("store-full", "the file cannot grow: the disk, a quota or a file size limit is full")
        .at(path)
        .with_hint("make room; if there is room, look at the system log for a failing disk")
}

/// We may not write here.
pub(crate) fn read_only(path: &Path) -> StoreFault {
    StoreFault::new("store-read-only", "the store cannot be written").at(path).with_hint(
        "give the user of this process write permission on the folder and the file, on a writable file system",
    )
}

/// The file system refused for another reason.
pub(crate) fn input_output(path: &Path, what: &str) -> StoreFault {
    StoreFault::new("store-io", format!("the file system refused: {what}")).at(path)
}

/// A link stands where a file of the store belongs.
pub(crate) fn symlink(path: &Path) -> StoreFault {
    StoreFault::new("store-symlink", "a symbolic link stands where a file of the store belongs")
        .at(path)
        .with_hint("put the file itself there, or point the data directory at its real place")
}

/// Translates an error of SQLite.
pub(crate) fn from_sqlite(error: &Error, path: &Path) -> StoreFault {
    let Error::SqliteFailure(failure, message) = error else {
        // All other errors of rusqlite are about values that do not fit their columns.
        return damaged(path, &error.to_string());
    };
    let message = message.as_deref().unwrap_or("no details");
    match (failure.code, failure.extended_code) {
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed, _) => {
            busy(path, "another process holds its lock")
        }
        (ErrorCode::DiskFull, _)
        | (ErrorCode::SystemIoFailure, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE) => full(path),
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)
        | (ErrorCode::SystemIoFailure, ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS) => {
            damaged(path, message)
        }
        (ErrorCode::CannotOpen, ffi::SQLITE_CANTOPEN_SYMLINK) => symlink(path),
        (ErrorCode::ReadOnly, ffi::SQLITE_READONLY_DBMOVED) => {
            input_output(path, "the file was moved or replaced while it was open")
                .with_hint("start this process again")
        }
        (ErrorCode::ReadOnly | ErrorCode::PermissionDenied, _) => read_only(path),
        (ErrorCode::CannotOpen, _) if !writable(path) => read_only(path),
        // Our statements are fixed: one that does not fit means that the schema is not the one we made.
        (ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::ConstraintViolation, _) => {
            damaged(path, &format!("it does not hold what its version says ({message})"))
        }
        _ => input_output(path, message),
    }
}

/// Translates an error of the file system.
pub(crate) fn from_io(error: &io::Error, path: &Path) -> StoreFault {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => full(path),
        Kind::ReadOnlyFilesystem | Kind::PermissionDenied => read_only(path),
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => symlink(path),
        kind => input_output(path, &kind.to_string()),
    }
}

/// Whether this process may write the file (if it exists) and the folder it is in.
fn writable(path: &Path) -> bool {
    let may = |place: &Path| {
        !matches!(
            rustix::fs::access(place, rustix::fs::Access::WRITE_OK),
            Err(rustix::io::Errno::ROFS | rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)
        )
    };
    may(path) && path.parent().is_none_or(may)
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_core::Coded;

    #[test]
    fn every_answer_of_sqlite_has_its_code() {
        let table = [
            (ffi::SQLITE_BUSY, "store-busy"),
            (ffi::SQLITE_LOCKED, "store-busy"),
            (ffi::SQLITE_FULL, "store-full"),
            (ffi::SQLITE_IOERR_WRITE, "store-full"),
            (ffi::SQLITE_CORRUPT, "store-damaged"),
            (ffi::SQLITE_NOTADB, "store-damaged"),
            (ffi::SQLITE_IOERR_SHORT_READ, "store-damaged"),
            (ffi::SQLITE_ERROR, "store-damaged"),
            (ffi::SQLITE_READONLY, "store-read-only"),
            (ffi::SQLITE_READONLY_DIRECTORY, "store-read-only"),
            (ffi::SQLITE_CANTOPEN_SYMLINK, "store-symlink"),
            (ffi::SQLITE_IOERR_FSYNC, "store-io"),
            (ffi::SQLITE_NOMEM, "store-io"),
        ];
        for (number, code) in table {
            let error = Error::SqliteFailure(ffi::Error::new(number), Some("said SQLite".to_owned()));
            let fault = from_sqlite(&error, Path::new("/data/x.sqlite"));
            assert_eq!(fault.code(), code, "{number}");
            assert_eq!(fault.path(), Some(Path::new("/data/x.sqlite")));
        }
    }

    #[test]
    fn every_refusal_of_the_file_system_has_its_code() {
        use rustix::io::Errno;
        let table = [
            (Errno::NOSPC, "store-full"),
            (Errno::DQUOT, "store-full"),
            (Errno::FBIG, "store-full"),
            (Errno::ROFS, "store-read-only"),
            (Errno::ACCESS, "store-read-only"),
            (Errno::PERM, "store-read-only"),
            (Errno::LOOP, "store-symlink"),
            (Errno::IO, "store-io"),
        ];
        for (errno, code) in table {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(from_io(&error, Path::new("/data/x")).code(), code, "{errno:?}");
        }
    }
}
