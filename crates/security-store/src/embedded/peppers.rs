//! Which peppers there are, and putting digests under another one in the place of old ones. The keys themselves are not here.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use security_core::{Domain, Revision, StoreFault, Timestamp};
use security_credentials::{
    CredentialKind, CredentialRecord, Digest, HistoryEntry, IssuedKey, PepperVersion, Peppers,
};

use super::{
    EmbeddedStore,
    credentials::{self, CREDENTIAL, ISSUED_KEY, add_history},
    foreign_keys::lookup_bytes,
    pool::Done,
    whole,
};
use crate::fault::Trouble;

/// A pepper that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPepper {
    /// Its version.
    pub version: PepperVersion,
    /// Which key it is, 16 hex digits.
    pub key_id: String,
    /// When it was put in force.
    pub made_at: Timestamp,
    /// Where limits are counted, the same for all versions.
    pub limit_seed: u64,
}

/// A digest of something that was checked, to be put in the place of the one under an older pepper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// Of an issued key's token.
    Key {
        /// The key's id.
        id: String,
        /// The digest it was checked by.
        old: Digest,
        /// The one under the newest pepper.
        new: Digest,
    },
    /// Of one of the document's credentials.
    Value {
        /// Which one.
        kind: CredentialKind,
        /// The digest it was checked by.
        old: Digest,
        /// The one under the newest pepper.
        new: Digest,
    },
    /// Of what finds an imported key.
    Lookup {
        /// What found it.
        old: Digest,
        /// The one under the newest pepper.
        new: Digest,
    },
}

impl EmbeddedStore {
    /// The peppers, the newest first; none before the first was made known.
    /// # Errors
    /// When the store cannot be read.
    pub fn peppers(&self) -> Result<Vec<KnownPepper>, StoreFault> {
        self.opened_credentials().read(known)
    }

    /// Makes the first pepper known, unless one is: `make` gives its id and the seed of limits.
    /// # Errors
    /// When the store cannot be written, and what `make` says.
    pub fn first_pepper(
        &self,
        now: Timestamp,
        make: &mut dyn FnMut() -> Result<(String, u64), StoreFault>,
    ) -> Result<Vec<KnownPepper>, StoreFault> {
        self.opened_credentials().write(None, |transaction| {
            let found = known(transaction)?;
            if !found.is_empty() {
                return Ok(Done::Unchanged(found));
            }
            let (key_id, limit_seed) = make()?;
            insert(transaction, &key_id, now, limit_seed)?;
            Ok(Done::Changed(known(transaction)?))
        })
    }

