//! Where values are: a prefix of their records' ids, and their rows.
//!
//! Ids are as good as random, so in a B-tree every batch of an import would change nearly every page of it: that alone
//! would cost more than all the rest once there are millions. Few keys at a time go into a B-tree all the same
//! (`ioc_key`). A batch of many makes a run: its keys sorted, packed into pages that are written once. Where
//! [`FANOUT`] runs have about one size they become one, so a key is written a few times, in order, however many there
//! are, and a look-up asks a handful of runs.
//!
//! Everything happens in the transaction of the batch. A key is never taken away: what is removed keeps its row.

use std::collections::BTreeMap;

use rusqlite::{CachedStatement, Connection, Rows, Statement, Transaction, params};
use security_intel::Row;

use crate::fault::Trouble;

/// Keys that are worth a run of their own.
pub(super) const BULK: usize = 1000;
/// So many runs of about one size become one.
const FANOUT: usize = 4;
/// Keys of a page; with its head it fills one page of SQLite.
const KEYS_A_PAGE: usize = 320;
/// Bytes of a key, and of a row.
const HALF: usize = 6;
/// Bytes of both.
const ENTRY: usize = 2 * HALF;

/// The first six bytes of a key. Two values may share them: a row found is a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix(u64);

impl Prefix {
    /// How many it has.
    pub(super) const BITS: u32 = 48;

    pub(super) fn of(key: &[u8; 16]) -> Self {
        Self::read(key)
    }

