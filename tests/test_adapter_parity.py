"""The same requests through every bridge: the same status, body and security headers."""

from __future__ import annotations

import asyncio
import io
import json
import re
import unittest
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from unittest import mock

import django
import security
from django.conf import settings
from engine_case import VALUES, EngineCase
from security.adapters import asgi, wsgi

if not settings.configured:
    settings.configure(
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for tests alone",
        MIDDLEWARE=["security.adapters.django.SecurityMiddleware"],
        LOGGING_CONFIG=None,
    )
    django.setup()

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from fastapi import Depends, FastAPI
from flask import Flask
from security.adapters import django as django_adapter
from security.adapters import fastapi as fastapi_adapter
from starlette.responses import PlainTextResponse

OUTSIDE = "198.51.100.1"
PATHS = ("/open", "/bare", "/scoped", "/admin/panel", "/health", "/docs/private")
Headers = list[tuple[str, str]]


# Django's application is this module.
def _ok(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("fine", content_type="text/plain")


def _crash(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the password is in this message")


urlpatterns = [
    *(path(known[1:], _ok) for known in ("/open", "/admin/panel", "/health")),
    path("bare", django_adapter.require_api_key(_ok)),
    path("docs/private", django_adapter.require_api_key(_ok)),
    path("scoped", django_adapter.require_api_key(scopes=["reports:read"])(_ok)),
    path("crash", _crash),
]


def flask_app(policy: Any = None) -> Any:
    app = Flask(__name__)
    app.logger.disabled = True
    security.create_security_middleware(app, policy)

    def ok() -> Any:
        return "fine", {"Content-Type": "text/plain"}

    for known in ("/open", "/admin/panel", "/health"):
        app.add_url_rule(known, known, ok)
    for known in ("/bare", "/docs/private"):
        app.add_url_rule(known, known, security.require_api_key(ok))
    app.add_url_rule("/scoped", "scoped", security.require_api_key(scopes=["reports:read"])(ok))

    @app.get("/crash")
    def crash() -> str:
        raise RuntimeError("the password is in this message")

    return app


def wsgi_app(policy: Any = None) -> Any:
    def ok(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"fine"]

    bare = wsgi.require_api_key(ok)
    scoped = wsgi.require_api_key(scopes=["reports:read"])(ok)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        known = environ["PATH_INFO"]
        if known == "/crash":
            raise RuntimeError("the password is in this message")
        if known in ("/bare", "/docs/private"):
            return bare(environ, start_response)
        if known == "/scoped":
            return scoped(environ, start_response)
        if known in PATHS:
            return ok(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"nothing"]

    return wsgi.SecurityMiddleware(app, policy)


def asgi_app(policy: Any = None) -> Any:
    async def ok(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else b"fine"})

    bare = asgi.require_api_key(ok)
    scoped = asgi.require_api_key(scopes=["reports:read"])(ok)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        known = scope["path"]
        if known == "/crash":
            raise RuntimeError("the password is in this message")
        if known in ("/bare", "/docs/private"):
            await bare(scope, receive, send)
        elif known == "/scoped":
            await scoped(scope, receive, send)
        elif known in PATHS:
            await ok(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"nothing"})

    return asgi.SecurityMiddleware(app, policy)


def fastapi_app(policy: Any = None, installed: bool = True) -> Any:
    app = FastAPI(docs_url=None, redoc_url=None)
    if installed:
        fastapi_adapter.install(app, policy)
    else:
        app.add_middleware(fastapi_adapter.SecurityMiddleware, policy=policy)

    async def ok() -> PlainTextResponse:
        return PlainTextResponse("fine")

    async def crash() -> None:
        raise RuntimeError("the password is in this message")

    methods = ["GET", "HEAD"]
    key = Depends(fastapi_adapter.require_api_key())
    reader = Depends(fastapi_adapter.require_api_key(scopes=["reports:read"]))
    for known in ("/open", "/admin/panel", "/health"):
        app.add_api_route(known, ok, methods=methods)
    for known in ("/bare", "/docs/private"):
        app.add_api_route(known, ok, methods=methods, dependencies=[key])
    app.add_api_route("/scoped", ok, methods=methods, dependencies=[reader])
    app.add_api_route("/crash", crash, methods=methods)
    return app


