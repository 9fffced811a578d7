//! The built binary and warninglists.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as expected")]

mod place;
mod seen;

use place::Place;
use seen::seen;
use serde_json::json;

#[test]
fn lists_are_loaded_asked_and_removed() {
    let place = Place::new();
    let list = json!({
        "name": "Known resolvers", "description": "d", "version": 3, "type": "cidr",
        "matching_attributes": ["ip-src", "ip-dst"], "list": ["8.8.8.0/24", "9.9.9.9"],
    });
    place.write("resolvers.json", list.to_string());
    place.write("top.json", json!({"name": "Top", "type": "hostname", "list": ["google.com"]}).to_string());
    place.write("bad.json", json!({"name": "Bad", "type": "cidr", "list": ["x"]}).to_string());
    seen(&place, "warninglist_load", &["warninglist", "load", "resolvers.json", "top.json"], "").exits(0);
    let refused = place.run(&["warninglist", "load", "bad.json", "--json"]).exits(1).error();
    assert_eq!(refused["code"], "warninglist-malformed");
    seen(&place, "warninglist_list", &["warninglist", "list"], "").exits(0);
    let arguments = ["warninglist", "check", "8.8.8.8", "www.google.com", "10.0.0.1", "9.9.9.8"];
    seen(&place, "warninglist_check", &arguments, "").exits(10);
    place.run(&["warninglist", "check", "9.9.9.8"]).exits(0);

    let text = "8.8.8.8 and 9.9.9.8 and mail.google.com";
    let kept = place.run_with(&["extract"], text).exits(0).stdout;
    assert_eq!(kept, "ip\t8.8.8.8\nip\t9.9.9.8\ndomain\tmail.google.com\n");
    let dropped = place.run_with(&["extract", "--warninglists", "drop"], text).exits(0).stdout;
    assert_eq!(dropped, "ip\t9.9.9.8\n");
    let flagged = place.run_with(&["extract", "--warninglists", "flag", "--json"], text).exits(0).records();
    let lists: Vec<_> = flagged.iter().map(|found| found["warnings"][0]["list"].clone()).collect();
    assert_eq!(lists, [json!("Known resolvers"), json!(null), json!("Top")]);
    place.run(&["ioc", "add", "8.8.8.8"]).exits(0);
    place.run_with(&["scan"], text).exits(10);
    place.run_with(&["scan", "--warninglists", "drop"], text).exits(0);

    place.run(&["warninglist", "remove", "Top"]).exits(0);
    place.run(&["warninglist", "remove", "Top"]).exits(1);
    place.run(&["warninglist", "check", "www.google.com"]).exits(0);
}
