"""Request bodies through every bridge: judged by their first bytes, read by the application as they came."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import threading
import unittest
from collections.abc import Callable, Iterable
from typing import Any
from unittest import mock

import security
from engine_case import VALUES
from security.adapters import asgi, wsgi
from security.adapters._body import Rest
from security.adapters._receive import Patience
from test_adapter_parity import ParityCase

from django.conf import settings  # isort: skip
from django.core.asgi import get_asgi_application  # isort: skip
from django.core.wsgi import get_wsgi_application  # isort: skip
from django.http import HttpRequest, HttpResponse  # isort: skip
from django.urls import path  # isort: skip
from fastapi import FastAPI, Request
from flask import Blueprint, Flask
from flask import request as flask_request
from security.adapters import fastapi as fastapi_adapter

ATTACK = b'{"comment": "<script>alert(1)</script>"}'
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
OUTSIDE = "198.51.100.1"


def said(body: bytes) -> bytes:
    """What every application answers: how much it read, and what."""
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def _echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(said(b"".join(iter(lambda: request.read(10_000), b""))))


def _form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(json.dumps({**request.POST.dict(), **{k: f.size for k, f in request.FILES.items()}}))


urlpatterns = [path("echo", _echo), path("form", _form)]


def flask_app(policy: Any = None, blueprint: bool = False) -> Any:
    app = Flask(__name__)
    views: Any = app
    if blueprint:
        views = Blueprint("views", __name__)
    security.create_security_middleware(views, policy)

    def echo() -> bytes:
        return said(b"".join(iter(lambda: flask_request.stream.read(10_000), b"")))

    def form() -> Any:
        files = {name: len(file.read()) for name, file in flask_request.files.items()}
        return {**flask_request.form, **files}

    methods = ["POST", "GET", "DELETE", "PUT", "QUERY"]
    views.add_url_rule("/echo", "echo", echo, methods=methods)
    views.add_url_rule("/form", "form", form, methods=methods)

    if blueprint:
        app.register_blueprint(views)
    return app


def guarded_flask_app(_policy: Any = None) -> Any:
    app = Flask(__name__)

    @app.post("/echo")
    @security.require_api_key
    def echo() -> bytes:
        return said(flask_request.get_data())

    return app


def wsgi_app(policy: Any = None) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH")
        body = environ["wsgi.input"].read(int(length) if length else -1)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [said(body)]

    return wsgi.SecurityMiddleware(app, policy)


def asgi_app(policy: Any = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": said(body)})

    return asgi.SecurityMiddleware(app, policy)


def fastapi_app(policy: Any = None) -> Any:
    app = FastAPI()
    fastapi_adapter.install(app, policy)

    @app.post("/echo")
    async def echo(request: Request) -> Any:
        from starlette.responses import PlainTextResponse

        return PlainTextResponse(said(await request.body()))

    @app.post("/form")
    async def form(request: Request) -> Any:
        async with request.form() as form:
            fields: dict[str, Any] = dict(form)
            return {name: value if isinstance(value, str) else value.size for name, value in fields.items()}

    @app.post("/model")
    async def model(body: dict[str, Any]) -> Any:
        return body

    return app


class Sent:
    """A body on its way: in chunks, with a length or without."""

    def __init__(
        self,
        body: bytes,
        content_type: str = JSON,
        chunk: int = 1 << 16,
        length: int | None = -1,
        coding: str | None = None,
    ) -> None:
        self.chunks = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
        self.body = body
        self.length = len(body) if length == -1 else length
        self.headers = {"content-type": content_type} if content_type else {}
        if coding is not None:
            self.headers["content-encoding"] = coding

    def announced(self) -> dict[str, str]:
        length = {"transfer-encoding": "chunked"} if self.length is None else {"content-length": str(self.length)}
        return {**self.headers, **length}


class Trickle(io.RawIOBase):
    """A server's input: never gives more than was sent, and never reads on for more than was asked."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = io.BytesIO(body)
        self.taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = self._body.read(size)
        self.taken += len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        data = self._body.readline(size)
        self.taken += len(data)
        return data


