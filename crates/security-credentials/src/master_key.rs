//! The key that encrypts the keys of stored secrets.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use security_core::{Entropy, Secret};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{CredentialError, hex};

/// The master key: 32 random bytes under which every version's own key is wrapped.
pub struct MasterKey {
    bytes: Secret,
    id: String,
}

impl MasterKey {
    /// Length of the key in bytes.
    pub const LENGTH: usize = 32;

    /// A fresh key.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut bytes = vec![0; Self::LENGTH];
        entropy.fill(&mut bytes);
        Self::of(Secret::new(bytes))
    }

    /// From exactly 32 bytes.
    /// # Errors
    /// [`CredentialError::MasterKey`] for any other length.
    pub fn from_bytes(bytes: Secret) -> Result<Self, CredentialError> {
        match bytes.len() == Self::LENGTH {
            true => Ok(Self::of(bytes)),
            false => Err(CredentialError::MasterKey),
        }
    }

    /// From its text: 64 hex digits, or Base64 of 32 bytes (`openssl rand -base64 32`). A pass phrase is refused: it
    /// would be tried out by whoever gets hold of the store.
    /// # Errors
    /// [`CredentialError::MasterKey`] for anything else.
    pub fn from_text(text: &Secret) -> Result<Self, CredentialError> {
        let text = text.expose_text().ok_or(CredentialError::MasterKey)?.trim();
        if text.len() == 2 * Self::LENGTH {
            let lower = Zeroizing::new(text.to_ascii_lowercase());
            let bytes = hex::decode(&lower).ok_or(CredentialError::MasterKey)?;
            return Ok(Self::of(Secret::new(bytes)));
        }
        let bytes = STANDARD.decode(text).map_err(|_| CredentialError::MasterKey)?;
        Self::from_bytes(Secret::new(bytes))
    }

    fn of(bytes: Secret) -> Self {
        // Keyed by the key itself, so that the id tells nothing of it and two keys have two ids.
        let mut mac = Hmac::<Sha256>::new_from_slice(bytes.expose()).expect("HMAC takes keys of any length");
        mac.update(b"security master key id v1");
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
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_32_bytes_in_either_spelling() {
        let key = MasterKey::from_bytes(Secret::new(vec![0xab; 32])).unwrap();
        for text in ["ab".repeat(32), "AB".repeat(32), format!(" {}\n", STANDARD.encode([0xab; 32]))] {
            let read = MasterKey::from_text(&Secret::new(text)).unwrap();
            assert_eq!((read.id(), read.bytes()), (key.id(), key.bytes()));
        }
        for bad in [
            "",
            "correct horse battery staple",
            &"ab".repeat(31),
            &"xy".repeat(32),
            &STANDARD.encode([1; 31]),
        ] {
            assert!(MasterKey::from_text(&Secret::new(bad)).is_err(), "{bad}");
        }
        assert!(MasterKey::from_bytes(Secret::new(vec![0; 33])).is_err());
        assert!(MasterKey::from_text(&Secret::new(vec![0xff; 32])).is_err());
    }

    #[test]
    fn the_id_is_not_the_key() {
        let key = MasterKey::from_bytes(Secret::new(vec![0xab; 32])).unwrap();
        assert_eq!(key.id().len(), 16);
        assert_ne!(key.id(), &"ab".repeat(8));
        assert_ne!(key.id(), MasterKey::from_bytes(Secret::new(vec![0xac; 32])).unwrap().id());
        assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.id()));
    }
}
