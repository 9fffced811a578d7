//! The tables that every face runs.

use std::{fs, path::Path};

use security_credentials::{CredentialKind, ParsedToken, RotationPolicy, find_tokens, mask, validate};
use serde::{Deserialize, de::DeserializeOwned};

fn table<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name);
    let text = fs::read_to_string(path).expect("the table is there");
    toml::from_str(&text).expect("the table has the shape of its cases")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    good: Vec<GoodToken>,
    bad: Vec<BadToken>,
    text: Vec<TokenText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoodToken {
    name: String,
    token: String,
    prefix: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BadToken {
    name: String,
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenText {
    name: String,
    text: String,
    finds: Vec<String>,
}

#[test]
fn tokens() {
    let tokens: Tokens = table("tokens.toml");
    for case in tokens.good {
        let parsed = ParsedToken::parse(case.token.as_bytes()).expect(&case.name);
        assert_eq!((parsed.prefix(), parsed.id()), (&*case.prefix, &*case.id), "{}", case.name);
    }
    for case in tokens.bad {
        assert!(ParsedToken::parse(case.token.as_bytes()).is_none(), "{}", case.name);
    }
    for case in tokens.text {
        let found = find_tokens(&case.text);
        let ids: Vec<String> = found.iter().map(|token| format!("{}_{}", token.prefix, token.id)).collect();
        assert_eq!(ids, case.finds, "{}", case.name);
        for token in found {
            assert!(ParsedToken::parse(&case.text.as_bytes()[token.start..token.end]).is_some());
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Masking {
    case: Vec<MaskingCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskingCase {
    name: String,
    value: String,
    masked: String,
}

#[test]
fn masking() {
    for case in table::<Masking>("masking.toml").case {
        assert_eq!(mask(&case.value), case.masked, "{}", case.name);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Strength {
    case: Vec<StrengthCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrengthCase {
    name: String,
    candidate: String,
    credential_type: CredentialKind,
    valid: bool,
    score: u8,
    length: usize,
    problems: Vec<String>,
}

#[test]
fn strength() {
    for case in table::<Strength>("strength.toml").case {
        let kind = case.credential_type;
        let report = validate(case.candidate.as_bytes(), kind, &RotationPolicy::of(kind));
        let found = (report.valid, report.score, report.length);
        assert_eq!(found, (case.valid, case.score, case.length), "{}: {report:?}", case.name);
        assert_eq!(report.problems, case.problems, "{}", case.name);
    }
}
