"""What each bridge has of its own: OpenAPI, values of dependencies, nesting, errors, kinds of views."""

from __future__ import annotations

import asyncio
import json
import unittest
from typing import Any
from unittest import mock

import security
from engine_case import VALUES
from security.adapters import asgi, wsgi
from test_adapter_parity import (
    GOOD,
    Answered,
    Given,
    ParityCase,
    asgi_app,
    fastapi_app,
    key,
    through_asgi,
    through_wsgi,
    wsgi_app,
)

from django.http import HttpResponse  # isort: skip
from django.test import AsyncRequestFactory, RequestFactory  # isort: skip
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from security.adapters import django as django_adapter
from security.adapters import fastapi as fastapi_adapter

WITH_KEY = Given(headers=((b"X-API-Key", GOOD),))


class FastApi(ParityCase):
    def make(self, installed: bool = True) -> FastAPI:
        app = FastAPI()
        if installed:
            self.assertIs(fastapi_adapter.install(app), app)
            self.assertIs(fastapi_adapter.install(app), app)

        reader = Depends(fastapi_adapter.require_api_key(scopes=["read"]))

        @app.get("/who")
        async def who(request: Request, who: dict[str, Any] = reader) -> Any:
            return {"key": who, "same": request.state.security.api_key == who}

        @app.get("/teapot")
        async def teapot() -> None:
            raise HTTPException(418, "short and stout", {"X-Own": "1"})

        return app

    def test_the_document_names_both_ways_to_send_a_key(self) -> None:
        document = self.make().openapi()
        schemes = document["components"]["securitySchemes"]
        self.assertEqual(schemes["ApiKey"], {"type": "apiKey", "in": "header", "name": "X-API-Key"})
        self.assertEqual(schemes["ApiKeyBearer"], {"type": "http", "scheme": "bearer"})
        # One or the other.
        self.assertEqual(document["paths"]["/who"]["get"]["security"], [{"ApiKey": []}, {"ApiKeyBearer": []}])
        self.assertNotIn("parameters", document["paths"]["/who"]["get"])
        self.assertNotIn("security", document["paths"]["/teapot"]["get"])

    def test_the_document_is_the_same_when_it_is_asked_for_again(self) -> None:
        app = self.make()
        self.assertEqual(app.openapi(), app.openapi())
        alone = self.make(installed=False).openapi()
        self.assertEqual(alone["paths"]["/who"]["get"]["security"], [{"ApiKey": []}])

    def test_the_value_is_the_key(self) -> None:
        issued = security.issue_api_key("reader", scopes=["read"], owner="billing")
        for installed in (True, False):
            answered = through_asgi(self.make(installed), Given(path=b"/who", headers=key(issued["key"])))
            expected = {"id": issued["id"], "name": "reader", "owner": "billing", "scopes": ["read"]}
            self.assertEqual(json.loads(answered.body), {"key": expected, "same": True})

    def test_without_the_middleware_the_refusal_is_a_detail(self) -> None:
        answered = through_asgi(self.make(installed=False), Given(path=b"/who"))
        self.assertEqual(answered.status, 401)
        self.assertEqual(json.loads(answered.body)["detail"]["error"], "credential-missing")
        self.assertEqual(answered.header("WWW-Authenticate"), 'Bearer realm="api"')
        answered = through_asgi(self.make(installed=False), Given(path=b"/who", headers=key("wrong")))
        self.assertEqual(answered.status, 403)

    def test_http_errors_have_our_form(self) -> None:
        app = self.make()
        answered = through_asgi(app, Given(path=b"/teapot"))
        body = json.loads(answered.body)
        self.assertEqual((answered.status, body["message"], body["status"]), (418, "short and stout", 418))
        self.assertEqual((answered.header("X-Own"), body["request_id"]), ("1", answered.header("X-Request-ID")))
        answered = through_asgi(app, Given(method="POST", path=b"/teapot"))
        self.assertEqual((answered.status, json.loads(answered.body)["error"]), (405, "method-not-allowed"))

    def test_the_applications_own_handler_wins(self) -> None:
        app = FastAPI()

        @app.exception_handler(404)
        async def absent(_request: Request, _error: Exception) -> Any:
            return Response("own words", 404)

        fastapi_adapter.install(app)
        self.assertEqual(through_asgi(app, Given(path=b"/absent")).body, b"own words")

    def test_bad_input(self) -> None:
        app: Any
        scopes: Any
        for app in (None, object(), asgi_app()):
            with self.assertRaisesRegex(TypeError, "app"):
                fastapi_adapter.install(app)
        for scopes in ("read", [1], 7):
            with self.assertRaises(TypeError):
                fastapi_adapter.require_api_key(scopes=scopes)
        with self.assertRaises(ValueError):
            through_asgi(fastapi_app({"sensitive": []}, installed=False), Given())


