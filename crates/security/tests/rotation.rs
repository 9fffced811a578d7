//! Rotation in steps: what each outcome leaves in force, in the audit trail and in the history.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use security::{
    Coded as _, ConfigSource, CredentialKind, Engine, Error, HookFailure, Options, RotationHook,
    RotationStep, Secret, UsageContext,
};
use security_core::{ChangeSignal, Domain};
use security_credentials::{CredentialEvent, CredentialRecord, CredentialStore as _, HistoryEntry};
use security_store::EmbeddedStore;
use serde_json::{Value, json};

const OLD: &str = "set-by-the-operator-5a1";

fn engine(folder: &Path) -> Engine {
    engine_with(folder, json!({"credentials": {"DB_PASSWORD": OLD}}))
}

fn engine_with(folder: &Path, config: Value) -> Engine {
    let config = Some(ConfigSource::Inline(config));
    Engine::open(Options { data_dir: Some(folder.into()), config, ..Options::default() }).unwrap()
}

fn accepts(engine: &Engine, value: &[u8]) -> bool {
    engine.verify_credential(CredentialKind::DbPassword, value, UsageContext::default()).unwrap()
}

/// The events of the history, oldest first.
fn history(folder: &Path) -> Vec<(String, Value)> {
    let lines = std::fs::read_to_string(folder.join("credential_history/history.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["event"].as_str().unwrap().to_owned(), line["details"].clone())).collect()
}

fn events(folder: &Path) -> Vec<String> {
    history(folder).into_iter().map(|(event, _)| event).collect()
}

/// A database of one row: what was made there, what its users have, and what is ended.
#[derive(Default)]
struct Database {
    log: Mutex<Vec<&'static str>>,
    made: Mutex<Vec<u8>>,
    fails_at: Option<RotationStep>,
    keeps_old: bool,
}

impl Database {
    fn does(&self, step: RotationStep, name: &'static str) -> Result<(), HookFailure> {
        self.log.lock().unwrap().push(name);
        match self.fails_at == Some(step) {
            true => {
                Err(HookFailure::of_kind("OperationalError").because(std::io::Error::other("with a secret")))
            }
            false => Ok(()),
        }
    }
}

impl RotationHook for Database {
    fn create(&self, new: &Secret) -> Result<(), HookFailure> {
        *self.made.lock().unwrap() = new.expose().to_vec();
        self.does(RotationStep::Create, "create")
    }

    fn test(&self, new: &Secret) -> Result<(), HookFailure> {
        assert_eq!(*self.made.lock().unwrap(), new.expose());
        self.does(RotationStep::Test, "test")
    }

    fn switches(&self) -> bool {
        true
    }

    fn switch(&self, _: &Secret) -> Result<(), HookFailure> {
        self.does(RotationStep::Switch, "switch")
    }

    fn retires(&self) -> bool {
        !self.keeps_old
    }

    fn retire(&self) -> Result<(), HookFailure> {
        self.does(RotationStep::Retire, "retire")
    }
}

fn rotate(engine: &Engine, hook: &dyn RotationHook, grace: u64) -> Result<Secret, Error> {
    engine.rotate_credential_with("db_password", Some("a-request"), Duration::from_secs(grace), hook)
}

#[test]
fn every_step_in_its_order_and_the_old_value_ends_last() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let database = Database::default();
    let new = rotate(&engine, &database, 0).unwrap();
    assert_eq!(*database.log.lock().unwrap(), ["create", "test", "switch", "retire"]);
    assert!(accepts(&engine, new.expose()) && !accepts(&engine, OLD.as_bytes()));
    assert_eq!(events(folder.path()), ["seen", "rotation_begun", "rotation_switched", "rotated", "retired"]);
    assert!(engine.verify_audit_log().unwrap().intact);
}

#[test]
fn with_a_grace_retirement_waits_for_it_or_for_the_next_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let database = Database::default();
    rotate(&engine, &database, 3600).unwrap();
    assert_eq!(*database.log.lock().unwrap(), ["create", "test", "switch"]);
    assert!(accepts(&engine, OLD.as_bytes()), "in grace");
    assert!(engine.status()["credentials"]["DB_PASSWORD"]["retire_at"].is_string());
    database.log.lock().unwrap().clear();
    rotate(&engine, &database, 3600).unwrap();
    assert_eq!(*database.log.lock().unwrap(), ["retire", "create", "test", "switch"]);
}

