//! The grammar of `detection`: what a rule looks for in an event.
//!
//! ```text
//! detection  = { "pattern":   text | [text…]           regular expressions, linear time, any of the list
//!                "ioc":       indicator | [indicator…]  any of the list
//!                "condition": condition | [condition…]  all of the list
//!                "all": [detection…]  "any": [detection…]  "not": detection
//!                "field": path                          where the patterns, the indicators and the conditions
//!                                                       without a field of their own look
//!                "ignore_case": bool }                  for patterns and conditions; default false
//! indicator  = { "type": kind, "value": value | [value…], "field": path }      `type` may be left out when
//!                                                       the value says what it is
//! value      = an exact indicator | a network (also matches addresses and networks inside it)
//!            | a domain (also matches its subdomains) | "*.example.com" (its subdomains only)
//!            | text with "*" (any run of characters) | "*" (any indicator of the type)
//! condition  = { "field": path, OPERATOR: operand, …, "ignore_case": bool }
//!            | { "type" or "operator": OPERATOR, "field": path, "value": operand }
//!            | { "all": [condition…] } | { "any": [condition…] } | { "not": condition }
//!            | "OPERATOR"   with `field` and `value` beside it in the detection
//! OPERATOR   = contains | equals | starts_with | ends_with     text, number, bool or null; a list is any of
//!            | gt | gte | lt | lte                             numbers
//!            | exists                                          true or false
//! path       = dotted, in any letter case; arrays are looked through (`files.name` is any file's name); a
//!              path means the field and everything below it; without a path, every value of the event
//! ```
//!
//! Of the keys of a detection all given ones must hold. An unknown key is refused: a rule that silently
//! ignores half of itself is worse than none.

use regex::RegexBuilder;
use security_indicators::IocType;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::{RuleError, indicator_match::IndicatorTest};

/// The longest regular expression, in bytes.
const MAX_PATTERN: usize = 8 << 10;
/// The largest compiled regular expression, in bytes.
pub(crate) const MAX_COMPILED: usize = 2 << 20;
/// The deepest nesting of `all`, `any` and `not`.
const MAX_DEPTH: usize = 16;
/// The most single tests in one rule.
const MAX_TESTS: usize = 20_000;

const DETECTION_KEYS: &[&str] =
    &["pattern", "ioc", "condition", "all", "any", "not", "field", "value", "ignore_case"];
const INDICATOR_KEYS: &[&str] = &["type", "value", "field"];
const CONDITION_KEYS: &[&str] = &[
    "field",
    "contains",
    "equals",
    "starts_with",
    "ends_with",
    "gt",
    "gte",
    "lt",
    "lte",
    "exists",
    "type",
    "operator",
    "value",
    "all",
    "any",
    "not",
    "ignore_case",
];
const OPERATORS: &[&str] =
    &["contains", "equals", "starts_with", "ends_with", "gt", "gte", "lt", "lte", "exists"];

/// What a rule looks for; see the grammar on top of the file.
///
/// Serialises as it was given.
#[derive(Debug, Clone)]
pub struct Detection {
    given: Value,
    pub(crate) expression: Expression,
}

/// Tests joined by and, or and not.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Test(Test),
}

/// One question to an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Test {
    /// Lower-case dotted path; `None` is anywhere.
    pub(crate) field: Option<String>,
    pub(crate) probe: Probe,
}

