//! The door over a real data directory: what holds in one engine and what one engine does that another sees.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt, path::Path, time::Duration};

use security::{
    ConfigSource, Engine, ExportFilter, FOLDERS, ImportOptions, IocDraft, IssueRequest, KeyFilter, Options,
    RuleDraft, SearchRequest, Settings, UsageContext,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const KEY: &str = "the-operators-api-key-0123456789";

fn engine_with(folder: &Path, config: Value) -> Engine {
    Engine::open(Options {
        data_dir: Some(folder.to_owned()),
        config: Some(ConfigSource::Inline(config)),
        ..Options::default()
    })
    .expect("a fresh folder opens")
}

fn engine(folder: &Path) -> Engine {
    engine_with(folder, json!({"credentials": {"API_KEY": KEY, "DB_PASSWORD": "the-database-password-42"}}))
}

fn verify(engine: &Engine, key: &str) -> bool {
    engine.verify_api_key(key.as_bytes(), UsageContext::default()).expect("the store can be read")
}

fn draft(ioc_type: &str, value: &str) -> IocDraft {
    IocDraft {
        ioc_type: ioc_type.into(),
        value: value.into(),
        source: "internal".into(),
        confidence: 80,
        ..IocDraft::default()
    }
}

#[test]
fn the_data_directory_is_made_for_its_owner_alone() {
    let folder = TempDir::new().unwrap();
    let engine = engine(&folder.path().join("data"));
    for name in FOLDERS {
        let mode = engine.data_dir().join(name).metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o700, "{name}");
    }
    let pepper = engine.data_dir().join("credentials/pepper.key").metadata().unwrap();
    assert_eq!((pepper.mode() & 0o777, pepper.len()), (0o600, 32));
}

#[test]
fn the_operators_key_opens_and_nothing_else_does() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    assert!(verify(&engine, KEY));
    let long = "x".repeat(10 << 20);
    for junk in ["", " ", "wrong", "the-operators-api-key-012345678", "\0", "sk_a_b", long.as_str()] {
        assert!(!verify(&engine, junk), "{} bytes", junk.len());
    }
    assert!(!engine.verify_api_key(&[0xff, 0xfe, 0x00], UsageContext::default()).unwrap());
}

#[test]
fn a_rotation_in_one_engine_holds_in_the_other_at_once() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    assert!(verify(&other, KEY));
    let new = one.rotate_credential("api_key", None, Duration::ZERO).unwrap();
    let new = new.expose_text().unwrap().to_owned();
    assert!(!verify(&other, KEY) && !verify(&one, KEY));
    assert!(verify(&other, &new) && verify(&one, &new));
    // A process started later with the old environment refuses it as well, and says why.
    let later = engine(folder.path());
    assert!(!verify(&later, KEY) && verify(&later, &new));
    let lines = later.config_show().unwrap();
    let line = lines.iter().find(|line| line.name == "API_KEY").unwrap();
    assert!(line.note.as_ref().unwrap().starts_with("superseded by rotation at "), "{line:?}");
    assert_eq!(line.value, "****");
    // The operator speaks: a value never seen is accepted again.
    let spoken = engine_with(folder.path(), json!({"credentials": {"api_key": "a-fresh-operator-value-77"}}));
    assert!(verify(&spoken, "a-fresh-operator-value-77") && !verify(&spoken, KEY));
}

#[test]
fn grace_keeps_the_old_value_for_its_time() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    engine.rotate_credential("API_KEY", None, Duration::from_secs(3600)).unwrap();
    assert!(verify(&engine, KEY));
    let usage = engine.recent_usage(1).unwrap();
    assert_eq!(usage[0]["reason"], "in_grace");
}

