//! Bans, beside the credentials: both say who may come in, and both are followed by the same word.

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use security_core::{Domain, Revision, StoreFault, Timestamp};
use security_web::{Ban, BanStore, MAX_BANS};

use super::{EmbeddedStore, credentials::sum, pool::Done, whole};
use crate::fault::Trouble;

impl BanStore for EmbeddedStore {
    fn bans_since(&self, since: Revision) -> Result<Option<(Revision, Vec<Ban>)>, StoreFault> {
        self.opened_credentials().read_one_state(|connection| {
            let revision = revision(connection)?;
            if revision == since {
                return Ok(None);
            }
            let mut statement = connection.prepare_cached("SELECT network, until, sum, record FROM ban")?;
            let mut rows = statement.query([])?;
            let mut bans = Vec::new();
            while let Some(row) = rows.next()? {
                bans.push(read(row)?);
            }
            Ok(Some((revision, bans)))
        })
    }

    fn put_ban(&self, ban: &Ban, now: Timestamp) -> Result<(), StoreFault> {
        let path = self.credentials.path();
        let record = serde_json::to_string(ban).map_err(|error| Trouble::from(error).at(path))?;
        let (network, until) = (ban.network.to_string(), ban.until.as_micros());
        self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
            transaction.prepare_cached("DELETE FROM ban WHERE until <= ?1")?.execute([now.as_micros()])?;
            let others: i64 = transaction
                .prepare_cached("SELECT count(*) FROM ban WHERE network <> ?1")?
                .query_row([&network], |row| row.get(0))?;
            if others >= whole(MAX_BANS) {
                let full = StoreFault::new("store-full-of-bans", format!("{MAX_BANS} bans are in force"));
                return Err(full
                    .with_hint("lift some, ban a wider network, or list addresses as indicators")
                    .into());
            }
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO ban (network, until, sum, record) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![network, until, sum(&network, 0, until, &record), record])?;
            change(transaction)?;
            Ok(Done::Changed(()))
        })
    }

    fn lift_ban(&self, network: IpNet) -> Result<Option<Ban>, StoreFault> {
        self.opened_credentials().write(Some(Domain::Credentials), |transaction| {
            let lifted = transaction
                .prepare_cached("DELETE FROM ban WHERE network = ?1 RETURNING network, until, sum, record")?
                .query_row([network.to_string()], |row| Ok(read(row)))
                .optional()?;
            match lifted {
                None => Ok(Done::Unchanged(None)),
                Some(ban) => {
                    change(transaction)?;
                    // One that cannot be read any more is gone all the same.
                    Ok(Done::Changed(ban.ok()))
                }
            }
        })
    }
}

fn read(row: &rusqlite::Row<'_>) -> Result<Ban, Trouble> {
    let text =
        |at| -> Result<&str, Trouble> { Ok(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?) };
    let (network, record) = (text(0)?, text(3)?);
    if sum(network, 0, row.get(1)?, record) != row.get::<_, i64>(2)? {
        return Err(Trouble::Unreadable(format!(
            "the ban of `{}` has changed by itself",
            network.escape_debug()
        )));
    }
    Ok(serde_json::from_str(record)?)
}

fn revision(connection: &Connection) -> rusqlite::Result<Revision> {
    let value: i64 =
        connection.prepare_cached("SELECT value FROM ban_revision")?.query_row([], |row| row.get(0))?;
    Ok(Revision(value.unsigned_abs()))
}

fn change(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    transaction.prepare_cached("UPDATE ban_revision SET value = value + 1")?.execute([])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use std::sync::Arc;

    use security_core::{ChangeSignal, Coded};

    use super::*;

    struct Silent;

    impl ChangeSignal for Silent {
        fn begin(&self, _: Domain) {}
        fn finish(&self, _: Domain) {}
    }

    #[test]
    fn a_full_store_refuses_another_network_and_not_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), Arc::new(Silent)).unwrap();
        let ban = |number: u32| Ban {
            network: IpNet::from(std::net::IpAddr::from(number.to_be_bytes())),
            reason: String::new(),
            since: Timestamp::from_seconds(0),
            until: Timestamp::from_seconds(100),
            by: String::new(),
        };
        // In one transaction: ten thousand of them, each synced, would take a minute.
        let fill = |transaction: &Transaction<'_>| {
            for number in 0..u32::try_from(MAX_BANS).unwrap() {
                transaction
                    .prepare_cached("INSERT INTO ban VALUES (?1, 100000000, 0, '')")?
                    .execute([ban(number).network.to_string()])?;
            }
            Ok(Done::Changed(()))
        };
        store.opened_credentials().write(None, fill).unwrap();
        let now = Timestamp::from_seconds(1);
        let refused = store.put_ban(&ban(u32::MAX), now).unwrap_err();
        assert_eq!(refused.code(), "store-full-of-bans");
        store.put_ban(&ban(7), now).unwrap();
        // What is over makes room.
        store
            .put_ban(
                &Ban { until: Timestamp::from_seconds(300), ..ban(u32::MAX) },
                Timestamp::from_seconds(200),
            )
            .unwrap();
        assert_eq!(store.bans_since(Revision(0)).unwrap().unwrap().1.len(), 1);
    }
}
