//! The built binary, verb by verb: what it does, how it ends, what it says.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as expected")]

mod place;
mod seen;

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Stdio,
};

use place::Place;
use seen::seen;
use serde_json::{Value, json};

const VERBS: [&[&str]; 68] = [
    &[],
    &["init"],
    &["key"],
    &["key", "verify"],
    &["key", "issue"],
    &["key", "list"],
    &["key", "revoke"],
    &["key", "rotate"],
    &["key", "import"],
    &["key", "scan"],
    &["key", "patterns"],
    &["secret"],
    &["secret", "put"],
    &["secret", "get"],
    &["secret", "list"],
    &["secret", "delete"],
    &["secret", "restore"],
    &["secret", "rotate"],
    &["rotate"],
    &["breached"],
    &["breached", "build"],
    &["breached", "check"],
    &["usage"],
    &["suspicion"],
    &["audit"],
    &["audit", "verify"],
    &["audit", "show"],
    &["ioc"],
    &["ioc", "add"],
    &["ioc", "check"],
    &["ioc", "remove"],
    &["ioc", "delete"],
    &["ioc", "import"],
    &["ioc", "export"],
    &["intel"],
    &["intel", "search"],
    &["intel", "show"],
    &["extract"],
    &["scan"],
    &["warninglist"],
    &["warninglist", "load"],
    &["warninglist", "list"],
    &["warninglist", "check"],
    &["warninglist", "remove"],
    &["identify"],
    &["defang"],
    &["refang"],
    &["rule"],
    &["rule", "add"],
    &["rule", "test"],
    &["rule", "list"],
    &["detect"],
    &["alerts"],
    &["taxii"],
    &["taxii", "add"],
    &["taxii", "list"],
    &["taxii", "collections"],
    &["taxii", "pull"],
    &["ban"],
    &["ban", "add"],
    &["ban", "list"],
    &["ban", "remove"],
    &["policy"],
    &["policy", "check"],
    &["policy", "explain"],
    &["config"],
    &["config", "show"],
    &["status"],
];

#[test]
fn help_of_every_verb() {
    let place = Place::new();
    for verb in VERBS {
        let arguments = [verb, &["--help"]].concat();
        let name = format!("help_{}", if verb.is_empty() { "security".into() } else { verb.join("_") });
        let ran = seen(&place, &name, &arguments, "").exits(0);
        assert!(ran.stderr.is_empty());
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "help leaves nothing behind");
}

