"""security.modules.credentials: the whole surface, with good and bad input."""

from __future__ import annotations

import json
import threading
import unittest
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import security
from engine_case import CREDENTIALS, JUNK, VALUES, EngineCase

VERIFY: dict[str, Callable[..., bool]] = {
    "API_KEY": security.verify_api_key,
    "DB_PASSWORD": security.verify_db_password,
    "SECRET_TOKEN": security.verify_secret_token,
    "MAIL_API_KEY": security.verify_mail_api_key,
    "LOGGING_API_KEY": security.verify_logging_api_key,
}


def newest(limit: int = 1) -> list[dict[str, Any]]:
    security.flush()
    return security.get_recent_usage(limit=limit)


class Verify(EngineCase):
    def test_each_function_knows_its_own_credential_alone(self) -> None:
        for name, verify in VERIFY.items():
            for other in CREDENTIALS:
                with self.subTest(function=name, credential=other):
                    self.assertIs(verify(VALUES[other]), name == other)

    def test_junk_of_every_shape_is_false(self) -> None:
        for name, verify in VERIFY.items():
            for at, junk in enumerate(JUNK):
                with self.subTest(function=name, junk=f"{at}: {type(junk).__name__}"):
                    self.assertIs(verify(junk), False)

    def test_bytes_count_as_text(self) -> None:
        value = VALUES["API_KEY"].encode()
        for presented in (value, bytearray(value), memoryview(value)):
            self.assertIs(security.verify_api_key(presented), True)

    def test_nothing_is_accepted_when_nothing_is_set(self) -> None:
        with self.subTest("in a process without credentials"):
            code = (
                "import security\n"
                "print([f(v) for f in (security.verify_api_key, security.verify_db_password,"
                " security.verify_secret_token, security.verify_mail_api_key, security.verify_logging_api_key)"
                " for v in ('', b'', None, 'None')])"
            )
            empty = dict.fromkeys(CREDENTIALS, "")
            data = str(self.folder / "other")
            self.assertNotIn("True", self.run_python(code, **empty, SECURITY_DATA_DIR=data))

    def test_the_key_is_the_only_positional_argument(self) -> None:
        with self.assertRaises(TypeError):
            security.verify_api_key()  # type: ignore[call-arg]
        self.assertTrue(security.verify_api_key(api_key=VALUES["API_KEY"]))

    def test_options_are_recorded_and_never_collide(self) -> None:
        security.verify_api_key(
            "wrong",
            request_id="request-1",
            client_ip="198.51.100.7",
            user_agent="agent/1",
            user_id=7,
            component="checkout",
            operation="pay",
            error="refused",
            success=True,
            timestamp="then",
            tenant={"name": "shop", "tags": ["a"]},
            at_hand=datetime(2026, 1, 2, tzinfo=timezone.utc),
            odd=object,
        )
        record = newest()[0]
        expected = {
            "request_id": "request-1",
            "client_ip": "198.51.100.7",
            "ip_address": "198.51.100.7",
            "user_agent": "agent/1",
            "user_id": "7",
            "component": "checkout",
            "operation": "pay",
            "error": "refused",
            "tenant": {"name": "shop", "tags": ["a"]},
            "at_hand": "2026-01-02T00:00:00Z",
            "credential_type": "API_KEY",
        }
        self.assertEqual({name: record[name] for name in expected}, expected)
        self.assertIs(record["success"], False, "a caller's word does not make a wrong key right")
        self.assertNotEqual(record["timestamp"], "then")
        self.assertIn("object", record["odd"])
        json.dumps(record)

    def test_ip_address_is_the_older_name_of_client_ip(self) -> None:
        security.verify_db_password("wrong", ip_address="198.51.100.8")
        self.assertEqual(newest()[0]["client_ip"], "198.51.100.8")
        security.verify_db_password("wrong", ip_address="198.51.100.8", client_ip="198.51.100.9")
        self.assertEqual(newest()[0]["client_ip"], "198.51.100.9")

    def test_no_secret_is_recorded(self) -> None:
        for verify in VERIFY.values():
            verify("a wrong secret 5150")
        for name, value in VALUES.items():
            VERIFY[name](value)
        security.flush()
        for path in self.data_dir.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                for secret in (*VALUES.values(), "a wrong secret 5150"):
                    self.assertNotIn(secret.encode(), content, path)

    def test_many_threads_at_once(self) -> None:
        wrong: list[bool] = []

        def use() -> None:
            for _ in range(200):
                if not security.verify_api_key(VALUES["API_KEY"]) or security.verify_api_key("wrong"):
                    wrong.append(True)

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(len(newest(limit=10_000)), 8 * 400)


