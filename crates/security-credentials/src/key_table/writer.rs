//! Making a table, key by key, in bounded memory.

use std::{collections::HashMap, net::IpAddr};

use security_core::Revision;

use super::{
    APART, CANARY, ELSEWHERE, ENTRY, EXPIRES, HEADER, HEADER_SUMMED, ID_BYTES, KeyTableError, MAGIC, OWNED,
    PEPPERS, PEPPERS_AT, REVOKED, ROTATED, SLOT, VERSION, bucket, directory_bytes,
    slot::{
        DIGEST_AT, EXPIRES_AT, FLAGS_AT, NAME_WIDTH, PEPPER_AT, PEPPER_SHIFT, REST_AT, REST_HEAD,
        SETTINGS_AT, SETTINGS_STEP, STEP, SUM_AT, sum,
    },
};
use crate::{IssuedKey, KeyRate, PepperVersion, token};

/// Slots that an entry of the directory leads to, on average: so many that the directory of a million keys stays in a
/// processor's cache.
const SLOTS_AN_ENTRY: u64 = 8;
/// So many bytes of settings are remembered, so that equal ones are kept once; others are kept again.
const REMEMBERED: usize = 8 << 20;
/// The most bytes of settings that slots reach by number; those of further keys lie in the rest.
const SHARED: usize = (u16::MAX as usize + 1) * SETTINGS_STEP;

/// Makes a table of keys that come in the order of their ids.
///
/// The caller keeps the bytes: a slot after a slot from [`KeyTableWriter::SLOTS_AT`] on, the rest from
/// [`KeyTableWriter::rest_at`] on, behind it what [`KeyTableWriter::finish`] gives, and the header in front when all is
/// known.
pub struct KeyTableWriter {
    planned: u64,
    bits: u32,
    added: u64,
    last: Option<u128>,
    directory: Vec<u8>,
    rest_length: usize,
    /// The settings that slots reach by number.
    shared: Vec<u8>,
    settings: HashMap<Box<[u8]>, Interned>,
    remembered: usize,
    /// The peppers met so far, in the order of their places in the header.
    peppers: Vec<PepperVersion>,
}

/// Where a settings entry lies.
#[derive(Clone, Copy)]
enum Interned {
    /// Among the shared ones, by number.
    Shared(u16),
    /// In the rest, in steps.
    Apart(u32),
}

impl KeyTableWriter {
    /// Where the slots begin.
    pub const SLOTS_AT: u64 = HEADER as u64;

    /// A table of so many keys.
    /// # Errors
    /// More than 2^31 keys.
    pub fn new(keys: u64) -> Result<Self, KeyTableError> {
        if keys >= 1 << 31 {
            return Err(KeyTableError("there are too many keys for one table"));
        }
        let bits = (keys / SLOTS_AN_ENTRY).max(1).ilog2();
        Ok(Self {
            planned: keys,
            bits,
            added: 0,
            last: None,
            directory: Vec::with_capacity(directory_bytes(bits)),
            rest_length: 0,
            shared: Vec::new(),
            settings: HashMap::new(),
            remembered: 0,
            peppers: Vec::new(),
        })
    }

    /// Where the rest begins.
    pub fn rest_at(&self) -> u64 {
        Self::SLOTS_AT + self.planned * SLOT as u64
    }

