"""``inspect_request``: payloads by the shared table, the shape of a decision, good and bad input."""

from __future__ import annotations

import json
import unittest
from typing import Any
from urllib.parse import quote

import security
from engine_case import VALUES, EngineCase, load_table

UNLIMITED: dict[str, Any] = {"web": {"limits": {"client": "unlimited"}}}


def judged(request: Any) -> Any:
    """The decision for a request whose peer is known: that it is not would be a reason of its own."""
    return security.inspect_request({"remote_addr": "203.0.113.7", **request} if isinstance(request, dict) else request)


class Payloads(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        self.reopen(config=UNLIMITED)

    def test_attacks_are_refused(self) -> None:
        for attack in load_table("inspect")["attack"]:
            for value in attack["values"]:
                with self.subTest(category=attack["category"], value=value):
                    # Boxes for searching fetch nothing.
                    name = "url" if attack["category"] == "ssrf" else "q"
                    decision = judged({"path": "/x", "query": f"{name}=" + quote(value, safe="")})
                    self.assertEqual((decision["action"], decision["status"]), ("deny", 403))
                    self.assertIn(attack["category"], {reason["category"] for reason in decision["reasons"]})
                    self.assertTrue(all(reason["where"] == f"query:{name}" for reason in decision["reasons"]))

    def test_innocent_values_pass(self) -> None:
        for innocent in load_table("inspect")["innocent"]:
            for value in innocent["values"]:
                with self.subTest(kind=innocent["kind"], value=value):
                    body = json.dumps({"a": [value]}).encode()
                    headers = {"Content-Type": "application/json"}
                    decision = judged({"path": "/x", "headers": headers, "body": body})
                    self.assertEqual(decision["action"], "allow", decision["reasons"])


class Requests(EngineCase):
    def test_a_decision_is_whole(self) -> None:
        decision = judged(
            {
                "method": "POST",
                "path": "/orders",
                "query": "page=2",
                "headers": [("X-API-Key", VALUES["API_KEY"]), (b"Content-Type", b"text/plain")],
                "body": bytearray(b"two boxes, please"),
                "remote_addr": "203.0.113.7",
            }
        )
        self.assertEqual(
            set(decision),
            {"action", "status", "reasons", "score", "client_ip", "key_id", "request_id", "headers"},
        )
        self.assertEqual((decision["action"], decision["status"], decision["score"]), ("allow", 200, 0))
        self.assertEqual((decision["client_ip"], decision["key_id"]), ("203.0.113.7", "API_KEY"))

    def test_a_refusal_tells_the_client_nothing(self) -> None:
        body = b'{"note": "<script>x</script>", "password": "\' or 1=1--"}'
        decision = judged({"headers": {"content-type": "application/json"}, "body": body})
        self.assertEqual({reason["where"] for reason in decision["reasons"]}, {"body:/note", "body:/password"})
        hidden = [reason["evidence"] for reason in decision["reasons"] if reason["where"] == "body:/password"]
        self.assertEqual(set(hidden), {"****"})
        self.assertEqual(decision["body"]["error"], "request-refused")
        self.assertNotIn("script", json.dumps(decision["body"]))

    def test_the_configuration_decides(self) -> None:
        attack = {"path": "/articles/7", "query": "html=%3Cscript%3E"}
        excluded = {"path": ["/articles"], "parameter": "html", "rules": ["xss"]}
        for inspection, action in (
            ({}, "deny"),
            ({"mode": "off"}, "allow"),
            ({"mode": "report"}, "allow"),
            ({"threshold": 100}, "allow"),
            ({"report": ["xss"]}, "allow"),
            ({"report": ["sql-injection"]}, "deny"),
            ({"exclude": [excluded]}, "allow"),
        ):
            self.reopen(config={"web": {"inspection": inspection}})
            self.assertEqual(judged(attack)["action"], action, inspection)
        self.reopen(config={"web": {"inspection": {"mode": "report"}}})
        self.assertTrue(judged(attack)["reasons"])
        self.assertEqual(judged({**attack, "path": "/health"})["reasons"], [])

    def test_wrong_settings(self) -> None:
        for inspection in ({"mode": "maybe"}, {"paranoia": 9}, {"report": ["xxs"]}, {"exclude": [{"rules": ["xxs"]}]}):
            with self.assertRaises(ValueError):
                self.reopen(config={"web": {"inspection": inspection}})

    def test_hostile_bodies(self) -> None:
        for body in (b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00" * 1000, b"{", b""):
            decision = judged({"headers": {"Content-Type": "application/json"}, "body": body})
            self.assertIn(decision["action"], ("allow", "deny"))
        deep = judged({"headers": {"Content-Type": "application/json"}, "body": b"[" * 100_000})
        self.assertEqual(deep["reasons"][0]["id"], "inspection-limit")

    def test_wrong_input(self) -> None:
        given: Any
        for given in (None, "x", [], {"path": 1}, {"body": "text"}, {"headers": "x"}, {"headers": [1]}, {1: "x"},
                      {"headers": {"a": 1}}, {"query": None}, {"remote_addr": 7}):  # fmt: skip
            with self.assertRaises(TypeError, msg=repr(given)):
                judged(given)
        with self.assertRaisesRegex(ValueError, "'url' is not accepted"):
            judged({"url": "/"})


if __name__ == "__main__":
    unittest.main()