#[test]
fn wrong_command_lines() {
    let place = Place::new();
    seen(&place, "usage_no_verb", &[], "").exits(2);
    seen(&place, "usage_unknown_verb", &["exract", "file"], "").exits(2);
    seen(&place, "usage_unknown_verb_json", &["exract", "file", "--json"], "").exits(2);
    seen(&place, "usage_bad_duration", &["rotate", "API_KEY", "--grace", "soon"], "").exits(2);
    let error = place.run(&["ioc", "import", "--json"]).exits(2).error();
    assert_eq!(error["code"], "usage");
    assert_eq!(
        place.run(&["--version"]).exits(0).stdout,
        concat!("security ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn init_makes_the_data_directory_and_says_what_is_set() {
    let place = Place::new().with("API_KEY", "not-for-the-eyes-of-anybody");
    let ran = seen(&place, "init", &["init", "--data-dir", "data"], "").exits(0);
    assert!(!ran.stdout.contains("not-for-the-eyes"));
    let folder = place.path().join("data/credentials");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    let again = place.run(&["init", "--json"]).exits(0).record();
    assert_eq!(again["secrets_set"], json!(["API_KEY"]));
    assert_eq!(again["folders"].as_array().unwrap().len(), 7);
}

#[test]
fn init_where_nothing_can_be_made() {
    let place = Place::new();
    place.write("file", "");
    let error = place.run(&["init", "--data-dir", "file/data", "--json"]).exits(1).error();
    assert!(error["code"].as_str().unwrap().starts_with("store-"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("file"), "{error}");
}

#[test]
fn configuration_is_shown_with_its_origin_and_without_secrets() {
    let place = Place::new().with("DB_PASSWORD", "geheim-geheim").with("SECURITY_DATA_DIR", "elsewhere");
    place.write(
        "security.toml",
        "[web]\ntrusted_networks = [\"192.0.2.0/24\"]\n[credentials]\nAPI_KEY = \"geheim-auch\"\n",
    );
    let ran = seen(&place, "config_show", &["config", "show"], "").exits(0);
    assert!(!ran.stdout.contains("geheim"));
    let lines = place.run(&["config", "show", "--json"]).exits(0).records();
    let line = lines.iter().find(|line| line["name"] == "SECURITY_DATA_DIR").unwrap();
    assert_eq!(line["source"], "environment SECURITY_DATA_DIR");
    let ran = place.run(&["config", "show", "--json", "--data-dir", "third"]).exits(0);
    assert_eq!(ran.records()[0]["source"], "argument");
}

#[test]
fn a_configuration_that_cannot_be_used_is_wrong_usage() {
    let place = Place::new();
    place.write("bad.toml", "data_dri = \"x\"\n");
    let ran = seen(&place, "config_unknown_name", &["status", "--config", "bad.toml"], "").exits(2);
    assert!(ran.stdout.is_empty());
    place.write("secret.toml", "[credentials]\nAPI_KEY = \"geheim\" geheim\n");
    let ran = place.run(&["status", "--config", "secret.toml"]).exits(2);
    assert!(!ran.stderr.contains("geheim"), "{}", ran.stderr);
    place.run(&["status", "--config", "missing.toml"]).exits(2);
    place.run(&["ioc", "export", "--config", "bad.toml", "--json"]).exits(2);
}

#[test]
fn status_counts_what_is_there() {
    let place = Place::new();
    place.run(&["ioc", "add", "192.0.2.1"]).exits(0);
    place.run(&["key", "issue", "orders"]).exits(0);
    seen(&place, "status", &["status"], "").exits(0);
    let status = place.run(&["status", "--json"]).exits(0).record();
    assert_eq!(status["counts"]["indicators"], 1);
    assert_eq!(status["counts"]["issued_keys"], 1);
}

#[test]
fn a_key_from_its_issue_to_its_end() {
    let place = Place::new();
    let issued = seen(
        &place,
        "key_issue",
        &["key", "issue", "orders", "--scope", "orders:read", "--owner", "shop", "--network", "192.0.2.0/24"],
        "",
    )
    .exits(0);
    let key = issued.stdout.trim_end();
    assert_eq!(issued.stdout.lines().count(), 1, "the key stands alone on stdout");
    let client = ["--client-ip", "192.0.2.9"];
    let verify = |further: &[&'static str]| [&["key", "verify"], &client[..], further].concat();

    seen(&place, "key_verify_valid", &verify(&[]), key).exits(0);
    place.run_with(&verify(&["--scope", "orders:read", "--stdin"]), format!("{key}\r\n")).exits(0);
    let lacking = place.run_with(&verify(&["--scope", "orders:write", "--json"]), key).exits(1).record();
    assert_eq!((&lacking["valid"], &lacking["reason"]), (&json!(false), &json!("scope")));
    let elsewhere =
        place.run_with(&["key", "verify", "--client-ip", "203.0.113.9", "--json"], key).exits(1).record();
    assert_eq!(elsewhere["reason"], "network");
    place.write("key.txt", key);
    place.run(&verify(&["--key-file", "key.txt"])).exits(0);

    let id = place.run(&["key", "list", "--json"]).exits(0).record()["id"].as_str().unwrap().to_owned();
    let listed = seen(&place, "key_list", &["key", "list", "--active"], "").exits(0);
    assert!(!listed.stdout.contains(key));
    let rotated = place.run(&["key", "rotate", &id, "--json"]).exits(0).record();
    let new = rotated["key"].as_str().unwrap();
    assert_eq!(rotated["id"], id.as_str());
    place.run_with(&verify(&[]), key).exits(1);
    place.run_with(&verify(&[]), new).exits(0);

    let revoked = place.run(&["key", "revoke", &id, "--reason", "lost", "--json"]).exits(0).record();
    assert_eq!(revoked["revoked_reason"], "lost");
    let refused = place.run_with(&verify(&["--json"]), new).exits(1).record();
    assert_eq!(refused["reason"], "revoked");
    assert_eq!(place.run(&["key", "list", "--ended", "--json"]).exits(0).records().len(), 1);
    assert_eq!(place.run(&["key", "list", "--active", "--json"]).exits(0).records().len(), 0);

    let trail = place.run(&["audit", "show", "--key", &id, "--json"]).exits(0).records();
    let events: Vec<&str> = trail.iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["key_revoked", "key_rotated", "key_issued"]);
    let everything = [&trail, &place.run(&["usage", "--json"]).records()]
        .map(|records| json!(records).to_string())
        .concat();
    assert!(!everything.contains(key) && !everything.contains(new), "no record holds a key");
}

#[test]
fn keys_are_taken_from_no_command_line() {
    let place = Place::new();
    let key = "sk_0123456789abcdefg_verysecret";
    let ran = seen(&place, "key_verify_misplaced", &["key", "verify", key], "").exits(2);
    assert!(!ran.stderr.contains("verysecret"));
    let ran = place.run(&["key", "verify", "--", "-verysecret"]).exits(2);
    assert!(!ran.stderr.contains("verysecret"));
    let ran = place.run(&["key", "verify", "-verysecret", "--json"]).exits(2);
    assert!(!ran.stderr.contains("verysecret"));
    for arguments in [["--password", "verysecret"], ["--password=verysecret", "--json"]] {
        let ran =
            place.run(&[&["taxii", "add", "x", "--url", "https://taxii.example/"], &arguments[..]].concat());
        assert!(!ran.exits(2).stderr.contains("verysecret"));
    }
    assert!(!place.path().join("data").exists(), "nothing is opened for a command line that is refused");
}

#[test]
fn wrong_keys_of_any_shape_are_not_valid() {
    let place = Place::new();
    for key in [&b"x"[..], b"sk_0123456789abcdefg_0000000000", b"\0\xff\xfe", &[b'a'; 200_000]] {
        let ran = place.run_with(&["key", "verify"], key).exits(1);
        assert!(ran.stdout.starts_with("not valid: "), "{}", ran.stdout);
    }
    let error = place.run_with(&["key", "verify", "--json"], "\n").exits(3).error();
    assert_eq!(error["code"], "no-input");
    place.run(&["key", "verify", "--key-file", "missing"]).exits(3);
    let usage = place.run(&["usage", "--json"]).exits(0).records();
    assert_eq!(usage.len(), 4);
    assert!(usage.iter().all(|record| record["success"] == false));
}

#[test]
fn keys_that_cannot_be_made_or_found() {
    let place = Place::new();
    seen(&place, "key_issue_bad_rate", &["key", "issue", "x", "--rate-limit", "often"], "").exits(2);
    place.run(&["key", "issue", ""]).exits(2);
    place.run(&["key", "issue", "x", "--network", "everywhere"]).exits(2);
    place.run(&["key", "issue", "x", "--expires-in", "0"]).exits(2);
    seen(&place, "key_revoke_unknown", &["key", "revoke", "00000000000000000"], "").exits(1);
    let error = place.run(&["key", "rotate", "nothing", "--json"]).exits(1).error();
    assert_eq!(error["code"], "not-found");
}

#[test]
fn rotation_ends_the_value_of_the_environment() {
    let place = Place::new().with("API_KEY", "the-old-value-of-the-environment");
    let old = "the-old-value-of-the-environment";
    place.run_with(&["key", "verify"], old).exits(0);
    let rotated = place.run(&["rotate", "api_key"]).exits(0);
    let new = rotated.stdout.trim_end_matches('\n');
    assert_eq!(new.len(), 32);
    assert!(rotated.stderr.contains("API_KEY"));
    place.run_with(&["key", "verify"], old).exits(1);
    place.run_with(&["key", "verify"], new).exits(0);
    let lines = place.run(&["config", "show", "--json"]).records();
    let line = lines.iter().find(|line| line["name"] == "API_KEY").unwrap();
    assert!(line["note"].as_str().unwrap().starts_with("superseded by rotation at "), "{line}");

    let in_grace = place.run(&["rotate", "API_KEY", "--grace", "1h", "--json"]).exits(0).record();
    assert_eq!(in_grace["grace_seconds"], 3600);
    place.run_with(&["key", "verify"], new).exits(0);
    place.run_with(&["key", "verify"], in_grace["value"].as_str().unwrap()).exits(0);
    seen(&place, "rotate_unknown", &["rotate", "ROOT_PASSWORD"], "").exits(2);
}

#[test]
fn usage_and_suspicion() {
    let place = Place::new();
    assert_eq!(place.run(&["suspicion", "--json"]).exits(0).stdout, "");
    for _ in 0..12 {
        place.run_with(&["key", "verify", "--client-ip", "203.0.113.9"], "wrong").exits(1);
    }
    let limited = place.run(&["usage", "--limit", "3", "--json"]).exits(0).records();
    assert_eq!(limited.len(), 3);
    seen(&place, "usage_table", &["usage", "--limit", "2"], "").exits(0);
    let findings = place.run(&["suspicion", "--json"]).exits(10).records();
    assert!(findings.iter().any(|finding| finding["client_ips"] == json!(["203.0.113.9"])), "{findings:?}");
    assert!(place.run(&["suspicion"]).exits(10).stdout.starts_with("SEVERITY"));
}

#[test]
fn an_edited_audit_trail_is_broken() {
    let place = Place::new();
    place.run(&["key", "issue", "orders"]).exits(0);
    place.run(&["key", "issue", "mail"]).exits(0);
    assert_eq!(place.run(&["audit", "verify", "--json"]).exits(0).record()["intact"], true);
    let edited = std::fs::read_dir(place.path().join("data/logs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let changed = text.replace("\"orders\"", "\"others\"");
            std::fs::write(path, &changed).unwrap();
            changed != text
        })
        .count();
    assert_eq!(edited, 1);
    let report = place.run(&["audit", "verify", "--json"]).exits(1).record();
    assert_eq!(report["intact"], false);
    assert!(report["first_broken"].is_object() || report["first_broken"].is_string(), "{report}");
    assert!(place.run(&["audit", "verify"]).exits(1).stdout.contains("intact"));
}

#[test]
fn an_indicator_is_listed_checked_and_removed() {
    let place = Place::new();
    seen(
        &place,
        "ioc_add",
        &["ioc", "add", "ip", "192.0.2.1", "--source", "honeypot", "--confidence", "80"],
        "",
    )
    .exits(0);
    let merged = place.run(&["ioc", "add", "192[.]0[.]2[.]1", "-s", "partner", "--json"]).exits(0).record();
    assert_eq!(merged["sources"].as_array().unwrap().len(), 2);
    assert_eq!(merged["confidence"], 80);
    place.run(&["ioc", "add", "cidr", "198.51.100.0/24", "-t", "scanner"]).exits(0);
    seen(&place, "ioc_check", &["ioc", "check", "192.0.2.1", "198.51.100.7", "203.0.113.9"], "").exits(10);
    place.run(&["ioc", "check", "203.0.113.9"]).exits(0);
    let checks =
        place.run_with(&["ioc", "check", "--json"], "192.0.2.1\n\n203.0.113.9\n").exits(10).records();
    assert_eq!(checks.iter().map(|check| check["matched"] == true).collect::<Vec<_>>(), [true, false]);
    place.run(&["ioc", "remove", "192.0.2.1"]).exits(0);
    place.run(&["ioc", "check", "192.0.2.1"]).exits(0);
    seen(&place, "ioc_remove_unlisted", &["ioc", "remove", "192.0.2.1"], "").exits(1);
}

#[test]
fn what_is_no_indicator_is_refused() {
    let place = Place::new();
    seen(&place, "ioc_add_confidence", &["ioc", "add", "192.0.2.1", "-c", "101"], "").exits(2);
    seen(&place, "ioc_add_unclear", &["ioc", "add", "invoice"], "").exits(2);
    place.run(&["ioc", "add", "planet", "mars"]).exits(2);
    place.run(&["ioc", "add", "ip", "999.0.0.1"]).exits(2);
    let error = place.run(&["ioc", "check", "--json", "nothing"]).exits(2).error();
    assert_eq!(error["code"], "indicator-type-unclear");
    place.run(&["ioc", "check"]).exits(3);
}

#[test]
fn intelligence_is_searched() {
    let place = Place::new();
    place.run(&["ioc", "add", "evil.example", "-d", "phishing of a bank", "-t", "phishing"]).exits(0);
    place.run(&["ioc", "add", "192.0.2.1"]).exits(0);
    seen(&place, "intel_search", &["intel", "search", "phishing"], "").exits(0);
    let found = place.run(&["intel", "search", "--query", "{\"type\": \"ip\"}", "--json"]).exits(0).record();
    assert_eq!(found["value"], "192.0.2.1");
    assert_eq!(place.run(&["intel", "search", "--tag", "botnet", "--json"]).exits(0).stdout, "");
    seen(&place, "intel_search_bad_query", &["intel", "search", "--query", "type=ip"], "").exits(2);
    place.run(&["intel", "search", "--limit", "0"]).exits(2);
    place.run(&["intel", "show", "intel--nothing"]).exits(1);
}

#[test]
fn indicators_are_extracted() {
    let place = Place::new();
    let text = "beacon to hxxps://evil[.]example/gate and 192.0.2.1, then 192.0.2.1 again\n";
    place.write("mail.eml", text);
    seen(&place, "extract", &["extract", "mail.eml"], "").exits(0);
    let records = place.run(&["extract", "mail.eml", "--json"]).exits(0).records();
    let values: Vec<&str> = records.iter().map(|record| record["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["https://evil.example/gate", "192.0.2.1", "192.0.2.1"]);
    assert_eq!((&records[0]["start"], &records[0]["defanged"]), (&json!(10), &json!(true)));
    assert!(records[0]["context"].as_str().unwrap().contains("beacon"));
    let unique = place.run_with(&["extract", "--unique", "-t", "ip"], text).exits(0);
    assert_eq!(unique.stdout, "ip\t192.0.2.1\n");
    let two = place.run(&["extract", "mail.eml", "mail.eml", "-t", "url"]).exits(0).stdout;
    assert_eq!(two, "mail.eml\turl\thttps://evil.example/gate\n".repeat(2));
    assert_eq!(place.run_with(&["extract"], "nothing here\n").exits(0).stdout, "");
    seen(&place, "extract_nothing", &["extract"], "").exits(3);
    seen(&place, "extract_unknown_type", &["extract", "-t", "planet", "mail.eml"], "").exits(2);
    place.run(&["extract", "missing.eml"]).exits(3);
    assert!(!place.path().join("data").exists(), "extraction opens no engine");
}

#[test]
fn folders_are_extracted_in_the_order_of_their_names() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().join("logs/b/empty")).unwrap();
    // More files than are read at a time, and one that is too large to be held.
    for n in 0..150 {
        place.write(&format!("logs/b/{n:03}.log"), format!("beacon to 192.0.2.{n}\n"));
    }
    place.write("logs/a.log", format!("{}c2[.]example[.]com\n", "nothing to see here\n".repeat(250_000)));
    let ran = place.run(&["extract", "logs"]).exits(0);
    let expected = (0..150).map(|n| format!("logs/b/{n:03}.log\tip\t192.0.2.{n}\n"));
    assert_eq!(ran.stdout, format!("logs/a.log\tdomain\tc2.example.com\n{}", expected.collect::<String>()));
    let records = place.run(&["extract", "logs", "--limit", "2", "--json"]).exits(0).records();
    assert_eq!((records.len(), &records[0]["start"]), (2, &json!(5_000_000)));
    assert_eq!(place.run(&["extract", "logs", "-u", "-t", "ip"]).exits(0).stdout.lines().count(), 150);
    place.run(&["extract", "logs/b/empty"]).exits(3);
    place.write("logs/c.gz", b"\x1f\x8b no gzip");
    let broken = place.run(&["extract", "logs", "-t", "domain"]).exits(1);
    assert_eq!(broken.stdout, "logs/a.log\tdomain\tc2.example.com\n");
    assert!(broken.stderr.contains("cannot read logs/c.gz"), "{}", broken.stderr);
}

#[test]
fn offsets_are_those_of_the_file_whatever_its_size() {
    let place = Place::new();
    // More than one block, with bytes that are no UTF-8 before and no line break at the end.
    let mut bytes = b"\xff\xfe\n".to_vec();
    bytes.extend(b"nothing to see in this line\n".iter().copied().cycle().take((17 << 20) / 28 * 28));
    let start = bytes.len();
    bytes.extend(b"192.0.2.1");
    place.write("large.log", &bytes);
    let record = place.run(&["extract", "large.log", "--json"]).exits(0).record();
    assert_eq!((&record["start"], &record["end"]), (&json!(start), &json!(start + 9)));
}

#[test]
fn no_find_is_dropped_however_many_there_are() {
    let place = Place::new();
    // More than a million, 12 bytes each.
    place.write("dense.log", "192.0.2.1 x\n".repeat(1_000_100));
    let ran = place.run(&["extract", "dense.log"]).exits(0);
    assert_eq!(ran.stdout.lines().count(), 1_000_100);
}

#[test]
fn attackers_text_does_nothing_to_the_terminal() {
    let place = Place::new();
    let evil = "\u{1b}]0;owned\u{7}\u{202e}gpj.exe\u{9b}2J";
    let rule = json!({"name": "Evil", "detection": {"pattern": "owned", "field": "user_agent"}});
    place.write("rule.json", rule.to_string());
    place.run(&["rule", "add", "rule.json"]).exits(0);
    let event = json!({"user_agent": evil}).to_string();
    let shown = [
        place.run_with(&["detect"], &event).exits(10),
        place.run_with(&["detect", "--json"], &event).exits(10),
        place.run(&["alerts"]).exits(0),
        place.run(&["alerts", "--json"]).exits(0),
        place.run_with(&["defang"], evil).exits(0),
        place.run(&["extract", "--", evil.trim_matches('\u{7}')]).exits(3),
        place.run(&["ioc", "check", evil]).exits(2),
    ];
    for ran in shown {
        for letter in (ran.stdout + &ran.stderr).chars() {
            let harmless = letter == '\n' || letter == '\t' || !letter.is_control() && letter != '\u{202e}';
            assert!(harmless, "{letter:?}");
        }
    }
    let alert = &place.run(&["alerts", "--json"]).records()[0];
    assert_eq!(alert["evidence"][0]["value"], evil, "JSON says the same, only escaped");
}

#[test]
fn words_are_identified_defanged_and_refanged() {
    let place = Place::new();
    assert_eq!(place.run(&["identify", "192.0.2.1"]).exits(0).stdout, "ip\t192.0.2.1\n");
    let mixed = place.run_with(&["identify", "--json"], "evil[.]example\nnothing\n").exits(1).records();
    assert_eq!(
        mixed,
        [json!({"value": "evil[.]example", "type": "domain"}), json!({"value": "nothing", "type": null})]
    );
    place.run(&["identify"]).exits(3);
    assert_eq!(
        place.run_with(&["defang"], "see http://evil.example/\tnow\n").exits(0).stdout,
        "see hxxp://evil[.]example/\tnow\n"
    );
    assert_eq!(place.run(&["refang", "evil[.]example"]).exits(0).stdout, "evil.example\n");
    place.write("text", "evil.example\n");
    assert_eq!(place.run(&["defang", "--file", "text"]).exits(0).stdout, "evil[.]example\n");
    place.run(&["defang", "--file", "missing"]).exits(3);
    place.run(&["refang"]).exits(3);
}

const RULE: &str = "# ours\nid: admin-path\nname: Admin path\nseverity: high\ndetection:\n  condition: {field: path, contains: /wp-admin}\n";
const EVENTS: &str = "{\"path\": \"/blog/wp-admin\"}\n{\"path\": \"/\"}\n";

#[test]
fn rules_are_tried_added_and_listed() {
    let place = Place::new();
    place.write("admin.yml", RULE);
    place.write("events.jsonl", EVENTS);
    seen(&place, "rule_test", &["rule", "test", "admin.yml", "events.jsonl"], "").exits(10);
    place.run_with(&["rule", "test", "admin.yml", "-"], "{\"path\": \"/\"}").exits(0);
    assert_eq!(place.run(&["alerts", "--json"]).stdout, "", "a trial records nothing");
    seen(&place, "rule_add_file", &["rule", "add", "admin.yml"], "").exits(0);
    let kept = place.path().join("data/threat_rules/admin.yml");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), RULE);
    let detection = "{\"ioc\": {\"type\": \"ip\", \"value\": \"203.0.113.0/24\"}}";
    let added = place
        .run(&[
            "rule",
            "add",
            "Bad network",
            "--detection",
            detection,
            "-s",
            "critical",
            "-t",
            "net",
            "--json",
        ])
        .exits(0)
        .record();
    assert_eq!((&added["severity"], &added["tags"]), (&json!("critical"), &json!(["net"])));
    place.write("detection.json", "{\"pattern\": \"etc/passwd\"}");
    place.run(&["rule", "add", "Password file", "--detection", "@detection.json"]).exits(0);
    let rules = place.run(&["rule", "list", "--json"]).exits(0).records();
    assert_eq!(rules.len(), 3);
    assert!(place.run(&["rule", "list"]).exits(0).stdout.starts_with("ID"));
}

