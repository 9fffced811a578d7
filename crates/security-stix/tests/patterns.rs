//! The table of patterns, and properties that hold for every pattern.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use proptest::prelude::*;
use security_core::{Coded, Limits, Timestamp};
use security_stix::{
    Comparison, ComparisonTest, Literal, ObjectPath, Observation, Operator, PathStep, Pattern, PatternError,
    Qualifier, pattern_for,
};

fn table() -> toml::Table {
    include_str!("../../../testdata/stix_patterns.toml").parse().unwrap()
}

fn cases(kind: &str) -> Vec<toml::Table> {
    let cases: Vec<toml::Table> =
        table()[kind].as_array().unwrap().iter().map(|case| case.as_table().unwrap().clone()).collect();
    let names: HashSet<&str> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), cases.len(), "a name in [[{kind}]] is used twice");
    cases
}

fn texts(case: &toml::Table, key: &str) -> Vec<String> {
    let list = case.get(key).map(|list| list.as_array().unwrap().clone()).unwrap_or_default();
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn valid_patterns_say_what_the_table_says() {
    let cases = cases("valid");
    assert!(cases.len() >= 55, "{}", cases.len());
    for case in cases {
        let (name, text) = (case["name"].as_str().unwrap(), case["pattern"].as_str().unwrap());
        let pattern = Pattern::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let canonical = case.get("canonical").map_or(text, |canonical| canonical.as_str().unwrap());
        assert_eq!(pattern.to_string(), canonical, "{name}");
        assert_eq!(Pattern::parse(canonical).unwrap(), pattern, "{name}");
        let found = |suffices| -> Vec<String> {
            let values = pattern.indicator_values();
            let chosen = values.iter().filter(|value| value.suffices == suffices);
            chosen.map(|value| format!("{}|{}", value.object_path, value.value)).collect()
        };
        assert_eq!(found(true), texts(&case, "values"), "{name}");
        assert_eq!(found(false), texts(&case, "parts"), "{name}");
        let simple = case.get("simple").is_some_and(|simple| simple.as_bool().unwrap());
        assert_eq!(pattern.is_simple(), simple, "{name}");
    }
}

#[test]
fn invalid_patterns_are_refused_where_the_table_says() {
    let cases = cases("invalid");
    assert!(cases.len() >= 45, "{}", cases.len());
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let error = Pattern::parse(case["pattern"].as_str().unwrap()).expect_err(name);
        let reason = case["reason"].as_str().unwrap();
        assert!(error.to_string().contains(reason), "{name}: {error}");
        let offset = case["offset"].as_integer().unwrap();
        assert_eq!(error.offset(), Some(usize::try_from(offset).unwrap()), "{name}: {error}");
        assert!(error.code().starts_with("stix-pattern-"), "{name}");
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { max_bytes: 20, max_depth: 2, ..Limits::DEFAULT };
    assert!(Pattern::parse_with("(([a:b = 1]))", limits).is_ok());
    let too_deep = Pattern::parse_with("(([(a:b = 1)]))", limits);
    assert_eq!(too_deep, Err(PatternError::TooDeep { offset: 3, limit: 2 }));
    let too_long = Pattern::parse_with("[a:b = 'cccccccccccc']", limits);
    assert_eq!(too_long, Err(PatternError::TooLong { bytes: 22, limit: 20 }));
    // Neither parentheses nor chains nor qualifiers make the reader's stack grow without bound.
    let loose = Limits { max_depth: usize::MAX, ..Limits::DEFAULT };
    let parentheses = "(".repeat(100_000);
    assert!(matches!(Pattern::parse_with(&parentheses, loose), Err(PatternError::TooDeep { .. })));
    let chain = vec!["[a:b = 1]"; 100_000].join(" OR ");
    assert_eq!(Pattern::parse_with(&chain, loose).unwrap().indicator_values().len(), 100_000);
    let qualifiers = format!("[a:b = 1]{}", " REPEATS 2 TIMES".repeat(50_000));
    assert!(Pattern::parse_with(&qualifiers, loose).unwrap().to_string() == qualifiers);
}

#[test]
fn writes_a_pattern_for_a_value() {
    let pattern = pattern_for("file:hashes.SHA-256", "it's \\ odd").unwrap();
    assert_eq!(pattern, r"[file:hashes.'SHA-256' = 'it\'s \\ odd']");
    assert!(pattern_for("file:name = 'x'] OR [file:name", "y").is_err());
    assert!(pattern_for("", "y").is_err());
}

#[test]
fn lists_every_comparison() {
    let pattern =
        Pattern::parse("([a:b = 1 AND NOT EXISTS a:c] REPEATS 2 TIMES) FOLLOWEDBY [a:d LIKE 'x']").unwrap();
    let paths: Vec<String> = pattern.comparisons().iter().map(|test| test.path.to_string()).collect();
    assert_eq!(paths, ["a:b", "a:c", "a:d"]);
}

fn literal() -> impl Strategy<Value = Literal> + Clone {
    prop_oneof![
        ".{0,12}".prop_map(Literal::Text),
        any::<i64>().prop_map(Literal::Integer),
        prop::num::f64::NORMAL.prop_map(Literal::Float),
        any::<bool>().prop_map(Literal::Boolean),
        time().prop_map(Literal::Time),
        "([0-9a-f]{2}){0,4}".prop_map(Literal::Hex),
        "([A-Za-z0-9+/]{4}){1,2}".prop_map(Literal::Binary),
        Just(Literal::Binary("YQ==".into())),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_micros()..Timestamp::MAX.as_micros()).prop_map(Timestamp::from_micros)
}

fn path() -> impl Strategy<Value = ObjectPath> {
    let name = prop_oneof!["[a-z_]{1,6}", ".{0,6}", Just("START".to_owned())].prop_map(PathStep::Property);
    let step = prop_oneof![
        3 => name.clone(),
        1 => any::<i64>().prop_map(PathStep::Index),
        1 => Just(PathStep::AnyIndex),
    ];
    ("[a-z][a-z-]{0,8}", name, prop::collection::vec(step, 0..3)).prop_map(|(object_type, first, rest)| {
        ObjectPath { object_type, steps: std::iter::once(first).chain(rest).collect() }
    })
}

fn test() -> impl Strategy<Value = ComparisonTest> {
    let text = ".{0,12}".prop_map(|text| vec![Literal::Text(text)]);
    let ordered = literal()
        .prop_filter("truths have no order", |literal| !matches!(literal, Literal::Boolean(_)))
        .prop_map(|literal| vec![literal]);
    let operator = prop_oneof![
        (Just(Operator::Equal), literal().prop_map(|literal| vec![literal])),
        (Just(Operator::NotEqual), literal().prop_map(|literal| vec![literal])),
        (Just(Operator::Less), ordered.clone()),
        (Just(Operator::GreaterOrEqual), ordered),
        (Just(Operator::In), prop::collection::vec(literal(), 0..4)),
        (Just(Operator::Like), text.clone()),
        (Just(Operator::IsSubset), text),
        (Just(Operator::Exists), Just(Vec::new())),
    ];
    (path(), any::<bool>(), operator).prop_map(|(path, negated, (operator, operands))| ComparisonTest {
        path,
        negated,
        operator,
        operands,
    })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    test().prop_map(Comparison::Test).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|children| {
                let flat = children.into_iter().flat_map(|child| match child {
                    Comparison::And(inner) => inner,
                    other => vec![other],
                });
                Comparison::And(flat.collect())
            }),
            prop::collection::vec(inner, 2..4).prop_map(|children| {
                let flat = children.into_iter().flat_map(|child| match child {
                    Comparison::Or(inner) => inner,
                    other => vec![other],
                });
                Comparison::Or(flat.collect())
            }),
        ]
    })
}

