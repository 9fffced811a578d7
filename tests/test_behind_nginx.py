"""What an application must withstand, over real sockets: gunicorn, uvicorn and granian behind nginx."""

from __future__ import annotations

import concurrent.futures
import gzip
import hashlib
import http.client
import json
import os
import time
import unittest
import zlib
from typing import Any

import security
from behind_nginx import INSIDE, OUTSIDE, POLICY, NginxCase
from engine_case import VALUES

ATTACK = b'{"comment": "<script>alert(1)</script>"}'
KEY = VALUES["API_KEY"].encode()
# So many revocations are tried.
TRIALS = int(os.environ.get("SECURITY_TRIALS", "1000"))


def said(body: bytes) -> bytes:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()


class Withstands:
    """The trials that every server goes through; a mix-in, so that it is none itself."""

    direct: int
    underscores: int
    # Whether the server hands `X_Name` over as `X-Name`, so that a proxy has to drop it; nginx does by itself.
    keeps_underscores = False

    def test_forwarding_headers_are_the_proxys(self: Any) -> None:
        spoofed = (
            b"",
            b"X-Forwarded-For: 127.0.0.3",
            b"X-Forwarded-For: 127.0.0.3\r\nX-Forwarded-For: 127.0.0.3",
            b"X-Forwarded-For: 127.0.0.3, 127.0.0.1",
            b"X-Forwarded-For: 127.0.0.3,",
            b'X-Forwarded-For: "',
            b"x-forwarded-for:\t127.0.0.3",
            b"X-Forwarded-For: " + b"127.0.0.3, " * 100,
            b"X-Forwarded-For: \xff\xfe, nonsense",
            b"X-Forwarded-For: unknown",
            b"X-Forwarded-For: ::ffff:127.0.0.3",
            b"Forwarded: for=127.0.0.3",
            b'Forwarded: for="127.0.0.3";by=127.0.0.1',
            b"X-Real-IP: 127.0.0.3",
            b"X-Client-IP: 127.0.0.3\r\nTrue-Client-IP: 127.0.0.3",
        )
        for more in spoofed:
            for port in (None, self.underscores):
                with self.subTest(header=more):
                    lines = b"\r\n" + more if more else b""
                    # A header that is no text some servers drop: then the client is unknown, and nobody's friend.
                    known = (OUTSIDE.encode(), b"None") if b"\xff" in more else (OUTSIDE.encode(),)
                    self.assertIn(self.ask(b"GET /who HTTP/1.1" + lines, port).body, known)
                    self.assertEqual(self.ask(b"GET /admin/panel HTTP/1.1" + lines, port).status, 403)
                    inside = self.ask(b"GET /admin/panel HTTP/1.1" + lines, port, INSIDE)
                    self.assertIn(inside.status, (200, 403) if b"\xff" in more else (200,))
                    # Whoever calls the server himself is himself, whatever he says.
                    self.assertEqual(self.ask(b"GET /who HTTP/1.1" + lines, self.direct).body, OUTSIDE.encode())
                    self.assertEqual(self.ask(b"GET /admin/panel HTTP/1.1" + lines, self.direct).status, 403)

    def test_underscores_and_second_lines(self: Any) -> None:
        for port in (None, self.underscores, self.direct):
            if self.keeps_underscores and port == self.underscores:
                continue
            with self.subTest(port=port):
                forged = b"GET /admin/panel HTTP/1.1\r\nX_Forwarded_For: 127.0.0.3\r\nX-Forwarded_For: 127.0.0.3"
                self.assertEqual(self.ask(forged, port).status, 403)
                is_kept = self.keeps_underscores and port == self.direct
                answer = self.ask(b"GET /key HTTP/1.1\r\nX_API_Key: " + KEY, port)
                self.assertEqual(answer.status, 200 if is_kept else 401)
                self.assertEqual(self.ask(b"GET /key HTTP/1.1\r\nX-API-Key: " + KEY, port).status, 200)
                for two in (
                    b"X-API-Key: " + KEY + b"\r\nX-API-Key: other",
                    b"X-API-Key: other\r\nX-API-Key: " + KEY,
                    b"X-API-Key: " + KEY + b"\r\nAuthorization: Bearer other",
                    b"Authorization: Bearer " + KEY + b"\r\nAuthorization: Bearer other",
                ):
                    answer = self.ask(b"GET /key HTTP/1.1\r\n" + two, port)
                    # nginx itself refuses a second Authorization.
                    self.assertEqual(answer.status, 400, two)
                answer = self.ask(b"GET /key HTTP/1.1\r\nX-API-Key: " + KEY + b"\r\nX_API_Key: other", port)
                self.assertIn(answer.status, (200, 400, 403) if is_kept else (200,))

    def test_headers_of_a_megabyte(self: Any) -> None:
        for port in (self.port, self.direct):
            for head in (
                b"X-Long: " + b"a" * (1 << 20),
                b"\r\n".join(b"X-%d: v" % number for number in range(50_000)),
                b"Cookie: " + b"a=b; " * 200_000,
                b"X-Forwarded-For: " + b"127.0.0.3, " * 90_000,
            ):
                request = b"GET /who HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\nConnection: close\r\n\r\n"
                raw = self.exchange(request, port)
                if raw:
                    status = int(raw.split(b" ")[1])
                    self.assertTrue(400 <= status < 500 or raw.endswith(OUTSIDE.encode()), raw[:300])
            self.assertEqual(self.ask(b"GET /who HTTP/1.1", port).status, 200, "and it goes on")

    def test_bodies_that_are_too_much(self: Any) -> None:
        part = b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        bomb = gzip.compress(b"\0" * (10 << 20))
        packed = zlib.compress(ATTACK + b" " * (10 << 20))
        for what, body, content_type, more, statuses in (
            ("deep JSON", b"[" * 100_000 + b"]" * 100_000, b"application/json", b"", {403}),
            ("deep objects", b'{"a":' * 100_000, b"application/json", b"", {403}),
            ("very many parts", part * 100_000 + b"--X--\r\n", b"multipart/form-data; boundary=X", b"", {200}),
            ("a bomb", bomb, b"application/octet-stream", b"Content-Encoding: gzip", {200}),
            ("an attack in a bomb", packed, b"application/json", b"Content-Encoding: deflate", {403}),
            ("a coding nobody knows", b"x" * 100, b"text/plain", b"Content-Encoding: br", {415}),
            ("bytes that are no text", bytes(range(256)) * 400, b"application/json", b"", {200, 403}),
            (
                "very many fields",
                b"&".join(b"a%d=1" % n for n in range(100_000)),
                b"application/x-www-form-urlencoded",
                b"",
                {200, 403},
            ),
        ):
            with self.subTest(what):
                answer = self.post(body, content_type, more)
                self.assertIn(answer.status, statuses, answer.body[:300])
                if answer.status == 200:
                    self.assertEqual(answer.body, said(body))

    def test_bad_utf_8_everywhere(self: Any) -> None:
        for head in (
            b"GET /%ff%fe HTTP/1.1",
            b"GET /who?q=%ff%fe&%ff=%c0%ae HTTP/1.1",
            b"GET /who HTTP/1.1\r\nUser-Agent: \xff\xfe\x80",
            b"GET /who HTTP/1.1\r\nCookie: a=\xff; \xfe=b",
            b"GET /key HTTP/1.1\r\nX-API-Key: \xff\xfe",
            b"GET /key HTTP/1.1\r\nAuthorization: Bearer \xff\xfe",
            b"GET /who HTTP/1.1\r\nX-Request-ID: \xff\xfe\xff\xfe\xff\xfe",
            b"GET /who HTTP/1.1\r\nReferer: http://\xff.example/\xfe",
        ):
            for port in (None, self.direct):
                with self.subTest(head=head, port=port):
                    self.assertLess(self.ask(head, port).status, 500)
        for content_type in (b"application/json", b"application/x-www-form-urlencoded", b"text/plain", b"\xff/\xfe"):
            self.assertLess(self.post(b'{"a": "\xff\xfe\xc0\xae"}', content_type).status, 500)

    def test_attacks_in_bodies_and_whole_uploads(self: Any) -> None:
        self.assertEqual(self.error_of(self.post(ATTACK)), "request-refused")
        self.assertEqual(self.error_of(self.post(ATTACK, b"image/png")), "request-refused")
        upload = bytes(range(256)) * (8 << 12)
        self.assertEqual(self.post(upload, b"application/octet-stream").body, said(upload))
        chunk = b"text and more of it " * 1000
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for _ in range(100)) + b"0\r\n\r\n"
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
        head += b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        attack = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ATTACK), ATTACK)
        for port in (self.port, self.direct):
            with self.subTest(port=port):
                raw = self.exchange(head + chunked, port)
                self.assertIn(said(chunk * 100), raw)
                raw = self.exchange(head.replace(b"text/plain", b"application/json") + attack, port)
                self.assertIn(b"request-refused", raw)

    def test_expect_100_continue(self: Any) -> None:
        for body, expected in ((b'["fine"]', said(b'["fine"]')), (ATTACK, b"request-refused")):
            with self.connect(self.direct) as connection:
                head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                head += b"Expect: 100-continue\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
                connection.sendall(head)
                self.assertIn(b"100", connection.recv(100), "the body is asked for")
                connection.sendall(body)
                raw = b""
                while part := connection.recv(65536):
                    raw += part
                self.assertIn(expected, raw)

    def test_lengths_that_lie(self: Any) -> None:
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for lines, body in (
            (b"Content-Length: 5\r\n", ATTACK),
            (b"Content-Length: -1\r\n", ATTACK),
            (b"Content-Length: x\r\n", ATTACK),
            (b"Content-Length: 5\r\nContent-Length: 50\r\n", ATTACK),
            (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ):
            for port in (self.port, self.direct):
                with self.subTest(lines=lines, port=port):
                    raw = self.exchange(head + lines + b"Connection: close\r\n\r\n" + body, port)
                    self.assertNotIn(b" 500 ", raw.split(b"\r\n")[0])
                    self.assertNotIn(said(ATTACK), raw)
        # More is announced than comes: who sends it goes away.
        with self.connect(self.direct) as connection:
            connection.sendall(head + b"Content-Length: 5000\r\n\r\n" + ATTACK)
        self.assertEqual(self.ask(b"GET /who HTTP/1.1").status, 200)

    def test_a_slow_body_holds_nobody_up(self: Any) -> None:
        """Others are answered while it trickles in, and what it says is judged when it is there."""
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with self.connect(self.port) as connection:
            connection.sendall(head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(ATTACK))
            for at in range(0, len(ATTACK), 4):
                self.assertEqual(self.ask(b"GET /who HTTP/1.1").status, 200)
                connection.sendall(ATTACK[at : at + 4])
            answer = connection.recv(65536)
        self.assertIn(b"request-refused", answer)


class GunicornSync(Withstands, NginxCase):
    server, app = "gunicorn-sync", "over_wsgi"


class GunicornThreads(Withstands, NginxCase):
    server, app = "gunicorn-gthread", "over_wsgi"


class GunicornPreloaded(Withstands, NginxCase):
    server, app = "gunicorn-preload", "over_wsgi"


class HasPatience:
    """On an event loop the wait for a body is ours to end."""

    direct: int

    def test_a_body_that_never_comes(self: Any) -> None:
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        # The connection of a test does not wait for ever: without an end of ours this would be an error.
        with self.connect(self.direct) as connection:
            connection.sendall(head + b"Content-Length: 5000\r\n\r\n{")
            answer = connection.recv(65536)
        self.assertIn(b" 408 ", answer.split(b"\r\n")[0] + b" ")
        self.assertIn(b"connection: close", answer.lower())


class Uvicorn(Withstands, HasPatience, NginxCase):
    server, app = "uvicorn", "over_asgi"


class GranianWsgi(Withstands, NginxCase):
    server, app = "granian-wsgi", "over_wsgi"
    keeps_underscores = True


class GranianAsgi(Withstands, HasPatience, NginxCase):
    server, app = "granian-asgi", "over_asgi"


class FourWorkers(NginxCase):
    """One limit over four workers, and one that changes hands."""

    server, app, workers = "gunicorn-gthread", "over_wsgi", 4
    policy = POLICY.replace('client = "unlimited"', 'client = "100/minute"')

    def test_a_hundred_a_minute_are_a_hundred(self) -> None:
        def burst(_: int) -> list[int]:
            return [self.ask(b"GET /who HTTP/1.1").status for _ in range(25)]

        started = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = [status for each in pool.map(burst, range(8)) for status in each]
        seconds = time.monotonic() - started
        self.assertEqual(set(statuses), {200, 429})
        # What the time that this took lets in besides.
        since = int(seconds * 100 / 60)
        self.assertGreaterEqual(statuses.count(200), 100)
        self.assertLessEqual(statuses.count(200), 100 + since + 2)
        self.assertEqual(self.ask(b"GET /who HTTP/1.1", source="127.0.0.9").status, 200, "others are not concerned")


class Revocation(NginxCase):
    """A key that is revoked in one process is refused by all others at their next request."""

    server, app = "gunicorn-gthread", "over_wsgi"

    def setUp(self) -> None:
        super().setUp()
        security.close()
        security.initialize(data_dir=self.shared / "data")

    def test_a_revoked_key_is_refused_at_once(self) -> None:
        slowest = 0.0

        def ask(connection: http.client.HTTPConnection, key: str) -> tuple[int, str]:
            connection.request("GET", "/key", headers={"X-API-Key": key})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("X-Worker", "")

        # A connection that stays, to each of the two workers; this process, which revokes, is a third.
        workers: dict[str, http.client.HTTPConnection] = {}
        deadline = time.monotonic() + 60
        while len(workers) < 2:
            self.assertLess(time.monotonic(), deadline, f"only {list(workers)} answer")
            connection = http.client.HTTPConnection("127.0.0.1", self.direct, timeout=30)
            self.addCleanup(connection.close)
            workers.setdefault(ask(connection, VALUES["API_KEY"])[1], connection)
        for trial in range(TRIALS):
            issued = security.issue_api_key(f"trial-{trial}")
            for worker, connection in workers.items():
                self.assertEqual(ask(connection, issued["key"]), (200, worker), trial)
            security.revoke_api_key(issued["id"])
            revoked = time.monotonic()
            for worker, connection in workers.items():
                self.assertEqual(ask(connection, issued["key"]), (403, worker), f"trial {trial}: it came back")
                slowest = max(slowest, time.monotonic() - revoked)
        # Each of them was refused at the very next request; how long that took is the machine's.
        print(f"revocation: {TRIALS} trials, the slowest answer {slowest * 1000:.1f} ms after it", flush=True)

    def test_a_ban_by_the_command_line_holds_at_once(self) -> None:
        self.assertEqual(self.ask(b"GET /who HTTP/1.1", source="127.0.0.77").status, 200)
        environment = {"SECURITY_DATA_DIR": str(self.shared / "data")}
        run = "import sys; from security.__main__ import main; sys.argv[0] = 'security'; sys.exit(main())"
        self.run_python(run, "ban", "add", "127.0.0.77", "--reason", "scans", **environment)
        for _ in range(6):
            answer = self.ask(b"GET /who HTTP/1.1", source="127.0.0.77")
            self.assertEqual((answer.status, json.loads(answer.body)["error"]), (403, "banned"))
        self.assertEqual(self.ask(b"GET /who HTTP/1.1", source="127.0.0.78").status, 200)
        self.run_python(run, "ban", "remove", "127.0.0.77", **environment)
        self.assertEqual(self.ask(b"GET /who HTTP/1.1", source="127.0.0.77").status, 200)


if __name__ == "__main__":
    unittest.main()