    /// As a number below 2⁴⁸.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// `bytes` are six at least.
    fn read(bytes: &[u8]) -> Self {
        Self(number(&bytes[..HALF]))
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The id of the page of a run that begins with a prefix.
fn page_id(run: i64, prefix: Prefix) -> i64 {
    run << Prefix::BITS | i64::try_from(prefix.0).expect("48 bits")
}

const FIRST: Prefix = Prefix(0);
const LAST: Prefix = Prefix((1 << Prefix::BITS) - 1);

/// The rows that a key may be of.
pub(super) fn rows_of(connection: &Connection, key: &[u8; 16]) -> Result<Vec<Row>, Trouble> {
    let mut by_key = connection.prepare_cached("SELECT row FROM ioc_key WHERE key = ?1")?;
    let rows = by_key.query_map([&key[..8]], |row| row.get(0))?;
    let mut found = rows.collect::<Result<Vec<Row>, _>>()?;
    found.extend(find(connection, &[Prefix::of(key)])?.into_iter().map(|(row, _)| row));
    Ok(found)
}

/// The rows that keys in runs may be of, each with its key's place in `wanted`, which is sorted.
pub(super) fn find(connection: &Connection, wanted: &[Prefix]) -> Result<Vec<(Row, usize)>, Trouble> {
    let mut page_of = connection
        .prepare_cached("SELECT entries FROM key_page WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1")?;
    let mut found = Vec::new();
    for (run, _) in runs(connection)? {
        let mut at = 0;
        while at < wanted.len() {
            let mut rows = page_of.query([page_id(run, FIRST), page_id(run, wanted[at])])?;
            let Some(row) = rows.next()? else {
                at += 1;
                continue;
            };
            let page = Page::over(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
            let last = page.prefix(page.len() - 1);
            let (mut from, first) = (0, at);
            while at < wanted.len() && wanted[at] <= last {
                from = page.first_from(from, wanted[at]);
                let same = (from..page.len()).take_while(|entry| page.prefix(*entry) == wanted[at]);
                found.extend(same.map(|entry| (page.row(entry), at)));
                at += 1;
            }
            // Behind the page and before the next one: not in this run.
            at += usize::from(at == first);
        }
    }
    Ok(found)
}

/// Moves the keys of the B-tree into a run, before a batch of many.
pub(super) fn absorb(transaction: &Transaction<'_>) -> Result<(), Trouble> {
    let mut writer = RunWriter::begin(transaction)?;
    let mut by_key = transaction.prepare_cached("SELECT key, row FROM ioc_key ORDER BY key, row")?;
    let mut rows = by_key.query([])?;
    while let Some(row) = rows.next()? {
        let key: [u8; 8] = row.get(0)?;
        writer.push(Prefix::read(&key), row.get(1)?)?;
    }
    drop(rows);
    if writer.finish()? > 0 {
        transaction.execute("DELETE FROM ioc_key", [])?;
    }
    Ok(())
}

/// Writes the keys of a batch: many as a run, few into the B-tree.
pub(super) fn add(transaction: &Transaction<'_>, mut keys: Vec<([u8; 16], Row)>) -> Result<(), Trouble> {
    keys.sort_unstable();
    if keys.len() < BULK {
        let mut insert = transaction.prepare_cached("INSERT INTO ioc_key (key, row) VALUES (?1, ?2)")?;
        for (key, row) in &keys {
            insert.execute(params![&key[..8], row])?;
        }
        return Ok(());
    }
    let mut writer = RunWriter::begin(transaction)?;
    // Keys that differ behind their prefix alone are to stand by row.
    let mut entries: Vec<(Prefix, Row)> = keys.iter().map(|(key, row)| (Prefix::of(key), *row)).collect();
    entries.sort_unstable();
    for (prefix, row) in entries {
        writer.push(prefix, row)?;
    }
    writer.finish()?;
    while let Some(alike) = alike(&runs(transaction)?) {
        merge(transaction, &alike)?;
    }
    Ok(())
}

/// The runs and the number of keys in each.
pub(super) fn runs(connection: &Connection) -> Result<Vec<(i64, i64)>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT run, keys FROM key_run ORDER BY run")?;
    let runs = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(runs.collect::<Result<_, _>>()?)
}

/// Calls `told` with every key in the runs.
pub(super) fn each(connection: &Connection, mut told: impl FnMut(Prefix)) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached("SELECT entries FROM key_page")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let page = Page::over(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
        (0..page.len()).for_each(|at| told(page.prefix(at)));
    }
    Ok(())
}

/// Runs that are to become one: those of a size that enough of them have, and the smaller ones.
fn alike(runs: &[(i64, i64)]) -> Option<Vec<i64>> {
    let size = |keys: i64| (keys.unsigned_abs() / BULK as u64).max(1).ilog(FANOUT as u64);
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    runs.iter().for_each(|(_, keys)| *sizes.entry(size(*keys)).or_default() += 1);
    let (most, _) = sizes.into_iter().find(|(_, count)| *count >= FANOUT)?;
    Some(runs.iter().filter(|(_, keys)| size(*keys) <= most).map(|(run, _)| *run).collect())
}

fn merge(transaction: &Transaction<'_>, runs: &[i64]) -> Result<(), Trouble> {
    let mut statements: Vec<Statement<'_>> = Vec::with_capacity(runs.len());
    for _ in runs {
        let pages = "SELECT entries FROM key_page WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        statements.push(transaction.prepare(pages)?);
    }
    let mut cursors = Vec::with_capacity(runs.len());
    for (statement, run) in statements.iter_mut().zip(runs) {
        let rows = statement.query([page_id(*run, FIRST), page_id(*run, LAST)])?;
        cursors.extend(Cursor::begin(rows)?);
    }
    let mut writer = RunWriter::begin(transaction)?;
    while let Some((at, (prefix, row))) =
        cursors.iter().map(|cursor| cursor.next).enumerate().min_by_key(|(_, next)| *next)
    {
        writer.push(prefix, row)?;
        if !cursors[at].advance()? {
            drop(cursors.swap_remove(at));
        }
    }
    drop(cursors);
    drop(statements);
    writer.finish()?;
    for run in runs {
        transaction.execute(
            "DELETE FROM key_page WHERE id BETWEEN ?1 AND ?2",
            [page_id(*run, FIRST), page_id(*run, LAST)],
        )?;
        transaction.execute("DELETE FROM key_run WHERE run = ?1", [run])?;
    }
    Ok(())
}

/// The keys of a run one after the other.
struct Cursor<'s> {
    rows: Rows<'s>,
    page: Vec<u8>,
    at: usize,
    next: (Prefix, Row),
}

