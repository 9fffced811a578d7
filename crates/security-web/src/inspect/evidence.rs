//! What a reason shows of a value: a short piece around the hit, printable, never a secret.

use super::place::Place;

/// How many bytes around the hit are shown.
const AROUND: usize = 24;
const LONGEST: usize = 80;

/// The piece of a normalised value around a hit.
pub(super) fn evidence(place: &Place<'_>, text: &[u8], start: usize, end: usize) -> String {
    if place.is_secret() {
        return "****".into();
    }
    let from = start.saturating_sub(AROUND).min(text.len());
    let to = text.len().min((end + AROUND).min(from + LONGEST)).max(from);
    String::from_utf8_lossy(&text[from..to]).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