#[test]
fn a_step_that_fails_leaves_the_old_value_in_force_and_says_so() {
    for (step, steps, events_after) in [
        (RotationStep::Create, &["create"][..], &["seen", "rotation_begun", "rotation_failed"][..]),
        (RotationStep::Test, &["create", "test"], &["seen", "rotation_begun", "rotation_failed"]),
        (
            RotationStep::Switch,
            &["create", "test", "switch"],
            &["seen", "rotation_begun", "rotation_switched", "rotation_failed"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        let database = Database { fails_at: Some(step), ..Database::default() };
        let error = rotate(&engine, &database, 0).unwrap_err();
        assert_eq!(error.code(), "rotation-failed");
        assert_eq!(
            error.to_string(),
            format!("the rotation of DB_PASSWORD failed at {step}: OperationalError")
        );
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert_eq!(*database.log.lock().unwrap(), steps);
        let made = database.made.lock().unwrap().clone();
        assert!(accepts(&engine, OLD.as_bytes()) && !accepts(&engine, &made), "{step}");
        assert_eq!(events(folder.path()), events_after);
        let details = history(folder.path()).pop().unwrap().1;
        assert_eq!(details, json!({"step": step, "error": "OperationalError"}));
        let trail = engine.audit_log(2, &serde_json::Map::new()).unwrap();
        assert_eq!(trail[0]["event"], "act_failed");
        assert_eq!(trail[0]["details"]["error"], error.to_string());
        assert_eq!(
            (&trail[1]["event"], &trail[1]["request_id"]),
            (&json!("credential_rotated"), &json!("a-request"))
        );
        assert!(engine.verify_audit_log().unwrap().intact);
        // The next one is as good as any.
        let new = rotate(&engine, &Database { keeps_old: true, ..Database::default() }, 0).unwrap();
        assert!(accepts(&engine, new.expose()) && !accepts(&engine, OLD.as_bytes()));
    }
}

#[test]
fn a_retirement_that_fails_does_not_undo_the_rotation_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let stuck = Database { fails_at: Some(RotationStep::Retire), ..Database::default() };
    let new = rotate(&engine, &stuck, 0).unwrap();
    assert!(accepts(&engine, new.expose()) && !accepts(&engine, OLD.as_bytes()));
    assert!(engine.status()["credentials"]["DB_PASSWORD"]["retire_at"].is_string());
    let failed = rotate(&engine, &stuck, 0).unwrap_err();
    assert_eq!(failed.to_string(), "the rotation of DB_PASSWORD failed at retire: OperationalError");
    assert!(accepts(&engine, new.expose()));
    rotate(&engine, &Database::default(), 0).unwrap();
    assert!(engine.status()["credentials"]["DB_PASSWORD"]["retire_at"].is_null());
}

/// A hook that waits in `test` until it is told to go on.
struct Slow {
    entered: Mutex<Sender<()>>,
    go_on: Mutex<Receiver<()>>,
}

impl Slow {
    fn new() -> (Self, Receiver<()>, Sender<()>) {
        let ((entered, has_entered), (tell, go_on)) = (channel(), channel());
        (Self { entered: Mutex::new(entered), go_on: Mutex::new(go_on) }, has_entered, tell)
    }
}

impl RotationHook for Slow {
    fn create(&self, _: &Secret) -> Result<(), HookFailure> {
        Ok(())
    }

    fn test(&self, _: &Secret) -> Result<(), HookFailure> {
        self.entered.lock().unwrap().send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        Ok(())
    }
}

#[test]
fn of_two_at_once_one_wins_and_the_other_is_told_while_checks_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, other) = (engine(folder.path()), engine(folder.path()));
    let (slow, entered, go_on) = Slow::new();
    std::thread::scope(|scope| {
        // Ends with this closure, so that what fails below is told and not waited for.
        let go_on = go_on;
        let first = scope.spawn(|| rotate(&mine, &slow, 0));
        entered.recv().unwrap();
        for engine in [&mine, &other] {
            let told = rotate(engine, &Database::default(), 0).unwrap_err();
            assert_eq!(told.code(), "rotation-under-way");
            assert!(
                told.to_string().starts_with("a rotation of DB_PASSWORD is under way since 20"),
                "{told}"
            );
            let told = engine.rotate_credential("DB_PASSWORD", None, Duration::ZERO).unwrap_err();
            assert_eq!(told.code(), "rotation-under-way");
            assert!(accepts(engine, OLD.as_bytes()));
            assert!(engine.status()["credentials"]["DB_PASSWORD"]["rotating_since"].is_string());
            engine.rotate_credential("API_KEY", None, Duration::ZERO).unwrap();
            let key = engine.issue_api_key(security::IssueRequest { name: "n".into(), ..Default::default() });
            assert!(engine.verify_api_key(key.unwrap().1.expose(), UsageContext::default()).unwrap());
        }
        let third = engine(folder.path());
        assert!(
            third.status()["credentials"]["DB_PASSWORD"]["rotating_since"].is_string(),
            "a start ends none"
        );
        go_on.send(()).unwrap();
        let new = first.join().unwrap().unwrap();
        assert!([&mine, &other].into_iter().all(|engine| accepts(engine, new.expose())));
        assert!(!accepts(&other, OLD.as_bytes()));
    });
}

