//! Warninglists: how entries of each type meet values, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use security_core::Coded as _;
use security_indicators::Indicator;
use security_intel::{WarningList, WarningLists};
use serde_json::{Value, json};

fn list(name: &str, kind: &str, attributes: &[&str], entries: &[&str]) -> WarningList {
    let value = json!({
        "name": name, "description": "", "version": 7, "type": kind, "matching_attributes": attributes,
        "list": entries,
    });
    WarningList::from_value(value).unwrap()
}

fn met(lists: &WarningLists, checked: &str) -> Vec<String> {
    let checked: Indicator = checked.parse().unwrap();
    let warnings = lists.check(&checked);
    warnings.iter().map(|w| format!("{} {} {}", w.list, w.match_type, w.entry)).collect()
}

#[test]
fn each_type_meets_in_its_own_way() {
    let lists = [
        list("top", "string", &["domain", "hostname"], &["Google.COM", "bücher.de", "tld"]),
        list("empty", "string", &["md5", "sha1"], &["D41D8CD98F00B204E9800998ECF8427E"]),
        list("banks", "hostname", &["domain", "hostname", "url"], &[".bank.com", "api.bank.com"]),
        list(
            "cloud",
            "cidr",
            &["ip-src", "ip-dst|port"],
            &["8.8.0.0/16", "8.8.8.0/24", "9.9.9.9", "2606:4700::/32"],
        ),
        list("throw-away", "substring", &["email-src"], &["@Throwaway.net"]),
        list("contacts", "regex", &["target-email"], &[r"/^(noc|abuse)\@.*\..*$/i"]),
        list("everything", "string", &[], &["1.2.3.4", "http://shop.com/a?b=C"]),
    ];
    let lists = WarningLists::compile(&lists).unwrap();
    for (checked, expected) in [
        ("domain:google.com", &["top string google.com"][..]),
        ("domain:www.google.com", &[]),
        ("domain:xn--bcher-kva.de", &["top string xn--bcher-kva.de"]),
        ("url:http://google.com/", &[]),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", &["empty string d41d8cd98f00b204e9800998ecf8427e"]),
        ("domain:bank.com", &["banks hostname bank.com"]),
        ("domain:x.api.bank.com", &["banks hostname api.bank.com"]),
        ("domain:notbank.com", &[]),
        ("url:https://login.bank.com/x", &["banks hostname bank.com"]),
        ("email:x@bank.com", &[]),
        ("ip:8.8.8.8", &["cloud cidr 8.8.8.0/24"]),
        ("ip:8.8.9.8", &["cloud cidr 8.8.0.0/16"]),
        ("ip:9.9.9.9", &["cloud cidr 9.9.9.9/32"]),
        ("ip:9.9.9.8", &[]),
        ("cidr:8.8.8.0/25", &["cloud cidr 8.8.8.0/24"]),
        ("cidr:8.0.0.0/8", &[]),
        ("ip:port:8.8.8.8:53", &["cloud cidr 8.8.8.0/24"]),
        ("ip:2606:4700::1111", &["cloud cidr 2606:4700::/32"]),
        ("email:me@throwaway.net", &["throw-away substring @Throwaway.net"]),
        ("email:abuse@shop.com", &[r"contacts regex /^(noc|abuse)\@.*\..*$/i"]),
        ("email:abuser@shop.com", &[]),
        ("ip:1.2.3.4", &["everything string 1.2.3.4"]),
        ("url:http://shop.com/a?b=C", &["everything string http://shop.com/a?b=C"]),
        ("url:http://shop.com/a?b=c", &[]),
        // Built in.
        ("ip:10.1.2.3", &["special-use special-use private"]),
        ("domain:www.example.org", &["special-use special-use documentation"]),
        ("url:http://192.0.2.1/x", &["special-use special-use documentation"]),
    ] {
        assert_eq!(met(&lists, checked), expected, "{checked}");
    }
    let infos = lists.lists();
    assert_eq!((infos.len(), infos[3].entries, &infos[3].version), (7, 4, &Value::from(7)));
    assert!(lists.bytes() < 10_000, "{}", lists.bytes());
}

#[test]
fn many_lists_warn_in_their_order_and_each_once() {
    let lists = [
        list("one", "cidr", &[], &["8.0.0.0/8", "8.8.8.0/24", "8.8.8.8"]),
        list("two", "string", &[], &["8.8.8.8", "8.8.8.8"]),
        list("three", "cidr", &[], &["8.8.8.0/24"]),
        list("four", "substring", &[], &["8.8", "8.8.8"]),
        list("five", "regex", &[], &[r"^8\.", "8$"]),
    ];
    let lists = WarningLists::compile(&lists).unwrap();
    let names: Vec<_> =
        lists.check(&"ip:8.8.8.8".parse().unwrap()).into_iter().map(|warning| warning.list).collect();
    assert_eq!(names, ["one", "two", "three", "four", "five"]);
    assert!(met(&WarningLists::default(), "ip:8.8.8.8").is_empty());
}

#[test]
fn what_is_no_list_is_refused_by_name() {
    let refused = |value: Value| {
        let read = WarningList::from_json(value.to_string().as_bytes());
        let error = read.and_then(|list| WarningLists::compile([&list]).map(drop)).unwrap_err();
        assert_eq!(error.code(), "warninglist-malformed");
        error.to_string()
    };
    let of = |kind: &str, entries: &[&str]| json!({"name": "mine", "type": kind, "list": entries});
    assert!(refused(json!([])).starts_with("`the document` is no warninglist: "));
    assert!(refused(of("shoes", &["x"])).contains("unknown variant `shoes`"));
    assert!(refused(json!({"type": "string", "list": []})).contains("missing field `name`"));
    assert!(refused(json!({"name": " ", "type": "string", "list": []})).contains("1 to 200"));
    assert_eq!(refused(of("cidr", &["8.8.8.0/33"])), "`mine` is no warninglist: `8.8.8.0/33` is no network");
    assert!(refused(of("regex", &["("])).contains("`(` is no expression: error: unclosed group"));
    assert!(refused(of("regex", &["(?=x)"])).contains("look-around"));
    assert!(refused(of("string", &[""])).contains("has no 1 to 8192 bytes"));
}
