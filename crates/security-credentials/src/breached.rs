//! The filter of passwords that are known from breaches: a file that is mapped and searched, one line of a list a few
//! bytes.
//!
//! Of the SHA-1 of each password 48 bits are kept: the first 16 choose a bucket, the next 32 lie sorted in it. With a
//! thousand million entries (some 4 GB) a password that is in no list is taken for one once in 280,000.
//!
//! | part | what |
//! | --- | --- |
//! | header, 64 bytes | magic, layout, number of entries, checksum of header and offsets |
//! | offsets, 65,537 of 8 bytes | entries before each bucket; the last is all |
//! | remainders, 4 bytes each | in each bucket in rising order |
//!
//! Numbers are little-endian. The remainders bear no checksum, as reading gigabytes at each start would cost more than a
//! flipped bit: it makes one password known, or one unknown.

use sha1::{Digest as _, Sha1};

const MAGIC: [u8; 8] = *b"SECBRCH\0";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const BUCKETS: usize = 1 << 16;
const OFFSETS: usize = (BUCKETS + 1) * 8;
const SUM_AT: usize = HEADER - 4;
const REMAINDER: usize = 4;

/// The first 48 bits of a password's SHA-1: what is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BreachedHash(u64);

/// Why bytes are no such filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BreachedFilterError(&'static str);

/// A filter in memory, or mapped.
#[derive(Debug, Clone, Copy)]
pub struct BreachedFilter<'f> {
    offsets: &'f [u8],
    remainders: &'f [u8],
}

/// Makes a filter of hashes in rising order.
#[derive(Debug)]
pub struct BreachedWriter {
    /// Entries of each bucket.
    counts: Vec<u64>,
    last: Option<BreachedHash>,
}

impl BreachedHash {
    /// Bytes of its written form, which sort like the hashes.
    pub const LENGTH: usize = 6;

    /// Of a password.
    pub fn of(password: &[u8]) -> Self {
        let hash = Sha1::digest(password);
        Self(hash[..Self::LENGTH].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Of a line of a list: 40 hex digits of SHA-1 in either case, then nothing, or a colon and how often it was
    /// seen; the hash and that number, 1 if it is not there. `None` for anything else.
    pub fn read(line: &[u8]) -> Option<(Self, u64)> {
        let (digits, rest) = line.split_at_checked(40)?;
        let mut number = 0_u64;
        for (at, digit) in digits.iter().enumerate() {
            let value = (*digit as char).to_digit(16)?;
            if at < 2 * Self::LENGTH {
                number = number << 4 | u64::from(value);
            }
        }
        let seen = match rest.split_first() {
            None => 1,
            Some((b':', count)) => std::str::from_utf8(count).ok()?.trim().parse().ok()?,
            Some(_) => return None,
        };
        Some((Self(number), seen))
    }

    /// Its written form.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let bytes = self.0.to_be_bytes();
        std::array::from_fn(|at| bytes[8 - Self::LENGTH + at])
    }

    /// From its written form.
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn bucket(self) -> usize {
        (self.0 >> 32) as usize // 16 bits are left
    }

    fn remainder(self) -> u32 {
        self.0 as u32 // the lower 32 bits
    }
}

impl BreachedWriter {
    /// Bytes before the first remainder, which are known last.
    pub const HEAD: usize = HEADER + OFFSETS;

    /// A filter without entries.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], last: None }
    }

    /// The bytes to append for the next hash; `None` for one that was the last one as well.
    /// # Errors
    /// A hash that is below the last one.
    pub fn add(&mut self, hash: BreachedHash) -> Result<Option<[u8; REMAINDER]>, BreachedFilterError> {
        if self.last >= Some(hash) {
            return match self.last == Some(hash) {
                true => Ok(None),
                false => Err(BreachedFilterError("the hashes are not in rising order")),
            };
        }
        self.last = Some(hash);
        self.counts[hash.bucket()] += 1;
        Ok(Some(hash.remainder().to_le_bytes()))
    }

    /// The head, [`Self::HEAD`] bytes, and the number of entries.
    pub fn finish(self) -> (Vec<u8>, u64) {
        let mut head = Vec::with_capacity(Self::HEAD);
        let entries: u64 = self.counts.iter().sum();
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&entries.to_le_bytes());
        head.resize(HEADER, 0);
        let mut before = 0_u64;
        head.extend_from_slice(&before.to_le_bytes());
        for count in self.counts {
            before += count;
            head.extend_from_slice(&before.to_le_bytes());
        }
        let sum = sum(&head);
        head[SUM_AT..HEADER].copy_from_slice(&sum.to_le_bytes());
        (head, entries)
    }
}

