//! The listed indicators in a text: found and looked up in one pass.

use security_indicators::{Found, extract_each};
use serde::Serialize;

use super::{IocCheck, IocMatch, Warned, warnings::Judge};
use crate::{Engine, Error, ExtractedIoc, Result, threat::wanted};

/// Findings looked up while the index is held; more are never in memory.
const TOGETHER: usize = 4096;

/// A listed indicator that stands in a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScannedIoc {
    /// What stands there, and where.
    #[serde(flatten)]
    pub found: ExtractedIoc,
    /// The records that list it, closest first.
    pub matches: Vec<IocMatch>,
}

/// What a scan met.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScanReport {
    /// The listed ones, in the order of the text.
    pub listed: Vec<ScannedIoc>,
    /// How many indicators stood in the text, listed or not, as far as it was looked at.
    pub seen: usize,
}

impl Engine {
    /// Finds the listed indicators in a text, defanged ones too; what is not listed is looked up and left. `types` looks
    /// for some kinds only, `limit` gives the first so many; what is on a warninglist is kept, flagged or left out.
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for an unknown type; [`Error::Store`](crate::Error::Store).
    pub fn scan_text(
        &self,
        text: &str,
        types: Option<&[String]>,
        limit: Option<usize>,
        warned: Warned,
    ) -> Result<ScanReport> {
        let options = wanted(types)?;
        let mut scan = Scan {
            engine: self,
            judge: self.judge_of_warnings(warned)?,
            text,
            limit: limit.unwrap_or(usize::MAX),
            waiting: Vec::new(),
            report: ScanReport::default(),
            failed: None,
        };
        extract_each(text, &options, &mut |found| scan.take(found));
        scan.look_up();
        match scan.failed {
            Some(error) => Err(error),
            None => Ok(scan.report),
        }
    }
}

struct Scan<'a> {
    engine: &'a Engine,
    judge: Judge,
    text: &'a str,
    limit: usize,
    waiting: Vec<Found>,
    report: ScanReport,
    failed: Option<Error>,
}

impl Scan<'_> {
    fn take(&mut self, found: Found) {
        // The pass itself cannot be left; what comes after the last that is wanted is passed over.
        if self.failed.is_some() || self.report.listed.len() >= self.limit {
            return;
        }
        self.report.seen += 1;
        self.waiting.push(found);
        if self.waiting.len() >= TOGETHER {
            self.look_up();
        }
    }

    fn look_up(&mut self) {
        if let Err(error) = self.listed() {
            self.failed = Some(error);
        }
        self.waiting.clear();
    }

    fn listed(&mut self) -> Result<()> {
        let hits = self.engine.with_index(|index| {
            let mut hits = Vec::new();
            for (at, found) in self.waiting.iter().enumerate() {
                let met = index.matches(&found.indicator)?;
                if !met.is_empty() {
                    hits.push((at, met));
                }
            }
            Ok(hits)
        })?;
        for (at, hits) in hits {
            if self.report.listed.len() >= self.limit {
                return Ok(());
            }
            let found = &self.waiting[at];
            let check = IocCheck::of(&found.indicator, self.engine.confirmed(&found.indicator, hits)?);
            if check.matched
                && let Some(warnings) = self.judge.judge(&found.indicator)
            {
                let found = ExtractedIoc { warnings, ..ExtractedIoc::of(found, self.text) };
                self.report.listed.push(ScannedIoc { found, matches: check.matches });
            }
        }
        Ok(())
    }
}
