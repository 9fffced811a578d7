//! STIX bundles.

use std::collections::{HashMap, HashSet};

use security_stix::Bundle;
use serde_json::Value;

use super::{FeedOptions, Rejected, Step};
use crate::{IntelError, StixImportOptions, error::shorten, from_stix};

/// Objects of a bundle that streams that are looked at together.
const TOGETHER: usize = 500;
/// Marking definitions that are remembered of a bundle that streams.
const MAX_MARKINGS: usize = 1000;

pub(crate) fn read(
    text: &[u8],
    options: &FeedOptions,
) -> Result<impl Iterator<Item = Step> + use<>, IntelError> {
    // A position in the text helps more than the parser's general answer.
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        return Err(IntelError::json("STIX", &error));
    }
    let bundle = Bundle::parse(text, options.limits)?;
    let n_values = bundle.objects().len() + bundle.rejected().len();
    let numbers: Vec<usize> = (1..=n_values).collect();
    Ok(steps(&bundle, &numbers, 0, options).into_iter())
}

/// What the objects of a bundle give. `numbers` has the number of each of its values, in their order; what is wrong
/// with the first `n_known` of them was told before.
fn steps(bundle: &Bundle, numbers: &[usize], n_known: usize, options: &FeedOptions) -> Vec<Step> {
    let number = |index: usize| numbers.get(index).copied().unwrap_or_default();
    let stix_options = StixImportOptions {
        source: options.source.clone(),
        confidence: options.confidence,
        now: options.now,
    };
    let import = from_stix(bundle.objects(), &stix_options);
    let rejected: HashSet<usize> = bundle.rejected().iter().map(|rejected| rejected.index).collect();
    let kept = (0..numbers.len()).filter(|index| !rejected.contains(index));
    let places: HashMap<String, usize> =
        bundle.objects().iter().zip(kept).map(|(object, index)| (object.id().to_string(), index)).collect();
    let mut steps: Vec<Step> = import.iocs.into_iter().map(|word| Step::Word(Box::new(word))).collect();
    for rejected in bundle.rejected().iter().filter(|rejected| rejected.index >= n_known) {
        let text = rejected.id.clone().unwrap_or_default();
        let reason = rejected.reason.to_string();
        steps.push(Step::Rejected(Rejected { line: number(rejected.index), text, reason }));
    }
    for skipped in import.skipped {
        let line = places.get(&skipped.id).map_or(0, |index| number(*index));
        let text = shorten(&skipped.id, 80);
        steps.push(Step::Rejected(Rejected { line, text, reason: skipped.reason }));
    }
    steps
}

/// The objects of a bundle that is not held as a whole, some at a time.
///
/// Marking definitions must stand before the objects that refer to them. Observed data is rejected where it refers
/// to observables, which may be anywhere in the bundle.
#[derive(Default)]
pub(crate) struct Passing {
    markings: Vec<(usize, Value)>,
    waiting: Vec<(usize, Value)>,
}

impl Passing {
    /// Takes an object; gives what those that waited gave, when there are enough.
    pub(crate) fn take(&mut self, number: usize, object: Value, options: &FeedOptions) -> Vec<Step> {
        let kind = object.get("type").and_then(Value::as_str);
        if kind == Some("observed-data") && object.get("object_refs").is_some() {
            let text = object.get("id").and_then(Value::as_str).map(|id| shorten(id, 80)).unwrap_or_default();
            let reason = "the bundle is too large to look up what it refers to".to_owned();
            return vec![Step::Rejected(Rejected { line: number, text, reason })];
        }
        self.waiting.push((number, object));
        if self.waiting.len() < TOGETHER { Vec::new() } else { self.finish(options) }
    }

    /// What those that still wait give.
    pub(crate) fn finish(&mut self, options: &FeedOptions) -> Vec<Step> {
        let n_known = self.markings.len();
        let values = self.markings.iter().cloned().chain(std::mem::take(&mut self.waiting));
        let (numbers, values): (Vec<usize>, Vec<Value>) = values.unzip();
        let is_marking =
            |value: &Value| value.get("type").and_then(Value::as_str) == Some("marking-definition");
        let room = MAX_MARKINGS.saturating_sub(n_known);
        let new = numbers.iter().copied().zip(values.iter()).skip(n_known);
        let new = new.filter(|(_, value)| is_marking(value)).take(room);
        let markings: Vec<(usize, Value)> = new.map(|(number, value)| (number, value.clone())).collect();
        self.markings.extend(markings);
        match Bundle::from_values(values, options.limits) {
            Ok(bundle) => steps(&bundle, &numbers, n_known, options),
            Err(error) => vec![Step::Broken(error.into())],
        }
    }
}
