//! Characters that a reader does not see.

/// Whether a character draws nothing, ends a line for some readers, or turns the direction of what surrounds it: with
/// it, two names look alike, or a log line reads otherwise than it is written (Unicode TR 36, "bidirectional text
/// spoofing"). The joiners U+200C and U+200D are none: scripts and emoji need them.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen() {
        assert!(
            "\n\u{0}\u{7f}\u{9b}\u{200b}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{e0041}"
                .chars()
                .all(is_invisible)
        );
        assert!(!"Überwachung 監視 👩\u{200d}🚒 \u{a0}می\u{200c}خواهم".chars().any(is_invisible));
    }
}
