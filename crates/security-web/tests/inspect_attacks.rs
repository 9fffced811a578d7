//! The second bar of payload inspection: what must be refused at paranoia 1. Of each class, 95 of 100 attacks, each in
//! the query and in one more place and encoding; the missed ones are printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod payloads;

use std::collections::BTreeMap;

use payloads::{Group, PLACES, placed};
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

#[test]
fn attacks_are_refused() {
    let (mut n_values, mut missed) = (0, Vec::new());
    let mut short = Vec::new();
    for table in TABLES {
        let table: Table = toml::from_str(table).unwrap();
        for class in &table.class {
            let (mut n_tried, mut n_missed, mut n_here) = (0, 0, 0);
            for group in &class.attack {
                for value in group.values(&class.sets) {
                    // The query, and the other places in turn.
                    let mut place = n_here % PLACES.len();
                    // A server makes no request to where it is asked for.
                    if place == 0 && class.category == "ssrf" {
                        place = 1;
                    }
                    let other = if place == 0 { "path" } else { PLACES[place] };
                    for place in [PLACES[0], other] {
                        n_tried += 1;
                        if !placed(place, &value).is_denied {
                            n_missed += 1;
                            missed.push(format!("{}/{} {place}: {value:?} []", class.category, group.kind));
                        }
                    }
                    n_here += 1;
                }
            }
            n_values += n_here;
            println!("{}: {n_missed} of {n_tried} missed, {n_here} values", class.category);
            if n_missed * 20 > n_tried || n_here < 60 {
                short.push(format!("{}: {n_missed} of {n_tried} missed, {n_here} values", class.category));
            }
        }
    }
    println!("{n_values} values; missed:\n{}", missed.join("\n"));
    assert!(n_values >= 1500, "{n_values}");
    assert!(short.is_empty(), "{}", short.join("\n"));
}
