//! Making random credentials.

use std::{fmt, str::FromStr};

use security_core::{Entropy, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{CredentialError, error::shown};

/// Which classes of characters a generated credential is made of; each class of the complexity is present.
///
/// No character of any complexity is special to a POSIX shell inside a word, to an env file or to JSON; up to
/// [`Complexity::High`] none needs encoding in a URL either (RFC 3986 §2.3, "unreserved"), so that a database
/// password can stand in a connection string. The first and the last character are letters or digits: no value
/// looks like an option or a home directory, and a double click selects the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Complexity {
    /// Lower-case letters and digits.
    Low,
    /// Lower- and upper-case letters and digits.
    Medium,
    /// Those and one of `-._~`.
    High,
    /// Those and one of `+=@,`.
    VeryHigh,
}

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const UNRESERVED: &str = "-._~";
const FURTHER: &str = "+=@,";

impl Complexity {
    /// All, weakest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::VeryHigh];

    /// The name, as it is parsed and printed: `very_high`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::VeryHigh => "very_high",
        }
    }

    /// The classes of characters; a generated credential holds at least one of each and nothing else.
    pub fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Low => &[LOWER, DIGITS],
            Self::Medium => &[LOWER, UPPER, DIGITS],
            Self::High => &[LOWER, UPPER, DIGITS, UNRESERVED],
            Self::VeryHigh => &[LOWER, UPPER, DIGITS, UNRESERVED, FURTHER],
        }
    }
}

impl fmt::Display for Complexity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Complexity {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(text.trim()));
        known.ok_or_else(|| CredentialError::UnknownComplexity(shown(text)))
    }
}

/// The shortest credential that is made.
pub(crate) const LEAST_LENGTH: usize = 8;
/// The longest.
pub(crate) const MOST_LENGTH: usize = 4096;

/// A random credential of 8 to 4096 ASCII characters.
///
/// One character of each class is drawn, the others from all classes together, then all are shuffled; every
/// draw is without bias.
/// # Errors
/// [`CredentialError::Length`] for other lengths; [`CredentialError::Entropy`] when the source repeats itself.
pub fn generate(
    length: usize,
    complexity: Complexity,
    entropy: &mut dyn Entropy,
) -> Result<Secret, CredentialError> {
    if !(LEAST_LENGTH..=MOST_LENGTH).contains(&length) {
        return Err(CredentialError::Length { given: length, least: LEAST_LENGTH, most: MOST_LENGTH });
    }
    let mut draws = Draws::new(entropy);
    let classes = complexity.classes();
    let all = classes.concat();
    let mut characters = Zeroizing::new(Vec::with_capacity(length));
    for class in classes {
        characters.push(class.as_bytes()[draws.below(class.len())?]);
    }
    while characters.len() < length {
        characters.push(all.as_bytes()[draws.below(all.len())?]);
    }
    for last in (1..length).rev() {
        characters.swap(last, draws.below(last + 1)?);
    }
    // Every complexity has at least two letters or digits, so both ends find one.
    for end in [0, length - 1] {
        if !characters[end].is_ascii_alphanumeric() {
            let inner = (1..length - 1).filter(|at| characters[*at].is_ascii_alphanumeric());
            let inner: Vec<usize> = inner.collect();
            characters.swap(end, inner[draws.below(inner.len())?]);
        }
    }
    Ok(Secret::new(std::mem::take(&mut *characters)))
}

/// Random numbers below a bound, without bias.
struct Draws<'a> {
    entropy: &'a mut dyn Entropy,
    buffer: Zeroizing<[u8; 256]>,
    used: usize,
}

impl<'a> Draws<'a> {
    fn new(entropy: &'a mut dyn Entropy) -> Self {
        Self { entropy, buffer: Zeroizing::new([0; 256]), used: 256 }
    }

    fn word(&mut self) -> u32 {
        if self.used == self.buffer.len() {
            self.entropy.fill(&mut *self.buffer);
            self.used = 0;
        }
        let bytes = [0, 1, 2, 3].map(|at| self.buffer[self.used + at]);
        self.used += 4;
        u32::from_le_bytes(bytes)
    }

