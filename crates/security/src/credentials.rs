//! `security.modules.credentials`: the document's credentials, issued keys, secrets, usage, suspicion, audit.

mod audit;
mod breached;
mod check;
mod document;
mod heads;
mod imported;
mod issued;
mod keys;
mod master_keys;
mod request_key;
mod rotation;
mod scan;
mod secrets;
mod suspicion;
mod usage;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use security_core::Domain;
use security_credentials::{
    AcceptedSet, CredentialKind, CredentialRecord, CredentialStore, Digest, ForeignRoute,
};

pub use audit::AuditFilter;
pub(crate) use audit::redacted;
pub(crate) use breached::BreachedInUse;
pub use breached::BreachedReport;
pub use check::{KeyAnswer, KeyCheck, RequestId};
pub(crate) use heads::Heads;
pub use imported::{KeyImportReport, KeyRejection};
pub use issued::{IssueRequest, KeyFilter};
pub use master_keys::MasterKeyRotation;
pub(crate) use request_key::{RequestFacts, RequestKey};
pub use rotation::{HookFailure, RotationHook, RotationStep, on_rotate};
pub use scan::{
    FoundKey, KeyScanListener, KeyScanOptions, KeyScanTotals, KeyStatus, SkippedFile, key_pattern,
};
pub use secrets::{SecretDraft, SecretListing, SecretView, StoredSecret};
pub use usage::UsageContext;

use crate::{Engine, Result, follow::Follower, world};

/// The longest secret that is looked at. Nothing that is presented beyond it can be right, and a megabyte of
/// junk must not cost a megabyte of hashing.
const LONGEST_SECRET: usize = 8 << 10;

/// What this process knows of credentials, following the store.
#[derive(Debug)]
pub(crate) struct CredentialCache {
    follower: Follower,
    documents: ArcSwap<Documents>,
    keys: RwLock<keys::Keys>,
    imported: imported::KnownTexts,
    slow_hashes: imported::Turnstile,
    /// Some imported keys have a slow hash.
    may_hash_slowly: AtomicBool,
    /// A thread makes a new key table.
    building: Arc<AtomicBool>,
    /// It has made one, which the next refresh takes over.
    table_made: Arc<AtomicBool>,
    /// How large the delta was when a table was last to be made.
    tried_at: AtomicUsize,
    watch: suspicion::Watch,
}

/// The document's credentials, as compared with.
#[derive(Debug, Default)]
struct Documents {
    accepted: [AcceptedSet; CredentialKind::ALL.len()],
    records: Vec<CredentialRecord>,
    /// How imported keys are looked up; nothing where there are none.
    routes: Vec<ForeignRoute>,
}

impl Documents {
    fn accepted(&self, kind: CredentialKind) -> &AcceptedSet {
        &self.accepted[kind as usize]
    }

    fn record(&self, kind: CredentialKind) -> Option<&CredentialRecord> {
        self.records.iter().find(|record| record.kind == kind)
    }
}

impl Default for CredentialCache {
    fn default() -> Self {
        Self {
            follower: Follower::new(Domain::Credentials),
            documents: ArcSwap::default(),
            keys: RwLock::default(),
            imported: imported::KnownTexts::default(),
            slow_hashes: imported::Turnstile::default(),
            may_hash_slowly: AtomicBool::new(false),
            building: Arc::default(),
            table_made: Arc::default(),
            tried_at: AtomicUsize::new(0),
            watch: suspicion::Watch::default(),
        }
    }
}

impl Engine {
    /// Brings the cache up to date if any process changed a credential: one atomic load when none did.
    fn follow_credentials(&self) -> Result<()> {
        let cache = &self.credentials;
        if cache.table_made.load(Ordering::Relaxed) && cache.table_made.swap(false, Ordering::AcqRel) {
            cache.follower.forget();
        }
        if cache.follower.is_current(&self.page) {
            return Ok(());
        }
        cache.follower.refresh(
            &self.page,
            || self.read_credentials(),
            || Ok(self.files.store.settle(Domain::Credentials)?),
        )
    }

    fn read_credentials(&self) -> Result<()> {
        let cache = &self.credentials;
        let since = cache.keys.read().unwrap_or_else(PoisonError::into_inner).revision;
        let mut fresh = self.other_key_table()?.map(keys::Keys::of_table);
        let mut records = cache.documents.load().records.clone();
        if fresh.is_some() {
            // A table says nothing of these, and may be newer than those that are known here.
            records.clear();
            for kind in CredentialKind::ALL {
                records.extend(self.files.store.credential(kind)?);
            }
        }
        let since = fresh.as_ref().map_or(since, |fresh| fresh.revision);
        let mut changes = self.files.store.credential_changes(since)?;
        if changes.revision < since {
            // The store was put back beneath us: everything anew.
            changes = self.files.store.credential_changes(security_core::Revision::default())?;
            records.clear();
            fresh = Some(keys::Keys::default());
        }
        for changed in changes.records {
            records.retain(|record| record.kind != changed.kind);
            records.push(changed);
        }
        let now = world::now();
        let accepted = CredentialKind::ALL.map(|kind| {
            let record = records.iter().find(|record| record.kind == kind);
            AcceptedSet::new(record, &self.operator_digests(kind), now)
        });
        match fresh.as_mut() {
            Some(fresh) => fresh.follow(changes.keys, changes.revision),
            None => {
                let mut keys = cache.keys.write().unwrap_or_else(PoisonError::into_inner);
                keys.follow(changes.keys, changes.revision);
            }
        }
        if let Some(fresh) = fresh {
            let mut keys = cache.keys.write().unwrap_or_else(PoisonError::into_inner);
            let old = std::mem::replace(&mut *keys, fresh);
            drop(keys);
            // Millions of entries may go here; nobody waits for that.
            drop(old);
            cache.tried_at.store(0, Ordering::Relaxed);
        }
        let routes = self.files.store.foreign_routes()?;
        let is_slow = |route: &ForeignRoute| matches!(route, ForeignRoute::Prefix(_));
        cache.may_hash_slowly.store(routes.iter().any(is_slow), Ordering::Relaxed);
        cache.documents.store(Arc::new(Documents { accepted, records, routes }));
        self.renew_key_table();
        Ok(())
    }

    /// The digests of what the operator has set in this process.
    fn operator_digests(&self, kind: CredentialKind) -> Vec<Digest> {
        let set = self.settings.credentials.iter().filter(|(known, _)| *known == kind);
        set.map(|(_, value)| self.pepper.digest(value.value.expose())).collect()
    }

    fn documents(&self) -> Result<Arc<Documents>> {
        self.follow_credentials()?;
        Ok(self.credentials.documents.load_full())
    }
}