class Usage(EngineCase):
    def test_newest_first(self) -> None:
        for number in range(5):
            security.log_credential_usage("mail_api_key", "mailer", f"send {number}", request_id=f"r{number}")
        self.assertEqual([record["request_id"] for record in newest(limit=3)], ["r4", "r3", "r2"])

    def test_success_follows_the_error_unless_it_is_said(self) -> None:
        for options, success in (({}, True), ({"error": "no route"}, False), ({"error": "x", "success": True}, True)):
            security.log_credential_usage("API_KEY", "c", "o", **options)
            self.assertIs(newest()[0]["success"], success, options)

    def test_the_applications_own_words_are_types_too(self) -> None:
        security.log_credential_usage("signing key", "release", "sign")
        self.assertEqual(newest()[0]["credential_type"], "signing key")

    def test_survives_the_process(self) -> None:
        code = "import security; security.log_credential_usage('api_key', 'worker', 'job', request_id='from-there')"
        self.run_python(code)
        self.assertEqual(newest()[0]["request_id"], "from-there")

    def test_bad_input(self) -> None:
        for arguments in (("", "c", "o"), ("api_key", " ", "o"), ("api_key", "c", "")):
            with self.assertRaises(ValueError):
                security.log_credential_usage(*arguments)
        with self.assertRaisesRegex(TypeError, "component"):
            security.log_credential_usage("api_key", None, "o")  # type: ignore[arg-type]
        for limit in (0, -1):
            with self.assertRaisesRegex(ValueError, "limit"):
                security.get_recent_usage(limit=limit)
        with self.assertRaisesRegex(TypeError, "limit"):
            security.get_recent_usage(limit="many")  # type: ignore[arg-type]

    def test_a_quiet_log_is_not_suspicious(self) -> None:
        security.verify_api_key(VALUES["API_KEY"])
        self.assertEqual(security.analyze_for_suspicious_activity(), [])

    def test_guessing_is(self) -> None:
        for number in range(40):
            security.verify_api_key(f"guess-{number}", client_ip="203.0.113.5", request_id=f"guess-{number}")
        security.flush()
        findings = security.analyze_for_suspicious_activity()
        self.assertTrue(findings)
        worst = findings[0]
        self.assertEqual(worst["credential_type"], "API_KEY")
        self.assertIn("203.0.113.5", worst["client_ips"])
        self.assertTrue(set(worst["evidence"]) <= {f"guess-{number}" for number in range(40)})


class Strength(EngineCase):
    def test_a_good_one(self) -> None:
        report = security.validate_credential("q7Zt2LmX9vKc4RbW8nHs", "api_key", "request-9")
        self.assertTrue(report)
        self.assertEqual(report["request_id"], "request-9")
        self.assertEqual(report["problems"], [])
        json.dumps(report)

    def test_bad_ones(self) -> None:
        for candidate in ("password", "", None, b"\xff" * 40, 12345, "aaaaaaaaaaaaaaaaaaaaaaaaaa"):
            report = security.validate_credential(candidate, "DB_PASSWORD", "r")
            self.assertFalse(report, candidate)
            self.assertTrue(report["problems"])

    def test_unknown_type(self) -> None:
        with self.assertRaisesRegex(ValueError, "credential_type.*API_KEY"):
            security.validate_credential("x", "door_key", "r")


