//! How bad an indicator is, from what its sources said and when.

use security_core::{Severity, Timestamp};
use security_indicators::IocType;
use serde::{Deserialize, Serialize};

use crate::IocRecord;

/// What is known of a value that was looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// Whether any record was found.
    pub found: bool,
    /// 0 to 100, after decay by age.
    pub score: u8,
    /// The highest confidence any source gave, 0 to 100, as it was given.
    pub confidence: u8,
    /// The sources, first one first, each once.
    pub sources: Vec<String>,
    /// By the score: from 90 critical, from 70 high, from 40 medium, from 10 low, else info; `None` when
    /// nothing was found.
    pub severity: Option<Severity>,
    /// The latest sight by any source.
    pub last_seen: Option<Timestamp>,
    /// How the score came about, one sentence a step.
    pub explanation: Vec<String>,
}

/// The time after which a source's word on a kind weighs half, in days; `None` for what does not age.
///
/// Addresses change hands within weeks and phishing URLs die within days, while a digest stays the digest of the
/// same file for ever.
pub fn half_life_days(kind: IocType) -> Option<u32> {
    match kind {
        IocType::Url => Some(14),
        IocType::Ip | IocType::IpPort => Some(30),
        IocType::Cidr | IocType::Domain | IocType::Email => Some(90),
        IocType::Asn | IocType::Mac | IocType::Btc | IocType::Eth | IocType::Xmr | IocType::Sol => Some(365),
        IocType::Ja3 | IocType::Ja4 => Some(180),
        _ => None,
    }
}

/// Weighs the records that were found for one value.
///
/// Each source's confidence decays with the age of its last sight by [`half_life_days`]; sources are taken as
/// independent, `1 - (1 - a)(1 - b)…`; a record past its `valid_until` counts a quarter.
pub fn assess(records: &[IocRecord], now: Timestamp) -> Assessment {
    let mut left = 1.0f64;
    let mut sources: Vec<String> = Vec::new();
    let mut explanation = Vec::new();
    for record in records {
        let is_over = record.valid_until.is_some_and(|end| end <= now);
        for known in &record.sources {
            let days = now.since(known.last_seen).as_secs_f64() / 86_400.0;
            let decay = half_life_days(record.kind).map_or(1.0, |half| 0.5f64.powf(days / f64::from(half)));
            let weight =
                f64::from(known.confidence.min(100)) / 100.0 * decay * if is_over { 0.25 } else { 1.0 };
            left *= 1.0 - weight;
            explanation.push(format!(
                "{} said so with confidence {} {}{}: weight {:.2}",
                known.source,
                known.confidence,
                age(days),
                if is_over { ", for a time that is over" } else { "" },
                weight,
            ));
            if !sources.contains(&known.source) {
                sources.push(known.source.clone());
            }
        }
    }
    if records.is_empty() {
        explanation.push("no source knows it".to_owned());
    } else if sources.len() > 1 {
        explanation.push(format!("{} sources together", sources.len()));
    }
    // In 0..=100 by construction, so that the conversion loses only the fraction.
    let score = ((1.0 - left) * 100.0).round().clamp(0.0, 100.0) as u8;
    let severity = match score {
        90.. => Severity::Critical,
        70.. => Severity::High,
        40.. => Severity::Medium,
        10.. => Severity::Low,
        _ => Severity::Info,
    };
    Assessment {
        found: !records.is_empty(),
        score,
        confidence: records.iter().map(|record| record.confidence).max().unwrap_or(0),
        sources,
        severity: (!records.is_empty()).then_some(severity),
        last_seen: records.iter().map(|record| record.last_seen).max(),
        explanation,
    }
}

fn age(days: f64) -> String {
    match days.floor() {
        0.0 => "today".to_owned(),
        1.0 => "a day ago".to_owned(),
        days => format!("{days} days ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewIoc;
    use security_indicators::Indicator;
    use std::time::Duration;

    fn record(kind: IocType, value: &str, confidence: u8) -> IocRecord {
        IocRecord::new(NewIoc {
            indicator: Indicator::parse(kind, value).unwrap(),
            original: None,
            source: "one".to_owned(),
            confidence,
            description: String::new(),
            tags: Vec::new(),
            related_intel_ids: Vec::new(),
            seen_at: Timestamp::EPOCH,
            first_seen: None,
            valid_until: None,
        })
    }

    fn after(days: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(days * 86_400))
    }

    #[test]
    fn words_age_by_kind() {
        let address = [record(IocType::Ip, "192.0.2.7", 80)];
        let digest = [record(IocType::Md5, "0123456789abcdef0123456789abcdef", 80)];
        for (records, days, score) in
            [(&address, 0, 80), (&address, 30, 40), (&address, 300, 0), (&digest, 0, 80), (&digest, 3000, 80)]
        {
            let assessment = assess(records, after(days));
            assert_eq!((assessment.score, assessment.confidence), (score, 80), "{days}");
        }
        assert_eq!(assess(&address, after(0)).severity, Some(Severity::High));
    }

    #[test]
    fn sources_add_up_and_the_expired_count_little() {
        let mut twice = record(IocType::Ip, "192.0.2.7", 50);
        twice.sources.push(crate::Provenance { source: "two".to_owned(), ..twice.sources[0].clone() });
        let assessment = assess(&[twice.clone()], after(0));
        assert_eq!((assessment.score, assessment.sources.len()), (75, 2));
        twice.valid_until = Some(after(1));
        assert_eq!(assess(&[twice], after(2)).score, 22);
    }

    #[test]
    fn nothing_found_is_no_severity() {
        let assessment = assess(&[], after(0));
        assert_eq!((assessment.found, assessment.score, assessment.severity), (false, 0, None));
    }
}
