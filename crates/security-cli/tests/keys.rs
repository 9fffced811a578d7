//! `security key scan`, `security key patterns`, `security key import`, peppers, and `security breached`.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as expected")]

mod place;
mod seen;

use place::Place;
use seen::seen;
use serde_json::json;

fn issue(place: &Place, name: &str) -> (String, String) {
    let record = place.run(&["key", "issue", name, "--owner", "billing", "--json"]).exits(0).record();
    (record["id"].as_str().unwrap().into(), record["key"].as_str().unwrap().into())
}

#[test]
fn a_live_key_fails_the_run_and_a_revoked_one_does_not() {
    let place = Place::new();
    let (id, key) = issue(&place, "app");
    std::fs::create_dir(place.path().join("src")).unwrap();
    place.write("src/settings.py", format!("# settings\nAPI_KEY = '{key}'\n"));
    let ran = seen(&place, "key_scan", &["key", "scan", "src"], "").exits(10);
    assert!(!ran.stdout.contains(&key[21..]) && !ran.stderr.contains(&key[21..]));
    let found = place.run(&["key", "scan", "src", "--json"]).exits(10).record();
    assert_eq!((&found["status"], &found["key_id"]), (&"live".into(), &id.as_str().into()));
    assert_eq!(
        (&found["line"], &found["column"], &found["owner"]),
        (&2.into(), &12.into(), &"billing".into())
    );
    let piped = place.run_with(&["key", "scan", "-", "--json"], format!("x {key}")).exits(10).record();
    assert_eq!((&piped["file"], &piped["offset"]), (&"standard input".into(), &2.into()));
    place.run(&["key", "revoke", &id]).exits(0);
    let found = place.run(&["key", "scan", "src", "--json"]).exits(0).record();
    assert_eq!(found["status"], "revoked");
}

