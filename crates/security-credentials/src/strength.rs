//! How hard a credential is to guess.

use serde::Serialize;
use zeroize::Zeroizing;

use crate::{CredentialKind, RotationPolicy, generate::MOST_LENGTH};

/// What [`validate`] says of a credential; holds nothing of the credential but its length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrengthReport {
    /// Whether there are no problems.
    pub valid: bool,
    /// Which credential it is for.
    pub credential_type: CredentialKind,
    /// 0 (guessed at once) to 4 (out of reach), after zxcvbn; below 3 is a problem.
    pub score: u8,
    /// Binary logarithm of the guesses it takes, to one decimal; at most 64, where the estimate ends.
    pub entropy_bits: f64,
    /// Number of characters, or of bytes when it is no UTF-8.
    pub length: usize,
    /// Whether it is known from breaches; `None` where no list is at hand.
    pub breached: Option<bool>,
    /// What makes it invalid.
    pub problems: Vec<String>,
    /// What would make it better.
    pub suggestions: Vec<String>,
}

impl StrengthReport {
    /// Takes note of whether the candidate is known from breaches, which makes it invalid (NIST SP 800-63B-4
    /// §3.1.1.2).
    pub fn note_breached(&mut self, breached: bool) {
        self.breached = Some(breached);
        if breached {
            self.problems.push("it is among the passwords that are known from breaches".to_owned());
            self.suggestions.push("Take one that was never used anywhere, best a generated one".to_owned());
            self.valid = false;
        }
    }
}

/// NIST SP 800-63B-4 §3.1.1.2: at least 15 characters where a password is the only factor.
const LEAST_LENGTH: usize = 15;
/// The same section asks that 64 characters be taken; what comes after them cannot make a value weaker.
const MOST_ESTIMATED: usize = 64;
/// The estimate tries all ways of reading signs as letters (`4` or `@` for `a`). Where many signs make these
/// ways thousands, fewer characters are enough for the highest score, and a hostile value costs little.
const MANY_SIGNS: usize = 8;
const MOST_ESTIMATED_WITH_MANY_SIGNS: usize = 32;
const LEAST_SCORE: u8 = 3;
/// Where the estimate ends, less what rounding takes.
const MOST_BITS: f64 = 63.9;

/// Judges a value for one of the document's credentials: its length and how hard it is to guess.
///
/// There are no rules on its composition (NIST SP 800-63B-4 §3.1.1.2 forbids them): "correct horse battery
/// staple" is fine and `P@ssw0rd1234567` is not. Common passwords, names, words, dates, keyboard rows, repeats
/// and sequences are known to the estimate; it looks at no more than 64 characters.
pub fn validate(candidate: &[u8], kind: CredentialKind, policy: &RotationPolicy) -> StrengthReport {
    let mut report = StrengthReport {
        valid: false,
        credential_type: kind,
        score: 0,
        entropy_bits: 0.0,
        length: candidate.len(),
        breached: None,
        problems: Vec::new(),
        suggestions: Vec::new(),
    };
    if candidate.is_empty() {
        report.problems.push("it is empty".to_owned());
    } else if candidate.len() > MOST_LENGTH {
        report.problems.push(format!("it is longer than {MOST_LENGTH} bytes"));
    } else if let Ok(text) = std::str::from_utf8(candidate) {
        examine(text, kind, policy, &mut report);
    } else {
        report.problems.push("it is not UTF-8 text, so it fits no header and no environment variable".into());
    }
    report.valid = report.problems.is_empty();
    report
}

fn examine(text: &str, kind: CredentialKind, policy: &RotationPolicy, report: &mut StrengthReport) {
    report.length = text.chars().count();
    if text.chars().any(char::is_control) {
        report.problems.push("it holds control characters, such as a line break at its end".to_owned());
    }
    if report.length < LEAST_LENGTH {
        report.problems.push(format!("it is shorter than {LEAST_LENGTH} characters"));
    }
    let estimate = estimate(text, kind);
    report.score = estimate.score().into();
    report.entropy_bits = (binary_logarithm(&estimate) * 10.0).round() / 10.0;
    if report.score < LEAST_SCORE {
        report.problems.push("it is too easy to guess".to_owned());
    }
    if let Some(feedback) = estimate.feedback() {
        let warning = feedback.warning().map(|warning| warning.to_string());
        let suggestions = feedback.suggestions().iter().map(ToString::to_string);
        let advice = warning.into_iter().chain(suggestions);
        report.suggestions.extend(advice.map(|text| text.trim_end_matches('.').to_owned()));
    }
    if text.trim() != text {
        report.suggestions.push("Remove the white space at its ends, which many readers cut off".to_owned());
    }
    if report.length < policy.length {
        report.suggestions.push(format!("Generated values of {kind} have {} characters", policy.length));
    }
}

