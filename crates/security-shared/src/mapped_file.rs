//! A small file of fixed length, mapped and shared: made whole or not at all, checked before it is mapped.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use security_core::StoreFault;

/// Bytes at the start of the file that say what it is. The body begins here, so that it lies on a boundary of
/// two cache lines (processors fetch lines in pairs).
pub(crate) const HEADER: usize = 128;

/// Header and body are counted in words of eight bytes.
pub(crate) const WORD: usize = size_of::<AtomicU64>();

/// What kind of shared file this is.
pub(crate) struct Kind {
    /// The first eight bytes.
    pub(crate) magic: [u8; 8],
    /// Raised whenever the layout changes.
    pub(crate) version: u64,
    /// Bytes of body for each entry.
    pub(crate) entry_bytes: usize,
    /// The most entries a header is believed.
    pub(crate) max_entries: u64,
}

/// An open mapping.
pub(crate) struct MappedFile {
    map: MmapRaw,
    path: PathBuf,
    entries: u64,
    identity: (u64, u64),
}

impl MappedFile {
    /// Maps the file, and makes it first if it is not there. A file that is there keeps the number of entries
    /// it was made with.
    pub(crate) fn open(path: &Path, kind: &Kind, entries: u64) -> Result<Self, StoreFault> {
        let unavailable = |error: io::Error| unavailable(path, &error);
        // Each round either opens a file or finds that none is there; it takes somebody who keeps deleting the
        // file to go round more than twice.
        for _ in 0..16 {
            match open_existing(path) {
                Ok(file) => return Self::map(path, &file, kind),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unavailable(error)),
            }
            create(path, kind, entries).map_err(unavailable)?;
        }
        Err(unavailable(io::Error::other("somebody keeps deleting it")))
    }

    /// All words of the file, header included.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let first = self.map.as_mut_ptr().cast::<AtomicU64>();
        #[allow(unsafe_code)]
        // SAFETY: the mapping starts at a page boundary (aligned for u64), is readable and writable, and lives as
        // long as `self`, to which the slice is bound. Its length was checked against the file's before mapping
        // and nothing in this crate shortens the file. Every access in this and every other process goes through
        // atomics, for which all bit patterns are valid, so no other reference to these bytes can conflict.
        unsafe {
            std::slice::from_raw_parts(first, self.map.len() / WORD)
        }
    }

    /// Entries the file was made with.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// The path it was opened at.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to the file that is mapped.
    pub(crate) fn is_current(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    fn map(path: &Path, file: &fs::File, kind: &Kind) -> Result<Self, StoreFault> {
        let found = file.metadata().map_err(|error| unavailable(path, &error))?;
        let length = usize::try_from(found.len()).unwrap_or(usize::MAX);
        if !found.is_file() || length < HEADER {
            return Err(damaged(
                path,
                format!("a shared file has {} bytes, too few for its header", found.len()),
            ));
        }
        let mut header = [0; 4 * WORD];
        file.read_exact_at(&mut header, 0).map_err(|error| unavailable(path, &error))?;
        let (magic, numbers) = header.split_at(WORD);
        if magic != kind.magic {
            return Err(damaged(path, "a shared file does not begin as one of its kind".into()));
        }
        let number = |at: usize| {
            u64::from_ne_bytes(std::array::from_fn(|byte| {
                numbers.get(at * WORD + byte).copied().unwrap_or_default()
            }))
        };
        let (version, entries, promised) = (number(0), number(1), number(2));
        if version != kind.version {
            return Err(StoreFault::new(
                "shared-other-version",
                format!("a shared file has layout {version}, this version of security uses {}", kind.version),
            )
            .with_hint("stop all processes that use the data directory, delete the file, start them again")
            .at(path));
        }
        if entries > kind.max_entries || promised != found.len() || promised != file_length(kind, entries) {
            return Err(damaged(
                path,
                format!("a shared file of {} bytes should have {promised}", found.len()),
            ));
        }
        let map = MmapOptions::new().len(length).map_raw(file).map_err(|error| unavailable(path, &error))?;
        Ok(Self { map, path: path.to_owned(), entries, identity: (found.dev(), found.ino()) })
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedFile")
            .field("path", &self.path)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

fn file_length(kind: &Kind, entries: u64) -> u64 {
    HEADER as u64 + entries * kind.entry_bytes as u64
}

fn open_existing(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)
}

/// Makes the file under a name of its own and links it to `path` when it is whole. That `path` is taken by
/// then is no failure: somebody else was faster.
fn create(path: &Path, kind: &Kind, entries: u64) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    if !directory.as_os_str().is_empty() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let (file, temporary) = create_temporary(directory, name)?;
    let made = fill(file, kind, entries).and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => removed,
        Err(error) => Err(error),
        Ok(()) => removed,
    }
}

