//! Rules into one set of tables that an event passes once.
//!
//! Every test of every rule becomes an *atom*; equal tests share one. A rule is a tree of and, or and not over
//! atoms. It is looked at only when one of its *necessary* atoms came true, so that a thousand rules cost an
//! event only what it has in common with them.

use std::{collections::HashMap, sync::Arc};

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexSet, RegexSetBuilder};
use security_core::Coded;
use security_indicators::IocType;

use crate::{
    Rule, RuleError,
    detection::{Expression, NumberOperator, Probe, Test, TextOperator, compile_pattern},
    indicator_match::IndicatorIndex,
    literal::required_literals,
};

/// The largest compiled set of patterns that no literal announces, in bytes.
const MAX_SET: usize = 32 << 20;

/// Rules made ready for events. Immutable, shared by threads.
#[derive(Debug, Default)]
pub struct RuleSet {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) atoms: Vec<Atom>,
    /// Lower-case paths that some rule names.
    pub(crate) fields: HashMap<String, u32>,
    /// Whether some atom looks at all fields.
    pub(crate) looks_everywhere: bool,
    pub(crate) exact_literals: Vec<LiteralIndex>,
    pub(crate) folded_literals: Vec<LiteralIndex>,
    pub(crate) exact_values: HashMap<String, Vec<Use>>,
    pub(crate) folded_values: HashMap<String, Vec<Use>>,
    pub(crate) regexes: Vec<CompiledRegex>,
    /// Patterns without a literal, by the field they look at.
    pub(crate) unannounced: HashMap<Option<u32>, Vec<PatternSet>>,
    pub(crate) numbers: HashMap<Option<u32>, Vec<(NumberOperator, f64, u32)>>,
    pub(crate) nulls: HashMap<Option<u32>, Vec<u32>>,
    pub(crate) exists: HashMap<Option<u32>, Vec<u32>>,
    pub(crate) indicators: IndicatorIndex,
    /// Fields in which indicators are looked for, with the kinds that are asked for there.
    pub(crate) indicator_fields: HashMap<Option<u32>, Vec<IocType>>,
    /// The rules that each atom may bring to a match.
    pub(crate) triggers: Vec<Vec<u32>>,
    /// Rules that may match without any atom being true.
    pub(crate) untriggered: Vec<u32>,
}

/// A rule that could not be made ready; the others of the set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProblem {
    /// The rule's id.
    pub rule_id: String,
    /// The rule's name.
    pub rule_name: String,
    /// The stable code of what is wrong.
    pub code: &'static str,
    /// What is wrong, lower case, no final dot.
    pub message: String,
}

#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) rule: Arc<Rule>,
    pub(crate) node: Node,
}

#[derive(Debug)]
pub(crate) enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Atom(u32),
}

#[derive(Debug)]
pub(crate) struct Atom {
    pub(crate) field: Option<u32>,
    /// `pattern`, `ioc` or `condition`.
    pub(crate) detection: &'static str,
    /// What it compares with, as an alert shows it.
    pub(crate) matched: String,
}

/// An atom that a literal or a value speaks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) operator: TextOperator,
    pub(crate) atom: u32,
}

/// One automaton over many literals, with what each literal stands for.
#[derive(Debug)]
pub(crate) struct LiteralIndex {
    pub(crate) automaton: AhoCorasick,
    pub(crate) meanings: Vec<Meaning>,
}

#[derive(Debug, Default)]
pub(crate) struct Meaning {
    pub(crate) uses: Vec<Use>,
    /// Patterns that this literal announces.
    pub(crate) regexes: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct CompiledRegex {
    pub(crate) regex: Regex,
    pub(crate) atoms: Vec<u32>,
}

/// Patterns that run together.
#[derive(Debug)]
pub(crate) struct PatternSet {
    pub(crate) set: RegexSet,
    pub(crate) regexes: Vec<u32>,
}

impl RuleSet {
    /// Makes rules ready; those that are not enabled are left out.
    pub fn compile(rules: impl IntoIterator<Item = Rule>) -> (Self, Vec<RuleProblem>) {
        let mut compiler = Compiler::default();
        let mut problems = Vec::new();
        for rule in rules.into_iter().filter(|rule| rule.enabled) {
            match compiler.node(&rule.detection.expression) {
                Ok(node) => compiler.set.rules.push(CompiledRule { rule: Arc::new(rule), node }),
                Err(error) => problems.push(RuleProblem {
                    rule_id: rule.id,
                    rule_name: rule.name,
                    code: error.code(),
                    message: error.to_string(),
                }),
            }
        }
        (compiler.finish(), problems)
    }

