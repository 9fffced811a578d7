//! What a server can do wrong, and that the client neither hangs, nor swallows it, nor tells a secret.
//!
//! The peer is a small server on loopback that answers what each test says, byte by byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use security_core::{Coded, Secret, Timestamp};
use security_taxii::{Client, ClientOptions, ObjectQuery, TaxiiError};
use serde_json::{Value, json};

const PASSWORD: &str = "hunter2:with:colons";
/// `analyst:hunter2:with:colons` as HTTP sends it.
const ENCODED: &str = "YW5hbHlzdDpodW50ZXIyOndpdGg6Y29sb25z";
const TAXII: &str = "application/taxii+json;version=2.1";

/// A request as the peer saw it.
#[derive(Debug, Clone)]
struct Request {
    target: String,
    head: String,
    body: String,
}

/// A server that answers with what a function says. It ends with the test process.
struct Peer {
    base: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Peer {
    /// Answers each request with the bytes the function writes, then closes the connection.
    fn start(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, kept, answer) = (stream.unwrap(), Arc::clone(&kept), Arc::clone(&answer));
                thread::spawn(move || {
                    if let Some(request) = read_request(&stream) {
                        kept.lock().unwrap().push(request.clone());
                        answer(&request, &mut stream);
                    }
                });
            }
        });
        Self { base, requests }
    }

    /// Answers every request with one text.
    fn saying(response: String) -> Self {
        Self::start(move |_, stream| {
            let _ = stream.write_all(response.as_bytes());
        })
    }

    fn url(&self) -> String {
        format!("{}/taxii2/", self.base)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    fn client(&self) -> Client {
        Client::new(self.options()).unwrap()
    }

    fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::new(self.url()).with_user("analyst", Secret::new(PASSWORD));
        options.timeout = Duration::from_secs(20);
        options
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let target = head.split(' ').nth(1)?.to_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { target, head, body: String::from_utf8(body).ok()? })
}

fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn taxii(body: &Value) -> String {
    response("200 OK", &format!("Content-Type: {TAXII}\r\n"), &body.to_string())
}

/// The error of a discovery; whatever it is, it tells no secret.
fn refusal(client: &Client) -> TaxiiError {
    let error = client.discovery().unwrap_err();
    tells_no_secret(&error);
    error
}

fn tells_no_secret(error: &TaxiiError) {
    let shown = format!("{error} {error:?} {:?} {}", error.hint(), error.code());
    assert!(!shown.contains("hunter2") && !shown.contains(ENCODED), "{shown}");
    assert!(error.code().starts_with("taxii-"));
}

#[test]
fn sends_credentials_and_asks_for_taxii_2_1() {
    let peer = Peer::saying(taxii(
        &json!({"title": "Peer", "api_roots": ["/alpha/", "beta/"], "default": "/alpha/"}),
    ));
    let discovery = peer.client().discovery().unwrap();
    assert_eq!(discovery.api_roots, [format!("{}/alpha/", peer.base), format!("{}/taxii2/beta/", peer.base)]);
    assert_eq!(discovery.default, Some(format!("{}/alpha/", peer.base)));
    let head = peer.requests()[0].head.to_ascii_lowercase();
    assert!(head.contains(&format!("accept: {TAXII}\r\n")), "{head}");
    assert!(head.contains(&format!("authorization: basic {}\r\n", ENCODED.to_ascii_lowercase())), "{head}");
    assert!(head.contains("user-agent: security/"), "{head}");
    // Without a user there is nothing to send.
    let nobody = Client::new(ClientOptions::new(peer.url())).unwrap();
    nobody.discovery().unwrap();
    assert!(!peer.requests()[1].head.to_ascii_lowercase().contains("authorization"));
}