fn create_temporary(directory: &Path, name: &std::ffi::OsStr) -> io::Result<(fs::File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        // The process id alone is not enough: containers that share a data directory share low ids too.
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{count}.new", std::process::id()));
        let temporary = directory.join(temporary);
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => return Ok((file, temporary)),
        }
    }
}

fn fill(mut file: fs::File, kind: &Kind, entries: u64) -> io::Result<()> {
    let length = file_length(kind, entries);
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(&kind.magic);
    for number in [kind.version, entries, length] {
        header.extend_from_slice(&number.to_ne_bytes());
    }
    header.resize(HEADER, 0);
    file.write_all(&header)?;
    // Real zeros and no hole: a hole that the disk has no room for would kill the process that first writes to
    // it (SIGBUS), where a write only fails.
    let zeros = [0; 1 << 16];
    let mut left = length - HEADER as u64;
    while left > 0 {
        let now = left.min(zeros.len() as u64);
        file.write_all(&zeros[..usize::try_from(now).unwrap_or(zeros.len())])?;
        left -= now;
    }
    // A name without its content is what a power cut would else leave, and nobody could start any more.
    file.sync_all()
}

fn damaged(path: &Path, problem: String) -> StoreFault {
    StoreFault::new("shared-damaged", problem)
        .with_hint("delete the file while no process runs; it holds nothing that has to be kept")
        .at(path)
}

fn unavailable(path: &Path, error: &io::Error) -> StoreFault {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run every process that uses the data directory as the same user, or give the file to that user"
        }
        io::ErrorKind::StorageFull => "make room on the disk",
        _ => {
            "the data directory belongs on a local file system that knows hard links, and the file is no link"
        }
    };
    StoreFault::new("shared-unavailable", format!("a shared file cannot be used: {error}"))
        .with_hint(hint)
        .at(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_core::Coded;

    const KIND: Kind = Kind { magic: *b"TESTFILE", version: 3, entry_bytes: 128, max_entries: 64 };

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn code(path: &Path) -> &'static str {
        MappedFile::open(path, &KIND, 2).unwrap_err().code()
    }

    #[test]
    fn makes_a_private_file_of_its_final_length_and_leaves_no_other() {
        let folder = folder();
        let path = folder.path().join("new").join("table");
        let mapped = MappedFile::open(&path, &KIND, 2).unwrap();
        assert_eq!(mapped.words().len() * WORD, HEADER + 256);
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.len(), found.mode() & 0o777, found.nlink()), (384, 0o600, 1));
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_opening_sees_the_same_words_and_keeps_the_size() {
        let folder = folder();
        let path = folder.path().join("table");
        let first = MappedFile::open(&path, &KIND, 2).unwrap();
        first.words()[20].store(7, Ordering::SeqCst);
        let second = MappedFile::open(&path, &KIND, 5).unwrap();
        assert_eq!(second.entries(), 2);
        second.words()[21].store(8, Ordering::SeqCst);
        assert_eq!(second.words()[20].load(Ordering::SeqCst), 7);
        assert_eq!(first.words()[21].load(Ordering::SeqCst), 8);
    }

    #[test]
    fn many_openers_at_once_share_one_file() {
        let folder = folder();
        let path = folder.path().join("table");
        let identities: Vec<_> = std::thread::scope(|scope| {
            let openers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| MappedFile::open(&path, &KIND, 2).unwrap().identity)).collect();
            openers.into_iter().map(|opener| opener.join().unwrap()).collect()
        });
        assert!(identities.iter().all(|identity| *identity == identities[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn refuses_what_is_short_long_foreign_or_linked() {
        let folder = folder();
        let path = folder.path().join("table");
        fs::write(&path, b"").unwrap();
        assert_eq!(code(&path), "shared-damaged");
        fs::write(&path, [0; 384]).unwrap();
        assert_eq!(code(&path), "shared-damaged");
        fs::remove_file(&path).unwrap();
        drop(MappedFile::open(&path, &KIND, 2).unwrap());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..383]).unwrap();
        assert_eq!(code(&path), "shared-damaged");
        fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
        assert_eq!(code(&path), "shared-damaged");
        let mut newer = whole.clone();
        newer[8] = 4;
        fs::write(&path, &newer).unwrap();
        assert_eq!(code(&path), "shared-other-version");
        let mut greedy = whole;
        greedy[16..24].copy_from_slice(&u64::MAX.to_ne_bytes());
        fs::write(&path, &greedy).unwrap();
        assert_eq!(code(&path), "shared-damaged");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(code(&link), "shared-unavailable");
        assert_eq!(code(folder.path()), "shared-unavailable");
    }

    #[test]
    fn notices_that_the_file_was_replaced() {
        let folder = folder();
        let path = folder.path().join("table");
        let mapped = MappedFile::open(&path, &KIND, 2).unwrap();
        assert!(mapped.is_current());
        fs::remove_file(&path).unwrap();
        assert!(!mapped.is_current());
        let other = MappedFile::open(&path, &KIND, 2).unwrap();
        assert!(other.is_current() && !mapped.is_current());
    }
}
