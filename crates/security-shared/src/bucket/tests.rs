//! The bucket's protocol under a scheduler that decides at every access to memory who goes on, and who dies.
//!
//! Threads of one schedule run strictly one access at a time, in an order drawn from a seed: a failure can be
//! repeated by its seed. After every access the whole bucket is checked.

use std::{
    cell::Cell as Slot,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Condvar, Mutex},
};

use super::*;

const A: u64 = 0x1234_5678;
const B: u64 = 0x00ab_cdef;

thread_local! {
    static ME: Slot<usize> = const { Slot::new(0) };
}

/// What one thread of a schedule does.
type Program<'p> = &'p (dyn Fn(&Bucket<'_, Scheduled<'_>>) + Sync);

/// Thrown through a thread that the schedule kills.
struct Killed;

struct Turn {
    of: Option<usize>,
    alive: Vec<bool>,
    /// Accesses left until the thread dies.
    lives: Vec<Option<u32>>,
    random: u64,
    broken: Option<String>,
}

struct Schedule {
    memory: [AtomicU64; 2 * ENTRIES],
    turn: Mutex<Turn>,
    passed: Condvar,
}

struct Scheduled<'a> {
    schedule: &'a Schedule,
    at: usize,
}

impl Turn {
    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below
    }

    fn pass(&mut self) {
        let alive: Vec<usize> = (0..self.alive.len()).filter(|thread| self.alive[*thread]).collect();
        if alive.is_empty() {
            self.of = None;
            return;
        }
        // Often the same thread again: real processes run many instructions between two switches.
        let stay = self.of.is_some_and(|thread| self.alive[thread]) && self.draw(3) == 0;
        if !stay {
            self.of = Some(alive[usize::try_from(self.draw(alive.len() as u64)).unwrap()]);
        }
    }
}

impl Schedule {
    fn new(seed: u64, lives: Vec<Option<u32>>) -> Self {
        let mut turn = Turn {
            of: Some(0),
            alive: vec![true; lives.len()],
            lives,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            broken: None,
        };
        turn.pass();
        Self {
            memory: std::array::from_fn(|_| AtomicU64::new(0)),
            turn: Mutex::new(turn),
            passed: Condvar::new(),
        }
    }

    /// One access to memory by the calling thread, when its turn has come.
    fn access<R>(&self, access: impl FnOnce() -> R) -> R {
        let me = ME.get();
        let mut turn = self.passed.wait_while(self.turn.lock().unwrap(), |turn| turn.of != Some(me)).unwrap();
        if let Some(left) = &mut turn.lives[me] {
            if *left == 0 {
                drop(turn);
                resume_unwind(Box::new(Killed));
            }
            *left -= 1;
        }
        let result = access();
        for key in [A, B] {
            let live = self.live(key);
            if live.len() > 1 && turn.broken.is_none() {
                turn.broken = Some(format!("{key:x} lives in the entries {live:?}"));
            }
        }
        turn.pass();
        drop(turn);
        self.passed.notify_all();
        result
    }

    fn leave(&self) {
        let mut turn =
            self.passed.wait_while(self.turn.lock().unwrap(), |turn| turn.of != Some(ME.get())).unwrap();
        turn.alive[ME.get()] = false;
        turn.pass();
        drop(turn);
        self.passed.notify_all();
    }

    /// Entries where `key` lives with a word, by plain inspection.
    fn live(&self, key: u64) -> Vec<usize> {
        let plain = |at: usize| self.memory[at].load(Ordering::SeqCst);
        (0..ENTRIES)
            .filter(|entry| {
                let word = plain(2 * entry + 1);
                word & CLAIMED == 0 && word & PAYLOAD != 0 && plain(2 * entry) == word & GENERATION | key
            })
            .collect()
    }

    fn word(&self, key: u64) -> u64 {
        Bucket(&self.memory).read(key)
    }