def post_wsgi(app: Any, sent: Sent, where: str = "/echo", **more: Any) -> tuple[int, bytes]:
    headers = sent.announced()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": where,
        "QUERY_STRING": "",
        "REMOTE_ADDR": OUTSIDE,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": Trickle(sent.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        **{
            name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}": value
            for name, value in ((name.upper().replace("-", "_"), value) for name, value in headers.items())
        },
        **more,
    }
    started: list[Any] = []
    body = app(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
    answer = b"".join(body)
    if hasattr(body, "close"):
        body.close()
    return int(started[-1][0].split()[0]), answer


def post_asgi(app: Any, sent: Sent, where: str = "/echo", **more: Any) -> tuple[int, bytes]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": where,
        "raw_path": where.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in sent.announced().items()],
        "client": (OUTSIDE, 40000),
        "server": ("testserver", 80),
        "state": {},
        **more,
    }
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": at + 1 < len(sent.chunks)}
        for at, chunk in enumerate(sent.chunks)
    ]
    messages: list[Any] = []

    async def receive() -> Any:
        if waiting:
            return waiting.pop(0)
        return await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(asyncio.wait_for(app(scope, receive, send), 60))
    return messages[0]["status"], b"".join(message.get("body", b"") for message in messages[1:])


Post = Callable[..., tuple[int, bytes]]


