//! Taking back everything that one source said.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};
use security_core::{Domain, StoreFault};
use security_indicators::IocType;
use security_intel::{IocRecord, Row, SourceRemoval};

use super::{
    EmbeddedStore, indicator_record,
    indicators::{count, revision},
    key_runs::BULK,
    pool::Done,
    text_due::{Text, TextState},
    whole,
};

impl EmbeddedStore {
    /// Takes the word of a source off up to `limit` records, in one transaction.
    pub(super) fn take_back(&self, source: &str, limit: usize) -> Result<SourceRemoval, StoreFault> {
        self.indicators.write(Some(Domain::Indicators), |transaction| {
            let mut rows = transaction
                .prepare_cached("SELECT row FROM source WHERE source = ?1 ORDER BY row LIMIT ?2")?;
            let rows = rows.query_map(params![source, whole(limit)], |row| row.get::<_, Row>(0))?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            if rows.is_empty() {
                return Ok(Done::Unchanged(SourceRemoval::default()));
            }
            let text = TextState::before(transaction, rows.len() >= BULK)?;
            let prepare = |sql| transaction.prepare_cached(sql);
            let mut read = prepare("SELECT kind, value, record FROM ioc WHERE row = ?1 AND removed = 0")?;
            let mut forget_tag = prepare("DELETE FROM tag WHERE tag = ?1 AND row = ?2")?;
            let mut remove =
                prepare("UPDATE ioc SET removed = 1, record = NULL, revision = ?2 WHERE row = ?1")?;
            let mut update =
                prepare("UPDATE ioc SET confidence = ?2, last_seen = ?3, record = ?4 WHERE row = ?1")?;
            let mut revision = revision(transaction)?.0;
            let (mut removed, mut gone): (_, BTreeMap<IocType, i64>) = (0, BTreeMap::new());
            let (mut kept, mut written): (Vec<(Row, IocRecord)>, _) = (Vec::new(), Vec::new());
            // They come in the order of their rows, so these are all up to the last one.
            prepare("DELETE FROM source WHERE source = ?1 AND row <= ?2")?
                .execute(params![source, rows.last()])?;
            for row in rows {
                let found = read.query_row([row], |found| Ok(indicator_record::read(found, 0))).optional()?;
                let Some(mut known): Option<IocRecord> = found.transpose()? else { continue };
                if known.take_back(source) {
                    indicator_record::write(&known, &mut written)?;
                    let record = indicator_record::Written(&written);
                    update.execute(params![row, known.confidence, known.last_seen.as_micros(), record])?;
                    kept.push((row, known));
                    continue;
                }
                text.forget(transaction, row)?;
                for tag in &known.tags {
                    forget_tag.execute(params![tag, row])?;
                }
                revision += 1;
                remove.execute(params![row, whole(revision)])?;
                *gone.entry(known.kind).or_default() -= 1;
                removed += 1;
            }
            text.write(transaction, kept.iter().map(|(row, known)| (*row, Text::of(known))))?;
            let done = SourceRemoval { removed, kept: kept.len() };
            // Every change moves the revision, also one that left every record listed.
            revision += u64::from(done.removed == 0);
            transaction.execute("UPDATE revision SET value = ?1", [whole(revision)])?;
            for (kind, change) in gone {
                count(transaction, kind, change)?;
            }
            Ok(Done::Changed(done))
        })
    }
}
