//! The shared files between real processes: exact counting, kills in the middle of a change, fork.
//!
//! Child processes are this test binary again, told by an environment variable what to do in [`child`].
#![allow(unsafe_code, clippy::unwrap_used)]

use std::{
    fs::{File, OpenOptions},
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use security_core::{ChangeSignal, Domain, Timestamp, WordTable};
use security_shared::{Epoch, SharedPage, SharedWords};

const ROLE: &str = "SECURITY_SHARED_TEST_ROLE";
const FOLDER: &str = "SECURITY_SHARED_TEST_FOLDER";
const UPDATES: u64 = 20_000;

fn spawn(role: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .stdout(std::process::Stdio::null())
        .env(ROLE, role)
        .env(FOLDER, folder)
        .spawn()
        .unwrap()
}

/// What the children do; in the parent's run it only shows that the role is absent.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        assert!(std::env::var(FOLDER).is_err(), "a folder without a role");
        return;
    };
    let folder = std::env::var_os(FOLDER).unwrap();
    let folder = Path::new(&folder);
    match role.as_str() {
        "count" => {
            let words = SharedWords::open(&folder.join("words"), 8).unwrap();
            for round in 0..UPDATES {
                words.update(round % 2, Timestamp::EPOCH, &mut |word| word + 1);
            }
        }
        "write" => {
            let store = Store::open(folder);
            loop {
                store.commit();
            }
        }
        other => panic!("no role `{other}`"),
    }
}

/// A store of one number behind a file lock that lets go with the commit, as SQLite's does.
struct Store {
    page: SharedPage,
    file: File,
}

impl Store {
    fn open(folder: &Path) -> Self {
        let page = SharedPage::open(&folder.join("page")).unwrap();
        let path = folder.join("store");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        Self { page, file }
    }

    fn read(&self) -> u64 {
        let mut bytes = [0; 8];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => 0, // still empty
        }
    }

    fn commit(&self) {
        self.file.lock().unwrap();
        let next = self.read() + 1;
        self.page.begin(Domain::Credentials);
        self.file.write_all_at(&next.to_le_bytes(), 0).unwrap();
        self.file.unlock().unwrap();
        self.page.finish(Domain::Credentials);
    }

    fn repair(&self) {
        self.file.lock().unwrap();
        let seen = self.page.epoch(Domain::Credentials);
        assert!(self.page.settle(Domain::Credentials, seen), "somebody began without the lock");
        self.file.unlock().unwrap();
    }
}

/// A reader's cache as the protocol asks for it.
#[derive(Default)]
struct Cached(Option<(Epoch, u64)>);

impl Cached {
    fn read(&mut self, store: &Store) -> u64 {
        let epoch = store.page.epoch(Domain::Credentials);
        match self.0 {
            Some((filled, value)) if epoch.is_settled() && filled == epoch => value,
            _ => {
                let value = store.read();
                if epoch.is_settled() {
                    self.0 = Some((epoch, value));
                }
                value
            }
        }
    }
}

#[test]
fn no_process_loses_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let mut children: Vec<Child> = (0..3).map(|_| spawn("count", folder.path())).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let words = SharedWords::open(&folder.path().join("words"), 8).unwrap();
    assert_eq!(words.read(0) + words.read(1), 3 * UPDATES);
}

#[test]
fn a_killed_writer_leaves_no_old_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let mut cached = Cached::default();
    for round in 0..12 {
        let before = store.read();
        let mut writers = [spawn("write", folder.path()), spawn("write", folder.path())];
        let started = Instant::now();
        // Some hundred changes, then some more of a different number each round, and the kill falls where it may.
        while store.read() < before + 300 + 37 * round {
            assert!(started.elapsed() < Duration::from_secs(60), "the writers do not write");
            // The number read first is what was committed when the call began.
            let committed = store.read();
            assert!(cached.read(&store) >= committed);
        }
        for writer in &mut writers {
            writer.kill().unwrap();
            assert_eq!(writer.wait().unwrap().signal(), Some(libc::SIGKILL));
        }
        assert_eq!(cached.read(&store), store.read(), "round {round}");
        assert_eq!(Cached::default().read(&store), store.read(), "round {round}");
    }
    store.repair();
    assert!(store.page.epoch(Domain::Credentials).is_settled());
    assert_eq!(cached.read(&store), store.read());
    store.commit();
    assert!(store.page.epoch(Domain::Credentials).is_settled());
    assert_eq!(cached.read(&store), store.read());
}

#[test]
fn a_forked_child_goes_on_with_the_same_page_and_table() {
    let folder = tempfile::tempdir().unwrap();
    let page = SharedPage::open(&folder.path().join("page")).unwrap();
    let words = SharedWords::open(&folder.path().join("words"), 64).unwrap();
    let before = page.epoch(Domain::Rules);
    words.update(11, Timestamp::EPOCH, &mut |word| word + 40);
    // SAFETY: the child touches the mappings only and leaves through `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let seen = words.update(11, Timestamp::EPOCH, &mut |word| word + 2);
        page.begin(Domain::Rules);
        page.finish(Domain::Rules);
        // SAFETY: ends the child without running anything inherited from the parent.
        unsafe { libc::_exit(i32::from(seen != 42)) };
    }
    assert!(pid > 0, "fork failed");
    let mut status = 0;
    // SAFETY: `pid` is our own child and `status` outlives the call.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0));
    assert_eq!(words.read(11), 42);
    let after = page.epoch(Domain::Rules);
    assert!(after.is_settled() && after.value() > before.value());
}
