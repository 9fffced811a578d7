"""What callers give by mistake: ten megabytes where a word belongs, and a whole key where its id does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import security
from engine_case import EngineCase

HUGE = ("x" * 10_000_000, "\x00" * 10_000_000, "ü" * 5_000_000)
RULE = {"ioc": {"type": "ip", "value": "192.0.2.1"}}


class Arguments(EngineCase):
    environment: ClassVar[dict[str, str]] = {"SECURITY_MASTER_KEY": "5d" * 32}

    def test_ten_megabytes_are_refused_by_name_and_not_shown(self) -> None:
        key_id = security.issue_api_key("a key")["id"]
        calls: tuple[Callable[[str], object], ...] = (
            security.issue_api_key,
            lambda huge: security.issue_api_key("fine", owner=huge),
            lambda huge: security.issue_api_key("fine", scopes=[huge]),
            lambda huge: security.issue_api_key("fine", prefix=huge),
            lambda huge: security.issue_api_key("fine", allowed_networks=[huge]),
            lambda huge: security.issue_api_key("fine", rate_limit=huge),
            lambda huge: security.issue_api_key("fine", metadata={"note": huge}),
            security.revoke_api_key,
            lambda huge: security.revoke_api_key(key_id, huge),
            security.rotate_api_key,
            security.rotate_credential,
            lambda huge: security.rotate_credential("API_KEY", request_id=huge),
            lambda huge: security.store_secret(huge, "value"),
            lambda huge: security.store_secret("name", huge),
            lambda huge: security.store_secret("name", "value", metadata={"note": huge}),
            security.read_secret,
            security.delete_secret,
            security.ban_client,
            lambda huge: security.ban_client("192.0.2.1", reason=huge),
            security.lift_ban,
            lambda huge: security.add_ioc(huge, "192.0.2.1", "feed", 50),
            lambda huge: security.add_ioc("domain", huge, "feed", 50),
            lambda huge: security.add_ioc("domain", "evil.example", huge, 50),
            lambda huge: security.add_ioc("domain", "evil.example", "feed", 50, tags=[huge]),
            lambda huge: security.check_ioc(huge, "evil.example"),
            lambda huge: security.check_ioc("domain", huge),
            lambda huge: security.create_threat_rule(huge, "fine", RULE, "low"),
            lambda huge: security.create_threat_rule("fine", huge, RULE, "low"),
            lambda huge: security.load_warninglist({"name": huge, "type": "string", "list": ["a"]}),
        )
        for huge in HUGE:
            for number, call in enumerate(calls):
                with self.subTest(call=number, huge=huge[:1]):
                    with self.assertRaises((ValueError, security.NotFoundError)) as refused:
                        call(huge)
                    self.assertLess(len(str(refused.exception)), 600)
            self.assertFalse(security.verify_api_key(huge))
            self.assertEqual(security.check_api_key(huge)["reason"], "malformed")
        self.assertEqual([key["revoked_at"] for key in security.list_api_keys()], [None])
        self.assertTrue(security.verify_audit_log()["intact"])

    def test_a_whole_key_given_for_its_id_or_as_a_reason_is_recorded_nowhere(self) -> None:
        issued = security.issue_api_key("a key")
        key = issued["key"]
        secret = key.rpartition("_")[2]
        for call in (
            security.revoke_api_key,
            security.rotate_api_key,
            security.rotate_credential,
            security.issue_api_key,
        ):
            with self.assertRaises((ValueError, security.NotFoundError)) as refused:
                call(key)
            self.assertNotIn(secret, str(refused.exception))
        with self.assertRaises(ValueError):
            security.issue_api_key("fine", owner=f"whoever has {key}")
        security.ban_client("192.0.2.1", reason=f"it used {key}")
        security.rotate_credential("API_KEY", request_id=key)
        revoked = security.revoke_api_key(issued["id"], f"found in a paste: {key}")
        self.assertIn(f"found in a paste: sk_{issued['id']}_", str(revoked["revoked_reason"]))
        self.assertNotIn(secret, str(revoked) + str(security.get_audit_log(limit=50)))
        security.close()
        self.assertEqual([path for path, content in self.files() if secret.encode() in content], [])

    def files(self) -> Iterator[tuple[str, bytes]]:
        for path in self.data_dir.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()
