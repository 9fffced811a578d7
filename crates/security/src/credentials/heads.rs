//! The audit head: what the audit trail must still have, remembered beside the credentials.
//!
//! `credentials/audit.head` holds how far each audit file went and the store's revision, under a MAC of the data
//! directory's key. It is written after each administrative act, and when the journal is flushed or closed. The ends
//! of files that nobody writes to any more go into the trail itself (`audit_sealed`), so that the head stays small:
//! what vouches for them is then a record that the head vouches for.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Mutex, PoisonError},
};

use security_core::{Coded as _, StoreFault};
use security_credentials::{
    AuditHead, CredentialEvent, CredentialStore as _, HeadFault, HeadKey, JournalEnd, Pepper,
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

/// The head of one data directory.
#[derive(Debug)]
pub(crate) struct Heads {
    file: HeadFile,
    key: HeadKey,
    /// What this process had written last: nothing is written twice.
    written: Mutex<Option<JournalEnd>>,
}

impl Heads {
    pub(crate) fn new(data_dir: &Path, pepper: &Pepper) -> Self {
        let path = data_dir.join("credentials").join(NAME);
        Self { file: HeadFile::at(&path), key: HeadKey::of(pepper), written: Mutex::default() }
    }
}

impl Engine {
    /// Brings the head up to date with this process's part of the trail. What keeps it from that is logged: the act
    /// has happened, and the trail has it.
    pub(crate) fn write_audit_head(&self) {
        if let Err(error) = self.try_write_audit_head() {
            tracing::warn!(%error, "the audit head is behind: cuts of the newest records would not be noticed");
        }
    }

    fn try_write_audit_head(&self) -> Result<()> {
        let journal = &self.files.journal;
        let Some(end) = journal.end(Stream::Audit) else { return Ok(()) };
        if *self.heads.written.lock().unwrap_or_else(PoisonError::into_inner) == Some(end) {
            return Ok(());
        }
        let mut done = None;
        self.heads.file.update::<crate::Error>(|old| {
            let mut head = match old {
                None => {
                    self.adopt_trail()?;
                    AuditHead::empty(world::now())
                }
                // A head that somebody changed is evidence, and not overwritten.
                Some(text) => self.heads.key.open(&text).map_err(|fault| self.not_ours(fault))?,
            };
            // Under the lock: the revision grows from head to head.
            let revision = self.files.store.credential_revision()?.0;
            let sealed = head.take_oldest(MOST_ENDS, KEPT_ENDS);
            self.record_ends("audit_sealed", &sealed)?;
            let Some(end) = journal.end(Stream::Audit) else { return Ok(None) };
            head.note(end.clone());
            done = Some(end);
            (head.number, head.at) = (head.number + 1, world::now());
            head.revision = head.revision.max(revision);
            Ok(Some(self.heads.key.seal(&head).into_bytes()))
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

    fn not_ours(&self, fault: HeadFault) -> crate::Error {
        StoreFault::new("audit-head", reason_of(fault))
            .with_hint("`security audit verify` says more; move the file away to begin a new head")
            .at(self.heads.file.path())
            .into()
    }

    /// Checks the trail against itself, the head, and the store; see [`Engine::verify_audit_log`].
    pub(super) fn verify_against_head(&self) -> Result<ChainReport> {
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
            Ok(Some(text)) => match self.heads.key.open(&text) {
                Ok(read) => head = Some(read),
                Err(fault) => wrong = Some(reason_of(fault).to_owned()),
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
        let mut unseen: HashSet<&str> = history
            .iter()
            .filter(|line| {
                use CredentialEvent::{Issued, Revoked, Rotated};
                matches!(line.event, Issued | Rotated | Revoked)
            })
            .map(|line| line.request_id.as_str())
            .collect();
        let mut report = Journal::verify_against(&self.logs(), &claims, &mut |stream, line| {
            if stream == Stream::Audit
                && let Ok(Request { request_id }) = serde_json::from_slice(line)
            {
                unseen.remove(&*request_id);
            }
        })?;
        if let Some(reason) = wrong {
            report.breaks(NAME, 0, reason);
        } else if let Some(head) = head {
            let revision = store.credential_revision()?.0;
            if revision < head.revision {
                let reason = format!(
                    "the credential store is older than the audit trail: its revision is {revision}, and was {} at {}",
                    head.revision, head.at
                );
                report.breaks("credentials.sqlite", 0, reason);
            }
        } else if !trail_is_empty {
            let reason = "the audit head is missing: cut off or deleted files cannot be told; the next act makes a new one";
            report.breaks(NAME, 0, reason.to_owned());
        }
        let lost = history.iter().filter(|line| unseen.contains(&*line.request_id)).collect::<Vec<_>>();
        // The oldest one: from there on the trail is gone.
        if let Some(first) = lost.last() {
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

#[derive(serde::Deserialize)]
struct Request<'l> {
    #[serde(borrow)]
    request_id: std::borrow::Cow<'l, str>,
}

fn reason_of(fault: HeadFault) -> &'static str {
    match fault {
        HeadFault::Shape => "the audit head is damaged",
        HeadFault::Mac => {
            "the audit head was changed, or belongs to another data directory: its MAC is not ours"
        }
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
