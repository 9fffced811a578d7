//! The example as its page starts it: one command, asked over a socket.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    time::{Duration, Instant},
};

struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_command_serves_it() {
    let folder = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_security-axum-example"));
    command.arg(address.to_string()).current_dir(folder.path()).env("API_KEY", "the-key-of-this-test-6f1c09");
    let _started = Started(command.spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(ask(address, "GET /").starts_with("HTTP/1.1 200 OK"));
    let refused = ask(address, "GET /reports");
    assert!(
        refused.starts_with("HTTP/1.1 401 ") && refused.contains("application/problem+json"),
        "{refused}"
    );
    let allowed = ask(address, "GET /reports HTTP/1.1\r\nX-API-Key: the-key-of-this-test-6f1c09");
    assert!(allowed.starts_with("HTTP/1.1 200 OK"), "{allowed}");
    let attack = ask(address, "GET /?q=%3Cscript%3Ealert(1)%3C/script%3E");
    assert!(attack.starts_with("HTTP/1.1 403 "), "{attack}");
    assert!(folder.path().join("data/credentials").is_dir(), "the data lie where it was started");
}

/// Request line and headers in, the whole answer out.
fn ask(address: SocketAddr, head: &str) -> String {
    let version = if head.contains("HTTP/1.1") { "" } else { " HTTP/1.1" };
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "{head}{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}
