"""Every bridge behind a real server, over a socket: gunicorn, uvicorn and hypercorn."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any

from engine_case import VALUES, EngineCase, clean_environment

HERE = Path(__file__).resolve().parent
KEY = VALUES["API_KEY"].encode()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def command_of(server: str, app: str, port: int) -> list[str]:
    where = f"127.0.0.1:{port}"
    return {
        "gunicorn": ["gunicorn", "--chdir", str(HERE), "--bind", where, f"adapter_apps:{app}"],
        "uvicorn": [
            "uvicorn",
            "--app-dir",
            str(HERE),
            "--port",
            str(port),
            "--no-proxy-headers",
            f"adapter_apps:{app}",
        ],
        "hypercorn": ["hypercorn", "--bind", where, f"adapter_apps:{app}"],
    }[server]


class Answer:
    """A response, read off the socket as it is."""

    def __init__(self, raw: bytes) -> None:
        head, _, body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        if self.header("transfer-encoding") == "chunked":
            body = b"".join(body.split(b"\r\n")[1::2])
        self.body = body

    def header(self, name: str) -> str | None:
        values = [value for known, value in self.headers if known == name]
        if len(values) > 1:
            raise AssertionError(f"{name} came {len(values)} times")
        return values[0] if values else None


# What it is, the bytes of request line and headers, the status, the body's `error` where it is one.
REQUESTS: list[tuple[str, bytes, int, str | None]] = [
    ("nothing asked", b"GET /open HTTP/1.1", 200, None),
    ("no key", b"GET /bare HTTP/1.1", 401, "credential-missing"),
    ("a wrong key", b"GET /bare HTTP/1.1\r\nX-API-Key: wrong", 403, "credential-invalid"),
    ("the key", b"GET /bare HTTP/1.1\r\nX-API-Key: " + KEY, 200, None),
    ("as bearer", b"GET /bare HTTP/1.1\r\nAuthorization: Bearer " + KEY, 200, None),
    (
        "two keys",
        b"GET /bare HTTP/1.1\r\nX-API-Key: " + KEY + b"\r\nAuthorization: Bearer other",
        400,
        "conflicting-credentials",
    ),
    ("two lines", b"GET /bare HTTP/1.1\r\nX-API-Key: " + KEY + b"\r\nX-API-Key: b", 400, "conflicting-credentials"),
    ("underscores", b"GET /bare HTTP/1.1\r\nX_API_Key: " + KEY, 401, "credential-missing"),
    ("a path that is no text", b"GET /%ff%fe HTTP/1.1", 404, None),
    ("a query that is no text", b"GET /open?q=%ff%fe HTTP/1.1", 200, None),
    ("a header that is no text", b"GET /open HTTP/1.1\r\nUser-Agent: \xff\xfe", 200, None),
    ("a key that is no text", b"GET /bare HTTP/1.1\r\nX-API-Key: \xff\xfe", 403, "credential-invalid"),
    ("HEAD", b"HEAD /bare HTTP/1.1", 401, None),
    ("an uncaught error", b"GET /crash HTTP/1.1", 500, "internal"),
    ("an id of the client's", b"GET /open HTTP/1.1\r\nX-Request-ID: client-id-0001", 200, None),
    # The tests are local peers and trusted; whoever comes through a proxy that nobody named is not.
    ("from inside", b"GET /admin/panel HTTP/1.1", 200, None),
    ("through somebody", b"GET /admin/panel HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1", 403, "forbidden-path"),
]


class ServerCase(EngineCase):
    def serve(self, server: str, app: str, policy_of_bodies: str = "", *options: str) -> int:
        port = free_port()
        log = (self.folder / f"{server}-{app}.log").open("w+", encoding="utf-8")
        self.addCleanup(log.close)
        policy = self.folder / "policy.toml"
        unlimited = '[web.limits]\nclient = "unlimited"\nfailed_authentication = "unlimited"\n'
        policy.write_text(f"{unlimited}[web.bodies]\n{policy_of_bodies}\n", "utf-8")
        settings = {"SECURITY_DATA_DIR": str(self.data_dir), "SECURITY_CONFIG": str(policy)}
        environment = clean_environment(**VALUES, **settings, PYTHONPATH=os.pathsep.join([str(HERE), *sys.path]))
        command = [sys.executable, "-m", *command_of(server, app, port), *options]
        running = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

        def stop() -> None:
            running.terminate()
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()

        self.addCleanup(stop)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                return port
            except OSError:
                if time.monotonic() > deadline or running.poll() is not None:
                    log.seek(0)
                    self.fail(f"{server} does not answer:\n{log.read()}")
                time.sleep(0.05)

    def ask(self, port: int, head: bytes) -> Answer:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            line, _, headers = head.partition(b"\r\n")
            headers = headers + b"\r\n" if headers else b""
            connection.sendall(line + b"\r\nHost: localhost\r\n" + headers + b"Connection: close\r\n\r\n")
            raw = b""
            while chunk := connection.recv(65536):
                raw += chunk
        return Answer(raw)


class Servers(ServerCase):
    def answers_like_all_others(self, server: str, app: str) -> None:
        port = self.serve(server, app)
        for what, head, status, error in REQUESTS:
            with self.subTest(server=server, app=app, what=what):
                answer = self.ask(port, head)
                self.assertEqual(answer.status, status, answer.body)
                self.assertEqual(answer.header("x-content-type-options"), "nosniff")
                self.assertTrue(answer.header("x-request-id"))
                self.assertNotIn(b"password", answer.body)
                if b"client-id-0001" in head:
                    self.assertEqual(answer.header("x-request-id"), "client-id-0001")
                if head.startswith(b"HEAD"):
                    self.assertEqual(answer.body, b"")
                if error is not None:
                    body: Any = json.loads(answer.body)
                    self.assertEqual((body["error"], body["request_id"]), (error, answer.header("x-request-id")))
                    self.assertEqual(answer.header("content-type"), "application/problem+json")

    def test_flask_behind_gunicorn(self) -> None:
        self.answers_like_all_others("gunicorn", "of_flask")

    def test_wsgi_behind_gunicorn(self) -> None:
        self.answers_like_all_others("gunicorn", "of_wsgi")

    def test_django_behind_gunicorn(self) -> None:
        self.answers_like_all_others("gunicorn", "of_django")

    def test_asgi_behind_uvicorn(self) -> None:
        self.answers_like_all_others("uvicorn", "of_asgi")

    def test_asgi_behind_hypercorn(self) -> None:
        self.answers_like_all_others("hypercorn", "of_asgi")

    def test_fastapi_behind_uvicorn(self) -> None:
        self.answers_like_all_others("uvicorn", "of_fastapi")

    def test_django_behind_uvicorn(self) -> None:
        self.answers_like_all_others("uvicorn", "of_django_async")


class UnreadBodies(ServerCase):
    """A request that is refused before its body is read, on a connection that goes on."""

    WITHIN = b"GET /open HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: within-the-body\r\n\r\n" * 20
    NEXT = b"GET /open HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: the-next-one\r\nConnection: close\r\n\r\n"
    SIZED = b"Content-Length: %d\r\n\r\n%b"
    CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(WITHIN), WITHIN)

    def no_body_is_a_request(self, server: str, app: str, *options: str) -> None:
        port = self.serve(server, app, "max_bytes = 3000", *options)
        coded = b"Content-Type: application/json\r\nContent-Encoding: br\r\n"
        for status, path, rest in (
            (413, b"/open", self.SIZED % (3 * len(self.WITHIN), 3 * self.WITHIN)),
            (415, b"/open", coded + self.SIZED % (len(self.WITHIN), self.WITHIN)),
            (403, b"/bare", b"X-API-Key: wrong\r\n" + self.CHUNKED),
        ):
            with self.subTest(status=status, server=server), socket.create_connection(("127.0.0.1", port), 30) as sent:
                sent.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + rest + self.NEXT)
                raw = b""
                while chunk := sent.recv(65536):
                    raw += chunk
                statuses = re.findall(rb"HTTP/1\.1 (\d+)", raw)
                self.assertEqual(statuses, [str(status).encode(), b"200"])
                self.assertIn(b"the-next-one", raw)
                self.assertNotIn(b"within-the-body", raw)

    def test_behind_gunicorn_with_threads(self) -> None:
        self.no_body_is_a_request("gunicorn", "of_wsgi", "--worker-class", "gthread", "--threads", "2")

    def test_behind_uvicorn(self) -> None:
        self.no_body_is_a_request("uvicorn", "of_asgi")


class WebSockets(ServerCase):
    HANDSHAKE = (
        b"GET /live HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16))
    )

    def shake(self, port: int, more: bytes = b"") -> bytes:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.settimeout(30)
            connection.sendall(self.HANDSHAKE + b"\r\nHost: localhost\r\n" + more + b"\r\n")
            raw = b""
            try:
                while chunk := connection.recv(65536):
                    raw += chunk
                    if b"127.0.0.1" in raw:
                        break
            except ConnectionResetError:
                pass
            return raw

    def test_a_handshake_needs_a_key_too(self) -> None:
        port = self.serve("hypercorn", "of_websocket")
        refused = self.shake(port)
        self.assertIn(b" 401 ", refused.partition(b"\r\n")[0] + b" ", refused)
        self.assertIn(b"credential-missing", refused)
        accepted = self.shake(port, b"X-API-Key: " + KEY + b"\r\n")
        self.assertIn(b" 101 ", accepted.partition(b"\r\n")[0] + b" ", accepted)
        self.assertIn(b"x-request-id", accepted.lower())
        self.assertIn(b"127.0.0.1", accepted)


if __name__ == "__main__":
    unittest.main()
