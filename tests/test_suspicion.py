"""Suspicion and breached passwords, as Python sees them."""

from __future__ import annotations

import hashlib
import unittest
from typing import TYPE_CHECKING

import security
from engine_case import EngineCase

if TYPE_CHECKING:
    from security.shapes import Finding


def findings() -> list[Finding]:
    security.flush()
    return security.analyze_for_suspicious_activity()


class Suspicion(EngineCase):
    def test_a_canary_that_is_used_is_the_worst(self) -> None:
        canary = security.issue_api_key("decoy", canary=True)
        self.assertEqual(findings(), [])
        security.verify_api_key(canary["key"], client_ip="203.0.113.9")
        found = findings()
        self.assertEqual(
            [(one["type"], one["severity"], one["key_id"]) for one in found], [("canary_use", "critical", canary["id"])]
        )
        self.assertEqual(found[0]["evidence"], [security.get_recent_usage(1)[0]["request_id"]])
        self.assertEqual(findings()[0]["id"], found[0]["id"], "the same matter")

    def test_the_old_value_in_grace_and_one_key_from_many_addresses(self) -> None:
        issued = security.issue_api_key("app")
        security.rotate_api_key(issued["id"], grace_seconds=60)
        self.assertTrue(security.verify_api_key(issued["key"]))
        wrong = issued["key"][:-20]
        other = security.issue_api_key("other")
        security.rotate_api_key(other["id"])
        security.rotate_api_key(other["id"])
        for number in range(12):
            # The right shape and id, but a secret of two rotations ago.
            security.verify_api_key(other["key"], client_ip=f"198.51.100.{number}")
            security.verify_api_key(wrong, client_ip="192.0.2.1")
        kinds = {one["type"]: one["key_id"] for one in findings()}
        self.assertEqual(kinds["grace_use"], issued["id"])
        self.assertEqual(kinds["spraying"], other["id"])

    def test_ordinary_use_is_not_suspicious(self) -> None:
        issued = security.issue_api_key("app")
        for number in range(150):
            security.verify_api_key(issued["key"], client_ip=f"192.0.2.{number % 3}")
        self.assertEqual(findings(), [])


class Breached(EngineCase):
    def build(self, *passwords: str) -> None:
        lines = [f"{hashlib.sha1(one.encode()).hexdigest().upper()}:7\n" for one in passwords]
        (self.folder / "list.txt").write_text("".join(lines))
        code = "import sys, security.__main__ as m; sys.argv = ['security', 'breached', 'build', sys.argv[1]]; m.main()"
        try:
            self.run_python(code, str(self.folder / "list.txt"))
        except SystemExit as end:
            self.assertEqual(end.code, 0)

    def test_what_is_known_is_refused_and_says_why(self) -> None:
        strong = "gravel lantern otter mosaic"
        report = security.validate_credential(strong, "db_password")
        self.assertTrue(report)
        self.assertIsNone(report["breached"])
        self.build(strong, "password")
        report = security.validate_credential(strong, "db_password")
        self.assertFalse(report)
        self.assertTrue(report["breached"])
        self.assertIn("it is among the passwords that are known from breaches", report["problems"])
        self.assertIs(security.validate_credential(strong + "s", "db_password")["breached"], False)

    def test_a_configured_filter_that_is_not_there_lets_nothing_pass(self) -> None:
        self.reopen(config={"breached_passwords": str(self.folder / "missing")})
        with self.assertRaisesRegex(security.StoreError, "breached"):
            security.validate_credential("gravel lantern otter mosaic", "db_password")


if __name__ == "__main__":
    unittest.main()
