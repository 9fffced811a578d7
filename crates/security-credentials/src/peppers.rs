//! The peppers that a data directory knows: one that everything new is made under, and older ones that something still needs.

use std::{fmt, slice};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use security_core::{Entropy, Secret};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{CredentialError, Digest, Pepper, PepperVersion, hex};

/// Peppers, the newest first. Nothing of them lies elsewhere on the heap, so that they can be put where no dump reaches.
pub struct Peppers {
    newest: Pepper,
    older: [Option<Pepper>; Peppers::MOST - 1],
}

/// The bytes of one pepper, and what they are known by where they must not stand.
pub struct PepperKey {
    bytes: Secret,
    id: String,
}

impl Peppers {
    /// The most that are known at once.
    pub const MOST: usize = 4;

    /// From the newest one and the older ones; of those that are too many, the last ones are left out.
    pub fn new(newest: Pepper, older: impl IntoIterator<Item = Pepper>) -> Self {
        let mut older = older.into_iter();
        Self { newest, older: std::array::from_fn(|_| older.next()) }
    }

    /// The one that everything new is made under.
    pub fn newest(&self) -> &Pepper {
        &self.newest
    }

    /// All of them, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &Pepper> {
        slice::from_ref(&self.newest).iter().chain(self.older.iter().flatten())
    }

    /// The one of a version, if it is known.
    pub fn of_version(&self, version: PepperVersion) -> Option<&Pepper> {
        self.all().find(|pepper| pepper.version() == version)
    }

    /// The digest of a secret under the newest.
    pub fn digest(&self, secret: &[u8]) -> Digest {
        self.newest.digest(secret)
    }

    /// Its digests under all others.
    pub fn older_digests(&self, secret: &[u8]) -> impl Iterator<Item = Digest> {
        self.older.iter().flatten().map(move |pepper| pepper.digest(secret))
    }
}

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().map(|pepper| pepper.version().number())).finish()
    }
}

impl PepperKey {
    /// A fresh one.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self::of(Pepper::generate(entropy))
    }

    /// From exactly 32 bytes.
    /// # Errors
    /// [`CredentialError::Pepper`] for any other length.
    pub fn from_bytes(bytes: Secret) -> Result<Self, CredentialError> {
        match bytes.len() == Pepper::LENGTH {
            true => Ok(Self::of(bytes)),
            false => Err(CredentialError::Pepper),
        }
    }

    /// From its text: 64 hex digits, or Base64 of 32 bytes (`openssl rand -base64 32`). A pass phrase is refused.
    /// # Errors
    /// [`CredentialError::Pepper`] for anything else.
    pub fn from_text(text: &Secret) -> Result<Self, CredentialError> {
        let text = text.expose_text().ok_or(CredentialError::Pepper)?.trim();
        if text.len() == 2 * Pepper::LENGTH {
            let lower = Zeroizing::new(text.to_ascii_lowercase());
            let bytes = hex::decode(&lower).ok_or(CredentialError::Pepper)?;
            return Ok(Self::of(Secret::new(bytes)));
        }
        let bytes = STANDARD.decode(text).map_err(|_| CredentialError::Pepper)?;
        Self::from_bytes(Secret::new(bytes))
    }

    fn of(bytes: Secret) -> Self {
        // Keyed by the key itself, so that the id tells nothing of it and two keys have two ids.
        let mut mac = Hmac::<Sha256>::new_from_slice(bytes.expose()).expect("HMAC takes keys of any length");
        mac.update(b"security pepper id v1");
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let id = hex::encode(&digest)[..16].to_owned();
        Self { bytes, id }
    }

    /// Which key it is: 16 hex digits, no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The 32 bytes, to be kept elsewhere.
    pub fn into_bytes(self) -> Secret {
        self.bytes
    }

    /// The 32 bytes, for the file that keeps them.
    pub fn bytes(&self) -> &Secret {
        &self.bytes
    }

    /// The pepper, as that of a version.
    pub fn pepper(&self, version: PepperVersion) -> Pepper {
        Pepper::of_version(version, &self.bytes).expect("there are 32 bytes")
    }
}

impl fmt::Debug for PepperKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PepperKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PepperKey {
        PepperKey::from_bytes(Secret::new(vec![byte; 32])).unwrap()
    }

    fn version(number: u32) -> PepperVersion {
        PepperVersion::new(number).unwrap()
    }

    #[test]
    fn each_version_has_its_own_digest_and_the_newest_makes_what_is_new() {
        let peppers = Peppers::new(key(3).pepper(version(3)), [key(1).pepper(version(1))]);
        assert_eq!(peppers.digest(b"x"), key(3).pepper(version(3)).digest(b"x"));
        assert_eq!(peppers.older_digests(b"x").collect::<Vec<_>>(), [key(1).pepper(version(1)).digest(b"x")]);
        assert_eq!(peppers.of_version(version(1)).map(Pepper::version), Some(version(1)));
        assert!(peppers.of_version(version(2)).is_none());
        assert_eq!(format!("{peppers:?}"), "[3, 1]");
    }

    #[test]
    fn a_key_has_32_bytes_in_either_spelling_and_shows_its_id_alone() {
        for text in ["ab".repeat(32), "AB".repeat(32), format!(" {}\n", STANDARD.encode([0xab; 32]))] {
            let read = PepperKey::from_text(&Secret::new(text)).unwrap();
            assert_eq!((read.id(), read.bytes()), (key(0xab).id(), key(0xab).bytes()));
        }
        for bad in ["", "correct horse battery staple", &"ab".repeat(31), &"xy".repeat(32)] {
            assert!(PepperKey::from_text(&Secret::new(bad)).is_err(), "{bad}");
        }
        assert!(PepperKey::from_text(&Secret::new(vec![0xff; 32])).is_err());
        assert_ne!(key(1).id(), key(2).id());
        assert_eq!(format!("{:?}", key(1)), format!("PepperKey({})", key(1).id()));
    }
}
