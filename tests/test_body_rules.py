"""Rules over what a request's body says: JSON, forms and texts, as fields of the event."""

from __future__ import annotations

import json
import unittest
from typing import Any
from urllib.parse import urlencode

import security
from engine_case import EngineCase
from flask import Flask, request


def condition(field: str, value: str) -> dict[str, Any]:
    return {"condition": {"field": field, "contains": value}}


class BodyRules(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        app = Flask(__name__)

        @app.route("/orders", methods=["GET", "POST"])
        def orders() -> str:
            return str(len(request.get_data()))

        self.client = security.create_security_middleware(app).test_client()

    def rule(self, name: str, detection: dict[str, Any], severity: str = "high") -> str:
        made = security.create_threat_rule(name=name, description=name, detection=detection, severity=severity)
        return str(made["id"])

    def post(self, body: str | bytes, content_type: str) -> int:
        return self.client.post("/orders?q=1", data=body, content_type=content_type).status_code

    def alerts(self) -> list[str]:
        return [alert["rule_name"] for alert in security.threat_detector.get_recent_alerts(limit=50)]

    def test_fields_of_json_and_of_forms(self) -> None:
        self.rule("gift cards", condition("body.note", "gift card"))
        self.rule("deep", condition("body.items.name", "voucher"))
        wanted = {"note": "ten gift cards", "items": []}
        self.assertEqual(self.post(json.dumps(wanted), "application/json"), 403)
        self.assertEqual(self.post(json.dumps({"note": "tea", "items": [{"name": "voucher"}]}), "text/plain"), 403)
        form = "application/x-www-form-urlencoded"
        self.assertEqual(self.post(urlencode({"note": "a gift card"}), form), 403)
        self.assertEqual(self.post(urlencode({"other": "a gift card"}), form), 200)
        self.assertEqual(self.post(json.dumps({"other": wanted}), "application/json"), 200)
        self.assertEqual(self.post(b"", "application/json"), 200)
        self.assertEqual(self.alerts(), ["gift cards", "deep", "gift cards"])

    def test_any_field_will_do(self) -> None:
        self.rule("teapots", {"pattern": "teapot-[0-9]+"})
        self.assertEqual(self.post("I want teapot-17", "text/plain"), 403)
        self.assertEqual(self.post('{"a": {"b": ["teapot-17"]}}', "application/json"), 403)
        self.assertEqual(self.post("{not json: teapot-17", "application/json"), 403)
        self.assertEqual(self.post("I want tea", "text/plain"), 200)

    def test_what_the_head_said_is_not_said_twice(self) -> None:
        self.rule("orders", condition("path", "/orders"), "low")
        self.assertEqual(self.post('{"note": "tea"}', "application/json"), 200)
        self.assertEqual(self.alerts(), ["orders"])
        self.client.get("/orders")
        self.assertEqual(self.alerts(), ["orders", "orders"])

    def test_alerts_know_the_request(self) -> None:
        self.rule("gift cards", condition("body.note", "gift card"), "medium")
        answer = self.client.post("/orders", json={"note": "gift card"}, headers={"X-Request-ID": "request-0001"})
        self.assertEqual(answer.status_code, 200, "medium is recorded and goes on")
        context = security.threat_detector.get_recent_alerts()[0]["context"]
        self.assertEqual(
            (context["request_id"], context["path"], context["method"]), ("request-0001", "/orders", "POST")
        )

    def test_secrets_are_masked(self) -> None:
        self.rule("logins", condition("body.password", "hunter"), "low")
        self.post(json.dumps({"password": "hunter2-and-more"}), "application/json")
        self.assertEqual(self.alerts(), ["logins"])
        self.assertNotIn("hunter2-and-more", json.dumps(security.threat_detector.get_recent_alerts()))

    def test_inspect_request_sees_the_same(self) -> None:
        rule = self.rule("gift cards", condition("body.note", "gift card"))
        asked = {
            "method": "POST",
            "path": "/orders",
            "remote_addr": "198.51.100.1",
            "headers": {"Content-Type": "application/json"},
        }
        found = security.inspect_request({**asked, "body": b'{"note": "gift card"}'})
        self.assertEqual((found["status"], found["reasons"][0]["id"]), (403, rule))
        self.assertEqual(security.inspect_request({**asked, "body": b'{"note": "tea"}'})["status"], 200)

    def test_where_bodies_are_nobodys_rules_do_not_see_them(self) -> None:
        self.reopen(config={"web": {"bodies": {"inspect": False}}})
        self.rule("gift cards", condition("body.note", "gift card"))
        self.assertEqual(self.post('{"note": "gift card"}', "application/json"), 200)

    def test_odd_bodies(self) -> None:
        self.rule("gift cards", condition("body.note", "gift card"))
        for body in (b"[" * 100_000, b'{"note": ' * 1000, b"\xff\xfe\x00", b'{"note": 7}', b"null", b'"x"', b"7"):
            with self.subTest(body=body[:20]):
                self.assertIn(self.post(body, "application/json"), (200, 403, 415))
        self.assertEqual(self.alerts(), [])


if __name__ == "__main__":
    unittest.main()
