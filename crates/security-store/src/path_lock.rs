//! A lock that one holder of the host has: one thread of one process.
//!
//! It is a POSIX record lock, because a child would inherit any other kind and keep it for as long as it lives. Such
//! a lock does not keep the same process out, and closing any descriptor of its file lets go of it; so what this
//! process holds is also written down here, and the file is opened by nobody who does not hold it.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, TryLockError},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, OFlags, fcntl_lock};

use crate::permissions;

/// What this process holds, with the process's id: what a child inherits of it is its parent's.
static HELD: Mutex<BTreeSet<(u32, PathBuf)>> = Mutex::new(BTreeSet::new());

/// How long the list is waited for. Its lock is held for microseconds, unless another thread held it at a fork: a
/// child then finds it held for ever, and goes without.
const PATIENCE: Duration = Duration::from_millis(100);

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct PathLock {
    path: PathBuf,
    file: Option<File>,
}

impl PathLock {
    /// Takes the lock that a hidden file beside `path` stands for; `None` while somebody has it.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = path.with_file_name(format!(".{name}.lock"));
        let mine = || (std::process::id(), path.clone());
        if with_held(|held| held.insert(mine())) != Some(true) {
            return Ok(None);
        }
        let taken =
            open(&path).and_then(|file| match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Ok(Some(file)),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
                Err(error) => Err(error.into()),
            });
        match taken {
            Ok(Some(file)) => Ok(Some(Self { path, file: Some(file) })),
            refused => {
                with_held(|held| held.remove(&mine()));
                refused.map(|_| None)
            }
        }
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // In this order: whoever of this process finds the path free may open and close the file.
        drop(self.file.take());
        with_held(|held| held.remove(&(std::process::id(), self.path.clone())));
    }
}

fn with_held<T>(work: impl FnOnce(&mut BTreeSet<(u32, PathBuf)>) -> T) -> Option<T> {
    let begun = Instant::now();
    loop {
        match HELD.try_lock() {
            Ok(mut held) => return Some(work(&mut held)),
            Err(TryLockError::Poisoned(held)) => return Some(work(&mut held.into_inner())),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::yield_now(),
            Err(TryLockError::WouldBlock) => return None,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let open = || OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path);
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => match permissions::create_private(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => open(),
            created => created,
        },
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_also_in_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thing");
        let held = PathLock::take(&path).unwrap().unwrap();
        assert!(PathLock::take(&path).unwrap().is_none());
        assert!(PathLock::take(&folder.path().join("other")).unwrap().is_some());
        drop(held);
        assert!(PathLock::take(&path).unwrap().is_some());
    }

    #[test]
    fn a_link_in_its_place_is_refused_and_the_next_try_is_as_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thing");
        let lock = folder.path().join(".thing.lock");
        std::os::unix::fs::symlink(folder.path().join("target"), &lock).unwrap();
        assert!(PathLock::take(&path).is_err());
        std::fs::remove_file(&lock).unwrap();
        assert!(PathLock::take(&path).unwrap().is_some());
    }
}
