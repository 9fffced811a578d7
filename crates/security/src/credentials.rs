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
mod peppers;
mod renewal;
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
    AcceptedSet, CredentialKind, CredentialRecord, CredentialStore, Digest, ForeignRoute, Peppers,
};
use security_shared::Undumped;

pub use audit::AuditFilter;
pub(crate) use audit::redacted;
pub(crate) use breached::BreachedInUse;
pub use breached::BreachedReport;
pub use check::{KeyAnswer, KeyCheck, RequestId};
pub(crate) use heads::Heads;
pub use imported::{KeyImportReport, KeyRejection};
pub use issued::{IssueRequest, KeyFilter};
pub use master_keys::MasterKeyRotation;
pub use peppers::PepperUse;
pub(crate) use peppers::{FirstPeppers, first_peppers};
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
    renewals: Arc<renewal::Renewals>,
}

/// The document's credentials, as compared with.
#[derive(Debug, Clone)]
struct Documents {
    peppers: peppers::KeptPeppers,
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

impl CredentialCache {
    /// One that has read nothing yet.
    pub(crate) fn new(peppers: Undumped<Peppers>) -> Self {
        let documents = Documents {
            peppers: Arc::new(peppers),
            accepted: Default::default(),
            records: Vec::new(),
            routes: Vec::new(),
        };
        Self {
            follower: Follower::new(Domain::Credentials),
            documents: ArcSwap::from_pointee(documents),
            keys: RwLock::default(),
            imported: imported::KnownTexts::default(),
            slow_hashes: imported::Turnstile::default(),
            may_hash_slowly: AtomicBool::new(false),
            building: Arc::default(),
            table_made: Arc::default(),
            tried_at: AtomicUsize::new(0),
            watch: suspicion::Watch::default(),
            renewals: Arc::default(),
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
        // Read after what names them, and in place before that is.
        let peppers = self.read_peppers()?;
        if !Arc::ptr_eq(&peppers, &cache.documents.load().peppers) {
            let known = Documents { peppers: peppers.clone(), ..(**cache.documents.load()).clone() };
            cache.documents.store(Arc::new(known));
        }
        let now = world::now();
        for record in &mut records {
            record.renew(&self.operator_renewals(record.kind, &peppers));
        }
        let accepted = CredentialKind::ALL.map(|kind| {
            let record = records.iter().find(|record| record.kind == kind);
            AcceptedSet::new(record, &self.operator_digests(kind, &peppers), now)
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
        cache.documents.store(Arc::new(Documents { peppers, accepted, records, routes }));
        self.renew_key_table();
        Ok(())
    }

    /// The digests of what the operator has set in this process.
    fn operator_digests(&self, kind: CredentialKind, peppers: &Peppers) -> Vec<Digest> {
        let set = self.settings.credentials.iter().filter(|(known, _)| *known == kind);
        set.map(|(_, value)| peppers.digest(value.value.expose())).collect()
    }

    /// Pairs of the digests that these have under older peppers, and under the newest.
    fn operator_renewals(&self, kind: CredentialKind, peppers: &Peppers) -> Vec<(Digest, Digest)> {
        let set = self.settings.credentials.iter().filter(|(known, _)| *known == kind);
        let pairs = set.flat_map(|(_, value)| {
            let new = peppers.digest(value.value.expose());
            peppers.older_digests(value.value.expose()).map(move |old| (old, new))
        });
        pairs.collect()
    }

    fn documents(&self) -> Result<Arc<Documents>> {
        self.follow_credentials()?;
        Ok(self.credentials.documents.load_full())
    }
}
