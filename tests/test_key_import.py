"""security.import_api_keys: keys that another system issued."""

from __future__ import annotations

import hashlib
import json
import threading
import unittest
from datetime import datetime, timedelta, timezone
from typing import Any

import security
from engine_case import EngineCase

KEY = "acme.Zk3hTq9vXw2LmN8rB5yC"
SLOW = "legacy_0123456789abcdef"
# Made with argon2-cffi.
ARGON2 = "$argon2id$v=19$m=1024,t=2,p=2$FjYBD4bHchCKTzpX+kGZgw$+JIakGE8IjzD0SGu+o4a+u8+Tyu4SZtcmiGje1l8r8c"


def record(**fields: Any) -> dict[str, Any]:
    return {"name": "billing", "hash": hashlib.sha256(KEY.encode()).hexdigest(), **fields}


class KeyImport(EngineCase):
    def test_records_become_keys(self) -> None:
        end = datetime.now(timezone.utc) + timedelta(days=1)
        given = [
            record(owner="finance", scopes=["read"], expires_at=end, metadata={"old_id": 7}),
            {"name": "slow", "hash": ARGON2, "key_prefix": "legacy_0"},
        ]
        report = security.import_api_keys(given)
        self.assertEqual(report, {"imported": 2, "present": 0, "rejected": 0, "rejections": []})
        check = security.check_api_key(KEY, scopes=["read"])
        self.assertEqual((check["valid"], check["name"], check["owner"]), (True, "billing", "finance"))
        self.assertEqual(security.check_api_key(KEY, scopes=["write"])["reason"], "scope")
        self.assertTrue(security.verify_api_key(SLOW))
        self.assertFalse(security.verify_api_key(SLOW + "0"))
        listed = security.list_api_keys(name="billing")[0]
        self.assertEqual((listed["metadata"], listed["id"]), ({"old_id": 7}, check["key_id"]))
        rotated = security.rotate_api_key(listed["id"])
        self.assertEqual([security.verify_api_key(key) for key in (KEY, rotated["key"])], [False, True])
        self.assertEqual(security.import_api_keys(iter(given))["present"], 2)

    def test_a_key_of_our_shape_may_come_from_elsewhere(self) -> None:
        elsewhere = "import security; print(security.issue_api_key('moved')['key'])"
        token = self.run_python(elsewhere, SECURITY_DATA_DIR=str(self.folder / "elsewhere")).strip()
        self.assertEqual(security.check_api_key(token)["reason"], "unknown")
        security.import_api_keys([record(hash=hashlib.sha256(token.encode()).hexdigest())])
        for _ in range(2):
            self.assertTrue(security.check_api_key(token)["valid"])
        security.revoke_api_key(security.list_api_keys()[0]["id"])
        self.assertEqual(security.check_api_key(token)["reason"], "revoked")

    def test_files(self) -> None:
        lines, array = self.folder / "keys.jsonl", self.folder / "keys.json"
        lines.write_text(json.dumps(record()) + "\n\n")
        array.write_text(json.dumps([record(), record(hash="x")]))
        self.assertEqual(security.import_api_keys(lines)["imported"], 1)
        self.assertEqual(security.import_api_keys(str(array), prefix="acme")["rejected"], 1)
        with self.assertRaises(FileNotFoundError):
            security.import_api_keys(self.folder / "missing")
        array.write_text("no json")
        with self.assertRaisesRegex(ValueError, "records_or_path"):
            security.import_api_keys(array)

    def test_what_is_wrong_is_told_without_the_hash(self) -> None:
        report = security.import_api_keys([record(scope=["read"]), record(hash="7777"), record(expires_at="never")])
        self.assertEqual([entry["record"] for entry in report["rejections"]], [1, 2, 3])
        self.assertIn("scope", report["rejections"][0]["reason"])
        self.assertNotIn("7777", str(report))
        for wrong in (None, 7, record(), b"x", [7, object()]):
            with self.assertRaisesRegex(TypeError, "records_or_path"):
                security.import_api_keys(wrong)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "prefix"):
            security.import_api_keys([], prefix="A-B")

    def test_another_process_takes_them_as_well(self) -> None:
        security.import_api_keys([record()])
        printed = self.run_python(f"import security; print(security.verify_api_key({KEY!r}))")
        self.assertEqual(printed.strip(), "True")

    def test_threads_go_on_while_a_slow_hash_is_computed(self) -> None:
        security.import_api_keys([{"name": "slow", "hash": ARGON2, "key_prefix": "legacy_0"}])
        answers: list[bool] = []
        threads = [threading.Thread(target=lambda: answers.append(security.verify_api_key(SLOW))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [True] * 8)


if __name__ == "__main__":
    unittest.main()
