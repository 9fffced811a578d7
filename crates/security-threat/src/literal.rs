//! The literals without which a regular expression cannot match.
//!
//! A set of a thousand patterns must not run them one by one over each text. Nearly every pattern that people
//! write holds a word that any match contains; those words go into one automaton, and a pattern runs only
//! where one of its words stands.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::fold::fold_char;

/// Shorter words stand in every text and filter nothing.
const MIN_LENGTH: usize = 3;
/// More alternatives than this are no longer a filter.
const MAX_ALTERNATIVES: usize = 64;

/// Folded words of which each match of the pattern contains at least one; `None` when there is no such set.
pub(crate) fn required_literals(pattern: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let words = required(&hir)?;
    (shortest(&words) >= MIN_LENGTH).then_some(words)
}

fn shortest(words: &[String]) -> usize {
    words.iter().map(String::len).min().unwrap_or(0)
}

/// A set of which every match of `hir` contains one word; the better of several is the one whose shortest word
/// is longest.
fn required(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) | HirKind::Literal(_) => {
            exact(hir).filter(|word| !word.is_empty()).map(|word| vec![word])
        }
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Repetition(_) => None,
        HirKind::Alternation(branches) => {
            let mut words = Vec::new();
            for branch in branches {
                words.extend(required(branch)?);
                if words.len() > MAX_ALTERNATIVES {
                    return None;
                }
            }
            Some(words)
        }
        HirKind::Concat(parts) => {
            let mut best: Option<Vec<String>> = None;
            let mut consider = |words: Vec<String>| {
                if best.as_ref().is_none_or(|known| shortest(&words) > shortest(known)) {
                    best = Some(words);
                }
            };
            let mut run = String::new();
            for part in parts {
                match exact(part) {
                    Some(word) => run.push_str(&word),
                    None => {
                        if !run.is_empty() {
                            consider(vec![std::mem::take(&mut run)]);
                        }
                        if let Some(words) = required(part) {
                            consider(words);
                        }
                    }
                }
            }
            if !run.is_empty() {
                consider(vec![run]);
            }
            best
        }
    }
}

/// The one folded word that `hir` matches, if it matches a single one but for letter case.
fn exact(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(String::new()),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            text.chars().map(fold_char).collect()
        }
        HirKind::Class(class) => folded_class(class).map(String::from),
        HirKind::Capture(capture) => exact(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(exact).collect(),
        HirKind::Repetition(_) | HirKind::Alternation(_) => None,
    }
}

/// The character that all of a small class folds to: `[Aa]` is what `(?i)a` becomes.
fn folded_class(class: &Class) -> Option<char> {
    let mut letters: Vec<char> = Vec::new();
    match class {
        Class::Unicode(class) => {
            for range in class.ranges() {
                for letter in range.start()..=range.end() {
                    letters.push(letter);
                    if letters.len() > 4 {
                        return None;
                    }
                }
            }
        }
        Class::Bytes(class) => {
            for range in class.ranges() {
                for byte in range.start()..=range.end() {
                    letters.push(byte.is_ascii().then_some(char::from(byte))?);
                    if letters.len() > 4 {
                        return None;
                    }
                }
            }
        }
    }
    let first = fold_char(*letters.first()?)?;
    letters.iter().all(|letter| fold_char(*letter) == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::fold;
    use proptest::prelude::*;

    fn words(pattern: &str) -> Option<Vec<String>> {
        required_literals(pattern)
    }

    #[test]
    fn finds_the_words_that_a_match_must_hold() {
        assert_eq!(words("union\\s+select"), Some(vec!["select".to_owned()]));
        assert_eq!(words("(?i)<Script>"), Some(vec!["<script>".to_owned()]));
        assert_eq!(words("(?i)kiosk"), Some(vec!["kiosk".to_owned()]));
        assert_eq!(words("^(cmd|powershell)\\.exe$"), Some(vec![".exe".to_owned()]));
        assert_eq!(words("(wget|curl) http"), Some(vec![" http".to_owned()]));
        assert_eq!(words("(?:abc)+"), Some(vec!["abc".to_owned()]));
        assert_eq!(words("(wget|curl)\\s"), Some(vec!["wget".to_owned(), "curl".to_owned()]));
    }

    #[test]
    fn admits_when_there_are_none() {
        for open in ["[0-9]{1,3}", "(abcdef)?", ".*", "ab|.*", "\\d+x\\d+", "a|b|c"] {
            assert_eq!(words(open), None, "{open}");
        }
    }

    proptest! {
        /// The one thing that must never fail: a text that the pattern matches holds one of the words.
        #[test]
        fn every_match_holds_one(
            pattern in "(\\(\\?i\\))?([a-kA-Ks\u{17f}]{1,4}[*+?]?|\\([a-c]{3}\\|[d-fD-F]{3}\\)|[.]|\\[ab\\]){1,4}",
            text in "[a-kA-Ks\u{17f}S\u{212a}]{0,24}",
        ) {
            if let (Ok(regex), Some(words)) = (regex::Regex::new(&pattern), words(&pattern))
                && regex.is_match(&text)
            {
                let folded = fold(&text);
                prop_assert!(words.iter().any(|word| folded.contains(word.as_str())), "{pattern} {text} {words:?}");
            }
        }
    }
}