    /// Runs one thread for each program; gives how many of its updates each completed.
    fn run(&self, programs: &[Program<'_>]) -> Vec<bool> {
        let cells: [Scheduled<'_>; 2 * ENTRIES] = std::array::from_fn(|at| Scheduled { schedule: self, at });
        std::thread::scope(|scope| {
            let threads: Vec<_> = programs
                .iter()
                .enumerate()
                .map(|(thread, program)| {
                    let cells = &cells;
                    scope.spawn(move || {
                        ME.set(thread);
                        let ended = catch_unwind(AssertUnwindSafe(|| program(&Bucket(cells))));
                        self.leave();
                        match ended {
                            Ok(()) => true,
                            Err(reason) if reason.is::<Killed>() => false,
                            Err(reason) => resume_unwind(reason),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn assert_whole(&self, seed: u64) {
        let turn = self.turn.lock().unwrap();
        assert!(turn.broken.is_none(), "seed {seed}: {:?}", turn.broken);
    }
}

impl Cell for Scheduled<'_> {
    fn load(&self) -> u64 {
        self.schedule.access(|| self.schedule.memory[self.at].load(Ordering::SeqCst))
    }

    fn set_if(&self, current: u64, new: u64) -> bool {
        self.schedule.access(|| self.schedule.memory[self.at].set_if(current, new))
    }
}

fn add_two(bucket: &Bucket<'_, Scheduled<'_>>, key: u64) {
    for _ in 0..2 {
        bucket.update(key, 0, &mut |word| word + 1);
    }
}

/// Fills every entry with another key's word.
fn crowd(schedule: &Schedule) {
    for entry in 0..ENTRIES as u64 {
        Bucket(&schedule.memory).update(0x1000 + entry, 0, &mut |_| 500 + entry);
    }
}

#[test]
fn no_schedule_loses_an_update_or_makes_a_second_entry() {
    for seed in 0..700 {
        let schedule = Schedule::new(seed, vec![None; 3]);
        let a = |bucket: &Bucket<'_, Scheduled<'_>>| add_two(bucket, A);
        schedule.run(&[&a, &a, &a]);
        schedule.assert_whole(seed);
        assert_eq!(schedule.word(A), 6, "seed {seed}");
    }
}

#[test]
fn two_that_claim_different_entries_for_one_key_agree() {
    for seed in 0..700 {
        // Entry 0 is being claimed by a third key meanwhile, so that the two see different free entries.
        let schedule = Schedule::new(seed, vec![None; 3]);
        let a = |bucket: &Bucket<'_, Scheduled<'_>>| add_two(bucket, A);
        let b = |bucket: &Bucket<'_, Scheduled<'_>>| add_two(bucket, B);
        schedule.run(&[&b, &a, &a]);
        schedule.assert_whole(seed);
        assert_eq!((schedule.word(A), schedule.word(B)), (4, 2), "seed {seed}");
    }
}

#[test]
fn a_kill_at_any_access_costs_at_most_the_update_under_way() {
    for seed in 0..900 {
        let lives = u32::try_from(seed % 45).unwrap();
        let schedule = Schedule::new(seed, vec![Some(lives), None, None]);
        let done = AtomicU64::new(0);
        let counted = |bucket: &Bucket<'_, Scheduled<'_>>| {
            for _ in 0..2 {
                bucket.update(A, 0, &mut |word| word + 1);
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        let ended = schedule.run(&[&counted, &counted, &counted]);
        schedule.assert_whole(seed);
        let (word, done) = (schedule.word(A), done.load(Ordering::SeqCst));
        let under_way = u64::from(ended.contains(&false));
        assert!(word >= done && word <= done + under_way, "seed {seed}: {word} after {done} updates");
    }
}

#[test]
fn in_a_full_bucket_words_never_change_their_owner() {
    for seed in 0..700 {
        let killed = u32::try_from(seed % 60).unwrap();
        let schedule = Schedule::new(seed, vec![None, None, (seed % 3 == 0).then_some(killed)]);
        crowd(&schedule);
        let program = |key: u64, unit: u64| {
            move |bucket: &Bucket<'_, Scheduled<'_>>| {
                for _ in 0..2 {
                    let given = bucket.update(key, 0, &mut |word| {
                        assert_eq!(word % unit, 0, "{key:x} was given another's word");
                        word + unit
                    });
                    assert_eq!(given % unit, 0);
                }
            }
        };
        let (a, b) = (program(A, 1_009), program(B, 1_013));
        schedule.run(&[&a, &b, &a]);
        schedule.assert_whole(seed);
        assert_eq!(schedule.word(A) % 1_009, 0, "seed {seed}");
        assert_eq!(schedule.word(B) % 1_013, 0, "seed {seed}");
        for entry in 0..ENTRIES as u64 {
            let word = schedule.word(0x1000 + entry);
            assert!(word == 0 || word == 500 + entry, "seed {seed}: a bystander's word became {word}");
        }
    }
}

#[test]
fn freeing_and_moving_in_meet_without_harm() {
    for seed in 0..500 {
        let schedule = Schedule::new(seed, vec![None; 3]);
        let add = |bucket: &Bucket<'_, Scheduled<'_>>| add_two(bucket, A);
        let free = |bucket: &Bucket<'_, Scheduled<'_>>| {
            bucket.update(A, 0, &mut |_| 0);
        };
        schedule.run(&[&add, &free, &add]);
        schedule.assert_whole(seed);
        assert!(schedule.word(A) <= 4, "seed {seed}");
    }
}

#[test]
fn a_claim_of_the_dead_is_taken_over_by_its_own_key() {
    let memory: [AtomicU64; 2 * ENTRIES] = std::array::from_fn(|_| AtomicU64::new(0));
    let bucket = Bucket(&memory);
    assert!(bucket.claim(A, 0, false).is_some());
    assert_eq!(bucket.read(A), 0);
    assert_eq!(bucket.update(A, 0, &mut |word| word + 7), 7);
    assert_eq!(bucket.read(A), 7);
}

#[test]
fn claims_of_the_dead_do_not_crowd_out_the_living() {
    let memory: [AtomicU64; 2 * ENTRIES] = std::array::from_fn(|_| AtomicU64::new(0));
    let bucket = Bucket(&memory);
    for entry in 0..ENTRIES as u64 {
        assert!(bucket.claim(0x2000 + entry, 0, false).is_some());
    }
    for key in 1..=ENTRIES as u64 {
        bucket.update(key, 0, &mut |_| 100 + key);
    }
    assert!((1..=ENTRIES as u64).all(|key| bucket.read(key) == 100 + key));
}

#[test]
fn a_damaged_entry_is_nobodys_and_is_used_again() {
    let memory: [AtomicU64; 2 * ENTRIES] = std::array::from_fn(|_| AtomicU64::new(0));
    memory[0].store(7 << 58 | A, Ordering::SeqCst); // the generation of the key is not the word's
    memory[1].store(3 << 58 | 40, Ordering::SeqCst);
    let bucket = Bucket(&memory);
    assert_eq!(bucket.read(A), 0);
    assert_eq!(bucket.update(A, 50, &mut |word| word + 90), 90);
    assert_eq!(bucket.read(A), 90);
}

#[test]
fn every_generation_is_lived_through() {
    let memory: [AtomicU64; 2 * ENTRIES] = std::array::from_fn(|_| AtomicU64::new(0));
    let bucket = Bucket(&memory);
    for round in 0..100u64 {
        let (key, now) = (1 + round % 3, 10 * round);
        assert_eq!(bucket.update(key, now, &mut |word| word + now + 5), now + 5);
        assert_eq!(bucket.read(key), now + 5);
    }
}