#[test]
fn issued_keys_live_and_die_in_every_engine() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    let request = IssueRequest {
        name: "orders".into(),
        scopes: vec!["orders:read".into()],
        allowed_networks: vec!["192.0.2.0/24".into()],
        ..IssueRequest::default()
    };
    let (view, key) = one.issue_api_key(request).unwrap();
    let key = key.expose().to_owned();
    let check = |scopes: &[&str], from: Option<&str>| {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let context = UsageContext { client_ip: from.map(str::to_owned), ..UsageContext::default() };
        let checked = other.check_api_key(&key, &scopes, context).unwrap();
        (checked.valid, checked.reason.as_str().to_owned())
    };
    assert_eq!(check(&["orders:read"], Some("192.0.2.9")), (true, "ok".into()));
    assert_eq!(check(&["orders:write"], Some("192.0.2.9")), (false, "scope".into()));
    assert_eq!(check(&[], Some("198.51.100.1")), (false, "network".into()));
    assert_eq!(check(&[], None), (false, "network".into()));
    one.revoke_api_key(&view.id, "left the team").unwrap();
    assert_eq!(check(&["orders:read"], Some("192.0.2.9")), (false, "revoked".into()));
    let gone = other.list_api_keys(&KeyFilter { active: Some(false), ..KeyFilter::default() }).unwrap();
    assert_eq!((gone.len(), gone[0].revoked_reason.as_deref()), (1, Some("left the team")));
    assert!(one.revoke_api_key("nosuchkey", "").is_err());
}

#[test]
fn a_keys_own_limit_is_counted_over_engines() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    let request =
        IssueRequest { name: "few".into(), rate_limit: Some("4/hour".into()), ..IssueRequest::default() };
    let (_, key) = one.issue_api_key(request).unwrap();
    let mut admitted = 0;
    for engine in [&one, &other, &one, &other, &one, &other, &one, &other] {
        let check = engine.check_api_key(key.expose(), &[], UsageContext::default()).unwrap();
        admitted += usize::from(check.valid);
        assert!(check.valid || (check.reason.as_str() == "rate_limited" && check.retry_after > Some(0)));
    }
    assert_eq!(admitted, 4);
}

#[test]
fn usage_is_read_back_newest_first_and_nothing_collides() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let context = UsageContext {
        request_id: Some("req-1".into()),
        client_ip: Some("198.51.100.7".into()),
        component: Some("billing".into()),
        extra: Map::from_iter([("tenant".to_owned(), json!("t1")), ("success".to_owned(), json!("no"))]),
        ..UsageContext::default()
    };
    engine.verify_api_key(b"wrong", context).unwrap();
    let id = engine.log_credential_usage("mail_api_key", "mailer", "send", UsageContext::default()).unwrap();
    let usage = engine.recent_usage(10).unwrap();
    assert_eq!(usage.len(), 2);
    assert_eq!((&usage[0]["request_id"], &usage[0]["credential_type"]), (&json!(id), &json!("MAIL_API_KEY")));
    assert_eq!(usage[0]["success"], true);
    assert_eq!((&usage[1]["success"], &usage[1]["option_success"]), (&json!(false), &json!("no")));
    assert_eq!((&usage[1]["ip_address"], &usage[1]["tenant"]), (&json!("198.51.100.7"), &json!("t1")));
    assert_eq!(usage[1]["component"], "billing");
}

#[test]
fn repeated_failures_are_suspicious_with_evidence() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    for attempt in 0..12 {
        let context = UsageContext {
            request_id: Some(format!("attempt-{attempt}")),
            client_ip: Some("203.0.113.5".into()),
            ..UsageContext::default()
        };
        engine.verify_api_key(b"guess", context).unwrap();
    }
    let findings = serde_json::to_value(engine.suspicious_activity().unwrap()).unwrap();
    let failures = findings.as_array().unwrap().iter().find(|f| f["credential_type"] == "API_KEY").unwrap();
    assert!(failures["evidence"].as_array().unwrap().contains(&json!("attempt-3")), "{findings:#}");
}

