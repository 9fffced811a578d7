//! Envelope encryption: every version of a secret has a key of its own, and the master key wraps that key.
//!
//! A blob is one version byte, the nonce of 24 random bytes, and what XChaCha20-Poly1305 makes of the content
//! (draft-irtf-cfrg-xchacha; with nonces of 192 bits chance alone keeps them apart). The purpose, the secret's name
//! and its version are authenticated with it, so that a blob in another one's place is refused.

use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce, aead::AeadInOut};
use security_core::{Entropy, Secret};
use zeroize::Zeroizing;

use crate::{CredentialError, MasterKey, SecretName};

/// The first byte of every blob; another one is a format that this version does not know.
const FORMAT: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
/// What the plaintext begins with: whether the rest was given as text.
const BYTES: u8 = 0;
const TEXT: u8 = 1;

/// A secret's value: the bytes, and whether they were given as text.
#[derive(Debug, PartialEq, Eq)]
pub struct SecretValue {
    /// The bytes.
    pub bytes: Secret,
    /// Whether they are text, to be given back as such.
    pub is_text: bool,
}

impl SecretValue {
    /// The longest value, in bytes.
    pub const MOST: usize = 64 << 10;
}

/// One version of a secret, encrypted: the value under its own key, and that key under the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Id of the master key.
    pub master_key: String,
    /// The version's own key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// The value under that key.
    pub sealed_value: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Purpose {
    DataKey,
    Value,
}

impl Envelope {
    /// Encrypts a value under a fresh key, and that one under the master key.
    /// # Errors
    /// [`CredentialError::TooMany`] beyond [`SecretValue::MOST`] bytes.
    pub fn seal(
        master: &MasterKey,
        name: &SecretName,
        version: u64,
        value: &SecretValue,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, CredentialError> {
        let length = value.bytes.len();
        if length > SecretValue::MOST {
            return Err(CredentialError::TooMany {
                what: "bytes of a secret",
                given: length,
                most: SecretValue::MOST,
            });
        }
        let mut data_key = Zeroizing::new(vec![0; MasterKey::LENGTH]);
        entropy.fill(&mut data_key);
        let mut plain = Zeroizing::new(Vec::with_capacity(1 + length));
        plain.push(if value.is_text { TEXT } else { BYTES });
        plain.extend_from_slice(value.bytes.expose());
        Ok(Self {
            master_key: master.id().to_owned(),
            wrapped_key: encrypt(&data_key, Purpose::DataKey, name, version, master_key(master), entropy)?,
            sealed_value: encrypt(&plain, Purpose::Value, name, version, &data_key, entropy)?,
        })
    }

    /// The value.
    /// # Errors
    /// [`CredentialError::Sealed`] when it was sealed under another key, name or version, or has changed.
    pub fn open(
        &self,
        master: &MasterKey,
        name: &SecretName,
        version: u64,
    ) -> Result<SecretValue, CredentialError> {
        let data_key = unwrap(&self.wrapped_key, master, name, version)?;
        let plain = decrypt(&self.sealed_value, Purpose::Value, name, version, &data_key)?;
        let is_text = match plain.first() {
            Some(&TEXT) => true,
            Some(&BYTES) => false,
            _ => return Err(CredentialError::Sealed),
        };
        Ok(SecretValue { bytes: Secret::new(&plain[1..]), is_text })
    }

    /// A version's wrapped key under another master key. The value is not needed, and does not change.
    /// # Errors
    /// [`CredentialError::Sealed`] when the key was not wrapped under `old`, or has changed.
    pub fn rewrap(
        wrapped_key: &[u8],
        old: &MasterKey,
        new: &MasterKey,
        name: &SecretName,
        version: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, CredentialError> {
        let data_key = unwrap(wrapped_key, old, name, version)?;
        encrypt(&data_key, Purpose::DataKey, name, version, master_key(new), entropy)
    }
}

/// A version's own key. It stays where it was decrypted: an array that is handed on leaves copies behind.
fn unwrap(
    wrapped_key: &[u8],
    master: &MasterKey,
    name: &SecretName,
    version: u64,
) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let key = decrypt(wrapped_key, Purpose::DataKey, name, version, master_key(master))?;
    if key.len() == MasterKey::LENGTH { Ok(key) } else { Err(CredentialError::Sealed) }
}

fn master_key(master: &MasterKey) -> &[u8] {
    master.bytes().expose()
}

/// The cipher, which wipes what it makes of the key.
fn cipher(key: &[u8]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new_from_slice(key).expect("a key has 32 bytes")
}

/// What is authenticated beside the content. The version and the purpose have a fixed length, so that no two
/// names and versions give the same bytes.
fn associated(purpose: Purpose, name: &SecretName, version: u64) -> Vec<u8> {
    let purpose: &[u8; 8] = match purpose {
        Purpose::DataKey => b"data-key",
        Purpose::Value => b"value---",
    };
    [b"security secret v1 ", &purpose[..], &version.to_be_bytes(), name.as_str().as_bytes()].concat()
}

fn encrypt(
    plain: &[u8],
    purpose: Purpose,
    name: &SecretName,
    version: u64,
    key: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, CredentialError> {
    let mut nonce = [0; NONCE];
    entropy.fill(&mut nonce);
    // Room for the tag at once: a buffer that grows leaves a copy of the plaintext behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plain.len() + TAG));
    buffer.extend_from_slice(plain);
    cipher(key)
        .encrypt_in_place(&XNonce::from(nonce), &associated(purpose, name, version), &mut *buffer)
        .map_err(|_| CredentialError::Sealed)?;
    Ok([&[FORMAT][..], &nonce, &buffer].concat())
}

fn decrypt(
    blob: &[u8],
    purpose: Purpose,
    name: &SecretName,
    version: u64,
    key: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let (format, rest) = blob.split_first().ok_or(CredentialError::Sealed)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(CredentialError::Sealed)?;
    if *format != FORMAT {
        return Err(CredentialError::Sealed);
    }
    let mut buffer = Zeroizing::new(sealed.to_vec());
    cipher(key)
        .decrypt_in_place(&XNonce::from(*nonce), &associated(purpose, name, version), &mut *buffer)
        .map_err(|_| CredentialError::Sealed)?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, buffer: &mut [u8]) {
            for byte in buffer {
                self.0 = self.0.wrapping_mul(5).wrapping_add(17);
                *byte = self.0;
            }
        }
    }

