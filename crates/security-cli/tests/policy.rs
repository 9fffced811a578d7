//! `security policy`: what it shows, what it refuses, and that it has no consequences.
#![allow(clippy::unwrap_used, reason = "tests")]

mod place;
mod seen;

use place::Place;
use seen::seen;

#[test]
fn says_why_a_request_is_turned_away() {
    let place = Place::new();
    place.write(
        "request.json",
        r#"{"method": "POST", "path": "/search", "query": "q=1%27+or+1%3D1--", "remote_addr": "203.0.113.7",
            "headers": {"Content-Type": "application/json", "User-Agent": "${jndi:ldap://x.example/a}"},
            "body": "{\"comment\": [\"<script>alert(1)</script>\"], \"password\": \"' or 1=1--\"}"}"#,
    );
    seen(&place, "policy_explain", &["policy", "explain", "request.json"], "").exits(10);
    let records = place.run(&["policy", "explain", "request.json", "--json"]).exits(10).records();
    assert_eq!((&records[0]["action"], &records[0]["status"]), (&"deny".into(), &403.into()));
    let all = records[0].to_string();
    assert!(
        all.contains("body:/comment/0") && all.contains("query:q") && all.contains("header:user-agent"),
        "{all}"
    );
}

#[test]
fn says_that_a_request_goes_on() {
    let place = Place::new();
    let innocent = r#"{"path": "/search", "query": "name=O%27Brien", "headers": [["Accept", "*/*"]]}"#;
    place.run_with(&["policy", "explain", "-"], innocent).exits(0);
    // However often: nothing is counted.
    place.write("strict.toml", "[web.limits]\nclient = \"1/hour\"\n");
    for _ in 0..3 {
        place.run_with(&["policy", "explain", "-", "--config", "strict.toml"], innocent).exits(0);
    }
}

#[test]
fn refuses_what_is_no_request() {
    let place = Place::new();
    for (document, mentions) in [
        ("[]", "a JSON object is needed"),
        ("{", "no JSON"),
        (r#"{"url": "/"}"#, "`url` is no part"),
        (r#"{"path": 1}"#, "path: a text"),
        (r#"{"headers": ["x"]}"#, "headers: an object"),
    ] {
        let ran = place.run_with(&["policy", "explain", "-"], document).exits(1);
        assert!(ran.stderr.contains(mentions), "{document}: {}", ran.stderr);
    }
    place.run(&["policy", "explain", "missing.json"]).exits(3);
    place.run(&["policy", "explain"]).exits(2);
}

#[test]
fn reads_a_policy_out_and_says_what_is_risky() {
    let place = Place::new();
    place.run(&["policy", "check"]).exits(0);
    place.write(
        "security.toml",
        r#"
        [web]
        trusted_networks = ["10.0.0.0/8"]
        [web.client_address]
        trusted_proxies = ["0.0.0.0/0"]
        [web.inspection]
        mode = "report"
        [web.bodies]
        max_bytes = 1048576
        "#,
    );
    seen(&place, "policy_check", &["policy", "check", "security.toml"], "").exits(10);
    let review = place.run(&["policy", "check", "security.toml", "--json"]).exits(10).record();
    let risks: Vec<&str> = review["remarks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|remark| remark["level"] == "risk")
        .map(|remark| remark["setting"].as_str().unwrap())
        .collect();
    assert_eq!(risks, ["client_address.trusted_proxies", "inspection.mode"]);
    place.run(&["policy", "check", "missing.toml"]).exits(3);
    place.write("wrong.toml", "[web]\nmode = \"off\"\n");
    seen(&place, "policy_check_wrong", &["policy", "check", "wrong.toml"], "").exits(2);
    let entries = std::fs::read_dir(place.path()).unwrap().count();
    assert_eq!(entries, 2, "nothing is opened or made");
}