#[test]
fn rules_that_cannot_be_used() {
    let place = Place::new();
    place.write("bad.yml", RULE.replace("severity", "severty"));
    seen(&place, "rule_add_misspelt", &["rule", "add", "bad.yml"], "").exits(2);
    seen(&place, "rule_add_nothing", &["rule", "add", "Just a name"], "").exits(2);
    place.run(&["rule", "add", "x", "--detection", "{nonsense"]).exits(2);
    place.run(&["rule", "add", "x", "--detection", "@missing.json"]).exits(3);
    place.run(&["rule", "add", "x", "--detection", "{\"pattern\": \"(\"}"]).exits(2);
    place.run(&["rule", "add", "missing.yml"]).exits(3);
    place.write("admin.yml", RULE);
    place.run(&["rule", "test", "admin.yml", "missing.jsonl"]).exits(3);
    place.run(&["rule", "test", "admin.yml", "-"]).exits(3);
    place.run(&["rule", "add", "admin.yml"]).exits(0);
    // A file that a person put there and that is not in force must be seen.
    place.write("data/threat_rules/bad.yml", RULE.replace("severity", "severty"));
    let listed = place.run(&["rule", "list", "--json"]).exits(1);
    assert_eq!(listed.records().len(), 1);
    assert!(listed.error()["message"].as_str().unwrap().contains("bad.yml"));
}