/// What is asked of the field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Probe {
    Pattern(String),
    Indicator(IndicatorTest),
    Text { operator: TextOperator, value: String, ignore_case: bool },
    Number { operator: NumberOperator, bits: u64 },
    Null,
    Exists,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TextOperator {
    Contains,
    Equals,
    StartsWith,
    EndsWith,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NumberOperator {
    Equals,
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl NumberOperator {
    pub(crate) fn holds(self, found: f64, asked: f64) -> bool {
        match self {
            Self::Equals => found == asked,
            Self::Above => found > asked,
            Self::AtLeast => found >= asked,
            Self::Below => found < asked,
            Self::AtMost => found <= asked,
        }
    }
}

impl Detection {
    /// Reads and checks a detection.
    ///
    /// # Errors
    /// [`RuleError`] naming the field and what it takes.
    pub fn parse(given: &Value) -> Result<Self, RuleError> {
        let mut reader = Reader { n_tests: 0 };
        let expression = reader.detection(given, "detection", 0)?;
        Ok(Self { given: given.clone(), expression })
    }

    /// The detection as it was given.
    pub fn as_json(&self) -> &Value {
        &self.given
    }
}

impl PartialEq for Detection {
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

impl Serialize for Detection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.given.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Detection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        Self::parse(&given).map_err(de::Error::custom)
    }
}

/// What a condition takes over from the detection around it.
#[derive(Clone, Copy)]
struct Around<'a> {
    field: Option<&'a str>,
    ignore_case: bool,
}

struct Reader {
    n_tests: usize,
}

