//! STIX bundles.

use security_stix::Bundle;

use super::{FeedOptions, Rejected, Step};
use crate::{IntelError, StixImportOptions, error::shorten, from_stix};

pub(crate) fn read(
    text: &[u8],
    options: FeedOptions,
) -> Result<impl Iterator<Item = Step> + use<>, IntelError> {
    // A position in the text helps more than the parser's general answer.
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        return Err(IntelError::json("STIX", &error));
    }
    let bundle = Bundle::parse(text, options.limits)?;
    let import = from_stix(
        bundle.objects(),
        &StixImportOptions { source: options.source, confidence: options.confidence, now: options.now },
    );
    let wrong = bundle
        .rejected()
        .iter()
        .map(|rejected| {
            let text = rejected.id.clone().unwrap_or_default();
            Step::Rejected(Rejected { line: rejected.index + 1, text, reason: rejected.reason.to_string() })
        })
        .collect::<Vec<_>>();
    let places: std::collections::HashMap<String, usize> =
        bundle.objects().iter().zip(1..).map(|(object, place)| (object.id().to_string(), place)).collect();
    let skipped = import.skipped.into_iter().map(move |skipped| {
        let line = places.get(&skipped.id).copied().unwrap_or(0);
        Step::Rejected(Rejected { line, text: shorten(&skipped.id, 80), reason: skipped.reason })
    });
    Ok(import.iocs.into_iter().map(|word| Step::Word(Box::new(word))).chain(wrong).chain(skipped))
}
