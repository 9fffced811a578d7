//! What a reason shows of a value: a short piece around the hit, printable, never a secret.

use security_core::blank_tokens;

use super::place::Place;

/// How many bytes around the hit are shown.
const AROUND: usize = 24;
/// The longest piece; longer than a token of ours.
const LONGEST: usize = 80;

/// The piece of a normalised value around a hit.
pub(super) fn evidence(place: &Place<'_>, text: &[u8], start: usize, end: usize) -> String {
    if place.is_secret() {
        return "****".into();
    }
    let from = start.saturating_sub(AROUND).min(text.len());
    let to = text.len().min((end + AROUND).min(from + LONGEST)).max(from);
    // The piece may begin within a token, so one is looked for from farther on.
    let lead = from.saturating_sub(LONGEST);
    let blanked = blank_tokens(&text[lead..to]);
    String::from_utf8_lossy(&blanked[from - lead..])
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
