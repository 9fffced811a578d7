//! The one automaton: fixed words of all kinds of attack, each with the check that a hit leads to.

mod browser;
mod database;
mod server;

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::{rules::Rule, signs::Signs, work::Work};

/// What a hit needs besides being there: the normalised text, the hit's start and its end.
type Check = fn(&[u8], usize, usize) -> bool;

/// A rule, the check of a hit, and the words.
struct Family {
    rule: &'static Rule,
    check: Check,
    words: &'static [&'static str],
    /// Signs of which a text must have one before the check is worth its time; none if empty.
    needs: Signs,
    /// How many units of work a check is.
    cost: u8,
}

impl Family {
    const fn new(rule: &'static Rule, check: Check, words: &'static [&'static str]) -> Self {
        Self { rule, check, words, needs: Signs::NONE, cost: 1 }
    }

    const fn needing(self, needs: Signs) -> Self {
        Self { needs, ..self }
    }

    const fn costing(self, cost: u8) -> Self {
        Self { cost, ..self }
    }
}

fn always(_: &[u8], _: usize, _: usize) -> bool {
    true
}

/// The automaton, the families, and for each word of the automaton its family.
struct Automaton {
    words: AhoCorasick,
    families: Vec<&'static Family>,
    family_of: Vec<u8>,
}

/// More families than there are; what has proved itself is one bit each.
const MOST_FAMILIES: usize = 128;

static AUTOMATON: LazyLock<Automaton> = LazyLock::new(|| {
    let families: Vec<&Family> =
        database::DATABASE.iter().chain(browser::BROWSER).chain(server::SERVER).collect();
    assert!(families.len() <= MOST_FAMILIES, "each family has a bit");
    let (mut words, mut family_of) = (Vec::<&str>::new(), Vec::new());
    for (at, family) in (0u8..).zip(&families) {
        words.extend(family.words);
        family_of.extend(family.words.iter().map(|_| at));
    }
    let words = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .match_kind(MatchKind::Standard)
        .build(words)
        .expect("a few thousand bytes of words fit an automaton");
    Automaton { words, families, family_of }
});

/// Calls `found` for each rule that a hit of the automaton leads to; a family that has proved itself is not
/// asked again. Stops where there is no work left.
pub(super) fn scan(
    text: &[u8],
    signs: Signs,
    paranoia: u8,
    work: &mut Work,
    mut found: impl FnMut(&'static Rule, usize, usize),
) {
    let automaton = &*AUTOMATON;
    let mut done = 0u128;
    for hit in automaton.words.find_overlapping_iter(text) {
        let at = automaton.family_of[hit.pattern().as_usize()];
        if done & (1 << at) != 0 {
            continue;
        }
        let family = automaton.families[usize::from(at)];
        if family.rule.paranoia > paranoia || !signs.allow(family.needs) {
            done |= 1 << at;
        } else if !work.check_of(family.cost) {
            return;
        } else if (family.check)(text, hit.start(), hit.end()) {
            done |= 1 << at;
            found(family.rule, hit.start(), hit.end());
        }
    }
}
