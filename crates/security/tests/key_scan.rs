//! Own keys found in texts, files and folders.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use security::{
    ConfigSource, Engine, FoundKey, IssueRequest, KeyScanListener, KeyScanOptions, KeyScanTotals, KeyStatus,
    Options, Secret, SkippedFile,
};
use tempfile::TempDir;

#[derive(Default)]
struct Heard {
    found: Vec<FoundKey>,
    skipped: Vec<(PathBuf, SkippedFile)>,
    most: Option<usize>,
}

impl KeyScanListener for Heard {
    fn found(&mut self, key: FoundKey) -> bool {
        self.found.push(key);
        self.most.is_none_or(|most| self.found.len() < most)
    }

    fn skipped(&mut self, file: &Path, why: SkippedFile) {
        self.skipped.push((file.to_owned(), why));
    }
}

fn engine(folder: &Path) -> Engine {
    let config = Some(ConfigSource::Inline(serde_json::json!({})));
    Engine::open(Options { data_dir: Some(folder.to_owned()), config, ..Options::default() }).unwrap()
}

fn issue(engine: &Engine, request: IssueRequest) -> (String, Secret) {
    let (view, key) = engine.issue_api_key(request).unwrap();
    (view.id, key)
}

fn named(name: &str) -> IssueRequest {
    IssueRequest { name: name.into(), ..IssueRequest::default() }
}

fn text(key: &Secret) -> &str {
    key.expose_text().unwrap()
}

fn scan(engine: &Engine, path: &Path, options: KeyScanOptions) -> (KeyScanTotals, Heard) {
    let mut heard = Heard::default();
    let totals = engine.scan_path_for_keys(path, options, &mut heard).unwrap();
    (totals, heard)
}

