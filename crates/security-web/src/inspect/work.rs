//! How much work one request may make.
//!
//! A pass over the bytes costs the same for every text. What an attacker can choose is how often something is found that
//! has to be checked: a document made of nothing but openers asks for a check at every second byte. So checks are
//! counted, and a request has so many of them and no more.

/// Checks that every request has.
const BASE: usize = 2048;
/// One more for so many bytes: programs, the densest of texts, need half as many.
const BYTES_A_CHECK: usize = 4;
/// Checks that every value adds: both tokenisers may read each, so that no list of short texts is too much.
const A_VALUE: usize = 32;
/// What a run of a tokeniser counts for, and one more for so many bytes of it.
const TOKENISER: usize = 16;
const BYTES_TOKENISED: usize = 32;

/// The checks that are left; one unit is a look at no more than a few hundred bytes.
#[derive(Debug, Default)]
pub(super) struct Work {
    left: usize,
    pub(super) spent: usize,
    pub(super) is_over: bool,
}

impl Work {
    pub(super) fn new() -> Self {
        Self { left: BASE, ..Self::default() }
    }

    /// What a value of so many bytes adds.
    pub(super) fn add(&mut self, bytes: usize) {
        self.left += A_VALUE + bytes.div_ceil(BYTES_A_CHECK);
    }

    /// Whether there was one check left.
    pub(super) fn check(&mut self) -> bool {
        self.spend(1)
    }

    /// Whether there was a check left that costs as much as several.
    pub(super) fn check_of(&mut self, cost: u8) -> bool {
        self.spend(usize::from(cost))
    }

    /// Whether a tokeniser may read so many bytes.
    pub(super) fn tokenise(&mut self, bytes: usize) -> bool {
        self.spend(TOKENISER + bytes / BYTES_TOKENISED)
    }

    fn spend(&mut self, units: usize) -> bool {
        if self.left < units {
            self.is_over = true;
            return false;
        }
        self.left -= units;
        self.spent += units;
        true
    }
}
