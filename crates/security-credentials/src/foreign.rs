//! Keys that another system issued: recognised by the hash which that system kept of them.
//!
//! A plain SHA-2 hash of a whole key finds it in one look-up, and is kept under the pepper like every digest of ours.
//! A salted or slow hash finds nothing: such a key is found by the text it begins with, checked by its own hash the
//! first time, and from then on by our digest, unless it can be guessed: then what is kept stays slow.

use std::fmt;

use argon2::{Argon2, Params, PasswordHasher as _, PasswordVerifier, password_hash::phc::PasswordHash};
use base64::{Engine as _, alphabet, engine};
use constant_time_eq::constant_time_eq;
use security_core::{Entropy, Secret};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{CredentialError, Digest, Pepper, hex};

/// How a key that was presented is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForeignRoute {
    /// By SHA-256 of the whole key.
    Sha256,
    /// By SHA-512 of the whole key.
    Sha512,
    /// By its first so many bytes.
    Prefix(u16),
}

/// A hash that finds nothing by itself: what is kept of a foreign key until its first use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignHash {
    form: Form,
    /// Bytes at the key's beginning that the hash does not cover.
    skipped: u16,
}

/// The hash of a foreign key, as its record has it.
pub(crate) enum Given {
    /// Of the whole key, without salt.
    Plain(ForeignRoute, Vec<u8>),
    /// Everything else.
    Checked(ForeignHash),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// A PHC string.
    Argon2(String),
    /// Salt, and the digest in hex, of the salt and what is covered.
    Sha256(String, String),
    /// Likewise.
    Sha512(String, String),
}

/// What a record may say of the hash beside the hash.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sort<'a> {
    pub(crate) algorithm: Option<&'a str>,
    pub(crate) salt: Option<&'a str>,
    /// Bytes of the key that the hash does not cover.
    pub(crate) skipped: u16,
}

/// What a check may cost: 256 MiB, 16 passes, 16 lanes, and of memory times passes no more than 1 GiB.
const MOST_MEMORY_KIB: u32 = 256 << 10;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;
const MOST_WORK_KIB: u32 = 1 << 20;
/// The longest hash text; a PHC string takes some 300 characters at most.
const MOST_TEXT: usize = 512;
const MOST_SALT: usize = 256;
/// Base64 in either alphabet, with padding or without.
const BASE64: engine::GeneralPurpose = lenient(&alphabet::STANDARD);
const BASE64_URL: engine::GeneralPurpose = lenient(&alphabet::URL_SAFE);

const fn lenient(alphabet: &alphabet::Alphabet) -> engine::GeneralPurpose {
    let config =
        engine::GeneralPurposeConfig::new().with_decode_padding_mode(engine::DecodePaddingMode::Indifferent);
    engine::GeneralPurpose::new(alphabet, config)
}

impl ForeignRoute {
    /// What a key is looked up by on this route; `None` for a key that is too short for it.
    pub fn lookup(self, pepper: &Pepper, key: &[u8]) -> Option<Digest> {
        match self {
            Self::Sha256 => Some(self.of_hash(pepper, &Sha256::digest(key))),
            Self::Sha512 => Some(self.of_hash(pepper, &Sha512::digest(key))),
            // A key is more than what it begins with.
            Self::Prefix(length) if key.len() > usize::from(length) => {
                Some(self.of_hash(pepper, &key[..usize::from(length)]))
            }
            Self::Prefix(_) => None,
        }
    }

    /// What stands in the store for a hash or prefix. The route is part of it: equal bytes on two routes are two things.
    pub(crate) fn of_hash(self, pepper: &Pepper, hash: &[u8]) -> Digest {
        pepper.digest(&[b"foreign key ", self.to_string().as_bytes(), b"\0", hash].concat())
    }
}

/// `sha256`, `sha512`, `prefix:8`.
impl fmt::Display for ForeignRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256 => f.write_str("sha256"),
            Self::Sha512 => f.write_str("sha512"),
            Self::Prefix(length) => write!(f, "prefix:{length}"),
        }
    }
}

impl std::str::FromStr for ForeignRoute {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, CredentialError> {
        match (text, text.strip_prefix("prefix:").map(str::parse)) {
            ("sha256", _) => Ok(Self::Sha256),
            ("sha512", _) => Ok(Self::Sha512),
            (_, Some(Ok(length))) => Ok(Self::Prefix(length)),
            _ => Err(CredentialError::ForeignHash("the store names a route that is not known")),
        }
    }
}

impl ForeignHash {
    /// Whether the check takes tens of milliseconds and megabytes.
    pub fn is_slow(&self) -> bool {
        matches!(self.form, Form::Argon2(_))
    }