class Given(NamedTuple):
    """A request, as bytes on the wire would mean it."""

    method: str = "GET"
    path: bytes = b"/open"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    ip: str = OUTSIDE


class Answered(NamedTuple):
    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for known, value in self.headers if known.lower() == name.lower()]
        if len(values) > 1:
            raise AssertionError(f"{name} came {len(values)} times")
        return values[0] if values else None


def through_wsgi(app: Any, given: Given) -> Answered:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": given.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": urllib.parse.unquote_to_bytes(given.path).decode("latin-1"),
        "QUERY_STRING": given.query.decode("latin-1"),
        "REMOTE_ADDR": given.ip,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw, value in given.headers:
        if b"_" in raw:
            continue  # every server of today drops these: they could not be told from others
        name = "HTTP_" + raw.decode("ascii").upper().replace("-", "_")
        text = value.decode("latin-1")
        environ[name] = f"{environ[name]},{text}" if name in environ else text
    started: list[tuple[str, Headers]] = []

    def start_response(status: str, headers: Headers, _exc_info: Any = None) -> None:
        started.append((status, headers))

    body = app(environ, start_response)
    sent = b"".join(body)
    if given.method == "HEAD" and started[-1][0].startswith("200"):
        sent = b""  # a server does so; none of our own answers needs it
    if hasattr(body, "close"):
        body.close()
    status, headers = started[-1]
    for pair in headers:
        assert type(pair) is tuple and all(type(text) is str for text in pair), pair
    return Answered(int(status.partition(" ")[0]), headers, sent)


def through_asgi(app: Any, given: Given, shared: dict[str, Any] | None = None) -> Answered:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": given.method,
        "scheme": "http",
        "path": urllib.parse.unquote(given.path.decode("ascii")),
        "raw_path": given.path,
        "query_string": given.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in given.headers],
        "client": (given.ip, 40000) if given.ip else None,
        "server": ("testserver", 80),
        "state": {} if shared is None else shared,
    }
    messages: list[Any] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.sleep(3600)
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    async def run() -> None:
        try:
            await app(scope, receive, send)
        except RuntimeError as error:
            if "password" not in str(error):
                raise

    asyncio.run(run())
    start = messages[0]
    assert start["type"] == "http.response.start", messages
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return Answered(start["status"], headers, b"" if given.method == "HEAD" else body)


def asgi_of_django(app: Any) -> Callable[[Given], Answered]:
    return lambda given: through_asgi(app, given)


SECURITY_HEADERS = (
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "Referrer-Policy",
    "Permissions-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Embedder-Policy",
    "Cross-Origin-Resource-Policy",
    "X-Permitted-Cross-Domain-Policies",
    "Cache-Control",
    "WWW-Authenticate",
    "RateLimit-Policy",
)


def key(value: str) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"X-API-Key", value.encode("latin-1")),)


GOOD = VALUES["API_KEY"].encode()