#[test]
fn redirects_stay_on_the_server() {
    let other = Peer::saying(taxii(&json!({"title": "Thief"})));
    let elsewhere = format!("Location: {}/taxii2/?x=hunter2\r\n", other.base);
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let peer = Peer::saying(response(status, &elsewhere, ""));
        let error = refusal(&peer.client());
        assert!(matches!(error, TaxiiError::RedirectRefused { .. }), "{error}");
    }
    for target in
        ["https://127.0.0.1/", "//other.example/", "ftp://127.0.0.1/", "http://analyst:hunter2@127.0.0.1/"]
    {
        let peer = Peer::saying(response("302 Found", &format!("Location: {target}\r\n"), ""));
        assert_eq!(refusal(&peer.client()).code(), "taxii-redirect-refused", "{target}");
    }
    assert!(other.requests().is_empty(), "{:?}", other.requests());
    let peer = Peer::start(|request, stream| {
        let answer = match request.target.as_str() {
            "/taxii2/" => response("308 Permanent", "Location: ../moved\r\n", ""),
            "/moved" => response("302 Found", "Location: /moved/\r\n", ""),
            _ => taxii(&json!({"title": "Here"})),
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    assert_eq!(peer.client().discovery().unwrap().title, "Here");
    assert_eq!(peer.requests().len(), 3);
}

#[test]
fn redirects_end() {
    let peer = Peer::saying(response("302 Found", "Location: /taxii2/\r\n", ""));
    assert_eq!(refusal(&peer.client()).code(), "taxii-redirect-refused");
    assert_eq!(peer.requests().len(), 6);
    for wrong in ["", "Location: http://[\r\n"] {
        let peer = Peer::saying(response("302 Found", wrong, ""));
        assert_eq!(refusal(&peer.client()).code(), "taxii-bad-response", "{wrong}");
    }
    let peer = Peer::saying(response("304 Not Modified", "", ""));
    assert_eq!(refusal(&peer.client()).code(), "taxii-bad-response");
}

#[test]
fn statuses_become_errors() {
    for (status, code) in [
        ("401 Unauthorized", "taxii-unauthorized"),
        ("403 Forbidden", "taxii-forbidden"),
        ("404 Not Found", "taxii-not-found"),
        ("406 Not Acceptable", "taxii-refused"),
        ("429 Too Many Requests", "taxii-busy"),
        ("500 Internal Server Error", "taxii-refused"),
        ("503 Service Unavailable", "taxii-busy"),
    ] {
        // A page for browsers says nothing that belongs into an error.
        let html = "<html><title>Oops</title></html>";
        let peer = Peer::saying(response(status, "Content-Type: text/html\r\n", html));
        let error = refusal(&peer.client());
        assert_eq!(error.code(), code, "{status}");
        assert!(!error.to_string().contains("Oops"), "{error}");
        let said = json!({"title": "Sorry\u{1b}[31m\nmaster", "description": "d".repeat(5000)}).to_string();
        let peer = Peer::saying(response(status, &format!("Content-Type: {TAXII}\r\n"), &said));
        let shown = refusal(&peer.client()).to_string();
        assert!(shown.contains(": Sorry[31m master: ddd"), "{shown}");
        assert!(shown.len() < 400, "{shown}");
    }
}

#[test]
fn servers_that_repeat_the_password_are_not_quoted() {
    for repeated in [PASSWORD, ENCODED, "Basic YW5hbHlzdDpodW50ZXIyOndpdGg6Y29sb25z"] {
        let said = json!({"title": "who is", "description": format!("'{repeated}'?")}).to_string();
        let peer = Peer::saying(response("401 No", &format!("Content-Type: {TAXII}\r\n"), &said));
        let error = refusal(&peer.client());
        assert!(matches!(error, TaxiiError::Unauthorized { message: None, .. }), "{error}");
    }
}

#[test]
fn patience_is_told_and_bounded() {
    for (header, seconds) in [("7", Some(7)), ("99999999", Some(86_400)), ("soon", None), ("-1", None)] {
        let peer = Peer::saying(response("503 Busy", &format!("Retry-After: {header}\r\n"), ""));
        let TaxiiError::Busy { status: 503, retry_after, .. } = refusal(&peer.client()) else {
            panic!("{header}");
        };
        assert_eq!(retry_after, seconds.map(Duration::from_secs), "{header}");
    }
}

#[test]
fn answers_that_are_not_taxii_are_refused() {
    let json = format!("Content-Type: {TAXII}\r\n");
    for (headers, body, reason) in [
        ("Content-Type: text/html\r\n", "<html>", "content type is `text/html`"),
        ("Content-Type: application/taxii+json;version=2.0\r\n", "{}", "version is `2.0`"),
        ("", "{}", "does not say its content type"),
        (json.as_str(), "<html>", "JSON is wrong"),
        (json.as_str(), "[1]", "JSON is wrong"),
        (json.as_str(), "", "JSON is wrong"),
        (json.as_str(), r#"{"api_roots": 7}"#, "JSON is wrong"),
    ] {
        let peer = Peer::saying(response("200 OK", headers, body));
        let error = refusal(&peer.client());
        assert_eq!(error.code(), "taxii-bad-response", "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let deep = Peer::saying(response("200 OK", &json, &"[".repeat(200_000)));
    assert_eq!(refusal(&deep.client()).code(), "taxii-bad-response");
    let no_http = Peer::saying("SSH-2.0-OpenSSH_9.6\r\n".into());
    assert!(matches!(refusal(&no_http.client()).code(), "taxii-bad-response" | "taxii-unreachable"));
    let hung_up = Peer::start(|_, _| {});
    assert_eq!(refusal(&hung_up.client()).code(), "taxii-unreachable");
    let cut_off = Peer::saying(format!("HTTP/1.1 200 OK\r\n{json}Content-Length: 1000\r\n\r\n{{"));
    assert_eq!(refusal(&cut_off.client()).code(), "taxii-unreachable");
}

#[test]
fn nobody_there_is_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(ClientOptions::new(format!("http://{closed}/"))).unwrap();
    assert_eq!(refusal(&client).code(), "taxii-unreachable");
    let client = Client::new(ClientOptions::new("https://taxii.invalid/")).unwrap();
    assert_eq!(refusal(&client).code(), "taxii-unreachable");
}

#[test]
fn bodies_are_bounded_whether_they_announce_their_length_or_not() {
    let limited = |peer: &Peer, limit| {
        let mut options = peer.options();
        options.max_response_bytes = limit;
        Client::new(options).unwrap()
    };
    let body = json!({"title": "x".repeat(5000)}).to_string();
    let length = u64::try_from(body.len()).unwrap();
    let announced = Peer::saying(response("200 OK", &format!("Content-Type: {TAXII}\r\n"), &body));
    let unannounced = Peer::start(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {TAXII}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all((head + &body).as_bytes());
    });
    for peer in [&announced, &unannounced] {
        assert_eq!(limited(peer, length).discovery().unwrap().title.len(), 5000);
        let error = refusal(&limited(peer, length - 1));
        assert!(matches!(error, TaxiiError::TooLarge { .. }), "{error}");
    }
    // A body without an end.
    let endless = Peer::start(|_, stream| {
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: {TAXII}\r\n\r\n").as_bytes());
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    assert_eq!(refusal(&limited(&endless, 1 << 20)).code(), "taxii-too-large");
    // A header without an end.
    let headers = Peer::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(format!("X-Filler: {}\r\n", "x".repeat(8000)).as_bytes()).is_ok() {}
    });
    assert_eq!(refusal(&headers.client()).code(), "taxii-bad-response");
}

#[test]
fn compressed_bodies_are_bounded_by_what_they_become() {
    let serve = |body: Vec<u8>| {
        Peer::start(move |_, stream| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {TAXII}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        })
    };
    let compress = |content: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    let honest = serve(compress(br#"{"title": "small"}"#));
    assert_eq!(honest.client().discovery().unwrap().title, "small");
    // A hundred MiB of blanks in a hundred KiB.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    (0..100).for_each(|_| encoder.write_all(&vec![b' '; 1 << 20]).unwrap());
    let bomb = serve(encoder.finish().unwrap());
    assert_eq!(refusal(&bomb.client()).code(), "taxii-too-large");
    let damaged = serve(b"\x1f\x8b\x08\0\0\0\0\0\0\0garbage".to_vec());
    assert_eq!(refusal(&damaged.client()).code(), "taxii-bad-response");
}

#[test]
fn slow_servers_run_out_of_time() {
    let hurried = |peer: &Peer| {
        let mut options = peer.options();
        options.timeout = Duration::from_millis(300);
        Client::new(options).unwrap()
    };
    // Never an answer; and one that comes byte by byte, each in time.
    let silent = Peer::start(|_, stream| {
        let _ = stream.read(&mut [0]);
    });
    let dripping = Peer::start(|_, stream| {
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: {TAXII}\r\n\r\n").as_bytes());
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    for peer in [&silent, &dripping] {
        let error = refusal(&hurried(peer));
        assert!(matches!(error, TaxiiError::Timeout { .. }), "{error}");
        assert!(error.to_string().ends_with("within 0.3 seconds"), "{error}");
    }
}

#[test]
fn other_servers_are_never_asked() {
    let other = Peer::saying(taxii(&json!({"collections": []})));
    let root = format!("{}/alpha/", other.base);
    let peer = Peer::saying(taxii(&json!({"api_roots": [root]})));
    let client = peer.client();
    let listed = &client.discovery().unwrap().api_roots[0];
    for error in [
        client.api_root(listed).unwrap_err(),
        client.collections(listed).unwrap_err(),
        client.collection(listed, "c").unwrap_err(),
        client.objects(listed, "c", &ObjectQuery::default()).unwrap_err(),
        client.add_objects(listed, "c", &[]).unwrap_err(),
    ] {
        assert_eq!(error.code(), "taxii-foreign-host");
        tells_no_secret(&error);
    }
    assert!(other.requests().is_empty());
}

fn identity(number: usize) -> Value {
    json!({"type": "identity", "id": format!("identity--{number}"), "modified": "2026-01-01T00:00:00Z"})
}

/// What the query of a request says under a name.
fn parameter(request: &Request, name: &str) -> Option<String> {
    let url = url::Url::parse(&format!("http://peer{}", request.target)).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The pages of a walk up to its end or first error.
fn walk(client: &Client, query: &ObjectQuery) -> (Vec<usize>, Option<TaxiiError>) {
    let mut sizes = Vec::new();
    for page in client.objects("/alpha/", "c", query).unwrap() {
        match page {
            Ok(page) => {
                sizes.push(page.objects.len());
                assert_eq!(page.number, sizes.len());
                assert_eq!(page.objects_so_far, sizes.iter().sum::<usize>());
            }
            Err(error) => {
                tells_no_secret(&error);
                return (sizes, Some(error));
            }
        }
    }
    (sizes, None)
}

#[test]
fn follows_next_with_the_same_query() {
    // A number and `null` where the standard has neither, because some servers write them.
    let peer = Peer::start(|request, stream| {
        let body = match parameter(request, "next") {
            None => json!({"more": true, "next": 17, "objects": [identity(1), identity(2)]}),
            Some(_) => json!({"more": null, "next": null, "objects": [identity(3)]}),
        };
        let _ = stream.write_all(taxii(&body).as_bytes());
    });
    let query = ObjectQuery {
        added_after: Some(Timestamp::from_micros(1_500_000)),
        limit: Some(2),
        ids: vec!["identity--1".into(), "identity--2".into()],
        types: vec!["identity".into()],
        versions: vec!["all".into()],
        spec_versions: vec!["2.1".into()],
    };
    assert_eq!(walk(&peer.client(), &query), (vec![2, 1], None));
    for request in peer.requests() {
        assert!(request.target.starts_with("/alpha/collections/c/objects/?"), "{}", request.target);
        for (name, value) in [
            ("added_after", "1970-01-01T00:00:01.500000Z"),
            ("limit", "2"),
            ("match[id]", "identity--1,identity--2"),
            ("match[type]", "identity"),
            ("match[version]", "all"),
            ("match[spec_version]", "2.1"),
        ] {
            assert_eq!(parameter(&request, name).as_deref(), Some(value), "{}", request.target);
        }
    }
    assert_eq!(parameter(&peer.requests()[0], "next"), None);
    assert_eq!(parameter(&peer.requests()[1], "next").as_deref(), Some("17"));
    // One mark for the whole walk, as medallion keeps it, is no loop.
    let asked = Mutex::new(0);
    let steady = Peer::start(move |_, stream| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        let body = json!({"more": *asked < 4, "next": "same", "objects": [identity(*asked)]});
        let _ = stream.write_all(taxii(&body).as_bytes());
    });
    assert_eq!(walk(&steady.client(), &ObjectQuery::default()), (vec![1; 4], None));
    // Nothing there at all.
    let empty = Peer::saying(taxii(&json!({})));
    assert_eq!(walk(&empty.client(), &ObjectQuery::default()), (vec![0], None));
}

#[test]
fn goes_on_by_time_if_there_is_no_next() {
    let peer = Peer::start(|request, stream| {
        let after = parameter(request, "added_after");
        let (body, last) = match after.as_deref() {
            None => (json!({"more": true, "objects": [identity(1)]}), "2026-01-01T00:00:00Z"),
            Some("2026-01-01T00:00:00.000000Z") => {
                (json!({"more": true, "objects": [identity(2)]}), "2026-01-01T00:00:00.000001Z")
            }
            _ => (json!({"objects": [identity(3)]}), "2026-01-02T00:00:00Z"),
        };
        let headers = format!("Content-Type: {TAXII}\r\nX-TAXII-Date-Added-Last: {last}\r\n");
        let _ = stream.write_all(response("200 OK", &headers, &body.to_string()).as_bytes());
    });
    assert_eq!(walk(&peer.client(), &ObjectQuery::default()), (vec![1, 1, 1], None));
    // The same time again leads nowhere, and neither does no time at all.
    let headers = format!("Content-Type: {TAXII}\r\nX-TAXII-Date-Added-Last: 2026-01-01T00:00:00Z\r\n");
    let body = json!({"more": true, "objects": [identity(1)]}).to_string();
    let stuck = Peer::saying(response("200 OK", &headers, &body));
    let (sizes, error) = walk(&stuck.client(), &ObjectQuery::default());
    assert_eq!((sizes, error.unwrap().code()), (vec![1], "taxii-looping"));
    let lost = Peer::saying(taxii(&json!({"more": true, "objects": [identity(1)]})));
    let (_, error) = walk(&lost.client(), &ObjectQuery::default());
    assert_eq!(error.unwrap().code(), "taxii-bad-response");
}

#[test]
fn walks_end_on_servers_that_have_no_end() {
    type Answer = fn(usize) -> Value;
    let cases: [(&str, Answer, &str); 5] = [
        ("same page", |_| json!({"more": true, "next": "a", "objects": [identity(1)]}), "taxii-looping"),
        ("fresh marks", |n| json!({"more": true, "next": n, "objects": [identity(1)]}), "taxii-looping"),
        ("two in turn", |n| json!({"more": true, "next": n, "objects": [identity(n % 2)]}), "taxii-looping"),
        ("nothing", |_| json!({"more": true, "next": "a"}), "taxii-looping"),
        ("long marks", |n| json!({"more": true, "next": "a".repeat(5000 + n)}), "taxii-bad-response"),
    ];
    for (name, answer, code) in cases {
        let asked = Mutex::new(0);
        let peer = Peer::start(move |_, stream| {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let _ = stream.write_all(taxii(&answer(*asked)).as_bytes());
        });
        let (sizes, error) = walk(&peer.client(), &ObjectQuery::default());
        assert_eq!(error.map(|error| error.code()), Some(code), "{name}");
        assert!(sizes.len() <= 3, "{name}: {sizes:?}");
    }
    // Always new objects: the number of pages ends it, and the time does.
    let asked = Mutex::new(0);
    let peer = Peer::start(move |_, stream| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        let body = json!({"more": true, "next": "a", "objects": [identity(*asked)]});
        let _ = stream.write_all(taxii(&body).as_bytes());
    });
    let mut options = peer.options();
    options.max_pages = 4;
    let (sizes, error) = walk(&Client::new(options).unwrap(), &ObjectQuery::default());
    assert_eq!((sizes, error.unwrap().code()), (vec![1; 4], "taxii-too-many-pages"));
    let mut options = peer.options();
    options.total_timeout = Duration::from_millis(200);
    let (_, error) = walk(&Client::new(options).unwrap(), &ObjectQuery::default());
    let error = error.unwrap();
    assert_eq!(error.code(), "taxii-timeout");
    assert!(error.to_string().ends_with("within 0.2 seconds"), "{error}");
}

#[test]
fn an_error_ends_the_walk() {
    let peer = Peer::saying(response("500 Oops", "", ""));
    let client = peer.client();
    let mut pages = client.objects("/alpha/", "c", &ObjectQuery::default()).unwrap();
    assert!(pages.next().unwrap().is_err());
    assert!(pages.next().is_none());
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn objects_are_posted_once_and_as_taxii() {
    let status = json!({"id": "s", "status": "pending", "total_count": 1, "pending_count": 1});
    let headers = format!("Content-Type: {TAXII}\r\n");
    let peer = Peer::saying(response("202 Accepted", &headers, &status.to_string()));
    let answered = peer.client().add_objects("/alpha/", "c", &[identity(1)]).unwrap();
    assert_eq!((answered.status.as_str(), answered.pending_count), ("pending", 1));
    let request = &peer.requests()[0];
    assert!(request.head.starts_with("POST /alpha/collections/c/objects/ "), "{}", request.head);
    assert!(
        request.head.to_ascii_lowercase().contains(&format!("content-type: {TAXII}\r\n")),
        "{}",
        request.head
    );
    assert_eq!(serde_json::from_str::<Value>(&request.body).unwrap(), json!({"objects": [identity(1)]}));
    // A redirect that would turn it into a GET is not followed.
    let moved = Peer::saying(response("303 See Other", "Location: /elsewhere/\r\n", ""));
    let error = moved.client().add_objects("/alpha/", "c", &[identity(1)]).unwrap_err();
    assert_eq!(error.code(), "taxii-redirect-refused");
    assert_eq!(moved.requests().len(), 1);
}

#[test]
fn wrong_set_ups_are_refused_before_anything_is_sent() {
    let refused = |options: ClientOptions| {
        let error = Client::new(options).unwrap_err();
        tells_no_secret(&error);
        assert_eq!(error.code(), "taxii-bad-configuration");
    };
    refused(ClientOptions::new("http://taxii.example/"));
    refused(ClientOptions::new("https://analyst:hunter2@taxii.example/"));
    refused(ClientOptions {
        username: Some("analyst".into()),
        ..ClientOptions::new("https://taxii.example/")
    });
    refused(ClientOptions {
        trusted_certificates: Some(vec![0; 9]),
        ..ClientOptions::new("https://taxii.example/")
    });
    let options = ClientOptions::new("https://taxii.example/").with_user("analyst", Secret::new(PASSWORD));
    assert!(!format!("{options:?}").contains("hunter2"));
    let client = Client::new(options).unwrap();
    assert!(!format!("{client:?}").contains("hunter2") && !format!("{client:?}").contains(ENCODED));
}
