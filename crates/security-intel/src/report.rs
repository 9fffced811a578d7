//! A report of correlations for people: counts, what stands out, what to do; also as Markdown.

use std::{collections::BTreeMap, fmt::Write};

use security_core::{Severity, Timestamp};
use security_indicators::{IocType, defang};
use serde::{Deserialize, Serialize};

use crate::{Correlation, IocRecord, Relation, error::shorten};

/// The most indicators listed.
const MAX_TOP: usize = 20;
/// The most correlations listed.
const MAX_LISTED: usize = 50;

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreatReport {
    /// The report's title.
    pub title: String,
    /// When it was made.
    pub generated_at: Timestamp,
    /// The matter in a few sentences.
    pub summary: String,
    /// Number of correlations.
    pub n_correlations: usize,
    /// Number of different indicators in them.
    pub n_indicators: usize,
    /// Number of different intelligence records in them.
    pub n_intel: usize,
    /// Number of correlations by severity; all severities are there.
    pub severity_counts: BTreeMap<Severity, usize>,
    /// Number of correlations by relation, those that occur.
    pub relation_counts: BTreeMap<Relation, usize>,
    /// The indicators that stand out, worst first.
    pub top_indicators: Vec<TopIndicator>,
    /// What to do, most urgent first.
    pub recommendations: Vec<String>,
    /// The report's parts with their text.
    pub sections: Vec<Section>,
    /// The whole report as Markdown.
    pub markdown: String,
}

/// An indicator that stands out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopIndicator {
    /// The kind.
    #[serde(rename = "type")]
    pub kind: IocType,
    /// The value, defanged: for eyes, not for matching.
    pub value: String,
    /// Number of correlations it is in.
    pub n_correlations: usize,
    /// The highest score among them, 0 to 1.
    pub score: f64,
    /// The highest severity among them.
    pub severity: Severity,
    /// The sources that know it, where records were given.
    pub sources: Vec<String>,
}

/// A part of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Its text, in Markdown.
    pub body: String,
}

/// Makes a report. `iocs` are the records of indicators in the correlations, as far as they are known: their
/// sources are named.
pub fn threat_report(correlations: &[Correlation], iocs: &[IocRecord], now: Timestamp) -> ThreatReport {
    let mut severity_counts: BTreeMap<Severity, usize> = Severity::ALL.into_iter().map(|s| (s, 0)).collect();
    let mut relation_counts = BTreeMap::new();
    let mut intel_ids = std::collections::BTreeSet::new();
    let mut indicators: BTreeMap<(IocType, &str), (usize, f64, Severity)> = BTreeMap::new();
    for correlation in correlations {
        *severity_counts.entry(correlation.severity).or_default() += 1;
        *relation_counts.entry(correlation.relation).or_default() += 1;
        intel_ids.extend(&correlation.intel_ids);
        for ioc in &correlation.iocs {
            let known = indicators.entry((ioc.kind, &ioc.value)).or_insert((0, 0.0, Severity::Info));
            *known = (known.0 + 1, known.1.max(correlation.score), known.2.max(correlation.severity));
        }
    }
    let sources: BTreeMap<(IocType, &str), Vec<String>> = iocs
        .iter()
        .map(|record| {
            let names = record.sources.iter().map(|known| known.source.clone()).collect();
            ((record.kind, record.value.as_str()), names)
        })
        .collect();
    let n_indicators = indicators.len();
    let mut top_indicators: Vec<_> = indicators
        .into_iter()
        .map(|((kind, value), (n_correlations, score, severity))| TopIndicator {
            kind,
            value: shorten(&defang(value), 200),
            n_correlations,
            score,
            severity,
            sources: sources.get(&(kind, value)).cloned().unwrap_or_default(),
        })
        .collect();
    top_indicators.sort_by(|a, b| {
        let worst = b.severity.cmp(&a.severity).then(b.score.total_cmp(&a.score));
        worst.then(b.n_correlations.cmp(&a.n_correlations)).then_with(|| a.value.cmp(&b.value))
    });
    top_indicators.truncate(MAX_TOP);
    let mut report = ThreatReport {
        title: "Threat report".to_owned(),
        generated_at: now,
        summary: summary(correlations, &severity_counts, n_indicators, intel_ids.len()),
        n_correlations: correlations.len(),
        n_indicators,
        n_intel: intel_ids.len(),
        recommendations: recommendations(correlations, &severity_counts),
        severity_counts,
        relation_counts,
        top_indicators,
        sections: Vec::new(),
        markdown: String::new(),
    };
    report.sections = sections(&report, correlations);
    report.markdown = markdown(&report);
    report
}

