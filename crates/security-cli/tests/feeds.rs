//! The built binary and feeds: in, out, and what is told of what was not taken.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as expected")]

mod place;
mod seen;

use std::io::Write;

use place::Place;
use seen::seen;
use serde_json::{Value, json};

#[test]
fn feeds_go_in_and_out() {
    let place = Place::new();
    place.write("feed.txt", "# ours\n192.0.2.7\nevil[.]example\nnot an indicator\n198.51.100.0/24\n");
    seen(&place, "ioc_import_refused", &["ioc", "import", "feed.txt"], "").exits(1);
    assert_eq!(place.run(&["status", "--json"]).record()["counts"]["indicators"], 0);
    let arguments = ["ioc", "import", "feed.txt", "--skip-bad", "--source", "ours", "--confidence", "70"];
    seen(&place, "ioc_import", &arguments, "").exits(0);
    let again = place.run(&[&arguments[..], &["--json"]].concat()).exits(0).record();
    assert_eq!((&again["added"], &again["merged"], &again["rejected"]), (&json!(0), &json!(3), &json!(1)));
    let piped = place.run_with(
        &["ioc", "import", "-", "--format", "csv", "--json"],
        "type,value\nmd5,0123456789abcdef0123456789abcdef\n",
    );
    assert_eq!(piped.exits(0).record()["added"], 1);

    let plain = place.run(&["ioc", "export", "--source", "ours"]).exits(0);
    let mut values: Vec<&str> = plain.stdout.lines().collect();
    values.sort_unstable();
    assert_eq!(values, ["192.0.2.7", "198.51.100.0/24", "evil.example"]);
    assert_eq!(place.run(&["ioc", "export", "--type", "domain"]).exits(0).stdout, "evil.example\n");
    assert!(
        place.run(&["ioc", "export", "-f", "csv", "--min-confidence", "71"]).exits(0).stdout.lines().count()
            == 1
    );
    place.run(&["ioc", "export", "--format", "stix", "--output", "out.json"]).exits(0);
    let bundle: Value =
        serde_json::from_slice(&std::fs::read(place.path().join("out.json")).unwrap()).unwrap();
    assert_eq!(bundle["type"], "bundle");

    let other = Place::new();
    let back = other
        .run(&["ioc", "import", place.path().join("out.json").to_str().unwrap(), "--json"])
        .exits(0)
        .record();
    assert_eq!((&back["format"], &back["added"]), (&json!("stix"), &json!(4)));
}

#[test]
fn a_source_is_taken_back() {
    let place = Place::new();
    place.write("feed.txt", "192.0.2.7\nevil.example\n198.51.100.0/24\n");
    place.run(&["ioc", "import", "feed.txt", "--source", "theirs"]).exits(0);
    place.run(&["ioc", "add", "evil.example", "--source", "ours"]).exits(0);
    let told = place.run(&["ioc", "delete", "--source", "theirs"]).exits(0);
    assert_eq!(told.stdout, "2 removed, 1 stay listed by others\n");
    place.run(&["ioc", "check", "192.0.2.7", "198.51.100.1"]).exits(0);
    place.run(&["ioc", "check", "evil.example"]).exits(10);
    place.run(&["ioc", "delete", "--source", "theirs"]).exits(1);
    let told = place.run(&["ioc", "delete", "--source", "ours", "--json"]).exits(0).record();
    assert_eq!(told, json!({"source": "ours", "removed": 1, "kept": 0}));
    let trail = place.run(&["audit", "show", "--json"]).exits(0).records();
    assert!(trail.iter().any(|line| line["action"] == "source_removed" || line["event"] == "source_removed"));
}

