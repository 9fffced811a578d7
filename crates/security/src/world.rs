//! The clock and the source of chance: the only place where the engine asks the machine for either.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use security_core::{Entropy, Timestamp};

/// The present, by the system's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Milliseconds of a clock that never goes back, exact to the kernel's tick; a few nanoseconds to read.
pub(crate) fn coarse_millis() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::MonotonicCoarse;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let read = clock_gettime(CLOCK);
    let millis = read.tv_sec.saturating_mul(1000).saturating_add(read.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or_default()
}

/// The operating system's random source.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        // Without randomness no key and no id can be made; there is nothing to go on with.
        getrandom::fill(buffer).expect("the operating system's random source answers");
    }
}

/// Random bytes fetched at once for ids, one block a thread: a system call for each id costs more than all the rest
/// of a key's check. Secrets are not drawn from it.
struct IdBytes {
    bytes: [u8; 4096],
    used: usize,
    /// The process that it belongs to: a child must not make its parent's ids again.
    generation: u64,
}

impl IdBytes {
    const fn empty() -> Self {
        Self { bytes: [0; 4096], used: 4096, generation: 0 }
    }

    fn take(&mut self) -> [u8; 16] {
        let generation = security_shared::fork::generation();
        if self.used + 16 > self.bytes.len() || self.generation != generation {
            SystemEntropy.fill(&mut self.bytes);
            (self.used, self.generation) = (0, generation);
        }
        let mut taken = [0; 16];
        let place = &mut self.bytes[self.used..self.used + 16];
        taken.copy_from_slice(place);
        place.fill(0);
        self.used += 16;
        taken
    }
}

thread_local! {
    static ID_BYTES: RefCell<IdBytes> = const { RefCell::new(IdBytes::empty()) };
}

/// A random UUID, version 4.
pub(crate) fn uuid() -> uuid::Uuid {
    let bytes = ID_BYTES.with_borrow_mut(IdBytes::take);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// What a refusal takes, from the clock that it was judged by on: longer than any of them needs.
const REFUSAL_MICROS: i64 = 4;

/// Readings of the clock that a refusal waits for at most; one takes some 25 ns, or 200 where the kernel is asked.
const MOST_READINGS: u32 = 4096;

/// Waits until a refusal that began then has taken as long as every other one, so that its time does not tell why.
///
/// A refusal that took longer, as it had to ask the store, is rounded up to a multiple. After a millisecond, or when the
/// clock was set meanwhile, there is nothing to be hidden any more.
pub(crate) fn level_refusal(begun: Timestamp) {
    // The wait ends when the clock is read the first time after the end. How much later that is must not hang together
    // with when the waiting began, so it begins at random within some forty readings of the clock.
    let [low, high, ..] = *uuid().as_bytes();
    for step in 0..u16::from_le_bytes([low, high & 0x0f]) {
        std::hint::black_box(step);
    }
    let taken = || now().as_micros() - begun.as_micros();
    let so_far = taken();
    if !(0..1000).contains(&so_far) {
        return;
    }
    let end = (so_far / REFUSAL_MICROS + 1) * REFUSAL_MICROS;
    // A clock that stands, as beyond the year 9999, must not hold anybody.
    let mut readings = 0..MOST_READINGS;
    while (0..end).contains(&taken()) && readings.next().is_some() {}
}

/// The account that the process runs as and its program: `uid 1000, python3.11`.
pub(crate) fn actor() -> String {
    // The process's own entry belongs to whom it runs as; elsewhere a folder of its own would have to be made.
    use std::os::unix::fs::MetadataExt as _;
    let account =
        std::fs::metadata("/proc/self").map_or_else(|_| "?".to_owned(), |own| own.uid().to_string());
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(std::path::Path::file_name).unwrap_or_default();
    format!("uid {account}, {}", program.to_string_lossy())
}

/// The machine's name.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_over_blocks_and_threads_and_are_version_4() {
        let draw = || (0..1000).map(|_| uuid()).collect::<Vec<_>>();
        let other = std::thread::spawn(draw).join().unwrap_or_default();
        let all: HashSet<_> = draw().into_iter().chain(other).collect();
        assert_eq!(all.len(), 2000);
        assert!(all.iter().all(|id| id.get_version_num() == 4));
    }

    #[test]
    fn what_was_used_is_wiped_and_another_process_draws_anew() {
        let mut block = IdBytes::empty();
        let first = block.take();
        assert!(block.bytes[..16].iter().all(|byte| *byte == 0) && first != [0; 16]);
        let kept = block.bytes;
        block.generation += 1;
        assert_ne!(block.take(), kept[16..32]);
        assert_eq!(block.used, 16, "a fresh block");
    }
}
