//! An index file and what changed since it was made.

use std::hint::black_box;

use hashbrown::HashSet;
use smallvec::SmallVec;

use super::{
    Hits, IndexFile, MatchIndex, MatchType,
    file::SiteProbe,
    probes::{Probes, Probing},
    walk::{self, Levels, Listing},
};
use crate::{Checked, Indicator, IocType, url};

/// Values whose buckets are asked for at once.
const TOGETHER: usize = 32;

/// A look-up met a part of the index file that is not as it was written. The answer is unknown: the index is to be
/// filled from the store again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the match index is damaged")]
pub struct IndexDamaged;

/// A file, if there is one, with the rows that came and went since: it answers as a [`MatchIndex`] that was told
/// everything.
///
/// A hit out of the file rests on 56 bits of a hash and its place. Whoever reads the row's record compares
/// ([`Hit::is_true`](super::Hit::is_true)) before taking it for a match. A value must have the same row all the time.
#[derive(Debug)]
pub struct LayeredIndex<B> {
    file: Option<IndexFile<B>>,
    added: MatchIndex,
    removed: HashSet<i64, foldhash::fast::RandomState>,
}

impl<B> Default for LayeredIndex<B> {
    fn default() -> Self {
        Self { file: None, added: MatchIndex::new(), removed: HashSet::default() }
    }
}

impl<B: AsRef<[u8]>> LayeredIndex<B> {
    /// A file as it is; what changed since its revision is to be told.
    pub fn over(file: IndexFile<B>) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    /// The file.
    pub fn file(&self) -> Option<&IndexFile<B>> {
        self.file.as_ref()
    }

    /// Lists an indicator under a row; listing it again changes nothing.
    pub fn insert(&mut self, indicator: &Indicator, row: i64) {
        if self.file.as_ref().is_some_and(|file| file.holds(indicator, row)) {
            self.removed.remove(&row);
        } else {
            self.added.insert(indicator, row);
        }
    }

    /// Takes an indicator's row off the list; what is not listed is no error.
    pub fn remove(&mut self, indicator: &Indicator, row: i64) {
        if self.file.as_ref().is_some_and(|file| file.holds(indicator, row)) {
            self.removed.insert(row);
        } else {
            self.added.remove(indicator, row);
        }
    }

    /// The listed rows a value meets, as [`MatchIndex::matches`] gives them.
    ///
    /// # Errors
    /// [`IndexDamaged`]: the file's bytes are not those that were written.
    pub fn matches(&self, checked: &Indicator) -> Result<Hits, IndexDamaged> {
        let (kind, value) = (checked.kind(), checked.value());
        let Some(file) = &self.file else { return Ok(self.added.matches(checked)) };
        let mut hits = Hits::new();
        if self.changed() == 0 {
            // Most of the time nothing changed since the file was made.
            let mut probes = Probes::default();
            walk::matches(&Probing { file, site: None }, kind, value, &mut probes);
            probes.touch(file);
            probes.answer(file, 0..probes.len(), &mut hits);
        } else {
            walk::matches(&Both { file, index: self }, kind, value, &mut hits);
        }
        if file.is_damaged() { Err(IndexDamaged) } else { Ok(hits) }
    }

