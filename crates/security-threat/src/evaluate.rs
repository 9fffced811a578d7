//! One event against a set of rules.

use std::{collections::HashMap, sync::Arc};

use security_core::Limits;
use security_indicators::{ExtractOptions, Indicator, IocType, extract};
use serde_json::Value;

use crate::{
    Evidence, Rule, RuleSet,
    compile::{LiteralIndex, Node},
    detection::TextOperator,
    event::{Leaf, LeafKind, flatten},
    fold::fold,
    indicator_match::inner_indicator,
    mask::shown,
};

/// The most pieces of evidence that one match keeps.
const MAX_EVIDENCE: usize = 20;

/// A rule that holds for an event.
#[derive(Debug, Clone)]
pub struct RuleMatch {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What matched, in the order of the rule's tests; secrets masked, values shortened.
    pub evidence: Vec<Evidence>,
}

/// What a set of rules says of one event.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// The rules that hold, most severe first, then in the order of the set.
    pub matches: Vec<RuleMatch>,
    /// Whether the event was larger than the budget, so that a part of it was not looked at.
    pub truncated: bool,
}

impl RuleSet {
    /// Evaluates all rules on an event: any JSON; a text alone is taken as `{"message": text}`.
    ///
    /// Of the budget, `max_bytes` bounds the text looked at, `max_hits` the number of values and `max_depth`
    /// their nesting; what lies beyond is left out and `truncated` says so.
    pub fn evaluate(&self, event: &Value, limits: &Limits) -> Evaluation {
        if self.rules.is_empty() {
            return Evaluation::default();
        }
        let (leaves, truncated) = flatten(event, limits);
        let mut scan = Scan { set: self, limits, hits: HashMap::new(), leaf: 0, fields: Vec::new() };
        let mut lower_path = String::new();
        for (number, leaf) in leaves.iter().enumerate() {
            scan.leaf = number;
            scan.fields_of(&leaf.path, &mut lower_path);
            if self.looks_everywhere || !scan.fields.is_empty() {
                scan.scan(leaf);
            }
        }
        let hits = scan.hits;
        let mut candidates: Vec<u32> = self.untriggered.clone();
        candidates.extend(hits.keys().flat_map(|atom| &self.triggers[*atom as usize]));
        candidates.sort_unstable();
        candidates.dedup();
        let mut matches: Vec<RuleMatch> = candidates
            .into_iter()
            .map(|number| &self.rules[number as usize])
            .filter(|compiled| holds(&compiled.node, &hits))
            .map(|compiled| {
                let mut evidence = Vec::new();
                self.evidence(&compiled.node, &hits, &leaves, &mut evidence);
                RuleMatch { rule: Arc::clone(&compiled.rule), evidence }
            })
            .collect();
        matches.sort_by_key(|found| std::cmp::Reverse(found.rule.severity));
        Evaluation { matches, truncated }
    }

    fn evidence(
        &self,
        node: &Node,
        hits: &HashMap<u32, Hit>,
        leaves: &[Leaf<'_>],
        evidence: &mut Vec<Evidence>,
    ) {
        match node {
            Node::All(parts) | Node::Any(parts) => {
                parts
                    .iter()
                    .filter(|part| holds(part, hits))
                    .for_each(|part| self.evidence(part, hits, leaves, evidence));
            }
            // What is not there cannot be shown.
            Node::Not(_) => {}
            Node::Atom(number) => {
                let Some(hit) = hits.get(number).filter(|_| evidence.len() < MAX_EVIDENCE) else { return };
                let (leaf, atom) = (&leaves[hit.leaf], &self.atoms[*number as usize]);
                let value = match &hit.indicator {
                    Some(value) => shown(&leaf.path, value, 0, 0),
                    None => shown(&leaf.path, &leaf.text, hit.start, hit.end),
                };
                evidence.push(Evidence {
                    field: leaf.path.clone(),
                    value,
                    detection: atom.detection.to_owned(),
                    matched: atom.matched.chars().take(crate::mask::MAX_SHOWN).collect(),
                });
            }
        }
    }
}

/// Where an atom first came true.
struct Hit {
    leaf: usize,
    start: usize,
    end: usize,
    indicator: Option<String>,
}

fn holds(node: &Node, hits: &HashMap<u32, Hit>) -> bool {
    match node {
        Node::All(parts) => parts.iter().all(|part| holds(part, hits)),
        Node::Any(parts) => parts.iter().any(|part| holds(part, hits)),
        Node::Not(part) => !holds(part, hits),
        Node::Atom(number) => hits.contains_key(number),
    }
}

struct Scan<'s> {
    set: &'s RuleSet,
    limits: &'s Limits,
    hits: HashMap<u32, Hit>,
    /// The leaf at hand.
    leaf: usize,
    /// The fields that the leaf at hand lies in.
    fields: Vec<u32>,
}

