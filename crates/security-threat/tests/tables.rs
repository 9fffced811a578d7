//! The table `testdata/rules.toml`, and what must hold for any event and any rule.

use std::sync::LazyLock;

use proptest::prelude::*;
use security_core::{Limits, Timestamp};
use security_threat::{Rule, RuleError, RuleSet};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    format: String,
    rule: Option<String>,
    detection: Option<String>,
    event: Option<String>,
    matches: Option<bool>,
    error: Option<String>,
    evidence: Option<Vec<String>>,
}

impl Case {
    fn rule(&self) -> Result<Rule, RuleError> {
        let text = match (&self.rule, &self.detection) {
            (Some(rule), None) => rule.clone(),
            (None, Some(detection)) => {
                let detection: Value =
                    serde_json::from_str(detection).expect("the tests' own input is right");
                json!({"name": self.name, "detection": detection}).to_string()
            }
            _ => panic!("{}: either rule or detection", self.name),
        };
        match self.format.as_str() {
            "yaml" => Rule::from_yaml(text.as_bytes(), Timestamp::EPOCH, &Limits::DEFAULT),
            _ => Rule::from_json(text.as_bytes(), Timestamp::EPOCH, &Limits::DEFAULT),
        }
    }
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../../testdata/rules.toml");
    toml::from_str::<Table>(text).expect("the tests' own input is right").case
}

#[test]
fn every_rule_of_the_table_holds_or_not_as_said() {
    let mut failures = Vec::new();
    for case in cases() {
        match (case.rule(), &case.error) {
            (Err(error), Some(expected)) if error.to_string().contains(expected) => {}
            (Err(error), _) => failures.push(format!("{}: refused: {error}", case.name)),
            (Ok(_), Some(expected)) => failures.push(format!("{}: not refused with `{expected}`", case.name)),
            (Ok(rule), None) => {
                let event: Value = serde_json::from_str(case.event.as_deref().unwrap()).unwrap();
                let (set, problems) = RuleSet::compile([rule]);
                assert_eq!(problems, [], "{}", case.name);
                let found = set.evaluate(&event, &Limits::DEFAULT);
                if Some(!found.matches.is_empty()) != case.matches || found.truncated {
                    failures.push(format!("{}: matches {}", case.name, !found.matches.is_empty()));
                    continue;
                }
                let shown = found.matches.first().map(|found| {
                    found.evidence.iter().map(|e| format!("{}={}", e.field, e.value)).collect::<Vec<_>>()
                });
                if case.evidence.is_some() && shown != case.evidence {
                    failures.push(format!("{}: evidence {shown:?}", case.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn all_rules_together_find_what_each_finds_alone() {
    let cases = cases();
    let rules: Vec<Rule> = cases
        .iter()
        .filter_map(|case| {
            case.rule().ok().filter(|rule| rule.enabled).map(|rule| Rule { id: case.name.clone(), ..rule })
        })
        .collect();
    let (all, problems) = RuleSet::compile(rules.clone());
    assert_eq!(problems, []);
    assert_eq!(all.len(), rules.len());
    for case in cases.iter().filter(|case| case.event.is_some()) {
        let event: Value = serde_json::from_str(case.event.as_deref().unwrap()).unwrap();
        let mut together: Vec<_> = all
            .evaluate(&event, &Limits::DEFAULT)
            .matches
            .iter()
            .map(|found| found.rule.id.clone())
            .collect();
        let mut alone: Vec<_> = rules
            .iter()
            .filter(|rule| {
                let (set, _) = RuleSet::compile([(*rule).clone()]);
                !set.evaluate(&event, &Limits::DEFAULT).matches.is_empty()
            })
            .map(|rule| rule.id.clone())
            .collect();
        together.sort();
        alone.sort();
        assert_eq!(together, alone, "{}", case.name);
    }
}

#[test]
fn rules_survive_their_file() {
    for rule in cases().iter().filter_map(|case| case.rule().ok()) {
        let read = Rule::from_json(rule.to_json().as_bytes(), Timestamp::MAX, &Limits::DEFAULT).unwrap();
        assert_eq!(read, rule);
        let yaml = serde_json::from_str::<Value>(&rule.to_json()).unwrap().to_string();
        assert_eq!(Rule::from_yaml(yaml.as_bytes(), Timestamp::MAX, &Limits::DEFAULT).unwrap(), rule);
    }
}

#[test]
fn a_thousand_rules_are_told_apart() {
    let rules = (0..1000).map(|n| {
        let detection = match n % 4 {
            0 => json!({"pattern": format!("(?i)agent-{n}-[0-9]+")}),
            1 => json!({"condition": {"field": "path", "contains": format!("/p{n}/")}}),
            2 => json!({"ioc": {"type": "domain", "value": format!("h{n}.example")}}),
            _ => json!({"pattern": format!("^[a-f]{{{}}}$", n % 7 + 1), "field": format!("f{n}")}),
        };
        let rule = json!({"id": format!("r{n}"), "name": "n", "detection": detection});
        Rule::from_value(&rule, Timestamp::EPOCH).unwrap()
    });
    let (set, problems) = RuleSet::compile(rules);
    assert_eq!((set.len(), problems.len()), (1000, 0));
    let event =
        json!({"path": "/p401/", "agent": "AGENT-404-7", "host": "www.h402.example", "f403": "abcde"});
    let mut found: Vec<_> =
        set.evaluate(&event, &Limits::DEFAULT).matches.iter().map(|found| found.rule.id.clone()).collect();
    found.sort();
    assert_eq!(found, ["r401", "r402", "r403", "r404"]);
}

#[test]
fn an_event_beyond_the_budget_says_so() {
    let rule = json!({"name": "n", "detection": {"pattern": "needle"}});
    let (set, _) = RuleSet::compile([Rule::from_value(&rule, Timestamp::EPOCH).unwrap()]);
    let event = json!({"a": "x".repeat(1000), "b": "needle"});
    let limits = Limits { max_bytes: 500, ..Limits::DEFAULT };
    let found = set.evaluate(&event, &limits);
    assert!(found.truncated && found.matches.is_empty());
    assert_eq!(set.evaluate(&event, &Limits::DEFAULT).matches.len(), 1);
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z/. ]{0,12}",
        Just("192.168.1.1 evil.example ../etc/passwd union select".to_owned()),
        "\\PC{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(
                ("(path|headers|a|field|value|type|pattern|ioc|condition|not|any)", inner),
                0..5
            )
            .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn evaluation_never_panics(event in any_json()) {
        static SET: LazyLock<RuleSet> = LazyLock::new(|| {
            RuleSet::compile(cases().iter().filter_map(|case| case.rule().ok())).0
        });
        for max_bytes in [0, 7, 1 << 20] {
            let limits = Limits { max_bytes, max_depth: 3, ..Limits::DEFAULT };
            for found in SET.evaluate(&event, &limits).matches {
                for shown in &found.evidence {
                    prop_assert!(shown.value.chars().count() <= 200);
                }
            }
        }
    }

    #[test]
    fn any_detection_is_refused_or_evaluated(detection in any_json(), event in any_json()) {
        let rule = json!({"name": "n", "detection": detection});
        if let Ok(rule) = Rule::from_value(&rule, Timestamp::EPOCH) {
            let (set, problems) = RuleSet::compile([rule]);
            prop_assert!(problems.is_empty());
            set.evaluate(&event, &Limits::DEFAULT);
        }
    }
}
