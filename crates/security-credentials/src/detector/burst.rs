//! Many of something within a while, with as little remembered as tells it.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use security_core::Timestamp;

use super::{open::Use, table::Name};

/// Different things of one kind that are told apart; from there on they are `100 or more`. They are the most that
/// is remembered of one credential or place: some 3 kB.
pub(super) const MOST_COUNTED: usize = 100;

/// The last few uses, and which of them were reported.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Use, bool)>);

impl Recent {
    /// The uses, not reported yet, that lie in a window with at least `least` of them, this one among them. A window is
    /// shorter than its length: two uses a whole length apart lie in none together.
    pub(super) fn push(&mut self, one: Use, least: usize, window: Duration) -> Vec<Use> {
        while self.0.len() >= least {
            self.0.pop_front();
        }
        self.0.push_back((one, false));
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return Vec::new() };
        if self.0.len() < least || last.0.at.since(first.0.at) >= window {
            return Vec::new();
        }
        let fresh = self.0.iter_mut().filter(|(_, reported)| !reported);
        fresh
            .map(|(one, reported)| {
                *reported = true;
                one.clone()
            })
            .collect()
    }
}

/// The last few different things of one kind.
#[derive(Debug, Default)]
pub(super) struct Different {
    recent: Vec<Seen>,
    /// All of them since there were many, up to [`MOST_COUNTED`].
    all: HashSet<Name>,
}

#[derive(Debug)]
struct Seen {
    name: Name,
    last: Use,
    /// Uses that were not reported.
    uses: usize,
    first_at: Timestamp,
}

/// What [`Different::push`] found.
pub(super) struct Many {
    /// How many different ones, up to [`MOST_COUNTED`].
    pub(super) different: usize,
    /// The latest use of each that was not reported, with how many uses it stands for and when the first was.
    pub(super) uses: Vec<(Use, usize, Timestamp)>,
}

impl Different {
    /// A thing was met: whether `least` different ones were within the window.
    pub(super) fn push(&mut self, name: Name, one: &Use, least: usize, window: Duration) -> Option<Many> {
        match self.recent.iter_mut().find(|seen| seen.name == name) {
            Some(seen) => {
                // Uses before the window count no more.
                if one.at.since(seen.first_at) >= window {
                    (seen.uses, seen.first_at) = (0, one.at);
                }
                if seen.uses == 0 {
                    seen.first_at = one.at;
                }
                seen.uses += 1;
                seen.last = one.clone();
            }
            None => {
                if self.recent.len() >= least {
                    let oldest = (0..self.recent.len()).min_by_key(|at| self.recent[*at].last.at);
                    self.recent.swap_remove(oldest.unwrap_or(0));
                }
                self.recent.push(Seen { name, last: one.clone(), uses: 1, first_at: one.at });
            }
        }
        let oldest = self.recent.iter().map(|seen| seen.last.at).min()?;
        if self.recent.len() < least || one.at.since(oldest) >= window {
            self.all.clear();
            return None;
        }
        let names = self.recent.iter().map(|seen| seen.name);
        let room = MOST_COUNTED.saturating_sub(self.all.len());
        self.all.extend(names.take(room));
        let unreported = self.recent.iter_mut().filter(|seen| seen.uses > 0);
        let mut uses: Vec<_> = unreported
            .map(|seen| (seen.last.clone(), std::mem::take(&mut seen.uses), seen.first_at))
            .collect();
        uses.sort_by_key(|(one, _, _)| one.at);
        Some(Many { different: self.all.len().min(MOST_COUNTED), uses })
    }
}

/// How many, in words.
pub(super) fn counted(count: usize) -> String {
    if count >= MOST_COUNTED { format!("{} or more", MOST_COUNTED) } else { count.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Use {
        Use { at: Timestamp::from_seconds(second), ..Use::default() }
    }

    #[test]
    fn what_lies_in_a_window_is_given_once() {
        let mut recent = Recent::default();
        let mut push = |second| recent.push(at(second), 3, Duration::from_secs(10)).len();
        assert_eq!([0, 100, 101, 102, 103, 111, 112].map(&mut push), [0, 0, 0, 3, 1, 1, 1]);
        assert_eq!([130, 131, 140].map(&mut push), [0, 0, 0], "a whole length apart");
    }

    #[test]
    fn different_ones_within_a_window() {
        let mut different = Different::default();
        let mut push = |thing: u32, second| {
            let many = different.push(Name::of(1, &thing), &at(second), 3, Duration::from_secs(10));
            many.map(|many| (many.different, many.uses.iter().map(|(_, uses, _)| uses).sum::<usize>()))
        };
        assert_eq!(push(1, 0), None);
        assert_eq!(push(1, 1), None);
        assert_eq!(push(2, 2), None);
        assert_eq!(push(2, 3), None);
        assert_eq!(push(3, 4), Some((3, 5)));
        assert_eq!(push(3, 5), Some((3, 1)));
        assert_eq!(push(4, 6), Some((4, 1)));
        assert_eq!(push(5, 30), None, "the others are past");
        let many: Vec<_> = (0..5000).filter_map(|thing| push(10 + thing, 40)).collect();
        assert_eq!(many.last(), Some(&(MOST_COUNTED, 1)));
        assert!(different.all.len() <= MOST_COUNTED && different.recent.len() <= 3);
        assert_eq!((counted(99), counted(100)), ("99".into(), "100 or more".into()));
    }
}