#[test]
fn indicators_are_merged_matched_and_seen_by_the_other_engine() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    assert!(!other.check_ioc("ip", "192.168.1.1").unwrap().matched);
    one.add_ioc(draft("ip", "192.168.1.1")).unwrap();
    let again = IocDraft { source: "partner".into(), confidence: 90, ..draft("ipv4", "192[.]168[.]1[.]1") };
    let record = one.add_ioc(again).unwrap();
    assert_eq!(
        (&record["confidence"], &record["sightings"], &record["source"]),
        (&json!(90), &json!(2), &json!("internal"))
    );
    let check = serde_json::to_value(other.check_ioc("ip", "192.168.1.1").unwrap()).unwrap();
    assert_eq!((&check["count"], &check["matches"][0]["match_type"]), (&json!(1), &json!("exact")));
    one.add_ioc(draft("ip", "203.0.113.0/24")).unwrap();
    one.add_ioc(draft("domain", "evil.example")).unwrap();
    let kind = |ioc_type: &str, value: &str| {
        let check = serde_json::to_value(other.check_ioc(ioc_type, value).unwrap()).unwrap();
        check["matches"][0]["match_type"].as_str().map(str::to_owned)
    };
    assert_eq!(kind("ip", "203.0.113.77").as_deref(), Some("cidr"));
    assert_eq!(kind("domain", "a.b.evil.example").as_deref(), Some("subdomain"));
    assert_eq!(kind("ip", "198.51.100.1"), None);
    assert!(one.remove_ioc("ip", "192.168.1.1").unwrap());
    assert!(!other.check_ioc("ip", "192.168.1.1").unwrap().matched);
    for (ioc_type, value, confidence) in
        [("ip", "999.1.1.1", 5), ("planet", "mars", 5), ("ip", "192.0.2.1", 101)]
    {
        let bad = IocDraft { confidence, ..draft(ioc_type, value) };
        assert!(matches!(one.add_ioc(bad), Err(security::Error::Invalid { .. })), "{ioc_type} {value}");
    }
    for (length, is_taken) in [(8 << 10, true), ((8 << 10) + 1, false), (10 << 20, false)] {
        let described = IocDraft { description: "d".repeat(length), ..draft("ip", "192.0.2.200") };
        let taken = match one.add_ioc(described) {
            Ok(_) => true,
            Err(security::Error::Invalid { argument, .. }) => argument != "description",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(taken, is_taken, "{length}");
    }
}

#[test]
fn search_finds_indicators_and_records_alike() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    engine.add_ioc(draft("ip", "192.168.1.1")).unwrap();
    let data =
        json!({"title": "leak of customer passwords", "author": "mallory", "text": "see evil.example.com"});
    let filed = engine.categorize_intelligence(data, "paste_sites", "high").unwrap();
    let search = |query: Value| {
        let request = SearchRequest { query: Some(query), ..SearchRequest::default() };
        engine.search_intelligence(&request).unwrap()
    };
    let by_type = search(json!({"type": "ip"}));
    assert_eq!((by_type.len(), &by_type[0]["value"]), (1, &json!("192.168.1.1")));
    assert_eq!(search(json!({"data.author": "mallory"}))[0]["id"], filed["id"]);
    assert_eq!(search(json!({"metadata.priority_level": "High"})).len(), 1);
    assert!(search(json!({"data.author": "alice"})).is_empty());
    let by_text = SearchRequest { text: Some("customer pass".into()), ..SearchRequest::default() };
    assert_eq!(engine.search_intelligence(&by_text).unwrap()[0]["id"], filed["id"]);
    let id = filed["id"].as_str().unwrap();
    assert_eq!(engine.retrieve_intelligence(id).unwrap().unwrap()["data"]["author"], "mallory");
    assert!(engine.dispose_sensitive_data(id, true).unwrap());
    assert!(engine.retrieve_intelligence(id).unwrap().is_none());
}

