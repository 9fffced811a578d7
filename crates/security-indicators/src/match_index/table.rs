//! The table in which a section of the index file keeps its entries, and the keyed hash that leads into it.
//!
//! A table is a row of buckets of 64 bytes, one cache line each: five slots of twelve bytes and a check sum. A slot
//! holds 56 bits of the value's hash and the row, plus one so that zero means "free". Entries lie in the order of
//! their hashes; one whose own bucket is full lies in the next that is not. So a look-up ends at the first bucket
//! with a free slot, and the last bucket of a table always has one.

use siphasher::sip::SipHasher13;

/// Bytes of a bucket.
pub(super) const BUCKET: usize = 64;
/// Entries of a bucket.
pub(super) const SLOTS: usize = 5;
/// Rows are below this.
pub(super) const MOST_ROWS: u64 = (1 << 40) - 1;

const SLOT: usize = 12;
const CHECK: usize = SLOTS * SLOT;
const TAG: u64 = (1 << 56) - 1;

/// Entries of seven in ten slots: 18.3 bytes an entry, and four look-ups of five end in their first bucket.
pub(super) fn homes(entries: u64) -> u64 {
    (entries * 2).div_ceil(7).max(1)
}

/// The bucket in which a hash belongs. Grows with the hash.
pub(super) fn home(hash: u64, homes: u64) -> u64 {
    ((u128::from(hash) * u128::from(homes)) >> 64) as u64
}

/// A bucket of a table.
pub(super) struct Bucket<'a>(pub(super) &'a [u8; BUCKET]);

impl Bucket<'_> {
    /// The rows of a hash among its entries, and whether the search ends here.
    pub(super) fn find(&self, hash: u64, mut found: impl FnMut(i64)) -> bool {
        for slot in self.0[..CHECK].chunks_exact(SLOT) {
            let (low, high) = (word(slot, 0), word32(slot, 8));
            let row = low >> 56 | u64::from(high) << 8;
            if row == 0 {
                return true;
            }
            if (low ^ hash) & TAG == 0 {
                found((row - 1).cast_signed());
            }
        }
        false
    }

    /// Whether it is as it was written, at this place.
    pub(super) fn is_whole(&self, section: u64, at: u64) -> bool {
        word32(self.0, CHECK) == check(self.0, section, at)
    }
}

/// Puts an entry into a slot.
pub(super) fn put(bucket: &mut [u8; BUCKET], slot: usize, hash: u64, row: u64) {
    let row = row + 1;
    let at = slot * SLOT;
    bucket[at..at + 8].copy_from_slice(&(hash & TAG | row << 56).to_le_bytes());
    bucket[at + 8..at + 12].copy_from_slice(&((row >> 8) as u32).to_le_bytes());
}

/// Writes the check sum of a bucket that has its entries.
pub(super) fn seal(bucket: &mut [u8; BUCKET], section: u64, at: u64) {
    let sum = check(bucket, section, at);
    bucket[CHECK..].copy_from_slice(&sum.to_le_bytes());
}

/// A multilinear sum: finds flipped bits, and pages that lie where they do not belong. It guards against a failing
/// disk and not against somebody who may write the file.
fn check(bucket: &[u8; BUCKET], section: u64, at: u64) -> u32 {
    const ODD: [u64; 8] = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
        0x8ebc_6af0_9c88_c6e3,
        0x5899_65cc_7537_4cc3,
    ];
    let mut sum = (at ^ section << 56).wrapping_add(1).wrapping_mul(0x1d8e_4e27_c47d_124f);
    for (n, factor) in ODD.iter().enumerate().take(7) {
        sum = sum.wrapping_add((word(bucket, n * 8) ^ factor).wrapping_mul(*factor)).rotate_left(9);
    }
    sum = sum.wrapping_add((u64::from(word32(bucket, 56)) ^ ODD[7]).wrapping_mul(ODD[7]));
    ((sum ^ sum >> 29).wrapping_mul(ODD[0]) >> 32) as u32
}

/// The keyed hash of a value: SipHash-1-3 (Aumasson and Bernstein). The key is drawn for each file, so that nobody
/// who writes a feed can aim its values at one bucket. It is a place in a table, no proof of anything.
pub(super) fn hash(key: (u64, u64), bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(key.0, key.1).hash(bytes)
}

/// Eight bytes as a number; what is not there is zero.
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file was written with must be found again by every later version.
    #[test]
    fn the_hash_is_siphash_1_3() {
        // Computed with an independent implementation under the key 00 01 … 0f, of the bytes 00 01 … n-1.
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let input: Vec<u8> = (0..64).collect();
        for (length, expected) in SIP_1_3 {
            assert_eq!(hash(key, &input[..*length]), *expected, "{length} bytes");
        }
    }

    const SIP_1_3: &[(usize, u64)] = &[
        (0, 0xabac_0158_050f_c4dc),
        (1, 0xc9f4_9bf3_7d57_ca93),
        (7, 0xd392_7d98_9bb1_1140),
        (8, 0x3690_9511_8d29_9a8e),
        (9, 0x25a4_8eb3_6c06_3de4),
        (15, 0xd320_d86d_2a51_9956),
        (16, 0xcc4f_dd1a_7d90_8b66),
        (33, 0x4d54_b9e5_7a8f_f9bf),
        (64, 0xf179_97ec_4b4a_6065),
    ];

    #[test]
    fn every_flipped_bit_and_every_wrong_place_is_found() {
        let mut bucket = [0; BUCKET];
        for slot in 0..SLOTS {
            put(&mut bucket, slot, 0x1234_5678_9abc_def0 ^ (slot as u64) << 30, slot as u64 * 1_000_003);
        }
        seal(&mut bucket, 3, 77);
        assert!(Bucket(&bucket).is_whole(3, 77));
        assert!(!Bucket(&bucket).is_whole(3, 78) && !Bucket(&bucket).is_whole(4, 77));
        for bit in 0..BUCKET * 8 {
            let mut flipped = bucket;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!Bucket(&flipped).is_whole(3, 77), "bit {bit}");
        }
    }

    #[test]
    fn rows_come_back_up_to_the_largest() {
        let mut bucket = [0; BUCKET];
        for (slot, row) in [0, 1, 255, MOST_ROWS - 1].into_iter().enumerate() {
            put(&mut bucket, slot, u64::MAX, row);
        }
        let mut rows = Vec::new();
        assert!(Bucket(&bucket).find(u64::MAX, |row| rows.push(row)));
        assert_eq!(rows, [0, 1, 255, MOST_ROWS.cast_signed() - 1]);
    }
}
