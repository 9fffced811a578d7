//! The index file as bytes: its header, and look-ups in it. Never changed after it was made.
//!
//! ```text
//! 0     magic "SECMATCH", version, check sum of the header, length of the file     (8 bytes each)
//! 32    id (16), hash key (16), store revision, entries, longest URL, sections     (8 each)
//! 96    lengths of listed IPv4 networks (24), of IPv6 networks (24)
//! 160   sections of 64 bytes: name (24), offset, home buckets, buckets, entries    (8 each)
//! 4096  blocks that IPv4 networks lie in (8192 bytes), blocks that IPv6 networks lie in (8192)
//! 20480 the sections' tables, one after another
//! ```
//!
//! Numbers are little-endian. A section is a kind that is compared as text, the addresses and networks of one family, or
//! the filter of the sites of listed URLs.
//! The header is checked with the blocks when the file is opened, each bucket when it is read: opening costs the same
//! whatever the size, and a damaged page is found before it answers.

use std::{
    fmt, str,
    sync::atomic::{AtomicBool, Ordering},
};

use serde::Serialize;

use super::{
    Hit, Hits, MatchType, Place,
    around::{self, Around},
    sites,
    table::{self, BUCKET, Bucket},
    walk::{Levels, Listing},
};
use crate::{Indicator, IocType};

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"SECMATCH");
/// Raised whenever the layout, the hash or a canonical form changes: other versions are not read but made anew.
pub(super) const VERSION: u64 = 3;
pub(super) const BLOCKS_V4: usize = 4096;
pub(super) const BLOCKS_V6: usize = BLOCKS_V4 + around::BYTES;
/// Everything before the tables.
pub(super) const HEADER: usize = BLOCKS_V6 + around::BYTES;
pub(super) const FIRST_SECTION: usize = 160;
pub(super) const SECTION: usize = 64;
pub(super) const NAME: usize = 24;

/// The section of IPv4 and the one after it; kinds compared as text have their own numbers.
pub(super) const V4: usize = IocType::ALL.len();
pub(super) const V6: usize = V4 + 1;
/// The filter of the sites of listed URLs, which is no table.
pub(super) const SITES: usize = V6 + 1;
pub(super) const SECTIONS: usize = SITES + 1;

/// A section's name in the file.
pub(super) fn section_name(section: usize) -> &'static str {
    match section {
        V4 => "ipv4",
        V6 => "ipv6",
        SITES => "sites of urls",
        _ => IocType::ALL.get(section).map_or("", |kind| kind.as_str()),
    }
}

/// The check sum that stands in a header.
pub(super) fn header_check(header: &[u8]) -> u64 {
    let (before, after) = (&header[..16], &header[24..]);
    table::hash((MAGIC, table::hash((MAGIC, VERSION), before)), after)
}

/// Which file this is; drawn anew for each. The store names the one that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexId(pub [u8; 16]);

/// 32 hex digits.
impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl str::FromStr for IndexId {
    type Err = IndexFileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits =
            Some(text).filter(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.and_then(|text| u128::from_str_radix(text, 16).ok());
        digits.map(|number| Self(number.to_be_bytes())).ok_or(IndexFileError::Damaged("its id is none"))
    }
}

/// Why bytes are no index that can be used. It is made anew then; nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexFileError {
    /// They are not what was written.
    #[error("the match index is damaged: {0}")]
    Damaged(&'static str),
    /// Another version of this software made them.
    #[error("the match index has layout {0}, this version reads layout {VERSION}")]
    OtherVersion(u64),
}

/// What a section takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SectionSize {
    /// The kind, `ipv4` and `ipv6` for addresses and networks, or `sites of urls` for the filter of those.
    pub name: &'static str,
    /// Indicators in it, or sites.
    pub entries: u64,
    /// Bytes of its table.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Section {
    start: usize,
    homes: u64,
    buckets: u64,
    entries: u64,
}

/// A look into a section: the hash, and the bucket in which it belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    hash: u64,
    at: u64,
    section: usize,
    match_type: MatchType,
}

/// Where a site of URLs was noted, if it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiteProbe {
    hash: u64,
    at: u64,
}

/// An index file, checked and ready to be asked. `B` is whatever holds the bytes: a mapping, a vector.
pub struct IndexFile<B> {
    bytes: B,
    id: IndexId,
    revision: u64,
    entries: u64,
    key: (u64, u64),
    longest_url: usize,
    v4: Levels,
    v6: Levels,
    around_v4: Around,
    around_v6: Around,
    sections: [Section; SECTIONS],
    /// Set by a look-up that met a bucket that is not as it was written.
    damaged: AtomicBool,
}