#[test]
fn events_raise_alerts() {
    let place = Place::new();
    place.write("admin.yml", RULE);
    place.run(&["rule", "add", "admin.yml"]).exits(0);
    place.write("events.jsonl", EVENTS);
    seen(&place, "detect", &["detect", "events.jsonl"], "").exits(10);
    let alert = place.run(&["detect", "events.jsonl", "--json"]).exits(10).record();
    assert_eq!((&alert["rule_id"], &alert["context"]["line"]), (&json!("admin-path"), &json!(1)));
    place.run_with(&["detect"], "[{\"path\": \"/\"},\n {\"path\": \"/wp-admin\"}]").exits(10);
    place.run_with(&["detect"], "{\"path\": \"/\"}").exits(0);
    place.run_with(&["detect", "--text"], "GET /wp-admin\n").exits(0);
    seen(&place, "detect_not_json", &["detect"], "{\"path\": \"/\"}\nGET /\n").exits(1);
    let skipped =
        place.run_with(&["detect", "--skip-bad"], "nonsense\n{\"path\": \"/wp-admin\"}\n").exits(10);
    assert!(skipped.stderr.contains("1 bad line skipped"), "{}", skipped.stderr);
    place.run(&["detect"]).exits(3);
    place.run(&["detect", "missing.jsonl"]).exits(3);
    let alerts = place.run(&["alerts", "--severity", "high", "--json"]).exits(0).records();
    assert_eq!(alerts.len(), 4);
    seen(&place, "alerts", &["alerts", "--limit", "1"], "").exits(0);
    place.run(&["alerts", "--severity", "dreadful"]).exits(2);
}

