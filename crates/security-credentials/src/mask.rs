//! Showing just enough of a credential to recognise it.

use security_core::is_invisible;

/// Credentials shorter than this show nothing at all.
const SHORTEST_SHOWN: usize = 12;
/// The most characters shown at either end.
const MOST_AT_AN_END: usize = 4;
/// Stands for what is hidden; always the same, so that the length does not show.
const HIDDEN: &str = "********";

/// A credential as people may see it: up to four characters at each end, never more than a third in all, and
/// `********` for the rest whatever its length. The empty text stays empty.
///
/// Control and direction characters are not shown at the ends either, so that the result is safe in a log.
pub fn mask(credential: &str) -> String {
    if credential.is_empty() {
        return String::new();
    }
    // Only the two ends are looked at closely: a value of megabytes costs one count.
    let length = credential.chars().count();
    let at_an_end = if length < SHORTEST_SHOWN { 0 } else { (length / 6).min(MOST_AT_AN_END) };
    let harmless = |c: char| if is_invisible(c) { '*' } else { c };
    let tail: Vec<char> = credential.chars().rev().take(at_an_end).map(harmless).collect();
    let head = credential.chars().take(at_an_end).map(harmless);
    head.chain(HIDDEN.chars()).chain(tail.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_shows_more_than_a_third(text in "\\PC{1,80}") {
            let masked = mask(&text);
            let shown = masked.chars().count() - HIDDEN.len();
            prop_assert!(shown * 3 <= text.chars().count());
            prop_assert!(shown <= 2 * MOST_AT_AN_END);
        }

        #[test]
        fn hides_the_middle_and_its_length(
            head in "[a-z]{4}", middle in "[A-Z]{16,60}", tail in "[0-9]{4}", other in "[A-Z]{16,60}",
        ) {
            let masked = mask(&format!("{head}{middle}{tail}"));
            prop_assert_eq!(&masked, &format!("{head}{HIDDEN}{tail}"));
            prop_assert_eq!(masked, mask(&format!("{head}{other}{tail}")));
        }

        #[test]
        fn is_safe_in_a_log(text in any::<String>()) {
            prop_assert!(!mask(&text).contains(is_invisible));
        }
    }
}
