//! The gate that every use of an open file passes, so that none is open while the process forks.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Counts who is inside, and holds newcomers back while somebody forks.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    /// Forks under way; two threads may fork at once.
    closed: usize,
}

/// Somebody is inside; leaves on drop.
#[derive(Debug)]
pub(crate) struct Pass<'a>(&'a Gate);

impl Gate {
    /// How long a newcomer waits for a closed gate.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

    /// Comes in; `None` when the gate stayed closed for [`Gate::PATIENCE`].
    pub(crate) fn enter(&self) -> Option<Pass<'_>> {
        let mut state = self.wait_until(Self::PATIENCE, |state| state.closed == 0)?;
        state.inside += 1;
        Some(Pass(self))
    }

    /// Closes the gate and waits until nobody is inside; `false` when somebody still is after `patience`. The
    /// gate is closed in both cases.
    pub(crate) fn close(&self, patience: Duration) -> bool {
        self.lock().closed += 1;
        self.wait_until(patience, |state| state.inside == 0).is_some()
    }

    /// Opens it again.
    pub(crate) fn open(&self) {
        let mut state = self.lock();
        state.closed = state.closed.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed > 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn wait_until(
        &self,
        patience: Duration,
        holds: impl Fn(&State) -> bool,
    ) -> Option<MutexGuard<'_, State>> {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        while !holds(&state) {
            let left = end.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.lock().inside -= 1;
        self.0.changed.notify_all();
    }
}

/// Locks; a thread that panicked while it held the lock left nothing half done that would matter: whatever
/// these locks guard is valid between any two statements.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_behind_the_last_one_inside() {
        let gate = Gate::default();
        let pass = gate.enter().unwrap();
        assert!(!gate.close(Duration::from_millis(1)), "somebody is inside");
        gate.open();
        drop(pass);
        assert!(gate.close(Duration::ZERO));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| gate.enter().is_some());
            gate.open();
            assert!(waiter.join().unwrap());
        });
    }
}