class Rotation(EngineCase):
    def test_both_spellings_and_every_type(self) -> None:
        lengths = {"API_KEY": 32, "MAIL_API_KEY": 32, "LOGGING_API_KEY": 32, "DB_PASSWORD": 24, "SECRET_TOKEN": 48}
        for name in CREDENTIALS:
            for spelling in (name, name.lower()):
                with self.subTest(credential=spelling):
                    new = security.rotate_credential(spelling, f"rotate-{spelling}")
                    self.assertEqual(len(new), lengths[name])
                    self.assertTrue(VERIFY[name](new))
                    self.assertFalse(VERIFY[name](VALUES[name]))

    def test_holds_for_processes_that_start_later_with_the_old_environment(self) -> None:
        new = security.rotate_credential("API_KEY")
        code = "import sys, security; print([security.verify_api_key(key) for key in sys.argv[1:]])"
        self.assertEqual(self.run_python(code, VALUES["API_KEY"], new), "[False, True]\n")
        shown = security.status()["credentials"]["API_KEY"]
        self.assertIn("superseded by rotation at", shown["superseded"])

    def test_a_value_never_seen_before_is_the_operators_word(self) -> None:
        security.rotate_credential("API_KEY")
        code = "import sys, security; print(security.verify_api_key(sys.argv[1]))"
        self.assertEqual(self.run_python(code, "brand new 71", API_KEY="brand new 71"), "True\n")

    def test_grace(self) -> None:
        new = security.rotate_credential("API_KEY", grace_seconds=3600)
        self.assertTrue(security.verify_api_key(VALUES["API_KEY"]))
        self.assertTrue(security.verify_api_key(new))
        newer = security.rotate_credential("API_KEY", grace_seconds=timedelta(0))
        self.assertFalse(security.verify_api_key(VALUES["API_KEY"]))
        self.assertFalse(security.verify_api_key(new))
        self.assertTrue(security.verify_api_key(newer))

    def test_bad_input(self) -> None:
        with self.assertRaisesRegex(ValueError, "credential_type"):
            security.rotate_credential("door_key")
        with self.assertRaisesRegex(TypeError, "credential_type"):
            security.rotate_credential(None)  # type: ignore[arg-type]
        for grace in (-1, float("nan"), float("inf"), timedelta(days=-1), timedelta(days=400), 10**400):
            with self.assertRaisesRegex(ValueError, "grace_seconds"):
                security.rotate_credential("api_key", grace_seconds=grace)
        with self.assertRaisesRegex(TypeError, "grace_seconds"):
            security.rotate_credential("api_key", grace_seconds="soon")  # type: ignore[arg-type]
        self.assertTrue(security.verify_api_key(VALUES["API_KEY"]), "nothing was rotated")

    def test_age(self) -> None:
        periods = {"API_KEY": 90, "MAIL_API_KEY": 90, "LOGGING_API_KEY": 90, "DB_PASSWORD": 60, "SECRET_TOKEN": 30}
        metadata = security.init_credential_metadata()
        self.assertEqual({name: kept["rotate_every_days"] for name, kept in metadata.items()}, periods)
        reports = {report["credential_type"]: report for report in security.check_credential_expiration()}
        self.assertEqual(set(reports), set(CREDENTIALS))
        for name, days in periods.items():
            self.assertEqual(reports[name]["status"], "ok")
            self.assertIn(reports[name]["days_left"], (days - 1, days))

    def test_the_policy_is_configurable(self) -> None:
        policies = {"API_KEY": {"rotate_every_days": 10, "warn_before_days": 9, "length": 32, "complexity": "high"}}
        self.reopen(config={"policies": policies})
        days = {report["credential_type"]: report["days_left"] for report in security.check_credential_expiration()}
        self.assertIn(days["API_KEY"], (9, 10))
        self.assertIn(days["DB_PASSWORD"], (59, 60))

    def test_schedule(self) -> None:
        plan = security.schedule_credential_rotation()
        self.assertEqual({entry["credential_type"] for entry in plan}, set(CREDENTIALS))
        self.assertTrue(all(entry["status"] == "planned" for entry in plan), plan)
        metadata = security.init_credential_metadata()
        self.assertTrue(all(kept["planned_for"] for kept in metadata.values()))