    /// Puts another pepper in force, behind whose version nothing is made any more that names an older one. `prepare` makes
    /// its key durable, before it is known.
    /// # Errors
    /// A conflict when `newest` is not the newest any more; `pepper-too-many` when as many are needed as can be; when the store
    /// cannot be written; what `prepare` says. Nothing changed then, but the key's file may be there.
    pub fn add_pepper(
        &self,
        newest: PepperVersion,
        key_id: &str,
        now: Timestamp,
        prepare: &mut dyn FnMut() -> Result<(), StoreFault>,
        line: &HistoryEntry,
    ) -> Result<PepperVersion, StoreFault> {
        let version = self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
            let found = known(transaction)?;
            let Some(present) = found.first().filter(|present| present.version == newest) else {
                return Err(StoreFault::conflict("the pepper").into());
            };
            if found.len() >= Peppers::MOST {
                let message = format!("{} peppers are still needed, and no more can be", found.len());
                return Err(StoreFault::new("pepper-too-many", message)
                    .with_hint(
                        "`security key peppers` says by what; let go of one by `security key drop-pepper`",
                    )
                    .into());
            }
            prepare()?;
            let version = insert(transaction, key_id, now, present.limit_seed)?;
            add_history(transaction, line)?;
            Ok(Done::Changed(version))
        })?;
        self.history_file.catch_up(&self.credentials);
        Ok(version)
    }

    /// Gives a pepper up: nothing names it any more from then on but what needs none. `is_needed` is asked for the keys that
    /// changed since `since`, up to which the caller has looked itself; and values of credentials whose digests are under it
    /// are forgotten, unless `keeps` says that one needs it.
    /// # Errors
    /// A conflict when something needs it, or it is the newest or unknown; when the store cannot be written.
    pub fn drop_pepper(
        &self,
        version: PepperVersion,
        since: Revision,
        is_needed: &dyn Fn(&IssuedKey) -> bool,
        keeps: &dyn Fn(&CredentialRecord) -> bool,
        line: &HistoryEntry,
    ) -> Result<(), StoreFault> {
        self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
            let conflict = || Trouble::from(StoreFault::conflict("the pepper"));
            let found = known(transaction)?;
            if !found.iter().skip(1).any(|pepper| pepper.version == version)
                || ISSUED_KEY.since::<IssuedKey>(transaction, since)?.iter().any(is_needed)
            {
                return Err(conflict());
            }
            let records = CREDENTIAL.since::<CredentialRecord>(transaction, Revision::default())?;
            for mut record in records {
                if keeps(&record) {
                    return Err(conflict());
                }
                if record.forget_under(version) {
                    credentials::put(
                        transaction,
                        &CREDENTIAL,
                        record.kind.as_str(),
                        record.version,
                        &record,
                    )?;
                }
            }
            transaction
                .prepare_cached("UPDATE pepper SET dropped = 1 WHERE version = ?1")?
                .execute([version.number()])?;
            add_history(transaction, line)?;
            Ok(Done::Changed(()))
        })?;
        self.history_file.catch_up(&self.credentials);
        Ok(())
    }

    /// Forgets the peppers that were given up, once `remove` has removed their keys; one killed in between is ended by the next.
    /// # Errors
    /// When the store cannot be written, and what `remove` says.
    pub fn forget_dropped_peppers(
        &self,
        remove: &mut dyn FnMut(PepperVersion, &str) -> Result<(), StoreFault>,
    ) -> Result<(), StoreFault> {
        self.opened_credentials().write(None, |transaction| {
            let dropped = rows(transaction, 1)?;
            for pepper in &dropped {
                remove(pepper.version, &pepper.key_id)?;
                transaction
                    .prepare_cached("DELETE FROM pepper WHERE version = ?1")?
                    .execute([pepper.version.number()])?;
            }
            Ok(if dropped.is_empty() { Done::Unchanged(()) } else { Done::Changed(()) })
        })
    }

    /// Puts digests in the places of old ones, wherever these still stand; how many.
    /// # Errors
    /// When the store cannot be written; then none is.
    pub fn renew_digests(&self, renewals: &[Renewal]) -> Result<usize, StoreFault> {
        self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
            let mut renewed = 0;
            let wanted = renewals.iter().map(|renewal| match renewal {
                Renewal::Key { new, .. } | Renewal::Value { new, .. } | Renewal::Lookup { new, .. } => {
                    new.pepper()
                }
            });
            expect_known(transaction, wanted)?;
            for renewal in renewals {
                let is_done = match renewal {
                    Renewal::Key { id, old, new } => {
                        let key = ISSUED_KEY.one::<IssuedKey>(transaction, id)?;
                        let renewed = key.and_then(|mut key| key.renew(old, *new).then_some(key));
                        match renewed {
                            Some(key) => credentials::put(transaction, &ISSUED_KEY, id, key.version, &key)?,
                            None => false,
                        }
                    }
                    Renewal::Value { kind, old, new } => {
                        let record = CREDENTIAL.one::<CredentialRecord>(transaction, kind.as_str())?;
                        let renewed =
                            record.and_then(|mut record| record.renew(&[(*old, *new)]).then_some(record));
                        match renewed {
                            Some(record) => {
                                let (kind, version) = (kind.as_str(), record.version);
                                credentials::put(transaction, &CREDENTIAL, kind, version, &record)?
                            }
                            None => false,
                        }
                    }
                    Renewal::Lookup { old, new } => {
                        let changed = transaction
                            .prepare_cached("UPDATE OR IGNORE foreign_key SET lookup = ?2 WHERE lookup = ?1")?
                            .execute(params![lookup_bytes(old), lookup_bytes(new)])?;
                        changed == 1
                    }
                };
                renewed += usize::from(is_done);
            }
            Ok(if renewed == 0 { Done::Unchanged(0) } else { Done::Changed(renewed) })
        })
    }
}

fn known(connection: &Connection) -> Result<Vec<KnownPepper>, Trouble> {
    rows(connection, 0)
}

fn rows(connection: &Connection, dropped: i64) -> Result<Vec<KnownPepper>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT version, key_id, made_at, limit_seed FROM pepper WHERE dropped = ?1 ORDER BY version DESC",
    )?;
    let mut rows = statement.query([dropped])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let version = u32::try_from(row.get::<_, i64>(0)?).ok().and_then(PepperVersion::new);
        found.push(KnownPepper {
            version: version.ok_or_else(|| Trouble::Unreadable("a pepper has no version".to_owned()))?,
            key_id: row.get(1)?,
            made_at: Timestamp::from_micros(row.get(2)?),
            limit_seed: row.get::<_, i64>(3)?.cast_unsigned(),
        });
    }
    Ok(found)
}

/// Versions are given once: also those that were given up count.
fn insert(
    transaction: &Transaction<'_>,
    key_id: &str,
    now: Timestamp,
    limit_seed: u64,
) -> Result<PepperVersion, Trouble> {
    let version: i64 = transaction
        .prepare_cached(
            "INSERT INTO pepper (key_id, made_at, limit_seed) VALUES (?1, ?2, ?3) RETURNING version",
        )?
        .query_row(params![key_id, now.as_micros(), limit_seed.cast_signed()], |row| row.get(0))?;
    let version = u32::try_from(version).ok().and_then(PepperVersion::new);
    version.ok_or_else(|| Trouble::Unreadable("there are too many versions of the pepper".to_owned()))
}

/// Refuses a change that names a pepper which was given up meanwhile: nobody could check by it. A store that names no
/// pepper yet takes any.
pub(super) fn expect_known(
    transaction: &Transaction<'_>,
    wanted: impl IntoIterator<Item = PepperVersion>,
) -> Result<(), Trouble> {
    let mut last = None;
    for version in wanted {
        if last == Some(version) {
            continue;
        }
        let is_known: Option<bool> = transaction
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM pepper WHERE version = ?1 AND dropped = 0) WHERE EXISTS (SELECT 1 FROM pepper)",
            )?
            .query_row([whole(u64::from(version.number()))], |row| row.get(0))
            .optional()?;
        if is_known == Some(false) {
            return Err(StoreFault::conflict("the pepper").into());
        }
        last = Some(version);
    }
    Ok(())
}
