"""security.modules.middleware on Flask: the whole surface, with good and bad input."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import time
import unittest
import zlib
from typing import Any
from unittest import mock

import security
from engine_case import JUNK, VALUES, EngineCase
from flask import Blueprint, Flask, Response, abort, g, jsonify, redirect, request
from werkzeug.exceptions import HTTPException

KEY = {"X-API-Key": VALUES["API_KEY"]}


class Addresses(EngineCase):
    def test_trusted(self) -> None:
        for ip in ("localhost", "127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "::ffff:127.0.0.1"):
            self.assertIs(security.is_ip_trusted(ip), True, ip)
        self.assertIs(security.is_ip_trusted(ipaddress.ip_address("127.0.0.1")), True)

    def test_not_trusted(self) -> None:
        for ip in ("198.51.100.1", "2001:db8::1", "evil.example", "127.0.0.1, 10.0.0.1", "127.1", "0"):
            self.assertIs(security.is_ip_trusted(ip), False, ip)
        for junk in JUNK:
            self.assertIs(security.is_ip_trusted(junk), False)

    def test_the_configuration_decides(self) -> None:
        self.reopen(config={"web": {"trusted_networks": ["198.51.100.0/24"]}})
        self.assertIs(security.is_ip_trusted("198.51.100.1"), True)
        self.assertIs(security.is_ip_trusted("10.1.2.3"), False)


def with_checksum(body: str) -> str:
    """A token of ours, as anybody can make one up."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    check, rest = "", zlib.crc32(body.encode())
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        check = digits[digit] + check
    return body + check


class FlaskCase(EngineCase):
    """An application with every kind of view."""

    with_middleware = True

    def setUp(self) -> None:
        super().setUp()
        self.app = self.make_app()
        self.client = self.app.test_client()

    def make_app(self) -> Flask:
        app = Flask(__name__)
        app.logger.disabled = True
        if self.with_middleware:
            self.assertIs(security.create_security_middleware(app), app)

        @app.get("/open")
        def open_view() -> Response:
            return jsonify(
                request_id=g.request_id, client_ip=g.client_ip, api_key=g.api_key, api_key_valid=g.api_key_valid
            )

        @app.get("/bare")
        @security.require_api_key
        def bare() -> dict[str, Any]:
            """Says who asks."""
            return {"key": g.api_key, "valid": g.api_key_valid}

        @app.get("/scoped")
        @security.require_api_key(scopes=["reports:read"])
        def scoped() -> dict[str, Any]:
            return {"key": g.api_key}

        @app.get("/empty")
        @security.require_api_key()
        def empty() -> str:
            return "with brackets"

        @app.get("/async")
        @security.require_api_key
        async def later() -> str:
            await asyncio.sleep(0)
            return "later"

        @app.get("/docs/private")
        @security.require_api_key
        def private() -> str:
            return "for readers with a key"

        @app.get("/crash")
        def crash() -> str:
            raise RuntimeError("the password is in this message")

        @app.get("/teapot")
        def teapot() -> str:
            abort(418, description="short and stout")

        @app.get("/elsewhere")
        def elsewhere() -> Any:
            return redirect("/open")

        @app.get("/admin/panel")
        def panel() -> str:
            return "inside"

        @app.get("/health")
        def health() -> str:
            return "fine"

        blueprint = Blueprint("api", __name__, url_prefix="/v1")

        @blueprint.get("/thing/<int:number>")
        @security.require_api_key
        def thing(number: int) -> dict[str, int]:
            return {"number": number}

        app.register_blueprint(blueprint)
        return app

    def get(self, path: str, ip: str = "198.51.100.1", headers: Any = None) -> Any:
        return self.client.get(path, headers=headers, environ_overrides={"REMOTE_ADDR": ip})


