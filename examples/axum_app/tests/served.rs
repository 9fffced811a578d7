//! The application, called in this process, and once over a socket.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, Response, header::HeaderMap},
};
use http_body_util::BodyExt;
use security::{ConfigSource, Engine, IssueRequest, Options};
use security_axum_example::application;
use serde_json::{Value, json};
use tower::ServiceExt;

struct Served {
    _folder: tempfile::TempDir,
    engine: Arc<Engine>,
}

fn served(web: Value) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(folder.path().join("data")),
        config: Some(ConfigSource::Inline(json!({ "web": web }))),
        ..Options::default()
    };
    Served { engine: Arc::new(Engine::open(options).unwrap()), _folder: folder }
}

impl Served {
    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
        self.ask_from("198.51.100.1", path, headers).await
    }

    async fn ask_from(&self, peer: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer: SocketAddr = format!("{peer}:4000").parse().unwrap();
        let request = request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap();
        let response: Response<Body> = application(&self.engine).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (parts.status.as_u16(), parts.headers, body)
    }

    fn key(&self, scopes: &[&str]) -> String {
        let request = IssueRequest {
            name: "reader".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ..IssueRequest::default()
        };
        let issued = self.engine.issue_api_key(request).unwrap();
        String::from_utf8(issued.1.expose().to_vec()).unwrap()
    }
}

