//! Eight processes that issue, rotate, revoke and check the same keys at once, and put other peppers under them, and an account of what each was told.
//!
//! The account is a folder. Whoever is about to end tokens leaves a mark first and another one when it is done, so that
//! every check can be judged: a token that was told to be over must be refused, and one that nobody began to end must
//! be accepted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use security::{Coded as _, Engine, IssueRequest, KeyFilter, KeyReason, Options, UsageContext};
use serde_json::Map;

const ME: &str = "eight_processes_at_once_are_never_told_wrong";
const FOLDER: &str = "SECURITY_KEY_PROCESSES_FOLDER";
const PROCESSES: u64 = 8;
const ROUNDS: u64 = 60;
const KEYS: usize = 6;

fn engine(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.join("data")), ..Options::default() }).unwrap()
}

/// Numbers that are the same in every run of the test.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What is told of one key, in a folder of its own.
struct Account(PathBuf);

impl Account {
    fn names(&self, prefix: &str) -> BTreeSet<String> {
        let names =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).collect()
    }

    fn mark(&self, name: &str) {
        fs::write(self.0.join(name), "").unwrap();
    }

    /// Tells a token, whole at once, and of which acts it cannot come from the account: those that were over before the
    /// one that made it began, and that one.
    fn tell(&self, act: &str, token: &str, over: &BTreeSet<String>) {
        let over: Vec<_> = over.iter().map(String::as_str).chain([act]).collect();
        let draft = self.0.join(format!("draft-{act}"));
        fs::write(&draft, format!("{token}\n{}", over.join(" "))).unwrap();
        fs::rename(draft, self.0.join(format!("token-{act}"))).unwrap();
    }

    fn token(&self, name: &str) -> (String, BTreeSet<String>) {
        let text = fs::read_to_string(self.0.join(format!("token-{name}"))).unwrap();
        let (token, over) = text.split_once('\n').unwrap();
        (token.to_owned(), over.split(' ').map(str::to_owned).collect())
    }
}

fn accounts(folder: &Path) -> Vec<(String, Account)> {
    let found = fs::read_dir(folder.join("account")).unwrap();
    let found = found.map(|entry| entry.unwrap());
    found.map(|entry| (entry.file_name().into_string().unwrap(), Account(entry.path()))).collect()
}

fn issue(engine: &Engine, folder: &Path, name: &str) {
    let (key, token) =
        engine.issue_api_key(IssueRequest { name: name.into(), ..Default::default() }).unwrap();
    let draft = folder.join(format!("draft-{}", key.id));
    fs::create_dir(&draft).unwrap();
    Account(draft.clone()).tell("issue", token.expose_text().unwrap(), &BTreeSet::new());
    fs::rename(draft, folder.join("account").join(&key.id)).unwrap();
}

fn rotate(engine: &Engine, id: &str, account: &Account, act: &str) {
    let over = account.names("end-");
    let told = account.names("token-");
    account.mark(&format!("begin-{act}"));
    match engine.rotate_api_key(id, Duration::ZERO) {
        Ok((_, new)) => {
            account.tell(act, new.expose_text().unwrap(), &over);
            told.iter().for_each(|token| account.mark(&format!("dead-{token}")));
        }
        Err(error) => {
            // Somebody else rotates it, or it is revoked.
            assert!(["store-conflict", "invalid-argument"].contains(&error.code()), "{error}");
        }
    }
    account.mark(&format!("end-{act}"));
}

fn check(engine: &Engine, account: &Account, dice: &mut Dice) {
    let told: Vec<_> = account.names("token-").into_iter().collect();
    let name = &told[usize::try_from(dice.roll(told.len() as u64)).unwrap()];
    let revoked = !account.names("revoked").is_empty();
    let dead = account.names("dead-").contains(name);
    let (token, over) = account.token(name);
    let reason = engine.check_api_key(token.as_bytes(), &[], UsageContext::default()).unwrap().reason;
    if dead {
        assert_eq!(reason, KeyReason::Unknown, "a token that was rotated away");
    } else if revoked {
        assert_ne!(reason, KeyReason::Ok, "a token of a revoked key");
    } else if reason != KeyReason::Ok {
        let begun = account.names("begin-");
        assert!(!begun.is_subset(&over), "refused ({reason}), although nobody began to end it");
    }
}