class Views(FlaskCase):
    def test_without_a_key(self) -> None:
        answer = self.get("/bare")
        self.assertEqual(answer.status_code, 401)
        self.assertIn("WWW-Authenticate", answer.headers)
        self.assertLessEqual({"error", "message", "request_id"}, set(answer.json))
        self.assertTrue(answer.is_json)

    def test_with_a_wrong_key(self) -> None:
        answer = self.get("/bare", headers={"X-API-Key": "wrong"})
        self.assertEqual(answer.status_code, 403)
        self.assertLessEqual({"error", "message", "request_id"}, set(answer.json))
        self.assertNotIn("wrong", answer.get_data(as_text=True))

    def test_with_the_documents_key(self) -> None:
        for headers in (
            KEY,
            {"Authorization": f"Bearer {VALUES['API_KEY']}"},
            {"authorization": f"bearer {VALUES['API_KEY']}"},
        ):
            answer = self.get("/bare", headers=headers)
            self.assertEqual(answer.status_code, 200, headers)
            self.assertEqual(
                answer.json, {"key": {"id": None, "name": None, "owner": None, "scopes": ["*"]}, "valid": True}
            )

    def test_two_different_keys(self) -> None:
        headers = {**KEY, "Authorization": "Bearer something else"}
        self.assertEqual(self.get("/bare", headers=headers).status_code, 400)

    def test_scopes(self) -> None:
        reader = security.issue_api_key("reader", scopes=["reports:read"], owner="billing")
        other = security.issue_api_key("other", scopes=["reports:write"])
        answer = self.get("/scoped", headers={"X-API-Key": reader["key"]})
        self.assertEqual(answer.status_code, 200)
        expected = {"id": reader["id"], "name": "reader", "owner": "billing", "scopes": ["reports:read"]}
        self.assertEqual(answer.json["key"], expected)
        self.assertEqual(self.get("/scoped", headers={"X-API-Key": other["key"]}).status_code, 403)
        self.assertEqual(self.get("/scoped", headers=KEY).status_code, 200)
        self.assertEqual(self.get("/scoped").status_code, 401)

    def test_every_form_of_view(self) -> None:
        for path, body in (("/empty", b"with brackets"), ("/async", b"later")):
            self.assertEqual(self.get(path).status_code, 401, path)
            answer = self.get(path, headers=KEY)
            self.assertEqual((answer.status_code, answer.data), (200, body))
        self.assertEqual(self.get("/v1/thing/7", headers=KEY).json, {"number": 7})
        self.assertEqual(self.get("/v1/thing/7").status_code, 401)

    def test_the_views_own_words_stay(self) -> None:
        view = self.app.view_functions["bare"]
        self.assertEqual((view.__name__, view.__doc__), ("bare", "Says who asks."))

    def test_views_below_exempt_paths(self) -> None:
        self.assertEqual(self.get("/docs/private").status_code, 401)
        self.assertEqual(self.get("/docs/private", headers={"X-API-Key": "wrong"}).status_code, 403)
        self.assertEqual(self.get("/docs/private", headers=KEY).status_code, 200)

    def test_networks_of_a_key(self) -> None:
        bound = security.issue_api_key("bound", allowed_networks=["192.0.2.0/24"])["key"]
        self.assertEqual(self.get("/bare", headers={"X-API-Key": bound}).status_code, 403)
        self.assertEqual(self.get("/bare", ip="192.0.2.9", headers={"X-API-Key": bound}).status_code, 200)

    def test_a_revoked_key(self) -> None:
        issued = security.issue_api_key("short-lived")
        headers = {"X-API-Key": issued["key"]}
        self.assertEqual(self.get("/bare", headers=headers).status_code, 200)
        security.revoke_api_key(issued["id"])
        self.assertEqual(self.get("/bare", headers=headers).status_code, 403)

    def test_refused_keys_are_refused_alike(self) -> None:
        scopes = ["reports:read"]
        issue = security.issue_api_key
        revoked, rotated = issue("revoked", scopes=scopes), issue("rotated", scopes=scopes)
        security.revoke_api_key(revoked["id"])
        security.rotate_api_key(rotated["id"])
        keys = {
            "revoked": revoked["key"],
            "superseded": rotated["key"],
            "expired": issue("expired", scopes=scopes, expires_in=0.001)["key"],
            "out of scope": issue("other", scopes=["reports:write"])["key"],
            "elsewhere": issue("bound", scopes=scopes, allowed_networks=["192.0.2.0/24"])["key"],
            "unknown": with_checksum(f"sk_{'A' * 17}_{'b' * 33}"),
            "wrong": with_checksum(f"sk_{rotated['id']}_{'b' * 33}"),
            "malformed": "wrong",
        }
        time.sleep(0.01)
        answers = {}
        for number, (name, value) in enumerate(keys.items()):
            answer = self.get("/scoped", ip=f"198.51.100.{10 + number}", headers={"X-API-Key": value})
            body = {key: said for key, said in answer.json.items() if key != "request_id"}
            headers = {key: said for key, said in answer.headers if key not in ("X-Request-ID", "RateLimit")}
            answers[name] = (answer.status_code, body, headers, len(answer.data))
        self.assertEqual(answers["malformed"][0], 403)
        for name, answer in answers.items():
            self.assertEqual(answer, answers["malformed"], name)
        security.flush()
        logs = "".join(file.read_text("utf-8") for file in (self.data_dir / "logs").glob("requests-*"))
        self.assertIn('"event":"scope_missing"', logs)
        self.assertIn('"evidence":"reports:read"', logs)

    def test_the_limit_of_a_key(self) -> None:
        limited = {"X-API-Key": security.issue_api_key("limited", rate_limit="2/hour")["key"]}
        statuses = [self.get("/bare", headers=limited).status_code for _ in range(3)]
        self.assertEqual(statuses, [200, 200, 429])
        answer = self.get("/bare", headers=limited)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertEqual(self.get("/bare", headers=KEY).status_code, 200)

    def test_lock_out_concerns_wrong_secrets_only(self) -> None:
        statuses = [self.get("/bare", headers={"X-API-Key": f"guess {n}"}).status_code for n in range(8)]
        self.assertEqual(statuses[:4], [403] * 4)
        self.assertEqual(statuses[6:], [429, 429])
        answer = self.get("/bare", headers={"X-API-Key": "guess"})
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertEqual(self.get("/bare", headers=KEY).status_code, 200, "a valid key goes on")
        self.assertEqual(self.get("/bare", ip="198.51.100.2", headers={"X-API-Key": "x"}).status_code, 403)

    def test_odd_headers(self) -> None:
        for value in ("\x00", "ÿ" * 100, "x" * 60_000, "Bearer", " ", ", ,"):
            answer = self.get("/bare", headers={"X-API-Key": value})
            self.assertIn(answer.status_code, (400, 401, 403, 429), value[:20])
            self.client.get("/bare", headers={"Authorization": value})

    def test_usage_is_recorded(self) -> None:
        self.get("/bare", headers={**KEY, "User-Agent": "agent/2", "X-Request-ID": "0123456789abcdef0123456789abcdef"})
        security.flush()
        records = [record for record in security.get_recent_usage() if record["user_agent"] == "agent/2"]
        self.assertEqual(len(records), 1, "once for each request, whoever asks")
        self.assertEqual(records[0]["client_ip"], "198.51.100.1")

    def test_bad_scopes_are_found_out_at_once(self) -> None:
        for scopes in ("reports:read", [1], 7):
            with self.assertRaises(TypeError):
                security.require_api_key(scopes=scopes)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "view"):
            security.require_api_key("view")  # type: ignore[call-overload]


