//! One key of a table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use security_core::{Rate, Timestamp};

use super::{CANARY, ELSEWHERE, EXPIRES, ID_BYTES, OWNED, REVOKED, ROTATED, SLOT, array_at, id_of, u32_at};
use crate::{Digest, IssuedKey, KeyFacts, KeyRate, KeyVerdict, judge::Held, token};

pub(super) const FLAGS_AT: usize = ID_BYTES;
pub(super) const REST_LENGTH_AT: usize = FLAGS_AT + 1;
pub(super) const DIGEST_AT: usize = REST_LENGTH_AT + 2;
pub(super) const EXPIRES_AT: usize = DIGEST_AT + 32;
pub(super) const REST_AT: usize = EXPIRES_AT + 8;
pub(super) const SUM_AT: usize = REST_AT + 4;
/// The rest is found in steps of so many bytes: 32 bits reach 16 GiB.
pub(super) const STEP: usize = 4;
/// A settings entry before its body: checksum and length.
pub(super) const SETTINGS_HEAD: usize = 6;
/// A network in it: 4 or 6, prefix length, address.
pub(super) const NETWORK: usize = 18;

/// One key of a table, whose checksums have held.
#[derive(Clone, Copy)]
pub struct KeySlot<'t> {
    slot: &'t [u8; SLOT],
    previous: Option<&'t [u8]>,
    name: &'t str,
    owner: &'t str,
    settings: Settings<'t>,
}

/// What many keys have in common.
#[derive(Clone, Copy)]
struct Settings<'t> {
    rate: Option<KeyRate>,
    prefix: &'t str,
    networks: &'t [u8],
    scopes: &'t [u8],
}

impl<'t> KeySlot<'t> {
    /// `None` for a slot that does not pass its checksum, or is none.
    pub(super) fn open(slot: &'t [u8; SLOT], area: &'t [u8]) -> Option<Self> {
        let at = u32_at(slot, REST_AT) as usize * STEP;
        let length = usize::from(u16::from_le_bytes(array_at(slot, REST_LENGTH_AT)));
        let rest = area.get(at..at.checked_add(length)?)?;
        if sum(slot, rest) != u32_at(slot, SUM_AT) || slot[FLAGS_AT] & ELSEWHERE != 0 {
            return None;
        }
        let (settings_at, rest) = rest.split_at_checked(4)?;
        let (name_length, rest) = rest.split_at_checked(2)?;
        let name_length = usize::from(u16::from_le_bytes(array_at(name_length, 0)));
        let (previous, texts) = match slot[FLAGS_AT] & ROTATED != 0 {
            true => rest.split_at_checked(40).map(|(previous, texts)| (Some(previous), texts))?,
            false => (None, rest),
        };
        let (name, owner) = texts.split_at_checked(name_length)?;
        Some(Self {
            slot,
            previous,
            name: std::str::from_utf8(name).ok()?,
            owner: std::str::from_utf8(owner).ok()?,
            settings: Settings::open(area, u32_at(settings_at, 0) as usize * STEP)?,
        })
    }

    /// As [`IssuedKey::judge`] judges the key that the slot was made of.
    pub fn judge(
        &self,
        digest: &Digest,
        now: Timestamp,
        required_scopes: &[&str],
        client: Option<IpAddr>,
    ) -> KeyVerdict {
        let held = Held {
            current: self.digest(),
            previous: self.previous(),
            revoked: self.has(REVOKED),
            expires_at: self.expires_at(),
        };
        held.judge(
            digest,
            now,
            || self.settings.allows_client(client),
            || required_scopes.iter().all(|scope| self.settings.grants(scope)),
        )
    }