#[test]
fn rules_are_files_live_at_once_and_raise_alerts() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    let event = json!({"source": "192.168.3.4", "path": "/login"});
    assert!(other.analyze(&event, &Map::new()).unwrap().is_empty());
    let rule = one
        .create_threat_rule(RuleDraft {
            name: "Suspicious IP".into(),
            description: "Detects access from suspicious IP addresses".into(),
            detection: json!({"ioc": {"type": "ip", "value": "192.168.0.0/16"}}),
            severity: "medium".into(),
            ..RuleDraft::default()
        })
        .unwrap();
    assert!(folder.path().join("threat_rules").join(rule["file"].as_str().unwrap()).is_file());
    let alerts = other.analyze(&event, &Map::new()).unwrap();
    assert_eq!((&alerts[0]["rule_name"], &alerts[0]["score"]), (&json!("Suspicious IP"), &json!(40)));
    assert_eq!(one.recent_alerts(Some("medium"), 5).unwrap().len(), 1);
    assert!(one.recent_alerts(Some("high"), 5).unwrap().is_empty());
    let threats = one.detect_threats(&event, "req-9").unwrap();
    assert_eq!((&threats["detected"], &threats["request_id"]), (&json!(true), &json!("req-9")));
    // A file that a person breaks is reported; the others stay in force.
    std::fs::write(folder.path().join("threat_rules/broken.yml"), "name: [").unwrap();
    let load = one.load_rules(None).unwrap();
    assert_eq!((load.loaded, load.problems.len()), (1, 1));
}

#[test]
fn feeds_come_in_and_go_out() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let feed = "# a feed\n192.0.2.1\nevil[.]example[.]com\nhttps://bad.example.net/x\nnot an indicator\n";
    let options = ImportOptions { skip_bad: true, ..ImportOptions::default() };
    let mut heard = 0;
    let report =
        engine.import_indicators("list.txt", feed.as_bytes(), &options, &mut |_| heard += 1).unwrap();
    assert_eq!((report.added, report.rejected, report.source.as_str(), heard), (3, 1, "feed:list", 1));
    let strict =
        engine.import_indicators("list.txt", feed.as_bytes(), &ImportOptions::default(), &mut |_| {});
    assert!(matches!(strict, Err(security::Error::Invalid { .. })));
    let mut out = Vec::new();
    let written = engine.export_indicators("stix", &ExportFilter::default(), &mut out).unwrap();
    assert_eq!(written.n_written, 3);
    let bundle: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&bundle["type"], bundle["objects"].as_array().unwrap().len()), (&json!("bundle"), 3));
    let path = engine.export_iocs_to_stix().unwrap().unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
}

#[test]
fn an_import_that_breaks_off_is_in_the_audit_trail() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let mut feed: String = (0..10_000).map(|n| format!("198.51.{}.{}\n", n / 250, n % 250)).collect();
    feed.push_str("192.0.2.1\nno indicator\n");
    let error = engine
        .import_indicators("list.txt", feed.as_bytes(), &ImportOptions::default(), &mut |_| {})
        .unwrap_err();
    assert!(error.to_string().ends_with("; 10000 were stored before it"), "{error}");
    assert!(error.to_string().contains("line 10002"), "{error}");
    engine.flush().unwrap();
    let wanted = Map::from_iter([("event".to_owned(), json!("feed_imported"))]);
    let record = engine.audit_log(1, &wanted).unwrap().remove(0);
    assert_eq!(
        (&record["details"]["added"], &record["details"]["complete"], &record["details"]["source"]),
        (&json!(10_000), &json!(false), &json!("feed:list"))
    );
    engine.import_indicators("one.txt", &b"192.0.2.1\n"[..], &ImportOptions::default(), &mut |_| {}).unwrap();
    engine.flush().unwrap();
    assert_eq!(engine.audit_log(1, &wanted).unwrap()[0]["details"]["complete"], true);
}

#[test]
fn a_json_export_of_one_engine_is_the_same_in_another() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [one, other] = [engine(folders[0].path()), engine(folders[1].path())];
    for (source, confidence) in [("honeypot", 80), ("partner", 60)] {
        one.add_ioc(IocDraft {
            ioc_type: "domain".into(),
            value: "evil[.]example".into(),
            source: source.into(),
            confidence,
            description: "a lure".into(),
            tags: vec!["phishing".into()],
            ..IocDraft::default()
        })
        .unwrap();
    }
    let mut text = Vec::new();
    one.export_indicators("json", &ExportFilter::default(), &mut text).unwrap();
    let import = |source: Option<&str>| {
        let options = ImportOptions { source: source.map(str::to_owned), ..ImportOptions::default() };
        other.import_indicators("out.json", text.as_slice(), &options, &mut |_| {}).unwrap()
    };
    import(None);
    let exported = |engine: &Engine| {
        let mut text = Vec::new();
        engine.export_indicators("json", &ExportFilter::default(), &mut text).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()
    };
    assert_eq!(exported(&one), exported(&other));
    import(Some("somebody"));
    let sources = exported(&other)[0]["sources"].as_array().unwrap().clone();
    assert_eq!(sources[2]["source"], "somebody", "a source that is given says it all");
}