class ViewsWithoutTheMiddleware(Views):
    """The decorator alone does the same."""

    with_middleware = False

    def test_one_request_under_an_outer_context_is_not_another(self) -> None:
        with self.app.app_context():
            self.assertEqual(self.get("/bare", headers=KEY).status_code, 200)
            self.assertEqual(self.get("/bare").status_code, 401)


class Middleware(FlaskCase):
    def test_what_stands_on_g(self) -> None:
        answer = self.get("/open")
        self.assertEqual(answer.json["client_ip"], "198.51.100.1")
        self.assertEqual((answer.json["api_key"], answer.json["api_key_valid"]), (None, False))
        self.assertEqual(answer.json["request_id"], answer.headers["X-Request-ID"])
        self.assertTrue(self.get("/open", headers=KEY).json["api_key_valid"])
        self.assertEqual(self.get("/open", headers={"X-API-Key": "wrong"}).status_code, 200)

    def test_forwarded_addresses_of_strangers_are_not_believed(self) -> None:
        answer = self.get("/open", headers={"X-Forwarded-For": "127.0.0.1"})
        self.assertEqual(answer.json["client_ip"], "198.51.100.1")

    def test_trusted_proxies_are(self) -> None:
        self.reopen(config={"web": {"client_address": {"trusted_proxies": ["10.0.0.0/8"]}}})
        answer = self.get("/open", ip="10.0.0.1", headers={"X-Forwarded-For": "203.0.113.7"})
        self.assertEqual(answer.json["client_ip"], "203.0.113.7")

    def test_every_answer_has_an_id_and_headers(self) -> None:
        for path in ("/open", "/bare", "/crash", "/teapot", "/absent", "/admin/panel", "/health", "/elsewhere"):
            answer = self.get(path)
            self.assertTrue(answer.headers["X-Request-ID"], path)
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff", path)
            self.assertEqual(len(answer.headers.getlist("X-Request-ID")), 1)

    def test_sensitive_paths(self) -> None:
        self.assertEqual(self.get("/admin/panel").status_code, 403)
        self.assertEqual(self.get("/admin/../admin/panel").status_code, 403)
        for path in ("//admin/panel", "/./admin/panel", "/admin", "/Admin/panel"):
            overrides = {"PATH_INFO": path, "REMOTE_ADDR": "198.51.100.1"}
            self.assertEqual(self.client.get("/", environ_overrides=overrides).status_code, 403, path)
        self.assertEqual(self.get("/admin/panel", ip="10.0.0.5").data, b"inside")

    def test_uncaught_errors_tell_nothing(self) -> None:
        answer = self.get("/crash")
        self.assertEqual(answer.status_code, 500)
        self.assertNotIn("password", answer.get_data(as_text=True))
        self.assertEqual(answer.json["request_id"], answer.headers["X-Request-ID"])

    def test_an_engine_that_fails_lets_nobody_in(self) -> None:
        security.close()
        blocked = self.folder / "file"
        blocked.write_text("a file, no folder", "utf-8")
        with mock.patch.dict(os.environ, {"SECURITY_DATA_DIR": str(blocked / "data")}):
            for path in ("/open", "/bare", "/absent"):
                answer = self.get(path, headers=KEY)
                self.assertEqual(answer.status_code, 500, path)
                self.assertEqual(answer.json["error"], "internal")
                self.assertNotIn(str(blocked), answer.get_data(as_text=True))
                self.assertTrue(answer.headers["X-Request-ID"])

    def test_debuggers_and_tests_still_see_the_error(self) -> None:
        self.app.config["PROPAGATE_EXCEPTIONS"] = True
        with self.assertRaisesRegex(RuntimeError, "password"):
            self.get("/crash")
        self.app.config["PROPAGATE_EXCEPTIONS"] = None
        self.app.testing = True
        with self.assertRaisesRegex(RuntimeError, "password"):
            self.get("/crash")

    def test_http_errors_keep_their_code(self) -> None:
        for path, code in (("/teapot", 418), ("/absent", 404)):
            answer = self.get(path)
            self.assertEqual(answer.status_code, code)
            self.assertLessEqual({"error", "message", "request_id"}, set(answer.json))
        self.assertEqual(self.get("/teapot").json["message"], "short and stout")
        refused = self.client.post("/open")
        self.assertEqual(refused.status_code, 405)
        self.assertIn("GET", refused.headers["Allow"])
        self.assertEqual(self.get("/elsewhere").status_code, 302)

    def test_the_applications_own_handlers_win(self) -> None:
        app = Flask(__name__)

        @app.errorhandler(HTTPException)
        def own(error: HTTPException) -> tuple[str, int]:
            return "own words", error.code or 500

        security.create_security_middleware(app)
        self.assertEqual(app.test_client().get("/absent").data, b"own words")
        later = self.make_app()

        @later.errorhandler(404)
        def absent(_error: Any) -> tuple[str, int]:
            return "not here", 404

        self.assertEqual(later.test_client().get("/absent").data, b"not here")

    def test_a_view_may_set_its_own_headers(self) -> None:
        @self.app.get("/own")
        def own() -> Response:
            response = Response("x")
            response.headers["X-Frame-Options"] = "SAMEORIGIN"
            response.headers["X-Request-ID"] = "forged"
            return response

        answer = self.get("/own")
        self.assertEqual(answer.headers.getlist("X-Frame-Options"), ["SAMEORIGIN"])
        self.assertNotEqual(answer.headers["X-Request-ID"], "forged")

    def test_listed_clients_are_refused(self) -> None:
        security.add_ioc("cidr", "203.0.113.0/24", "us", 90)
        self.assertEqual(self.get("/open", ip="203.0.113.9").status_code, 403)
        self.assertEqual(self.get("/open").status_code, 200)
        self.assertEqual(self.get("/health", ip="203.0.113.9").status_code, 200, "exempt paths are exempt")

    def test_rules_are_applied(self) -> None:
        security.create_threat_rule("Traversal", "climbs", {"pattern": r"\.\./"}, severity="high")
        answer = self.get("/open?file=../../etc/passwd")
        self.assertEqual(answer.status_code, 403)
        alert = security.threat_detector.get_recent_alerts()[0]
        self.assertEqual(alert["context"]["request_id"], answer.headers["X-Request-ID"])
        self.assertNotIn("Traversal", answer.get_data(as_text=True))

    def test_the_limit_of_a_client(self) -> None:
        self.reopen(config={"web": {"limits": {"client": "3/hour"}}})
        statuses = [self.get("/open").status_code for _ in range(4)]
        self.assertEqual(statuses, [200, 200, 200, 429])
        self.assertEqual(self.get("/open", ip="198.51.100.2").status_code, 200)
        self.assertEqual(self.get("/health").status_code, 200)

    def test_applied_twice_it_counts_once(self) -> None:
        self.reopen(config={"web": {"limits": {"client": "2/hour"}}})
        self.assertIs(security.create_security_middleware(self.app), self.app)
        self.assertEqual([self.get("/open").status_code for _ in range(3)], [200, 200, 429])

    def test_refused_requests_never_reach_other_code(self) -> None:
        reached: list[str] = []
        app = Flask(__name__)
        app.before_request(lambda: reached.append(request.path))
        security.create_security_middleware(app)
        app.test_client().get("/admin", environ_overrides={"REMOTE_ADDR": "198.51.100.1"})
        self.assertEqual(reached, [])

    def test_a_local_socket_has_no_address(self) -> None:
        answer: Any = self.client.get("/open", environ_overrides={"REMOTE_ADDR": ""})
        self.assertIsNone(answer.json["client_ip"])
        self.assertEqual(self.client.get("/admin/panel", environ_overrides={"REMOTE_ADDR": ""}).status_code, 403)

    def test_answers_go_through_jsonify(self) -> None:
        @self.app.get("/check")
        def check() -> Response:
            return jsonify(security.check_ioc("ip", "192.0.2.1"))

        for debug in (False, True):
            self.app.debug = debug
            self.assertEqual(self.get("/check").json["matched"], False)

    def test_bad_input(self) -> None:
        for app in (None, object(), "app", Flask):
            with self.assertRaisesRegex(TypeError, "app"):
                security.create_security_middleware(app)  # type: ignore[type-var]
        policy: Any
        for policy in ({"sensitive": []}, {"mode": "off"}, {"limits": {"client": "often"}}):
            with self.assertRaisesRegex(ValueError, "policy"):
                security.create_security_middleware(Flask(__name__), policy)
            with self.assertRaisesRegex(ValueError, "policy"):
                security.create_security_middleware(Blueprint("b", __name__), policy)
        with self.assertRaisesRegex(TypeError, "policy"):
            security.create_security_middleware(Flask(__name__), "shadow")  # type: ignore[arg-type]

    def test_every_way_to_ask_g(self) -> None:
        @self.app.get("/g")
        def names() -> dict[str, Any]:
            before = ["request_id" in g, g.get("client_ip"), g.get("absent", 7), hasattr(g, "absent")]
            g.client_ip = "set by the view"
            return {"seen": [*before, g.client_ip, g.get("client_ip"), g.pop("client_ip"), g.client_ip]}

        inside = "198.51.100.1"
        expected = [True, inside, 7, False, "set by the view", "set by the view", "set by the view", inside]
        self.assertEqual(self.get("/g").json["seen"], expected)
        with self.app.app_context():
            self.assertFalse(hasattr(g, "request_id"), "outside of a request")
            self.assertNotIn("request_id", g)

    def test_bodies_are_what_they_say(self) -> None:
        body: str = self.get("/bare").get_data(as_text=True)
        self.assertEqual(json.loads(body)["status"], 401)


