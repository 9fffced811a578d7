//! The tables in `testdata/`, which the other faces run too.

use std::{collections::HashSet, fs, path::Path};

use security_indicators::{
    ExtractOptions, Hit, Indicator, IocType, MatchIndex, defang, extract, extract_through, identify, refang,
};
use toml::{Table, Value};

/// The entries of a table; their names must be there, and differ.
fn entries(file: &str, list: &str, at_least: usize) -> Vec<Table> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: Table = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
    let entries: Vec<Table> = table[list]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry.as_table().expect("tables").clone())
        .collect();
    let names: HashSet<&str> = entries.iter().map(|entry| text_of(entry, "name")).collect();
    assert_eq!(names.len(), entries.len(), "{file}: a name is there twice");
    assert!(entries.len() >= at_least, "{file}: {} entries, fewer than {at_least}", entries.len());
    entries
}

fn text_of<'t>(entry: &'t Table, key: &str) -> &'t str {
    entry[key].as_str().expect("a text")
}

fn texts_of(entry: &Table, key: &str) -> Vec<String> {
    entry[key]
        .as_array()
        .expect("a list")
        .iter()
        .map(|text| text.as_str().expect("texts").to_owned())
        .collect()
}

/// Fails with every wrong entry, not the first alone.
fn report(file: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{file}: {} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn identify_table() {
    let mut wrong = Vec::new();
    for entry in entries("identify.toml", "case", 60) {
        let (text, expected) = (text_of(&entry, "text"), text_of(&entry, "is"));
        let found = Indicator::identify(text);
        let is = found.as_ref().map(Indicator::to_string).unwrap_or_default();
        if is != expected {
            wrong.push(format!("{}: {is:?}, not {expected:?}", text_of(&entry, "name")));
        }
        assert_eq!(identify(text), found.map(|indicator| indicator.kind()), "both say the same");
    }
    report("identify.toml", &wrong);
}

#[test]
fn extract_table() {
    let mut wrong = Vec::new();
    let mut kinds = HashSet::new();
    let reports = entries("extract_reports.toml", "case", 110);
    let vendors = entries("extract_vendors.toml", "case", 70);
    for entry in entries("extract.toml", "case", 300).into_iter().chain(reports).chain(vendors) {
        let text = text_of(&entry, "text");
        let flag = |key: &str| entry.get(key).and_then(Value::as_bool).unwrap_or(false);
        let types = entry
            .get("types")
            .map(|_| texts_of(&entry, "types").iter().map(|name| name.parse::<IocType>().unwrap()).collect());
        let mut options = ExtractOptions {
            types,
            file_names: flag("file_names"),
            dedupe: flag("dedupe"),
            ..ExtractOptions::default()
        };
        if let Some(max) = entry.get("max_hits") {
            options.max_hits = usize::try_from(max.as_integer().unwrap()).unwrap();
        }
        let found = extract(text, &options);
        // Blanks before it move the text against the blocks the masks are made of.
        for shift in [0, 37, 50, 61] {
            let moved = format!("{}{text}", " ".repeat(shift));
            assert_eq!(extract(&moved, &options), extract_through(&moved, &options), "{text}");
        }
        kinds.extend(found.iter().map(|found| found.indicator.kind()));
        let finds: Vec<String> = found.iter().map(|found| found.indicator.to_string()).collect();
        let defanged: Vec<bool> = found.iter().map(|found| found.defanged).collect();
        let name = text_of(&entry, "name");
        if finds != texts_of(&entry, "finds") {
            wrong.push(format!("{name}: {finds:?}, not {:?}", texts_of(&entry, "finds")));
        } else if let Some(expected) = entry.get("defanged").and_then(Value::as_array)
            && expected.iter().map(|flag| flag.as_bool().unwrap()).ne(defanged.iter().copied())
        {
            wrong.push(format!("{name}: defanged is {defanged:?}"));
        }
    }
    report("extract.toml", &wrong);
    let missing: Vec<&IocType> = IocType::ALL.iter().filter(|kind| !kinds.contains(*kind)).collect();
    assert!(missing.is_empty(), "extract.toml: no case finds {missing:?}");
}

#[test]
fn refang_table() {
    let mut wrong = Vec::new();
    for entry in entries("defang.toml", "case", 60) {
        let (defanged, expected) = (text_of(&entry, "defanged"), text_of(&entry, "refanged"));
        let refanged = refang(defanged);
        if refanged != expected {
            wrong.push(format!("{}: {refanged:?}, not {expected:?}", text_of(&entry, "name")));
        }
    }
    report("defang.toml", &wrong);
}

#[test]
fn defang_table() {
    let mut wrong = Vec::new();
    for entry in entries("defang.toml", "defang", 10) {
        let (text, expected) = (text_of(&entry, "text"), text_of(&entry, "defanged"));
        let defanged = defang(text);
        if defanged != expected {
            wrong.push(format!("{}: {defanged:?}, not {expected:?}", text_of(&entry, "name")));
        }
        assert_eq!(defang(&defanged), defanged, "what is disarmed stays as it is");
    }
    report("defang.toml", &wrong);
}

#[test]
fn match_table() {
    let mut wrong = Vec::new();
    for entry in entries("match.toml", "case", 50) {
        let listed: Vec<Indicator> =
            texts_of(&entry, "listed").iter().map(|text| text.parse().unwrap()).collect();
        let mut index = MatchIndex::new();
        for (row, indicator) in (0..).zip(&listed) {
            index.insert(indicator, row);
        }
        let hits = index.matches(&text_of(&entry, "check").parse().unwrap());
        let types: Vec<&str> = hits.iter().map(|hit: &Hit| hit.match_type.as_str()).collect();
        if types != texts_of(&entry, "match_types") {
            wrong.push(format!("{}: {types:?}", text_of(&entry, "name")));
        }
    }
    report("match.toml", &wrong);
}