    /// Whether it is the hash of this key; compared in constant time.
    pub fn verify(&self, key: &[u8]) -> bool {
        let Some(covered) = key.get(usize::from(self.skipped)..) else { return false };
        match &self.form {
            Form::Argon2(text) => PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(covered, &hash).is_ok()),
            Form::Sha256(salt, hash) => {
                let found = Sha256::new().chain_update(salt).chain_update(covered).finalize();
                constant_time_eq(hex::encode_all(&found).as_bytes(), hash.as_bytes())
            }
            Form::Sha512(salt, hash) => {
                let found = Sha512::new().chain_update(salt).chain_update(covered).finalize();
                constant_time_eq(hex::encode_all(&found).as_bytes(), hash.as_bytes())
            }
        }
    }
}

impl ForeignHash {
    /// A slow hash in place of this one, of a key that has passed it: Argon2id with 19 MiB, 2 passes and 1 lane (OWASP
    /// Password Storage Cheat Sheet). `None` when the memory is not to be had.
    pub fn slowed(&self, key: &[u8], entropy: &mut dyn Entropy) -> Option<Self> {
        let covered = key.get(usize::from(self.skipped)..)?;
        let mut salt = [0; 16];
        entropy.fill(&mut salt);
        let hash: PasswordHash = Argon2::default().hash_password_with_salt(covered, &salt).ok()?;
        Some(Self { form: Form::Argon2(hash.to_string()), skipped: self.skipped })
    }
}

/// Shows nothing but the kind.
impl fmt::Debug for ForeignHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.form {
            Form::Argon2(_) => "argon2",
            Form::Sha256(..) => "sha256",
            Form::Sha512(..) => "sha512",
        };
        write!(f, "ForeignHash({kind}, ****)")
    }
}

impl Given {
    /// Reads a hash: a PHC string of Argon2; hex or Base64 of SHA-256 or SHA-512, by their length if no algorithm is
    /// named; `sha256$salt$digest` and `sha512$$digest`; `sha256:digest`.
    pub(crate) fn read(text: &Secret, sort: Sort<'_>) -> Result<Self, CredentialError> {
        let refuse = |reason| Err(CredentialError::ForeignHash(reason));
        let text = text.expose_text().unwrap_or_default().trim();
        if text.is_empty() || text.len() > MOST_TEXT {
            return refuse("is empty, no text, or longer than any hash");
        }
        if text.starts_with("$argon2") {
            if sort.algorithm.is_some_and(|named| !named.starts_with("argon2")) || sort.salt.is_some() {
                return refuse("is an Argon2 string, which names its algorithm and salt itself");
            }
            check_argon2(text)?;
            return Ok(Self::Checked(ForeignHash {
                form: Form::Argon2(text.to_owned()),
                skipped: sort.skipped,
            }));
        }
        let mut parts = text.splitn(3, '$');
        let (named, salt, digest) = match (parts.next(), parts.next(), parts.next()) {
            (Some(named), Some(salt), Some(digest)) => (Some(named), Some(salt), digest),
            (Some(_), Some(_), None) => return refuse("has one `$`; accepted is `sha256$salt$digest`"),
            _ => match text.split_once(':') {
                Some((named, digest)) => (Some(named), None, digest),
                None => (None, None, text),
            },
        };
        if let (Some(one), Some(other)) = (named, sort.algorithm)
            && !one.eq_ignore_ascii_case(other)
        {
            return refuse("names another algorithm than its record");
        }
        let salt = match (salt, sort.salt) {
            (Some(one), Some(other)) if one != other => return refuse("has another salt than its record"),
            (one, other) => one.or(other).unwrap_or_default(),
        };
        if salt.len() > MOST_SALT {
            return refuse("has a salt of more than 256 bytes");
        }
        let Some(bytes) = decode(digest) else { return refuse("is neither hex nor Base64 of a SHA-2 hash") };
        let route = match named.or(sort.algorithm).map(str::to_ascii_lowercase).as_deref() {
            Some("sha256" | "sha-256") => ForeignRoute::Sha256,
            Some("sha512" | "sha-512") => ForeignRoute::Sha512,
            None if bytes.len() == 32 => ForeignRoute::Sha256,
            None if bytes.len() == 64 => ForeignRoute::Sha512,
            None => return refuse("has the length of no algorithm; accepted are sha256, sha512 and argon2"),
            Some(_) => {
                return refuse("has an algorithm that is not taken; accepted are sha256, sha512 and argon2");
            }
        };
        if bytes.len() != if route == ForeignRoute::Sha256 { 32 } else { 64 } {
            return refuse("has another length than its algorithm gives");
        }
        if salt.is_empty() && sort.skipped == 0 {
            return Ok(Self::Plain(route, bytes));
        }
        let (salt, digest) = (salt.to_owned(), hex::encode_all(&bytes));
        let form = match route {
            ForeignRoute::Sha256 => Form::Sha256(salt, digest),
            _ => Form::Sha512(salt, digest),
        };
        Ok(Self::Checked(ForeignHash { form, skipped: sort.skipped }))
    }
}

