//! The tables of `testdata/` through the command line: the same cases that the Rust and the Python tests run.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as expected")]

mod place;

use std::collections::BTreeMap;

use place::Place;
use serde_json::{Value, json};
use toml::Table;

fn list(name: &str, key: &str) -> Vec<Table> {
    let path = format!("{}/../../testdata/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let table: Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases: Vec<Table> =
        table[key].as_array().unwrap().iter().map(|case| case.as_table().unwrap().clone()).collect();
    assert!(cases.len() > 5, "{name}.toml lost its cases");
    cases
}

fn text<'a>(case: &'a Table, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

fn texts(case: &Table, key: &str) -> Vec<String> {
    let items = case.get(key).and_then(|value| value.as_array());
    items.into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn typed(record: &Value) -> String {
    format!("{}:{}", record["type"].as_str().unwrap(), record["value"].as_str().unwrap())
}

/// Every case's findings must be what the table says.
fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn extract_finds_what_the_table_says() {
    let cases = ["extract", "extract_reports", "extract_vendors"].map(|name| list(name, "case")).concat();
    // Cases of the same options go through one process, a file each; `--unique` and `--limit` count over all files of
    // a process, so that those cases go alone.
    let mut groups: BTreeMap<(Vec<String>, Option<usize>), Vec<usize>> = BTreeMap::new();
    for (at, case) in cases.iter().enumerate() {
        let mut options = Vec::new();
        let flag = |name: &str| case.get(name).and_then(|value| value.as_bool()).unwrap_or_default();
        let types = match flag("file_names") {
            true => security::IocType::ALL.iter().map(|kind| kind.as_str().to_owned()).collect(),
            false => texts(case, "types"),
        };
        options.extend(types.into_iter().flat_map(|kind| ["--type".to_owned(), kind]));
        options.extend(flag("dedupe").then(|| "--unique".to_owned()));
        if let Some(most) = case.get("max_hits") {
            options.extend(["--limit".to_owned(), most.as_integer().unwrap().to_string()]);
        }
        let alone = (flag("dedupe") || case.contains_key("max_hits")).then_some(at);
        groups.entry((options, alone)).or_default().push(at);
    }
    let place = Place::new();
    let empty = place.write("empty.txt", "");
    let mut wrong = Vec::new();
    for ((options, _), members) in groups {
        let files: Vec<String> = members
            .iter()
            .map(|at| place.write(&format!("{at}.txt"), text(&cases[*at], "text")).display().to_string())
            .collect();
        let mut arguments = vec!["extract", "--json"];
        arguments.extend(options.iter().map(String::as_str));
        arguments.extend(["--", empty.to_str().unwrap()]); // two files at least, so that each finding names its own
        arguments.extend(files.iter().map(String::as_str));
        let records = place.run(&arguments).exits(0).records();
        for (at, file) in members.iter().zip(&files) {
            let case = &cases[*at];
            let found: Vec<&Value> =
                records.iter().filter(|record| record["file"] == file.as_str()).collect();
            let finds: Vec<String> = found.iter().map(|record| typed(record)).collect();
            if finds != texts(case, "finds") {
                wrong.push(format!("{}: {finds:?}", text(case, "name")));
            }
            if let Some(expected) = case.get("defanged").and_then(|value| value.as_array()) {
                let expected: Vec<bool> = expected.iter().map(|flag| flag.as_bool().unwrap()).collect();
                let defanged: Vec<bool> = found.iter().map(|record| record["defanged"] == true).collect();
                if defanged != expected {
                    wrong.push(format!("{}: defanged {defanged:?}", text(case, "name")));
                }
            }
            for record in found {
                let range =
                    record["start"].as_u64().unwrap() as usize..record["end"].as_u64().unwrap() as usize;
                if text(case, "text").get(range) != record["original"].as_str() {
                    wrong.push(format!("{}: offsets of {record}", text(case, "name")));
                }
            }
        }
    }
    report(wrong);
}

#[test]
fn identify_says_what_the_table_says() {
    let cases = list("identify", "case");
    let mut arguments = vec!["identify", "--json", "--"];
    arguments.extend(cases.iter().map(|case| text(case, "text")));
    // Some are no indicators, which exit code 1 says.
    let records = Place::new().run(&arguments).exits(1).records();
    assert_eq!(records.len(), cases.len());
    let mut wrong = Vec::new();
    for (case, record) in cases.iter().zip(&records) {
        let right = match record["type"].as_str() {
            Some(kind) => text(case, "is").starts_with(&format!("{kind}:")),
            None => text(case, "is").is_empty(),
        };
        if !right {
            wrong.push(format!("{}: {record}", text(case, "name")));
        }
    }
    report(wrong);
}

#[test]
fn defang_and_refang_say_what_the_table_says() {
    let mut wrong = Vec::new();
    for (verb, key, given, expected) in
        [("refang", "case", "defanged", "refanged"), ("defang", "defang", "text", "defanged")]
    {
        let cases = list("defang", key);
        let mut arguments = vec![verb, "--json", "--"];
        arguments.extend(cases.iter().map(|case| text(case, given)));
        let records = Place::new().run(&arguments).exits(0).records();
        assert_eq!(records.len(), cases.len());
        for (case, record) in cases.iter().zip(&records) {
            if record["result"].as_str() != Some(text(case, expected)) {
                wrong.push(format!("{}: {record}", text(case, "name")));
            }
        }
    }
    report(wrong);
}

/// `type:value` in two; one type has a colon of its own.
fn split(typed: &str) -> (&str, &str) {
    match typed.strip_prefix("ip:port:") {
        Some(value) => ("ip:port", value),
        None => typed.split_once(':').unwrap(),
    }
}

#[test]
fn ioc_check_meets_what_the_table_says() {
    let mut wrong = Vec::new();
    for case in list("match", "case") {
        let place = Place::new();
        let listed = texts(&case, "listed");
        if !listed.is_empty() {
            let feed: Vec<Value> = listed
                .iter()
                .map(|typed| {
                    let (kind, value) = split(typed);
                    json!({"type": kind, "value": value})
                })
                .collect();
            place.write("feed.json", json!(feed).to_string());
            let imported = place.run(&["ioc", "import", "feed.json", "--format", "json", "--json"]);
            if imported.exit != 0 {
                wrong.push(format!("{}: {}", text(&case, "name"), imported.stderr));
                continue;
            }
        }
        let (kind, value) = split(text(&case, "check"));
        let expected = texts(&case, "match_types");
        let checked = place.run(&["ioc", "check", "--json", "--", kind, value]);
        let Ok(record) = serde_json::from_str::<Value>(&checked.stdout) else {
            wrong.push(format!("{}: {}", text(&case, "name"), checked.stderr));
            continue;
        };
        let matches = record["matches"].as_array().unwrap();
        let met: Vec<&str> = matches.iter().map(|found| found["match_type"].as_str().unwrap()).collect();
        let exit = if expected.is_empty() { 0 } else { 10 };
        if met != expected || checked.exit != exit {
            wrong.push(format!("{}: {met:?}, exit code {}", text(&case, "name"), checked.exit));
        }
    }
    report(wrong);
}

#[test]
fn rule_test_says_what_the_table_says() {
    let place = Place::new();
    let mut wrong = Vec::new();
    for case in list("rules", "case") {
        let name = text(&case, "name");
        let is_yaml = case.get("format").is_some_and(|format| format.as_str() == Some("yaml"));
        let rule = match case.get("rule") {
            Some(rule) => rule.as_str().unwrap().to_owned(),
            None => format!("{{\"name\": {}, \"detection\": {}}}", json!(name), text(&case, "detection")),
        };
        let rule_file = if is_yaml { "rule.yml" } else { "rule.json" };
        place.write(rule_file, rule);
        place.write("event.json", case.get("event").map_or("{}", |event| event.as_str().unwrap()));
        let ran = place.run(&["rule", "test", "--json", rule_file, "event.json"]);
        if let Some(expected) = case.get("error") {
            let expected = expected.as_str().unwrap();
            let message = if ran.exit == 2 {
                ran.error()["message"].as_str().unwrap().to_owned()
            } else {
                String::new()
            };
            if !message.contains(expected) {
                wrong.push(format!("{name}: exit code {}, {}", ran.exit, ran.stderr));
            }
            continue;
        }
        let matches = case["matches"].as_bool().unwrap();
        if name == "disabled-rule" {
            // A trial is of the rule itself; whether it is in force is a matter of `detect`.
            let in_force = Place::new();
            in_force.run(&["rule", "add", place.path().join(rule_file).to_str().unwrap()]).exits(0);
            let detected = in_force.run_with(&["detect"], text(&case, "event"));
            if ran.exit != 10 || detected.exit != 0 {
                wrong.push(format!("{name}: exit codes {} and {}", ran.exit, detected.exit));
            }
            continue;
        }
        if ran.exit != if matches { 10 } else { 0 } {
            wrong.push(format!("{name}: exit code {}, {}{}", ran.exit, ran.stdout, ran.stderr));
            continue;
        }
        if case.contains_key("evidence") {
            let record = ran.record();
            let evidence = record["evidence"].as_array().unwrap();
            let shown: Vec<String> = evidence
                .iter()
                .map(|part| {
                    format!("{}={}", part["field"].as_str().unwrap(), part["value"].as_str().unwrap())
                })
                .collect();
            if shown != texts(&case, "evidence") {
                wrong.push(format!("{name}: {shown:?}"));
            }
        }
    }
    report(wrong);
}

#[test]
fn ioc_import_takes_what_the_table_says() {
    let mut wrong = Vec::new();
    for case in list("feeds", "case") {
        let (name, place) = (text(&case, "name"), Place::new());
        let file = case.get("file_name").map_or("feed", |name| name.as_str().unwrap());
        place.write(file, text(&case, "feed"));
        let mut arguments = vec!["ioc", "import", file, "--skip-bad", "--json"];
        arguments
            .extend(case.get("format").into_iter().flat_map(|format| ["--format", format.as_str().unwrap()]));
        let ran = place.run(&arguments);
        if let Some(expected) = case.get("error") {
            if ran.exit == 0 || !ran.stderr.contains(expected.as_str().unwrap()) {
                wrong.push(format!("{name}: exit code {}, {}", ran.exit, ran.stderr));
            }
            continue;
        }
        if text(&case, "feed").is_empty() {
            // An application may well be handed nothing; on the command line it is a mistake, with a code of its own.
            ran.exits(3);
            continue;
        }
        let report = ran.exits(0).record();
        // A document asked to be read as JSON is still known for what it is.
        let read_as =
            [case.get("format"), case.get("guess")].map(|format| format.and_then(|name| name.as_str()));
        let listed = place.run(&["ioc", "export", "--format", "json"]).exits(0).stdout;
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let mut listed: Vec<String> = listed.iter().map(typed).collect();
        let mut expected = texts(&case, "finds");
        listed.sort();
        expected.sort();
        expected.dedup();
        let told = report["rejections"].as_array().unwrap();
        let rejects = texts(&case, "rejects");
        let each_as_expected = rejects.iter().zip(told).all(|(line, rejection)| {
            let (number, reason) = line.split_once(':').unwrap();
            rejection["line"].as_u64() == number.parse().ok()
                && rejection["reason"].as_str().unwrap().contains(reason)
        });
        let left_out = case.get("left_out").map_or(json!({}), |counts| serde_json::to_value(counts).unwrap());
        if !read_as.contains(&report["format"].as_str())
            || listed != expected
            || told.len() != rejects.len()
            || !each_as_expected
            || report["left_out"] != left_out
        {
            wrong.push(format!("{name}: {report}, {listed:?}"));
        }
    }
    report(wrong);
}