    /// What a check's answer tells of the key.
    pub fn facts(&self) -> KeyFacts<'t> {
        KeyFacts::of_slot(*self)
    }

    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.has(EXPIRES).then(|| time(self.slot, EXPIRES_AT))
    }

    pub(crate) fn name(&self) -> &'t str {
        self.name
    }

    pub(crate) fn owner(&self) -> Option<&'t str> {
        self.has(OWNED).then_some(self.owner)
    }

    pub(crate) fn each_scope(&self, each: &mut impl FnMut(&str)) {
        for scope in self.settings.scopes() {
            each(&String::from_utf8_lossy(scope));
        }
    }

    pub(crate) fn scopes(&self) -> Vec<String> {
        self.settings.scopes().map(|scope| String::from_utf8_lossy(scope).into_owned()).collect()
    }

    pub(crate) fn rate_limit(&self) -> Option<KeyRate> {
        self.settings.rate
    }

    pub(crate) fn is_canary(&self) -> bool {
        self.has(CANARY)
    }

    /// The id that stands in the token.
    pub fn id(&self) -> String {
        token::id_text(id_of(self.slot))
    }

    /// The key, as far as the answer to a check tells of it and a judgement needs it.
    ///
    /// A table does not know the metadata, the time of issue, and when and why a key was revoked: these are
    /// empty, [`Timestamp::MIN`] and an empty reason. The version is 0, which no store takes: whoever wants to change
    /// a key reads it from the store.
    pub fn to_key(&self) -> IssuedKey {
        IssuedKey {
            id: self.id(),
            version: 0,
            prefix: self.settings.prefix.to_owned(),
            name: self.name.to_owned(),
            owner: self.owner().map(str::to_owned),
            scopes: self.scopes(),
            created_at: Timestamp::MIN,
            expires_at: self.expires_at(),
            allowed_networks: self.settings.networks().collect(),
            rate_limit: self.settings.rate,
            canary: self.is_canary(),
            metadata: std::collections::BTreeMap::new(),
            digest: self.digest(),
            previous: self.previous(),
            revoked: self.has(REVOKED).then(|| (Timestamp::MIN, String::new())),
            foreign: None,
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.slot[FLAGS_AT] & flag != 0
    }

    fn digest(&self) -> Digest {
        Digest::from_bytes(array_at(self.slot, DIGEST_AT))
    }

    fn previous(&self) -> Option<(Digest, Timestamp)> {
        self.previous.map(|bytes| (Digest::from_bytes(array_at(bytes, 0)), time(bytes, 32)))
    }
}

/// Shows the id.
impl std::fmt::Debug for KeySlot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySlot({})", self.id())
    }
}

impl<'t> Settings<'t> {
    fn open(area: &'t [u8], at: usize) -> Option<Self> {
        let entry = area.get(at..)?;
        let length = usize::from(u16::from_le_bytes(array_at(entry, 4)));
        let summed = entry.get(4..SETTINGS_HEAD + length)?;
        if crc32fast::hash(summed) != u32_at(entry, 0) {
            return None;
        }
        let (numbers, texts) = summed.get(2..)?.split_at_checked(11)?;
        let rate = match numbers[0] {
            0 => None,
            1 => Some(KeyRate::Unlimited),
            _ => Some(KeyRate::Limited(Rate::new(u32_at(numbers, 1), u32_at(numbers, 5)))),
        };
        let (prefix, rest) = texts.split_at_checked(usize::from(numbers[9]))?;
        let (networks, scopes) = rest.split_at_checked(usize::from(numbers[10]) * NETWORK)?;
        Some(Self { rate, prefix: std::str::from_utf8(prefix).ok()?, networks, scopes })
    }

    fn grants(&self, wanted: &str) -> bool {
        self.scopes().any(|granted| granted == wanted.as_bytes() || granted == b"*")
    }

    fn scopes(&self) -> impl Iterator<Item = &'t [u8]> {
        let mut left = self.scopes;
        std::iter::from_fn(move || {
            let (length, rest) = left.split_first()?;
            let (scope, rest) = rest.split_at_checked(usize::from(*length))?;
            left = rest;
            Some(scope)
        })
    }

    fn allows_client(&self, client: Option<IpAddr>) -> bool {
        if self.networks.is_empty() {
            return true;
        }
        let client = client.map(|address| address.to_canonical());
        client.is_some_and(|address| self.networks().any(|network| network.contains(&address)))
    }

    fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.networks.chunks_exact(NETWORK).filter_map(|network| {
            let address = match network[0] {
                4 => IpAddr::V4(Ipv4Addr::from(array_at::<4>(network, 2))),
                _ => IpAddr::V6(Ipv6Addr::from(array_at::<16>(network, 2))),
            };
            IpNet::new(address, network[1]).ok()
        })
    }
}

/// The checksum of a slot and its rest.
pub(super) fn sum(slot: &[u8; SLOT], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&slot[..SUM_AT]);
    hasher.update(rest);
    hasher.finalize()
}

fn time(bytes: &[u8], at: usize) -> Timestamp {
    Timestamp::from_micros(i64::from_le_bytes(array_at(bytes, at)))
}