/// Whether a secret that somebody else made may be found by guessing, by whoever has a fast hash of it: in less than
/// 2⁶⁴ guesses, where the estimate ends. Twenty random characters are enough.
pub fn is_guessable(secret: &[u8]) -> bool {
    match std::str::from_utf8(secret) {
        Ok(text) => binary_logarithm(&estimate_among(text, &["key", "api", "token", "secret"])) < MOST_BITS,
        // No words, no names and no dates are known of other bytes.
        Err(_) => secret.len() < 16,
    }
}

fn binary_logarithm(estimate: &zxcvbn::Entropy) -> f64 {
    estimate.guesses_log10().max(0.0) * std::f64::consts::LOG2_10
}

/// The estimate of zxcvbn (Wheeler, USENIX Security 2016), which also knows the names of our credentials.
///
/// It reads the present year, once a process, to tell likely dates from unlikely ones: the one thing below floor
/// 3 that looks at a clock, and nothing but the estimate of a date depends on it.
fn estimate(text: &str, kind: CredentialKind) -> zxcvbn::Entropy {
    let name = kind.as_str().to_ascii_lowercase();
    let words: Vec<&str> = name.split('_').chain([name.as_str(), "credential"]).collect();
    estimate_among(text, &words)
}

fn estimate_among(text: &str, words: &[&str]) -> zxcvbn::Entropy {
    let mut signs: Vec<char> = text.chars().filter(|c| "4@8({[<3691!|705$+%2".contains(*c)).collect();
    signs.sort_unstable();
    signs.dedup();
    let most = if signs.len() > MANY_SIGNS { MOST_ESTIMATED_WITH_MANY_SIGNS } else { MOST_ESTIMATED };
    let start: Zeroizing<String> = Zeroizing::new(text.chars().take(most).collect());
    zxcvbn::zxcvbn(&start, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Complexity, generate};
    use proptest::prelude::*;
    use security_core::Entropy;

    #[test]
    fn what_was_drawn_at_random_is_not_guessable() {
        for random in ["Vq7ZkX2mN9tRb4Ls8Wc3", "9f86d081884c7d659a2feaa0c55ad015", "kT3_xW-8vQ2hJ5nL7pR4sY6z"]
        {
            assert!(!is_guessable(random.as_bytes()), "{random}");
        }
        for early in [
            "",
            "hunter2",
            "123456789abcdef0123456789",
            "P@ssw0rd1234567890!",
            "secret-token-2026",
            "Vq7ZkX2mN9",
        ] {
            assert!(is_guessable(early.as_bytes()), "{early}");
        }
        assert!(is_guessable(&[0xff; 15]) && !is_guessable(&[0xff; 16]));
    }

    fn judge(candidate: &[u8]) -> StrengthReport {
        validate(candidate, CredentialKind::ApiKey, &RotationPolicy::of(CredentialKind::ApiKey))
    }

    struct Steps(u8);

    impl Entropy for Steps {
        fn fill(&mut self, buffer: &mut [u8]) {
            for (at, byte) in buffer.iter_mut().enumerate() {
                self.0 = self.0.wrapping_mul(141).wrapping_add(91);
                *byte = self.0 ^ (at as u8).rotate_left(3);
            }
        }
    }

    #[test]
    fn generated_values_of_every_policy_are_valid() {
        for kind in CredentialKind::ALL {
            let policy = RotationPolicy::of(kind);
            let secret = generate(policy.length, policy.complexity, &mut Steps(kind as u8)).unwrap();
            let report = validate(secret.expose(), kind, &policy);
            assert!(report.valid && report.suggestions.is_empty(), "{report:?}");
            assert_eq!((report.score, report.length), (4, policy.length));
        }
        let weakest = generate(15, Complexity::Low, &mut Steps(1)).unwrap();
        assert!(judge(weakest.expose()).valid);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let report = judge(&[0xff; 40]);
        assert_eq!((report.valid, report.score, report.length), (false, 0, 40));
        assert!(report.problems[0].contains("UTF-8"));
    }

    #[test]
    fn a_value_of_megabytes_is_refused_by_its_length() {
        let report = judge(&vec![b'a'; 10 << 20]);
        assert_eq!(report.problems, ["it is longer than 4096 bytes"]);
    }

    #[test]
    fn reports_serialise_under_the_names_of_the_document() {
        let json = serde_json::to_value(judge(b"changeme")).unwrap();
        assert_eq!(json["credential_type"], "API_KEY");
        assert_eq!(json["valid"], false);
        assert_eq!(json["score"], 0);
    }

    #[test]
    fn the_bits_end_at_64() {
        let secret = generate(200, Complexity::Medium, &mut Steps(3)).unwrap();
        assert_eq!(judge(secret.expose()).entropy_bits, 64.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_panics_and_never_repeats_the_candidate(text in "\\PC{12,40}") {
            let report = judge(text.as_bytes());
            prop_assert!(!serde_json::to_string(&report).unwrap().contains(&text));
            prop_assert_eq!(report.valid, report.problems.is_empty());
            prop_assert!(report.score <= 4);
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            judge(&bytes);
        }
    }
}