class BlueprintAlone(EngineCase):
    """One blueprint of an application with the middleware, the rest without."""

    def make_client(self, policy: Any = None) -> Any:
        app = Flask(__name__)
        app.logger.disabled = True
        blueprint = Blueprint("admin", __name__, url_prefix="/admin")
        self.assertIs(security.create_security_middleware(blueprint, policy), blueprint)
        self.assertIs(security.create_security_middleware(blueprint), blueprint)

        @blueprint.get("/who")
        def who() -> dict[str, Any]:
            return {"id": g.request_id, "ip": g.client_ip, "key": g.api_key, "valid": g.api_key_valid}

        @blueprint.get("/bare")
        @security.require_api_key
        def bare() -> str:
            return "inside"

        @blueprint.get("/teapot")
        def teapot() -> str:
            abort(418, description="short and stout")

        @app.get("/admin-free")
        def free() -> str:
            return "free"

        app.register_blueprint(blueprint)
        return app.test_client()

    def test_it_guards_its_own_views_and_no_others(self) -> None:
        client = self.make_client()
        outside = {"environ_overrides": {"REMOTE_ADDR": "198.51.100.1"}}
        refused = client.get("/admin/who", **outside)
        self.assertEqual((refused.status_code, refused.json["error"]), (403, "forbidden-path"))
        self.assertEqual(refused.headers.getlist("X-Request-ID"), [refused.json["request_id"]])
        free = client.get("/admin-free", **outside)
        self.assertEqual(free.status_code, 200)
        self.assertNotIn("X-Request-ID", free.headers)
        self.assertNotIn("X-Frame-Options", free.headers)

    def test_its_views_have_everything(self) -> None:
        client = self.make_client()
        answer = client.get("/admin/who", headers=KEY)
        self.assertEqual((answer.json["ip"], answer.json["valid"]), ("127.0.0.1", True))
        self.assertEqual(answer.json["id"], answer.headers["X-Request-ID"])
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(client.get("/admin/bare").status_code, 401)
        self.assertEqual(client.get("/admin/bare", headers=KEY).data, b"inside")
        teapot = client.get("/admin/teapot")
        self.assertEqual((teapot.status_code, teapot.json["message"]), (418, "short and stout"))

    def test_it_may_have_a_policy_of_its_own(self) -> None:
        client = self.make_client({"limits": {"client": "1/hour"}})
        self.assertEqual([client.get("/admin/who").status_code for _ in range(2)], [200, 429])
        self.assertEqual(client.get("/admin-free").status_code, 200)


if __name__ == "__main__":
    unittest.main()
