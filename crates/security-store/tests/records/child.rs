//! Other processes: this very test binary once more, told by the environment to play another part.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const FOLDER: &str = "SECURITY_STORE_TEST_FOLDER";

/// The folder to work on, in a process that [`command`] started.
pub(crate) fn folder() -> Option<PathBuf> {
    env::var_os(FOLDER).map(PathBuf::from)
}

/// A process that runs one test of this binary, in which [`folder`] then has an answer.
pub(crate) fn command(program: &Path, test: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    command
}

/// The same behind a shell that sets something up first: `umask 0`, `trap '' XFSZ`.
pub(crate) fn command_after(preparation: &str, test: &str, folder: &Path) -> Command {
    let program = env::current_exe().unwrap();
    let inner = command(&program, test, folder);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{preparation}; exec \"$0\" \"$@\"")).arg(program).args(inner.get_args());
    command.env(FOLDER, folder);
    command
}