fn summary(
    correlations: &[Correlation],
    counts: &BTreeMap<Severity, usize>,
    n_indicators: usize,
    n_intel: usize,
) -> String {
    let Some(worst) = correlations.iter().map(|correlation| correlation.severity).max() else {
        return "No correlations were found: nothing known connects the indicators with each other or with the \
                intelligence at hand."
            .to_owned();
    };
    let urgent = counts.get(&Severity::Critical).unwrap_or(&0) + counts.get(&Severity::High).unwrap_or(&0);
    format!(
        "{}, of {} and {}. The highest severity is {worst}; {urgent} of them {} high or critical.",
        counted(correlations.len(), "correlation"),
        counted(n_indicators, "indicator"),
        counted(n_intel, "intelligence record"),
        if urgent == 1 { "is" } else { "are" },
    )
}

fn counted(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

fn recommendations(correlations: &[Correlation], counts: &BTreeMap<Severity, usize>) -> Vec<String> {
    let mut advice = Vec::new();
    let has = |relation: Relation| correlations.iter().any(|correlation| correlation.relation == relation);
    let has_kind = |kinds: &[IocType]| {
        correlations.iter().flat_map(|correlation| &correlation.iocs).any(|ioc| kinds.contains(&ioc.kind))
    };
    if counts.get(&Severity::Critical).is_some_and(|n| *n > 0) {
        advice.push("Open an incident for the critical correlations and look for the indicators in the logs of the last 90 days.");
    }
    if counts.get(&Severity::High).is_some_and(|n| *n > 0) {
        advice.push("Examine the correlations of high severity within a day.");
    }
    if has_kind(&[IocType::Ip, IocType::Cidr, IocType::IpPort]) {
        advice.push("Block the addresses at the perimeter after a check that they are not shared hosting.");
    }
    if has_kind(&[IocType::Domain, IocType::Url]) {
        advice.push("Block the domains and URLs in the resolver and the proxy.");
    }
    if has_kind(&[IocType::Email]) {
        advice.push("Search the mailboxes for messages from these senders and warn those who received them.");
    }
    if has_kind(&[IocType::Md5, IocType::Sha1, IocType::Sha256, IocType::Sha512]) {
        advice.push(
            "Search the endpoints for files with these digests and isolate the machines that have them.",
        );
    }
    if has(Relation::SameNetwork) || has(Relation::SameDomain) {
        advice.push("Watch the neighbourhood: other hosts of the same networks and domains are likely to be used next.");
    }
    if correlations.is_empty() {
        advice.push("Keep the feeds fresh, and correlate again when new intelligence arrives.");
    }
    advice.into_iter().map(str::to_owned).collect()
}

fn sections(report: &ThreatReport, correlations: &[Correlation]) -> Vec<Section> {
    let mut sections = vec![Section { title: "Summary".to_owned(), body: report.summary.clone() }];
    let mut counts = String::from("| severity | correlations |\n| --- | --- |\n");
    for (severity, n) in report.severity_counts.iter().rev() {
        let _ = writeln!(counts, "| {severity} | {n} |");
    }
    sections.push(Section { title: "Severity".to_owned(), body: counts });
    if !report.top_indicators.is_empty() {
        let mut table = String::from(
            "| type | indicator | severity | score | correlations | sources |\n| --- | --- | --- | --- | --- | --- |\n",
        );
        for top in &report.top_indicators {
            let (value, sources) = (cell(&top.value), top.sources.join(", "));
            let _ = writeln!(
                table,
                "| {} | `{value}` | {} | {:.2} | {} | {} |",
                top.kind,
                top.severity,
                top.score,
                top.n_correlations,
                cell(&sources),
            );
        }
        sections.push(Section { title: "Indicators".to_owned(), body: table });
        let mut list = String::new();
        for correlation in correlations.iter().take(MAX_LISTED) {
            let reasons: Vec<_> = correlation.reasons.iter().map(|reason| cell(&defang(reason))).collect();
            let _ = writeln!(
                list,
                "- {} ({:.2}, {}): {}",
                cell(&correlation.id),
                correlation.score,
                correlation.severity,
                reasons.join("; "),
            );
        }
        if correlations.len() > MAX_LISTED {
            let _ = writeln!(list, "- and {} more", correlations.len() - MAX_LISTED);
        }
        sections.push(Section { title: "Correlations".to_owned(), body: list });
    }
    let advice = report.recommendations.iter().map(|advice| format!("- {advice}\n")).collect();
    sections.push(Section { title: "Recommendations".to_owned(), body: advice });
    sections
}

fn markdown(report: &ThreatReport) -> String {
    let mut text = format!("# {}\n\nMade at {}.\n", report.title, report.generated_at);
    for section in &report.sections {
        let _ = write!(text, "\n## {}\n\n{}\n", section.title, section.body.trim_end());
    }
    text
}

/// Text from outside inside a Markdown table: what could end the cell, the code or start a tag is replaced.
fn cell(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '`' => '\'',
            '|' => '¦',
            '<' => '‹',
            '>' => '›',
            control if control.is_control() => ' ',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CorrelatedIoc;

    fn correlation(value: &str, severity: Severity, score: f64) -> Correlation {
        Correlation {
            id: format!("correlation--{value}"),
            iocs: vec![CorrelatedIoc { kind: IocType::Domain, value: value.to_owned() }],
            intel_ids: vec!["intel--1".to_owned()],
            score,
            relation: Relation::SharedIndicator,
            reasons: vec![format!("the same indicator: domain {value} (weight 0.90)")],
            first_seen: None,
            last_seen: None,
            severity,
        }
    }

    #[test]
    fn a_report_counts_orders_and_disarms() {
        let found = [
            correlation("a.evil.example", Severity::High, 0.9),
            correlation("b.evil.example", Severity::Critical, 0.7),
            correlation("a.evil.example", Severity::Low, 0.95),
        ];
        let report = threat_report(&found, &[], Timestamp::EPOCH);
        assert_eq!((report.n_correlations, report.n_indicators, report.n_intel), (3, 2, 1));
        assert_eq!(report.severity_counts[&Severity::Critical], 1);
        assert_eq!(report.severity_counts[&Severity::Info], 0);
        let order: Vec<_> = report.top_indicators.iter().map(|top| (top.value.as_str(), top.score)).collect();
        assert_eq!(order, [("b[.]evil[.]example", 0.7), ("a[.]evil[.]example", 0.95)]);
        assert!(report.summary.starts_with("3 correlations, of 2 indicators and 1 intelligence record."));
        assert!(report.markdown.contains("## Recommendations"));
        assert!(!report.markdown.contains("a.evil.example (weight"), "{}", report.markdown);
        assert!(report.recommendations[0].starts_with("Open an incident"));
    }

    #[test]
    fn nothing_is_a_report_as_well() {
        let report = threat_report(&[], &[], Timestamp::EPOCH);
        assert!(report.summary.starts_with("No correlations"));
        assert_eq!(report.recommendations.len(), 1);
        assert_eq!(serde_json::to_value(&report).unwrap()["severity_counts"]["high"], 0);
    }

    #[test]
    fn text_from_outside_cannot_leave_its_cell() {
        assert_eq!(cell("a|b`c<script>\n"), "a¦b'c‹script› ");
    }
}