impl Reader {
    fn detection(&mut self, given: &Value, place: &str, depth: usize) -> Result<Expression, RuleError> {
        let map = object(given, place, "an object with `pattern`, `ioc` or `condition`")?;
        check_depth(place, depth)?;
        refuse_unknown(map, place, DETECTION_KEYS)?;
        let field = field_of(map, place)?;
        let ignore_case = ignore_case_of(map, place)?.unwrap_or(false);
        let around = Around { field: field.as_deref(), ignore_case };
        let mut parts = Vec::new();
        if let Some(pattern) = map.get("pattern") {
            parts.push(self.patterns(pattern, &format!("{place}.pattern"), around)?);
        }
        if let Some(ioc) = map.get("ioc") {
            parts.push(self.indicators(ioc, &format!("{place}.ioc"), around)?);
        }
        match (map.get("condition"), map.get("value")) {
            (Some(Value::String(operator)), Some(value)) => {
                let place = format!("{place}.value");
                parts.push(self.operator(operator, value, &place, "condition", around)?);
            }
            (Some(operator @ Value::String(_)), None) => {
                let what = "an object, a list of objects, or an operator with `field` and `value` beside it";
                return Err(RuleError::field(&format!("{place}.condition"), operator, what));
            }
            (Some(_), Some(_)) | (None, Some(_)) => {
                let known: Vec<_> = DETECTION_KEYS.iter().copied().filter(|key| *key != "value").collect();
                return Err(RuleError::unknown_key("value", place, &known));
            }
            (Some(condition), None) => {
                parts.push(self.condition(condition, &format!("{place}.condition"), around, depth + 1)?);
            }
            (None, None) => {}
        }
        for key in ["all", "any"] {
            if let Some(list) = map.get(key) {
                let place = format!("{place}.{key}");
                let items = list_of(list, &place, "a list of detections")?;
                let inner = items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| self.detection(item, &format!("{place}[{at}]"), depth + 1))
                    .collect::<Result<_, _>>()?;
                parts.push(if key == "all" { Expression::All(inner) } else { Expression::Any(inner) });
            }
        }
        if let Some(inner) = map.get("not") {
            let inner = self.detection(inner, &format!("{place}.not"), depth + 1)?;
            parts.push(Expression::Not(Box::new(inner)));
        }
        if parts.is_empty() {
            return Err(RuleError::missing(
                &format!("{place}.pattern"),
                "at least one of pattern, ioc, condition, all, any, not",
            ));
        }
        Ok(all(parts))
    }

    fn patterns(&mut self, given: &Value, place: &str, around: Around<'_>) -> Result<Expression, RuleError> {
        const ACCEPTED: &str = "a regular expression or a list of them";
        let mut tests = Vec::new();
        for (item, place) in one_or_many(given, place) {
            let text = item.as_str().ok_or_else(|| RuleError::field(&place, item, ACCEPTED))?;
            if text.is_empty() {
                return Err(RuleError::field(&place, item, "a regular expression that is not empty"));
            }
            if text.len() > MAX_PATTERN {
                return Err(RuleError::TooLarge { what: place, size: text.len(), most: MAX_PATTERN });
            }
            let text = if around.ignore_case { format!("(?i){text}") } else { text.to_owned() };
            if let Err(error) = compile_pattern(&text) {
                return Err(RuleError::Pattern { field: place, reason: one_line(&error.to_string()) });
            }
            tests.push(self.test(around.field, Probe::Pattern(text))?);
        }
        any(tests, place, given, ACCEPTED)
    }

    fn indicators(
        &mut self,
        given: &Value,
        place: &str,
        around: Around<'_>,
    ) -> Result<Expression, RuleError> {
        const ACCEPTED: &str = "an object {type, value, field} or a list of them";
        let mut tests = Vec::new();
        for (item, place) in one_or_many(given, place) {
            let map = object(item, &place, ACCEPTED)?;
            refuse_unknown(map, &place, INDICATOR_KEYS)?;
            let kind = match map.get("type") {
                None | Some(Value::Null) => None,
                Some(Value::String(name)) => Some(name.as_str()),
                Some(other) => {
                    return Err(RuleError::field(&format!("{place}.type"), other, &indicator_types()));
                }
            };
            let own_field = field_of(map, &place)?;
            let field = own_field.as_deref().or(around.field);
            let value = map.get("value").ok_or_else(|| {
                RuleError::missing(
                    &format!("{place}.value"),
                    "an indicator, a network, a domain, text with `*`, or a list of them",
                )
            })?;
            for (value, place) in one_or_many(value, &format!("{place}.value")) {
                let text = value.as_str().ok_or_else(|| {
                    RuleError::field(&place, value, "an indicator as text, or a list of them")
                })?;
                let test = IndicatorTest::parse(kind, text, &place)?;
                tests.push(self.test(field, Probe::Indicator(test))?);
            }
        }
        any(tests, place, given, ACCEPTED)
    }

    fn condition(
        &mut self,
        given: &Value,
        place: &str,
        around: Around<'_>,
        depth: usize,
    ) -> Result<Expression, RuleError> {
        check_depth(place, depth)?;
        if let Value::Array(items) = given {
            let inner = self.conditions(items, place, around, depth)?;
            return match inner.is_empty() {
                true => Err(RuleError::field(place, given, "at least one condition")),
                false => Ok(all(inner)),
            };
        }
        let map = object(given, place, "an object like {field, contains} or a list of them")?;
        refuse_unknown(map, place, CONDITION_KEYS)?;
        let own_field = field_of(map, place)?;
        let around = Around {
            field: own_field.as_deref().or(around.field),
            ignore_case: ignore_case_of(map, place)?.unwrap_or(around.ignore_case),
        };
        let mut parts = Vec::new();
        for name in OPERATORS {
            if let Some(operand) = map.get(*name) {
                parts.push(self.operator(name, operand, &format!("{place}.{name}"), place, around)?);
            }
        }
        let named = map.get_key_value("operator").or_else(|| map.get_key_value("type"));
        match (named, map.get("value")) {
            (Some((key, Value::String(name))), Some(operand)) => {
                let key = format!("{place}.{key}");
                parts.push(self.operator(name, operand, &format!("{place}.value"), &key, around)?);
            }
            (Some((key, Value::String(name))), None) if known_operator(name) != Some("exists") => {
                known_operator(name).ok_or_else(|| unknown_operator(name, &format!("{place}.{key}")))?;
                return Err(RuleError::missing(&format!("{place}.value"), "what the operator compares with"));
            }
            (Some((key, Value::String(name))), None) => {
                let key = format!("{place}.{key}");
                parts.push(self.operator(
                    name,
                    &Value::Bool(true),
                    &format!("{place}.value"),
                    &key,
                    around,
                )?);
            }
            (Some((key, other)), _) => {
                return Err(RuleError::field(&format!("{place}.{key}"), other, &OPERATORS.join(", ")));
            }
            (None, Some(_)) => {
                return Err(RuleError::missing(&format!("{place}.operator"), &OPERATORS.join(", ")));
            }
            (None, None) => {}
        }
        for key in ["all", "any"] {
            if let Some(list) = map.get(key) {
                let place = format!("{place}.{key}");
                let items = list_of(list, &place, "a list of conditions")?;
                let inner = self.conditions(items, &place, around, depth)?;
                parts.push(if key == "all" { Expression::All(inner) } else { Expression::Any(inner) });
            }
        }
        if let Some(inner) = map.get("not") {
            let inner = self.condition(inner, &format!("{place}.not"), around, depth + 1)?;
            parts.push(Expression::Not(Box::new(inner)));
        }
        if parts.is_empty() {
            return Err(RuleError::missing(&format!("{place}.operator"), &OPERATORS.join(", ")));
        }
        Ok(all(parts))
    }

    fn conditions(
        &mut self,
        items: &[Value],
        place: &str,
        around: Around<'_>,
        depth: usize,
    ) -> Result<Vec<Expression>, RuleError> {
        items
            .iter()
            .enumerate()
            .map(|(at, item)| self.condition(item, &format!("{place}[{at}]"), around, depth + 1))
            .collect()
    }

    /// One operator with its operand; `name_place` is where the operator's name stands.
    fn operator(
        &mut self,
        name: &str,
        operand: &Value,
        place: &str,
        name_place: &str,
        around: Around<'_>,
    ) -> Result<Expression, RuleError> {
        let name = known_operator(name).ok_or_else(|| unknown_operator(name, name_place))?;
        let text = match name {
            "contains" => Some(TextOperator::Contains),
            "equals" => Some(TextOperator::Equals),
            "starts_with" => Some(TextOperator::StartsWith),
            "ends_with" => Some(TextOperator::EndsWith),
            _ => None,
        };
        if let Some(operator) = text {
            const ACCEPTED: &str = "text, a number, true, false, null, or a list of them";
            let mut tests = Vec::new();
            for (item, place) in one_or_many(operand, place) {
                let probe = self.text_probe(operator, item, &place, around.ignore_case)?;
                tests.push(self.test(around.field, probe)?);
            }
            return any(tests, place, operand, ACCEPTED);
        }
        if around.field.is_none() {
            let field =
                format!("{}.field", name_place.trim_end_matches(".operator").trim_end_matches(".type"));
            return Err(RuleError::missing(&field, "the dotted path that the operator looks at"));
        }
        if name == "exists" {
            let wanted =
                operand.as_bool().ok_or_else(|| RuleError::field(place, operand, "true or false"))?;
            let test = self.test(around.field, Probe::Exists)?;
            return Ok(if wanted { test } else { Expression::Not(Box::new(test)) });
        }
        let operator = match name {
            "gt" => NumberOperator::Above,
            "gte" => NumberOperator::AtLeast,
            "lt" => NumberOperator::Below,
            _ => NumberOperator::AtMost,
        };
        let number = operand.as_f64().ok_or_else(|| RuleError::field(place, operand, "a number"))?;
        self.test(around.field, Probe::Number { operator, bits: number.to_bits() })
    }

    fn text_probe(
        &self,
        operator: TextOperator,
        item: &Value,
        place: &str,
        ignore_case: bool,
    ) -> Result<Probe, RuleError> {
        let value = match item {
            Value::String(text) => text.clone(),
            Value::Null if operator == TextOperator::Equals => return Ok(Probe::Null),
            Value::Number(number) if operator == TextOperator::Equals => {
                // serde_json numbers are finite, so that there always is a value.
                let bits = number.as_f64().unwrap_or(f64::NAN).to_bits();
                return Ok(Probe::Number { operator: NumberOperator::Equals, bits });
            }
            Value::Bool(_) | Value::Number(_) => item.to_string(),
            _ => return Err(RuleError::field(place, item, "text, a number, true or false")),
        };
        if value.is_empty() && operator != TextOperator::Equals {
            return Err(RuleError::field(place, item, "text that is not empty"));
        }
        if value.len() > MAX_PATTERN {
            return Err(RuleError::TooLarge { what: place.to_owned(), size: value.len(), most: MAX_PATTERN });
        }
        let value = if ignore_case { crate::fold::fold(&value).into_owned() } else { value };
        Ok(Probe::Text { operator, value, ignore_case })
    }

    fn test(&mut self, field: Option<&str>, probe: Probe) -> Result<Expression, RuleError> {
        self.n_tests += 1;
        if self.n_tests > MAX_TESTS {
            let what = "the number of tests in `detection`".to_owned();
            return Err(RuleError::TooLarge { what, size: self.n_tests, most: MAX_TESTS });
        }
        Ok(Expression::Test(Test { field: field.map(str::to_ascii_lowercase), probe }))
    }
}