impl Scan<'_> {
    /// Finds the rules' fields that a path lies in: the path itself and each of its parents.
    fn fields_of(&mut self, path: &str, lower: &mut String) {
        self.fields.clear();
        if self.set.fields.is_empty() {
            return;
        }
        lower.clear();
        lower.push_str(path);
        lower.make_ascii_lowercase();
        let ends = lower.match_indices('.').map(|(at, _)| at).chain([lower.len()]);
        self.fields.extend(ends.filter_map(|end| self.set.fields.get(&lower[..end])));
    }

    fn applies(&self, atom: u32) -> bool {
        self.set.atoms[atom as usize].field.is_none_or(|field| self.fields.contains(&field))
    }

    fn hit(&mut self, atom: u32, start: usize, end: usize, indicator: Option<&Indicator>) {
        if self.applies(atom) {
            let leaf = self.leaf;
            self.hits.entry(atom).or_insert_with(|| Hit {
                leaf,
                start,
                end,
                indicator: indicator.map(|found| found.value().to_owned()),
            });
        }
    }

    /// The field slots to look under: everywhere, and each field of the leaf.
    fn slots(&self) -> impl Iterator<Item = Option<u32>> + use<> {
        std::iter::once(None).chain(self.fields.clone().into_iter().map(Some))
    }

    fn scan(&mut self, leaf: &Leaf<'_>) {
        let set = self.set;
        for slot in self.slots() {
            for atom in set.exists.get(&slot).into_iter().flatten() {
                self.hit(*atom, 0, 0, None);
            }
        }
        match leaf.kind {
            LeafKind::Empty => return,
            LeafKind::Null => {
                for slot in self.slots() {
                    for atom in set.nulls.get(&slot).into_iter().flatten() {
                        self.hit(*atom, 0, 0, None);
                    }
                }
                return;
            }
            LeafKind::Value => {}
        }
        if let Some(found) = leaf.number {
            for slot in self.slots() {
                for (operator, asked, atom) in set.numbers.get(&slot).into_iter().flatten() {
                    if operator.holds(found, *asked) {
                        self.hit(*atom, 0, 0, None);
                    }
                }
            }
        }
        let text: &str = &leaf.text;
        let mut announced = Vec::new();
        for found in set.exact_values.get(text).into_iter().flatten() {
            self.hit(found.atom, 0, text.len(), None);
        }
        for index in &set.exact_literals {
            self.literals(index, text, &mut announced);
        }
        if !set.folded_literals.is_empty() || !set.folded_values.is_empty() {
            let folded = fold(text);
            for found in set.folded_values.get(folded.as_ref()).into_iter().flatten() {
                self.hit(found.atom, 0, text.len(), None);
            }
            for index in &set.folded_literals {
                self.literals(index, &folded, &mut announced);
            }
        }
        for slot in self.slots() {
            for patterns in set.unannounced.get(&slot).into_iter().flatten() {
                announced.extend(patterns.set.matches(text).iter().map(|at| patterns.regexes[at]));
            }
        }
        announced.sort_unstable();
        announced.dedup();
        for number in announced {
            let compiled = &set.regexes[number as usize];
            let open = |atom: &u32| !self.hits.contains_key(atom) && self.applies(*atom);
            if compiled.atoms.iter().any(open)
                && let Some(found) = compiled.regex.find(text)
            {
                for atom in &compiled.atoms {
                    self.hit(*atom, found.start(), found.end(), None);
                }
            }
        }
        if !set.indicator_fields.is_empty() {
            self.indicators(text);
        }
    }

    fn literals(&mut self, index: &LiteralIndex, text: &str, announced: &mut Vec<u32>) {
        for found in index.automaton.find_overlapping_iter(text) {
            let meaning = &index.meanings[found.pattern().as_usize()];
            for sign in &meaning.uses {
                let fits = match sign.operator {
                    TextOperator::Contains => true,
                    TextOperator::StartsWith => found.start() == 0,
                    TextOperator::EndsWith => found.end() == text.len(),
                    TextOperator::Equals => found.start() == 0 && found.end() == text.len(),
                };
                if fits {
                    self.hit(sign.atom, found.start(), found.end(), None);
                }
            }
            // The same word a million times in a text announces its patterns once.
            if announced.len() > 4096 {
                announced.sort_unstable();
                announced.dedup();
            }
            announced.extend(&meaning.regexes);
        }
    }

    /// Indicators in the text, what they hold inside, and the text as a whole read as the kinds asked for.
    fn indicators(&mut self, text: &str) {
        let set = self.set;
        let mut kinds: Vec<IocType> =
            self.slots().filter_map(|slot| set.indicator_fields.get(&slot)).flatten().copied().collect();
        if kinds.is_empty() || text.is_empty() {
            return;
        }
        kinds.sort_unstable();
        kinds.dedup();
        // A rule's network holds smaller networks as well as addresses.
        let networks = kinds.contains(&IocType::Ip).then_some(IocType::Cidr);
        let options = ExtractOptions {
            types: Some(kinds.iter().copied().chain(networks).collect()),
            dedupe: true,
            max_hits: self.limits.max_hits,
            ..ExtractOptions::default()
        };
        for found in extract(text, &options) {
            if let Some(inner) = inner_indicator(&found.indicator) {
                self.indicator(&inner);
            }
            self.indicator(&found.indicator);
        }
        if text.len() <= self.limits.max_value {
            let whole = kinds.into_iter().filter(|kind| may_be(*kind, text));
            for whole in whole.filter_map(|kind| Indicator::parse(kind, text).ok()) {
                if let Some(inner) = inner_indicator(&whole) {
                    self.indicator(&inner);
                }
                self.indicator(&whole);
            }
        }
    }

    fn indicator(&mut self, found: &Indicator) {
        let set = self.set;
        set.indicators.each_match(found, &mut |atom| self.hit(atom, 0, 0, Some(found)));
    }
}

/// Whether a parser is worth asking about a whole value: most values of an event are words and sentences, and a
/// parser's refusal costs more than this look.
fn may_be(kind: IocType, text: &str) -> bool {
    let text = text.trim();
    match kind {
        IocType::Domain | IocType::Email => {
            // A dot, or what stands for one when it is disarmed.
            text.len() <= 600
                && !text.contains(char::is_whitespace)
                && (!text.is_ascii() || text.contains(['.', '[', '(', '{']))
        }
        IocType::Ip | IocType::Cidr | IocType::IpPort => {
            text.len() <= 200 && text.bytes().any(|byte| byte.is_ascii_digit() || byte == b':')
        }
        _ => true,
    }
}
