//! Which side of which `fork` this is, and what is done around one.
//!
//! A handle that belongs to one process (a database connection, a thread, a lock) must not be used by a child
//! that inherited it. Whoever keeps such a handle keeps the [`generation`] it was made in beside it and makes
//! it anew when the two differ. Comparing two numbers costs nothing on the hot path, where asking the kernel
//! for the process id would.
//!
//! What must not even be inherited open is closed before: [`around`] names what the C library calls in the
//! forking thread before and after every `fork`, whichever language or library forks.

use std::{
    cell::Cell,
    panic::catch_unwind,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use security_core::StoreFault;

/// Forks that led to this process since the handlers were registered.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Whether the handlers are registered; inherited by children, as the handlers are.
static STATE: AtomicU8 = AtomicU8::new(ABSENT);
const ABSENT: u8 = 0;
const REGISTERING: u8 = 1;
const REGISTERED: u8 = 2;

/// How long a thread waits for another one's registration before it makes its own: the other thread may be
/// one that this process was forked away from.
const REGISTRATION: Duration = Duration::from_millis(500);

static AROUND: OnceLock<Around> = OnceLock::new();

/// The fork under way could not be prepared for; its child will inherit what it should not.
static UNPREPARED: AtomicBool = AtomicBool::new(false);

/// This process is such a child, or a descendant of one.
static TAINTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Handlers of this thread under way: registered twice, they still act once.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// What is done around a fork.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// In the forking thread, before; `false` when not everything could be put down.
    pub before: fn() -> bool,
    /// In the forking thread of the parent, after.
    pub after_in_parent: fn(),
}

/// Before the fork, in an ordinary state of the forking thread.
extern "C" fn in_parent_before() {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    if depth == 0
        && let Some(around) = AROUND.get()
    {
        // A panic must not cross into the C library. It counts as not prepared.
        let is_prepared = catch_unwind(around.before).unwrap_or(false);
        UNPREPARED.store(!is_prepared, Ordering::Relaxed);
    }
}

extern "C" fn in_parent_after() {
    let depth = DEPTH.get().saturating_sub(1);
    DEPTH.set(depth);
    if depth == 0
        && let Some(around) = AROUND.get()
    {
        let _ = catch_unwind(around.after_in_parent);
    }
}

/// In the child, between `fork` and its return: only what is async-signal-safe may happen here.
extern "C" fn in_child() {
    DEPTH.set(0);
    if UNPREPARED.load(Ordering::Relaxed) {
        TAINTED.store(true, Ordering::Relaxed);
    }
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Registers the handlers; does nothing when they are registered already.
/// # Errors
/// `shared-no-memory` when the C library has no room for another handler.
pub fn install() -> Result<(), StoreFault> {
    if STATE.load(Ordering::Acquire) == REGISTERED {
        return Ok(());
    }
    let waited = Instant::now();
    while STATE.compare_exchange(ABSENT, REGISTERING, Ordering::AcqRel, Ordering::Acquire) == Err(REGISTERING)
        && waited.elapsed() < REGISTRATION
    {
        std::thread::yield_now();
    }
    if STATE.load(Ordering::Acquire) == REGISTERED {
        return Ok(());
    }
    #[allow(unsafe_code)]
    // SAFETY: the three are functions for the whole run of the program, take nothing and do not unwind; the one
    // for the child does atomic operations and sets a constant-initialised thread-local, nothing else.
    let failure =
        unsafe { libc::pthread_atfork(Some(in_parent_before), Some(in_parent_after), Some(in_child)) };
    if failure != 0 {
        STATE.store(ABSENT, Ordering::Release);
        return Err(StoreFault::new("shared-no-memory", "no memory for the handlers that notice a fork"));
    }
    STATE.store(REGISTERED, Ordering::Release);
    Ok(())
}

/// Has `around` called at every fork from now on. The first call decides; later ones are ignored.
/// # Errors
/// As [`install`].
pub fn around(around: Around) -> Result<(), StoreFault> {
    AROUND.get_or_init(|| around);
    install()
}

/// Whether this process, or one that it descends from, was forked while not everything could be put down. What
/// it inherited may be half done: it must not open what its parent had open.
pub fn is_tainted() -> bool {
    TAINTED.load(Ordering::Relaxed)
}

/// A number that differs between a process and its children: `0` in a process that was not forked since the
/// handlers were registered, which the first call does.
///
/// Where they cannot be registered it is the process id instead, which serves the same purpose at the price of
/// a system call. Children made by `vfork`, `posix_spawn` or a bare `clone` system call run no handlers; the
/// first two are about to replace their memory anyway.
pub fn generation() -> u64 {
    match install() {
        Ok(()) => GENERATION.load(Ordering::Relaxed),
        Err(_) => u64::from(std::process::id()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code)]
    use super::*;

    /// The status a child exits with when it does nothing but `child`.
    fn status_of_child(child: fn() -> i32) -> i32 {
        // SAFETY: the child only touches atomics and leaves through `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let status = child();
            // SAFETY: ends the child without running anything inherited from the parent.
            unsafe { libc::_exit(status) };
        }
        assert!(pid > 0, "fork failed");
        let mut status = 0;
        // SAFETY: `pid` is our own child and `status` outlives the call.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(waited, pid);
        assert!(libc::WIFEXITED(status), "the child was killed: {status}");
        libc::WEXITSTATUS(status)
    }

    #[test]
    fn each_fork_is_a_generation_and_the_parent_stays_in_its_own() {
        let mine = generation();
        install().unwrap();
        install().unwrap();
        let child = status_of_child(|| {
            // A grandchild counts once more; its status comes back through the child's.
            let own = i32::try_from(generation()).unwrap_or(255);
            let grandchild = status_of_child(|| i32::try_from(generation()).unwrap_or(255));
            own * 16 + grandchild
        });
        let (child, grandchild) = (child / 16, child % 16);
        assert!(u64::try_from(child).unwrap() > mine, "{child} after {mine}");
        assert!(grandchild > child, "{grandchild} after {child}");
        assert_eq!(generation(), mine);
    }
}
