//! Keys under kill -9: whatever is rotated or revoked at that moment, or the pepper that all of it is kept under, what was told
//! to be over is over, and what nobody began to end is accepted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use security::{Coded, Engine, IssueRequest, KeyFilter, KeyReason, Options, UsageContext};

const ME: &str = "keys_are_what_was_told_after_kill_9";
const FOLDER: &str = "SECURITY_KEY_KILLS_FOLDER";
const PARTS: [&str; 4] = ["keys", "keys", "peppers", "keys"];
/// Rotations of a key before it is revoked.
const ROTATIONS: u32 = 4;

fn engine(folder: &Path) -> Engine {
    Engine::open(Options { data_dir: Some(folder.to_owned()), ..Options::default() }).unwrap()
}

/// Says that something begins or is done; to be believed as soon as its whole line is read.
fn tell(what: &str, id: &str, token: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nack {what} {id} {token} .").unwrap();
    out.flush().unwrap();
}

/// Issues a key, rotates it some times, revokes it; and so on, for ever.
fn keys(folder: &Path) {
    let engine = engine(folder);
    loop {
        let request = IssueRequest { name: "n".into(), ..IssueRequest::default() };
        let (view, token) = engine.issue_api_key(request).unwrap();
        tell("is", &view.id, token.expose_text().unwrap());
        for _ in 0..ROTATIONS {
            tell("rotates", &view.id, "-");
            // A pepper that was given up in between is told as a conflict, and nothing changed.
            let renewed = engine.rotate_api_key(&view.id, Duration::ZERO);
            let token = match renewed {
                Ok((_, token)) => token,
                Err(error) => {
                    assert_eq!(error.code(), "store-conflict", "{error}");
                    break;
                }
            };
            tell("is", &view.id, token.expose_text().unwrap());
            assert!(engine.verify_api_key(token.expose(), UsageContext::default()).unwrap());
        }
        tell("ends", &view.id, "-");
        engine.revoke_api_key(&view.id, "").unwrap();
        tell("ended", &view.id, "-");
    }
}

/// Puts one pepper after the other in force, and gives up what nothing needs, for ever.
fn peppers(folder: &Path) {
    let engine = engine(folder);
    loop {
        match engine.rotate_pepper() {
            Ok(made) => tell("pepper", &made.version.to_string(), "-"),
            Err(error) => assert_eq!(error.code(), "pepper-too-many", "{error}"),
        }
        give_up_what_nothing_needs(&engine);
    }
}

fn give_up_what_nothing_needs(engine: &Engine) {
    for old in engine.pepper_uses().unwrap().iter().skip(1).filter(|old| !old.is_needed()) {
        if let Err(error) = engine.drop_pepper(old.version, true) {
            assert!(["invalid-argument", "store-conflict", "not-found"].contains(&error.code()), "{error}");
        }
    }
}

fn start(folder: &Path, part: &str) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", ME, "--nocapture", "--test-threads=1"]).env(FOLDER, folder).env("PART", part);
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// What was told of one key, in order: its tokens, and what was begun last.
#[derive(Default)]
struct Told {
    tokens: Vec<String>,
    last: String,
}

fn check(engine: &Engine, told: &BTreeMap<String, Told>) {
    for (id, Told { tokens, last }) in told {
        let reason = |token: &String| {
            engine.check_api_key(token.as_bytes(), &[], UsageContext::default()).unwrap().reason
        };
        let Some((now, before)) = tokens.split_last() else { continue };
        for token in before {
            assert_eq!(reason(token), KeyReason::Unknown, "{id}: a token that was rotated away");
        }
        let found = reason(now);
        let fits = match last.as_str() {
            "is" => found == KeyReason::Ok,
            "rotates" => found == KeyReason::Ok || found == KeyReason::Unknown,
            "ends" => matches!(found, KeyReason::Ok | KeyReason::Revoked | KeyReason::Unknown),
            // Without its pepper nobody can tell whose token it was.
            _ => matches!(found, KeyReason::Revoked | KeyReason::Unknown),
        };
        assert!(fits, "{id}: {found}, although the last that was told is `{last}`");
    }
}

#[test]
fn keys_are_what_was_told_after_kill_9() {
    if let Some(folder) = env::var_os(FOLDER) {
        return match env::var("PART").unwrap().as_str() {
            "keys" => keys(folder.as_ref()),
            _ => peppers(folder.as_ref()),
        };
    }
    let kills: usize = env::var("SECURITY_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let temp = tempfile::tempdir().unwrap();
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut peppers = 0;
    // One that is there all the time.
    let before = engine(temp.path());
    for round in 0..kills.div_ceil(PARTS.len()) {
        let (say, hear) = mpsc::channel();
        let children: Vec<_> = PARTS
            .map(|part| {
                let mut child = start(temp.path(), part);
                let (out, say) = (child.stdout.take().unwrap(), say.clone());
                let reader = std::thread::spawn(move || {
                    for line in BufReader::new(out).lines().map_while(Result::ok) {
                        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
                        if let Ok([ack, what, id, token, end]) = <[String; 5]>::try_from(words)
                            && (ack.as_str(), end.as_str()) == ("ack", ".")
                        {
                            say.send([what, id, token]).unwrap();
                        }
                    }
                });
                (child, reader)
            })
            .into();
        drop(say);
        // In the middle of things, at another point each time.
        let patience = Duration::from_secs(120);
        let mut heard: Vec<_> =
            (0..=(round * 7) % 30).map(|_| hear.recv_timeout(patience).unwrap()).collect();
        std::thread::sleep(Duration::from_micros((round as u64 * 7919) % 20_000));
        for (mut child, reader) in children {
            child.kill().unwrap();
            assert!(!child.wait().unwrap().success(), "it was killed, and did not end by itself");
            reader.join().unwrap();
        }
        heard.extend(hear.iter());
        for [what, id, token] in heard {
            if what == "pepper" {
                peppers += 1;
                continue;
            }
            let key = told.entry(id).or_default();
            key.tokens.extend((what == "is").then_some(token));
            key.last = what;
        }
        let after = engine(temp.path());
        check(&after, &told);
        check(&before, &told);
        let report = after.verify_audit_log().unwrap();
        assert!(report.intact, "{report:?}");
        // Keys whose tokens nobody was told would hold their peppers for ever.
        let live = KeyFilter { active: Some(true), ..KeyFilter::default() };
        for key in after.list_api_keys(&live).unwrap() {
            let told = told.entry(key.id.clone()).or_default();
            if told.last != "is" {
                after.revoke_api_key(&key.id, "lost").unwrap();
                told.last = "ended".into();
            }
        }
        // What was checked moves over; then whatever was cut off is ended by one call.
        after.flush().unwrap();
        before.flush().unwrap();
        give_up_what_nothing_needs(&after);
        after.rotate_pepper().unwrap();
        check(&after, &told);
    }
    assert!(peppers > 0, "no pepper was put in force while others were at it");
}
