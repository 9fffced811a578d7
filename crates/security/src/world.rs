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
