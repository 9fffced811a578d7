//! Keyed digests: the only form in which a secret that we check is kept.

use std::{fmt, hint::black_box};

use constant_time_eq::constant_time_eq_32;
use hmac::{Hmac, KeyInit, Mac};
use security_core::{Entropy, Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Sha256, block_api::compress256};
use zeroize::Zeroizing;

use crate::hex;

/// HMAC-SHA-256 of a secret under the pepper; equality is in constant time.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

/// The key of all digests of one data directory, 32 random bytes kept in a file of mode 0600.
pub struct Pepper {
    prepared: Hmac<Sha256>,
    /// The states of SHA-256 behind the inner and the outer padded key.
    states: Zeroizing<[[u32; 8]; 2]>,
}

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// The longest text that fits into two blocks with its end and its length.
const SHORT: usize = 2 * BLOCK - 9;
/// How SHA-256 begins. Source: FIPS 180-4, section 5.3.3.
const BEGIN: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

impl Pepper {
    /// Length of the key in bytes.
    pub const LENGTH: usize = 32;

    /// A fresh key.
    pub fn generate(entropy: &mut dyn Entropy) -> Secret {
        let mut bytes = vec![0; Self::LENGTH];
        entropy.fill(&mut bytes);
        Secret::new(bytes)
    }

    /// From the key's bytes; `None` unless there are exactly [`Pepper::LENGTH`].
    pub fn new(key: &Secret) -> Option<Self> {
        (key.len() == Self::LENGTH).then(|| Self::of(key.expose())).flatten()
    }

    /// `None` for a key that is longer than a block.
    fn of(key: &[u8]) -> Option<Self> {
        let prepared = Hmac::new_from_slice(key).ok()?;
        let mut states = Zeroizing::new([BEGIN; 2]);
        // RFC 2104, section 2.
        for (state, pad) in states.iter_mut().zip([0x36, 0x5c]) {
            let mut block = Zeroizing::new([[pad; BLOCK]]);
            block[0].get_mut(..key.len())?.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            compress256(state, &*block);
        }
        Some(Self { prepared, states })
    }

    /// The digest of a secret.
    pub fn digest(&self, secret: &[u8]) -> Digest {
        match secret.len() <= SHORT {
            true => self.short_digest(secret),
            false => {
                let mut mac = self.prepared.clone();
                mac.update(secret);
                Digest(mac.finalize().into_bytes().into())
            }
        }
    }

    /// Likewise, without the buffers that a text of any length needs: every request waits for it.
    fn short_digest(&self, secret: &[u8]) -> Digest {
        let [mut inner, mut outer] = *self.states;
        let mut blocks = [[0; BLOCK]; 2];
        let count = (secret.len() + 9).div_ceil(BLOCK);
        let bytes = blocks.as_flattened_mut();
        bytes[..secret.len()].copy_from_slice(secret);
        end(&mut bytes[..count * BLOCK], secret.len());
        compress256(&mut inner, &blocks[..count]);
        // The secret stays in no memory of ours.
        blocks.as_flattened_mut().fill(0);
        black_box(&mut blocks);
        let mut last = [[0; BLOCK]];
        write(&inner, &mut last[0]);
        end(&mut last[0], 32);
        compress256(&mut outer, &last);
        let mut digest = [0; 32];
        write(&outer, &mut digest);
        Digest(digest)
    }
}

/// Ends what SHA-256 hashes behind a first block of 64 bytes. Source: FIPS 180-4, section 5.1.1.
fn end(blocks: &mut [u8], length: usize) {
    blocks[length] = 0x80;
    let bits = 8 * (BLOCK + length) as u64;
    let at = blocks.len() - 8;
    blocks[at..].copy_from_slice(&bits.to_be_bytes());
}

/// A state as the bytes that it stands for.
fn write(state: &[u32; 8], bytes: &mut [u8]) {
    for (word, bytes) in state.iter().zip(bytes.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(****)")
    }
}

impl Digest {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of nothing: the result of a comparison that only costs its time, for ids nobody was given.
    /// Finding a secret with this digest is as hard as guessing any other.
    pub const DECOY: Self = Self([0x5a; 32]);

    /// From 32 bytes that a store gave back.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq_32(&self.0, &other.0)
    }
}

impl Eq for Digest {}

/// Shows nothing: a digest of a guessable secret is a thing to attack.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(****)")
    }
}

/// 64 lower-case hex digits.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let refuse = || de::Error::custom("a digest is 64 lower-case hex digits");
        hex::decode(&text).map(Self).ok_or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 has no key of 32 bytes, so the cases go in behind the length check.
    fn hmac(key: &[u8], data: &[u8]) -> String {
        hex::encode(Pepper::of(key).unwrap().digest(data).as_bytes())
    }

    #[test]
    fn short_texts_have_the_digests_that_any_hmac_gives_them() {
        let pepper = Pepper::of(&[0xa5; 32]).unwrap();
        for length in 0..300 {
            let text: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let mut mac = Hmac::<Sha256>::new_from_slice(&[0xa5; 32]).unwrap();
            mac.update(&text);
            assert_eq!(pepper.digest(&text).0, <[u8; 32]>::from(mac.finalize().into_bytes()), "{length}");
        }
    }

    #[test]
    fn digests_are_hmac_sha_256() {
        // RFC 4231, test cases 1, 2 and 3.
        assert_eq!(
            hmac(&[0x0b; 20], b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hmac(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hmac(&[0xaa; 20], &[0xdd; 50]),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
        );
    }

    #[test]
    fn a_pepper_has_32_bytes() {
        struct Counting(u8);
        impl Entropy for Counting {
            fn fill(&mut self, buffer: &mut [u8]) {
                for byte in buffer {
                    *byte = self.0;
                    self.0 = self.0.wrapping_add(1);
                }
            }
        }
        let key = Pepper::generate(&mut Counting(7));
        assert_eq!((key.expose()[0], key.expose()[31], key.len()), (7, 38, 32));
        assert!(Pepper::new(&key).is_some());
        assert!(Pepper::new(&Secret::new(vec![1; 31])).is_none());
        assert!(Pepper::new(&Secret::new(vec![1; 33])).is_none());
        assert!(Pepper::new(&Secret::new(Vec::new())).is_none());
    }

    #[test]
    fn different_peppers_give_different_digests() {
        let of = |byte| Pepper::new(&Secret::new(vec![byte; 32])).unwrap().digest(b"same");
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn nothing_shows_a_digest_by_accident() {
        let digest = Digest::from_bytes([0xab; 32]);
        assert_eq!(format!("{digest:?}"), "Digest(****)");
        let pepper = Pepper::new(&Secret::new(vec![0xab; 32])).unwrap();
        assert_eq!(format!("{pepper:?}"), "Pepper(****)");
    }

    #[test]
    fn the_stored_text_round_trips_and_other_texts_are_refused() {
        let digest = Digest::from_bytes([0x0f; 32]);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, format!("\"{}\"", "0f".repeat(32)));
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        for bad in ["\"\"", "\"0F\"", "7", "null"] {
            assert!(serde_json::from_str::<Digest>(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Digest>(&text.replace("0f", "+f")).is_err());
    }
}
