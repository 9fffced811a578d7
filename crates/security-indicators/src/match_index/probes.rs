//! Probes of an index file, thought of first and made together: a file of millions is in no cache of a processor, so each
//! probe waits for memory, and those that are asked for together wait together.

use std::{hint::black_box, ops::Range};

use smallvec::SmallVec;

use super::{
    Hits, IndexFile, MatchType,
    file::{Probe, SiteProbe, V4, V6, v4_key, v6_key},
    walk::{Levels, Listing},
};
use crate::IocType;

/// What is to be looked at, in the order of the steps.
#[derive(Default)]
pub(super) struct Probes(SmallVec<[Probe; 16]>);

impl Probes {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Asks for all of their buckets. A lone one is waited for in any case.
    pub(super) fn touch<B: AsRef<[u8]>>(&self, file: &IndexFile<B>) {
        if self.0.len() > 1 {
            black_box(self.0.iter().fold(0_u8, |all, probe| all ^ file.touch(probe)));
        }
    }

    /// Adds the rows of some of them.
    pub(super) fn answer<B: AsRef<[u8]>>(&self, file: &IndexFile<B>, some: Range<usize>, hits: &mut Hits) {
        for probe in &self.0[some] {
            file.answer(probe, hits);
        }
    }

    fn add(&mut self, probe: Option<Probe>) {
        self.0.extend(probe);
    }
}

/// A file whose probes are noted instead of made.
pub(super) struct Probing<'f, B> {
    pub(super) file: &'f IndexFile<B>,
    /// Where the site of the one URL that is looked up would be noted, if that is known.
    pub(super) site: Option<SiteProbe>,
}

impl<B: AsRef<[u8]>> Listing for Probing<'_, B> {
    type Sink = Probes;

    fn lists(&self, kind: IocType) -> bool {
        self.file.lists(kind)
    }

    fn longest_url(&self) -> usize {
        self.file.longest_url()
    }

    fn may_list_site(&self, site: &str) -> bool {
        match &self.site {
            Some(probe) => self.file.has_site(probe),
            None => self.file.may_list_site(site),
        }
    }

    fn levels_v4(&self, key: u32) -> Levels {
        self.file.levels_v4(key)
    }

    fn levels_v6(&self, key: u128) -> Levels {
        self.file.levels_v6(key)
    }

    fn push_text(&self, kind: IocType, value: &str, match_type: MatchType, probes: &mut Probes) {
        probes.add(self.file.probe(kind as usize, value.as_bytes(), match_type));
    }

    fn push_v4(&self, level: u8, key: u32, match_type: MatchType, probes: &mut Probes) {
        probes.add(self.file.probe(V4, &v4_key(level, key), match_type));
    }

    fn push_v6(&self, level: u8, key: u128, match_type: MatchType, probes: &mut Probes) {
        probes.add(self.file.probe(V6, &v6_key(level, key), match_type));
    }
}