#[test]
fn a_crowd_that_rotates_at_once_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let rotate = || engine.rotate_credential("db_password", None, Duration::ZERO);
        let crowd: Vec<_> = (0..8).map(|_| scope.spawn(rotate)).collect();
        crowd.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let accepted = outcomes.iter().flatten().filter(|new| accepts(&engine, new.expose())).count();
    assert_eq!(accepted, 1);
    let told = outcomes.iter().flat_map(|outcome| outcome.as_ref().err());
    assert!(told.into_iter().all(|error| error.code() == "rotation-under-way"));
    let won = outcomes.iter().flatten().count();
    assert_eq!(events(folder.path()).iter().filter(|event| *event == "rotated").count(), won);
}

#[test]
fn of_many_who_rotate_one_key_at_once_each_token_that_is_told_was_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let request = security::IssueRequest { name: "shared".into(), ..Default::default() };
    let id = engine.issue_api_key(request).unwrap().0.id;
    for _ in 0..5 {
        let before = events(folder.path()).len();
        let barrier = std::sync::Barrier::new(6);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let rotate = || {
                barrier.wait();
                engine.rotate_api_key(&id, Duration::ZERO)
            };
            let crowd: Vec<_> = (0..6).map(|_| scope.spawn(rotate)).collect();
            crowd.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let told = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        assert!(told.into_iter().all(|error| error.code() == "store-conflict"));
        let won: Vec<_> = outcomes.iter().flatten().collect();
        let live = won
            .iter()
            .filter(|(_, new)| engine.verify_api_key(new.expose(), UsageContext::default()).unwrap());
        assert_eq!(live.count(), 1);
        assert_eq!(events(folder.path()).len() - before, won.len());
    }
}

/// A hook that uses the engine from within.
struct Caller(Arc<Engine>);

impl RotationHook for Caller {
    fn create(&self, new: &Secret) -> Result<(), HookFailure> {
        let value = security::SecretValue { bytes: Secret::new(new.expose()), is_text: true };
        let draft = security::SecretDraft {
            name: "db/login".into(),
            value,
            metadata: serde_json::Map::new(),
            if_version: None,
        };
        self.0.store_secret(draft).map_err(|error| HookFailure::of_kind(error.code()))?;
        Ok(())
    }

    fn test(&self, new: &Secret) -> Result<(), HookFailure> {
        assert!(!accepts(&self.0, new.expose()) && accepts(&self.0, OLD.as_bytes()));
        let inner = self.0.rotate_credential("db_password", None, Duration::ZERO).unwrap_err();
        assert_eq!(inner.code(), "rotation-under-way");
        self.0.flush().unwrap();
        assert!(self.0.verify_audit_log().unwrap().intact);
        Ok(())
    }

    fn switches(&self) -> bool {
        true
    }

    fn switch(&self, new: &Secret) -> Result<(), HookFailure> {
        assert!(accepts(&self.0, new.expose()) && accepts(&self.0, OLD.as_bytes()), "both are accepted");
        Ok(())
    }
}

#[test]
fn a_hook_may_call_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(engine(folder.path()));
    let new = rotate(&engine, &Caller(engine.clone()), 0).unwrap();
    let kept = engine.read_secret("db/login", None, UsageContext::default()).unwrap();
    assert!(kept.bytes == new);
}

/// The store itself, without the engine.
struct Silent;

impl ChangeSignal for Silent {
    fn begin(&self, _: Domain) {}
    fn finish(&self, _: Domain) {}
}

fn change_beneath(folder: &Path, change: impl FnOnce(&mut CredentialRecord)) {
    let store = EmbeddedStore::open(folder, Arc::new(Silent)).unwrap();
    let mut record = store.credential(CredentialKind::MailApiKey).unwrap().unwrap();
    change(&mut record);
    let line = HistoryEntry {
        at: record.created_at,
        credential: "MAIL_API_KEY".into(),
        event: CredentialEvent::RotationPlanned,
        request_id: "beneath".into(),
        details: serde_json::Map::new(),
    };
    store.save_credential(&record, &line).unwrap();
}

