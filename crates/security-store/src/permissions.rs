//! Folders and files that are nobody else's business: modes 0700 and 0600 whatever the umask, no symbolic
//! links, whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::OFlags;
use security_core::{Entropy, Secret, StoreFault};

use crate::fault;

/// Makes sure that a folder is there, with its parents, and that nobody else may look into it.
///
/// A folder that is there already and is looser than 0700 is tightened; where that is not ours to do (a
/// mounted volume of another owner), it stays as it is and a warning is logged.
///
/// # Errors
/// The folder cannot be made, or something else stands in its place.
pub fn private_dir(path: &Path) -> Result<(), StoreFault> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| fault::from_io(&error, path))?;
    let mode = fs::metadata(path).map_err(|error| fault::from_io(&error, path))?.mode();
    if mode & 0o077 != 0
        && let Err(error) = fs::set_permissions(path, Permissions::from_mode(0o700))
    {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o7777), %error, "folder is open to others");
    }
    Ok(())
}

/// Likewise for the data directory itself, which the operator names: one that is new, empty or used by us before
/// is made private. Any other, `/tmp` or a home folder by mistake, keeps its mode: what we make in it is private
/// by itself.
///
/// # Errors
/// As [`private_dir`].
pub fn private_data_dir(path: &Path) -> Result<(), StoreFault> {
    let refused = |error: io::Error| fault::from_io(&error, path);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(refused)?;
    let is_ours = path.join("credentials").is_dir() || fs::read_dir(path).map_err(refused)?.next().is_none();
    if is_ours { private_dir(path) } else { Ok(()) }
}

/// Creates a file of mode 0600 that must not exist yet.
///
/// # Errors
/// It exists, as a file or as a link, or cannot be made.
pub fn private_file(path: &Path) -> Result<File, StoreFault> {
    create_private(path).map_err(|error| fault::from_io(&error, path))
}

/// Reads a key of exactly `length` bytes, making it at first use; processes that do so at once agree on one.
///
/// # Errors
/// `store-symlink`: a link stands there; `store-key-exposed`: others may read it; `store-damaged`: it has another
/// length; or the file system refuses.
pub fn read_or_create_key(
    path: &Path,
    length: usize,
    entropy: &mut dyn Entropy,
) -> Result<Secret, StoreFault> {
    if let Some(key) = read_key(path, length)? {
        return Ok(key);
    }
    let mut bytes = vec![0; length];
    entropy.fill(&mut bytes);
    let fresh = Secret::new(bytes);
    let refused = |error: io::Error| fault::from_io(&error, path);
    let draft = draft_beside(path);
    let written = write_draft(&draft, fresh.expose()).and_then(|()| publish_once(&draft, path));
    // Best effort: whether the draft was published or not, its name is of no more use.
    let _ = fs::remove_file(&draft);
    written.map_err(refused)?;
    read_key(path, length)?.ok_or_else(|| refused(ErrorKind::NotFound.into()))
}

/// Makes the file of a new key, durable when this returns.
///
/// # Errors
/// There is a file already, or it cannot be written.
pub fn write_new_key(path: &Path, key: &Secret) -> Result<(), StoreFault> {
    let refused = |error: io::Error| fault::from_io(&error, path);
    let draft = draft_beside(path);
    let written = write_draft(&draft, key.expose())
        .and_then(|()| fs::hard_link(&draft, path))
        .and_then(|()| sync_folder_of(path));
    // Best effort: whether the draft was published or not, its name is of no more use.
    let _ = fs::remove_file(&draft);
    written.map_err(refused)
}

/// Removes a key's file, overwritten first; none is as good.
///
/// # Errors
/// It cannot be removed.
pub fn remove_key(path: &Path) -> Result<(), StoreFault> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let overwrite = || {
        let mut file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0).min(4096);
        file.write_all(&vec![0; length])?;
        file.sync_all()
    };
    // Best effort: what the disk keeps of overwritten blocks is out of reach, and a link is simply removed.
    let _ = overwrite();
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(fault::from_io(&error, path)),
        _ => sync_folder_of(path).map_err(|error| fault::from_io(&error, path)),
    }
}

/// The key that is there; `None` when there is none.
///
/// # Errors
/// As [`read_or_create_key`].
pub fn read_key(path: &Path, length: usize) -> Result<Option<Secret>, StoreFault> {
    let refused = |error: io::Error| fault::from_io(&error, path);
    let file = match open_plain(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    let metadata = file.metadata().map_err(refused)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let message = format!("others may read the key file, its mode is {mode:o}");
        return Err(StoreFault::new("store-key-exposed", message)
            .at(path)
            .with_hint("chmod 600 it; if somebody else may have read it, replace the key"));
    }
    if metadata.len() != length as u64 {
        return Err(fault::damaged(path, &format!("a key file must have {length} bytes")));
    }
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes).map_err(refused)?;
    match bytes.len() == length {
        true => Ok(Some(Secret::new(bytes))),
        false => Err(fault::damaged(path, &format!("a key file must have {length} bytes"))),
    }
}