impl<'s> Cursor<'s> {
    /// `None` for a run without keys.
    fn begin(rows: Rows<'s>) -> Result<Option<Self>, Trouble> {
        let mut cursor = Self { rows, page: Vec::new(), at: 0, next: (FIRST, 0) };
        Ok(cursor.advance()?.then_some(cursor))
    }

    /// `false` at the end.
    fn advance(&mut self) -> Result<bool, Trouble> {
        if self.at * ENTRY >= self.page.len() {
            let Some(row) = self.rows.next()? else { return Ok(false) };
            self.page.clear();
            self.page.extend_from_slice(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
            self.at = 0;
        }
        let page = Page::over(&self.page)?;
        self.next = (page.prefix(self.at), page.row(self.at));
        self.at += 1;
        Ok(true)
    }
}

/// Entries of prefix and row, sorted; at least one.
struct Page<'p>(&'p [u8]);

impl<'p> Page<'p> {
    fn over(bytes: &'p [u8]) -> Result<Self, Trouble> {
        match !bytes.is_empty() && bytes.len().is_multiple_of(ENTRY) {
            true => Ok(Self(bytes)),
            false => Err(Trouble::Unreadable("a page of keys is cut short".to_owned())),
        }
    }

    fn len(&self) -> usize {
        self.0.len() / ENTRY
    }

    fn prefix(&self, at: usize) -> Prefix {
        Prefix::read(&self.0[at * ENTRY..])
    }

    fn row(&self, at: usize) -> Row {
        let bytes = &self.0[at * ENTRY + HALF..(at + 1) * ENTRY];
        Row::try_from(number(bytes)).expect("48 bits")
    }

