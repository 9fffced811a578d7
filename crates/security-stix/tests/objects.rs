//! The table of objects.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use security_core::Coded;
use security_stix::{Kind, Object, SpecVersion};

fn cases(kind: &str) -> Vec<toml::Table> {
    let table: toml::Table = include_str!("../../../testdata/stix_objects.toml").parse().unwrap();
    table[kind].as_array().unwrap().iter().map(|case| case.as_table().unwrap().clone()).collect()
}

fn text<'a>(case: &'a toml::Table, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

#[test]
fn valid_objects_are_what_the_table_says() {
    let cases = cases("valid");
    assert!(cases.len() >= 13, "{}", cases.len());
    for case in cases {
        let name = text(&case, "name");
        let value: serde_json::Value = serde_json::from_str(text(&case, "json")).unwrap();
        let object = Object::parse(value.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kind = match object.kind() {
            Kind::Domain => "domain",
            Kind::Relationship => "relationship",
            Kind::Observable => "observable",
            Kind::Meta => "meta",
            Kind::Custom => "custom",
        };
        assert_eq!(kind, text(&case, "kind"), "{name}");
        let version = if object.spec_version() == SpecVersion::V20 { "2.0" } else { "2.1" };
        assert_eq!(version, text(&case, "version"), "{name}");
        // Nothing is lost or changed, not even what the standard does not know.
        assert_eq!(serde_json::to_value(&object).unwrap(), value, "{name}");
        assert_eq!(serde_json::from_value::<Object>(value).unwrap(), object, "{name}");
    }
}

#[test]
fn invalid_objects_are_refused_for_the_reason_in_the_table() {
    let cases = cases("invalid");
    assert!(cases.len() >= 28, "{}", cases.len());
    for case in cases {
        let name = text(&case, "name");
        let error = Object::parse(serde_json::from_str(text(&case, "json")).unwrap()).expect_err(name);
        assert_eq!(error.code(), text(&case, "code"), "{name}: {error}");
        assert!(error.to_string().contains(text(&case, "reason")), "{name}: {error}");
    }
}