    /// Appends a key's slot to `slots` and its rest to `rest`.
    /// # Errors
    /// The id is none or not above the last one's, or there are more keys than planned.
    pub fn add(
        &mut self,
        key: &IssuedKey,
        slots: &mut Vec<u8>,
        rest: &mut Vec<u8>,
    ) -> Result<(), KeyTableError> {
        let id = token::id_number(&key.id).ok_or(KeyTableError("a key has an id of another shape"))?;
        if self.last.is_some_and(|last| last >= id) {
            return Err(KeyTableError("the keys are not in the order of their ids"));
        }
        if self.added == self.planned {
            return Err(KeyTableError("there are more keys than planned"));
        }
        self.last = Some(id);
        self.lead_to(bucket(id, self.bits))?;
        let mut slot = [0; SLOT];
        slot[..ID_BYTES].copy_from_slice(&id.to_le_bytes()[..ID_BYTES]);
        slot[FLAGS_AT] = ELSEWHERE;
        let mut own = Vec::new();
        // What does not fit stays with the store, which is asked for it.
        if let Some(flags) = self.fill(key, &mut slot, &mut own, rest)? {
            slot[FLAGS_AT] = flags;
        } else {
            own.clear();
        }
        slot[REST_AT..SUM_AT].copy_from_slice(&self.step()?.to_le_bytes());
        let sum = sum(&slot);
        slot[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        self.append(&own, rest);
        slots.extend_from_slice(&slot);
        self.added += 1;
        Ok(())
    }

    /// The header, and what stands behind the rest: shared settings and directory.
    /// # Errors
    /// Fewer keys were added than planned.
    pub fn finish(
        mut self,
        stamp: [u8; 16],
        revision: Revision,
    ) -> Result<([u8; HEADER], Vec<u8>), KeyTableError> {
        if self.added != self.planned {
            return Err(KeyTableError("there are fewer keys than planned"));
        }
        self.lead_to(1 << self.bits)?;
        let settings_at = self.rest_at() + self.rest_length as u64;
        let directory_at = settings_at + self.shared.len() as u64;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&self.bits.to_le_bytes());
        header.extend_from_slice(&stamp);
        for number in [
            revision.0,
            self.planned,
            self.rest_at(),
            settings_at,
            directory_at,
            directory_at + self.directory.len() as u64,
        ] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(&crc32fast::hash(&self.directory).to_le_bytes());
        debug_assert_eq!(header.len(), PEPPERS_AT);
        for pepper in &self.peppers {
            header.extend_from_slice(&pepper.number().to_le_bytes());
        }
        header.resize(HEADER_SUMMED, 0);
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        let header = header.try_into().map_err(|_| KeyTableError("the header has another length"))?;
        self.shared.append(&mut self.directory);
        Ok((header, self.shared))
    }

    /// Fills in all of a slot but its place and checksum; `None` when the key does not fit.
    fn fill(
        &mut self,
        key: &IssuedKey,
        slot: &mut [u8; SLOT],
        own: &mut Vec<u8>,
        rest: &mut Vec<u8>,
    ) -> Result<Option<u8>, KeyTableError> {
        // Its digest is not known yet.
        if key.foreign.is_some() {
            return Ok(None);
        }
        let Some(settings) = settings(key) else { return Ok(None) };
        let owner = key.owner.as_deref().unwrap_or_default();
        let name_length = u16::try_from(key.name.len()).ok().filter(|length| length >> NAME_WIDTH == 0);
        let Some(mut name_length) = name_length else { return Ok(None) };
        let (pepper, before) = key.peppers();
        let Some(pepper) = self.place_of(pepper) else { return Ok(None) };
        if let Some(before) = before {
            let Some(place) = self.place_of(before) else { return Ok(None) };
            name_length |= u16::from(place) << NAME_WIDTH;
        }
        slot[PEPPER_AT] |= pepper << PEPPER_SHIFT;
        if key.name.len() + owner.len() > usize::from(u16::MAX) - 64 {
            return Ok(None);
        }
        own.extend_from_slice(&[0; 4]);
        own.extend_from_slice(&name_length.to_le_bytes());
        // Both together fit into 16 bits: see above.
        own.extend_from_slice(&u16::try_from(owner.len()).unwrap_or(0).to_le_bytes());
        debug_assert_eq!(own.len(), REST_HEAD);
        if let Some((digest, until)) = &key.previous {
            own.extend_from_slice(digest.as_bytes());
            own.extend_from_slice(&until.as_micros().to_le_bytes());
        }
        let apart = match self.interned(settings, rest)? {
            Interned::Shared(number) => {
                slot[SETTINGS_AT..DIGEST_AT].copy_from_slice(&number.to_le_bytes());
                false
            }
            Interned::Apart(at) => {
                own.extend_from_slice(&at.to_le_bytes());
                true
            }
        };
        own.extend_from_slice(key.name.as_bytes());
        own.extend_from_slice(owner.as_bytes());
        let sum = crc32fast::hash(&own[4..]);
        own[..4].copy_from_slice(&sum.to_le_bytes());
        slot[DIGEST_AT..EXPIRES_AT].copy_from_slice(key.digest.as_bytes());
        let end = key.expires_at.map_or(0, security_core::Timestamp::as_micros);
        slot[EXPIRES_AT..REST_AT].copy_from_slice(&end.to_le_bytes());
        let flags = [
            (key.revoked.is_some(), REVOKED),
            (key.canary, CANARY),
            (key.expires_at.is_some(), EXPIRES),
            (key.owner.is_some(), OWNED),
            (key.previous.is_some(), ROTATED),
            (apart, APART),
        ];
        Ok(Some(flags.iter().filter(|(holds, _)| *holds).fold(0, |all, (_, flag)| all | flag)))
    }

