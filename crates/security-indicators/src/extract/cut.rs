//! Where a long text may be cut, so that it can be searched piece by piece with the findings of the whole.

use super::wrap;

/// Bytes before a cut that are looked at for the words there (`imphash:`), and for a finding's context. A piece that is
/// searched with so many bytes before it has the findings it has in the whole text.
pub const LOOK_BACK: usize = 256;

/// The last place in `text` after `floor` at which it may be cut: nothing is found across it. After a line, unless a
/// wrapped URL may go on in the next one; the text behind the place has at least one byte.
pub fn safe_cut(text: &str, floor: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut end = bytes.len().saturating_sub(1);
    while let Some(line_end) = memchr::memrchr(b'\n', bytes.get(floor..end)?) {
        let line_end = floor + line_end;
        if !wrap::may_wrap(bytes, line_end) {
            return Some(line_end + 1);
        }
        end = line_end;
    }
    None
}
