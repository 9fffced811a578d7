//! How many slow hashes are computed at once, and how many wait for their turn.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// At once; each may take 256 MiB and a whole core.
const AT_ONCE: usize = 2;
/// Waiting; the next one is turned away.
const WAITING: usize = 16;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lets a few in at a time.
#[derive(Debug, Default)]
pub(in crate::credentials) struct Turnstile {
    counts: Mutex<Counts>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    inside: usize,
    waiting: usize,
}

/// A place inside, until it is dropped.
pub(super) struct Place<'t>(&'t Turnstile);

impl Turnstile {
    /// A place; `None` when too many wait, or when none became free in time.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.inside >= AT_ONCE {
            if counts.waiting >= WAITING {
                return None;
            }
            counts.waiting += 1;
            let full = |counts: &mut Counts| counts.inside >= AT_ONCE;
            let (after, _) =
                self.left.wait_timeout_while(counts, PATIENCE, full).unwrap_or_else(PoisonError::into_inner);
            counts = after;
            counts.waiting -= 1;
            if counts.inside >= AT_ONCE {
                return None;
            }
        }
        counts.inside += 1;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).inside -= 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn few_are_inside_and_some_wait() {
        let (turnstile, inside, most) = (Turnstile::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE + WAITING {
                scope.spawn(|| {
                    let place = turnstile.enter();
                    assert!(place.is_some());
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    inside.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= AT_ONCE);
    }

    #[test]
    fn whoever_comes_when_too_many_wait_is_turned_away_at_once() {
        let turnstile = Turnstile::default();
        turnstile.counts.lock().unwrap().inside = AT_ONCE;
        turnstile.counts.lock().unwrap().waiting = WAITING;
        assert!(turnstile.enter().is_none());
        assert_eq!(turnstile.counts.lock().unwrap().waiting, WAITING);
    }
}
