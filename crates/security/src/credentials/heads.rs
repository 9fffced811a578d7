//! The audit head: what the audit trail must still have, remembered beside the credentials.
//!
//! `credentials/audit.head` holds how far each audit file went and the newest line of the store's history, under a MAC
//! of the pepper in force when it was written. It is there before the first record of the trail, and is written after each
//! administrative act, at [`Engine::flush`] and at the end. The ends
//! of files that nobody writes to any more go into the trail itself (`audit_sealed`), so that the head stays small:
//! what vouches for them is then a record that the head vouches for.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use security_core::{Coded as _, StoreFault};
use security_credentials::{
    AuditHead, CredentialEvent, CredentialStore as _, HeadFault, HeadKeys, HistoryEntry, HistoryMark,
    JournalEnd,
};
use security_store::{ChainReport, Claim, HeadFile, Journal, Stream};
use serde_json::{Value, json};

use super::audit::record;
use crate::{Engine, Result, utils::generate_request_id, world};

/// The head's name in reports.
const NAME: &str = "audit.head";

/// Files whose ends the head holds itself.
const MOST_ENDS: usize = 256;

/// Of those, how many stay when the others are sealed.
const KEPT_ENDS: usize = 64;

/// Ends in one record of the trail.
const ENDS_A_RECORD: usize = 500;

/// The acts of the store's history that the trail is searched for, the newest ones.
const ACTS_COMPARED: usize = 10_000;

const OLDER_STORE: &str = "the credential store is older than the audit trail";

/// The head of one data directory.
#[derive(Debug)]
pub(crate) struct Heads {
    file: HeadFile,
    /// What this process had written last: nothing is written twice.
    written: Mutex<Option<(JournalEnd, Option<HistoryMark>)>>,
    /// Why it could not be written last time.
    trouble: Mutex<Option<String>>,
}

impl Heads {
    pub(crate) fn new(data_dir: &Path) -> Self {
        let path = data_dir.join("credentials").join(NAME);
        Self { file: HeadFile::at(&path), written: Mutex::default(), trouble: Mutex::default() }
    }
}

impl Engine {
    /// Brings the head up to date with this process's part of the trail. What keeps it from that is logged and stands
    /// in the status: the act has happened, and the trail has it.
    pub(crate) fn write_audit_head(&self) {
        self.note_head(self.try_write_audit_head());
    }

    /// A directory without a trail gets its head at once: from then on a missing head is a missing head.
    pub(crate) fn begin_audit_head(&self) {
        let begun = self.heads.file.read().map_err(crate::Error::from).and_then(|found| match found {
            Some(_) => Ok(()),
            None => self.heads.file.update(|old| {
                let is_first = old.is_none() && !Journal::has(&self.logs(), Stream::Audit)?;
                let keys = HeadKeys::of(&self.credentials.documents.load().peppers);
                Ok(is_first.then(|| keys.seal(&AuditHead::empty(world::now())).into_bytes()))
            }),
        });
        self.note_head(begun);
    }

