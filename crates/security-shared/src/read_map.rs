//! A finished file, mapped for reading and shared by all who do so.

use std::{
    fs,
    io::{self},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use memmap2::{Mmap, MmapOptions};
use security_core::StoreFault;

/// A whole file as bytes; the pages are the host's, so many processes pay for them once.
///
/// Only for files that are never written again once they have their name: a new one takes their place by
/// renaming, and who has the old one mapped keeps it. Should a stranger shorten such a file, the system ends
/// whoever touches what is gone (SIGBUS), as with any mapping; our own writers never do.
#[derive(Debug)]
pub struct ReadMap {
    map: Mmap,
    identity: (u64, u64),
}

impl ReadMap {
    /// Maps a file; `None` when there is none.
    /// # Errors
    /// `shared-unavailable`: it is empty, no plain file, a link, or cannot be mapped.
    pub fn open(path: &Path) -> Result<Option<Self>, StoreFault> {
        let refused = |error: io::Error| {
            StoreFault::new("shared-unavailable", format!("a file cannot be mapped: {error}")).at(path)
        };
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        let found = file.metadata().map_err(refused)?;
        let length = usize::try_from(found.len()).unwrap_or(usize::MAX);
        if !found.is_file() || length == 0 {
            return Err(refused(io::Error::new(io::ErrorKind::InvalidData, "it is empty or no plain file")));
        }
        #[allow(unsafe_code)]
        // SAFETY: the file is mapped read-only and with the length it has. By the rule of this type nobody writes
        // to it or shortens it after it got its name, so the bytes do not change under the references given out.
        let map = unsafe { MmapOptions::new().len(length).map(&file) }.map_err(refused)?;
        Ok(Some(Self { map, identity: (found.dev(), found.ino()) }))
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Whether the path still leads to the file that is mapped.
    pub fn is_current(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }
}

impl AsRef<[u8]> for ReadMap {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_core::Coded;

    #[test]
    fn a_mapping_keeps_its_file_while_another_takes_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        assert!(ReadMap::open(&path).unwrap().is_none());
        fs::write(&path, b"first").unwrap();
        let first = ReadMap::open(&path).unwrap().unwrap();
        assert!(first.is_current(&path));
        fs::write(folder.path().join("draft"), b"second one").unwrap();
        fs::rename(folder.path().join("draft"), &path).unwrap();
        assert_eq!((first.bytes(), first.is_current(&path)), (b"first".as_slice(), false));
        assert_eq!(ReadMap::open(&path).unwrap().unwrap().bytes(), b"second one");
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, link) = (folder.path().join("empty"), folder.path().join("link"));
        fs::write(&empty, b"").unwrap();
        std::os::unix::fs::symlink(&empty, &link).unwrap();
        for path in [empty.as_path(), &link, folder.path()] {
            assert_eq!(ReadMap::open(path).unwrap_err().code(), "shared-unavailable");
        }
    }
}