    fn master(byte: u8) -> MasterKey {
        MasterKey::from_bytes(Secret::new(vec![byte; 32])).unwrap()
    }

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    fn value(text: &str) -> SecretValue {
        SecretValue { bytes: Secret::new(text), is_text: true }
    }

    fn sealed(byte: u8, of: &str, version: u64, text: &str) -> Envelope {
        Envelope::seal(&master(byte), &name(of), version, &value(text), &mut Counting(byte)).unwrap()
    }

    #[test]
    fn the_cipher_is_the_published_one() {
        // draft-irtf-cfrg-xchacha-03 appendix A.3.1.
        let key: [u8; 32] = std::array::from_fn(|at| 0x80 + at as u8);
        let nonce: [u8; 24] = std::array::from_fn(|at| 0x40 + at as u8);
        let associated = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let mut buffer =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                           sunscreen would be it."
                .to_vec();
        cipher(&key).encrypt_in_place(&XNonce::from(nonce), &associated, &mut buffer).unwrap();
        assert_eq!(buffer[..4], [0xbd, 0x6d, 0x17, 0x9d]);
        let tag =
            [0xc0, 0x87, 0x59, 0x24, 0xc1, 0xc7, 0x98, 0x79, 0x47, 0xde, 0xaf, 0xd8, 0x78, 0x0a, 0xcf, 0x49];
        assert_eq!(buffer[buffer.len() - 16..], tag);
    }

    #[test]
    fn a_blob_opens_in_its_own_place_only() {
        let envelope = sealed(1, "a", 1, "hunter2 hunter2");
        assert_eq!(envelope.open(&master(1), &name("a"), 1), Ok(value("hunter2 hunter2")));
        for (key, of, version) in [(2, "a", 1), (1, "b", 1), (1, "a", 2)] {
            assert_eq!(
                envelope.open(&master(key), &name(of), version),
                Err(CredentialError::Sealed),
                "{key} {of} {version}"
            );
        }
        let other = sealed(1, "a", 2, "another");
        let swapped = Envelope { sealed_value: other.sealed_value.clone(), ..envelope.clone() };
        assert!(swapped.open(&master(1), &name("a"), 1).is_err());
        let crossed = Envelope { sealed_value: envelope.wrapped_key.clone(), ..envelope };
        assert!(crossed.open(&master(1), &name("a"), 1).is_err());
    }

    #[test]
    fn a_wrapped_key_changes_hands_without_the_value() {
        let envelope = sealed(1, "a", 1, "hunter2 hunter2");
        let rewrap = |old| {
            Envelope::rewrap(&envelope.wrapped_key, &master(old), &master(2), &name("a"), 1, &mut Counting(9))
        };
        let wrapped_key = rewrap(1).unwrap();
        let moved = Envelope { master_key: master(2).id().to_owned(), wrapped_key, ..envelope.clone() };
        assert_eq!(moved.open(&master(2), &name("a"), 1), Ok(value("hunter2 hunter2")));
        assert!(moved.open(&master(1), &name("a"), 1).is_err());
        assert!(rewrap(3).is_err());
    }

    #[test]
    fn the_value_has_an_end() {
        let long = SecretValue { bytes: Secret::new(vec![1; SecretValue::MOST + 1]), is_text: false };
        let refused = Envelope::seal(&master(1), &name("a"), 1, &long, &mut Counting(1));
        assert!(matches!(refused, Err(CredentialError::TooMany { .. })));
    }

    proptest! {
        #[test]
        fn every_value_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..300), is_text: bool, version: u64) {
            let value = SecretValue { bytes: Secret::new(bytes), is_text };
            let envelope = Envelope::seal(&master(1), &name("a"), version, &value, &mut Counting(3)).unwrap();
            prop_assert_eq!(envelope.open(&master(1), &name("a"), version), Ok(value));
        }

        #[test]
        fn one_changed_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8, in_key: bool) {
            let mut envelope = sealed(1, "a", 1, "hunter2 hunter2");
            let blob = if in_key { &mut envelope.wrapped_key } else { &mut envelope.sealed_value };
            let at = at.index(blob.len());
            blob[at] ^= 1 << bit;
            prop_assert_eq!(envelope.open(&master(1), &name("a"), 1), Err(CredentialError::Sealed));
        }

        #[test]
        fn junk_is_refused(wrapped_key in prop::collection::vec(any::<u8>(), 0..90), sealed_value: Vec<u8>) {
            let envelope = Envelope { master_key: String::new(), wrapped_key, sealed_value };
            prop_assert!(envelope.open(&master(1), &name("a"), 1).is_err());
        }
    }
}
