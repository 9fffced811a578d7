//! Folders of documents that people edit and keep in git: threat rules, TAXII configurations.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use security_core::StoreFault;

use crate::{fault, permissions};

/// A folder of files with certain endings, each read whole and replaced whole.
#[derive(Debug, Clone)]
pub struct DocumentFolder {
    folder: PathBuf,
    endings: &'static [&'static str],
    max_bytes: u64,
}

/// One file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name in the folder, ending included.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl DocumentFolder {
    /// The longest name in bytes.
    pub const MAX_NAME: usize = 128;

    /// A folder, the endings it holds (`json`, `yml`; without dot, lower case), and the largest file read.
    /// Nothing is made or opened yet.
    pub fn new(folder: impl Into<PathBuf>, endings: &'static [&'static str], max_bytes: u64) -> Self {
        Self { folder: folder.into(), endings, max_bytes }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// All documents by name. A file that cannot be taken (too large, a link, no permission) is left out with
    /// a warning in the log; [`DocumentFolder::list_telling`] says which and why. No folder is an empty one.
    ///
    /// # Errors
    /// The folder itself cannot be read.
    pub fn list(&self) -> Result<Vec<Document>, StoreFault> {
        self.list_telling(&mut |name, fault| tracing::warn!(name, %fault, "document left out"))
    }

    /// Like [`DocumentFolder::list`], and `refused` is told of every file left out, with the reason.
    ///
    /// # Errors
    /// The folder itself cannot be read.
    pub fn list_telling(
        &self,
        refused: &mut dyn FnMut(&str, StoreFault),
    ) -> Result<Vec<Document>, StoreFault> {
        let mut documents = Vec::new();
        for name in self.names()? {
            match self.read(&name) {
                Ok(Some(bytes)) => {
                    documents.push(Document { path: self.folder.join(&name), name, bytes });
                }
                Ok(None) => {} // removed since the folder was read
                Err(fault) => refused(&name, fault),
            }
        }
        Ok(documents)
    }

    /// What a document holds; `None` when there is none of this name.
    ///
    /// # Errors
    /// `document-name`, `document-too-large`, `store-symlink`, or the file system refuses.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreFault> {
        let path = self.place(name)?;
        let refused = |error: io::Error| fault::from_io(&error, &path);
        let file = match permissions::open_plain(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        let mut bytes = Vec::new();
        file.take(self.max_bytes + 1).read_to_end(&mut bytes).map_err(refused)?;
        match bytes.len() as u64 > self.max_bytes {
            true => Err(self.too_large(&path)),
            false => Ok(Some(bytes)),
        }
    }

    /// Puts a document in place, new or in place of the old one, in one durable step.
    ///
    /// # Errors
    /// `document-name`, `document-too-large`, or the file system refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreFault> {
        let path = self.place(name)?;
        if bytes.len() as u64 > self.max_bytes {
            return Err(self.too_large(&path));
        }
        permissions::private_dir(&self.folder)?;
        permissions::replace_private(&path, bytes).map_err(|error| fault::from_io(&error, &path))?;
        Ok(path)
    }

    /// Removes a document; `false` when there is none of this name.
    ///
    /// # Errors
    /// `document-name`, or the file system refuses.
    pub fn remove(&self, name: &str) -> Result<bool, StoreFault> {
        let path = self.place(name)?;
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            removed => removed.and_then(|()| permissions::sync_folder_of(&path)),
        };
        removed.map_err(|error| fault::from_io(&error, &path))?;
        Ok(true)
    }

    /// A number that changes when a document is added, removed, replaced or edited: names, sizes, inodes and
    /// times, without reading a file. Comparable within one build of the program only.
    ///
    /// # Errors
    /// The folder itself cannot be read.
    pub fn fingerprint(&self) -> Result<u64, StoreFault> {
        let mut hasher = DefaultHasher::new();
        for name in self.names()? {
            if let Ok(metadata) = fs::symlink_metadata(self.folder.join(&name)) {
                (metadata.len(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
                // A copy that keeps the old time of modification still has a new time of change.
                (metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher);
                name.hash(&mut hasher);
            }
        }
        Ok(hasher.finish())
    }

    /// The names of the folder that are documents' names, sorted.
    fn names(&self) -> Result<Vec<String>, StoreFault> {
        let refused = |error: io::Error| fault::from_io(&error, &self.folder);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(refused)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry.map_err(refused)?.file_name().into_string()
                && self.reason_against(&name).is_none()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn place(&self, name: &str) -> Result<PathBuf, StoreFault> {
        match self.reason_against(name) {
            None => Ok(self.folder.join(name)),
            Some(reason) => {
                let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
                let hint =
                    format!("letters, digits, dashes and dots, ending in one of {}", self.endings.join(", "));
                Err(StoreFault::new(
                    "document-name",
                    format!("`{shown}` cannot be a document's name: {reason}"),
                )
                .with_hint(hint))
            }
        }
    }

    fn reason_against(&self, name: &str) -> Option<&'static str> {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        if name.is_empty() {
            Some("it is empty")
        } else if name.len() > Self::MAX_NAME {
            Some("it is too long")
        } else if name.starts_with('.') {
            Some("it starts with a dot")
        } else if name.contains(['/', '\\']) || name.chars().any(char::is_control) {
            Some("it holds a slash or a control character")
        } else if !ending.is_some_and(|ending| self.endings.contains(&ending.as_str())) {
            Some("it has another ending than this folder's documents")
        } else {
            None
        }
    }

    fn too_large(&self, path: &Path) -> StoreFault {
        let message = format!("a document here has {} bytes at most", self.max_bytes);
        StoreFault::new("document-too-large", message).at(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use security_core::Coded;

    fn folder() -> (tempfile::TempDir, DocumentFolder) {
        let temp = tempfile::tempdir().unwrap();
        let folder = DocumentFolder::new(temp.path().join("threat_rules"), &["json", "yml", "yaml"], 1000);
        (temp, folder)
    }

    #[test]
    fn keeps_documents() {
        let (_temp, folder) = folder();
        assert_eq!(folder.list().unwrap(), []);
        folder.write("b.yml", b"two").unwrap();
        let path = folder.write("a.json", b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        folder.write("a.json", b"one again").unwrap();
        fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
        let names: Vec<_> = folder.list().unwrap().into_iter().map(|d| (d.name, d.bytes)).collect();
        assert_eq!(names, [("a.json".into(), b"one again".to_vec()), ("b.yml".into(), b"two".to_vec())]);
        assert_eq!(folder.remove("a.json"), Ok(true));
        assert_eq!(folder.remove("a.json"), Ok(false));
        assert_eq!(folder.read("a.json"), Ok(None));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no drafts stay behind");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let (_temp, folder) = folder();
        let long = format!("{}.json", "a".repeat(200));
        for name in [
            "",
            "../a.json",
            "a/../../b.json",
            "/a.json",
            ".a.json",
            "a\0.json",
            "a\n.json",
            "a.exe",
            "json",
            &long,
        ] {
            assert_eq!(folder.write(name, b"x").unwrap_err().code(), "document-name", "{name:?}");
            assert_eq!(folder.read(name).unwrap_err().code(), "document-name", "{name:?}");
            assert_eq!(folder.remove(name).unwrap_err().code(), "document-name", "{name:?}");
        }
    }

    #[test]
    fn what_cannot_be_taken_is_told_and_the_rest_is_kept() {
        let (temp, folder) = folder();
        folder.write("good.json", b"good").unwrap();
        fs::write(temp.path().join("secret"), "elsewhere").unwrap();
        std::os::unix::fs::symlink(temp.path().join("secret"), folder.path().join("link.json")).unwrap();
        fs::write(folder.path().join("big.json"), vec![b'x'; 1001]).unwrap();
        fs::create_dir(folder.path().join("folder.json")).unwrap();
        let mut told = Vec::new();
        let list =
            folder.list_telling(&mut |name, fault| told.push((name.to_owned(), fault.code()))).unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(told[0], ("big.json".into(), "document-too-large"));
        assert_eq!(told[1].0, "folder.json");
        assert_eq!(told[2], ("link.json".into(), "store-symlink"));
    }

    #[test]
    fn the_fingerprint_follows_every_change() {
        let (_temp, folder) = folder();
        let mut seen = vec![folder.fingerprint().unwrap()];
        let mut changed = |what: &str| {
            let now = folder.fingerprint().unwrap();
            assert!(!seen.contains(&now), "{what}");
            assert_eq!(folder.fingerprint().unwrap(), now);
            seen.push(now);
        };
        folder.write("a.json", b"one").unwrap();
        changed("added");
        folder.write("a.json", b"two").unwrap();
        changed("replaced by as many bytes");
        fs::rename(folder.path().join("a.json"), folder.path().join("b.json")).unwrap();
        changed("renamed");
        fs::write(folder.path().join("b.json"), b"longer").unwrap();
        changed("edited in place");
    }
}