class Gateways(ParityCase):
    def test_of_two_the_outer_one_decides(self) -> None:
        self.begin_again(limits={"client": "2/hour"})
        twice = wsgi.SecurityMiddleware(wsgi_app())
        self.assertEqual([through_wsgi(twice, Given()).status for _ in range(3)], [200, 200, 429])
        self.begin_again(limits={"client": "2/hour"})
        again = asgi.SecurityMiddleware(asgi_app())
        self.assertEqual([through_asgi(again, Given()).status for _ in range(3)], [200, 200, 429])
        self.begin_again()
        strict = {"sensitive_paths": ["/open"]}
        answered = through_wsgi(wsgi.SecurityMiddleware(wsgi_app(strict)), Given())
        self.assertEqual((answered.status, len(answered.header("X-Request-ID") or "") > 0), (403, True))
        self.assertEqual(through_asgi(asgi.SecurityMiddleware(asgi_app(strict)), Given()).status, 403)

    def test_a_guard_alone_is_enough(self) -> None:
        async def inner(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"fine"})

        def plain(_environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [b"fine"]

        over_asgi, over_wsgi = asgi.require_api_key(inner), wsgi.require_api_key(scopes=["read"])(plain)
        for given, status in ((Given(), 401), (WITH_KEY, 200)):
            for answered in (through_asgi(over_asgi, given), through_wsgi(over_wsgi, given)):
                self.assertEqual(answered.status, status)
                self.assertTrue(answered.header("X-Request-ID"))
        for make in (asgi.require_api_key, wsgi.require_api_key):
            with self.assertRaises(TypeError):
                make(scopes="read")

    def test_what_stands_in_the_environment(self) -> None:
        seen: list[Any] = []

        def app(environ: Any, start_response: Any) -> list[bytes]:
            seen.append(environ["security"])
            start_response("200 OK", [("X-Frame-Options", "DENY"), ("x-request-id", "forged")])
            return [b"fine"]

        given = Given(headers=((b"X-API-Key", GOOD), (b"X-Request-ID", b"client-id-0001")))
        answered = through_wsgi(wsgi.SecurityMiddleware(app), given)
        state = seen[0]
        self.assertEqual((state.request_id, state.client_ip), ("client-id-0001", "198.51.100.1"))
        self.assertEqual((state.api_key_valid, state.api_key["scopes"], state.reasons), (True, ["*"], []))
        self.assertEqual(answered.header("X-Frame-Options"), "DENY", "the application's own word stands")
        self.assertEqual(answered.header("X-Request-ID"), "client-id-0001", "but the id is ours")
        self.assertEqual(answered.header("Cache-Control"), "no-store")

    def test_a_mounted_application_is_judged_below_its_root(self) -> None:
        scope: dict[str, Any] = {"type": "http", "headers": [], "client": ["198.51.100.1", 1]}
        begin = security._security.begin_request_asgi
        for root, path, refused in (
            ("", "/admin", True),
            ("/api", "/api/admin", True),
            ("/api", "/api", False),
            ("/api", "/apiadmin", False),
            ("/admin", "/admin/x", False),
            ("/ap", "/admin", True),
        ):
            decision = begin({**scope, "root_path": root, "path": path}).refusal()
            self.assertEqual(decision is not None, refused, (root, path))

    def test_many_lines_of_many_headers(self) -> None:
        scope: dict[str, Any] = {"type": "http", "path": "/", "client": None}
        lines = [(b"x-%d" % (n % 5000), b"v") for n in range(20_000)]
        key_twice = [(b"x-api-key", GOOD), *lines, (b"X-API-KEY", b"other")]
        state = security._security.begin_request_asgi({**scope, "headers": key_twice})
        self.assertFalse(state.api_key_valid)
        self.assertTrue(security._security.begin_request_asgi({**scope, "headers": key_twice[:-1]}).api_key_valid)

    def test_a_server_that_shares_its_state_opens_nothing(self) -> None:
        for app in (asgi_app(), fastapi_app()):
            shared: dict[str, Any] = {}
            for headers, expected in ((WITH_KEY.headers, 200), ((), 401)):
                answered = through_asgi(app, Given(path=b"/bare", headers=headers), shared)
                self.assertEqual(answered.status, expected)

    def test_odd_scopes(self) -> None:
        begin = security._security.begin_request_asgi
        scope: Any
        for scope in ({}, {"headers": []}, {"headers": [("text", "text")], "path": None, "client": "unix:/x"}):
            state = begin(scope)
            self.assertFalse(state.api_key_valid)
        for headers in (7, [1], [(b"one",)]):
            with self.assertRaises((TypeError, IndexError)):
                begin({"headers": headers})

    def test_lifespan_passes_through(self) -> None:
        seen: list[Any] = []

        async def app(scope: Any, _receive: Any, _send: Any) -> None:
            seen.append(scope)

        async def nothing(*_: Any) -> Any:
            raise AssertionError("nothing is sent or received")

        scope = {"type": "lifespan"}
        asyncio.run(asgi.SecurityMiddleware(app)(scope, nothing, nothing))
        self.assertEqual(seen, [{"type": "lifespan"}])

    def test_errors_are_the_servers_to_log(self) -> None:
        async def crash(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RuntimeError("too late")

        with self.assertRaisesRegex(RuntimeError, "too late"):
            through_asgi(asgi.SecurityMiddleware(crash), Given())

        def late(_environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            raise RuntimeError("too late")

        with self.assertRaisesRegex(RuntimeError, "too late"):
            through_wsgi(wsgi.SecurityMiddleware(late), Given())

    def test_a_websocket_is_refused_as_the_server_allows(self) -> None:
        refused: Any = asgi.SecurityMiddleware(asgi_app())
        scope: dict[str, Any] = {"type": "websocket", "path": "/admin", "headers": [], "client": ("198.51.100.1", 1)}

        def messages(extensions: Any) -> list[Any]:
            sent: list[Any] = []

            async def receive() -> Any:
                return {"type": "websocket.connect"}

            async def send(message: Any) -> None:
                sent.append(message)

            asyncio.run(refused({**scope, "extensions": extensions}, receive, send))
            return sent

        self.assertEqual(messages(None), [{"type": "websocket.close", "code": 1008, "reason": ""}])
        start, body = messages({"websocket.http.response": {}})
        self.assertEqual((start["type"], start["status"]), ("websocket.http.response.start", 403))
        self.assertIn(b"x-request-id", dict(start["headers"]))
        self.assertEqual(json.loads(body["body"])["error"], "forbidden-path")

    def test_bad_input(self) -> None:
        makers: Any = (asgi.SecurityMiddleware, wsgi.SecurityMiddleware)
        for make in makers:
            for app in (None, 7, "app"):
                with self.assertRaisesRegex(TypeError, "app"):
                    make(app)
            with self.assertRaisesRegex(TypeError, "policy"):
                make(lambda: None, 7)
        with self.assertRaises(TypeError):
            security._security.begin_request({}, {"mode": "shadow"})  # type: ignore[arg-type]


class Django(ParityCase):
    def test_every_form_of_view(self) -> None:
        @django_adapter.require_api_key
        def plain(_request: Any, number: int) -> HttpResponse:
            """Says what it got."""
            return HttpResponse(str(number))

        @django_adapter.require_api_key(scopes=["read"])
        async def later(request: Any, number: int) -> HttpResponse:
            await asyncio.sleep(0)
            return HttpResponse(f"{number} {request.security.api_key_valid}")

        self.assertEqual((plain.__name__, plain.__doc__), ("plain", "Says what it got."))
        headers = {"X-API-Key": VALUES["API_KEY"]}
        self.assertEqual(plain(RequestFactory().get("/", headers=headers), number=7).content, b"7")
        self.assertEqual(plain(RequestFactory().get("/"), number=7).status_code, 401)
        self.assertEqual(asyncio.run(later(AsyncRequestFactory().get("/", headers=headers), 8)).content, b"8 True")
        refused = asyncio.run(later(AsyncRequestFactory().get("/"), 8))
        self.assertEqual((refused.status_code, json.loads(refused.content)["error"]), (401, "credential-missing"))

    def test_djangos_own_log_and_signal_have_the_error(self) -> None:
        from django.core.signals import got_request_exception

        seen: list[Any] = []

        def receiver(**_named: Any) -> None:
            seen.append(True)

        got_request_exception.connect(receiver)
        self.addCleanup(got_request_exception.disconnect, receiver)
        ask = self.bridges()["Django"]
        self.assertEqual(json.loads(ask(Given(path=b"/crash")).body)["error"], "internal")
        self.assertEqual(len(seen), 1)

    def test_a_500_of_a_views_own_stays(self) -> None:
        def own(_request: Any) -> HttpResponse:
            return HttpResponse("own words", status=500)

        answered = django_adapter.SecurityMiddleware(own)(RequestFactory().get("/"))
        self.assertEqual((answered.status_code, answered.content), (500, b"own words"))
        self.assertEqual(answered.headers["X-Content-Type-Options"], "nosniff")

    def test_debug_keeps_djangos_page(self) -> None:
        from django.conf import settings

        ask = self.bridges()["Django"]
        with mock.patch.object(settings, "DEBUG", True):
            answered: Answered = ask(Given(path=b"/crash"))
        self.assertEqual(answered.status, 500)
        self.assertIn(b"RuntimeError", answered.body)

    def test_bad_input(self) -> None:
        scopes: Any
        for scopes in ("read", [1], 7):
            with self.assertRaises(TypeError):
                django_adapter.require_api_key(scopes=scopes)
        with self.assertRaisesRegex(TypeError, "view"):
            django_adapter.require_api_key("view")  # type: ignore[call-overload]


if __name__ == "__main__":
    unittest.main()
