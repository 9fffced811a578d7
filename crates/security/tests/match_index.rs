//! The match index in use: many indicators, several engines, changes over the file, damage.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod listed;

use std::{
    fs,
    io::{self, Cursor},
    path::{Path, PathBuf},
    time::Duration,
};

use listed::{draft, engine, import, lists};
use security_indicators::{IndexBuilder, IndexFile, Indicator, Scratch};
use security_intel::IndicatorStore as _;
use tempfile::TempDir;

fn file(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder.join("iocs")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "idx")).collect();
    assert!(files.len() <= 1, "{files:?}");
    files.pop()
}

/// Other bytes under the same name, as a disk would have it; who has the file mapped is not touched.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn many_are_answered_from_the_file_and_changes_win_over_it() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    assert!(!lists(&other, "domain", "h5.example"), "it follows from the start");
    import(&one, 0..21_000);
    let status = one.status()["match_index"].clone();
    assert_eq!((&status["entries"], &status["behind"]), (&21_000.into(), &0.into()));
    assert!(status["bytes"].as_u64().unwrap() < 24 * 21_000);
    let later = engine(folder.path());
    for engine in [&one, &other, &later] {
        assert!(lists(engine, "domain", "h5.example") && lists(engine, "url", "http://a.h20999.example/x"));
        assert!(!lists(engine, "domain", "h21000.example") && !lists(engine, "url", "http://example.net/"));
    }
    // What comes and goes over the file holds in every process at once, and in one that comes later.
    one.add_ioc(draft("ip", "192.0.2.7")).unwrap();
    assert!(other.remove_ioc("domain", "h5.example").unwrap());
    other.add_ioc(draft("domain", "h5.example.net")).unwrap();
    assert!(one.remove_ioc("domain", "h6.example").unwrap());
    one.add_ioc(draft("domain", "h6.example")).unwrap();
    for engine in [&one, &other, &later, &self::engine(folder.path())] {
        assert!(lists(engine, "ip", "192.0.2.7") && lists(engine, "domain", "h5.example.net"));
        assert!(!lists(engine, "domain", "h5.example") && lists(engine, "domain", "h6.example"));
        assert_eq!(engine.check_ioc("domain", "www.h6.example").unwrap().count, 1, "once");
    }
    assert_eq!(one.status()["match_index"]["behind"], 5);
}

#[test]
fn a_process_that_followed_many_changes_makes_a_file_and_goes_over_to_it() {
    let folder = TempDir::new().unwrap();
    let (one, idle) = (engine(folder.path()), engine(folder.path()));
    assert!(!lists(&one, "domain", "h1.example") && !lists(&idle, "domain", "h1.example"));
    listed::store_words(folder.path(), 0..20_500);
    assert_eq!(file(folder.path()), None);
    one.add_ioc(draft("domain", "new.example")).unwrap();
    assert!(lists(&one, "domain", "h1.example"), "this look hears of twenty thousand changes");
    for _ in 0..600 {
        if one.status()["match_index"]["entries"] == 20_501 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(one.status()["match_index"]["entries"], 20_501);
    assert!(one.remove_ioc("domain", "h2.example").unwrap());
    for engine in [&one, &idle, &engine(folder.path())] {
        assert!(lists(engine, "domain", "h1.example") && lists(engine, "domain", "new.example"));
        assert!(!lists(engine, "domain", "h2.example"));
    }
}

#[test]
fn what_has_expired_is_no_match_whatever_the_file_says() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    import(&engine, 0..20_500);
    let mut words = listed::words(30_000..30_002);
    words[0].valid_until = Some("2020-01-01T00:00:00Z".parse().unwrap());
    listed::store(folder.path()).upsert_indicators(&words).unwrap();
    let later = self::engine(folder.path());
    assert!(lists(&later, "domain", "h30001.example") && !lists(&later, "domain", "h30000.example"));
    // A word without an end lifts the end, and says nothing to the change feed.
    later.add_ioc(draft("domain", "h30000.example")).unwrap();
    assert!(lists(&later, "domain", "h30000.example"));
}

#[test]
fn a_damaged_file_is_noticed_by_whoever_meets_it_and_made_anew() {
    let folder = TempDir::new().unwrap();
    import(&engine(folder.path()), 0..21_000);
    for (at, what) in [(20_480, "every bucket"), (70, "the header"), (usize::MAX, "cut short")] {
        let path = file(folder.path()).unwrap();
        let mut damaged = fs::read(&path).unwrap();
        match at {
            usize::MAX => damaged.truncate(damaged.len() / 2),
            70 => damaged[70] ^= 1,
            _ => damaged[20_480..].chunks_mut(64).for_each(|bucket| bucket[20] ^= 1),
        }
        replace(&path, &damaged);
        let engine = engine(folder.path());
        assert!(lists(&engine, "domain", "www.h20000.example"), "{what}");
        assert!(!lists(&engine, "domain", "h21000.example"), "{what}");
        let made = file(folder.path()).unwrap();
        assert_ne!(made, path, "{what}: another one is in its place");
        let made = IndexFile::parse(fs::read(&made).unwrap()).unwrap();
        assert_eq!((made.verify(), made.len()), (Ok(()), 21_000));
        let detected = engine.detect_threats(&serde_json::json!({"host": "h77.example"}), "req-1").unwrap();
        assert_eq!(detected["detected"], true, "{what}");
    }
}

