//! Which sites the listed URLs are of, roughly: nearly every URL that is looked up is of none of them, and then none of
//! its prefixes has to be asked for.
//!
//! A site is what stands before a URL's path: scheme, user, host and port. Whatever lists a URL or lies above it is of the
//! same site, as [`crate::url::site_end`] cuts it. The filter is a row of blocks of 64 bytes, one cache line each: 480
//! bits, of which a site sets four, and a check sum like a bucket's.

use super::table::{self, BUCKET};

/// Sites of a block on the average; about one unknown site of two hundred passes.
const A_BLOCK: u64 = 32;
/// Bits of a block; the rest is its check sum.
const BITS: u64 = 480;
/// Bits that a site sets, and how many bits of its hash choose one.
const MARKS: u32 = 4;
const CHOICE: u32 = 9;

/// Blocks for so many sites.
pub(super) fn blocks(sites: u64) -> u64 {
    sites.div_ceil(A_BLOCK).max(1)
}

/// Notes a site in its block, which [`table::home`] tells from the high bits of its hash.
pub(super) fn note(block: &mut [u8; BUCKET], hash: u64) {
    marks(hash).for_each(|bit| block[bit / 8] |= 1 << (bit % 8));
}

/// Whether a site may have been noted.
pub(super) fn has(block: &[u8; BUCKET], hash: u64) -> bool {
    marks(hash).fold(1, |all, bit| all & block[bit / 8] >> (bit % 8)) & 1 == 1
}

fn marks(hash: u64) -> impl Iterator<Item = usize> {
    (0..MARKS).map(move |mark| {
        let choice = hash >> (mark * CHOICE) & ((1 << CHOICE) - 1);
        ((choice * BITS) >> CHOICE) as usize
    })
}

/// What is hashed of a site.
pub(super) fn hash(key: (u64, u64), site: &str) -> u64 {
    table::hash(key, site.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_had_and_little_else() {
        let hash = |number: u64| table::hash((1, 2), &number.to_le_bytes());
        let mut block = [0; BUCKET];
        (0..A_BLOCK).for_each(|number| note(&mut block, hash(number)));
        assert!((0..A_BLOCK).all(|number| has(&block, hash(number))));
        assert_eq!(block[BITS as usize / 8..], [0; 4], "the check sum has its place");
        let passed = (1000..101_000).filter(|number| has(&block, hash(*number))).count();
        assert!(passed < 1000, "{passed} of 100,000");
    }
}