#[test]
fn every_find_is_given_unless_a_limit_is() {
    let text = "192.0.2.1 ".repeat(1_000_010);
    assert_eq!(security::extract_iocs(&text, None, None).unwrap().len(), 1_000_010);
    assert_eq!(security::extract_iocs(&text, None, Some(7)).unwrap().len(), 7);
}

#[test]
fn reports_speak_of_what_is_there() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    engine.categorize_intelligence(json!({"text": "beacon to 203.0.113.9"}), "forums", "Critical").unwrap();
    let iocs = json!([{"type": "ip", "value": "203.0.113.9"}]);
    let found = engine.correlate_threats(&iocs, None, 0.6, 10).unwrap();
    assert_eq!(found.correlations.len(), 1);
    let report = engine.threat_report(&serde_json::to_value(&found.correlations).unwrap()).unwrap();
    assert_eq!(report["status"], "threats_detected");
    assert!(engine.correlate_threats(&iocs, None, 1.5, 10).is_err());
    let compliance = engine.compliance_report().unwrap();
    assert!(compliance.totals.pass > 0 && !compliance.checks.is_empty());
}

#[test]
fn the_audit_trail_holds_every_act_and_notices_an_edit() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    engine.rotate_credential("DB_PASSWORD", Some("req-rotate"), Duration::ZERO).unwrap();
    let log =
        engine.audit_log(10, &Map::from_iter([("event".to_owned(), json!("credential_rotated"))])).unwrap();
    assert_eq!((log.len(), &log[0]["request_id"]), (1, &json!("req-rotate")));
    assert!(engine.verify_audit_log().unwrap().intact);
    let logs = folder.path().join("logs");
    let file = std::fs::read_dir(&logs).unwrap().flatten().map(|entry| entry.path());
    let audit = file.into_iter().find(|path| path.to_string_lossy().contains("audit-")).unwrap();
    let text = std::fs::read_to_string(&audit).unwrap();
    std::fs::write(&audit, text.replace("req-rotate", "req-rotatf")).unwrap();
    let report = engine.verify_audit_log().unwrap();
    assert!(!report.intact && report.first_broken.is_some());
}

#[test]
fn no_secret_is_anywhere_on_disk() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    let new = engine.rotate_credential("API_KEY", None, Duration::from_secs(60)).unwrap();
    let (_, issued) =
        engine.issue_api_key(IssueRequest { name: "k".into(), ..IssueRequest::default() }).unwrap();
    verify(&engine, KEY);
    verify(&engine, new.expose_text().unwrap());
    verify(&engine, issued.expose_text().unwrap());
    engine.flush().unwrap();
    let secrets = [KEY.as_bytes(), new.expose(), issued.expose(), b"the-database-password-42"];
    let mut folders = vec![folder.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            files += 1;
            let bytes = std::fs::read(entry.path()).unwrap();
            for secret in secrets {
                assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{:?}", entry.path());
            }
        }
    }
    assert!(files > 5);
}

fn resolve(config: Value, environment: &[(&str, &str)]) -> security::Result<Settings> {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = Options { config: Some(ConfigSource::Inline(config)), ..Options::default() };
    Settings::resolve(&options, &environment)
}