fn error_of(body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap();
    problem["error"].as_str().unwrap().to_owned()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    assert!(headers.get_all(name).iter().count() < 2, "{name} came twice");
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn what_needs_no_key_goes_on_with_id_and_headers() {
    let served = served(json!({}));
    let (status, headers, body) = served.ask("/", &[("x-request-id", "client-id-0001")]).await;
    assert_eq!((status, body.as_str()), (200, "request client-id-0001\n"));
    assert_eq!(text(&headers, "x-request-id"), Some("client-id-0001"));
    assert_eq!(text(&headers, "x-content-type-options"), Some("nosniff"));
    assert_eq!(text(&headers, "cache-control"), None);
    let (status, headers, _) = served.ask("/absent", &[]).await;
    assert_eq!(status, 404);
    assert!(text(&headers, "x-request-id").is_some());
}

#[tokio::test]
async fn keys_and_scopes() {
    let served = served(json!({}));
    let (reader, other) = (served.key(&["reports:read"]), served.key(&["reports:write"]));
    let bearer = format!("Bearer {reader}");
    for (headers, status, error) in [
        (&[][..], 401, "credential-missing"),
        (&[("x-api-key", "wrong")], 403, "credential-invalid"),
        (&[("x-api-key", other.as_str())], 403, "credential-invalid"),
        (
            &[("x-api-key", reader.as_str()), ("authorization", "Bearer other")],
            400,
            "conflicting-credentials",
        ),
    ] {
        let (answered, response, body) = served.ask("/reports", headers).await;
        assert_eq!((answered, error_of(&body).as_str()), (status, error));
        assert_eq!(text(&response, "content-type"), Some("application/problem+json"));
        assert_eq!(text(&response, "x-frame-options"), Some("SAMEORIGIN"));
        assert!(body.contains(text(&response, "x-request-id").unwrap()));
        assert_eq!(response.contains_key("www-authenticate"), status != 400);
    }
    for header in [("x-api-key", reader.as_str()), ("authorization", bearer.as_str())] {
        let (status, headers, body) = served.ask("/reports", &[header]).await;
        assert_eq!((status, body.as_str()), (200, r#"["reports:read"]"#));
        assert_eq!(text(&headers, "cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn sensitive_paths_and_limits() {
    let served = served(json!({"limits": {"client": "3/hour"}}));
    let (status, _, body) = served.ask("/%61dmin/panel", &[]).await;
    assert_eq!((status, error_of(&body).as_str()), (403, "forbidden-path"));
    assert_eq!(served.ask_from("10.0.0.5", "/admin/panel", &[]).await.0, 200);
    for _ in 0..3 {
        assert_eq!(served.ask("/", &[]).await.0, 200);
    }
    let (status, headers, body) = served.ask("/", &[]).await;
    assert_eq!((status, error_of(&body).as_str()), (429, "rate-limited"));
    assert!(text(&headers, "retry-after").unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn one_request_through_two_layers_counts_once() {
    let served = served(json!({"limits": {"client": "2/hour"}}));
    let reader = served.key(&["*"]);
    for expected in [200, 200, 429] {
        assert_eq!(served.ask("/reports", &[("x-api-key", reader.as_str())]).await.0, expected);
    }
}

#[tokio::test]
async fn the_shadow_limits_nobody_and_opens_nothing() {
    let served = served(json!({"mode": "shadow", "limits": {"client": "1/hour"}}));
    for _ in 0..3 {
        let (status, headers, _) = served.ask("/", &[]).await;
        assert_eq!((status, text(&headers, "retry-after")), (200, None));
    }
    for (path, expected) in [("/reports", 401), ("/admin/panel", 403)] {
        assert_eq!(served.ask(path, &[]).await.0, expected);
    }
}

#[tokio::test]
async fn over_a_socket_the_peer_is_the_client() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let served = served(json!({}));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = application(&served.engine).into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /admin/panel HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("for trusted networks only\n"), "{answer}");
    server.abort();
}

fn post(path: &str, content_type: &str, body: Body) -> Request<Body> {
    let peer: SocketAddr = "198.51.100.1:4000".parse().unwrap();
    Request::post(path).header("content-type", content_type).extension(ConnectInfo(peer)).body(body).unwrap()
}

async fn answered(served: &Served, request: Request<Body>) -> (u16, Vec<u8>) {
    let response = application(&served.engine).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status.as_u16(), body.collect().await.unwrap().to_bytes().to_vec())
}

/// A body in pieces of so many bytes, without a length.
fn pieces(body: &[u8], size: usize) -> Body {
    let chunks: Vec<Result<axum::body::Bytes, std::convert::Infallible>> =
        body.chunks(size).map(|chunk| Ok(axum::body::Bytes::copy_from_slice(chunk))).collect();
    Body::from_stream(futures_util::stream::iter(chunks))
}

#[tokio::test]
async fn bodies_are_judged_and_arrive_whole() {
    let served = served(json!({"limits": {"client": "unlimited"}, "bodies": {"max_bytes": 1_000_000}}));
    let attack = br#"{"comment": "<script>alert(1)</script>"}"#;
    for (content_type, is_attack) in [("application/json", true), ("image/png", true), ("text/plain", true)] {
        for size in [1, 7, 1000] {
            let request = post("/echo", content_type, pieces(attack, size));
            let (status, body) = answered(&served, request).await;
            assert_eq!(status == 403, is_attack, "{content_type} {size}");
            assert_eq!(error_of(std::str::from_utf8(&body).unwrap()), "request-refused");
        }
        let (status, _) = answered(&served, post("/echo", content_type, Body::from(&attack[..]))).await;
        assert_eq!(status, 403);
    }
    let text = b"words and more of them ".repeat(30_000);
    for size in [100, 60_000] {
        let (status, body) = answered(&served, post("/echo", "text/plain", pieces(&text, size))).await;
        assert!(status == 200 && body == text, "{status}, {} bytes", body.len());
    }
    let (status, body) = answered(&served, post("/echo", "text/plain", Body::from(text.clone()))).await;
    assert!(status == 200 && body == text);
    assert_eq!(answered(&served, post("/echo", "text/plain", Body::empty())).await, (200, Vec::new()));
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let served = served(json!({"limits": {"client": "unlimited"}, "bodies": {"max_bytes": 300_000}}));
    let ask = async |body: Body| answered(&served, post("/echo", "text/plain", body)).await;
    let (fits, over) = (vec![b'x'; 300_000], vec![b'x'; 300_001]);
    assert_eq!(ask(Body::from(fits.clone())).await.0, 200);
    assert_eq!(ask(Body::from(over.clone())).await.0, 413);
    assert_eq!(ask(pieces(&fits, 10_000)).await.0, 200);
    // Within the part that is judged it is told; beyond, the service hears that there is no more.
    assert_eq!(ask(pieces(&over, 400_000)).await.0, 413);
    let (status, body) = ask(pieces(&over, 10_000)).await;
    assert!((400..500).contains(&status), "{status} {}", String::from_utf8_lossy(&body));
}

/// Some bytes, and then nothing more, and no end either.
fn stuck(body: &'static [u8]) -> Body {
    use futures_util::StreamExt as _;
    let first = axum::body::Bytes::from_static(body);
    let first = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(first)]);
    Body::from_stream(first.chain(futures_util::stream::pending()))
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let served = served(json!({"bodies": {"wait_seconds": 1}}));
    for body in [stuck(b""), stuck(b"[1, "), stuck(br#"{"a": "<script>alert(1)</script>"#)] {
        let response =
            application(&served.engine).oneshot(post("/echo", "application/json", body)).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), text(response.headers(), "connection")),
            (408, Some("close"))
        );
    }
    // What nobody wants to see is the service's to wait for.
    let unwanted = self::served(json!({"bodies": {"wait_seconds": 1, "inspect": false}}));
    let asked = application(&unwanted.engine).oneshot(post("/echo", "application/json", stuck(b"")));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1500), asked).await.is_err());
}

#[tokio::test]
async fn a_body_that_breaks_breaks_for_the_service_too() {
    let served = served(json!({"limits": {"client": "unlimited"}}));
    let parts: [Result<axum::body::Bytes, std::io::Error>; 2] =
        [Ok(axum::body::Bytes::from_static(b"[")), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(futures_util::stream::iter(parts));
    let (status, _) = answered(&served, post("/echo", "text/plain", body)).await;
    assert!((400..600).contains(&status), "{status}");
}

#[tokio::test]
async fn metrics_are_answered_by_the_layer() {
    let served = served(json!({"metrics": {"path": "/internal/metrics"}}));
    served.ask("/", &[]).await;
    let (status, headers, body) = served.ask_from("10.0.0.5", "/internal/metrics", &[]).await;
    assert_eq!(status, 200);
    assert_eq!(text(&headers, "content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(body.contains("action=\"allow\",reason=\"none\"} 2"), "this one is counted too: {body}");
    assert_eq!(served.ask("/internal/metrics", &[]).await.0, 403);
}
