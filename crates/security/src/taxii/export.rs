//! STIX out: the indicators as a bundle.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use security_core::StoreFault;
use security_intel::{ExportFormat, Exported, IntelError, IocFilter};
use security_store::private_file;

use crate::{Engine, Result, intel, world};

/// A file under a name that nobody reads, removed again unless it was published.
struct Draft {
    path: PathBuf,
    published: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what went wrong before is what the caller must hear of.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Engine {
    /// Writes every active indicator as one STIX 2.1 bundle into `data/intel/` (0600) and gives its path; `None`
    /// when there is nothing to write. The file gets its name when it is whole and durable.
    /// # Errors
    /// [`Error::Store`](crate::Error::Store).
    pub fn export_iocs_to_stix(&self) -> Result<Option<PathBuf>> {
        let now = world::now();
        let stamp: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        let folder = self.data_dir().join("intel");
        let path = folder.join(format!("stix_export_{stamp}.json"));
        let draft_path = folder.join(format!(".stix_export_{stamp}_{}.new", world::uuid().simple()));
        let mut output = BufWriter::new(private_file(&draft_path)?);
        let mut draft = Draft { path: draft_path, published: false };

        let is_active = |record: &_| intel::is_active(record, now);
        let written =
            self.stream_indicators(ExportFormat::Stix, &IocFilter::default(), &is_active, &mut output)?;
        let Exported { n_written, left_out } = written.map_err(|error| export_fault(&error, &path))?;
        if n_written == 0 {
            return Ok(None);
        }
        if !left_out.is_empty() {
            tracing::info!(?left_out, "indicators of kinds that STIX has no pattern for were left out");
        }
        let published = output
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&draft.path, &path));
        published.map_err(|error| io_fault(&error, &path))?;
        draft.published = true;
        // The name is durable when its folder is.
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(|error| io_fault(&error, &path))?;
        Ok(Some(path))
    }
}

fn export_fault(error: &IntelError, path: &Path) -> StoreFault {
    match error {
        IntelError::Stream { source, .. } => io_fault(source, path),
        other => StoreFault::new("store-damaged", format!("an indicator cannot stand in STIX: {other}")),
    }
}

fn io_fault(error: &io::Error, path: &Path) -> StoreFault {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "store-full"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => "store-read-only",
        _ => "store-io",
    };
    StoreFault::new(code, error.to_string()).at(path)
}
