//! `security.modules.credentials`: the document's credentials, issued keys, usage, suspicion, audit.

mod audit;
mod document;
mod heads;
mod issued;
mod usage;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use arc_swap::ArcSwap;
use security_core::{Domain, Revision};
use security_credentials::{
    AcceptedSet, CredentialKind, CredentialRecord, CredentialStore, Digest, IssuedKey,
};

pub use audit::AuditFilter;
pub(crate) use heads::Heads;
pub use issued::{IssueRequest, KeyCheck, KeyFilter};
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
    keys: RwLock<HashMap<Box<str>, Arc<IssuedKey>>>,
    revision: RwLock<Revision>,
}

/// The document's credentials, as compared with.
#[derive(Debug, Default)]
struct Documents {
    accepted: [AcceptedSet; CredentialKind::ALL.len()],
    records: Vec<CredentialRecord>,
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
            revision: RwLock::default(),
        }
    }
}

impl Engine {
    /// Brings the cache up to date if any process changed a credential: one atomic load when none did.
    fn follow_credentials(&self) -> Result<()> {
        let cache = &self.credentials;
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
        let since = *cache.revision.read().unwrap_or_else(PoisonError::into_inner);
        let changes = self.files.store.credential_changes(since)?;
        let mut records = cache.documents.load().records.clone();
        for changed in changes.records {
            records.retain(|record| record.kind != changed.kind);
            records.push(changed);
        }
        let now = world::now();
        let accepted = CredentialKind::ALL.map(|kind| {
            let record = records.iter().find(|record| record.kind == kind);
            AcceptedSet::new(record, &self.operator_digests(kind), now)
        });
        let mut keys = cache.keys.write().unwrap_or_else(PoisonError::into_inner);
        for key in changes.keys {
            keys.insert(key.id.as_str().into(), Arc::new(key));
        }
        cache.documents.store(Arc::new(Documents { accepted, records }));
        *cache.revision.write().unwrap_or_else(PoisonError::into_inner) = changes.revision;
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

    fn issued(&self, id: &str) -> Result<Option<Arc<IssuedKey>>> {
        self.follow_credentials()?;
        Ok(self.credentials.keys.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned())
    }
}
