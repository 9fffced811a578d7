//! The values that a pattern looks for.

use super::{Comparison, ComparisonTest, Literal, ObjectPath, Observation, Operator, PathStep};

/// A value that a pattern looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternValue {
    /// The property in canonical text, for example `file:hashes.'SHA-256'`.
    pub object_path: String,
    /// The value as text.
    pub value: String,
    /// [`Operator::Equal`], [`Operator::In`] or [`Operator::IsSubset`]; the last one's value is a network.
    pub operator: Operator,
    /// Whether one observation of this value fulfils the whole pattern. If not, the value is part of a description
    /// (`file:name = 'setup.exe' AND …`) and matching it alone would be wrong.
    pub suffices: bool,
}

/// The values, and whether the pattern is nothing but "any of these".
pub(super) fn collect(root: &Observation) -> (Vec<PatternValue>, bool) {
    let mut found = Found { values: Vec::new(), only_values: true };
    found.observation(root, true);
    let is_simple = found.only_values && found.values.iter().all(|value| value.suffices);
    (found.values, is_simple)
}

struct Found {
    values: Vec<PatternValue>,
    /// No comparison was met that gave no value.
    only_values: bool,
}

impl Found {
    fn observation(&mut self, observation: &Observation, suffices: bool) {
        match observation {
            Observation::Test(comparison) => self.comparison(comparison, suffices),
            Observation::Or(children) => {
                children.iter().for_each(|child| self.observation(child, suffices));
            }
            Observation::And(children) | Observation::FollowedBy(children) => {
                children.iter().for_each(|child| self.observation(child, false));
            }
            // Even WITHIN and START bind the value to circumstances that a list of values cannot hold.
            Observation::Qualified { observation, .. } => self.observation(observation, false),
        }
    }

    fn comparison(&mut self, comparison: &Comparison, suffices: bool) {
        match comparison {
            Comparison::Test(test) => self.test(test, suffices),
            Comparison::Or(children) => children.iter().for_each(|child| self.comparison(child, suffices)),
            Comparison::And(children) => {
                let hints = TypeHints::among(children);
                let others: Vec<&Comparison> = children.iter().filter(|child| !hints.has(child)).collect();
                for child in &others {
                    self.comparison(child, suffices && others.len() == 1);
                }
            }
        }
    }

    fn test(&mut self, test: &ComparisonTest, suffices: bool) {
        let looks_for_values = !test.negated
            && matches!(test.operator, Operator::Equal | Operator::In | Operator::IsSubset)
            && !test.operands.is_empty();
        if !looks_for_values {
            self.only_values = false;
            return;
        }
        let object_path = test.path.to_string();
        for operand in &test.operands {
            let value = match operand {
                Literal::Text(text) | Literal::Hex(text) => text.clone(),
                Literal::Integer(number) => number.to_string(),
                // Truths, fractions, times and bytes describe; nobody lists them.
                Literal::Float(_) | Literal::Boolean(_) | Literal::Time(_) | Literal::Binary(_) => {
                    self.only_values = false;
                    continue;
                }
            };
            let object_path = object_path.clone();
            self.values.push(PatternValue { object_path, value, operator: test.operator, suffices });
        }
    }
}

/// `network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '…'` is one value: the first half
/// says only what kind of value the second one is. MISP writes all addresses in this way.
struct TypeHints<'a> {
    valued: std::collections::HashSet<(&'a str, &'a [PathStep])>,
}

impl<'a> TypeHints<'a> {
    fn among(children: &'a [Comparison]) -> Self {
        let valued = children.iter().filter_map(|child| referenced(child, "value")).collect();
        Self { valued }
    }

    fn has(&self, comparison: &Comparison) -> bool {
        referenced(comparison, "type").is_some_and(|place| self.valued.contains(&place))
    }
}

/// The reference whose `property` a positive equality looks at: object type and steps to it.
fn referenced<'a>(comparison: &'a Comparison, property: &str) -> Option<(&'a str, &'a [PathStep])> {
    let Comparison::Test(ComparisonTest { path, negated: false, operator, .. }) = comparison else {
        return None;
    };
    if !matches!(operator, Operator::Equal | Operator::In | Operator::IsSubset) {
        return None;
    }
    let ObjectPath { object_type, steps } = path;
    let (last, before) = steps.split_last()?;
    let name = before.iter().rev().find_map(|step| match step {
        PathStep::Property(name) => Some(name),
        _ => None,
    })?;
    let is_reference = name.ends_with("_ref") || name.ends_with("_refs");
    let is_property = matches!(last, PathStep::Property(name) if name == property);
    (is_reference && is_property).then_some((object_type.as_str(), before))
}