class Bodies(ParityCase):
    def posts(self, policy: Any = None, forms: bool = False) -> dict[str, Post]:
        apps = {"Flask": flask_app(policy), "blueprint": flask_app(policy, blueprint=True)}
        fast = fastapi_app(policy)
        with mock.patch.object(settings, "SECURITY_POLICY", policy, create=True):
            over_wsgi, over_asgi = get_wsgi_application(), get_asgi_application()
        posts: dict[str, Post] = {
            **{name: lambda sent, app=app, **more: post_wsgi(app, sent, **more) for name, app in apps.items()},
            "Django": lambda sent, **more: post_wsgi(over_wsgi, sent, **more),
            "Django, asynchronous": lambda sent, **more: post_asgi(over_asgi, sent, **more),
            "FastAPI": lambda sent, **more: post_asgi(fast, sent, **more),
        }
        if not forms:
            plain, asynchronous = wsgi_app(policy), asgi_app(policy)
            posts["WSGI"] = lambda sent, **more: post_wsgi(plain, sent, **more)
            posts["ASGI"] = lambda sent, **more: post_asgi(asynchronous, sent, **more)
        return posts

    def setUp(self) -> None:
        super().setUp()
        patched = mock.patch.object(settings, "ROOT_URLCONF", __name__)
        patched.start()
        self.addCleanup(patched.stop)
        from django.urls import clear_url_caches, set_urlconf

        set_urlconf(None)
        clear_url_caches()
        self.addCleanup(clear_url_caches)

    def test_the_application_reads_what_was_sent(self) -> None:
        bodies = [
            Sent(b'{"a": 1}'),
            Sent(b'{"name": "O\'Brien"}', chunk=3),
            Sent(json.dumps(["fine"] * 4000).encode()),
            Sent(b"a=b&c=d", FORM),
            Sent(bytes(range(256)) * 4000, "application/octet-stream", chunk=5000),
            Sent(b"text " * 200_000, "text/plain", chunk=7777),
            Sent(gzip.compress(b'{"a": "b"}'), JSON, coding="gzip"),
            Sent(b"", JSON),
        ]
        self.begin_again()
        for bridge, post in self.posts().items():
            for sent in bodies:
                with self.subTest(bridge, length=len(sent.body)):
                    self.assertEqual(post(sent), (200, said(sent.body)))

    def test_an_attack_in_a_body_never_reaches_the_application(self) -> None:
        bodies = [
            Sent(ATTACK),
            Sent(ATTACK, chunk=1),
            Sent(ATTACK, "image/png"),
            Sent(ATTACK, ""),
            Sent(ATTACK.decode().encode("utf-16"), JSON),
            Sent(b"q=1%27+or+1%3D1--", FORM),
            Sent(b"x" * 200_000 + b"&q=1%27+or+1%3D1--", FORM),
            Sent(b"[" * 100_000, JSON),
        ]
        self.begin_again()
        for bridge, post in self.posts().items():
            for sent in bodies:
                with self.subTest(bridge, body=sent.body[:40], headers=sent.headers):
                    status, answer = post(sent)
                    self.assertEqual((status, json.loads(answer)["error"]), (403, "request-refused"))
        self.begin_again()
        packed = Sent(gzip.compress(ATTACK), coding="gzip")
        unknown = Sent(b"whatever", coding="br")
        for bridge, post in self.posts().items():
            with self.subTest(bridge):
                self.assertEqual(post(packed)[0], 403)
                self.assertEqual(post(unknown)[0], 415)
        security.flush()
        records = [
            json.loads(line)
            for file in (self.data_dir / "logs").glob("requests-*")
            for line in file.read_text("utf-8").splitlines()
        ]
        records = [record for record in records if record.get("event") == "request_refused"]
        self.assertTrue(all(record["path"] == "/echo" and record["method"] == "POST" for record in records), records)
        self.assertTrue(any(reason["where"] == "body:/comment" for r in records for reason in r["reasons"]), records)

    def test_chunked_bodies(self) -> None:
        self.begin_again()
        for bridge, post in self.posts().items():
            with self.subTest(bridge):
                # Django gives views nothing of a chunked body over WSGI.
                expected = said(b"" if bridge == "Django" else b"[1]" * 200_000)
                self.assertEqual(post(Sent(b"[1]" * 200_000, "text/plain", chunk=999, length=None)), (200, expected))
                self.assertEqual(post(Sent(ATTACK, chunk=4, length=None))[0], 403)
        unterminated: dict[str, Any] = {"wsgi.input_terminated": False}
        for app in (flask_app(), wsgi_app()):
            status, answer = post_wsgi(app, Sent(ATTACK, length=None), **unterminated)
            self.assertEqual((status, json.loads(answer)["error"]), (411, "length-required"))

    def test_http_2_announces_nothing(self) -> None:
        sent = Sent(ATTACK)
        sent.announced = lambda: sent.headers  # type: ignore[method-assign]
        for app in (asgi_app(), fastapi_app()):
            self.assertEqual(post_asgi(app, sent, http_version="2")[0], 403)
        self.assertEqual(post_wsgi(flask_app(), sent, SERVER_PROTOCOL="HTTP/2")[0], 403)

    def test_any_method_may_have_a_body(self) -> None:
        for method in ("GET", "DELETE", "PUT", "QUERY"):
            self.assertEqual(post_asgi(asgi_app(), Sent(ATTACK), method=method)[0], 403)
            self.assertEqual(post_wsgi(wsgi_app(), Sent(ATTACK), REQUEST_METHOD=method)[0], 403)

    def test_a_limit_for_the_size(self) -> None:
        policy = {"bodies": {"max_bytes": 300_000}}
        self.begin_again()
        for bridge, post in self.posts(policy).items():
            with self.subTest(bridge):
                self.assertEqual(post(Sent(b"x" * 300_000, "text/plain"))[0], 200)
                self.assertEqual(post(Sent(b"x" * 300_001, "text/plain"))[0], 413)
                self.assertEqual(post(Sent(b"x", "text/plain", length=300_001))[0], 413)
                if bridge == "Django":
                    continue  # which reads nothing of it
                self.assertEqual(post(Sent(b"x" * 300_000, "text/plain", length=None))[0], 200)
                for chunk in (1000, 100_000, 400_000):
                    status, answer = post(Sent(b"x" * 300_001, "text/plain", chunk=chunk, length=None))
                    self.assertEqual(status, 413)
                    self.assertEqual(json.loads(answer)["error"], "body-too-large")

    def test_the_limit_holds_without_inspection(self) -> None:
        self.begin_again()
        for bridge, post in self.posts({"bodies": {"inspect": False, "max_bytes": 50}}).items():
            with self.subTest(bridge):
                self.assertEqual(post(Sent(ATTACK)), (200, said(ATTACK)))
                self.assertEqual(post(Sent(ATTACK * 2))[0], 413)
                if bridge != "Django":
                    self.assertEqual(post(Sent(ATTACK * 2, length=None))[0], 413)

    def test_off_report_and_shadow_let_it_pass(self) -> None:
        self.begin_again()
        for policy in (
            {"bodies": {"inspect": False}},
            {"inspection": {"mode": "off"}},
            {"inspection": {"mode": "report"}},
            {"mode": "shadow", "bodies": {"max_bytes": 10}},
            {"exempt_paths": ["/echo"]},
            {"inspection": {"exclude": [{"path": ["/echo"], "parameter": "comment"}]}},
        ):
            for bridge, post in self.posts(policy).items():
                with self.subTest(bridge, policy=policy):
                    self.assertEqual(post(Sent(ATTACK)), (200, said(ATTACK)))

    def test_forms_and_uploads_arrive_whole(self) -> None:
        self.begin_again()
        upload = b"".join(
            (
                b'--X\r\nContent-Disposition: form-data; name="title"\r\n\r\nO\'Brien\r\n',
                b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n',
                b"Content-Type: application/octet-stream\r\n\r\n" + b"\x00\x01\xff" * 200_000 + b"\r\n--X--\r\n",
            )
        )
        for bridge, post in self.posts(forms=True).items():
            with self.subTest(bridge):
                status, answer = post(Sent(b"a=1&b=two+words", FORM, chunk=4), where="/form")
                self.assertEqual((status, json.loads(answer)), (200, {"a": "1", "b": "two words"}))
                status, answer = post(Sent(upload, "multipart/form-data; boundary=X", chunk=50_000), where="/form")
                self.assertEqual((status, json.loads(answer)), (200, {"title": "O'Brien", "file": 600_000}))

    def test_more_parts_than_anybody_needs(self) -> None:
        part = b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        # The budget is of values; a body of so many bytes has room for four thousand parts.
        for policy, status in ((None, 200), ({"bodies": {"max_values": 1000}}, 403)):
            app = flask_app(policy)
            sent = Sent(part * 5000 + b"--X--\r\n", "multipart/form-data; boundary=X")
            self.assertEqual(post_wsgi(app, sent)[0], status)

    def test_a_guard_alone_looks_at_the_body_too(self) -> None:
        app = guarded_flask_app()
        key = {"HTTP_X_API_KEY": VALUES["API_KEY"]}
        self.assertEqual(post_wsgi(app, Sent(b"[1, 2]"), **key), (200, said(b"[1, 2]")))
        self.assertEqual(post_wsgi(app, Sent(ATTACK), **key)[0], 403)
        self.assertEqual(post_wsgi(app, Sent(ATTACK))[0], 403)

    def test_inspect_request_reads_a_body_alike(self) -> None:
        def ask(**more: Any) -> Any:
            return security.inspect_request({"method": "POST", "remote_addr": OUTSIDE, **more})

        self.assertEqual(ask(body=ATTACK, headers={"Content-Type": "image/png"})["status"], 403)
        self.assertEqual(ask(body=gzip.compress(ATTACK), headers={"Content-Encoding": "gzip"})["status"], 403)
        self.assertEqual(ask(body=b"x", headers={"Content-Encoding": "br"})["status"], 415)
        self.assertEqual(ask(body=b'["fine"]', headers={"Content-Type": JSON})["status"], 200)


