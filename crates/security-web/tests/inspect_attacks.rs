//! The second bar of payload inspection: what must be refused at paranoia 1. Of each class, 95 of 100 attacks, each in
//! the query and in one more place and encoding; the missed ones are printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod payloads;

use std::collections::BTreeMap;

use payloads::{Group, PLACES, placed_as};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    class: Vec<Class>,
}

#[derive(Deserialize)]
struct Class {
    category: String,
    #[serde(default)]
    sets: BTreeMap<String, Vec<String>>,
    attack: Vec<Group>,
}

const TABLES: [&str; 5] = [
    include_str!("../../../testdata/inspect/attack_sql.toml"),
    include_str!("../../../testdata/inspect/attack_xss.toml"),
    include_str!("../../../testdata/inspect/attack_files.toml"),
    include_str!("../../../testdata/inspect/attack_commands.toml"),
    include_str!("../../../testdata/inspect/attack_structures.toml"),
];

/// Written later and in one go, against detectors that did not know them.
const SECOND_TABLE: &str = include_str!("../../../testdata/inspect/attack_second.toml");

/// Likewise, later still.
const THIRD_TABLE: &str = include_str!("../../../testdata/inspect/attack_third.toml");

/// Kinds that samples from elsewhere showed to be missed.
const FOURTH_TABLE: &str = include_str!("../../../testdata/inspect/attack_fourth.toml");

#[test]
fn attacks_are_refused() {
    let n_values = refuses(&TABLES, 60);
    assert!(n_values >= 1500, "{n_values}");
}

#[test]
fn attacks_of_the_second_look_are_refused() {
    let n_values = refuses(&[SECOND_TABLE], 16);
    assert!(n_values >= 500, "{n_values}");
}

#[test]
fn attacks_of_the_third_look_are_refused() {
    let n_values = refuses(&[THIRD_TABLE], 12);
    assert!(n_values >= 250, "{n_values}");
}

#[test]
fn attacks_that_samples_showed_are_refused() {
    let n_values = refuses(&[FOURTH_TABLE], 6);
    assert!(n_values >= 95, "{n_values}");
}

/// Tries every value of some tables, of which each class has to have `fewest`, and gives how many there were.
fn refuses(tables: &[&str], fewest: usize) -> usize {
    let (mut n_values, mut n_all, mut missed) = (0, 0, Vec::new());
    let mut short = Vec::new();
    for table in tables {
        let table: Table = toml::from_str(table).unwrap();
        for class in &table.class {
            let (mut n_tried, mut n_missed, mut n_here) = (0, 0, 0);
            // Boxes for searching fetch nothing.
            let name = if matches!(class.category.as_str(), "ssrf" | "file-inclusion") { "url" } else { "q" };
            for group in &class.attack {
                for value in group.values(&class.sets) {
                    // The query, and the other places in turn.
                    let mut place = n_here % PLACES.len();
                    // A server makes no request to where it is asked for.
                    if place == 0 && name == "url" {
                        place = 1;
                    }
                    let other = if place == 0 { "path" } else { PLACES[place] };
                    for place in [PLACES[0], other] {
                        n_tried += 1;
                        if !placed_as(name, place, &value).is_denied {
                            n_missed += 1;
                            missed.push(format!("{}/{} {place}: {value:?} []", class.category, group.kind));
                        }
                    }
                    n_here += 1;
                }
            }
            n_values += n_here;
            n_all += n_tried;
            println!("{}: {n_missed} of {n_tried} missed, {n_here} values", class.category);
            if n_missed * 20 > n_tried || n_here < fewest {
                short.push(format!("{}: {n_missed} of {n_tried} missed, {n_here} values", class.category));
            }
        }
    }
    println!("{n_values} values, {} of {n_all} missed:\n{}", missed.len(), missed.join("\n"));
    assert!(short.is_empty(), "{}", short.join("\n"));
    n_values
}