#[test]
fn files_and_folders_are_scanned_for_what_is_listed() {
    let place = Place::new();
    for value in ["evil.example", "198.51.100.0/24"] {
        place.run(&["ioc", "add", value, "--source", "ours"]).exits(0);
    }
    std::fs::create_dir_all(place.path().join("logs/deep")).unwrap();
    place.write("logs/a.log", "GET / 192.0.2.1\n");
    place.run(&["scan", "logs"]).exits(0);
    place.write("logs/deep/b.log", "ü beacon to www.evil[.]example and 192.0.2.1\n");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all("x 198.51.100.7\n".as_bytes()).unwrap();
    std::fs::write(place.path().join("logs/c.log.gz"), packed.finish().unwrap()).unwrap();
    std::os::unix::fs::symlink("b.log", place.path().join("logs/deep/link")).unwrap();
    let told = place.run(&["scan", "logs", "--json"]).exits(10);
    let met: Vec<_> = told
        .records()
        .iter()
        .map(|met| (met["value"].clone(), met["start"].clone(), met["matches"][0]["match_type"].clone()))
        .collect();
    assert_eq!(
        met,
        [
            (json!("198.51.100.7"), json!(2), json!("cidr")),
            (json!("www.evil.example"), json!(13), json!("subdomain")),
        ]
    );
    seen(&place, "scan", &["scan", "logs"], "").exits(10);
    seen(&place, "scan_nothing_listed", &["scan", "-"], "see 192.0.2.1\n").exits(0);
    place.run_with(&["scan"], "").exits(3);
    place.run(&["scan", "nowhere"]).exits(3);
    place.run(&["scan", "logs", "--type", "shoe size"]).exits(2);
    // A file that is cut short is told, and the others are scanned all the same.
    std::fs::write(place.path().join("logs/c.log.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    place.run(&["scan", "logs"]).exits(10);
    place.run(&["scan", "logs/c.log.gz"]).exits(1);
}

#[test]
fn one_unclear_value_does_not_hide_the_others() {
    let place = Place::new();
    place.run(&["ioc", "add", "192.0.2.1", "-s", "ours"]).exits(0);
    seen(&place, "ioc_check_unclear", &["ioc", "check", "nothing", "192.0.2.1", "192.0.2.2"], "").exits(10);
    seen(&place, "ioc_check_lines", &["ioc", "check"], "192.0.2.2\nno\u{202e}thing\n192.0.2.1\n").exits(10);
    let typed = place.run_with(&["ioc", "check", "ip", "evil.example", "192.0.2.1", "--json"], "").exits(10);
    let records = typed.records();
    assert!(
        records[0]["type"].is_null() && records[0]["problem"].as_str().unwrap().contains("not a valid ip")
    );
    assert_eq!((&records[0]["matched"], &records[1]["matched"]), (&json!(false), &json!(true)));
    place.run(&["ioc", "check", "nothing", "192.0.2.2"]).exits(1);
    place.run_with(&["ioc", "check"], "nothing\n").exits(1);
    place.run(&["ioc", "check", "nothing"]).exits(2);
}

#[test]
fn a_check_answers_as_the_lines_come() {
    let place = Place::new();
    place.run(&["ioc", "add", "192.0.2.1"]).exits(0);
    let mut child = place.command(&["ioc", "check"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    input.write_all(b"192.0.2.1\n").unwrap();
    // The input is still open: whoever holds everything back until its end never says this.
    let mut lines = String::new();
    while !lines.contains("yes") {
        assert!(std::io::BufRead::read_line(&mut output, &mut lines).unwrap() > 0, "{lines}");
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(10));
}

#[test]
fn of_several_feeds_a_bad_one_is_told_and_passed_over() {
    let place = Place::new();
    place.write("one.txt", "192.0.2.1\n");
    place.write("bad.json", "[{\"value\": ");
    place.write("empty.txt", "");
    place.write("two.txt", "192.0.2.2\n");
    let files = ["one.txt", "bad.json", "empty.txt", "missing.txt", "two.txt"];
    let arguments = [&["ioc", "import", "--skip-bad"], &files[..]].concat();
    seen(&place, "ioc_import_several", &arguments, "").exits(1);
    assert_eq!(place.run(&["status", "--json"]).record()["counts"]["indicators"], 2);
    // Without it the first bad one ends the import.
    let other = Place::new();
    other.write("bad.json", "[{\"value\": ");
    other.write("two.txt", "192.0.2.2\n");
    other.run(&["ioc", "import", "bad.json", "two.txt"]).exits(1);
    assert_eq!(other.run(&["status", "--json"]).record()["counts"]["indicators"], 0);
}

#[test]
fn what_a_misp_event_leaves_out_is_told() {
    let place = Place::new();
    let event = r#"{"Event": {"Attribute": [
        {"type": "ip-dst", "value": "192.0.2.1", "to_ids": false},
        {"type": "domain", "value": "evil.example", "to_ids": false}]}}"#;
    place.write("event.json", event);
    seen(&place, "ioc_import_left_out", &["ioc", "import", "event.json"], "").exits(0);
    let all = place.run(&["ioc", "import", "event.json", "--all-attributes", "--json"]).exits(0).record();
    assert_eq!((&all["added"], &all["left_out"]), (&json!(2), &json!({})));
}

#[test]
fn a_list_of_one_type_is_read_as_that() {
    let place = Place::new();
    place.write("domains.txt", "setup.py\ninvoice.zip\n");
    place.run(&["ioc", "import", "domains.txt"]).exits(1);
    let report = place.run(&["ioc", "import", "domains.txt", "--type", "domain", "--json"]).exits(0).record();
    assert_eq!(report["added"], 2);
    place.run(&["ioc", "check", "domain", "setup.py"]).exits(10);
    place.run(&["ioc", "import", "domains.txt", "--type", "planet"]).exits(2);
}

#[test]
fn sensors_get_files_that_no_value_can_break() {
    let place = Place::new();
    let list =
        "evil.example\nhttp://evil.example/a\n192.0.2.7\n2001:db8::/32\n0123456789abcdef0123456789abcdef\n";
    place.write("list.txt", list);
    place.run(&["ioc", "import", "list.txt", "--source", "a\tb"]).exits(2);
    place.run(&["ioc", "import", "list.txt", "--source", "a|b,c"]).exits(0);
    let of = |format: &str| place.run(&["ioc", "export", "--format", format]).exits(0).stdout;
    let zeek = of("zeek");
    assert!(zeek.starts_with("#fields\tindicator\t"), "{zeek}");
    assert_eq!(zeek.lines().count(), 6);
    // Its first line has a word before the names.
    assert!(zeek.lines().skip(1).all(|line| line.split('\t').count() == 4), "{zeek}");
    assert_eq!(of("suricata-ip"), "192.0.2.7\n");
    assert_eq!(of("suricata-md5"), "0123456789abcdef0123456789abcdef\n");
    let zone = of("rpz");
    for line in ["evil.example CNAME .", "*.evil.example CNAME .", "32.7.2.0.192.rpz-ip CNAME ."] {
        assert!(zone.lines().any(|one| one == line), "{zone}");
    }
    place.run(&["ioc", "export", "--format", "pdf"]).exits(2);
}

#[test]
fn an_openioc_document_is_a_feed() {
    let place = Place::new();
    let item = "<IndicatorItem condition=\"is\"><Context search=\"Network/DNS\"/><Content>evil.example</Content></IndicatorItem>";
    let document = format!("<ioc><definition><Indicator>{item}</Indicator></definition></ioc>");
    place.write("a.ioc", &document);
    let report = place.run(&["ioc", "import", "a.ioc", "--json"]).exits(0).record();
    assert_eq!((&report["format"], &report["added"]), (&json!("openioc"), &json!(1)));
    place.write("bomb.ioc", format!("<!DOCTYPE ioc [<!ENTITY a \"x\">]>{document}"));
    place.run(&["ioc", "import", "bomb.ioc"]).exits(1);
}

#[test]
fn packed_files_are_searched_as_they_are_read() {
    let place = Place::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"beacon to evil[.]example[.]com\n").unwrap();
    let packed = packed.finish().unwrap();
    std::fs::write(place.path().join("a.gz"), &packed).unwrap();
    let found = place.run(&["extract", "a.gz", "--json"]).exits(0).record();
    assert_eq!(
        (&found["value"], &found["start"], &found["end"]),
        (&json!("evil.example.com"), &json!(10), &json!(30))
    );
    std::fs::write(place.path().join("cut.gz"), &packed[..packed.len() - 9]).unwrap();
    place.run(&["extract", "cut.gz"]).exits(1);
}

#[test]
fn feeds_that_cannot_be_read_or_written() {
    let place = Place::new();
    seen(&place, "ioc_import_missing", &["ioc", "import", "missing.txt"], "").exits(3);
    place.run(&["ioc", "import", "-"]).exits(3);
    place.run(&["ioc", "import", "."]).exits(3);
    place.run(&["ioc", "import", "x", "--format", "xml"]).exits(2);
    place.run(&["ioc", "export", "--type", "planet"]).exits(2);
    place.run(&["ioc", "export", "--min-confidence", "-1"]).exits(2);
    place.write("old.txt", "stays\n");
    place.run(&["ioc", "export", "--type", "planet", "-o", "old.txt"]).exits(2);
    assert_eq!(std::fs::read_to_string(place.path().join("old.txt")).unwrap(), "stays\n");
    let error = place.run(&["ioc", "export", "-o", "no/such/folder.txt", "--json"]).exits(1).error();
    assert_eq!(error["code"], "output");
    let names: Vec<String> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".part"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}
