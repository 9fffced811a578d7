//! Letter case, folded the same way in rules and in events.

use std::borrow::Cow;

/// The text with the case of its letters folded, character by character.
///
/// Not `str::to_lowercase`: that one looks at a sigma's neighbours, so that a literal cut out of its context
/// would fold differently from the same letters inside a text.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            'ſ' => folded.push('s'), // U+017F matches `s` under (?i), Unicode CaseFolding.txt
            other => folded.extend(other.to_lowercase()),
        }
    }
    Cow::Owned(folded)
}

/// One character's fold, when that is a single character.
pub(crate) fn fold_char(letter: char) -> Option<char> {
    if letter == 'ſ' {
        return Some('s');
    }
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => Some(single),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn folds_letters_one_by_one() {
        assert_eq!(fold("SELECT"), "select");
        assert_eq!(fold("ΟΔΟΣ"), "οδοσ");
        assert_eq!(fold("\u{17f}\u{212a}"), "sk");
    }

    proptest! {
        #[test]
        fn folding_a_part_is_a_part_of_folding_the_whole(a in ".{0,8}", b in ".{0,8}", c in ".{0,8}") {
            let whole = format!("{a}{b}{c}");
            prop_assert!(fold(&whole).contains(fold(&b).as_ref()));
        }
    }
}