    /// Number of rules that are ready.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are no rules at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules, in the order they were given.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter().map(|compiled| &compiled.rule)
    }
}

#[derive(Default)]
struct Compiler {
    set: RuleSet,
    known: HashMap<Test, u32>,
    known_regexes: HashMap<String, u32>,
    exact: HashMap<String, Meaning>,
    folded: HashMap<String, Meaning>,
    unannounced: HashMap<Option<u32>, Vec<u32>>,
}

impl Compiler {
    fn node(&mut self, expression: &Expression) -> Result<Node, RuleError> {
        let mut all = |parts: &[Expression]| {
            parts.iter().map(|part| self.node(part)).collect::<Result<Vec<_>, RuleError>>()
        };
        Ok(match expression {
            Expression::All(parts) => Node::All(all(parts)?),
            Expression::Any(parts) => Node::Any(all(parts)?),
            Expression::Not(part) => Node::Not(Box::new(self.node(part)?)),
            Expression::Test(test) => Node::Atom(self.atom(test)?),
        })
    }

    fn atom(&mut self, test: &Test) -> Result<u32, RuleError> {
        if let Some(known) = self.known.get(test) {
            return Ok(*known);
        }
        let number = u32::try_from(self.set.atoms.len()).expect("rules hold fewer than 2^32 tests");
        let field = test.field.as_ref().map(|path| {
            let next = u32::try_from(self.set.fields.len()).expect("there are no more fields than tests");
            *self.set.fields.entry(path.clone()).or_insert(next)
        });
        let (detection, matched) = match &test.probe {
            Probe::Pattern(text) => {
                self.pattern(text, field, number)?;
                ("pattern", text.clone())
            }
            Probe::Indicator(test) => {
                self.set.indicators.insert(test, number);
                let kinds = self.set.indicator_fields.entry(field).or_default();
                if !kinds.contains(&test.kind()) {
                    kinds.push(test.kind());
                }
                ("ioc", test.describe())
            }
            Probe::Text { operator: TextOperator::Equals, value, ignore_case } => {
                let values =
                    if *ignore_case { &mut self.set.folded_values } else { &mut self.set.exact_values };
                let sign = Use { operator: TextOperator::Equals, atom: number };
                values.entry(value.clone()).or_default().push(sign);
                ("condition", value.clone())
            }
            Probe::Text { operator, value, ignore_case } => {
                let literals = if *ignore_case { &mut self.folded } else { &mut self.exact };
                let sign = Use { operator: *operator, atom: number };
                literals.entry(value.clone()).or_default().uses.push(sign);
                ("condition", value.clone())
            }
            Probe::Number { operator, bits } => {
                let asked = f64::from_bits(*bits);
                self.set.numbers.entry(field).or_default().push((*operator, asked, number));
                let sign = match operator {
                    NumberOperator::Equals => "",
                    NumberOperator::Above => "> ",
                    NumberOperator::AtLeast => ">= ",
                    NumberOperator::Below => "< ",
                    NumberOperator::AtMost => "<= ",
                };
                ("condition", format!("{sign}{asked}"))
            }
            Probe::Null => {
                self.set.nulls.entry(field).or_default().push(number);
                ("condition", "null".to_owned())
            }
            Probe::Exists => {
                self.set.exists.entry(field).or_default().push(number);
                ("condition", "exists".to_owned())
            }
        };
        self.set.looks_everywhere |= field.is_none();
        self.set.atoms.push(Atom { field, detection, matched });
        self.known.insert(test.clone(), number);
        Ok(number)
    }

