"""Bans from Python: in force at once, recorded, listed, lifted."""

from __future__ import annotations

import ipaddress
import json
import unittest
from datetime import datetime, timedelta
from typing import Any

import security
from engine_case import EngineCase
from flask import Flask


class Bans(EngineCase):
    def status_of(self, address: str) -> tuple[int, str | None]:
        app = Flask(__name__)
        app.add_url_rule("/", "index", lambda: "fine")
        client = security.create_security_middleware(app).test_client()
        answer = client.get("/", environ_base={"REMOTE_ADDR": address})
        return answer.status_code, (answer.get_json() or {}).get("error") if answer.is_json else None

    def test_banned_and_lifted(self) -> None:
        self.assertEqual(self.status_of("203.0.113.9"), (200, None))
        ban = security.ban_client("203.0.113.9", 3600, "credential stuffing")
        self.assertEqual(sorted(ban), ["by", "network", "reason", "since", "until"])
        self.assertEqual((ban["network"], ban["reason"]), ("203.0.113.9/32", "credential stuffing"))
        self.assertEqual(length(ban), timedelta(hours=1))
        self.assertEqual(self.status_of("203.0.113.9"), (403, "banned"))
        self.assertEqual(self.status_of("203.0.113.10"), (200, None))
        self.assertEqual(security.list_bans(), [ban])
        self.assertEqual(json.loads(json.dumps(ban)), ban)
        self.assertEqual(security.lift_ban("203.0.113.9"), ban)
        self.assertEqual((security.list_bans(), self.status_of("203.0.113.9")), ([], (200, None)))

    def test_networks_and_objects(self) -> None:
        security.ban_client(ipaddress.ip_network("198.51.100.0/24"), seconds=timedelta(days=2))
        self.assertEqual(self.status_of("198.51.100.77"), (403, "banned"))
        ban = security.ban_client(ipaddress.ip_address("2001:db8:1:2::3"), reason="  scans  ")
        self.assertEqual((ban["network"], ban["reason"]), ("2001:db8:1:2::/64", "scans"))
        self.assertEqual(length(ban), timedelta(days=1), "a day unless said")
        self.assertEqual(self.status_of("2001:db8:1:2:ffff::1"), (403, "banned"))
        ends = [ban["until"] for ban in security.list_bans()]
        self.assertEqual((len(ends), ends), (2, sorted(ends)))
        again = security.ban_client("198.51.100.0/24", 60)
        self.assertEqual([ban["until"] for ban in security.list_bans()], [again["until"], ends[0]], "replaced")
        security.lift_ban(ipaddress.ip_address("2001:db8:1:2::9"))

    def test_both_are_in_the_audit_trail(self) -> None:
        security.ban_client("203.0.113.9", 60, "scans")
        security.lift_ban("203.0.113.9")
        events = [record["event"] for record in security.get_audit_log()]
        self.assertEqual(events[:2], ["ban_lifted", "client_banned"])
        self.assertTrue(security.verify_audit_log())

    def test_another_process_hears_of_it(self) -> None:
        security.ban_client("203.0.113.9", 60, "scans")
        self.assertIn("203.0.113.9/32", self.run_python("import security; print(security.list_bans())"))
        self.run_python("import security; security.lift_ban('203.0.113.9')")
        self.assertEqual(self.status_of("203.0.113.9"), (200, None))

    def test_bad_input(self) -> None:
        bad: list[tuple[type[Exception], str, tuple[Any, ...]]] = [
            (ValueError, "address_or_network", ("nonsense",)),
            (ValueError, "address_or_network", ("",)),
            (ValueError, "address_or_network", ("0.0.0.0/0",)),
            (ValueError, "address_or_network", ("::/0",)),
            (ValueError, "address_or_network", ("203.0.113.9\x00",)),
            (TypeError, "address_or_network", (None,)),
            (TypeError, "address_or_network", (b"203.0.113.9",)),
            (TypeError, "address_or_network", (3405803785,)),
            (ValueError, "seconds", ("203.0.113.9", 0)),
            (ValueError, "seconds", ("203.0.113.9", 0.5)),
            (ValueError, "seconds", ("203.0.113.9", -1)),
            (ValueError, "seconds", ("203.0.113.9", float("nan"))),
            (ValueError, "seconds", ("203.0.113.9", timedelta(days=367))),
            (TypeError, "seconds", ("203.0.113.9", "1h")),
            (ValueError, "reason", ("203.0.113.9", 60, "x" * 201)),
            (ValueError, "reason", ("203.0.113.9", 60, "two\nlines")),
            (TypeError, "reason", ("203.0.113.9", 60, None)),
        ]
        for error, argument, given in bad:
            with self.subTest(given=given), self.assertRaisesRegex(error, argument):
                security.ban_client(*given)
        for value, error in (("nonsense", ValueError), (7, TypeError), ("203.0.113.9", security.NotFoundError)):
            with self.subTest(given=value), self.assertRaises(error):
                security.lift_ban(value)  # type: ignore[arg-type]
        self.assertEqual(security.list_bans(), [])


def length(ban: Any) -> timedelta:
    since, until = (datetime.fromisoformat(ban[end].replace("Z", "+00:00")) for end in ("since", "until"))
    return until - since


if __name__ == "__main__":
    unittest.main()