    /// The first entry from `from` on whose prefix is not less.
    fn first_from(&self, from: usize, wanted: Prefix) -> usize {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.prefix(middle) < wanted {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

/// A run on its way, under a number that no other one has.
struct RunWriter<'t> {
    insert: CachedStatement<'t>,
    count: CachedStatement<'t>,
    run: i64,
    keys: i64,
    page: Vec<u8>,
    first: Prefix,
    last: Prefix,
}

impl<'t> RunWriter<'t> {
    fn begin(transaction: &'t Transaction<'_>) -> Result<Self, Trouble> {
        // Numbers are used again: they have to stay small.
        let used = runs(transaction)?;
        let run = (1..).find(|run| used.iter().all(|(known, _)| known != run)).expect("few are in use");
        Ok(Self {
            insert: transaction.prepare_cached("INSERT INTO key_page (id, entries) VALUES (?1, ?2)")?,
            count: transaction.prepare_cached("INSERT INTO key_run (run, keys) VALUES (?1, ?2)")?,
            run,
            keys: 0,
            page: Vec::with_capacity(ENTRY * KEYS_A_PAGE),
            first: FIRST,
            last: FIRST,
        })
    }

    /// Entries come sorted. Those of one prefix are never parted, so a page is found by its first one.
    fn push(&mut self, prefix: Prefix, row: Row) -> Result<(), Trouble> {
        if self.page.len() >= ENTRY * KEYS_A_PAGE && prefix != self.last {
            self.write_page()?;
        }
        if self.page.is_empty() {
            self.first = prefix;
        }
        self.page.extend_from_slice(&prefix.0.to_be_bytes()[8 - HALF..]);
        self.page.extend_from_slice(&row.to_be_bytes()[8 - HALF..]);
        self.last = prefix;
        self.keys += 1;
        Ok(())
    }

    fn write_page(&mut self) -> Result<(), Trouble> {
        self.insert.execute(params![page_id(self.run, self.first), self.page])?;
        self.page.clear();
        Ok(())
    }

    /// The number of keys; a run of none is not kept.
    fn finish(mut self) -> Result<i64, Trouble> {
        if self.keys > 0 {
            self.write_page()?;
            self.count.execute([self.run, self.keys])?;
        }
        Ok(self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "
        CREATE TABLE ioc_key (key BLOB NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (key, row)) WITHOUT ROWID;
        CREATE TABLE key_run (run INTEGER PRIMARY KEY, keys INTEGER NOT NULL);
        CREATE TABLE key_page (id INTEGER PRIMARY KEY, entries BLOB NOT NULL);
    ";

    /// Sixteen bytes that look random; every 97th key shares its first six with the one before.
    fn key(number: u64) -> [u8; 16] {
        let seed = (number - u64::from(number % 97 == 96)).wrapping_add(1);
        let first = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let mut key = [0; 16];
        key[..6].copy_from_slice(&first[..6]);
        key[8..].copy_from_slice(&number.to_be_bytes());
        key[6] = number as u8;
        key
    }

    #[test]
    fn every_key_is_found_through_every_size_of_batch_and_nothing_else_is() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let (mut next, mut most_runs) = (0_u64, 0);
        for size in [3, 1000, 5, 1200, 1000, 4000, 1000, 999, 1000, 9000, 1000, 1000, 1000, 1000, 2] {
            let transaction = connection.transaction().unwrap();
            if size >= BULK as u64 {
                absorb(&transaction).unwrap();
            }
            let keys = (next..next + size).map(|number| (key(number), number as Row + 1)).collect();
            add(&transaction, keys).unwrap();
            next += size;
            let runs = runs(&transaction).unwrap();
            most_runs = most_runs.max(runs.len());
            let small: i64 =
                transaction.query_row("SELECT count(*) FROM ioc_key", [], |row| row.get(0)).unwrap();
            let in_runs: i64 = runs.iter().map(|(_, keys)| keys).sum();
            assert_eq!(in_runs + small, next as i64, "each key stands once");
            transaction.commit().unwrap();
            for number in (0..next).step_by(7).chain(next - 1..next) {
                let found = rows_of(&connection, &key(number)).unwrap();
                assert!(found.contains(&(number as Row + 1)), "{number} of {next}");
                assert!(found.len() <= 2, "{found:?}");
            }
            assert!(
                (next..next + 500)
                    .filter(|number| number % 97 != 96)
                    .all(|number| { rows_of(&connection, &key(number)).unwrap().is_empty() })
            );
        }
        assert!(most_runs <= 2 * FANOUT, "{most_runs}");
        // Many at once, as a batch asks.
        absorb(&connection.transaction().unwrap()).unwrap();
        let transaction = connection.transaction().unwrap();
        absorb(&transaction).unwrap();
        let mut wanted: Vec<(Prefix, u64)> =
            (0..next + 5000).map(|number| (Prefix::of(&key(number)), number)).collect();
        wanted.sort_unstable();
        let prefixes: Vec<Prefix> = wanted.iter().map(|(prefix, _)| *prefix).collect();
        let mut found: Vec<u64> = find(&transaction, &prefixes)
            .unwrap()
            .into_iter()
            .filter(|(row, at)| *row as u64 == wanted[*at].1 + 1)
            .map(|(_, at)| wanted[at].1)
            .collect();
        found.sort_unstable();
        assert_eq!(found, (0..next).collect::<Vec<_>>());
    }

    #[test]
    fn a_page_that_is_cut_short_is_told() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection.execute("INSERT INTO key_run VALUES (1, 1)", []).unwrap();
        connection.execute("INSERT INTO key_page VALUES (?1, x'0102')", [page_id(1, FIRST)]).unwrap();
        assert!(matches!(rows_of(&connection, &[9; 16]), Err(Trouble::Unreadable(_))));
    }
}
