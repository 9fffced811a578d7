//! One key of a table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use security_core::{Rate, Timestamp};

use super::{
    APART, CANARY, ELSEWHERE, EXPIRES, ID_BYTES, ID_WIDTH, OWNED, REVOKED, ROTATED, SLOT, TablePeppers,
    array_at, id_of, u32_at,
};
use crate::{Digest, IssuedKey, KeyFacts, KeyRate, KeyVerdict, PepperVersion, judge::Held, token};

pub(super) const FLAGS_AT: usize = ID_BYTES;
pub(super) const SETTINGS_AT: usize = FLAGS_AT + 1;
pub(super) const DIGEST_AT: usize = SETTINGS_AT + 2;
pub(super) const EXPIRES_AT: usize = DIGEST_AT + 32;
pub(super) const REST_AT: usize = EXPIRES_AT + 8;
pub(super) const SUM_AT: usize = REST_AT + 4;
/// The rest is found in steps of so many bytes: 32 bits reach 8 GiB.
pub(super) const STEP: usize = 2;
/// A settings entry begins at a multiple of so many bytes, as checksums are quickest over such lengths, and is a
/// checksum and a multiple of them long.
pub(super) const SETTINGS_STEP: usize = 16;
/// A network in it: 4 or 6, prefix length, address.
pub(super) const NETWORK: usize = 18;
/// A rest before its texts: checksum, length of the name, length of the owner.
pub(super) const REST_HEAD: usize = 8;
/// Bits of the name's length; those above say which of the table's peppers the token before the last rotation is under.
pub(super) const NAME_WIDTH: u32 = 14;
/// Where in the slot the digest's pepper stands, and how far up in that byte.
pub(super) const PEPPER_AT: usize = ID_WIDTH as usize / 8;
pub(super) const PEPPER_SHIFT: u32 = ID_WIDTH % 8;
/// The token before the last rotation: digest, end of its grace.
pub(super) const PREVIOUS: usize = 40;

/// One key of a table, whose checksum has held, and so have those of what a judgement needs of it.
#[derive(Clone, Copy)]
pub struct KeySlot<'t> {
    slot: &'t [u8; SLOT],
    /// From this key's rest on.
    rest: &'t [u8],
    settings: Settings<'t>,
    peppers: &'t TablePeppers,
}

/// A key's own words, whose checksum has held.
#[derive(Clone, Copy)]
struct Rest<'t> {
    previous: &'t [u8],
    /// Place of its pepper.
    pepper: usize,
    apart: &'t [u8],
    name: &'t [u8],
    owner: &'t [u8],
}

/// What many keys have in common.
#[derive(Clone, Copy)]
struct Settings<'t> {
    rate: Option<KeyRate>,
    prefix: &'t [u8],
    networks: &'t [u8],
    scopes: &'t [u8],
}

impl<'t> KeySlot<'t> {
    /// `None` for a slot that does not pass its checksum, or is none.
    pub(super) fn open(
        slot: &'t [u8; SLOT],
        area: &'t [u8],
        shared: &'t [u8],
        peppers: &'t TablePeppers,
    ) -> Option<Self> {
        if sum(slot) != u32_at(slot, SUM_AT) || slot[FLAGS_AT] & ELSEWHERE != 0 {
            return None;
        }
        let rest = area.get(u32_at(slot, REST_AT) as usize * STEP..)?;
        let settings = match slot[FLAGS_AT] & APART != 0 {
            false => {
                let number = u16::from_le_bytes(array_at(slot, SETTINGS_AT));
                shared.get(usize::from(number) * SETTINGS_STEP..)?
            }
            true => area.get(u32_at(Rest::open(slot, rest)?.apart, 0) as usize * STEP..)?,
        };
        let opened = Self { slot, rest, settings: Settings::open(settings)?, peppers };
        // Judgements need it.
        (!opened.has(ROTATED) || opened.rest().is_some()).then_some(opened)
    }