#[test]
fn alerts_come_while_the_input_goes_on() {
    let place = Place::new();
    place.write("admin.yml", RULE);
    place.run(&["rule", "add", "admin.yml"]).exits(0);
    let mut child = place.command(&["detect", "--json"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdin.write_all(EVENTS.as_bytes()).unwrap();
    let mut first = [0];
    stdout.read_exact(&mut first).unwrap(); // blocks for ever unless the alert is out before the input ends
    assert_eq!(&first, b"{");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(10));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let place = Place::new();
    let text = "192.0.2.1 ".repeat(200_000);
    place.write("many.txt", text);
    for arguments in [&["extract", "many.txt"][..], &["extract", "many.txt", "--json"], &["--help"]] {
        let mut child = place.command(arguments).stdin(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

/// A TAXII server of one collection, one answer a connection; enough to pull from.
fn taxii_server(objects: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let root = format!("{address}/api1/");
    let collection = json!({"id": "6a2f1f0e-6c1d-4b57-8a55-0d2f3a6f7b01", "title": "Ours", "can_read": true, "can_write": false});
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => request.extend(&buffer[..read]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split_whitespace().nth(1).unwrap_or_default();
            let authorised = request.contains("Basic YW5hbHlzdDpnZWhlaW0="); // analyst:geheim
            let (status, body) = match path.split('?').next().unwrap_or_default() {
                _ if !authorised => ("401 Unauthorized", json!({"title": "who are you"})),
                "/taxii2/" => ("200 OK", json!({"title": "test", "api_roots": [root]})),
                "/api1/" => (
                    "200 OK",
                    json!({"title": "root", "versions": ["application/taxii+json;version=2.1"], "max_content_length": 1_000_000}),
                ),
                "/api1/collections/" => ("200 OK", json!({"collections": [collection]})),
                found if found.ends_with("/objects/") => {
                    ("200 OK", json!({"more": false, "objects": objects}))
                }
                _ => ("404 Not Found", json!({"title": "no such thing"})),
            };
            let body = body.to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/taxii+json;version=2.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("{address}/taxii2/")
}

#[test]
fn a_taxii_server_is_stored_and_pulled_from() {
    let url = taxii_server(json!([
        {"type": "indicator", "spec_version": "2.1", "id": "indicator--11111111-1111-4111-8111-111111111111",
         "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "name": "Ours",
         "pattern": "[domain-name:value = 'evil.example']", "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00Z"},
        {"type": "malware", "spec_version": "2.1", "id": "malware--22222222-2222-4222-8222-222222222222",
         "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "name": "Worm", "is_family": false},
    ]));
    let place = Place::new();
    let add = ["taxii", "add", "ours", "--url", &url, "--username", "analyst", "--password-stdin", "--json"];
    let stored = place.run_with(&add, "geheim\n").exits(0);
    assert_eq!(stored.record()["has_password"], true);
    let listed = place.run(&["taxii", "list", "--json"]).exits(0);
    assert_eq!(listed.record()["name"], "ours");
    assert!(!(stored.stdout + &listed.stdout).contains("geheim"));
    let collections = place.run(&["taxii", "collections", "--json"]).exits(0).record();
    assert_eq!(collections["title"], "Ours");
    assert!(place.run(&["taxii", "collections", "ours"]).exits(0).stdout.starts_with("ID"));
    let pulled = place.run(&["taxii", "pull", "ours", "--json"]).exits(0).record();
    assert_eq!((&pulled["objects"], &pulled["indicators_added"]), (&json!(2), &json!(1)));
    assert_eq!(pulled["intel_ids"].as_array().unwrap().len(), 2);
    seen(&place, "taxii_pull_again", &["taxii", "pull", "--indicators-only"], "").exits(0);
    place.run(&["ioc", "check", "evil.example"]).exits(10);
    let record = place.run(&["intel", "show", pulled["intel_ids"][0].as_str().unwrap()]).exits(0);
    assert!(record.stdout.contains("taxii:ours"), "{}", record.stdout);
    let error = place.run(&["taxii", "pull", "--collection", "nothing", "--json"]).exits(1).error();
    assert_eq!(error["code"], "not-found");
    place.run(&["taxii", "pull", "ours", "--priority", "Dreadful"]).exits(2);

    place.run_with(&add, "wrong\n").exits(0);
    let error = place.run(&["taxii", "pull", "ours", "--json"]).exits(1).error();
    assert!(!error.to_string().contains("wrong\""), "{error}");
}

#[test]
fn taxii_servers_that_cannot_be_used() {
    let place = Place::new();
    seen(&place, "taxii_pull_without_server", &["taxii", "pull"], "").exits(2);
    place.run(&["taxii", "add", "plain", "--url", "http://taxii.example/"]).exits(2);
    place.run(&["taxii", "add", "../up", "--url", "https://taxii.example/"]).exits(2);
    place.run(&["taxii", "add", "x", "--url", "https://taxii.example/", "--password-stdin"]).exits(2);
    place
        .run(&[
            "taxii",
            "add",
            "x",
            "--url",
            "https://taxii.example/",
            "-u",
            "u",
            "--password-file",
            "missing",
        ])
        .exits(3);
    place.run(&["taxii", "pull", "unknown"]).exits(1);
    seen(&place, "taxii_pull_bad_time", &["taxii", "pull", "--since", "yesterday"], "").exits(2);
    // Port 1 of loopback answers nobody.
    place.run(&["taxii", "add", "dead", "--url", "http://127.0.0.1:1/taxii2/"]).exits(0);
    seen(&place, "taxii_pull_dead", &["taxii", "pull"], "").exits(1);
}

#[test]
fn quiet_leaves_results_and_errors() {
    let place = Place::new();
    let ran = place.run(&["key", "issue", "orders", "--quiet"]).exits(0);
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (1, ""));
    assert!(!place.run(&["-q", "extract", "missing"]).exits(3).stderr.is_empty());
}

#[test]
fn the_log_goes_to_stderr_and_its_filter_is_checked() {
    let place = Place::new().with("SECURITY_LOG", "warn");
    place.run(&["init"]).exits(0);
    place.write("data/threat_rules/bad.yml", "name: [");
    let ran = place.run(&["rule", "list"]).exits(1);
    assert!(ran.stderr.contains("WARN") && !ran.stdout.contains("WARN"), "{}", ran.stderr);
    let place = Place::new().with("SECURITY_LOG", "=====");
    let ran = place.run(&["status"]).exits(2);
    assert!(ran.stderr.contains("SECURITY_LOG"), "{}", ran.stderr);
}
