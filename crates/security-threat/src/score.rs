//! All matches of one event in one number.

use security_core::Severity;
use serde::Serialize;

use crate::RuleMatch;

/// How bad an event is, over all rules that hold for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThreatScore {
    /// 0 to 100. Each match takes its severity's share (critical 80 %, high 60 %, medium 40 %, low 20 %,
    /// info 0 %) of what the others left of 100: one critical match is 80, two are 96.
    pub score: u8,
    /// The highest severity; `None` without a match.
    pub severity: Option<Severity>,
    /// Number of matches.
    pub n_matches: usize,
    /// Number of matches of each severity, highest first, those that occur.
    pub by_severity: Vec<(Severity, usize)>,
}

impl ThreatScore {
    /// The score of some matches.
    pub fn of(matches: &[RuleMatch]) -> Self {
        Self::of_severities(matches.iter().map(|found| found.rule.severity))
    }

    /// The score of matches of which only the severities are known.
    pub fn of_severities(severities: impl IntoIterator<Item = Severity>) -> Self {
        let mut counts = [0usize; Severity::ALL.len()];
        for severity in severities {
            counts[severity as usize] += 1;
        }
        let by_severity: Vec<_> = Severity::ALL
            .into_iter()
            .rev()
            .map(|s| (s, counts[s as usize]))
            .filter(|(_, n)| *n > 0)
            .collect();
        let left: f64 = by_severity
            .iter()
            .map(|(severity, n)| {
                let share = 1.0 - f64::from(severity.score()) / 100.0;
                share.powi(i32::try_from(*n).unwrap_or(i32::MAX))
            })
            .product();
        // In 0..=100 by construction, so that the conversion loses only the fraction.
        let score = (100.0 * (1.0 - left)).round().clamp(0.0, 100.0) as u8;
        let n_matches = by_severity.iter().map(|(_, n)| n).sum();
        Self { score, severity: by_severity.first().map(|(severity, _)| *severity), n_matches, by_severity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Critical, High, Info, Low, Medium};

    #[test]
    fn a_single_match_scores_its_severity() {
        for severity in Severity::ALL {
            assert_eq!(ThreatScore::of_severities([severity]).score, severity.score());
        }
    }

    #[test]
    fn several_matches_add_up_below_100() {
        for (severities, score, highest) in [
            (vec![], 0, None),
            (vec![Info, Info], 0, Some(Info)),
            (vec![Low, Medium], 52, Some(Medium)),
            (vec![Critical, Critical], 96, Some(Critical)),
            (vec![High, High, Low], 87, Some(High)),
        ] {
            let total = ThreatScore::of_severities(severities.clone());
            assert_eq!((total.score, total.severity), (score, highest), "{severities:?}");
        }
        assert_eq!(ThreatScore::of_severities(vec![Critical; 1000]).score, 100);
    }
}
