//! The protocol by which a change in one process becomes known to all: pure steps over one 64-bit word.
//!
//! # The word
//! Even: settled, and everything committed so far was committed before the word became what it is. Odd: a
//! change is being committed, or its writer was killed while it was. The word only grows.
//!
//! # Writers
//! Under the store's write lock: [`begun`], commit, [`finished`]. Each step is one compare-and-set.
//!
//! Stores release their write lock *with* the commit (SQLite does), so a second writer may begin before the
//! first has finished. `finished` therefore settles the word only if it is still what the same writer's
//! `begun` made of it; a word that another writer has begun upon stays odd until that one finishes. Were it
//! settled, a reader could keep what it read before the second commit, and should the second writer be killed
//! right after its commit, nothing would ever tell the reader.
//!
//! # Readers
//! Load the word *first*. If it is settled and equals the one the cache was filled at, the cache is right.
//! Else read the store; keep the answer only if the word loaded before reading was settled, and keep it under
//! that word.
//!
//! # Why a kill at any instruction leaves nobody with an old answer
//! | the writer dies | committed | word | readers |
//! | --- | --- | --- | --- |
//! | before `begun` | no | even, unchanged | caches are right |
//! | after `begun`, before the commit | no | odd | read the store at each call: right, only slower |
//! | after the commit, before `finished` | yes | odd | read the store at each call: right, only slower |
//! | after `finished` | yes | even, larger | no cache was filled at it: read the store once |
//!
//! The next writer's `finished`, or [`settled`] under the write lock, ends the slow state. The tests try every
//! interleaving of two writers, a repairer and a reader with a kill at every step.

/// What the word of one domain was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub(crate) u64);

impl Epoch {
    /// Whether no change is being committed: what a reader reads from the store *after* it loaded a settled
    /// epoch may be kept until the epoch differs.
    pub fn is_settled(self) -> bool {
        self.0.is_multiple_of(2)
    }

    /// The word as a number, for people and logs. It means something only while at least one process has the
    /// page mapped: never write it down to compare with later.
    pub fn value(self) -> u64 {
        self.0
    }
}

/// The word once a change is about to be committed: odd, and larger than it was, also when it was odd already
/// because a writer was killed or has not finished.
pub(crate) fn begun(word: u64) -> u64 {
    if word.is_multiple_of(2) { word + 1 } else { word + 2 }
}

/// The word once the writer whose [`begun`] gave `ticket` has committed or given up.
///
/// A settled word that is not ours means that another writer finished in between without knowing of us, which
/// takes a writer without the lock: going on to the next settled word makes every reader look again.
pub(crate) fn finished(word: u64, ticket: Option<u64>) -> u64 {
    if word.is_multiple_of(2) {
        word + 2
    } else if ticket == Some(word) {
        word + 1
    } else {
        word
    }
}