    fn pattern(&mut self, text: &str, field: Option<u32>, atom: u32) -> Result<(), RuleError> {
        let words = required_literals(text);
        let number = match self.known_regexes.get(text) {
            Some(known) => *known,
            None => {
                let regex = compile_pattern(text).map_err(|error| RuleError::Pattern {
                    field: "detection.pattern".to_owned(),
                    reason: error.to_string(),
                })?;
                let number = u32::try_from(self.set.regexes.len()).expect("no more patterns than tests");
                self.set.regexes.push(CompiledRegex { regex, atoms: Vec::new() });
                self.known_regexes.insert(text.to_owned(), number);
                for word in words.iter().flatten() {
                    self.folded.entry(word.clone()).or_default().regexes.push(number);
                }
                number
            }
        };
        self.set.regexes[number as usize].atoms.push(atom);
        if words.is_none() {
            self.unannounced.entry(field).or_default().push(number);
        }
        Ok(())
    }

    fn finish(mut self) -> RuleSet {
        self.set.exact_literals = literal_indexes(self.exact);
        self.set.folded_literals = literal_indexes(self.folded);
        for (field, regexes) in self.unannounced {
            let mut sets = Vec::new();
            pattern_sets(&self.set.regexes, &regexes, &mut sets);
            self.set.unannounced.insert(field, sets);
        }
        self.set.triggers = vec![Vec::new(); self.set.atoms.len()];
        for (number, compiled) in (0..).zip(&self.set.rules) {
            match necessary(&compiled.node) {
                Some(atoms) => {
                    for atom in atoms {
                        self.set.triggers[atom as usize].push(number);
                    }
                }
                None => self.set.untriggered.push(number),
            }
        }
        self.set
    }
}

/// A set of atoms of which at least one is true whenever the node is; the smallest that is found.
fn necessary(node: &Node) -> Option<Vec<u32>> {
    match node {
        Node::Atom(atom) => Some(vec![*atom]),
        Node::Not(_) => None,
        Node::Any(parts) => parts.iter().map(necessary).collect::<Option<Vec<_>>>().map(|sets| sets.concat()),
        Node::All(parts) => parts.iter().filter_map(necessary).min_by_key(Vec::len),
    }
}

fn literal_indexes(literals: HashMap<String, Meaning>) -> Vec<LiteralIndex> {
    let mut literals: Vec<_> = literals.into_iter().collect();
    literals.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut indexes = Vec::new();
    let mut waiting = vec![literals];
    while let Some(mut part) = waiting.pop() {
        if part.is_empty() {
            continue;
        }
        match AhoCorasick::new(part.iter().map(|(text, _)| text)) {
            Ok(automaton) => {
                let meanings = part.into_iter().map(|(_, meaning)| meaning).collect();
                indexes.push(LiteralIndex { automaton, meanings });
            }
            // An automaton has a largest size; two halves fit where one whole does not. A single literal is
            // bounded by the parser and always fits.
            Err(_) if part.len() > 1 => {
                let half = part.split_off(part.len() / 2);
                waiting.extend([half, part]);
            }
            Err(error) => unreachable!("a literal of a few kilobytes has an automaton: {error}"),
        }
    }
    indexes
}

fn pattern_sets(known: &[CompiledRegex], regexes: &[u32], sets: &mut Vec<PatternSet>) {
    let texts = regexes.iter().map(|number| known[*number as usize].regex.as_str());
    match RegexSetBuilder::new(texts).size_limit(MAX_SET).dfa_size_limit(MAX_SET).nest_limit(64).build() {
        Ok(set) => sets.push(PatternSet { set, regexes: regexes.to_vec() }),
        // Each pattern compiled within a smaller budget before; only their sum can be too large.
        Err(_) => {
            let (left, right) = regexes.split_at(regexes.len() / 2);
            pattern_sets(known, left, sets);
            pattern_sets(known, right, sets);
        }
    }
}