/// Opens a plain file for reading: no link, and no pipe that would make us wait for a writer.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "not a plain file")),
    }
}

/// Creates a file of mode 0600; `O_EXCL` refuses whatever is there, a link to nowhere included.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)?;
    // The umask may have taken bits away; it never adds any.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Puts a file's new content in place in one step, 0600, durable when this returns.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft_beside(path);
    let done = write_draft(&draft, bytes)
        .and_then(|()| fs::rename(&draft, path))
        .and_then(|()| sync_folder_of(path));
    if done.is_err() {
        // Best effort: the refusal is what the caller must hear of.
        let _ = fs::remove_file(&draft);
    }
    done
}

/// Gives a finished draft its name unless another process was first; both are fine.
pub(crate) fn publish_once(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder_of(path),
    }
}

/// A hidden name beside a path that no other process or thread uses.
pub(crate) fn draft_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // The time keeps a draft that a killed process of the same id left behind (containers) out of the way.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}-{count}-{}.new", std::process::id(), since.as_nanos()))
}

/// Removes the drafts of a file that killed processes left behind; only for whoever alone makes them.
pub(crate) fn remove_drafts(path: &Path) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let entries = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let draft = entry.file_name();
        let draft = draft.to_string_lossy();
        if draft.starts_with(&format!(".{name}.")) && draft.ends_with(".new") {
            // Best effort: it only takes room.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes a new name durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_private(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_elses_keeps_its_mode() {
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let make = |name: &str, inside: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.join(inside)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            private_data_dir(&path).unwrap();
            mode(&path)
        };
        assert_eq!(make("home", "photos"), 0o755);
        assert_eq!(make("used", "credentials"), 0o700);
        assert_eq!(make("empty", ""), 0o700);
    }
    use security_core::Coded;
    use std::os::unix::fs::symlink;

    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, buffer: &mut [u8]) {
            for byte in buffer {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn folders_are_ours_alone() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("a/b");
        private_dir(&deep).unwrap();
        assert_eq!((mode(&deep), mode(deep.parent().unwrap())), (0o700, 0o700));
        fs::set_permissions(&deep, Permissions::from_mode(0o755)).unwrap();
        private_dir(&deep).unwrap();
        assert_eq!(mode(&deep), 0o700);
        fs::write(temp.path().join("file"), "").unwrap();
        assert!(private_dir(&temp.path().join("file")).is_err());
    }

    #[test]
    fn all_who_make_a_key_at_once_get_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pepper");
        let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8u8)
                .map(|seed| {
                    let path = &path;
                    scope.spawn(move || {
                        read_or_create_key(path, 32, &mut Counting(seed * 31)).unwrap().expose().to_vec()
                    })
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key == &keys[0] && key.len() == 32));
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "no drafts stay behind");
    }

    #[test]
    fn a_key_is_made_once_and_removed_for_good() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key");
        write_new_key(&path, &Secret::new("0123456789")).unwrap();
        assert!(write_new_key(&path, &Secret::new("another one")).is_err());
        assert_eq!(read_key(&path, 10).unwrap(), Some(Secret::new("0123456789")));
        assert_eq!((mode(&path), fs::read_dir(temp.path()).unwrap().count()), (0o600, 1));
        let kept = temp.path().join("second name");
        fs::hard_link(&path, &kept).unwrap();
        remove_key(&path).unwrap();
        remove_key(&path).unwrap();
        assert_eq!((read_key(&path, 10).unwrap(), fs::read(&kept).unwrap()), (None, vec![0; 10]));
        let target = temp.path().join("target");
        fs::write(&target, "kept").unwrap();
        symlink(&target, &path).unwrap();
        assert!(write_new_key(&path, &Secret::new("x")).is_err());
        remove_key(&path).unwrap();
        assert_eq!((path.exists(), fs::read_to_string(&target).unwrap()), (false, "kept".to_owned()));
    }

    #[test]
    fn a_key_that_is_not_safe_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pepper");
        let mut chance = Counting(0);
        read_or_create_key(&path, 32, &mut chance).unwrap();
        let link = temp.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(read_or_create_key(&link, 32, &mut chance).unwrap_err().code(), "store-symlink");
        let dangling = temp.path().join("dangling");
        symlink(temp.path().join("nowhere"), &dangling).unwrap();
        assert_eq!(read_or_create_key(&dangling, 32, &mut chance).unwrap_err().code(), "store-symlink");
        assert!(!temp.path().join("nowhere").exists());
        assert_eq!(read_or_create_key(&path, 16, &mut chance).unwrap_err().code(), "store-damaged");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_or_create_key(&path, 32, &mut chance).unwrap_err().code(), "store-key-exposed");
    }
}