fn qualifier() -> impl Strategy<Value = Qualifier> {
    prop_oneof![
        (1e-9..1e20_f64).prop_map(Qualifier::Within),
        (1..1_000_000_u32).prop_map(|seconds| Qualifier::Within(f64::from(seconds))),
        (1..=i64::MAX as u64).prop_map(Qualifier::Repeats),
        (time(), time())
            .prop_filter("in order", |(start, stop)| start < stop)
            .prop_map(|(start, stop)| Qualifier::StartStop { start, stop }),
    ]
}

fn observation() -> impl Strategy<Value = Observation> {
    comparison().prop_map(Observation::Test).prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|children| {
                let flat = children.into_iter().flat_map(|child| match child {
                    Observation::And(inner) => inner,
                    other => vec![other],
                });
                Observation::And(flat.collect())
            }),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|children| {
                let flat = children.into_iter().flat_map(|child| match child {
                    Observation::Or(inner) => inner,
                    other => vec![other],
                });
                Observation::Or(flat.collect())
            }),
            prop::collection::vec(inner.clone(), 2..3).prop_map(Observation::FollowedBy),
            (inner, prop::collection::vec(qualifier(), 1..3)).prop_map(|(observation, more)| {
                match observation {
                    Observation::Qualified { observation, qualifiers } => Observation::Qualified {
                        observation,
                        qualifiers: qualifiers.into_iter().chain(more).collect(),
                    },
                    other => Observation::Qualified { observation: Box::new(other), qualifiers: more },
                }
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_expression_reads_back(observation in observation()) {
        let text = observation.to_string();
        let pattern = Pattern::parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(pattern.root(), &observation, "{}", text);
        prop_assert_eq!(pattern.to_string(), text);
        let all = pattern.indicator_values().iter().all(|value| value.suffices);
        prop_assert!(!pattern.is_simple() || all);
    }

    #[test]
    fn every_value_reads_back(value: String) {
        let pattern = Pattern::parse(&pattern_for("domain-name:value", &value).unwrap()).unwrap();
        prop_assert!(pattern.is_simple());
        prop_assert_eq!(&pattern.indicator_values()[0].value, &value);
    }

    #[test]
    fn any_text_is_answered(text: String) {
        let _ = Pattern::parse(&text);
        let _ = text.parse::<ObjectPath>();
    }

    #[test]
    fn any_mix_of_words_is_answered(
        words in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "(", ")", "a:b", "=", "'x'", "1", "-.5", "h'", "t'2026", "AND", "OR", "NOT", "IN", ",", "EXISTS",
            "WITHIN", "SECONDS", "START", "STOP", "\\", "'", ".", "*", "[*]", "/*", "//", "\n", "é", "true",
        ]), 0..24),
    ) {
        let text = words.join(" ");
        match Pattern::parse(&text) {
            Ok(pattern) => prop_assert_eq!(Pattern::parse(&pattern.to_string()).unwrap(), pattern),
            Err(error) => prop_assert!(error.offset().is_none_or(|offset| offset <= text.len())),
        }
    }
}
