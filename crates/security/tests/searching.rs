//! `search_intelligence` over many indicators: nothing is lost, nothing crowds out the other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use security::{ConfigSource, Engine, ImportOptions, IocDraft, Options, SearchRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

fn engine(folder: &Path) -> Engine {
    Engine::open(Options {
        data_dir: Some(folder.to_owned()),
        config: Some(ConfigSource::Inline(json!({}))),
        ..Options::default()
    })
    .unwrap()
}

fn draft(ioc_type: &str, value: &str, source: &str, tags: &[&str]) -> IocDraft {
    IocDraft {
        ioc_type: ioc_type.into(),
        value: value.into(),
        source: source.into(),
        confidence: 80,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..IocDraft::default()
    }
}

fn feed(engine: &Engine, range: std::ops::Range<usize>) {
    let feed: String = range.map(|n| format!("10.{}.{}.{}\n", n >> 16, n >> 8 & 255, n & 255)).collect();
    engine.import_indicators("feed.txt", feed.as_bytes(), &ImportOptions::default(), &mut |_| {}).unwrap();
}

fn search(engine: &Engine, request: SearchRequest) -> Vec<Value> {
    engine.search_intelligence(&request).unwrap()
}

fn kinds(found: &[Value]) -> (usize, usize) {
    let of = |kind: &str| found.iter().filter(|record| record["kind"] == kind).count();
    (of("ioc"), of("intel"))
}

#[test]
fn neither_kind_crowds_out_the_other() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    for number in 0..5 {
        engine
            .categorize_intelligence(json!({"text": format!("report {number}")}), "forums", "High")
            .unwrap();
    }
    feed(&engine, 0..1000);
    let limited = |limit| search(&engine, SearchRequest { limit, ..SearchRequest::default() });
    // All indicators are newer than all reports, and there are more than enough of them.
    assert_eq!(kinds(&limited(100)), (95, 5));
    assert_eq!(kinds(&limited(8)), (4, 4));
    assert_eq!(kinds(&limited(7)), (4, 3), "the odd place is the newest one's");
    assert_eq!(kinds(&limited(1)), (1, 0));
    let found = limited(100);
    let time = |record: &Value| {
        let name = if record["kind"] == "ioc" { "last_seen" } else { "created_at" };
        record[name].as_str().unwrap().to_owned()
    };
    assert!(found.windows(2).all(|pair| time(&pair[0]) >= time(&pair[1])), "newest first over both");
    engine.categorize_intelligence(json!("the newest of all"), "forums", "High").unwrap();
    assert_eq!(kinds(&limited(1)), (0, 1));
}

#[test]
fn a_few_among_many_are_found_by_every_key() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    engine.add_ioc(draft("domain", "evil.example", "Partner One", &["Red", "shop"])).unwrap();
    engine.add_ioc(draft("domain", "evil.example", "second source", &[])).unwrap();
    engine.add_ioc(draft("url", "http://evil.example/Path", "third", &["BLUE"])).unwrap();
    engine.add_ioc(draft("ja3", "0123456789abcdef0123456789abcdef", "third", &[])).unwrap();
    feed(&engine, 0..3000);
    let by = |query: Value| {
        let request = SearchRequest { query: Some(query), ..SearchRequest::default() };
        search(&engine, request)
            .iter()
            .map(|r| r["value"].as_str().unwrap_or("?").to_owned())
            .collect::<Vec<_>>()
    };
    for (query, expected) in [
        (json!({"source": "partner one"}), &["evil.example"][..]),
        (json!({"source": "SECOND source"}), &["evil.example"]),
        (json!({"tags": "red"}), &["evil.example"]),
        (json!({"tags": ["blue", "RED"]}), &["http://evil.example/Path", "evil.example"]),
        (json!({"tags": "green"}), &[]),
        (json!({"tags": []}), &[]),
        (json!({"tags": "bl*"}), &["http://evil.example/Path"]),
        (json!({"confidence": 80, "type": "url"}), &["http://evil.example/Path"]),
        (json!({"confidence": 79, "type": "url"}), &[]),
        (json!({"value": "EVIL[.]example"}), &["evil.example"]),
        (json!({"value": "http://EVIL.example/path"}), &["http://evil.example/Path"]),
        (json!({"value": "0123456789ABCDEF0123456789abcdef"}), &["0123456789abcdef0123456789abcdef"]),
        (json!({"value": "evil.*"}), &["evil.example"]),
        (json!({"value": "10.0.11.183"}), &["10.0.11.183"]),
    ] {
        assert_eq!(by(query.clone()), expected, "{query}");
    }
    let tagged = SearchRequest { tags: vec!["blue".into(), "shop".into()], ..SearchRequest::default() };
    assert_eq!(search(&engine, tagged).len(), 2);
    // Both ask for tags: both must hold.
    let both = SearchRequest {
        tags: vec!["shop".into()],
        query: Some(json!({"tags": "blue"})),
        ..SearchRequest::default()
    };
    assert_eq!(search(&engine, both).len(), 0);
}

#[test]
fn intelligence_is_found_by_tags_in_any_case() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path());
    for (number, tag) in ["Leak", "shop", "other"].iter().enumerate() {
        let data = json!({"n": number, "tags": [tag]});
        engine.categorize_intelligence(data, "forums", "High").unwrap();
    }
    let tags = |tags: &[&str], text: Option<&str>| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let text = text.map(str::to_owned);
        search(&engine, SearchRequest { tags, text, ..SearchRequest::default() }).len()
    };
    assert_eq!((tags(&["LEAK"], None), tags(&["leak", "Shop"], None), tags(&["none"], None)), (1, 2, 0));
    assert_eq!((tags(&["leak"], Some("leak")), tags(&["leak"], Some("shop"))), (1, 0));
}
