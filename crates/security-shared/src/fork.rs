//! Which side of which `fork` this is.
//!
//! A handle that belongs to one process (a database connection, a thread, a lock) must not be used by a child
//! that inherited it. Whoever keeps such a handle keeps the [`generation`] it was made in beside it and makes
//! it anew when the two differ. Comparing two numbers costs nothing on the hot path, where asking the kernel
//! for the process id would.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use security_core::StoreFault;

/// Forks that led to this process since the handler was registered.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Whether the handler is registered; inherited by children, as the handler is.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Runs in the child, between `fork` and its return: only what is async-signal-safe may happen here.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Registers the handler that counts forks; does nothing when it is registered already.
///
/// Two threads that come here at the very same time may both register it. A fork then counts twice, which
/// is as good as once; a lock would not do here, since a child can inherit it locked.
/// # Errors
/// `shared-no-memory` when the C library has no room for another handler.
pub fn install() -> Result<(), StoreFault> {
    if INSTALLED.load(Ordering::Acquire) {
        return Ok(());
    }
    #[allow(unsafe_code)]
    // SAFETY: `in_child` is a function for the whole run of the program, takes nothing, cannot unwind, and does
    // one relaxed atomic addition, which is async-signal-safe.
    let failure = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    if failure != 0 {
        return Err(StoreFault::new("shared-no-memory", "no memory for the handler that notices a fork"));
    }
    INSTALLED.store(true, Ordering::Release);
    Ok(())
}

/// A number that differs between a process and its children: `0` in a process that was not forked since the
/// handler was registered, which the first call does.
///
/// Where the handler cannot be registered it is the process id instead, which serves the same purpose at the
/// price of a system call. Children made by `vfork`, `posix_spawn` or a bare `clone` system call run no
/// handlers; the first two are about to replace their memory anyway.
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