    /// Where the key's own words lie, mostly, for who can have them fetched before they are asked for.
    pub fn words(&self) -> &'t [u8] {
        &self.rest[..self.rest.len().min(REST_HEAD + 32)]
    }

    /// As [`IssuedKey::peppers`].
    pub fn peppers(&self) -> (PepperVersion, Option<PepperVersion>) {
        (self.pepper(), self.previous().map(|(digest, _)| digest.pepper()))
    }

    /// Whether judging any key of the table needs this pepper alone.
    pub fn needs_only(&self, pepper: PepperVersion) -> bool {
        self.peppers.iter().all(|known| *known == pepper)
    }

    /// As [`IssuedKey::judge`] judges the key that the slot was made of.
    pub fn judge(
        &self,
        digests: &[Digest],
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
            digests,
            now,
            || self.settings.allows_client(client),
            || required_scopes.iter().all(|scope| self.settings.grants(scope)),
        )
    }

    /// What a check's answer tells of the key.
    pub fn facts(&self) -> KeyFacts<'t> {
        KeyFacts::of_slot(*self)
    }

    /// Its name and owner, as bytes of UTF-8; `None` when the table is damaged there.
    pub(crate) fn texts(&self) -> Option<(&'t [u8], Option<&'t [u8]>)> {
        let rest = self.rest()?;
        Some((rest.name, self.has(OWNED).then_some(rest.owner)))
    }

    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.has(EXPIRES).then(|| time(self.slot, EXPIRES_AT))
    }

    pub(crate) fn each_scope(&self, each: &mut impl FnMut(&[u8])) {
        self.settings.scopes().for_each(each);
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
    /// a key reads it from the store. `None` when the table is damaged where the key's own words lie.
    pub fn to_key(&self) -> Option<IssuedKey> {
        let (name, owner) = self.texts()?;
        Some(IssuedKey {
            id: self.id(),
            version: 0,
            prefix: String::from_utf8_lossy(self.settings.prefix).into_owned(),
            name: String::from_utf8_lossy(name).into_owned(),
            owner: owner.map(|owner| String::from_utf8_lossy(owner).into_owned()),
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
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.slot[FLAGS_AT] & flag != 0
    }

    /// The digest of the token in force.
    pub fn digest(&self) -> Digest {
        Digest::under(self.pepper(), array_at(self.slot, DIGEST_AT))
    }

    fn pepper(&self) -> PepperVersion {
        self.peppers[usize::from(self.slot[PEPPER_AT] >> PEPPER_SHIFT) % self.peppers.len()]
    }

    fn previous(&self) -> Option<(Digest, Timestamp)> {
        if !self.has(ROTATED) {
            return None;
        }
        let rest = self.rest()?;
        let digest =
            Digest::under(self.peppers[rest.pepper % self.peppers.len()], array_at(rest.previous, 0));
        Some((digest, time(rest.previous, 32)))
    }

    fn rest(&self) -> Option<Rest<'t>> {
        Rest::open(self.slot, self.rest)
    }
}

/// Shows the id.
impl std::fmt::Debug for KeySlot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySlot({})", self.id())
    }
}

impl<'t> Rest<'t> {
    /// `None` when it does not pass its checksum.
    fn open(slot: &[u8; SLOT], bytes: &'t [u8]) -> Option<Self> {
        let length = |at| usize::from(u16::from_le_bytes(array_at(bytes, at)));
        let (name_length, owner_length) = (length(4) & ((1 << NAME_WIDTH) - 1), length(6));
        let pepper = length(4) >> NAME_WIDTH;
        let previous = if slot[FLAGS_AT] & ROTATED != 0 { PREVIOUS } else { 0 };
        let apart = if slot[FLAGS_AT] & APART != 0 { 4 } else { 0 };
        let end = REST_HEAD + previous + apart + name_length + owner_length;
        if crc32fast::hash(bytes.get(4..end)?) != u32_at(bytes, 0) {
            return None;
        }
        let (previous, rest) = bytes.get(REST_HEAD..end)?.split_at_checked(previous)?;
        let (apart, texts) = rest.split_at_checked(apart)?;
        let (name, owner) = texts.split_at_checked(name_length)?;
        Some(Self { previous, pepper, apart, name, owner })
    }
}

impl<'t> Settings<'t> {
    /// Reads the entry at the beginning of some bytes: checksum; then, in whole steps, length, rate, lengths of prefix
    /// and networks, prefix, networks, scopes.
    fn open(entry: &'t [u8]) -> Option<Self> {
        let length = usize::from(u16::from_le_bytes(array_at(entry, 4)));
        let summed = entry.get(4..4 + (2 + length).next_multiple_of(SETTINGS_STEP))?;
        if crc32fast::hash(summed) != u32_at(entry, 0) {
            return None;
        }
        let (numbers, texts) = summed.get(2..2 + length)?.split_at_checked(11)?;
        let rate = match numbers[0] {
            0 => None,
            1 => Some(KeyRate::Unlimited),
            _ => Some(KeyRate::Limited(Rate::new(u32_at(numbers, 1), u32_at(numbers, 5)))),
        };
        let (prefix, rest) = texts.split_at_checked(usize::from(numbers[9]))?;
        let (networks, scopes) = rest.split_at_checked(usize::from(numbers[10]) * NETWORK)?;
        Some(Self { rate, prefix, networks, scopes })
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

/// The checksum of a slot: over all of it, with zeros in the checksum's own place.
pub(super) fn sum(slot: &[u8; SLOT]) -> u32 {
    let mut summed = *slot;
    summed[SUM_AT..].fill(0);
    crc32fast::hash(&summed)
}

fn time(bytes: &[u8], at: usize) -> Timestamp {
    Timestamp::from_micros(i64::from_le_bytes(array_at(bytes, at)))
}
