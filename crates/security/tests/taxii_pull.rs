//! Pulling from a TAXII server: twice is once, nothing vanishes, and every pull is in the audit trail.
//!
//! The peer is a small server on loopback that serves what each test says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use security::{ConfigSource, Engine, FetchRequest, Options, SearchRequest, TaxiiConfigDraft};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const COLLECTION: &str = "11111111-1111-4111-8111-111111111111";

/// A server with one collection of these objects; it ends with the test process.
struct Peer {
    url: String,
    objects: Arc<Mutex<Vec<Value>>>,
}

impl Peer {
    fn serving(objects: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let objects = Arc::new(Mutex::new(objects));
        let (kept, root) = (objects.clone(), format!("{base}/api/"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &root, &kept.lock().unwrap());
            }
        });
        Self { url: format!("{base}/taxii2/"), objects }
    }

    fn now_serves(&self, objects: Vec<Value>) {
        *self.objects.lock().unwrap() = objects;
    }
}

fn answer(mut stream: TcpStream, root: &str, objects: &[Value]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let target = lines.next().unwrap_or_default();
    // The head ends with an empty line.
    let _ = lines.find(String::is_empty);
    let body = if target.contains("/objects/") {
        json!({"more": false, "objects": objects})
    } else if target.contains("/collections/") {
        json!({"collections": [{"id": COLLECTION, "title": "All", "can_read": true, "can_write": false}]})
    } else {
        json!({"title": "Peer", "api_roots": [root]})
    };
    let body = body.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/taxii+json;version=2.1\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
}

fn engine(folder: &Path, peer: &Peer) -> Engine {
    let config = json!({"taxii": {"server_url": peer.url}});
    let engine = Engine::open(Options {
        data_dir: Some(folder.to_owned()),
        config: Some(ConfigSource::Inline(config)),
        ..Options::default()
    })
    .unwrap();
    for config_name in ["partner", "other"] {
        let draft = TaxiiConfigDraft {
            config_name: config_name.into(),
            server_url: peer.url.clone(),
            ..TaxiiConfigDraft::default()
        };
        engine.create_taxii_config(draft).unwrap();
    }
    engine
}

fn indicator(number: u8, modified: &str) -> Value {
    json!({
        "type": "indicator", "spec_version": "2.1",
        "id": format!("indicator--00000000-0000-4000-8000-0000000000{number:02x}"),
        "created": "2026-01-01T00:00:00.000Z", "modified": modified, "valid_from": "2026-01-01T00:00:00Z",
        "pattern_type": "stix", "pattern": format!("[domain-name:value = 'host-{number}.evil.example']"),
    })
}

fn pull(engine: &Engine, server: &str) -> Value {
    let session = engine.taxii(Some(server)).unwrap();
    let request = FetchRequest { limit: 1000, ..FetchRequest::default() };
    serde_json::to_value(engine.ingest_taxii(&session, &request, "High", true, &mut |_| {}).unwrap()).unwrap()
}

fn records(engine: &Engine) -> usize {
    let request =
        SearchRequest { query: Some(json!({"kind": "intel"})), limit: 1000, ..SearchRequest::default() };
    engine.search_intelligence(&request).unwrap().len()
}

fn pulls(engine: &Engine) -> Vec<Value> {
    engine.audit_log(10, &Map::from_iter([("event".to_owned(), json!("taxii_pulled"))])).unwrap()
}

const JANUARY: &str = "2026-01-02T00:00:00.000Z";
const FEBRUARY: &str = "2026-02-02T00:00:00.000Z";