/// Puts another pepper in force, and gives up what nothing needs.
fn other_pepper(engine: &Engine) {
    if let Err(error) = engine.rotate_pepper() {
        assert!(["pepper-too-many", "store-conflict"].contains(&error.code()), "{error}");
    }
    for old in engine.pepper_uses().unwrap().iter().skip(1).filter(|old| !old.is_needed()) {
        if let Err(error) = engine.drop_pepper(old.version, false) {
            assert!(["invalid-argument", "store-conflict", "not-found"].contains(&error.code()), "{error}");
        }
    }
}

/// One of the eight.
fn work(folder: &Path, number: u64) {
    let engine = engine(folder);
    let mut dice = Dice(number + 1);
    for round in 0..ROUNDS {
        let act = format!("{number}x{round}");
        let accounts = accounts(folder);
        let (id, account) = &accounts[usize::try_from(dice.roll(accounts.len() as u64)).unwrap()];
        match dice.roll(40) {
            0..8 => rotate(&engine, id, account, &act),
            8 => {
                account.mark(&format!("begin-{act}"));
                engine.revoke_api_key(id, "for the test").unwrap();
                account.mark("revoked");
                account.mark(&format!("end-{act}"));
            }
            9 => issue(&engine, folder, &act),
            10 => other_pepper(&engine),
            _ => {
                for _ in 0..4 {
                    check(&engine, account, &mut dice);
                }
            }
        }
    }
    engine.flush().unwrap();
}

#[test]
fn eight_processes_at_once_are_never_told_wrong() {
    if let Ok(given) = env::var(FOLDER) {
        let (number, folder) = given.split_once(':').unwrap();
        return work(Path::new(folder), number.parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("account")).unwrap();
    let before = engine(folder);
    (0..KEYS).for_each(|number| issue(&before, folder, &number.to_string()));
    let children: Vec<_> = (0..PROCESSES)
        .map(|number| {
            Command::new(env::current_exe().unwrap())
                .args([ME, "--exact", "--nocapture"])
                .env(FOLDER, format!("{number}:{}", folder.display()))
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    // What all of them were told, in a process that was there all the time and in one that starts now.
    let accounts = accounts(folder);
    let mut rotated = 0;
    for engine in [&before, &engine(folder)] {
        rotated = 0;
        for (id, account) in &accounts {
            let revoked = !account.names("revoked").is_empty();
            let told = account.names("token-");
            rotated += told.len() - 1;
            let good = told.iter().filter(|name| {
                engine.verify_api_key(account.token(name).0.as_bytes(), UsageContext::default()).unwrap()
            });
            assert_eq!(good.count(), usize::from(!revoked), "{id}");
        }
        assert_eq!(engine.list_api_keys(&KeyFilter::default()).unwrap().len(), accounts.len());
    }
    assert!(rotated > 40, "{rotated} rotations are no crowd");
    let newest = before.pepper_uses().unwrap()[0].version;
    assert!(newest > 2, "{newest} peppers are no crowd");
    let report = before.verify_audit_log().unwrap();
    assert!(report.intact, "{:?}", report.first_broken);
    let failed =
        before.audit_log(10_000, &Map::from_iter([("event".to_owned(), "act_failed".into())])).unwrap();
    let failed = failed.iter().filter(|failed| failed["details"]["event"] == "key_rotated").count();
    let begun =
        before.audit_log(10_000, &Map::from_iter([("event".to_owned(), "key_rotated".into())])).unwrap();
    assert_eq!(begun.len() - failed, rotated, "each rotation is in the trail, and each that was refused");
}
