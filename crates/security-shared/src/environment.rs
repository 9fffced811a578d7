//! Taking a variable out of the environment block, its text too.

use std::ffi::CString;

/// Removes a variable from this process's environment and overwrites its value where it stands, so that neither a
/// child nor `/proc/<pid>/environ` has it. Whether there was one.
///
/// To be called while the process is set up: a thread that reads this very variable at the same moment may see a part
/// of its value.
pub fn scrub(name: &str) -> bool {
    let Ok(wanted) = CString::new(name).map(CString::into_boxed_c_str) else { return false };
    // SAFETY: the name ends with NUL and outlives the call; nothing is kept of it.
    #[allow(unsafe_code, reason = "the C library owns the environment block")]
    let value = unsafe { libc::getenv(wanted.as_ptr()) };
    if value.is_null() {
        return false;
    }
    // SAFETY: `getenv` gave a C string, which stays where it is until the variable is changed or removed. What is
    // changed by another thread meanwhile the C library does not free (glibc), and we are at the set-up of the process.
    #[allow(unsafe_code, reason = "the C library owns the environment block")]
    let length = unsafe { libc::strlen(value) };
    // SAFETY: these bytes are the string's own, in writable memory: the block that the kernel made for this process,
    // or what `setenv` allocated. The NUL at its end stays.
    #[allow(unsafe_code, reason = "the C library owns the environment block")]
    unsafe {
        std::ptr::write_bytes(value, 0, length);
    }
    // SAFETY: the standard library's lock keeps its own readers out; others are excluded as said above.
    #[allow(unsafe_code, reason = "the environment block is the process's, not the thread's")]
    unsafe {
        std::env::remove_var(name);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const NAME: &str = "SECURITY_SCRUB_TEST";

    /// In a process of its own: its environment block is the kernel's, and no other test's thread reads it.
    #[test]
    fn the_text_is_gone_from_the_block_and_from_children() {
        let Ok(value) = std::env::var(NAME) else {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let test = "environment::tests::the_text_is_gone_from_the_block_and_from_children";
            command
                .args(["--exact", test, "--test-threads=1"])
                .env(NAME, "canary-5150")
                .env("AFTER", "stays");
            assert!(command.status().unwrap().success());
            return;
        };
        let block = || std::fs::read("/proc/self/environ").unwrap_or_default();
        let holds = |text: &str| block().windows(text.len()).any(|window| window == text.as_bytes());
        assert_eq!(holds(&value), cfg!(target_os = "linux"));
        assert!(scrub(NAME) && !scrub(NAME) && !scrub("a\0b") && !scrub("SECURITY_NOT_THERE"));
        assert!(!holds("canary") && std::env::var_os(NAME).is_none());
        assert_eq!(std::env::var("AFTER").as_deref(), Ok("stays"));
        let shown = Command::new("env").output().unwrap().stdout;
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.contains("AFTER=stays") && !shown.contains(NAME));
    }
}