impl<B: AsRef<[u8]>> IndexFile<B> {
    /// Checks the header.
    ///
    /// # Errors
    /// [`IndexFileError`]: the bytes are cut short, damaged, no index at all, or of another version.
    pub fn parse(bytes: B) -> Result<Self, IndexFileError> {
        let whole = bytes.as_ref();
        let header = whole.get(..HEADER).ok_or(IndexFileError::Damaged("it is cut short"))?;
        let number = |at| table::word(header, at);
        if number(0) != MAGIC {
            return Err(IndexFileError::Damaged("it does not begin as one"));
        }
        if number(8) != VERSION {
            return Err(IndexFileError::OtherVersion(number(8)));
        }
        if number(16) != header_check(header) {
            return Err(IndexFileError::Damaged("its header is not as it was written"));
        }
        if number(24) != whole.len() as u64 {
            return Err(IndexFileError::Damaged("its length is not as it was written"));
        }
        let mut id = [0; 16];
        id.copy_from_slice(&header[32..48]);
        let mut sections = [Section::default(); SECTIONS];
        let count = usize::try_from(number(88)).unwrap_or(usize::MAX);
        for (name, section) in header[FIRST_SECTION..BLOCKS_V4]
            .chunks_exact(SECTION)
            .take(count)
            .map(|part| (&part[..NAME], read_section(part, whole.len())))
        {
            let section = section.ok_or(IndexFileError::Damaged("a section lies outside of it"))?;
            let name = str::from_utf8(name).unwrap_or_default().trim_end_matches('\0');
            // One that this version does not know holds a kind that nobody can ask for here.
            if let Some(at) = (0..SECTIONS).find(|at| section_name(*at) == name) {
                sections[at] = section;
            }
        }
        let levels = |at| Levels(std::array::from_fn(|word| number(at + 8 * word)));
        Ok(Self {
            id: IndexId(id),
            key: (number(48), number(56)),
            revision: number(64),
            entries: number(72),
            longest_url: usize::try_from(number(80)).unwrap_or(usize::MAX),
            v4: levels(96),
            v6: levels(120),
            around_v4: Around::of_bytes(&header[BLOCKS_V4..BLOCKS_V6]),
            around_v6: Around::of_bytes(&header[BLOCKS_V6..HEADER]),
            sections,
            damaged: AtomicBool::new(false),
            bytes,
        })
    }

    /// Which file it is.
    pub fn id(&self) -> IndexId {
        self.id
    }

    /// The store's revision that it holds at least everything of.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many rows are listed.
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// What its sections take, those without entries left out.
    pub fn sizes(&self) -> Vec<SectionSize> {
        let listed = self.sections.iter().enumerate().filter(|(_, section)| section.entries > 0);
        let sizes = listed.map(|(at, section)| SectionSize {
            name: section_name(at),
            entries: section.entries,
            bytes: section.buckets * BUCKET as u64,
        });
        sizes.collect()
    }

    /// Reads it through.
    ///
    /// # Errors
    /// [`IndexFileError::Damaged`] when a bucket is not as it was written.
    pub fn verify(&self) -> Result<(), IndexFileError> {
        for (number, section) in self.sections.iter().enumerate() {
            for at in 0..section.buckets {
                if !self.bucket(section, at).is_some_and(|bucket| bucket.is_whole(number as u64, at)) {
                    return Err(IndexFileError::Damaged("a bucket is not as it was written"));
                }
            }
        }
        Ok(())
    }

    /// Whether a look-up met damage: the answers since then may lack hits.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Whether an indicator is listed under a row.
    pub(super) fn holds(&self, indicator: &Indicator, row: i64) -> bool {
        let mut hits = Hits::new();
        match Place::of(indicator) {
            Place::V4(level, key) => self.push_v4(level, key, MatchType::Exact, &mut hits),
            Place::V6(level, key) => self.push_v6(level, key, MatchType::Exact, &mut hits),
            Place::Text(kind, value) => self.push_text(kind, value, MatchType::Exact, &mut hits),
        }
        hits.iter().any(|hit| hit.row == row)
    }

    fn push(&self, number: usize, key: &[u8], match_type: MatchType, hits: &mut Hits) {
        if let Some(probe) = self.probe(number, key, match_type) {
            self.answer(&probe, hits);
        }
    }

    /// Where a key would stand; `None` when nothing of its section is listed.
    #[inline]
    pub(super) fn probe(&self, number: usize, key: &[u8], match_type: MatchType) -> Option<Probe> {
        let section = self.sections.get(number).filter(|section| section.entries > 0)?;
        let hash = table::hash(self.key, key);
        Some(Probe { hash, at: table::home(hash, section.homes), section: number, match_type })
    }