# What it is, the request, the status, the body's `error` if it is a refusal.
CASES: list[tuple[str, Given, int, str | None]] = [
    ("nothing asked", Given(), 200, None),
    ("no key", Given(path=b"/bare"), 401, "credential-missing"),
    ("an empty key", Given(path=b"/bare", headers=key("")), 401, "credential-missing"),
    ("a wrong key", Given(path=b"/bare", headers=key("wrong"), ip="198.51.100.2"), 403, "credential-invalid"),
    ("a wrong key where none is asked", Given(headers=key("wrong"), ip="198.51.100.3"), 200, None),
    ("the key", Given(path=b"/bare", headers=((b"X-API-Key", GOOD),)), 200, None),
    ("the key as bearer", Given(path=b"/bare", headers=((b"Authorization", b"Bearer " + GOOD),)), 200, None),
    ("the key, odd case", Given(path=b"/bare", headers=((b"authorization", b"bEARER  " + GOOD),)), 200, None),
    ("another scheme", Given(path=b"/bare", headers=((b"Authorization", b"Basic eDp5"),)), 401, "credential-missing"),
    (
        "two keys",
        Given(path=b"/bare", headers=((b"X-API-Key", GOOD), (b"Authorization", b"Bearer other"))),
        400,
        "conflicting-credentials",
    ),
    (
        "the key twice, in both places",
        Given(path=b"/bare", headers=((b"X-API-Key", GOOD), (b"Authorization", b"Bearer " + GOOD))),
        200,
        None,
    ),
    (
        "two lines of one header",
        Given(path=b"/bare", headers=((b"X-API-Key", GOOD), (b"X-API-Key", b"b")), ip="198.51.100.4"),
        400,
        "conflicting-credentials",
    ),
    ("underscores", Given(path=b"/bare", headers=((b"X_API_Key", GOOD),)), 401, "credential-missing"),
    ("all scopes", Given(path=b"/scoped", headers=((b"X-API-Key", GOOD),)), 200, None),
    ("no key for a scope", Given(path=b"/scoped"), 401, "credential-missing"),
    ("a sensitive path", Given(path=b"/admin/panel"), 403, "forbidden-path"),
    ("the same in disguise", Given(path=b"/%61dmin/./panel"), 403, "forbidden-path"),
    ("the same from inside", Given(path=b"/admin/panel", ip="10.0.0.5"), 200, None),
    ("an exempt path", Given(path=b"/health"), 200, None),
    ("a guarded view below an exempt path", Given(path=b"/docs/private"), 401, "credential-missing"),
    ("with the key", Given(path=b"/docs/private", headers=((b"X-API-Key", GOOD),)), 200, None),
    ("an uncaught error", Given(path=b"/crash"), 500, "internal"),
    ("an id of the client's", Given(headers=((b"X-Request-ID", b"client-id-0001"),)), 200, None),
    ("its id with a refusal", Given(path=b"/bare", headers=((b"X-Request-ID", b"client-id-0002"),)), 401, None),
    ("a forged id", Given(headers=((b"X-Request-ID", b"bad\xffid\t0001"),)), 200, None),
    ("two ids", Given(headers=((b"X-Request-ID", b"client-id-0003"), (b"X-Request-ID", b"client-id-4"))), 200, None),
    ("HEAD", Given(method="HEAD", path=b"/health"), 200, None),
    ("HEAD without a key", Given(method="HEAD", path=b"/bare"), 401, "credential-missing"),
    ("OPTIONS on a sensitive path", Given(method="OPTIONS", path=b"/admin/panel"), 403, "forbidden-path"),
    ("a path that is no text", Given(path=b"/admin/%ff%fe"), 403, "forbidden-path"),
    ("one that nobody knows", Given(path=b"/%ff%fe"), 404, None),
    ("a query that is no text", Given(query=b"q=%ff%fe"), 200, None),
    ("a header that is no text", Given(headers=((b"User-Agent", b"\xff\xfe"),)), 200, None),
    ("a key that is no text", Given(path=b"/bare", headers=key("\xff\xfe"), ip="198.51.100.5"), 403, None),
    ("a forged address", Given(path=b"/admin/panel", headers=((b"X-Forwarded-For", b"127.0.0.1"),)), 403, None),
    ("a listed client", Given(ip="203.0.113.9"), 403, "request-refused"),
    ("a rule", Given(query=b"file=../../etc/passwd"), 403, "request-refused"),
    ("no address", Given(path=b"/admin/panel", ip=""), 403, "forbidden-path"),
]


