//! Keyed digests: the only form in which a secret that we check is kept.

use std::{fmt, str::FromStr};

use constant_time_eq::constant_time_eq_32;
use hmac::{Hmac, KeyInit, Mac};
use security_core::{Entropy, Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;

use crate::hex;

/// Which pepper of a data directory: they are counted from 1, and no number is ever given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PepperVersion(u32);

/// HMAC-SHA-256 of a secret under a pepper, which it names; equality is in constant time.
#[derive(Clone, Copy)]
pub struct Digest {
    bytes: [u8; 32],
    pepper: PepperVersion,
}

/// The key of digests of one data directory, 32 random bytes kept in a file of mode 0600 or by the operator.
pub struct Pepper {
    version: PepperVersion,
    prepared: Hmac<Sha256>,
}

impl PepperVersion {
    /// The first one; also that of digests which name none.
    pub const FIRST: Self = Self(1);

    /// The version of a number; there is none of 0.
    pub fn new(number: u32) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PepperVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number without sign and leading zeros: one version has one text.
impl FromStr for PepperVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse().ok().filter(|_| digits);
        number.and_then(Self::new).ok_or("a version of a pepper is a number from 1 on")
    }
}

impl Pepper {
    /// Length of the key in bytes.
    pub const LENGTH: usize = 32;

    /// A fresh key.
    pub fn generate(entropy: &mut dyn Entropy) -> Secret {
        let mut bytes = vec![0; Self::LENGTH];
        entropy.fill(&mut bytes);
        Secret::new(bytes)
    }

    /// The first pepper, from the key's bytes; `None` unless there are exactly [`Pepper::LENGTH`].
    pub fn new(key: &Secret) -> Option<Self> {
        Self::of_version(PepperVersion::FIRST, key)
    }

    /// A pepper of any version, likewise.
    pub fn of_version(version: PepperVersion, key: &Secret) -> Option<Self> {
        let prepared = Hmac::new_from_slice(key.expose()).ok()?;
        (key.len() == Self::LENGTH).then_some(Self { version, prepared })
    }

    /// Which one it is.
    pub fn version(&self) -> PepperVersion {
        self.version
    }

    /// The digest of a secret.
    pub fn digest(&self, secret: &[u8]) -> Digest {
        let mut mac = self.prepared.clone();
        mac.update(secret);
        Digest { bytes: mac.finalize().into_bytes().into(), pepper: self.version }
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
        &self.bytes
    }

    /// Which pepper it was made under.
    pub fn pepper(&self) -> PepperVersion {
        self.pepper
    }

    /// The digest of nothing: the result of a comparison that only costs its time, for ids nobody was given.
    /// Finding a secret with this digest is as hard as guessing any other.
    pub const DECOY: Self = Self { bytes: [0x5a; 32], pepper: PepperVersion::FIRST };

    /// From 32 bytes that a store gave back, made under the first pepper.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::under(PepperVersion::FIRST, bytes)
    }

    /// From 32 bytes, made under a pepper.
    pub fn under(pepper: PepperVersion, bytes: [u8; 32]) -> Self {
        Self { bytes, pepper }
    }

    /// As it is stored: 64 lower-case hex digits; before them the pepper's version and a colon, unless it is the first.
    pub(crate) fn to_text(self) -> String {
        let digits = hex::encode(&self.bytes);
        match self.pepper {
            PepperVersion::FIRST => digits,
            version => format!("{version}:{digits}"),
        }
    }

    /// From that text; one digest has one.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (pepper, digits) = match text.split_once(':') {
            Some((version, digits)) => {
                (version.parse().ok().filter(|version| *version != PepperVersion::FIRST)?, digits)
            }
            None => (PepperVersion::FIRST, text),
        };
        hex::decode(digits).map(|bytes| Self { bytes, pepper })
    }
}

/// The version is no secret; the bytes are compared in constant time all the same.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq_32(&self.bytes, &other.bytes) & (self.pepper == other.pepper)
    }
}

impl Eq for Digest {}

/// Shows nothing: a digest of a guessable secret is a thing to attack.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(****)")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let refuse = || {
            de::Error::custom(
                "a digest is 64 lower-case hex digits, behind its pepper's version unless that is the first",
            )
        };
        Self::from_text(&text).ok_or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 has no key of 32 bytes, so the cases go in behind the length check.
    fn hmac(key: &[u8], data: &[u8]) -> String {
        let pepper = Pepper { version: PepperVersion::FIRST, prepared: Hmac::new_from_slice(key).unwrap() };
        hex::encode(pepper.digest(data).as_bytes())
    }

    #[test]
    fn digests_are_hmac_sha_256() {
        // RFC 4231, test cases 1, 2 and 6.
        assert_eq!(
            hmac(&[0x0b; 20], b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hmac(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
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

    #[test]
    fn a_digest_under_a_later_pepper_says_so() {
        let two = PepperVersion::new(2).unwrap();
        let digest = Digest::under(two, [0x0f; 32]);
        assert_ne!(
            digest,
            Digest::from_bytes([0x0f; 32]),
            "equal bytes under another pepper are another digest"
        );
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, format!("\"2:{}\"", "0f".repeat(32)));
        let read: Digest = serde_json::from_str(&text).unwrap();
        assert_eq!((read, read.pepper()), (digest, two));
        for bad in ["0:", "1:", "02:", "+2:", "-2:", "2 :", "2::", ":", "4294967296:", "x:"] {
            let text = format!("\"{bad}{}\"", "0f".repeat(32));
            assert!(serde_json::from_str::<Digest>(&text).is_err(), "{text}");
        }
    }
}