class IssuedKeys(EngineCase):
    def test_life_of_a_key(self) -> None:
        issued = security.issue_api_key("reporting", scopes=["reports:read"], owner="billing", metadata={"ticket": 7})
        key = issued["key"]
        self.assertTrue(key.startswith("sk_"))
        self.assertTrue(security.verify_api_key(key))
        check = security.check_api_key(key, scopes=["reports:read"])
        self.assertTrue(check)
        self.assertEqual(
            (check["reason"], check["key_id"], check["name"], check["owner"]),
            ("ok", issued["id"], "reporting", "billing"),
        )
        rotated = security.rotate_api_key(issued["id"])
        self.assertEqual(rotated["id"], issued["id"])
        self.assertEqual(security.check_api_key(key)["reason"], "unknown")
        self.assertTrue(security.verify_api_key(rotated["key"]))
        security.revoke_api_key(issued["id"], reason="no longer needed")
        self.assertFalse(security.verify_api_key(rotated["key"]))
        self.assertEqual(security.check_api_key(rotated["key"])["reason"], "revoked")

    def test_the_key_is_shown_once(self) -> None:
        issued = security.issue_api_key("once")
        self.assertNotIn("key", security.list_api_keys()[0])
        security.flush()
        secret = issued["key"].rpartition("_")[2].encode()
        for path in self.data_dir.rglob("*"):
            if path.is_file():
                self.assertNotIn(secret, path.read_bytes(), path)

    def test_reasons(self) -> None:
        plain = security.issue_api_key("plain", scopes={"read"})["key"]
        bound = security.issue_api_key("bound", allowed_networks=("192.0.2.0/24",))["key"]
        limited = security.issue_api_key("limited", rate_limit="1/hour")["key"]
        short = security.issue_api_key("short", expires_in=timedelta(microseconds=1))["key"]
        damaged = plain[:-1] + ("a" if plain[-1] != "a" else "b")
        self.assertEqual(security.check_api_key(plain, scopes=["write"])["reason"], "scope")
        # What is no token of ours may still be a wrong API_KEY.
        self.assertIn(security.check_api_key(damaged)["reason"], ("malformed", "unknown"))
        self.assertEqual(security.check_api_key(None)["reason"], "malformed")
        self.assertEqual(security.check_api_key(short)["reason"], "expired")
        self.assertEqual(security.check_api_key(bound)["reason"], "network")
        self.assertEqual(security.check_api_key(bound, client_ip="198.51.100.1")["reason"], "network")
        self.assertEqual(security.check_api_key(bound, client_ip="192.0.2.9")["reason"], "ok")
        self.assertEqual(security.check_api_key(limited)["reason"], "ok")
        refused = security.check_api_key(limited, request_id="r-7")
        self.assertEqual((refused["reason"], refused["request_id"]), ("rate_limited", "r-7"))
        self.assertGreater(refused["retry_after"], 0)

    def test_the_documents_key_has_every_scope(self) -> None:
        check = security.check_api_key(VALUES["API_KEY"], scopes=["anything"])
        self.assertTrue(check)
        self.assertIsNone(check["key_id"])

    def test_junk_is_an_answer(self) -> None:
        for junk in JUNK:
            check = security.check_api_key(junk)
            self.assertFalse(check)
            self.assertIn(check["reason"], ("malformed", "unknown", "locked_out"))

    def test_a_canary_raises_an_alert(self) -> None:
        canary = security.issue_api_key("in the wiki", canary=True)
        security.verify_api_key(canary["key"], client_ip="198.51.100.3")
        alert = security.threat_detector.get_recent_alerts(severity="critical")[0]
        self.assertEqual(alert["context"]["key_id"], canary["id"])

    def test_list_filters(self) -> None:
        first = security.issue_api_key("one", owner="a")["id"]
        second = security.issue_api_key("two", owner="b")["id"]
        security.revoke_api_key(first)

        def ids(**filters: Any) -> set[str]:
            return {key["id"] for key in security.list_api_keys(**filters)}

        self.assertEqual(ids(), {first, second})
        self.assertEqual(ids(owner="b"), {second})
        self.assertEqual(ids(name="one"), {first})
        self.assertEqual((ids(active=True), ids(active=False)), ({second}, {first}))
        with self.assertRaises(TypeError):
            ids(colour="red")

    def test_bad_input(self) -> None:
        bad: list[tuple[type[Exception], str, dict[str, Any]]] = [
            (TypeError, "scopes", {"scopes": "read"}),
            (TypeError, "scopes", {"scopes": [1]}),
            (ValueError, "scopes", {"scopes": [""]}),
            (ValueError, "expires_in", {"expires_in": -1}),
            (TypeError, "expires_in", {"expires_in": True}),
            (ValueError, "allowed_networks", {"allowed_networks": ["nowhere"]}),
            (ValueError, "rate_limit", {"rate_limit": "often"}),
            (ValueError, "prefix", {"prefix": "no spaces"}),
            (TypeError, "metadata", {"metadata": {"x": object()}}),
            (TypeError, "metadata", {"metadata": {1: "x"}}),
            (TypeError, "metadata", {"metadata": [1]}),
        ]
        for error, argument, options in bad:
            with self.subTest(options=str(options)), self.assertRaisesRegex(error, argument):
                security.issue_api_key("x", **options)
        with self.assertRaisesRegex(ValueError, "name"):
            security.issue_api_key("")
        self.assertEqual(security.list_api_keys(), [])

    def test_unknown_ids(self) -> None:
        for call in (security.revoke_api_key, security.rotate_api_key):
            with self.assertRaises(security.NotFoundError) as raised:
                call("0000000000000000z")
            self.assertIsInstance(raised.exception, LookupError)
            self.assertEqual(raised.exception.code, "not-found")