/// Hooks are the process's, so no other test here rotates this credential.
#[test]
fn a_schedule_rotates_what_is_due_and_retires_what_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_with(folder.path(), json!({"credentials": {"MAIL_API_KEY": "of-the-operator-77"}}));
    let database = Arc::new(Database::default());
    let grace = Duration::from_millis(300);
    security::on_rotate("mail_api_key", Some(database.clone()), grace).unwrap();
    let refused =
        [security::on_rotate("mail", None, grace), security::on_rotate("api_key", None, Duration::MAX)];
    assert!(refused.into_iter().all(|outcome| outcome.unwrap_err().code() == "invalid-argument"));
    engine.schedule_credential_rotation().unwrap();
    assert!(database.log.lock().unwrap().is_empty(), "nothing is due yet");
    change_beneath(folder.path(), |record| record.plan_rotation(Some(record.created_at)));
    engine.schedule_credential_rotation().unwrap();
    assert_eq!(*database.log.lock().unwrap(), ["create", "test", "switch"]);
    let made = database.made.lock().unwrap().clone();
    assert!(engine.verify_credential(CredentialKind::MailApiKey, &made, UsageContext::default()).unwrap());
    std::thread::sleep(grace + Duration::from_millis(10));
    engine.schedule_credential_rotation().unwrap();
    assert_eq!(*database.log.lock().unwrap(), ["create", "test", "switch", "retire"]);
    engine.schedule_credential_rotation().unwrap();
    assert_eq!(database.log.lock().unwrap().len(), 4, "once");
    // A rotation by hand uses the hook as well, until it is taken away.
    engine.rotate_credential("MAIL_API_KEY", None, Duration::ZERO).unwrap();
    assert_eq!(database.log.lock().unwrap().len(), 8);
    security::on_rotate("MAIL_API_KEY", None, Duration::ZERO).unwrap();
    engine.rotate_credential("MAIL_API_KEY", None, Duration::ZERO).unwrap();
    assert_eq!(database.log.lock().unwrap().len(), 8);
}

const CHILD: &str = "SECURITY_ROTATION_CHILD";

/// Ends its process in the midst of a step.
struct Killed(RotationStep);

impl RotationHook for Killed {
    fn create(&self, new: &Secret) -> Result<(), HookFailure> {
        let made = new.expose_text().unwrap();
        writeln!(std::io::stdout().lock(), "made:{made}").unwrap();
        self.here(RotationStep::Create)
    }

    fn test(&self, _: &Secret) -> Result<(), HookFailure> {
        self.here(RotationStep::Test)
    }

    fn switches(&self) -> bool {
        true
    }

    fn switch(&self, _: &Secret) -> Result<(), HookFailure> {
        self.here(RotationStep::Switch)
    }

    fn retires(&self) -> bool {
        true
    }

    fn retire(&self) -> Result<(), HookFailure> {
        self.here(RotationStep::Retire)
    }
}

impl Killed {
    fn here(&self, step: RotationStep) -> Result<(), HookFailure> {
        if self.0 == step {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        Ok(())
    }
}

/// A process that is killed at every step in turn; run again as a child by the test itself.
#[test]
fn a_process_killed_at_any_step_leaves_what_the_next_start_resolves() {
    const STEPS: [RotationStep; 4] =
        [RotationStep::Create, RotationStep::Test, RotationStep::Switch, RotationStep::Retire];
    if let Ok(given) = std::env::var(CHILD) {
        let (step, folder) = given.split_once(':').unwrap();
        let engine = engine(Path::new(folder));
        drop(rotate(&engine, &Killed(STEPS[step.parse::<usize>().unwrap()]), 0));
        unreachable!("it was killed");
    }
    for (number, step) in STEPS.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let test = "a_process_killed_at_any_step_leaves_what_the_next_start_resolves";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(CHILD, format!("{number}:{}", folder.path().display()))
            .output()
            .unwrap();
        let printed = String::from_utf8(child.stdout).unwrap();
        let made = printed.lines().find_map(|line| line.split_once("made:")).unwrap().1.to_owned();
        let engine = engine(folder.path());
        let status = engine.status()["credentials"]["DB_PASSWORD"].clone();
        assert!(status["rotating_since"].is_null(), "{step}: {status}");
        let (old, new) = (accepts(&engine, OLD.as_bytes()), accepts(&engine, made.as_bytes()));
        let last = history(folder.path()).pop().unwrap();
        match step {
            RotationStep::Create | RotationStep::Test => assert_eq!((old, new), (true, false), "{step}"),
            RotationStep::Switch => assert_eq!((old, new), (true, true), "its users may have either"),
            RotationStep::Retire => assert_eq!((old, new), (false, true), "{step}"),
        }
        match step {
            RotationStep::Retire => assert!(last.0 == "rotated" && status["retire_at"].is_string()),
            _ => assert!(last.0 == "rotation_failed" && last.1["error"] == "its process ended", "{last:?}"),
        }
        let database = Database::default();
        let next = rotate(&engine, &database, 0).unwrap();
        assert_eq!(database.log.lock().unwrap().first() == Some(&"retire"), step == RotationStep::Retire);
        assert!(accepts(&engine, next.expose()));
        assert!(!accepts(&engine, OLD.as_bytes()) && !accepts(&engine, made.as_bytes()));
        assert!(engine.verify_audit_log().unwrap().intact);
    }
}