#[test]
fn a_missing_file_and_a_store_put_back_to_an_earlier_state_answer_right() {
    let folder = TempDir::new().unwrap();
    import(&engine(folder.path()), 0..21_000);
    let database = folder.path().join("iocs/indicators.sqlite");
    // The last process to close it has moved the log into the file.
    let (earlier, first) = (fs::read(&database).unwrap(), file(folder.path()).unwrap());
    {
        let engine = engine(folder.path());
        assert!(engine.remove_ioc("domain", "h3.example").unwrap());
        import(&engine, 21_000..42_500);
        assert!(lists(&engine, "domain", "h42000.example") && !lists(&engine, "domain", "h3.example"));
    }
    assert_ne!(file(folder.path()).unwrap(), first, "a newer one, made of the later state");
    replace(&database, &earlier);
    let engine = engine(folder.path());
    assert!(lists(&engine, "domain", "h3.example") && !lists(&engine, "domain", "h42000.example"));
    drop(engine);
    fs::remove_file(file(folder.path()).unwrap()).unwrap();
    let engine = self::engine(folder.path());
    assert!(lists(&engine, "domain", "h3.example") && !lists(&engine, "domain", "h42000.example"));
    assert!(file(folder.path()).is_some());
}

#[test]
fn a_source_taken_back_is_gone_from_the_file_too() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    import(&one, 0..21_000);
    one.add_ioc(draft("domain", "h9.example")).unwrap();
    let before = file(folder.path()).unwrap();
    assert!(lists(&other, "domain", "h8.example"));
    let mut heard = Vec::new();
    let done = one.remove_source("crowd", &mut |done| heard.push(done.removed + done.kept)).unwrap();
    assert_eq!((done.removed, done.kept, heard), (20_999, 1, vec![10_000, 20_000, 21_000]));
    assert_ne!(file(folder.path()).unwrap(), before);
    for engine in [&one, &other, &engine(folder.path())] {
        assert!(!lists(engine, "domain", "h8.example") && lists(engine, "domain", "h9.example"));
        assert_eq!(engine.status()["match_index"]["entries"], 1);
    }
    let error = one.remove_source("crowd", &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "source `crowd` does not exist");
}

/// Values by the thousand, from the file, from what changed since, and from nowhere.
#[test]
fn many_at_once_are_answered_as_one_by_one() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    import(&engine, 0..21_000);
    let ask = || {
        let values: Vec<String> = (0..40_000)
            .map(|n| match n % 3 {
                0 => format!("h{}.example", n / 2),
                1 => format!("www.h{n}.example"),
                _ => format!("other{n}.example"),
            })
            .collect();
        let met = engine.matched_iocs("domain", &values).unwrap();
        assert!(met.iter().map(|met| met.index).is_sorted());
        let mut met = met.into_iter().peekable();
        for (index, value) in values.iter().enumerate() {
            let alone = engine.check_ioc("domain", value).unwrap();
            let together = met.next_if(|met| met.index == index).map(|met| met.check);
            let rows = |check: &security::IocCheck| -> Vec<_> {
                check
                    .matches
                    .iter()
                    .map(|found| (found.ioc.view()["value"].clone(), found.match_type))
                    .collect()
            };
            assert_eq!(together.as_ref().map(rows).unwrap_or_default(), rows(&alone), "{value}");
            assert_eq!(together.map_or(0, |check| check.count), alone.count, "{value}");
        }
        assert!(met.next().is_none());
    };
    ask();
    engine.remove_ioc("domain", "h6.example").unwrap();
    engine.add_ioc(draft("domain", "other5.example")).unwrap();
    ask();
}

struct NoRuns;

impl Scratch for NoRuns {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What a hash says is a guess: here every one of them leads to the record of another value.
#[test]
fn a_hit_that_the_record_denies_is_none() {
    let folder = TempDir::new().unwrap();
    import(&engine(folder.path()), 0..21_000);
    let path = file(folder.path()).unwrap();
    let made = IndexFile::parse(fs::read(&path).unwrap()).unwrap();
    let mut builder = IndexBuilder::new(made.id(), [3; 16], made.revision(), 1 << 30, NoRuns);
    let other = Indicator::from_parts("domain", "never-listed.example").unwrap();
    builder.insert(other.kind(), other.value(), 1).unwrap();
    let inside = Indicator::from_parts("cidr", "192.0.2.0/24").unwrap();
    builder.insert(inside.kind(), inside.value(), 2).unwrap();
    replace(&path, &builder.finish(Cursor::new(Vec::new())).unwrap().into_inner());
    let engine = engine(folder.path());
    assert!(!lists(&engine, "domain", "never-listed.example") && !lists(&engine, "ip", "192.0.2.1"));
    let answer = engine.check_threat_intelligence("www.never-listed.example", None).unwrap();
    assert_eq!(answer["found"], false);
}
