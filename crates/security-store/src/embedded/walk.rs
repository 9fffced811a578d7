//! Walking over records newest first, with few of them in memory and none read twice.

use rusqlite::{Connection, params_from_iter, types::Value};
use security_core::StoreFault;

use super::{pool::Database, whole};
use crate::fault::Trouble;

/// Places looked up at first: most walks end soon.
const FIRST: usize = 256;
/// Places looked up at once later on. Each look-up may have to find all that pass (full text, tags), so their
/// number must not grow with what is passed by; the places themselves take 2 MiB.
const MOST: usize = 131_072;

/// Calls `each` with every record whose place `places` gives, newest first, until it answers `false`.
///
/// `places` is SQL for `(time, row)` in falling order; of its parameters the first two are the place before which to
/// go on, the last one is how many are wanted, `values` stand between. `read` gets the records of up to `together`
/// rows; those that are gone are left out. What changes meanwhile may be met as it was or as it is, never twice.
pub(super) fn newest_first<T>(
    database: &Database,
    places: &str,
    values: &[Value],
    together: usize,
    read: impl Fn(&Connection, &[i64]) -> Result<Vec<T>, Trouble>,
    each: &mut dyn FnMut(T) -> bool,
) -> Result<(), StoreFault> {
    let (mut before, mut wanted) = ((i64::MAX, i64::MAX), FIRST);
    loop {
        let found = database.read(|connection| {
            let mut bound = vec![Value::from(before.0), Value::from(before.1)];
            bound.extend(values.iter().cloned());
            bound.push(Value::from(whole(wanted)));
            let mut statement = connection.prepare_cached(places)?;
            let mut rows = statement.query(params_from_iter(&bound))?;
            let mut found: Vec<(i64, i64)> = Vec::new();
            while let Some(row) = rows.next()? {
                found.push((row.get(0)?, row.get(1)?));
            }
            Ok(found)
        })?;
        for some in found.chunks(together) {
            let rows: Vec<i64> = some.iter().map(|(_, row)| *row).collect();
            // No connection is held while `each` runs: it may take its time, call the store again, or fork.
            let records = database.read(|connection| read(connection, &rows))?;
            if !records.into_iter().all(&mut *each) {
                return Ok(());
            }
        }
        match found.last() {
            Some(last) if found.len() == wanted => before = *last,
            _ => return Ok(()),
        }
        wanted = wanted.saturating_mul(8).min(MOST);
    }
}