    /// The place of a pepper in the header; `None` when there is none left.
    fn place_of(&mut self, pepper: PepperVersion) -> Option<u8> {
        let place = self.peppers.iter().position(|known| *known == pepper).unwrap_or(self.peppers.len());
        if place == self.peppers.len() {
            if place == PEPPERS {
                return None;
            }
            self.peppers.push(pepper);
        }
        u8::try_from(place).ok()
    }

    /// Where a settings entry lies; written if no equal one is remembered.
    fn interned(&mut self, entry: Vec<u8>, rest: &mut Vec<u8>) -> Result<Interned, KeyTableError> {
        if let Some(at) = self.settings.get(entry.as_slice()) {
            return Ok(*at);
        }
        let number = self.shared.len() / SETTINGS_STEP;
        let at = match u16::try_from(number) {
            Ok(number) if self.shared.len() + entry.len() <= SHARED => {
                self.shared.extend_from_slice(&entry);
                self.shared.resize(self.shared.len().next_multiple_of(SETTINGS_STEP), 0);
                Interned::Shared(number)
            }
            _ => {
                let at = Interned::Apart(self.step()?);
                self.append(&entry, rest);
                at
            }
        };
        // Twice what the bytes take, as an entry costs more than itself.
        self.remembered += 2 * entry.len() + 64;
        if self.remembered < REMEMBERED {
            self.settings.insert(entry.into_boxed_slice(), at);
        }
        Ok(at)
    }

    /// The end of the rest, in steps.
    fn step(&self) -> Result<u32, KeyTableError> {
        u32::try_from(self.rest_length / STEP).map_err(|_| KeyTableError("the keys take more than 8 GiB"))
    }

    fn append(&mut self, bytes: &[u8], rest: &mut Vec<u8>) {
        let whole = bytes.len().next_multiple_of(STEP);
        rest.extend_from_slice(bytes);
        rest.resize(rest.len() + whole - bytes.len(), 0);
        self.rest_length += whole;
    }

    /// Lets all entries of the directory up to this one, which have none yet, lead to the next slot.
    fn lead_to(&mut self, bucket: usize) -> Result<(), KeyTableError> {
        let next = u32::try_from(self.added).unwrap_or(u32::MAX); // below 2^31: see `new`
        let step = self.step()?;
        while self.directory.len() <= bucket * ENTRY {
            self.directory.extend_from_slice(&next.to_le_bytes());
            self.directory.extend_from_slice(&step.to_le_bytes());
        }
        Ok(())
    }
}

impl std::fmt::Debug for KeyTableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyTableWriter")
            .field("planned", &self.planned)
            .field("added", &self.added)
            .finish_non_exhaustive()
    }
}

/// The settings entry of a key; `None` when something in it is longer than any that is issued.
fn settings(key: &IssuedKey) -> Option<Vec<u8>> {
    let (tag, count, period) = match key.rate_limit {
        None => (0, 0, 0),
        Some(KeyRate::Unlimited) => (1, 0, 0),
        Some(KeyRate::Limited(rate)) => (2, rate.count(), rate.period_seconds()),
    };
    let mut body = vec![tag];
    body.extend_from_slice(&u32::to_le_bytes(count));
    body.extend_from_slice(&u32::to_le_bytes(period));
    body.push(u8::try_from(key.prefix.len()).ok()?);
    body.push(u8::try_from(key.allowed_networks.len()).ok()?);
    body.extend_from_slice(key.prefix.as_bytes());
    for network in &key.allowed_networks {
        let mut address = [0; 16];
        let family = match network.addr() {
            IpAddr::V4(v4) => {
                address[..4].copy_from_slice(&v4.octets());
                4
            }
            IpAddr::V6(v6) => {
                address = v6.octets();
                6
            }
        };
        body.extend_from_slice(&[family, network.prefix_len()]);
        body.extend_from_slice(&address);
    }
    for scope in &key.scopes {
        body.push(u8::try_from(scope.len()).ok()?);
        body.extend_from_slice(scope.as_bytes());
    }
    let mut summed = u16::try_from(body.len()).ok()?.to_le_bytes().to_vec();
    summed.append(&mut body);
    summed.resize(summed.len().next_multiple_of(SETTINGS_STEP), 0);
    let mut entry = crc32fast::hash(&summed).to_le_bytes().to_vec();
    entry.append(&mut summed);
    Some(entry)
}
