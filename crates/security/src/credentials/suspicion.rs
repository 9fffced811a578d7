//! Suspicion over the usage of all processes: a detector that goes on where it was.

use std::sync::{Mutex, PoisonError};

use security_credentials::{Detector, Finding, UsageRecord};
use security_store::{JournalTail, Stream};

use crate::{Engine, Result, world};

/// The detector of this process and how far it read, once somebody asked for it. What it holds is bounded by
/// [`security_credentials::Thresholds::tracked`].
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Option<Watched>>);

#[derive(Debug)]
struct Watched {
    detector: Detector,
    tail: JournalTail,
}

impl Engine {
    /// Looks for suspicious use in the records of all processes, worst first.
    ///
    /// The first call reads the newest records of the journal, as many as
    /// [`security_credentials::Thresholds::max_records`] says; each further one only what came since, so that what is
    /// usual is learned from everything that this process ever met. A process that starts anew learns it from
    /// the journal.
    /// # Errors
    /// When the journal cannot be read; the next call begins anew.
    pub fn suspicious_activity(&self) -> Result<Vec<Finding>> {
        let thresholds = &self.settings.suspicion;
        let mut held = self.credentials.watch.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Out of its place until all went well: a detector that saw half of the records stays nobody's.
        let mut watched = held.take().unwrap_or_else(|| Watched {
            detector: Detector::new(thresholds.clone(), self.limit_seed),
            tail: JournalTail::new(Stream::Usage),
        });
        let Watched { detector, tail } = &mut watched;
        let most = u64::try_from(thresholds.max_records).unwrap_or(u64::MAX);
        let at = |record: &UsageRecord| record.at;
        self.files.journal.each_new(tail, most, &at, &mut |record: UsageRecord| detector.feed(&record))?;
        let findings = detector.worst(world::now());
        *held = Some(watched);
        Ok(findings)
    }
}
