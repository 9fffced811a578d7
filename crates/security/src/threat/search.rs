//! The search of a text in memory, a piece at a time, for faces that make something of what was found in between.
//!
//! Few finds wait at once, so that they stay in the processor's caches, and an interpreter is held only while its objects
//! are made.

use std::{
    collections::HashSet,
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
};

use security_indicators::{ExtractOptions, Indicator, extract_within, safe_cut};

use super::extraction::{Finder, FoundIoc};

/// Bytes of a text searched in one go.
const PIECE: usize = 512 << 10;

/// The search of one text; see [`Finder::search`].
#[derive(Debug)]
pub struct Search<'f, 't> {
    finder: &'f Finder,
    text: &'t str,
    piece: usize,
    /// Bytes that were searched.
    searched: usize,
    given: usize,
    seen: Option<HashSet<Indicator>>,
}

impl Finder {
    /// Searches a text piece by piece; the finds of all pieces are those of [`Finder::find`].
    pub fn search<'f, 't>(&'f self, text: &'t str) -> Search<'f, 't> {
        let seen = self.options.dedupe.then(HashSet::new);
        Search { finder: self, text, piece: PIECE, searched: 0, given: 0, seen }
    }
}

/// Texts that a thread takes at a time.
const TOGETHER: usize = 16;

impl Finder {
    /// The indicators in each of many texts, on all cores: for each text what [`Finder::find`] gives.
    pub fn find_many<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Vec<Vec<FoundIoc>> {
        let portions: Vec<&[T]> = texts.chunks(TOGETHER).collect();
        let find = |texts: &&[T]| texts.iter().map(|text| self.find(text.as_ref())).collect::<Vec<_>>();
        on_all_cores(&portions, find).into_iter().flatten().collect()
    }
}

/// Does something with each item, on all cores; the results are in the items' order. A thread that is done with one item
/// takes the next, so that a large one holds up nobody.
pub fn on_all_cores<I: Sync, R: Send>(items: &[I], work: impl Fn(&I) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match items.get(index) {
                Some(item) => done.push((index, work(item))),
                None => return done,
            }
        }
    };
    let mut results = if items.len() < 2 || cores == 1 {
        take()
    } else {
        std::thread::scope(|scope| {
            let started: Vec<_> = (1..cores.min(items.len())).map(|_| scope.spawn(take)).collect();
            let mut results = take();
            for thread in started {
                match thread.join() {
                    Ok(done) => results.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            results
        })
    };
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

impl Search<'_, '_> {
    /// Searches until something is found, and puts it in place of what is in `found`; nothing is there at the end only.
    pub fn next_into(&mut self, found: &mut Vec<FoundIoc>) {
        found.clear();
        let limit = self.finder.limit;
        while found.is_empty() && self.searched < self.text.len() && self.given < limit {
            let end = self.piece_end();
            // Where nothing found is left out the pass itself ends at the limit.
            let each_counts = self.seen.is_none() && !self.finder.judge.asks();
            let max_hits = if each_counts { limit - self.given } else { usize::MAX };
            let options = ExtractOptions { dedupe: false, max_hits, ..self.finder.options.clone() };
            let (finder, seen, given) = (self.finder, &mut self.seen, &mut self.given);
            extract_within(self.text, self.searched..end, &options, &mut |one| {
                if *given >= limit || seen.as_mut().is_some_and(|seen| !seen.insert(one.indicator.clone())) {
                    return;
                }
                if let Some(warnings) = finder.judge.judge(&one.indicator) {
                    *given += 1;
                    found.push(FoundIoc { found: one, warnings });
                }
            });
            self.searched = end;
        }
    }

    /// Where the next piece ends: at a place where nothing is cut, looked for in ever longer pieces, so that a text
    /// without such places is not gone through again and again.
    fn piece_end(&self) -> usize {
        let mut size = self.piece;
        loop {
            let left = self.text.len() - self.searched;
            if left <= size.saturating_mul(2) {
                return self.text.len();
            }
            let end = self.text.floor_char_boundary(self.searched + size);
            if let Some(cut) = safe_cut(&self.text[..end], self.searched) {
                return cut;
            }
            size *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_pieces(finder: &Finder, text: &str, piece: usize) -> Vec<FoundIoc> {
        let mut search = Search { piece, ..finder.search(text) };
        let (mut found, mut all) = (Vec::new(), Vec::new());
        loop {
            search.next_into(&mut found);
            if found.is_empty() {
                return all;
            }
            all.append(&mut found);
        }
    }

    fn line() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "beacon to evil[.]example[.]com\n",
            "imphash:\n",
            "0a1b2c3d4e5f60718293a4b5c6d7e8f9\n",
            "před «http://bücher.example.com/ü» a 2001:db8::1\n",
            "=====================================================http://evil.example.com/a/b/c/\n",
            "index.php?id=1\n",
            "no line break here ",
            "\u{1f992}",
            "https://evil.example.com/a-",
            "version 1.2.3.4",
        ])
    }

    #[test]
    fn many_texts_are_each_found_as_alone() {
        let texts: Vec<String> = (0..200)
            .map(|n| format!("{} 192.0.2.{n} and c{n}[.]example[.]com ", "log ".repeat(n * 7 % 90)))
            .collect();
        for limit in [None, Some(1), Some(0)] {
            let finder = Finder::new(None, true, limit).unwrap();
            let each: Vec<_> = texts.iter().map(|text| finder.find(text)).collect();
            assert_eq!(finder.find_many(&texts), each);
        }
        assert!(Finder::new(None, false, None).unwrap().find_many::<&str>(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_piece_gives_the_finds_of_the_whole(
            lines in prop::collection::vec(line(), 0..120),
            piece in 1usize..700,
            dedupe: bool,
            limit in prop::option::of(0usize..40),
        ) {
            let text = lines.concat();
            let finder = Finder::new(None, dedupe, limit).unwrap();
            prop_assert_eq!(in_pieces(&finder, &text, piece), finder.find(&text));
        }
    }
}
