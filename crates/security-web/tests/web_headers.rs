//! The table of response headers, `testdata/web_headers.toml`.
#![allow(clippy::unwrap_used)]

use security_web::{HeaderPolicy, HeaderPreset, Hsts};
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    preset: HeaderPreset,
    #[serde(default)]
    hsts: Hsts,
    content_security_policy: Option<String>,
    permissions_policy: Option<String>,
    https: bool,
    authenticated: bool,
    has: Vec<String>,
    lacks: Vec<String>,
    count: usize,
}

#[test]
fn every_row_holds() {
    let table: Table = toml::from_str(include_str!("../../../testdata/web_headers.toml")).unwrap();
    assert!(table.case.len() >= 13);
    for case in table.case {
        let policy = HeaderPolicy {
            preset: case.preset,
            hsts: case.hsts,
            content_security_policy: case.content_security_policy,
            permissions_policy: case.permissions_policy,
        };
        let compiled = policy.compile();
        let headers = compiled.for_response(case.https, case.authenticated);
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        for wanted in case.has {
            assert!(lines.contains(&wanted), "{}: `{wanted}` is not among {lines:#?}", case.name);
        }
        for unwanted in case.lacks {
            assert!(!headers.iter().any(|header| header.0 == unwanted), "{}: {unwanted}", case.name);
        }
        assert_eq!(headers.len(), case.count, "{}: {lines:#?}", case.name);
    }
}