    /// Why the head is behind, if it is.
    pub(crate) fn head_trouble(&self) -> Option<String> {
        self.heads.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_head(&self, outcome: Result<()>) {
        let trouble = outcome.err().map(|error| {
            format!("the audit head is behind, cuts of the newest records would not be noticed: {error}")
        });
        if let Some(trouble) = &trouble {
            tracing::warn!("{trouble}");
        }
        *self.heads.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(super) fn try_write_audit_head(&self) -> Result<()> {
        let (journal, store) = (&self.files.journal, &self.files.store);
        let Some(end) = journal.end(Stream::Audit) else { return Ok(()) };
        let now = Some((end, store.newest_history()?));
        if *self.heads.written.lock().unwrap_or_else(PoisonError::into_inner) == now {
            return Ok(());
        }
        let mut done = None;
        self.heads.file.update::<crate::Error>(|old| {
            // What the old one was sealed under was known before it was.
            let keys = self.head_keys();
            let mut head = match old {
                None => {
                    self.adopt_trail()?;
                    AuditHead::empty(world::now())
                }
                Some(text) => keys.open(&text).map_err(|fault| self.refused(&reason_of(fault)))?,
            };
            if let Some(mark) = head.history
                && !store.has_history(mark)?
            {
                return Err(self.refused(OLDER_STORE));
            }
            // Under the lock: the history grows from head to head.
            let newest = store.newest_history()?;
            let sealed = head.take_oldest(MOST_ENDS, KEPT_ENDS);
            self.record_ends("audit_sealed", &sealed)?;
            let Some(end) = journal.end(Stream::Audit) else { return Ok(None) };
            head.note(end.clone());
            done = Some((end, newest));
            (head.number, head.at) = (head.number + 1, world::now());
            head.history = newest;
            Ok(Some(keys.seal(&head).into_bytes()))
        })?;
        if done.is_some() {
            *self.heads.written.lock().unwrap_or_else(PoisonError::into_inner) = done;
        }
        Ok(())
    }

    /// There is no head: the first one vouches for what is found, and the trail says that it did so.
    fn adopt_trail(&self) -> Result<()> {
        let mine = self.files.journal.end(Stream::Audit).map(|end| end.file);
        let mut ends: Vec<JournalEnd> = Vec::new();
        Journal::each_line(&self.logs(), Stream::Audit, &mut |file, line| {
            let seen = serde_json::from_slice::<Value>(line).unwrap_or_default();
            let link = seen["chain"].as_str().and_then(|link| link.parse().ok());
            let Some((seq, chain)) = seen["seq"].as_u64().zip(link) else { return };
            if Some(file) == mine.as_deref() {
                return;
            }
            ends.pop_if(|last| last.file == file);
            ends.push(JournalEnd { file: file.to_owned(), seq, chain, closed: false });
        })?;
        self.record_ends("audit_head_made", &ends)
    }

    fn record_ends(&self, event: &str, ends: &[JournalEnd]) -> Result<()> {
        for part in ends.chunks(ENDS_A_RECORD) {
            let details = json!({"ends": part});
            let record = record(event, &generate_request_id(), "success", &details);
            self.files.journal.append_durable(Stream::Audit, &record)?;
        }
        Ok(())
    }

    fn logs(&self) -> std::path::PathBuf {
        self.data_dir().join("logs")
    }

    /// A head that does not fit is evidence, and not overwritten.
    fn refused(&self, reason: &str) -> crate::Error {
        StoreFault::new("audit-head", reason)
            .with_hint("`security audit verify` says more; move the head away to begin a new one")
            .at(self.heads.file.path())
            .into()
    }

    /// Checks the hash chain of every journal file, and the audit trail against its head and the credential store:
    /// an edited, removed, added or reordered line is named by file and line, and so are a cut-off end, a missing
    /// file, and a trail, a head or a store that is older than the others.
    ///
    /// What was recorded after the head was last written ([`ChainReport::unvouched`]) can be cut off unnoticed, and
    /// so can everything since a moment when trail, head and store are all put back to it together; a copy of the
    /// head elsewhere tells that.
    /// # Errors
    /// When the journal or the store cannot be read.
    pub fn verify_audit_log(&self) -> Result<ChainReport> {
        // The head first: whoever writes meanwhile only adds to what it says.
        let text = self.heads.file.read();
        let store = &self.files.store;
        let history = store.credential_history(None, ACTS_COMPARED)?;
        self.files.journal.flush()?;
        let mut claims = Vec::new();
        let mut head = None;
        let mut wrong = None;
        match text {
            Err(fault) => wrong = Some(format!("the audit head cannot be read ({}): {fault}", fault.code())),
            Ok(None) => {}
            Ok(Some(text)) => match self.head_keys().open(&text) {
                Ok(read) => head = Some(read),
                Err(fault) => wrong = Some(reason_of(fault)),
            },
        }
        for end in head.iter().flat_map(|head| &head.ends) {
            claims.push(Claim { end: end.clone(), by: "the audit head".to_owned() });
        }
        let mut trail_is_empty = true;
        Journal::each_line(&self.logs(), Stream::Audit, &mut |file, line| {
            trail_is_empty = false;
            claims.extend(
                ends_in(line).into_iter().map(|end| Claim { end, by: format!("a record in {file}") }),
            );
        })?;
        // Each act is in the trail before it is in the history. Its request id is the caller's, and may come again.
        let mut unseen: HashMap<&str, Vec<&HistoryEntry>> = HashMap::new();
        for line in history.iter().filter(|line| is_act(line.event)) {
            unseen.entry(&line.request_id).or_default().push(line);
        }
        let mut report = Journal::verify_against(&self.logs(), &claims, &mut |stream, line| {
            if stream == Stream::Audit
                && let Ok(Act { event, request_id }) = serde_json::from_slice(line)
                && ACTS.contains(&&*event)
                && let Some(lines) = unseen.get_mut(&*request_id)
            {
                lines.pop();
            }
        })?;
        if let Some(reason) = wrong {
            report.breaks(NAME, 0, reason);
        } else if let Some(head) = head {
            if let Some(mark) = head.history
                && !store.has_history(mark)?
            {
                let reason =
                    format!("{OLDER_STORE}: line {} of its history, of {}, is not there", mark.seq, head.at);
                report.breaks("credentials.sqlite", 0, reason);
            }
        } else if !trail_is_empty {
            let reason = "the audit head is missing: cut off or deleted files cannot be told; the next act makes a new one";
            report.breaks(NAME, 0, reason.to_owned());
        }
        let lost: Vec<&HistoryEntry> = unseen.into_values().flatten().collect();
        // From the oldest one on the trail is gone.
        if let Some(first) = lost.iter().min_by_key(|line| line.at) {
            let reason = format!(
                "the audit trail is older than the credential store: {} acts of its history are not in the trail, the \
                 first at {} on {} (request {})",
                lost.len(),
                first.at,
                first.credential,
                first.request_id
            );
            report.breaks("audit", 0, reason);
        }
        Ok(report)
    }
}

/// What the trail calls the acts that the history has a line of.
const ACTS: [&str; 11] = [
    "key_issued",
    "key_rotated",
    "key_revoked",
    "credential_rotated",
    "secret_stored",
    "secret_deleted",
    "secret_restored",
    "secret_destroyed",
    "master_key_rotated",
    "pepper_rotated",
    "pepper_dropped",
];

fn is_act(event: CredentialEvent) -> bool {
    use CredentialEvent as E;
    match event {
        E::Issued | E::Rotated | E::Revoked => true,
        E::SecretStored | E::SecretDeleted | E::SecretRestored | E::SecretDestroyed => true,
        E::MasterKeyRotated | E::PepperRotated | E::PepperDropped => true,
        // An import is one act for many lines, and the steps of a rotation belong to the act that ends with `Rotated`.
        E::Seen | E::RotationPlanned | E::Imported | E::Rehashed => false,
        E::RotationBegun | E::RotationSwitched | E::RotationFailed | E::Retired => false,
    }
}

#[derive(serde::Deserialize)]
struct Act<'l> {
    #[serde(borrow)]
    event: std::borrow::Cow<'l, str>,
    #[serde(borrow)]
    request_id: std::borrow::Cow<'l, str>,
}

fn reason_of(fault: HeadFault) -> String {
    match fault {
        HeadFault::Shape => "the audit head is damaged".to_owned(),
        HeadFault::Mac => {
            "the audit head was changed, or belongs to another data directory: its MAC is not ours".to_owned()
        }
        HeadFault::Pepper(version) => format!(
            "the audit head was sealed under pepper {version}, which the credential store does not know: {OLDER_STORE}, or \
             they belong to two data directories"
        ),
    }
}

/// The ends that a record of the trail vouches for.
fn ends_in(line: &[u8]) -> Vec<JournalEnd> {
    #[derive(serde::Deserialize)]
    struct Sealed {
        event: String,
        details: Ends,
    }
    #[derive(serde::Deserialize)]
    struct Ends {
        ends: Vec<JournalEnd>,
    }
    let Ok(Sealed { event, details }) = serde_json::from_slice(line) else { return Vec::new() };
    match event.as_str() {
        "audit_sealed" | "audit_head_made" => details.ends,
        _ => Vec::new(),
    }
}
