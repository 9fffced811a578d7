//! One rotation of a credential at a time, over all processes of the host.

use std::path::Path;

use security_core::StoreFault;

use crate::{fault, path_lock::PathLock};

/// Whoever has it rotates; nobody else can meanwhile. It ends with its holder, also with one that is killed.
#[derive(Debug)]
pub struct RotationLock {
    _lock: PathLock,
}

impl RotationLock {
    /// Whether anybody ever rotated a credential of this data directory; one look, and no store is opened for it.
    pub fn was_ever_taken(data_dir: &Path, credential: &str) -> bool {
        data_dir.join("credentials").join(format!(".rotation-{credential}.lock")).exists()
    }

    /// Takes the lock of a credential of a data directory; `None` while somebody has it.
    /// # Errors
    /// When its file cannot be made or opened.
    pub fn take(data_dir: &Path, credential: &str) -> Result<Option<Self>, StoreFault> {
        let path = data_dir.join("credentials").join(format!("rotation-{credential}"));
        let taken = PathLock::take(&path).map_err(|error| fault::from_io(&error, &path))?;
        Ok(taken.map(|lock| Self { _lock: lock }))
    }
}