/// The word once somebody who holds the write lock found it odd: its writer is dead or past its commit.
pub(crate) fn settled(word: u64) -> u64 {
    if word.is_multiple_of(2) { word } else { word + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// How `finished` treats the word; the second kind is the mistake the protocol exists to avoid.
    #[derive(Clone, Copy, PartialEq)]
    enum Finish {
        ByTicket,
        AnyOdd,
    }

    /// When the store lets go of its write lock.
    #[derive(Clone, Copy, PartialEq)]
    enum Lock {
        HeldUntilFinished,
        ReleasedByCommit,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Step {
        Start,
        Locked,
        Begun(u64),
        Committed(u64),
        Done,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Reading {
        Idle,
        Loaded { word: u64, at_start: u8 },
    }

    /// The whole world: a store that counts its commits, the word, and everybody's place in their program.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct World {
        word: u64,
        commits: u8,
        locked_by: Option<usize>,
        writers: [Step; 2],
        repairer: Step,
        reader: Reading,
        cache: Option<(u64, u8)>,
        calls_left: u8,
    }

    const REPAIRER: usize = 9;

    impl World {
        fn new(stale_odd: bool) -> Self {
            Self {
                word: if stale_odd { 5 } else { 4 },
                commits: 0,
                locked_by: None,
                writers: [Step::Start; 2],
                repairer: Step::Start,
                reader: Reading::Idle,
                cache: if stale_odd { None } else { Some((4, 0)) },
                calls_left: 3,
            }
        }

        /// Every world one step away; `Err` when a reader answers with less than was committed when it asked.
        fn next(&self, finish: Finish, lock: Lock) -> Result<Vec<Self>, &'static str> {
            let mut worlds = Vec::new();
            for writer in 0..2 {
                let mut world = self.clone();
                world.writers[writer] = match self.writers[writer] {
                    Step::Start if self.locked_by.is_none() => {
                        world.locked_by = Some(writer);
                        Step::Locked
                    }
                    Step::Locked => {
                        world.word = begun(self.word);
                        Step::Begun(world.word)
                    }
                    Step::Begun(ticket) => {
                        world.commits += 1;
                        if lock == Lock::ReleasedByCommit {
                            world.locked_by = None;
                        }
                        Step::Committed(ticket)
                    }
                    Step::Committed(ticket) => {
                        world.word = match finish {
                            Finish::ByTicket => finished(self.word, Some(ticket)),
                            Finish::AnyOdd => finished(self.word, Some(self.word)),
                        };
                        if world.locked_by == Some(writer) {
                            world.locked_by = None;
                        }
                        Step::Done
                    }
                    Step::Start | Step::Done => continue,
                };
                worlds.push(world.clone());
                // The writer may also die after (or, at Start, before) this step; the kernel takes its lock.
                if world.locked_by == Some(writer) {
                    world.locked_by = None;
                }
                world.writers[writer] = Step::Done;
                worlds.push(world);
                if let Step::Begun(ticket) = self.writers[writer] {
                    // Or the commit fails and the writer gives up.
                    let mut world = self.clone();
                    if lock == Lock::ReleasedByCommit {
                        world.locked_by = None;
                    }
                    world.writers[writer] = Step::Committed(ticket);
                    worlds.push(world);
                }
            }
            let mut world = self.clone();
            match self.repairer {
                Step::Start if self.locked_by.is_none() => {
                    world.locked_by = Some(REPAIRER);
                    world.repairer = Step::Locked;
                    worlds.push(world);
                }
                Step::Locked => {
                    world.word = settled(self.word);
                    world.locked_by = None;
                    world.repairer = Step::Done;
                    worlds.push(world);
                }
                _ => {}
            }
            let mut world = self.clone();
            match self.reader {
                Reading::Idle if self.calls_left > 0 => {
                    world.calls_left -= 1;
                    world.reader = Reading::Loaded { word: self.word, at_start: self.commits };
                    worlds.push(world);
                }
                Reading::Idle => {}
                Reading::Loaded { word, at_start } => {
                    let answer = match self.cache {
                        Some((filled_at, answer)) if Epoch(word).is_settled() && filled_at == word => answer,
                        _ => {
                            if Epoch(word).is_settled() {
                                world.cache = Some((word, self.commits));
                            }
                            self.commits
                        }
                    };
                    if answer < at_start {
                        return Err("a reader kept an old answer");
                    }
                    world.reader = Reading::Idle;
                    worlds.push(world);
                }
            }
            if worlds.iter().any(|world| world.word < self.word) {
                return Err("the word went backwards");
            }
            Ok(worlds)
        }
    }

    /// Visits every reachable world; gives their number.
    fn explore(finish: Finish, lock: Lock, stale_odd: bool) -> Result<usize, &'static str> {
        let mut seen = HashSet::from([World::new(stale_odd)]);
        let mut open: Vec<World> = seen.iter().cloned().collect();
        while let Some(world) = open.pop() {
            for next in world.next(finish, lock)? {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        Ok(seen.len())
    }

    #[test]
    fn no_interleaving_and_no_kill_leaves_an_old_answer() {
        for lock in [Lock::HeldUntilFinished, Lock::ReleasedByCommit] {
            for stale_odd in [false, true] {
                let worlds = explore(Finish::ByTicket, lock, stale_odd).unwrap();
                assert!(worlds > 500, "only {worlds} worlds were reached");
            }
        }
    }

    #[test]
    fn the_exploration_finds_the_mistake_that_tickets_avoid() {
        let found = explore(Finish::AnyOdd, Lock::ReleasedByCommit, false);
        assert_eq!(found, Err("a reader kept an old answer"));
    }

    #[test]
    fn a_writer_without_the_lock_still_makes_readers_look_again() {
        let first = begun(0);
        let second = begun(first);
        let word = finished(second, Some(second));
        assert!(Epoch(word).is_settled());
        // The first commits only now, unseen by those who filled their cache at `word`.
        let after = finished(word, Some(first));
        assert!(Epoch(after).is_settled() && after > word);
    }

    #[test]
    fn a_finish_without_a_begin_settles_nobody_elses_change() {
        assert_eq!(finished(7, None), 7);
        assert_eq!(finished(8, None), 10);
    }
}
