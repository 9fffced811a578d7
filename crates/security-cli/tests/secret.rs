//! `security secret` with the built binary: from the first secret to the destroyed one.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as expected")]

mod place;
mod seen;

use place::Place;
use seen::seen;
use serde_json::json;

#[test]
fn a_secret_from_its_first_version_to_its_end() {
    let place = Place::new();
    let put = ["secret", "put", "mail/smtp-password", "--metadata", "owner=shop"];
    let first = seen(&place, "secret_put_first", &put, "hunter2-hunter2\n").exits(0);
    assert!(first.stderr.contains("master-"), "whoever makes a key file hears of it");
    let file = place.write("value.txt", "correct horse\r\n");
    let ran = place.run(&["secret", "put", "mail/smtp-password", "--file", file.to_str().unwrap(), "--json"]);
    assert_eq!(ran.exits(0).record()["version"], 2);
    assert_eq!(place.run(&["secret", "get", "mail/smtp-password"]).exits(0).stdout, "correct horse\n");
    let first = place.run(&["secret", "get", "mail/smtp-password", "--version", "1", "--json"]).exits(0);
    assert_eq!(first.record(), json!({"name": "mail/smtp-password", "value": "hunter2-hunter2"}));

    let conflict = ["secret", "put", "mail/smtp-password", "--if-version", "1"];
    seen(&place, "secret_put_conflict", &conflict, "x").exits(1);
    let listed = seen(&place, "secret_list", &["secret", "list"], "").exits(0);
    assert!(!listed.stdout.contains("horse"));
    seen(&place, "secret_rotate", &["secret", "rotate"], "").exits(0);
    assert_eq!(place.run(&["secret", "get", "mail/smtp-password"]).exits(0).stdout, "correct horse\n");

    seen(&place, "secret_delete", &["secret", "delete", "mail/smtp-password"], "").exits(0);
    seen(&place, "secret_get_deleted", &["secret", "get", "mail/smtp-password"], "").exits(1);
    assert_eq!(place.run(&["secret", "list"]).exits(0).stdout, "");
    assert_eq!(place.run(&["secret", "list", "--all", "--json"]).exits(0).record()["version"], 2);
    place.run(&["secret", "restore", "mail/smtp-password"]).exits(0);
    assert_eq!(place.run(&["secret", "get", "mail/smtp-password"]).exits(0).stdout, "correct horse\n");
    let destroy = ["secret", "delete", "mail/smtp-password", "--destroy", "--json"];
    assert_eq!(place.run(&destroy).exits(0).record()["versions"], 2);
    place.run(&["secret", "get", "mail/smtp-password"]).exits(1);
    seen(&place, "secret_get_unknown", &["secret", "get", "nothing"], "").exits(1);
    assert!(place.run(&["audit", "verify"]).exits(0).stdout.contains("intact"));
}

#[test]
fn what_is_no_text_comes_back_byte_for_byte() {
    let place = Place::new();
    for (name, bytes) in [("a", &b"\xff\xfe\n"[..]), ("b", b"\0\x80\r\n"), ("c", b"-----BEGIN\nEND-----\n")] {
        place.run_with(&["secret", "put", name], bytes).exits(0);
        let mut get = place.command(&["secret", "get", name]);
        assert_eq!(get.output().unwrap().stdout, bytes, "{name}");
    }
    let error = place.run(&["secret", "get", "a", "--json"]).exits(1).error();
    assert_eq!(error["code"], "output");
}

#[test]
fn no_value_is_taken_from_the_command_line_or_repeated() {
    let place = Place::new();
    seen(&place, "secret_put_misplaced", &["secret", "put", "a", "verysecret"], "").exits(2);
    for arguments in
        [&["a", "--", "-verysecret"][..], &["a", "-verysecret", "--json"], &["a", "--value=verysecret"]]
    {
        let ran = place.run(&[&["secret", "put"], arguments].concat()).exits(2);
        assert!(!ran.stderr.contains("verysecret"), "{}", ran.stderr);
    }
    assert!(!place.path().join("data").exists(), "nothing is opened for a command line that is refused");
    for name in ["../a", "a\u{202e}b", "p\u{430}ypal", &"n".repeat(129)] {
        let error = place.run_with(&["secret", "put", name, "--json"], "x").exits(2).error();
        assert!(error["message"].as_str().unwrap().starts_with("name: "), "{error}");
    }
    place.run_with(&["secret", "put", "a"], "\n").exits(3);
    place.run_with(&["secret", "put", "a"], "x".repeat(65_537)).exits(2);
    place.run_with(&["secret", "put", "a"], "x".repeat(65_536) + "\r\n").exits(0);
    place.run(&["secret", "put", "a", "--file", "missing"]).exits(3);
}

#[test]
fn a_key_that_is_not_here_is_told_and_nothing_is_lost() {
    let place = Place::new().with("SECURITY_MASTER_KEY", &"11".repeat(32));
    let put = place.run_with(&["secret", "put", "a"], "value").exits(0);
    assert_eq!(put.stderr, "", "no key file is made beside the operator's key");
    let other = Place::new();
    let data = place.path().join("data");
    let arguments = ["secret", "get", "a", "--data-dir", data.to_str().unwrap(), "--json"];
    let error = other.run(&arguments).exits(1).error();
    assert_eq!(error["code"], "secret-master-key");
    assert!(error["hint"].as_str().unwrap().contains("SECURITY_MASTER_KEY"));
    assert_eq!(place.run(&["secret", "get", "a"]).exits(0).stdout, "value\n");
    let shown = place.run(&["config", "show", "--json"]).exits(0);
    assert!(!shown.stdout.contains("1111"));
    let line = shown.records().into_iter().find(|line| line["name"] == "SECURITY_MASTER_KEY").unwrap();
    assert_eq!(
        (&line["value"], &line["source"]),
        (&json!("****"), &json!("environment SECURITY_MASTER_KEY"))
    );
    assert!(line["note"].as_str().unwrap().ends_with(", in force"));
    place.run(&["secret", "rotate"]).exits(2);
    // A key that is merely set is not the one in force yet.
    let next = Place::new()
        .with("SECURITY_MASTER_KEY", &"22".repeat(32))
        .with("SECURITY_MASTER_KEY_PREVIOUS", &"11".repeat(32));
    let elsewhere = |arguments: &[&str]| {
        next.run(&[arguments, &["--data-dir", data.to_str().unwrap(), "--json"]].concat()).exits(0)
    };
    let note = |ran: place::Ran| {
        let line = ran.records().into_iter().find(|line| line["name"] == "SECURITY_MASTER_KEY").unwrap();
        line["note"].as_str().unwrap().to_owned()
    };
    assert!(note(elsewhere(&["config", "show"])).ends_with("until `security secret rotate`"));
    assert_eq!(elsewhere(&["secret", "rotate"]).record()["rewrapped"], 1);
    assert!(note(elsewhere(&["config", "show"])).ends_with(", in force"));
    assert_eq!(elsewhere(&["secret", "get", "a"]).record()["value"], "value");
}