class Streams(ParityCase):
    """Nothing is held up, and nothing is read that was not asked for."""

    def test_no_more_is_read_than_is_judged(self) -> None:
        taken: list[int] = []

        def app(environ: Any, start_response: Any) -> list[bytes]:
            stream = environ["wsgi.input"]
            taken.append(stream._stream.taken)
            body = b"".join(iter(lambda: stream.read(1000), b""))
            start_response("200 OK", [])
            return [said(body)]

        policy = {"inspection": {"max_bytes": 5000}}
        body = b"word " * 100_000
        for content_type, expected in (("text/plain", 5001), ("application/octet-stream", 64)):
            for length in (-1, None):
                sent = Sent(body, content_type, length=length)
                status, answer = post_wsgi(wsgi.SecurityMiddleware(app, policy), sent)
                self.assertEqual((status, answer, taken.pop()), (200, said(body), expected))

    def test_the_rest_of_an_input_reads_as_any_input(self) -> None:
        text = b"".join(b"line %d\n" % number for number in range(300)) + b"without an end"
        for cut in (0, 1, 6, 7, 700, len(text)):

            def rest(cut: int = cut) -> Any:
                return Rest(text[:cut], Trickle(text[cut:]), None, None, OSError)

            self.assertEqual(rest().read(), text)
            self.assertEqual(rest().read(None), text)
            stream = rest()
            self.assertEqual([len(stream.read(n)) for n in (13, 0, 13, 1)], [13, 0, 13, 1])
            self.assertEqual(stream.read(), text[27:])
            self.assertEqual(list(rest()), text.splitlines(keepends=True))
            self.assertEqual(rest().readlines(), text.splitlines(keepends=True))
            self.assertEqual(rest().readlines(10), text.splitlines(keepends=True)[:2])
            stream = rest()
            self.assertEqual([stream.readline(n) for n in (4, 0, 3, 4)], [b"line", b"", b" 0\n", b"line"])
            self.assertEqual(rest().read(0), b"")
            self.assertFalse(hasattr(rest(), "readinto"))
            # What follows an announced length is another request's: never asked for.
            source = Trickle(text[cut:] + b"GET / HTTP/1.1")
            self.assertEqual(Rest(text[:cut], source, len(text) - cut, None, OSError).read(), text)
            self.assertEqual(cut + source.taken, len(text))

    def test_the_rest_of_an_input_has_its_limit(self) -> None:
        text = b"0123456789\n" * 10
        for read in (
            lambda stream: stream.read(),
            lambda stream: [stream.read(7) for _ in range(20)],
            lambda stream: list(stream),
            lambda stream: stream.readlines(),
        ):
            for cut in (0, 50, 100):
                source = Trickle(text[cut:])
                with self.assertRaises(OverflowError):
                    read(Rest(text[:cut], source, None, 105, OverflowError))
                self.assertLessEqual(cut + source.taken, 110)
                read(Rest(text[:cut], Trickle(text[cut:]), None, 110, OverflowError))

    def test_messages_come_as_they_came(self) -> None:
        """What was judged is handed on message by message, and a client that leaves later is seen to leave."""
        seen: list[Any] = []

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            seen.extend([await receive() for _ in range(4)])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        messages: list[Any] = [
            {"type": "http.request", "body": b'["a', "more_body": True},
            {"type": "http.request", "body": b'"]', "more_body": True},
            {"type": "http.request", "body": b"", "more_body": False},
            {"type": "http.disconnect"},
        ]
        waiting = list(messages)
        sent: list[Any] = []

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "client": None}
        headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
        asyncio.run(asgi.SecurityMiddleware(app)({**scope, "headers": headers}, receive, send))
        self.assertEqual((seen, sent[0]["status"]), (messages, 200))

    def test_a_client_that_leaves_before_its_body_is_answered_nothing(self) -> None:
        async def app(*_: Any) -> None:
            raise AssertionError("half a body is nobody's")

        waiting: list[Any] = [{"type": "http.request", "body": b"[", "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            raise AssertionError(message)

        scope = {"type": "http", "method": "POST", "path": "/", "client": None, "headers": [(b"content-length", b"9")]}
        asyncio.run(asgi.SecurityMiddleware(app)(scope, receive, send))

    def test_a_body_that_does_not_come(self) -> None:
        reached: list[Any] = []

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            reached.append(True)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async def receive() -> Any:
            await asyncio.sleep(3600)

        scope = {"type": "http", "method": "POST", "path": "/", "client": None, "headers": [(b"content-length", b"9")]}
        for mode, status in (("deny", 408), ("report", 200)):
            sent: list[Any] = []

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            policy = {"bodies": {"wait_seconds": 1}, "inspection": {"mode": mode}}
            asyncio.run(asyncio.wait_for(asgi.SecurityMiddleware(app, policy)(dict(scope), receive, send), 30))
            self.assertEqual(sent[0]["status"], status)
        self.assertEqual(reached, [True])

    def test_a_task_that_somebody_else_ends_ends(self) -> None:
        async def main() -> str:
            async def waits() -> None:
                with Patience(60):
                    await asyncio.sleep(60)

            task = asyncio.ensure_future(waits())
            await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return "ended"
            return "went on"

        self.assertEqual(asyncio.run(main()), "ended")

        async def over() -> bool:
            with Patience(0.01) as patience:
                await asyncio.sleep(60)
            await asyncio.sleep(0)
            return patience.is_over

        self.assertTrue(asyncio.run(over()))

    def test_no_event_loop_of_asyncios(self) -> None:
        with Patience(0.001) as patience:
            pass
        self.assertFalse(patience.is_over)

    def test_a_long_body_holds_nobody_up(self) -> None:
        """While one request's body comes in slowly, another one is answered."""

        async def main() -> list[str]:
            order: list[str] = []
            gate = asyncio.Event()
            app = asgi_app()

            async def ask(name: str, slow: bool) -> None:
                waiting: list[Any] = [{"type": "http.request", "body": b"[1]", "more_body": False}]

                async def receive() -> Any:
                    if slow:
                        await gate.wait()
                    return waiting.pop(0)

                async def send(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        order.append(name)

                headers = [(b"content-length", b"3"), (b"content-type", b"application/json")]
                scope = {"type": "http", "method": "POST", "path": "/", "client": None, "headers": headers}
                await app(scope, receive, send)

            slow = asyncio.ensure_future(ask("slow", True))
            await asyncio.sleep(0)
            await ask("quick", False)
            gate.set()
            await slow
            return order

        self.assertEqual(asyncio.run(main()), ["quick", "slow"])

    def test_threads_judge_bodies_at_once(self) -> None:
        app = wsgi_app()
        wrong: list[Any] = []

        def work(number: int) -> None:
            for at in range(40):
                is_attack = (number + at) % 2 == 0
                body = ATTACK if is_attack else b'["%d"]' % at
                status = post_wsgi(app, Sent(body))[0]
                if status != (403 if is_attack else 200):
                    wrong.append((status, body))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