#[test]
fn configuration_takes_argument_environment_file_default() {
    let folder = TempDir::new().unwrap();
    let mounted = folder.path().join("db");
    std::fs::write(&mounted, "from-a-mounted-file\n").unwrap();
    let mounted = mounted.to_str().unwrap();
    let config =
        json!({"data_dir": "/from/file", "credentials": {"API_KEY": "file", "SECRET_TOKEN": "file"}});
    let settings = resolve(config.clone(), &[("API_KEY", "env"), ("DB_PASSWORD_FILE", mounted)]).unwrap();
    let line = |name: &str| settings.lines().into_iter().find(|line| line.name == name).unwrap();
    assert_eq!(line("SECURITY_DATA_DIR").value, "/from/file");
    assert_eq!(
        (line("API_KEY").value.as_str(), line("API_KEY").source.as_str()),
        ("****", "environment API_KEY")
    );
    assert_eq!(line("DB_PASSWORD").source, format!("mounted file {mounted}"));
    assert!(line("SECRET_TOKEN").source.starts_with("file "));
    assert_eq!(line("MAIL_API_KEY").value, "(not set)");
    let shown = serde_json::to_string(&settings.lines()).unwrap();
    assert!(!shown.contains("from-a-mounted-file"));
    for (bad, environment) in [
        (json!({"data_dri": "x"}), vec![]),
        (json!({"web": {"deny_confidence": 101}}), vec![]),
        (config, vec![("API_KEY", "a"), ("API_KEY_FILE", mounted)]),
        (json!({}), vec![("MAIL_API_KEY_FILE", "/nonexistent/file")]),
        (json!({}), vec![("SECURITY_DATABASE_URL", "postgresql://db/x")]),
    ] {
        assert!(resolve(bad.clone(), &environment).is_err(), "{bad} {environment:?}");
    }
}

#[test]
fn a_damaged_store_is_named_and_nothing_is_accepted_or_overwritten() {
    let folder = TempDir::new().unwrap();
    drop(engine(folder.path()));
    let file = folder.path().join("credentials/credentials.sqlite");
    std::fs::write(&file, b"this is no database, and long enough to have a header of one".repeat(40))
        .unwrap();
    let before = std::fs::read(&file).unwrap();
    let opened = Engine::open(Options {
        data_dir: Some(folder.path().to_owned()),
        config: Some(ConfigSource::Inline(json!({"credentials": {"API_KEY": KEY}}))),
        ..Options::default()
    });
    let error = opened.expect_err("a damaged store does not open").to_string();
    assert!(error.contains("credentials.sqlite"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_ban_holds_in_every_engine_from_its_next_request_on() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (engine(folder.path()), engine(folder.path()));
    let status = |engine: &Engine, address: &str, path: &str| {
        let request = security::GivenRequest {
            path: path.into(),
            remote_addr: Some(address.into()),
            headers: vec![("X-API-Key".into(), KEY.into())],
            ..security::GivenRequest::default()
        };
        engine.inspect_request(&request).unwrap().status
    };
    for engine in [&one, &other] {
        assert_eq!(status(engine, "203.0.113.7", "/"), 200);
    }
    let ban = one.ban("203.0.113.0/24", Duration::from_secs(2), "scans").unwrap();
    for engine in [&one, &other] {
        assert_eq!(status(engine, "203.0.113.7", "/"), 403, "whatever key it carries");
        assert_eq!(status(engine, "::ffff:203.0.113.7", "/"), 403);
        assert_eq!(status(engine, "203.0.114.7", "/"), 200);
        assert_eq!(status(engine, "203.0.113.7", "/health"), 200, "an exempt path stays open");
    }
    other.lift_ban("203.0.113.0/24").unwrap();
    assert_eq!(status(&one, "203.0.113.7", "/"), 200);
    assert!(matches!(other.lift_ban("203.0.113.0/24"), Err(security::Error::NotFound { .. })));

    other.ban("203.0.113.7", Duration::from_secs(1), "").unwrap();
    assert_eq!(status(&one, "203.0.113.7", "/"), 403);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(status(&one, "203.0.113.7", "/"), 200, "it ends by itself");
    assert_eq!(one.bans().unwrap(), []);
    assert!(ban.by.starts_with("uid "));

    // One that is started later knows of it too.
    one.ban("2001:db8:1:2:3::4", Duration::from_secs(60), "").unwrap();
    let later = engine(folder.path());
    assert_eq!(status(&later, "2001:db8:1:2::99", "/"), 403, "the customer's network");
    assert_eq!(status(&later, "2001:db8:1:3::99", "/"), 200);
}