#[test]
fn a_second_pull_of_the_same_objects_adds_nothing() {
    let folder = TempDir::new().unwrap();
    let address = json!({
        "type": "ipv4-addr", "spec_version": "2.1",
        "id": "ipv4-addr--00000000-0000-5000-8000-000000000001", "value": "192.0.2.1",
    });
    let peer = Peer::serving(vec![indicator(1, JANUARY), indicator(2, JANUARY), address.clone()]);
    let engine = engine(folder.path(), &peer);
    let first = pull(&engine, "partner");
    assert_eq!((first["intel_ids"].as_array().unwrap().len(), &first["intel_added"]), (3, &json!(3)));
    let again = pull(&engine, "partner");
    assert_eq!(again["intel_ids"], first["intel_ids"], "the ones that are there, in the same order");
    assert_eq!((&again["intel_added"], records(&engine)), (&json!(0), 3));
    // A newer version is another record; the order of an object's properties makes none.
    let turned: Map<String, Value> = address
        .as_object()
        .unwrap()
        .iter()
        .rev()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    peer.now_serves(vec![indicator(1, FEBRUARY), indicator(2, JANUARY), turned.into()]);
    let newer = pull(&engine, "partner");
    assert_eq!((&newer["intel_added"], records(&engine)), (&json!(1), 4));
    assert_ne!(newer["intel_ids"][0], first["intel_ids"][0]);
    assert_eq!(newer["intel_ids"][2], first["intel_ids"][2]);
    // What another server says under the same ids is its own word and takes nobody's place.
    assert_eq!(pull(&engine, "other")["intel_added"], 3);
}

#[test]
fn what_cannot_be_read_or_filed_is_named_and_the_rest_comes_in() {
    let folder = TempDir::new().unwrap();
    let mut deep = indicator(3, JANUARY);
    let nested = (0..80).fold(json!(1), |inner, _| json!([inner]));
    deep["x_deep"] = nested;
    let mut no_pattern = indicator(2, JANUARY);
    no_pattern.as_object_mut().unwrap().remove("pattern");
    let peer =
        Peer::serving(vec![deep.clone(), no_pattern.clone(), json!({"type": "note"}), indicator(1, JANUARY)]);
    let engine = engine(folder.path(), &peer);
    let done = pull(&engine, "partner");
    let skipped = |id: &Value| {
        let entries = done["skipped"].as_array().unwrap().iter();
        entries
            .filter(|entry| &entry["id"] == id)
            .map(|entry| entry["reason"].to_string())
            .collect::<String>()
    };
    assert!(skipped(&deep["id"]).contains("nesting"), "{done:#}");
    assert!(skipped(&no_pattern["id"]).contains("pattern"), "{done:#}");
    assert!(skipped(&json!("#3")).contains("id"), "{done:#}");
    assert_eq!((&done["objects"], &done["intel_added"], records(&engine)), (&json!(4), &json!(1), 1));
    assert!(engine.check_ioc("domain", "host-1.evil.example").unwrap().matched);
    assert_eq!(pulls(&engine)[0]["details"]["skipped"], 3);
}

#[test]
fn every_pull_is_audited_also_one_that_fails() {
    let folder = TempDir::new().unwrap();
    let peer = Peer::serving(vec![indicator(1, JANUARY), indicator(1, JANUARY), indicator(2, JANUARY)]);
    let engine = engine(folder.path(), &peer);
    let found = engine.import_stix_indicators(100, &mut |_| {}).unwrap();
    assert_eq!(found.len(), 2);
    let log = pulls(&engine);
    assert_eq!((log.len(), &log[0]["details"]["added"]), (1, &json!(2)));
    assert_eq!(log[0]["details"]["server"], "default");

    let session = engine.taxii(Some("partner")).unwrap();
    let request = FetchRequest { collection_id: Some("nosuch".into()), ..FetchRequest::default() };
    engine.ingest_taxii(&session, &request, "Low", true, &mut |_| {}).unwrap_err();
    let log = pulls(&engine);
    assert_eq!(log.len(), 2);
    assert!(log[0]["details"]["error"].as_str().unwrap().contains("nosuch"), "{log:#?}");

    // What is no priority is refused before anything is asked of the server or stored.
    let request = FetchRequest::default();
    let refused = engine.ingest_taxii(&session, &request, "urgent", true, &mut |_| {}).unwrap_err();
    assert!(refused.to_string().starts_with("priority_level"), "{refused}");
    assert_eq!(pulls(&engine).len(), 2);
}
