//! A small file that many processes bring up to date, each from what the one before left.

use std::{
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use security_core::StoreFault;

use crate::{fault, path_lock::PathLock, permissions};

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
        let _lock = self.lock()?;
        permissions::remove_drafts(&self.path);
        self.read().map_err(E::from).and_then(change).and_then(|new| match new {
            Some(bytes) => permissions::replace_private(&self.path, &bytes)
                .map_err(|error| fault::from_io(&error, &self.path).into()),
            None => Ok(()),
        })
    }

    fn lock(&self) -> Result<PathLock, StoreFault> {
        let begun = Instant::now();
        loop {
            match PathLock::take(&self.path).map_err(|error| fault::from_io(&error, &self.path))? {
                Some(lock) => return Ok(lock),
                None if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_micros(200)),
                None => {
                    let message = "another process holds the lock and does not finish";
                    return Err(fault::busy(&self.path, message));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use security_core::Coded as _;

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
                        // On a slow disk one of eight may wait longer than it has patience for, and comes again.
                        let refused = |_: &u32| match file.update(longer) {
                            Ok(()) => false,
                            Err(fault) => {
                                assert_eq!(fault.code(), "store-busy");
                                true
                            }
                        };
                        assert_ne!((0..100).take_while(refused).count(), 100);
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
