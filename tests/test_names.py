"""Names that would be paths, control a terminal, turn the reading direction, or look like another name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import security
from engine_case import EngineCase, clean_environment

# Not fit for any text that people read.
INVISIBLE = (
    "a\x00b",
    "a\nb",
    "a\r\nb",
    "\x1b[2Ja",
    "\u202egpj.exe",
    "\u2066x\u2069",
    "ad\u200bmin",
    "a\u2028b",
    "a\U000e0041",
    "x" * 100_000,
)
# Fit for people, and for no place where a file, a folder or an exact word is meant.
PATHS = ("../../../outside", "/tmp/outside", "..\\outside", ".", "..", "a/../b", "a//b", "a/", ".hidden", "C:\\x")
# U+0430, full width letters, two code points for one letter: none is the name that it looks like.
CONFUSABLE = ("\u0430dmin", "\uff41dmin", "adm\u0131n", "admin\u0301", "\uff0e\uff0e\uff0foutside")


class Names(EngineCase):
    environment: ClassVar[dict[str, str]] = {"SECURITY_MASTER_KEY": "5d" * 32}

    def everything(self) -> set[Path]:
        return {path for path in self.folder.rglob("*") if self.data_dir not in path.parents}

    def test_where_an_exact_word_is_meant_nothing_else_passes(self) -> None:
        before = self.everything()
        calls: tuple[Callable[[str], object], ...] = (
            lambda name: security.store_secret(name, "value"),
            lambda name: security.read_secret(name),
            lambda name: security.delete_secret(name),
            lambda name: security.issue_api_key("fine", prefix=name),
            lambda name: security.create_taxii_config(name, "https://taxii.example.org/"),
            lambda name: security.rotate_credential(name),
            lambda name: security.on_rotate(name, create=None),
        )
        for call in calls:
            for name in (*INVISIBLE, *PATHS, *CONFUSABLE, "a\ud800", "", " "):
                with self.subTest(name=name[:40]), self.assertRaises(ValueError) as refused:
                    call(name)
                self.assert_plain(str(refused.exception))
        self.assertEqual(security.list_secrets(), [])
        self.assertEqual(security.list_api_keys(), [])
        self.assertEqual(self.everything(), before, "a file outside the data directory")

    def test_what_people_read_holds_nothing_invisible(self) -> None:
        key_id = security.issue_api_key("a key")["id"]
        calls: tuple[Callable[[str], object], ...] = (
            security.issue_api_key,
            lambda name: security.issue_api_key("fine", owner=name),
            lambda name: security.issue_api_key("fine", scopes=[name]),
            lambda name: security.issue_api_key("fine", metadata={name: "x"}),
            lambda name: security.revoke_api_key(key_id, name),
            lambda name: security.ban_client("192.0.2.1", reason=name),
            lambda name: security.add_ioc("domain", "evil.example", name, 50),
            lambda name: security.add_ioc("domain", "evil.example", "feed", 50, tags=[name]),
            lambda name: security.load_warninglist({"name": name, "type": "string", "list": ["a"]}),
        )
        for call in calls:
            for name in INVISIBLE:
                with self.subTest(name=name[:40]), self.assertRaises(ValueError) as refused:
                    call(name)
                self.assert_plain(str(refused.exception))
        self.assertEqual([key["id"] for key in security.list_api_keys(active=True)], [key_id])

    def test_names_that_look_alike_are_not_alike(self) -> None:
        ids = {name: security.issue_api_key(name, owner=name)["id"] for name in ("admin", *CONFUSABLE)}
        for name, key_id in ids.items():
            self.assertEqual([key["id"] for key in security.list_api_keys(name=name)], [key_id])
            self.assertEqual([key["id"] for key in security.list_api_keys(owner=name)], [key_id])
        key = security.issue_api_key("scoped", scopes=["admin"])["key"]
        self.assertEqual(security.check_api_key(key, scopes=["admin"])["reason"], "ok")
        for scope in CONFUSABLE:
            self.assertEqual(security.check_api_key(key, scopes=[scope])["reason"], "scope")
            with self.assertRaises(ValueError):
                security.issue_api_key("scoped", scopes=[scope])

    def test_what_strangers_send_reaches_no_terminal(self) -> None:
        before = self.everything()
        for name in (*INVISIBLE, *PATHS, *CONFUSABLE):
            security.log_credential_usage("api_key", name, name, user_agent=name, client_ip=name)
            security.verify_api_key(name, component=name)
            security.rotate_credential("api_key", request_id=name[:200])
        security.flush()
        self.assertEqual(self.everything(), before)
        self.assertTrue(security.verify_audit_log()["intact"])
        environment = clean_environment(**self.environment, SECURITY_DATA_DIR=str(self.data_dir))
        for arguments in (["usage"], ["audit", "show"], ["suspicion"]):
            command = [sys.executable, "-m", "security", *arguments]
            shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
            self.assertIn(shown.returncode, (0, 10), (arguments, shown.stderr))
            self.assertTrue(shown.stdout.strip(), arguments)
            self.assert_plain(shown.stdout)

    def assert_plain(self, text: str) -> None:
        for character in "\x00\r\x1b\u202e\u2066\u200b\u2028\U000e0041":
            self.assertNotIn(character, text)
        self.assertLess(max(map(len, text.splitlines()), default=0), 2000)