/// The one place where a pattern's budget is set.
pub(crate) fn compile_pattern(text: &str) -> Result<regex::Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).nest_limit(64).build()
}

fn indicator_types() -> String {
    IocType::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// The operator's one name; the spellings of other rule languages are understood.
fn known_operator(name: &str) -> Option<&'static str> {
    let name = name.trim().to_ascii_lowercase();
    let name = match name.as_str() {
        "eq" | "equal" | "is" => "equals",
        "startswith" | "begins_with" => "starts_with",
        "endswith" => "ends_with",
        "greater_than" => "gt",
        "less_than" => "lt",
        other => other,
    };
    OPERATORS.iter().copied().find(|known| *known == name)
}

fn unknown_operator(name: &str, place: &str) -> RuleError {
    RuleError::field(place, &Value::String(name.to_owned()), &OPERATORS.join(", "))
}

fn check_depth(place: &str, depth: usize) -> Result<(), RuleError> {
    if depth > MAX_DEPTH {
        let what = format!("the nesting of `{}…`", place.chars().take(60).collect::<String>());
        return Err(RuleError::TooLarge { what, size: depth, most: MAX_DEPTH });
    }
    Ok(())
}

fn object<'v>(given: &'v Value, place: &str, accepted: &str) -> Result<&'v Map<String, Value>, RuleError> {
    given.as_object().ok_or_else(|| RuleError::field(place, given, accepted))
}