#[test]
fn each_key_is_told_with_its_state_and_never_itself() {
    let (folder, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let engine = engine(folder.path());
    let owned = IssueRequest { owner: Some("billing".into()), ..named("live") };
    // Bound to a network, without scopes, a decoy: it is live all the same, and finding it is no use of it.
    let bound = IssueRequest {
        allowed_networks: vec!["192.0.2.0/24".into()],
        canary: true,
        rate_limit: Some("1/hour".into()),
        ..named("bound")
    };
    let (live, bound) = (issue(&engine, owned), issue(&engine, bound));
    let (revoked, expired) = (
        issue(&engine, named("revoked")),
        issue(&engine, IssueRequest { expires_in: Some(Duration::from_micros(1)), ..named("expired") }),
    );
    engine.revoke_api_key(&revoked.0, "").unwrap();
    let old = issue(&engine, named("rotated"));
    let graced = engine.rotate_api_key(&old.0, Duration::from_secs(60)).unwrap().1;
    let older = issue(&engine, named("rotated twice"));
    let superseded = engine.rotate_api_key(&older.0, Duration::ZERO).unwrap().1;
    engine.rotate_api_key(&older.0, Duration::ZERO).unwrap();
    let foreign = issue(&self::engine(elsewhere.path()), named("of another store"));
    let keys =
        [&live.1, &bound.1, &revoked.1, &expired.1, &old.1, &graced, &older.1, &superseded, &foreign.1];
    let content: String = keys.iter().map(|key| format!("é {}\n", text(key))).collect();
    let mut heard = Heard::default();
    let totals = engine.scan_text_for_keys(content.as_bytes(), &mut heard).unwrap();
    let told: Vec<_> =
        heard.found.iter().map(|key| (key.name.as_deref().unwrap_or("?"), key.status)).collect();
    use KeyStatus::{Expired, Live, Revoked, Superseded, Unknown};
    assert_eq!(
        told,
        [
            ("live", Live),
            ("bound", Live),
            ("revoked", Revoked),
            ("expired", Expired),
            ("rotated", Live),
            ("rotated", Live),
            ("rotated twice", Unknown),
            ("rotated twice", Superseded),
            ("?", Unknown),
        ]
    );
    assert_eq!((totals.keys, totals.live, totals.bytes), (9, 4, content.len() as u64));
    assert_eq!(heard.found[0].owner.as_deref(), Some("billing"));
    assert_eq!((heard.found[1].line, heard.found[1].column, &heard.found[1].file), (2, 3, &None));
    let json = serde_json::to_string(&heard.found).unwrap();
    for key in keys {
        assert!(!json.contains(&text(key)[21..]), "{json}");
    }
    engine.flush().unwrap();
    assert_eq!(engine.recent_usage(10).unwrap().len(), 0);
    assert_eq!(engine.recent_alerts(None, 10).unwrap().len(), 0);
}

#[test]
fn a_tree_is_walked_in_order_without_following_links() {
    let (folder, tree) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let engine = engine(folder.path());
    let (id, key) = issue(&engine, named("app"));
    let path = |name: &str| tree.path().join(name);
    fs::create_dir_all(path("a/deep/er")).unwrap();
    fs::write(path("a/deep/er/config.yml"), format!("x: 1\nkey: {}", text(&key))).unwrap();
    fs::write(path("b.env"), format!("API_KEY={}", text(&key))).unwrap();
    fs::write(path("clean.txt"), "nothing_here").unwrap();
    fs::write(path("empty"), "").unwrap();
    // A loop, and a link to a file that is met anyway.
    symlink(tree.path(), path("a/deep/loop")).unwrap();
    symlink(path("b.env"), path("link.env")).unwrap();
    // Opening a pipe would wait for its writer for ever.
    assert_eq!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().code(), Some(0));
    fs::write(path("closed"), text(&key)).unwrap();
    fs::set_permissions(path("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let (totals, heard) = scan(&engine, tree.path(), KeyScanOptions::default());
    let readable = fs::File::open(path("closed")).is_ok(); // for root everything is
    let places: Vec<_> =
        heard.found.iter().map(|key| (key.file.clone().unwrap(), key.line, key.column, key.offset)).collect();
    let shown = |name: &str| path(name).display().to_string();
    assert_eq!(places[0], (shown("a/deep/er/config.yml"), 2, 6, 10));
    assert_eq!(places[1], (shown("b.env"), 1, 9, 8));
    assert_eq!(places.len(), 2 + usize::from(readable));
    assert_eq!((totals.files, totals.skipped), (4 + u64::from(readable), u64::from(!readable)));
    assert!(heard.found.iter().all(|found| found.key_id == id && found.status == KeyStatus::Live));
    // A link that is named is followed.
    let (_, heard) = scan(&engine, &path("link.env"), KeyScanOptions::default());
    assert_eq!(heard.found.len(), 1);
    let (totals, heard) = scan(&engine, &path("missing"), KeyScanOptions::default());
    assert_eq!((totals.skipped, heard.skipped.len()), (1, 1));
}

#[test]
fn a_listener_ends_a_scan() {
    let (folder, tree) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let engine = engine(folder.path());
    let (_, key) = issue(&engine, named("app"));
    for name in ["a", "b"] {
        fs::write(tree.path().join(name), format!("{} ", text(&key)).repeat(3)).unwrap();
    }
    let mut heard = Heard { most: Some(2), ..Heard::default() };
    let totals = engine.scan_path_for_keys(tree.path(), KeyScanOptions::default(), &mut heard).unwrap();
    assert_eq!((heard.found.len(), totals.files), (2, 1));
}

#[test]
fn binary_packed_and_wide_files() {
    let (folder, tree) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let engine = engine(folder.path());
    let (_, key) = issue(&engine, named("app"));
    let key = text(&key);
    let path = |name: &str| tree.path().join(name);
    let one = |name: &str, options| scan(&engine, &path(name), options);
    let place = |heard: &Heard| heard.found.iter().map(|k| (k.line, k.column, k.offset)).collect::<Vec<_>>();

    fs::write(path("program"), format!("\u{7f}ELF\0\n{key}\0")).unwrap();
    let (totals, heard) = one("program", KeyScanOptions::default());
    assert_eq!((totals.files, &heard.skipped), (0, &vec![(path("program"), SkippedFile::Binary)]));
    let (_, heard) = one("program", KeyScanOptions { binary: true, ..KeyScanOptions::default() });
    assert_eq!(place(&heard), [(2, 1, 6)]);

    let pack = |content: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(content).unwrap();
        packer.finish().unwrap()
    };
    // Two members, as a log that was appended to; the key lies in the second.
    let log = [pack(&b"line\n".repeat(30_000)), pack(format!("key={key}\n").as_bytes())].concat();
    fs::write(path("app.log.1"), &log).unwrap();
    let (totals, heard) = one("app.log.1", KeyScanOptions::default());
    assert_eq!(place(&heard), [(30_001, 5, 150_004)]);
    assert_eq!(totals.bytes, 150_000 + 5 + key.len() as u64);
    let (_, heard) = one("app.log.1", KeyScanOptions { gzip: false, ..KeyScanOptions::default() });
    assert_eq!(heard.found.len(), 0);
    fs::write(path("cut.gz"), &log[..log.len() - 9]).unwrap();
    let (totals, heard) = one("cut.gz", KeyScanOptions::default());
    assert!(matches!(heard.skipped[..], [(_, SkippedFile::Unreadable(_))]), "{totals:?}");

    let wide = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
        let content = format!("ä\r\n\"{key}\"");
        mark.into_iter().chain(content.encode_utf16().flat_map(bytes)).collect::<Vec<u8>>()
    };
    fs::write(path("little.txt"), wide([0xff, 0xfe], u16::to_le_bytes)).unwrap();
    fs::write(path("big.txt"), wide([0xfe, 0xff], u16::to_be_bytes)).unwrap();
    for name in ["little.txt", "big.txt"] {
        let (_, heard) = one(name, KeyScanOptions::default());
        assert_eq!(place(&heard), [(2, 2, 10)], "{name}");
    }
}

#[test]
fn what_unpacks_to_petabytes_is_cut() {
    let (folder, tree) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let engine = engine(folder.path());
    let path = tree.path().join("bomb.gz");
    let mut packer =
        flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::best());
    packer.write_all(&vec![b'a'; 3 << 20]).unwrap();
    packer.finish().unwrap();
    let options = KeyScanOptions { most_unpacked: 2 << 20, ..KeyScanOptions::default() };
    let (totals, heard) = scan(&engine, &path, options);
    assert_eq!(totals.bytes, (2 << 20) + 1);
    assert_eq!(scan(&engine, &path, KeyScanOptions::default()).0.skipped, 0);
    let [(_, SkippedFile::Unreadable(problem))] = &heard.skipped[..] else { panic!("{:?}", heard.skipped) };
    assert!(problem.contains("unpacks"), "{problem}");
}
