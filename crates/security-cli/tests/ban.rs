//! `security ban`: what it shows, what it refuses, and that another process's requests are turned away.
#![allow(clippy::unwrap_used, reason = "tests")]

mod place;
mod seen;

use place::Place;
use seen::seen;

const REQUEST: &str = r#"{"path": "/", "remote_addr": "203.0.113.7"}"#;

#[test]
fn added_listed_and_lifted() {
    let place = Place::new();
    place.run_with(&["policy", "explain", "-"], REQUEST).exits(0);
    seen(&place, "ban_list_empty", &["ban", "list"], "").exits(0);
    let add = ["ban", "add", "203.0.113.0/24", "--for", "12h", "--reason", "scans, ticket 4711"];
    seen(&place, "ban_add", &add, "").exits(0);
    let shorter = place.run(&["ban", "add", "2001:db8:1:2::9", "--for", "60", "--json"]).exits(0).record();
    assert_eq!(shorter["network"], "2001:db8:1:2::/64");
    let listed = place.run(&["ban", "list", "--json"]).exits(0).records();
    let networks: Vec<&str> = listed.iter().map(|ban| ban["network"].as_str().unwrap()).collect();
    assert_eq!(networks, ["2001:db8:1:2::/64", "203.0.113.0/24"], "those that end first first");
    assert!(listed[1]["by"].as_str().unwrap().starts_with("uid "));

    let denied = place.run_with(&["policy", "explain", "-", "--json"], REQUEST).exits(10).record();
    assert_eq!((&denied["status"], &denied["body"]["error"]), (&403.into(), &"banned".into()));
    assert!(denied["reasons"].to_string().contains("ticket 4711"));

    place.run(&["ban", "add", "203.0.113.0/24", "--for", "1h", "--reason", "again"]).exits(0);
    assert_eq!(place.run(&["ban", "list", "--json"]).records().len(), 2, "the same network is one ban");
    seen(&place, "ban_remove", &["ban", "remove", "203.0.113.0/24"], "").exits(0);
    place.run_with(&["policy", "explain", "-"], REQUEST).exits(0);
    seen(&place, "ban_remove_unknown", &["ban", "remove", "203.0.113.0/24"], "").exits(1);

    let acts = place.run(&["audit", "show", "--json"]).exits(0).records();
    let events: Vec<&str> = acts.iter().map(|act| act["event"].as_str().unwrap()).collect();
    assert!(events.contains(&"client_banned") && events.contains(&"ban_lifted"), "{events:?}");
    place.run(&["audit", "verify"]).exits(0);
}

#[test]
fn refuses_what_cannot_be_meant() {
    let place = Place::new();
    for (arguments, mentions) in [
        (vec!["0.0.0.0/0"], "everybody"),
        (vec!["::/0"], "everybody"),
        (vec!["203.0.113.9/24"], "host bits"),
        (vec!["example.com"], "no network"),
        (vec!["203.0.113.9", "--for", "0"], "one second to 366 days"),
        (vec!["203.0.113.9", "--for", "367d"], "one second to 366 days"),
        (vec!["203.0.113.9", "--reason", "two\nlines"], "on one line"),
    ] {
        let ran = place.run(&[vec!["ban", "add"], arguments.clone()].concat()).exits(2);
        assert!(ran.stderr.contains(mentions), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(place.run(&["ban", "list", "--json"]).exits(0).stdout, "");
}