fn list_of<'v>(given: &'v Value, place: &str, accepted: &str) -> Result<&'v [Value], RuleError> {
    match given {
        Value::Array(items) if !items.is_empty() => Ok(items),
        other => Err(RuleError::field(place, other, accepted)),
    }
}

fn refuse_unknown(map: &Map<String, Value>, place: &str, known: &[&str]) -> Result<(), RuleError> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(RuleError::unknown_key(key, place, known)),
        None => Ok(()),
    }
}

fn field_of(map: &Map<String, Value>, place: &str) -> Result<Option<String>, RuleError> {
    match map.get("field") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) if path == "*" => Ok(None),
        Some(Value::String(path)) if !path.trim().is_empty() && path.len() <= 1000 => {
            Ok(Some(path.trim().to_owned()))
        }
        Some(other) => {
            Err(RuleError::field(&format!("{place}.field"), other, "a dotted path like request.path"))
        }
    }
}

fn ignore_case_of(map: &Map<String, Value>, place: &str) -> Result<Option<bool>, RuleError> {
    match map.get("ignore_case") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(wanted)) => Ok(Some(*wanted)),
        Some(other) => Err(RuleError::field(&format!("{place}.ignore_case"), other, "true or false")),
    }
}

/// A list's items with their places, or the one value.
fn one_or_many<'v>(given: &'v Value, place: &str) -> Vec<(&'v Value, String)> {
    match given {
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, item)| (item, format!("{place}[{at}]"))).collect()
        }
        single => vec![(single, place.to_owned())],
    }
}

fn all(mut parts: Vec<Expression>) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => Expression::All(parts),
    }
}

fn any(
    mut parts: Vec<Expression>,
    place: &str,
    given: &Value,
    accepted: &str,
) -> Result<Expression, RuleError> {
    match parts.len() {
        0 => Err(RuleError::field(place, given, accepted)),
        1 => Ok(parts.remove(0)),
        _ => Ok(Expression::Any(parts)),
    }
}

/// The last line of a regex error is its reason; the lines before draw the pattern.
fn one_line(message: &str) -> String {
    let last = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(message);
    last.trim().trim_start_matches("error: ").chars().take(200).collect()
}