    /// A byte of the bucket that a probe begins with, which brings it near.
    #[inline]
    pub(super) fn touch(&self, probe: &Probe) -> u8 {
        let start = self.sections.get(probe.section).map_or(0, |section| section.start);
        self.bytes.as_ref().get(start + probe.at as usize * BUCKET).copied().unwrap_or_default()
    }

    /// Adds the rows of a probe.
    pub(super) fn answer(&self, probe: &Probe, hits: &mut Hits) {
        let Some(section) = self.sections.get(probe.section) else { return };
        let mut at = probe.at;
        loop {
            let bucket = self.bucket(section, at).filter(|bucket| bucket.is_whole(probe.section as u64, at));
            let Some(bucket) = bucket else {
                self.damaged.store(true, Ordering::Relaxed);
                return;
            };
            if bucket.find(probe.hash, |row| hits.push(Hit { row, match_type: probe.match_type })) {
                return;
            }
            at += 1;
        }
    }

    /// Where a site would be noted.
    #[inline]
    pub(super) fn site_probe(&self, site: &str) -> SiteProbe {
        let hash = sites::hash(self.key, site);
        SiteProbe { hash, at: table::home(hash, self.sections[SITES].homes) }
    }

    /// A byte of the block that a site would be noted in, which brings it near.
    #[inline]
    pub(super) fn touch_site(&self, probe: &SiteProbe) -> u8 {
        let start = self.sections[SITES].start + probe.at as usize * BUCKET;
        self.bytes.as_ref().get(start).copied().unwrap_or_default()
    }

    /// Whether a URL of that site may be listed.
    #[inline]
    pub(super) fn has_site(&self, probe: &SiteProbe) -> bool {
        let section = &self.sections[SITES];
        if section.entries == 0 {
            return false;
        }
        match self.bucket(section, probe.at).filter(|block| block.is_whole(SITES as u64, probe.at)) {
            Some(block) => sites::has(block.0, probe.hash),
            None => {
                self.damaged.store(true, Ordering::Relaxed);
                true
            }
        }
    }

    fn bucket(&self, section: &Section, at: u64) -> Option<Bucket<'_>> {
        if at >= section.buckets {
            return None;
        }
        let start = section.start + usize::try_from(at).ok()? * BUCKET;
        self.bytes.as_ref().get(start..start + BUCKET)?.try_into().ok().map(Bucket)
    }
}

impl<B: AsRef<[u8]>> Listing for IndexFile<B> {
    type Sink = Hits;

    fn lists(&self, kind: IocType) -> bool {
        self.sections.get(kind as usize).is_some_and(|section| section.entries > 0)
    }

    fn longest_url(&self) -> usize {
        self.longest_url
    }

    fn may_list_site(&self, site: &str) -> bool {
        self.lists(IocType::Url) && self.has_site(&self.site_probe(site))
    }

    fn levels_v4(&self, key: u32) -> Levels {
        if self.around_v4.has_v4(key) { self.v4 } else { self.v4.without_networks() }
    }

    fn levels_v6(&self, key: u128) -> Levels {
        if self.around_v6.has_v6(key) { self.v6 } else { self.v6.without_networks() }
    }

    fn push_text(&self, kind: IocType, value: &str, match_type: MatchType, hits: &mut Hits) {
        self.push(kind as usize, value.as_bytes(), match_type, hits);
    }

    fn push_v4(&self, level: u8, key: u32, match_type: MatchType, hits: &mut Hits) {
        self.push(V4, &v4_key(level, key), match_type, hits);
    }

    fn push_v6(&self, level: u8, key: u128, match_type: MatchType, hits: &mut Hits) {
        self.push(V6, &v6_key(level, key), match_type, hits);
    }
}

impl<B> fmt::Debug for IndexFile<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexFile")
            .field("id", &format_args!("{}", self.id))
            .field("revision", &self.revision)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// What is hashed of an IPv4 address or network.
pub(super) fn v4_key(level: u8, key: u32) -> [u8; 5] {
    let [a, b, c, d] = key.to_be_bytes();
    [a, b, c, d, level]
}

/// What is hashed of an IPv6 address or network.
pub(super) fn v6_key(level: u8, key: u128) -> [u8; 17] {
    let mut bytes = [level; 17];
    bytes[..16].copy_from_slice(&key.to_be_bytes());
    bytes
}

fn read_section(part: &[u8], length: usize) -> Option<Section> {
    let number = |n: usize| table::word(part, NAME + 8 * n);
    let (start, homes, buckets, entries) =
        (usize::try_from(number(0)).ok()?, number(1), number(2), number(3));
    let bytes = usize::try_from(buckets).ok()?.checked_mul(BUCKET)?;
    let fits = start >= HEADER && start.checked_add(bytes)? <= length && (1..=buckets).contains(&homes);
    fits.then_some(Section { start, homes, buckets, entries })
}