    /// [`LayeredIndex::matches`] for many values: `met` hears of those that are met, by their place, in their order.
    /// The memory that several of them need is asked for at once, so it is waited for once.
    ///
    /// # Errors
    /// As [`LayeredIndex::matches`]; what `met` heard before counts for nothing then.
    pub fn matches_each(
        &self,
        checked: &[Checked<'_>],
        mut met: impl FnMut(usize, Hits),
    ) -> Result<(), IndexDamaged> {
        let Some(file) = &self.file else {
            for (at, one) in checked.iter().enumerate() {
                let hits = self.added.matches_value(one.kind(), one.value());
                if !hits.is_empty() {
                    met(at, hits);
                }
            }
            return Ok(());
        };
        let mut probes = Probes::default();
        let mut ends: SmallVec<[usize; TOGETHER]> = SmallVec::new();
        for (number, some) in checked.chunks(TOGETHER).enumerate() {
            probes.clear();
            ends.clear();
            let sites = sites_of(file, some);
            for (at, one) in some.iter().enumerate() {
                let site = sites.get(at).copied().flatten();
                walk::matches(&Probing { file, site }, one.kind(), one.value(), &mut probes);
                ends.push(probes.len());
            }
            probes.touch(file);
            let mut from = 0;
            for (at, (one, end)) in some.iter().zip(&ends).enumerate() {
                let mut hits = Hits::new();
                probes.answer(file, from..*end, &mut hits);
                from = *end;
                let is_new =
                    !self.added.is_empty() && !self.added.matches_value(one.kind(), one.value()).is_empty();
                if is_new || (!hits.is_empty() && !self.removed.is_empty()) {
                    // In the order of the steps, whichever layer has it.
                    hits.clear();
                    walk::matches(&Both { file, index: self }, one.kind(), one.value(), &mut hits);
                }
                if !hits.is_empty() {
                    met(number * TOGETHER + at, hits);
                }
            }
        }
        if file.is_damaged() { Err(IndexDamaged) } else { Ok(()) }
    }

    /// How many rows are listed.
    pub fn len(&self) -> u64 {
        let file = self.file.as_ref().map_or(0, IndexFile::len);
        file.saturating_add(self.added.len() as u64).saturating_sub(self.removed.len() as u64)
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows changed since the file was made.
    pub fn changed(&self) -> u64 {
        (self.added.len() + self.removed.len()) as u64
    }
}

/// Where the sites of URLs would be noted, asked for together; of nothing else, and not of URLs with a user, which are
/// looked up by two sites.
fn sites_of<B: AsRef<[u8]>>(
    file: &IndexFile<B>,
    checked: &[Checked<'_>],
) -> SmallVec<[Option<SiteProbe>; TOGETHER]> {
    let mut sites = SmallVec::new();
    if !file.lists(IocType::Url) || checked.iter().all(|one| one.kind() != IocType::Url) {
        return sites;
    }
    sites.extend(checked.iter().map(|one| {
        let value = Some(one.value()).filter(|_| one.kind() == IocType::Url)?;
        let site = &value[..url::site_end(value)];
        (!site.contains('@')).then(|| file.site_probe(site))
    }));
    black_box(sites.iter().flatten().fold(0_u8, |all, probe| all ^ file.touch_site(probe)));
    sites
}

/// Both layers, probed one after the other at each step, so that hits stay in their order.
struct Both<'a, B> {
    file: &'a IndexFile<B>,
    index: &'a LayeredIndex<B>,
}

impl<B: AsRef<[u8]>> Both<'_, B> {
    fn push(
        &self,
        hits: &mut Hits,
        in_file: impl FnOnce(&IndexFile<B>, &mut Hits),
        in_memory: impl FnOnce(&MatchIndex, &mut Hits),
    ) {
        let first = hits.len();
        in_file(self.file, hits);
        if hits.len() > first && !self.index.removed.is_empty() {
            let mut at = 0;
            hits.retain(|hit| {
                at += 1;
                at <= first || !self.index.removed.contains(&hit.row)
            });
        }
        in_memory(&self.index.added, hits);
    }
}

impl<B: AsRef<[u8]>> Listing for Both<'_, B> {
    type Sink = Hits;

    fn lists(&self, kind: IocType) -> bool {
        self.file.lists(kind) || self.index.added.lists(kind)
    }

    fn longest_url(&self) -> usize {
        self.file.longest_url().max(self.index.added.longest_url())
    }

    fn may_list_site(&self, site: &str) -> bool {
        self.file.may_list_site(site) || self.index.added.may_list_site(site)
    }

    fn levels_v4(&self, key: u32) -> Levels {
        self.file.levels_v4(key).or(self.index.added.levels_v4(key))
    }

    fn levels_v6(&self, key: u128) -> Levels {
        self.file.levels_v6(key).or(self.index.added.levels_v6(key))
    }

    fn push_text(&self, kind: IocType, value: &str, how: MatchType, hits: &mut Hits) {
        self.push(
            hits,
            |file, hits| file.push_text(kind, value, how, hits),
            |memory, hits| memory.push_text(kind, value, how, hits),
        );
    }

    fn push_v4(&self, level: u8, key: u32, how: MatchType, hits: &mut Hits) {
        self.push(
            hits,
            |file, hits| file.push_v4(level, key, how, hits),
            |memory, hits| memory.push_v4(level, key, how, hits),
        );
    }

    fn push_v6(&self, level: u8, key: u128, how: MatchType, hits: &mut Hits) {
        self.push(
            hits,
            |file, hits| file.push_v6(level, key, how, hits),
            |memory, hits| memory.push_v6(level, key, how, hits),
        );
    }
}