impl Default for BreachedWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl<'f> BreachedFilter<'f> {
    /// Reads the head, and checks it against the length of the whole.
    /// # Errors
    /// [`BreachedFilterError`] saying what is wrong.
    pub fn open(bytes: &'f [u8]) -> Result<Self, BreachedFilterError> {
        let (head, remainders) = bytes
            .split_at_checked(BreachedWriter::HEAD)
            .ok_or(BreachedFilterError("it is shorter than its head"))?;
        if head[..8] != MAGIC {
            return Err(BreachedFilterError("it is no filter of breached passwords"));
        }
        if head[8..12] != VERSION.to_le_bytes() {
            return Err(BreachedFilterError("it has another layout"));
        }
        if sum(head).to_le_bytes() != head[SUM_AT..HEADER] {
            return Err(BreachedFilterError("its head has changed by itself"));
        }
        let filter = Self { offsets: &head[HEADER..], remainders };
        let entries = filter.offset(BUCKETS).and_then(|entries| entries.checked_mul(REMAINDER));
        if entries != Some(remainders.len()) {
            return Err(BreachedFilterError("it has another length than it says"));
        }
        Ok(filter)
    }

    /// How many passwords it knows.
    pub fn entries(&self) -> usize {
        self.remainders.len() / REMAINDER
    }

    /// Whether a password is known.
    pub fn contains(&self, password: &[u8]) -> bool {
        self.has(BreachedHash::of(password))
    }

    fn has(&self, hash: BreachedHash) -> bool {
        let (Some(mut low), Some(mut high)) = (self.offset(hash.bucket()), self.offset(hash.bucket() + 1))
        else {
            return false;
        };
        let wanted = hash.remainder();
        while low < high {
            let middle = low + (high - low) / 2;
            let at = middle * REMAINDER;
            let Some(bytes) = self.remainders.get(at..at + REMAINDER) else { return false };
            let found = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            match found.cmp(&wanted) {
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }

    fn offset(&self, bucket: usize) -> Option<usize> {
        let bytes = self.offsets.get(bucket * 8..bucket * 8 + 8)?;
        usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    }
}

/// The checksum of a head, its own place left out.
fn sum(head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..SUM_AT]);
    hasher.update(&head[HEADER..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn build(hashes: &[BreachedHash]) -> Vec<u8> {
        let mut sorted = hashes.to_vec();
        sorted.sort_unstable();
        let mut writer = BreachedWriter::new();
        let remainders: Vec<u8> =
            sorted.into_iter().filter_map(|hash| writer.add(hash).unwrap()).flatten().collect();
        let (head, entries) = writer.finish();
        assert_eq!((head.len(), remainders.len() as u64), (BreachedWriter::HEAD, entries * 4));
        [head, remainders].concat()
    }

    #[test]
    fn lines_are_read_in_either_case() {
        // SHA-1 of `password`.
        let digits = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";
        let hash = BreachedHash::of(b"password");
        assert_eq!(BreachedHash::read(format!("{digits}:9545824").as_bytes()), Some((hash, 9_545_824)));
        assert_eq!(BreachedHash::read(digits.to_lowercase().as_bytes()), Some((hash, 1)));
        assert_eq!(hash.to_bytes(), [0x5b, 0xaa, 0x61, 0xe4, 0xc9, 0xb9]);
        for line in [
            "",
            "5BAA",
            &digits[1..],
            &format!("{digits}:"),
            &format!("{digits}:x"),
            &format!("{digits} 7"),
            &digits.replace('5', "G"),
        ] {
            assert_eq!(BreachedHash::read(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let bytes = build(&[BreachedHash::of(b"a"), BreachedHash::of(b"b")]);
        assert_eq!(BreachedFilter::open(&bytes).unwrap().entries(), 2);
        assert!(BreachedFilter::open(&bytes[..bytes.len() - 1]).is_err());
        assert!(BreachedFilter::open(&[&bytes[..], b"x"].concat()).is_err());
        assert!(BreachedFilter::open(b"short").is_err());
        for at in [0, 8, 20, SUM_AT, HEADER + 77, BreachedWriter::HEAD - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(BreachedFilter::open(&changed).is_err(), "{at}");
        }
        let mut writer = BreachedWriter::new();
        writer.add(BreachedHash(5)).unwrap();
        assert_eq!(writer.add(BreachedHash(5)), Ok(None));
        assert!(writer.add(BreachedHash(4)).is_err());
    }

    proptest! {
        #[test]
        fn lines_and_files_of_any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            prop_assert!(BreachedHash::read(&bytes).is_none() || bytes.len() >= 40);
            prop_assert!(BreachedFilter::open(&bytes).is_err());
        }

        #[test]
        fn all_that_went_in_is_found_and_nothing_else(
            // Close ones, so that buckets have several, and the ends of the range.
            numbers in prop::collection::btree_set(
                prop_oneof![0u64..40, (1u64 << 32)..(1 << 32) + 40, (1u64 << 48) - 40..1 << 48, 0u64..1 << 48], 0..60,
            ),
            others in prop::collection::vec(prop_oneof![0u64..60, 0u64..1 << 48, (1u64 << 48) - 60..1 << 48], 20),
        ) {
            let hashes: Vec<_> = numbers.iter().map(|number| BreachedHash(*number)).collect();
            let bytes = build(&hashes);
            let filter = BreachedFilter::open(&bytes).unwrap();
            prop_assert_eq!(filter.entries(), numbers.len());
            for hash in hashes {
                prop_assert!(filter.has(hash));
                prop_assert_eq!(BreachedHash::from_bytes(hash.to_bytes()), hash);
            }
            for number in others {
                prop_assert_eq!(filter.has(BreachedHash(number)), numbers.contains(&number));
            }
        }
    }
}
