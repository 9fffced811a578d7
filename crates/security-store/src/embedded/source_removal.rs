//! Taking back everything that one source said.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};
use security_core::{Domain, StoreFault};
use security_indicators::IocType;
use security_intel::{IocRecord, Row, SourceRemoval};

use super::{
    EmbeddedStore,
    indicator_batch::{ADD_TEXT, texts},
    indicator_record,
    indicators::{count, revision},
    pool::Done,
    whole,
};

impl EmbeddedStore {
    /// Takes the word of a source off up to `limit` records, in one transaction.
    pub(super) fn take_back(&self, source: &str, limit: usize) -> Result<SourceRemoval, StoreFault> {
        self.indicators.write(Some(Domain::Indicators), |transaction| {
            let mut rows = transaction.prepare_cached("SELECT row FROM source WHERE source = ?1 LIMIT ?2")?;
            let rows = rows.query_map(params![source, whole(limit)], |row| row.get::<_, Row>(0))?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            if rows.is_empty() {
                return Ok(Done::Unchanged(SourceRemoval::default()));
            }
            let prepare = |sql| transaction.prepare_cached(sql);
            let mut read = prepare("SELECT kind, value, record FROM ioc WHERE row = ?1 AND removed = 0")?;
            let mut forget_source = prepare("DELETE FROM source WHERE source = ?1 AND row = ?2")?;
            let mut forget_tag = prepare("DELETE FROM tag WHERE tag = ?1 AND row = ?2")?;
            let mut forget_text = prepare("DELETE FROM ioc_text WHERE rowid = ?1")?;
            let mut text = prepare(ADD_TEXT)?;
            let mut remove =
                prepare("UPDATE ioc SET removed = 1, record = NULL, revision = ?2 WHERE row = ?1")?;
            let mut update =
                prepare("UPDATE ioc SET confidence = ?2, last_seen = ?3, record = ?4 WHERE row = ?1")?;
            let mut revision = revision(transaction)?.0;
            let (mut done, mut gone): (_, BTreeMap<IocType, i64>) =
                (SourceRemoval::default(), BTreeMap::new());
            for row in rows {
                forget_source.execute(params![source, row])?;
                let found = read.query_row([row], |found| Ok(indicator_record::read(found, 0))).optional()?;
                let Some(mut known): Option<IocRecord> = found.transpose()? else { continue };
                forget_text.execute([row])?;
                if known.take_back(source) {
                    let (tags, sources) = texts(&known);
                    text.execute(params![row, known.value, known.description, tags, sources])?;
                    let (seen, written) = (known.last_seen.as_micros(), indicator_record::write(&known)?);
                    update.execute(params![row, known.confidence, seen, written])?;
                    done.kept += 1;
                    continue;
                }
                for tag in &known.tags {
                    forget_tag.execute(params![tag, row])?;
                }
                revision += 1;
                remove.execute(params![row, whole(revision)])?;
                *gone.entry(known.kind).or_default() -= 1;
                done.removed += 1;
            }
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
