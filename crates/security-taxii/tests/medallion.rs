//! Against the server of OASIS. It is installed if it is not there; without it this test fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use security_core::{Coded, Secret};
use security_taxii::{Client, ClientOptions, ObjectQuery, TaxiiError};
use serde_json::{Value, json};

/// The server, until it is dropped.
struct Server {
    process: Child,
    known: Value,
}

impl Server {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = std::env::var("SECURITY_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut process = Command::new(python)
            .arg(root.join("tests/taxii_server.py"))
            .arg("--venv")
            .arg(root.join("target/medallion-venv"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let known =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the server did not start: `{line}`"));
        Self { process, known }
    }

    fn text(&self, name: &str) -> &str {
        self.known[name].as_str().unwrap()
    }

    fn options(&self) -> ClientOptions {
        ClientOptions::new(self.text("url"))
    }

    fn client(&self) -> Client {
        Client::new(self.options().with_user(self.text("username"), Secret::new(self.text("password"))))
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take()); // the end of its input is its sign to go
        let _ = self.process.wait();
    }
}

/// All objects of a walk, page by page.
fn pull(client: &Client, root: &str, collection: &str, query: &ObjectQuery) -> Vec<Vec<Value>> {
    client.objects(root, collection, query).unwrap().map(|page| page.unwrap().objects).collect()
}

fn ids(pages: &[Vec<Value>]) -> HashSet<&str> {
    pages.iter().flatten().map(|object| object["id"].as_str().unwrap()).collect()
}

#[test]
fn everything_is_pulled_from_a_real_server() {
    let server = Server::start();
    let (client, collection) = (server.client(), server.text("collection_id"));
    let expected = usize::try_from(server.known["objects"].as_u64().unwrap()).unwrap();

    // What there is.
    let discovery = client.discovery().unwrap();
    let root = discovery.default.clone().unwrap();
    assert_eq!(root, server.text("api_root"));
    assert_eq!(discovery.api_roots.len(), 2);
    for root in &discovery.api_roots {
        assert!(
            client.api_root(root).unwrap().versions.contains(&"application/taxii+json;version=2.1".into())
        );
    }
    let collections = client.collections(&root).unwrap();
    let named: Vec<(&str, bool, bool)> =
        collections.iter().map(|found| (found.title.as_str(), found.can_read, found.can_write)).collect();
    assert_eq!(named, [("Indicators", true, false), ("Reports", true, false), ("Inbox", true, true)]);
    assert_eq!(client.collection("/alpha/", collection).unwrap(), collections[0]);

    // All of it, in pages of 100, as the server gives no bigger ones; and in pages of 23.
    let pages = pull(&client, &root, collection, &ObjectQuery::default());
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 72]);
    let all = ids(&pages);
    assert_eq!((all.len(), expected), (272, 272));
    let small = pull(&client, &root, collection, &ObjectQuery { limit: Some(23), ..ObjectQuery::default() });
    assert_eq!(small.len(), 12);
    assert_eq!(ids(&small), all);
    let partner = server.known["collections"]["Partner"].clone();
    let listed = pull(&client, "/beta/", partner["id"].as_str().unwrap(), &ObjectQuery::default());
    assert_eq!(listed.concat().len(), 12);

    // What the first half of a walk did not give, and nothing after the end.
    let query = ObjectQuery { limit: Some(100), ..ObjectQuery::default() };
    let first = client.objects(&root, collection, &query).unwrap().next().unwrap().unwrap();
    let last = first.date_added_last.unwrap();
    assert!(first.date_added_first.unwrap() < last);
    let later = ObjectQuery { added_after: Some(last), limit: Some(50), ..ObjectQuery::default() };
    let rest = pull(&client, &root, collection, &later);
    assert_eq!(rest.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 50, 22]);
    let first = [first.objects];
    assert!(ids(&rest).is_disjoint(&ids(&first)));
    assert_eq!(ids(&rest).len() + ids(&first).len(), 272);
    let end = client.objects(&root, collection, &later).unwrap().last().unwrap().unwrap().date_added_last;
    let after = ObjectQuery { added_after: end, ..ObjectQuery::default() };
    assert!(pull(&client, &root, collection, &after).concat().is_empty());

    // What the filters say.
    let types = |types: &[&str]| ObjectQuery {
        types: types.iter().map(ToString::to_string).collect(),
        ..ObjectQuery::default()
    };
    assert_eq!(pull(&client, &root, collection, &types(&["malware", "relationship"])).concat().len(), 24);
    let one = first[0][0]["id"].as_str().unwrap();
    let query = ObjectQuery { ids: vec![one.into()], ..ObjectQuery::default() };
    assert_eq!(pull(&client, &root, collection, &query).concat().len(), 1);
    let query = ObjectQuery { versions: vec!["all".into()], ..types(&["indicator"]) };
    assert_eq!(pull(&client, &root, collection, &query).concat().len(), 242);
    let manifest =
        client.manifest(&root, collection, &ObjectQuery { limit: Some(60), ..types(&["indicator"]) });
    let records: Vec<_> = manifest.unwrap().flat_map(|page| page.unwrap().objects).collect();
    assert_eq!(records.len(), 240);
    assert!(records.is_sorted_by_key(|record| record.date_added));
}

#[test]
fn a_real_server_takes_objects_and_refuses_strangers() {
    let server = Server::start();
    let client = server.client();
    let inbox = server.known["collections"]["Inbox"]["id"].as_str().unwrap();
    assert!(pull(&client, "/alpha/", inbox, &ObjectQuery::default()).concat().is_empty());
    let object = json!({
        "type": "identity", "spec_version": "2.1", "id": "identity--3f0a4b52-7a0e-4a43-9f0c-0d5d2b8f1c11",
        "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "name": "Ours",
    });
    let status = client.add_objects("/alpha/", inbox, std::slice::from_ref(&object)).unwrap();
    assert_eq!((status.status.as_str(), status.success_count, status.failure_count), ("complete", 1, 0));
    assert_eq!(client.status("/alpha/", &status.id).unwrap().success_count, 1);
    assert_eq!(pull(&client, "/alpha/", inbox, &ObjectQuery::default()), [[object.clone()]]);
    let again = client.add_objects("/alpha/", inbox, &[object]).unwrap();
    assert_eq!((again.failure_count, again.failures.len()), (1, 1));

    let collection = server.text("collection_id");
    let forbidden = client.add_objects("/alpha/", collection, &[]).unwrap_err();
    assert!(matches!(forbidden, TaxiiError::Forbidden { message: Some(_), .. }), "{forbidden}");
    let missing = client.collection("/alpha/", "no-such-collection").unwrap_err();
    assert_eq!(missing.code(), "taxii-not-found");
    assert!(missing.to_string().contains("Collection 'no-such-collection' not found"), "{missing}");
    assert_eq!(client.collections("/gamma/").unwrap_err().code(), "taxii-not-found");

    let stranger =
        Client::new(server.options().with_user(server.text("username"), Secret::new("wrong"))).unwrap();
    let nobody = Client::new(server.options()).unwrap();
    for client in [stranger, nobody] {
        assert!(matches!(client.discovery(), Err(TaxiiError::Unauthorized { .. })));
        let mut pages = client.objects("/alpha/", collection, &ObjectQuery::default()).unwrap();
        assert_eq!(pages.next().unwrap().unwrap_err().code(), "taxii-unauthorized");
    }
}
