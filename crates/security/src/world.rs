//! The clock and the source of chance: the only place where the engine asks the machine for either.

use std::time::{SystemTime, UNIX_EPOCH};

use security_core::{Entropy, Timestamp};

/// The present, by the system's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The operating system's random source.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        // Without randomness no key and no id can be made; there is nothing to go on with.
        getrandom::fill(buffer).expect("the operating system's random source answers");
    }
}

/// A random UUID, version 4.
pub(crate) fn uuid() -> uuid::Uuid {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// The account that the process runs as and its program: `uid 1000, gunicorn`.
pub(crate) fn actor() -> String {
    // The process's own entry belongs to whom it runs as; elsewhere a folder of its own would have to be made.
    use std::os::unix::fs::MetadataExt as _;
    let account =
        std::fs::metadata("/proc/self").map_or_else(|_| "?".to_owned(), |own| own.uid().to_string());
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(std::path::Path::file_name).unwrap_or_default();
    format!("uid {account}, {}", program.to_string_lossy())
}

/// The machine's name.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
