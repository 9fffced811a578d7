//! Alerts for queries; the tamper-evident copy is the journal's.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use security_core::{Severity, StoreFault};
use security_threat::{Alert, AlertStore};

use super::{EmbeddedStore, pool::Done, whole};
use crate::fault::Trouble;

/// The newest alerts are kept, so many of them; the rest is in the journal.
pub const MAX_ALERTS: usize = 100_000;

/// So many more may stand there before the oldest are removed, so that not every alert removes one.
const SLACK: i64 = 1000;

impl AlertStore for EmbeddedStore {
    fn save_alerts(&self, alerts: &[Alert]) -> Result<(), StoreFault> {
        if alerts.is_empty() {
            return Ok(());
        }
        self.alerts.write(None, |transaction| {
            let mut counts = BTreeMap::new();
            let mut statement = transaction.prepare_cached(
                "INSERT INTO alert (id, at, severity, record) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?;
            for alert in alerts {
                let record = serde_json::to_string(alert)?;
                let (at, severity) = (alert.at.as_micros(), alert.severity.as_str());
                let stored = statement.execute(params![alert.id, at, severity, record])?;
                *counts.entry(severity.to_owned()).or_insert(0) += whole(stored);
            }
            count(transaction, &counts)?;
            forget_oldest(transaction)?;
            Ok(Done::Changed(()))
        })
    }

    fn recent_alerts(&self, severity: Option<Severity>, limit: usize) -> Result<Vec<Alert>, StoreFault> {
        self.alerts.read(|connection| {
            let mut statement = connection.prepare_cached(match severity {
                Some(_) => "SELECT record FROM alert WHERE severity = ?1 ORDER BY at DESC, row DESC LIMIT ?2",
                None => "SELECT record FROM alert WHERE ?1 IS NULL ORDER BY at DESC, row DESC LIMIT ?2",
            })?;
            let mut rows = statement.query(params![severity.map(Severity::as_str), whole(limit)])?;
            let mut alerts = Vec::new();
            while let Some(row) = rows.next()? {
                alerts.push(serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
            }
            Ok(alerts)
        })
    }

    fn count_alerts(&self) -> Result<Vec<(Severity, u64)>, StoreFault> {
        self.alerts.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT severity, records FROM tally WHERE records > 0")?;
            let mut rows = statement.query([])?;
            let mut counts = Vec::new();
            while let Some(row) = rows.next()? {
                if let Ok(severity) = row.get::<_, String>(0)?.parse() {
                    counts.push((severity, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)));
                }
            }
            counts.sort();
            Ok(counts)
        })
    }
}

fn forget_oldest(transaction: &Transaction<'_>) -> Result<(), Trouble> {
    let total: i64 = transaction.query_row("SELECT sum(records) FROM tally", [], |row| row.get(0))?;
    let spare = total - whole(MAX_ALERTS);
    if spare <= SLACK {
        return Ok(());
    }
    let mut counts = BTreeMap::new();
    {
        let sql = "DELETE FROM alert WHERE row IN (SELECT row FROM alert ORDER BY at, row LIMIT ?1)
                   RETURNING severity";
        let mut statement = transaction.prepare_cached(sql)?;
        let mut rows = statement.query([spare])?;
        while let Some(row) = rows.next()? {
            *counts.entry(row.get::<_, String>(0)?).or_insert(0) -= 1;
        }
    }
    count(transaction, &counts)?;
    Ok(())
}

fn count(transaction: &Transaction<'_>, changes: &BTreeMap<String, i64>) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO tally (severity, records) VALUES (?1, ?2)
         ON CONFLICT (severity) DO UPDATE SET records = records + excluded.records",
    )?;
    for (severity, change) in changes {
        statement.execute(params![severity, change])?;
    }
    Ok(())
}
