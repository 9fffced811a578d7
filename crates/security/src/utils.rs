//! `security.modules.utils`: ids, masks, fresh secrets, and getting rid of what must not stay.

use std::{
    fs::OpenOptions,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    str::FromStr,
};

use security_core::{Secret, StoreFault};
use security_credentials::Complexity;
use security_intel::IntelStore;

use crate::{Engine, Error, Result, world};

/// A fresh request id: a random UUID, version 4, in its usual form.
pub fn generate_request_id() -> String {
    world::uuid().to_string()
}

/// The credential with everything but its ends replaced, fit for a log line.
pub fn mask_credential(credential: &str) -> String {
    security_credentials::mask(credential)
}

/// A fresh secret from the system's random source, with every class of its complexity.
/// # Errors
/// [`Error::Invalid`] for a length that is not made, or an unknown complexity.
pub fn generate_secure_credential(length: usize, complexity: &str) -> Result<Secret> {
    let complexity = Complexity::from_str(complexity).map_err(|error| Error::invalid("complexity", error))?;
    security_credentials::generate(length, complexity, &mut world::SystemEntropy)
        .map_err(|error| Error::invalid("length", error))
}

/// What `dispose_sensitive_data` overwrites at a time.
const CHUNK: usize = 64 << 10;

impl Engine {
    /// Removes an intelligence record (by its id) or a file (by its path). With `secure_delete` the record's
    /// pages or the file's bytes are overwritten first.
    ///
    /// A journaling or copy-on-write file system and a solid-state disk may keep older copies all the same; only
    /// encryption with a key that is thrown away is certain there.
    ///
    /// Gives `false` when there is no such record or file.
    /// # Errors
    /// [`Error::Invalid`] for a directory, a symbolic link or another special file, and for files of the engine's
    /// own data directory.
    pub fn dispose_sensitive_data(&self, path_or_intel_id: &str, secure_delete: bool) -> Result<bool> {
        let disposed = if path_or_intel_id.starts_with("intel--") {
            self.files.store.remove_intel(path_or_intel_id, secure_delete)?
        } else {
            self.dispose_file(Path::new(path_or_intel_id), secure_delete)?
        };
        if disposed {
            let details = serde_json::json!({"target": path_or_intel_id, "secure_delete": secure_delete});
            self.audit("data_disposed", &generate_request_id(), details);
        }
        Ok(disposed)
    }

    fn dispose_file(&self, path: &Path, overwrite: bool) -> Result<bool> {
        const ARGUMENT: &str = "path_or_intel_id";
        let fault = |error: std::io::Error| StoreFault::new("store-io", error.to_string()).at(path);
        let found = match path.symlink_metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(false),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidFilename
                ) =>
            {
                return Err(Error::invalid(
                    ARGUMENT,
                    "is no path; accepted are a file's path and an intel id",
                ));
            }
            Err(error) => return Err(fault(error).into()),
        };
        if !found.is_file() {
            return Err(Error::invalid(
                ARGUMENT,
                "is no regular file; accepted are a file's path and an intel id",
            ));
        }
        let whole = path.canonicalize().map_err(fault)?;
        let own = self.data_dir().canonicalize().map_err(fault)?;
        if whole.starts_with(&own) {
            return Err(Error::invalid(ARGUMENT, "lies in the engine's own data directory"));
        }
        if overwrite {
            // O_NOFOLLOW: what was a file a moment ago must not be a link to somebody else's now.
            let mut file =
                OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(fault)?;
            let mut left = found.len();
            file.seek(SeekFrom::Start(0)).map_err(fault)?;
            let zeros = [0; CHUNK];
            while left > 0 {
                let step = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                file.write_all(&zeros[..step]).map_err(fault)?;
                left -= step as u64;
            }
            file.sync_all().map_err(fault)?;
        }
        std::fs::remove_file(path).map_err(fault)?;
        Ok(true)
    }
}
