//! The first bar of payload inspection: what must pass at paranoia 1. At most one innocent value in two
//! hundred may be refused, and no whole request; the wrong ones are printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod payloads;

use std::collections::BTreeMap;

use payloads::{Group, PLACES, header, look, placed};
use security_web::RequestView;
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    sets: BTreeMap<String, Vec<String>>,
    innocent: Vec<Group>,
}

#[derive(Deserialize)]
struct Requests {
    /// Header lines that clients send with everything.
    clients: Vec<String>,
    /// The first line, headers, an empty line and the body.
    requests: Vec<String>,
}

const TABLES: [&str; 2] = [
    include_str!("../../../testdata/inspect/innocent_text.toml"),
    include_str!("../../../testdata/inspect/innocent_technical.toml"),
];

/// Written later and in one go, against detectors that did not know them.
const SECOND_TABLES: [&str; 2] = [
    include_str!("../../../testdata/inspect/innocent_everyday.toml"),
    include_str!("../../../testdata/inspect/innocent_machine.toml"),
];

/// Likewise, later still.
const THIRD_TABLE: &str = include_str!("../../../testdata/inspect/innocent_third.toml");

/// What samples from elsewhere showed to be refused.
const FOURTH_TABLE: &str = include_str!("../../../testdata/inspect/innocent_fourth.toml");

#[test]
fn innocent_values_pass() {
    let n_values = passes(&TABLES, 200);
    assert!(n_values >= 1500, "{n_values}");
}

#[test]
fn values_of_every_day_pass() {
    // A few of these are what an attack is as well: a script element, a handler, a call of `child_process`.
    let n_values = passes(&SECOND_TABLES, 50);
    assert!(n_values >= 400, "{n_values}");
}

#[test]
fn values_of_a_third_look_pass() {
    let n_values = passes(&[THIRD_TABLE], 200);
    assert!(n_values >= 250, "{n_values}");
}

#[test]
fn values_that_samples_showed_pass() {
    let n_values = passes(&[FOURTH_TABLE], 200);
    assert!(n_values >= 45, "{n_values}");
}

/// Tries every value of some tables in every place, of which one in `most` may be refused, and gives how many values
/// there were.
fn passes(tables: &[&str], most: usize) -> usize {
    let (mut n_values, mut n_tried, mut wrong) = (0, 0, Vec::new());
    let mut wrong_values = 0;
    for table in tables {
        let table: Table = toml::from_str(table).unwrap();
        for group in &table.innocent {
            for value in group.values(&table.sets) {
                n_values += 1;
                let mut found: Vec<_> = PLACES.iter().map(|place| (*place, placed(place, &value))).collect();
                if group.is_named {
                    found.retain(|(place, _)| !place.contains("json") && *place != "xml");
                } else if !value.contains(['\r', '\n']) {
                    found.push(("user-agent", header("User-Agent", value.as_bytes())));
                }
                n_tried += found.len();
                wrong_values += usize::from(found.iter().any(|(_, found)| found.is_denied));
                for (place, found) in found.iter().filter(|(_, found)| found.is_denied) {
                    let ids: Vec<&str> = found.reasons.iter().map(|reason| reason.id.as_ref()).collect();
                    wrong.push(format!("{} {place}: {value:?} {ids:?}", group.kind));
                }
            }
        }
    }
    println!("{} of {n_tried} refused, {wrong_values} of {n_values} values", wrong.len());
    println!("{}", wrong.join("\n"));
    assert!(wrong.len() * most <= n_tried, "{} of {n_tried}:\n{}", wrong.len(), wrong.join("\n"));
    n_values
}

#[test]
fn innocent_requests_pass() {
    let table: Requests =
        toml::from_str(include_str!("../../../testdata/inspect/innocent_requests.toml")).unwrap();
    let mut wrong = Vec::new();
    for (n, text) in table.requests.iter().enumerate() {
        let text = text.trim_start();
        let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
        let mut lines = head.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let client = table.clients[n % table.clients.len()].lines();
        let headers: Vec<(&str, &[u8])> = lines
            .chain(client)
            .map(|line| line.split_once(": ").unwrap())
            .map(|(n, v)| (n, v.as_bytes()))
            .collect();
        // Parts of a multipart body end in CR LF.
        let body =
            if head.contains("multipart/") { body.replace('\n', "\r\n") } else { body.trim_end().to_owned() };
        let view = RequestView {
            method,
            path,
            query,
            headers: &headers,
            body: Some(body.as_bytes()).filter(|body| !body.is_empty()),
            ..RequestView::default()
        };
        let found = look(view);
        if found.is_denied {
            wrong.push(format!("{method} {target}: {:?}", found.reasons));
        }
    }
    let n_requests = table.requests.len();
    println!("{} of {n_requests} refused", wrong.len());
    println!("{}", wrong.join("\n"));
    assert!(n_requests >= 300, "{n_requests}");
    assert!(wrong.is_empty(), "{} of {n_requests}:\n{}", wrong.len(), wrong.join("\n"));
}
