//! Putting what was checked under an older pepper under the newest one, apart from the checks.
//!
//! What waits is held in memory, bounded, and written in one transaction by a thread that lives as long as there is some. What
//! is lost on the way is renewed by the next check.

use std::{
    collections::HashMap,
    mem::{Discriminant, discriminant},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use security_core::StoreFault;
use security_credentials::Digest;
use security_store::{EmbeddedStore, Renewal};

use crate::{Engine, fork::OpenFiles};

/// Renewals that wait at most, and that one transaction does.
const MOST: usize = 2048;
/// How long the thread lets them gather, in looks at whether to go on.
const GATHER: (u32, Duration) = (4, Duration::from_millis(25));
/// How long it waits after the store has refused them.
const PATIENCE: u32 = 200;

/// What a renewal is of, and the old digest: that of an imported key and of what finds it are one.
type Place = (Discriminant<Renewal>, [u8; 32]);

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    waiting: Mutex<HashMap<Place, Renewal>>,
    at_work: AtomicBool,
}

impl Renewals {
    fn add(&self, old: &Digest, renewal: Renewal) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST {
            waiting.insert((discriminant(&renewal), *old.as_bytes()), renewal);
        }
        !waiting.is_empty()
    }

    fn write(&self, store: &EmbeddedStore) -> Result<(), StoreFault> {
        let taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.is_empty() {
            return Ok(());
        }
        let renewals: Vec<Renewal> = taken.into_values().collect();
        store.renew_digests(&renewals).map(drop)
    }

    fn is_empty(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn work(&self, files: &Arc<OpenFiles>) {
        // Nobody else has the files open any more: the engine was closed.
        let goes_on = || Arc::strong_count(files) > 1;
        let pause = |looks: u32| {
            (0..looks).all(|_| {
                std::thread::sleep(GATHER.1);
                goes_on()
            })
        };
        loop {
            if !pause(GATHER.0) {
                return;
            }
            if let Err(fault) = self.write(&files.store) {
                tracing::warn!(%fault, "digests stay under an older pepper; later uses try again");
                if !pause(PATIENCE) {
                    return;
                }
            }
            if self.is_empty() {
                self.at_work.store(false, Ordering::SeqCst);
                // Somebody may have added one in between, and seen the thread at work.
                if self.is_empty() || self.at_work.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        }
    }
}

impl Engine {
    /// Lets a digest be put in the place of an older one, soon.
    #[cold]
    pub(super) fn renew_later(&self, old: &Digest, renewal: Renewal) {
        let renewals = &self.credentials.renewals;
        if !renewals.add(old, renewal) || renewals.at_work.swap(true, Ordering::SeqCst) {
            return;
        }
        let (shared, files) = (renewals.clone(), self.files.clone());
        let work = move || shared.work(&files);
        if let Err(error) = std::thread::Builder::new().name("security-pepper".into()).spawn(work) {
            renewals.at_work.store(false, Ordering::SeqCst);
            tracing::warn!(%error, "digests stay under an older pepper; later uses try again");
        }
    }

    /// Writes what waits.
    pub(crate) fn write_renewals(&self) {
        if let Err(fault) = self.credentials.renewals.write(&self.files.store) {
            tracing::warn!(%fault, "digests stay under an older pepper; later uses try again");
        }
    }
}
