//! Tags and sources: records that bear one of several, letter case aside.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use crate::fault::Trouble;

/// A label on so many records at most is looked up first; one on more is asked of each record in the order wanted,
/// which finds the first ones soon.
pub(super) const RARE: i64 = 20_000;

/// A condition on the rows of `records`, with one parameter, the value given with it; `None` when no record bears any
/// of the labels. `table` names the table of labels and its column.
pub(super) fn any_of(
    connection: &Connection,
    table: &str,
    records: &str,
    wanted: &[String],
) -> Result<Option<(String, String)>, Trouble> {
    let spellings = spellings(connection, table, wanted)?;
    if spellings.is_empty() {
        return Ok(None);
    }
    // One parameter for any number of labels, so that the statement stays the same.
    let spellings = serde_json::to_string(&spellings)?;
    let rows = format!("SELECT row FROM {table} WHERE {table} IN (SELECT value FROM json_each(?))");
    let counted = format!("SELECT count(*) FROM ({rows} LIMIT {})", RARE + 1);
    let count: i64 = connection.prepare_cached(&counted)?.query_row([&spellings], |row| row.get(0))?;
    let condition = match count <= RARE {
        true => format!("row IN ({rows})"),
        false => format!("EXISTS ({rows} AND {table}.row = {records}.row)"),
    };
    Ok(Some((condition, spellings)))
}

/// The labels in use that are among the wanted, as they are spelt. Each label in use costs one step in its index,
/// however many records bear it.
fn spellings(connection: &Connection, table: &str, wanted: &[String]) -> Result<Vec<String>, Trouble> {
    let wanted: BTreeSet<String> = wanted.iter().map(|label| label.to_lowercase()).collect();
    let next = format!("SELECT {table} FROM {table} WHERE {table} > ? ORDER BY {table} LIMIT 1");
    let first = format!("SELECT {table} FROM {table} ORDER BY {table} LIMIT 1");
    let mut label: Option<String> =
        connection.prepare_cached(&first)?.query_row([], |row| row.get(0)).optional()?;
    let mut next = connection.prepare_cached(&next)?;
    let mut found = Vec::new();
    while let Some(known) = label {
        label = next.query_row([&known], |row| row.get(0)).optional()?;
        if wanted.contains(&known.to_lowercase()) {
            found.push(known);
        }
    }
    Ok(found)
}