/// Refuses what is no Argon2 string, and one whose check would cost more than a check may.
fn check_argon2(text: &str) -> Result<(), CredentialError> {
    let refuse = |reason| Err(CredentialError::ForeignHash(reason));
    let Ok(hash) = PasswordHash::new(text) else { return refuse("is no PHC string") };
    let known = argon2::Algorithm::try_from(hash.algorithm.as_str()).is_ok()
        && hash.version.is_none_or(|version| argon2::Version::try_from(version).is_ok());
    let (Ok(params), true) = (Params::try_from(&hash), known) else {
        return refuse("is no Argon2 string that can be checked");
    };
    if hash.salt.is_none_or(|salt| salt.len() < argon2::MIN_SALT_LEN) || hash.hash.is_none() {
        return refuse("lacks its salt or its hash");
    }
    let (memory, passes) = (params.m_cost(), params.t_cost());
    let work = memory.checked_mul(passes);
    if memory > MOST_MEMORY_KIB
        || passes > MOST_PASSES
        || params.p_cost() > MOST_LANES
        || work.is_none_or(|work| work > MOST_WORK_KIB)
    {
        return refuse("costs too much to check; accepted are 256 MiB, 16 passes, 16 lanes, 1 GiB in all");
    }
    Ok(())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if matches!(text.len(), 64 | 128) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return hex::decode_all(&text.to_ascii_lowercase());
    }
    BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Of the key `legacy_0123456789abcdef`, made with Python's hashlib and argon2-cffi.
    const KEY: &[u8] = b"legacy_0123456789abcdef";

    fn read(text: &str, sort: Sort<'_>) -> Result<Given, CredentialError> {
        Given::read(&Secret::new(text), sort)
    }

    fn route(text: &str, sort: Sort<'_>) -> Option<ForeignRoute> {
        match read(text, sort) {
            Ok(Given::Plain(route, bytes)) => {
                let expected = match route {
                    ForeignRoute::Sha256 => Sha256::digest(KEY).to_vec(),
                    _ => Sha512::digest(KEY).to_vec(),
                };
                assert_eq!(bytes, expected, "{text}");
                Some(route)
            }
            _ => None,
        }
    }

    fn hash(text: &str, sort: Sort<'_>) -> ForeignHash {
        match read(text, sort) {
            Ok(Given::Checked(hash)) => hash,
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn plain_hashes_are_read_in_all_their_forms() {
        let (short, long) = (Sha256::digest(KEY), Sha512::digest(KEY));
        let hex = hex::encode_all(&short);
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            format!(" {hex}\n"),
            format!("sha256:{hex}"),
            format!("SHA256:{hex}"),
            format!("sha256$${hex}"),
            BASE64.encode(short),
            BASE64.encode(short).trim_end_matches('=').to_owned(),
            BASE64_URL.encode(short),
        ] {
            assert_eq!(route(&text, Sort::default()), Some(ForeignRoute::Sha256), "{text}");
        }
        for text in
            [hex::encode_all(&long), BASE64.encode(long), format!("sha512$${}", hex::encode_all(&long))]
        {
            assert_eq!(route(&text, Sort::default()), Some(ForeignRoute::Sha512), "{text}");
        }
        let sort = Sort { algorithm: Some("SHA-256"), ..Sort::default() };
        assert_eq!(route(&hex, sort), Some(ForeignRoute::Sha256));
    }

    #[test]
    fn salted_and_partial_hashes_are_checked() {
        let salted = Sha256::new().chain_update("pinch").chain_update(KEY).finalize();
        let salted = hex::encode_all(&salted);
        let sort = Sort { salt: Some("pinch"), ..Sort::default() };
        for hash in [hash(&salted, sort), hash(&format!("sha256$pinch${salted}"), Sort::default())] {
            assert!(hash.verify(KEY) && !hash.verify(b"legacy_") && !hash.verify(b"") && !hash.is_slow());
            assert_eq!(format!("{hash:?}"), "ForeignHash(sha256, ****)");
        }
        let secret = hex::encode_all(&Sha512::digest(&KEY[7..]));
        let hash = hash(&secret, Sort { skipped: 7, ..Sort::default() });
        assert!(hash.verify(KEY) && hash.verify(b"others_0123456789abcdef") && !hash.verify(&KEY[7..]));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<ForeignHash>(&json).unwrap(), hash);
    }

    #[test]
    fn argon2_strings_are_checked() {
        for text in ARGON2 {
            let hash = hash(text, Sort { algorithm: Some("argon2"), ..Sort::default() });
            assert!(hash.is_slow() && hash.verify(KEY) && !hash.verify(b"legacy_0123456789abcdee"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_refused_without_being_repeated() {
        let hex = "ab".repeat(32);
        let costly = ARGON2[0].replace("m=1024", "m=262145");
        for (text, sort) in [
            ("", Sort::default()),
            ("plain text key", Sort::default()),
            (&hex[1..], Sort::default()),
            (&format!("md5:{}", "ab".repeat(16)), Sort::default()),
            (&format!("sha256${hex}"), Sort::default()),
            (&format!("sha1$${hex}"), Sort::default()),
            (&hex, Sort { algorithm: Some("sha512"), ..Sort::default() }),
            (&format!("sha256:{hex}"), Sort { algorithm: Some("sha512"), ..Sort::default() }),
            (&format!("sha256$a${hex}"), Sort { salt: Some("b"), ..Sort::default() }),
            ("$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQ", Sort::default()),
            ("$argon2id$v=18$m=1024,t=1,p=1$c29tZXNhbHRzYWx0$YWJjZGVmZ2hpamtsbW5vcA", Sort::default()),
            ("$argon2x$v=19$m=1024,t=1,p=1$c29tZXNhbHRzYWx0$YWJjZGVmZ2hpamtsbW5vcA", Sort::default()),
            ("$2b$12$abcdefghijklmnopqrstuv", Sort::default()),
            (&costly, Sort::default()),
            (&ARGON2[0].replace("t=2", "t=17"), Sort::default()),
            (&ARGON2[0].replace("m=1024,t=2", "m=262144,t=5"), Sort::default()),
            (&"a".repeat(600), Sort::default()),
        ] {
            let Err(error) = read(text, sort) else { panic!("{text}") };
            assert!(text.len() < 9 || !error.to_string().contains(&text[..text.len().min(20)]), "{error}");
        }
    }

    #[test]
    fn routes_are_written_and_read() {
        for route in [ForeignRoute::Sha256, ForeignRoute::Sha512, ForeignRoute::Prefix(8)] {
            assert_eq!(route.to_string().parse::<ForeignRoute>(), Ok(route));
        }
        assert!("prefix:x".parse::<ForeignRoute>().is_err() && "md5".parse::<ForeignRoute>().is_err());
        let pepper = Pepper::new(&Secret::new(vec![7; 32])).unwrap();
        assert_eq!(ForeignRoute::Prefix(23).lookup(&pepper, KEY), None);
        let lookup = ForeignRoute::Prefix(7).lookup(&pepper, KEY).unwrap();
        assert_eq!(lookup, ForeignRoute::Prefix(7).of_hash(&pepper, b"legacy_"));
        assert_ne!(Some(lookup), ForeignRoute::Prefix(6).lookup(&pepper, KEY));
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_what_is_read_can_be_checked(
            text in prop_oneof![
                "[$:a-z0-9=,+/]{0,90}",
                "\\PC{0,200}",
                "\\$argon2(id|i|d)\\$v=19\\$m=[0-9]{1,4},t=[0-3],p=[0-3]\\$[a-zA-Z0-9]{0,24}\\$[a-zA-Z0-9]{0,44}",
                "sha(256|512)[$:]{1,2}[0-9a-f]{64}",
            ],
            salt in prop::option::of("[a-z]{0,4}"), skipped in 0u16..9,
        ) {
            let sort = Sort { algorithm: None, salt: salt.as_deref(), skipped };
            if let Ok(Given::Checked(hash)) = read(&text, sort) {
                prop_assert!(!hash.verify(b"legacy_0123456789abcdee"));
                prop_assert!(!hash.verify(b""));
            }
        }
    }

    const ARGON2: [&str; 2] = [
        "$argon2id$v=19$m=1024,t=2,p=2$FjYBD4bHchCKTzpX+kGZgw$+JIakGE8IjzD0SGu+o4a+u8+Tyu4SZtcmiGje1l8r8c",
        "$argon2i$v=19$m=512,t=1,p=1$94AjVsl7QqiShWdYXgS2ug$fKMeusKNfKzZ6lpuyxcLUQ",
    ];
}