#[test]
fn what_is_not_there_is_not_clean() {
    let place = Place::new();
    let error = place.run(&["key", "scan", "missing", "--json"]).exits(3).error();
    assert_eq!(error["code"], "no-input");
    place.run(&["key", "scan"]).exits(2);
    // A file that ends in the middle of what is packed in it.
    place.write("cut.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b]);
    let error = place.run(&["key", "scan", "cut.gz", "--json"]).exits(1).error();
    assert!(error["message"].as_str().unwrap().contains("cut.gz"), "{error}");
    place.run(&["key", "scan", "cut.gz", "--skip-unreadable"]).exits(0);
    place.run(&["key", "scan", "cut.gz", "--no-gzip"]).exits(0);
}

#[test]
fn patterns_match_what_is_issued() {
    let place = Place::new();
    for scanner in ["gitleaks", "trufflehog", "github"] {
        seen(&place, &format!("key_patterns_{scanner}"), &["key", "patterns", scanner, "--prefix", "sk"], "")
            .exits(0);
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "no data directory is needed");
    let (_, key) = issue(&place, "app");
    for arguments in [&["key", "patterns", "regex"][..], &["key", "patterns", "regex", "--prefix", "sk"]] {
        let pattern = place.run(arguments).exits(0).stdout;
        let pattern = regex::Regex::new(pattern.trim_end()).unwrap();
        assert_eq!(pattern.find(&format!("k='{key}'")).unwrap().as_str(), key);
        assert!(!pattern.is_match(&key[..key.len() - 1]));
    }
    let gitleaks = place.run(&["key", "patterns", "gitleaks"]).exits(0).stdout;
    let rules: toml::Value = toml::from_str(&gitleaks).unwrap();
    assert!(regex::Regex::new(rules["rules"][0]["regex"].as_str().unwrap()).unwrap().is_match(&key));
    assert!(key.contains(rules["rules"][0]["keywords"][0].as_str().unwrap()));
    place.run(&["key", "patterns", "github", "--prefix", "S.K"]).exits(2);
}

#[test]
fn keys_of_another_system_are_valid_once_imported() {
    let place = Place::new();
    // SHA-256 of `acme.Zk3hTq9vXw2LmN8rB5yC`.
    let hash = "ad252ea04adcc306bed7e62ae22586b4a7c8ac04f6ff03cf29827e855d7346b6";
    let records = format!(
        "{{\"name\": \"billing\", \"hash\": \"{hash}\", \"scopes\": [\"read\"]}}\n{{\"name\": \"x\"}}\n"
    );
    place.write("keys.jsonl", &records);
    let ran = seen(&place, "key_import", &["key", "import", "keys.jsonl"], "").exits(1);
    assert!(!ran.stdout.contains(hash) && !ran.stderr.contains(hash));
    let key = "acme.Zk3hTq9vXw2LmN8rB5yC";
    place.run_with(&["key", "verify", "--scope", "read"], key).exits(0);
    place.run_with(&["key", "verify", "--scope", "write"], key).exits(1);
    let again =
        place.run_with(&["key", "import", "-", "--json"], records.lines().next().unwrap()).exits(0).record();
    assert_eq!((&again["imported"], &again["present"]), (&0.into(), &1.into()));
    place.run(&["key", "import", "missing.json"]).exits(3);
    let error = place.run_with(&["key", "import", "-", "--json"], "no json").exits(2).error();
    assert!(error["message"].as_str().unwrap().starts_with("FILE: record 1"), "{error}");
}

#[test]
fn breached_passwords_are_known_once_their_list_is_built() {
    let place = Place::new();
    let error = place.run_with(&["breached", "check", "--json"], "password").exits(1).error();
    assert_eq!(error["code"], "breached-no-filter");
    // SHA-1 of `password` and of `hunter2`, not in their order.
    let list =
        "F3BBBD66A63D4BF1747940578EC3D0103530E21D:17\r\n5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:9545824\n";
    place.write("list.txt", list);
    let report = place.run(&["breached", "build", "list.txt", "--json"]).exits(0).record();
    assert_eq!((&report["entries"], &report["lines"]), (&2.into(), &2.into()));
    for password in ["password", "hunter2\n"] {
        place.run_with(&["breached", "check"], password).exits(10);
    }
    assert_eq!(
        place.run_with(&["breached", "check"], "correct horse battery").exits(0).stdout,
        "not known\n"
    );
    place.run(&["breached", "build", "list.txt", "--min-count", "100", "--output", "other"]).exits(0);
    place.write("security.toml", "breached_passwords = \"other\"\n");
    place.run_with(&["breached", "check"], "hunter2").exits(0);
    std::fs::write(place.path().join("other"), "damaged").unwrap();
    let error = place.run_with(&["breached", "check", "--json"], "password").exits(1).error();
    assert!(error["hint"].as_str().unwrap().contains("breached build"), "{error}");
    let error = place.run_with(&["breached", "build", "-", "--json"], "password\n").exits(2).error();
    assert!(error["message"].as_str().unwrap().contains("line 1"), "{error}");
}

#[test]
fn a_pepper_is_rotated_and_given_up() {
    let place = Place::new();
    let key = place.run(&["key", "issue", "app"]).exits(0).stdout;
    let made = place.run(&["key", "rotate-pepper", "--json"]).exits(0).record();
    assert_eq!((&made["version"], &made["in_force"]), (&json!(2), &json!(true)));
    let refused = place.run(&["key", "drop-pepper", "1", "--json"]).exits(2).error();
    assert!(refused["message"].as_str().unwrap().contains("needed by 1 issued keys"), "{refused}");
    place.run_with(&["key", "verify"], &key).exits(0);
    // The command ended before it could write what it saw; a rotation of the key does not wait for that.
    let id = place.run(&["key", "list", "--json"]).exits(0).record()["id"].as_str().unwrap().to_owned();
    let key = place.run(&["key", "rotate", &id]).exits(0).stdout;
    let peppers = place.run(&["key", "peppers", "--json"]).exits(0).records();
    let keys: Vec<_> = peppers.iter().map(|pepper| (&pepper["version"], &pepper["keys"])).collect();
    assert_eq!(keys, [(&json!(2), &json!(1)), (&json!(1), &json!(0))]);
    assert!(place.run(&["key", "peppers"]).exits(0).stdout.starts_with("VERSION"));
    place.run(&["key", "drop-pepper", "1"]).exits(0);
    place.run(&["key", "drop-pepper", "1"]).exits(1);
    place.run_with(&["key", "verify"], &key).exits(0);
    place.run(&["audit", "verify"]).exits(0);
}

#[test]
fn the_operators_pepper_is_put_in_force_by_a_rotation_alone() {
    let first = "11".repeat(32);
    let place = Place::new().with("SECURITY_PEPPER", &first);
    let key = place.run(&["key", "issue", "app"]).exits(0).stdout;
    assert!(!place.path().join("data/credentials/pepper.key").exists(), "the operator has it");
    let data = place.path().join("data");
    let at = |place: &Place, arguments: &[&str], input: &str| {
        place.run_with(&[arguments, &["--data-dir", data.to_str().unwrap(), "--json"]].concat(), input)
    };
    let without = at(&Place::new(), &["key", "verify"], &key).exits(1).error();
    assert_eq!(without["code"], "pepper-missing");
    assert!(without["hint"].as_str().unwrap().contains("SECURITY_PEPPER"));
    place.run(&["key", "rotate-pepper"]).exits(2);
    let bad = Place::new().with("SECURITY_PEPPER", "correct horse battery staple");
    let refused = bad.run(&["key", "list"]).exits(2);
    assert!(!refused.stderr.contains("horse"), "{}", refused.stderr);
    let next =
        Place::new().with("SECURITY_PEPPER", &"22".repeat(32)).with("SECURITY_PEPPER_PREVIOUS", &first);
    let note = |place: &Place| {
        let lines = at(place, &["config", "show"], "").exits(0);
        assert!(!lines.stdout.contains("1111") && !lines.stdout.contains("2222"));
        let line = lines.records().into_iter().find(|line| line["name"] == "SECURITY_PEPPER").unwrap();
        line["note"].as_str().unwrap().to_owned()
    };
    assert!(note(&next).ends_with("until `security key rotate-pepper`"), "{}", note(&next));
    at(&next, &["key", "verify"], &key).exits(0);
    assert_eq!(at(&next, &["key", "rotate-pepper"], "").exits(0).record()["version"], 2);
    assert!(note(&next).ends_with(", in force"));
    at(&next, &["key", "verify"], &key).exits(0);
}