class ParityCase(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("security.web", "django.request", "django.security"):
            logger = __import__("logging").getLogger(name)
            patched = mock.patch.object(logger, "disabled", True)
            patched.start()
            self.addCleanup(patched.stop)

    def bridges(self, policy: Any = None) -> dict[str, Callable[[Given], Answered]]:
        flask, plain, asynchronous, fast = flask_app(policy), wsgi_app(policy), asgi_app(policy), fastapi_app(policy)
        lean = fastapi_app(policy, installed=False)
        bridges = {
            "Flask": lambda given: through_wsgi(flask, given),
            "WSGI": lambda given: through_wsgi(plain, given),
            "ASGI": lambda given: through_asgi(asynchronous, given),
            "FastAPI": lambda given: through_asgi(fast, given),
            "FastAPI, middleware alone": lambda given: through_asgi(lean, given),
        }
        with mock.patch.object(settings, "SECURITY_POLICY", policy, create=True):
            over_wsgi, over_asgi = get_wsgi_application(), get_asgi_application()
        bridges["Django"] = lambda given: through_wsgi(over_wsgi, given)
        bridges["Django, asynchronous"] = lambda given: through_asgi(over_asgi, given)
        return bridges

    def begin_again(self, **web: Any) -> None:
        """A fresh count for each bridge: the same requests come from the same clients."""
        limits = {"client": "unlimited", "key": "unlimited", **web.pop("limits", {})}
        for words in (self.data_dir / ".shared").glob("*"):
            security.close()
            words.unlink()
        self.reopen(config={"web": {"limits": limits, **web}})


def in_common(answered: Answered) -> tuple[Any, ...]:
    """What every bridge must agree on. Ids of our own are never the same twice."""
    body: Any = answered.body
    if answered.status == 404:
        body = "each framework's own"
    elif answered.header("Content-Type") == "application/problem+json" and body:
        body = json.loads(body)
        assert body["request_id"] == answered.header("X-Request-ID"), body
        if not body["request_id"].startswith("client-id"):
            body["request_id"] = "ours"
    return answered.status, body, {name: answered.header(name) for name in SECURITY_HEADERS}


class Parity(ParityCase):
    def test_every_bridge_answers_alike(self) -> None:
        security.add_ioc("cidr", "203.0.113.0/24", "us", 90)
        security.create_threat_rule("Traversal", "climbs", {"pattern": r"\.\./"}, severity="high")
        reference: dict[str, Any] = {}
        for bridge, ask in self.bridges().items():
            self.begin_again()
            for what, given, status, error in CASES:
                with self.subTest(bridge=bridge, what=what):
                    answered = ask(given)
                    self.assertEqual(answered.status, status, answered.body)
                    if error is not None and given.method != "HEAD":
                        self.assertEqual(json.loads(answered.body)["error"], error)
                    self.assertNotIn(b"password", answered.body)
                    self.assertEqual(answered.header("X-Content-Type-Options"), "nosniff")
                    given_id = dict(given.headers).get(b"X-Request-ID", b"")
                    answered_id = answered.header("X-Request-ID")
                    is_kept = given_id in (b"client-id-0001", b"client-id-0002")
                    self.assertEqual(answered_id == given_id.decode("latin-1"), is_kept)
                    if not is_kept:
                        self.assertRegex(answered_id or "", re.compile(r"^[0-9a-f-]{32,36}$"))
                    self.assertEqual(in_common(answered), reference.setdefault(what, in_common(answered)))

    def test_scopes(self) -> None:
        reader = security.issue_api_key("reader", scopes=["reports:read"])["key"]
        other = security.issue_api_key("other", scopes=["reports:write"])["key"]
        for bridge, ask in self.bridges().items():
            with self.subTest(bridge):
                self.assertEqual(ask(Given(path=b"/scoped", headers=key(reader))).status, 200)
                answered = ask(Given(path=b"/scoped", headers=key(other)))
                self.assertEqual(answered.status, 403)
                self.assertEqual(json.loads(answered.body)["error"], "credential-invalid", "as if it were nobody's")
                self.assertEqual(answered.header("WWW-Authenticate"), 'Bearer realm="api", error="invalid_token"')

    def test_limits(self) -> None:
        for bridge, ask in self.bridges().items():
            self.begin_again(limits={"client": "3/hour"})
            with self.subTest(bridge):
                answers = [ask(Given()) for _ in range(4)]
                self.assertEqual([answered.status for answered in answers], [200, 200, 200, 429])
                self.assertGreater(int(answers[3].header("Retry-After") or 0), 0)
                self.assertEqual(json.loads(answers[3].body)["error"], "rate-limited")
                self.assertEqual(ask(Given(path=b"/health")).status, 200)

    def test_a_policy_of_ones_own(self) -> None:
        policy = {"sensitive_paths": ["/open"], "response_headers": {"preset": "api"}}
        for bridge, ask in self.bridges(policy).items():
            self.begin_again()
            with self.subTest(bridge):
                self.assertEqual(ask(Given()).status, 403)
                answered = ask(Given(path=b"/admin/panel"))
                self.assertEqual(answered.status, 200)
                self.assertEqual(
                    answered.header("Content-Security-Policy"), "default-src 'none'; frame-ancestors 'none'"
                )
        bad: Any
        for bad in ({"sensitive": []}, {"limits": {"client": "often"}}, {"mode": "off"}):
            for make in (flask_app, wsgi_app, asgi_app, fastapi_app):
                with self.assertRaisesRegex(ValueError, "policy"):
                    make(bad)
            with mock.patch.object(settings, "SECURITY_POLICY", bad, create=True), self.assertRaises(ValueError):
                get_wsgi_application()
        with self.assertRaises(TypeError):
            wsgi_app("shadow")

    def test_the_shadow_records_what_it_would_refuse_and_opens_nothing(self) -> None:
        for bridge, ask in self.bridges({"mode": "shadow", "limits": {"client": "1/hour"}}).items():
            self.begin_again()
            with self.subTest(bridge):
                for _ in range(2):
                    answered = ask(Given(path=b"/bare", query=b"q=%3Cscript%3E", headers=((b"X-API-Key", GOOD),)))
                    self.assertEqual((answered.status, answered.body), (200, b"fine"))
                    self.assertIsNone(answered.header("Retry-After"))
                self.assertEqual(ask(Given(path=b"/bare")).status, 401)
                self.assertEqual(ask(Given(path=b"/bare", headers=key("wrong"))).status, 403)
                self.assertEqual(ask(Given(path=b"/admin/panel")).status, 403)
                security.flush()
                records = [
                    json.loads(line)
                    for file in sorted((self.data_dir / "logs").glob("requests-*"))
                    for line in file.read_text("utf-8").splitlines()
                ]
                seen = {(record.get("action"), record.get("error")) for record in records[-5:]}
                shadowed = {("allow", "request-refused"), ("allow", "rate-limited")}
                self.assertEqual(seen, {*shadowed, ("deny", "forbidden-path")})

    def test_an_engine_that_fails_lets_nobody_in(self) -> None:
        bridges = self.bridges()
        security.close()
        blocked = self.folder / "file"
        blocked.write_text("a file, no folder", "utf-8")
        with mock.patch.dict("os.environ", {"SECURITY_DATA_DIR": str(blocked / "data")}):
            for bridge, ask in bridges.items():
                with self.subTest(bridge):
                    answered = ask(Given(headers=((b"X-API-Key", GOOD),)))
                    self.assertEqual(answered.status, 500)
                    body = json.loads(answered.body)
                    self.assertEqual((body["error"], body["request_id"]), ("internal", answered.header("X-Request-ID")))
                    self.assertNotIn(str(blocked), answered.body.decode())


if __name__ == "__main__":
    unittest.main()