class Audit(EngineCase):
    def test_who_did_what(self) -> None:
        issued = security.issue_api_key("one")
        security.revoke_api_key(issued["id"], reason="leaked")
        security.flush()
        events = [record["event"] for record in security.get_audit_log(limit=2)]
        self.assertEqual(events, ["key_revoked", "key_issued"])
        only = security.get_audit_log(event="key_issued")
        self.assertEqual([record["details"]["key_id"] for record in only], [issued["id"]])

    def test_an_edited_line_is_found(self) -> None:
        for number in range(3):
            security.issue_api_key(f"key {number}", owner="somebody")
        report = security.verify_audit_log()
        self.assertTrue(report["intact"])
        self.assertIsNone(report["first_broken"])
        security.close()
        path = next(iter(sorted((self.data_dir / "logs").glob("audit-*"))))
        path.write_text(path.read_text("utf-8").replace("somebody", "somebodx", 1), "utf-8")
        security.initialize(data_dir=self.data_dir)
        report = security.verify_audit_log()
        self.assertFalse(report["intact"])
        self.assertIsNotNone(report["first_broken"])

    def test_bad_input(self) -> None:
        with self.assertRaisesRegex(ValueError, "limit"):
            security.get_audit_log(limit=0)
        with self.assertRaises(TypeError):
            security.get_audit_log(event=object())


class BrokenStore(EngineCase):
    def test_nothing_is_accepted_and_the_error_says_what(self) -> None:
        security.close()
        database = self.data_dir / "credentials" / "credentials.sqlite"
        for path in (self.data_dir / "credentials").glob("credentials.sqlite*"):
            path.unlink()
        database.write_bytes(b"this is no database " * 400)
        with self.assertRaises(security.StoreError) as raised:
            security.initialize(data_dir=self.data_dir)
            security.verify_api_key(VALUES["API_KEY"])
        self.assertIsInstance(raised.exception, security.SecurityError)
        self.assertTrue(raised.exception.code.startswith("store-"))
        database.unlink()


if __name__ == "__main__":
    unittest.main()