    /// A number from 0 to `bound - 1`; `bound` is from 1 to [`MOST_LENGTH`].
    fn below(&mut self, bound: usize) -> Result<usize, CredentialError> {
        let bound = u32::try_from(bound).expect("alphabets and lengths are small");
        // The words above the last whole multiple of the bound would favour the small remainders. With these
        // bounds one word in a million is refused; hundreds in a row are no chance but a broken source.
        let whole = u32::MAX - u32::MAX % bound;
        let word = (0..256).map(|_| self.word()).find(|word| *word < whole);
        let word = word.ok_or(CredentialError::Entropy)?;
        Ok(usize::try_from(word % bound).expect("a remainder below the bound fits as the bound did"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SplitMix64: good enough to test with, and nothing else.
    struct Mixed(u64);

    impl Entropy for Mixed {
        fn fill(&mut self, buffer: &mut [u8]) {
            for byte in buffer {
                self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut word = self.0;
                word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                *byte = (word >> 56) as u8;
            }
        }
    }

    struct Constant(u8);

    impl Entropy for Constant {
        fn fill(&mut self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    #[test]
    fn refuses_lengths_out_of_bounds() {
        for length in [0, 7, 4097, usize::MAX] {
            let refused = generate(length, Complexity::High, &mut Mixed(1));
            assert!(matches!(refused, Err(CredentialError::Length { .. })), "{length}");
        }
    }

    #[test]
    fn a_broken_source_ends_the_work() {
        assert_eq!(generate(32, Complexity::High, &mut Constant(0xff)), Err(CredentialError::Entropy));
        assert!(generate(4096, Complexity::VeryHigh, &mut Constant(0)).is_ok());
    }

    #[test]
    fn draws_are_even() {
        let mut entropy = Mixed(2);
        let mut draws = Draws::new(&mut entropy);
        let mut counts = [0u32; 5];
        for _ in 0..50_000 {
            counts[draws.below(5).unwrap()] += 1;
        }
        // Chi-squared with 4 degrees of freedom: above 23.5 once in ten thousand fair series.
        let squares: f64 = counts.iter().map(|n| (f64::from(*n) - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(squares < 23.5, "{counts:?}");
    }

    #[test]
    fn each_class_lands_everywhere_but_marks_at_the_ends() {
        let mut mark_at = [0u32; 12];
        for seed in 0..4000 {
            let secret = generate(12, Complexity::VeryHigh, &mut Mixed(seed)).unwrap();
            for (at, byte) in secret.expose().iter().enumerate() {
                mark_at[at] += u32::from(!byte.is_ascii_alphanumeric());
            }
        }
        assert_eq!((mark_at[0], mark_at[11]), (0, 0));
        assert!(mark_at[1..11].iter().all(|n| *n > 600), "{mark_at:?}");
    }

    #[test]
    fn names_round_trip() {
        for complexity in Complexity::ALL {
            assert_eq!(complexity.to_string().parse(), Ok(complexity));
            let json = serde_json::to_string(&complexity).unwrap();
            assert_eq!(json, format!("\"{complexity}\""));
        }
        assert!("extreme".parse::<Complexity>().is_err());
    }

    proptest! {
        #[test]
        fn every_class_is_present_and_nothing_else(
            length in 8usize..200, seed: u64, complexity in prop::sample::select(&Complexity::ALL[..]),
        ) {
            let secret = generate(length, complexity, &mut Mixed(seed)).unwrap();
            let text = secret.expose_text().unwrap();
            prop_assert_eq!(text.len(), length);
            for class in complexity.classes() {
                prop_assert!(text.contains(|c| class.contains(c)), "no {class}");
            }
            prop_assert!(text.chars().all(|c| complexity.classes().iter().any(|class| class.contains(c))));
            prop_assert!(text.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(text.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }

        #[test]
        fn different_chance_gives_different_values(seed: u64) {
            let one = generate(32, Complexity::High, &mut Mixed(seed)).unwrap();
            let other = generate(32, Complexity::High, &mut Mixed(seed.wrapping_add(1 << 40))).unwrap();
            prop_assert_ne!(one, other);
        }
    }
}
