//! A small file that many processes bring up to date, each from what the one before left.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::OFlags;
use security_core::StoreFault;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::{fault, permissions};

/// The longest content that is read.
const LONGEST: u64 = 4 << 20;

/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(2);

/// The file; nothing of it is held open.
#[derive(Debug, Clone)]
pub struct HeadFile {
    path: PathBuf,
}

impl HeadFile {
    /// The file at a path, which need not be there yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; `None` when there is none.
    ///
    /// # Errors
    /// A link or something else stands there, or it cannot be read.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StoreFault> {
        let refused = |error: io::Error| fault::from_io(&error, &self.path);
        let file = match permissions::open_plain(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(refused)?,
        };
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes).map_err(refused)?;
        Ok(Some(bytes))
    }

    /// Replaces what is in it by what `change` makes of it; one process at a time. The file is replaced in one
    /// step, mode 0600, and durable when this returns. `None` leaves it as it is.
    ///
    /// # Errors
    /// `store-busy`: another process does not finish; what `change` says; or the file cannot be written.
    pub fn update<E: From<StoreFault>>(
        &self,
        change: impl FnOnce(Option<Vec<u8>>) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<(), E> {
        let lock = self.lock()?;
        let done = self.read().map_err(E::from).and_then(change).and_then(|new| match new {
            Some(bytes) => permissions::replace_private(&self.path, &bytes)
                .map_err(|error| fault::from_io(&error, &self.path).into()),
            None => Ok(()),
        });
        // Said aloud: a child that another thread forked meanwhile has the same lock, and would keep it.
        if let Err(error) = lock.unlock() {
            tracing::debug!(%error, "a lock is let go by closing its file");
        }
        done
    }

    fn lock(&self) -> Result<File, StoreFault> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = self.path.with_file_name(format!(".{name}.lock"));
        let refused = |error: io::Error| fault::from_io(&error, &path);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open = || OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(&path);
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => match permissions::create_private(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => open().map_err(refused)?,
                created => created.map_err(refused)?,
            },
            opened => opened.map_err(refused)?,
        };
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(fault::busy(&path, "another process holds the lock and does not finish"));
                }
                // A file system without locks: replacing in one step is what is left.
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(refused(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_stands_on_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = HeadFile::at(&folder.path().join("head"));
        assert_eq!(file.read().unwrap(), None);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let longer = |old: Option<Vec<u8>>| {
                            let mut text = old.unwrap_or_default();
                            text.push(b'x');
                            Ok::<_, StoreFault>(Some(text))
                        };
                        file.update(longer).unwrap();
                    }
                });
            }
        });
        assert_eq!(file.read().unwrap().unwrap().len(), 160);
    }

    #[test]
    fn a_link_is_refused_and_its_target_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, "kept").unwrap();
        let path = folder.path().join("head");
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let file = HeadFile::at(&path);
        assert!(file.read().is_err());
        assert!(file.update(|_| Ok::<_, StoreFault>(Some(b"x".to_vec()))).is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "kept");
    }
}
