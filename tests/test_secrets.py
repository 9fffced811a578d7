"""The secret store from Python: opaque values, versions, master keys, and what never shows."""

from __future__ import annotations

import copy
import gc
import json
import logging
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import traceback
import unittest
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import security
from engine_case import EngineCase, clean_environment

# Never in the source as a whole, so that no file but one of ours can hold it.
CANARY = "-".join(("canary", "5150", "hunter", "2"))


class SecretCase(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        quiet = warnings.catch_warnings()
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)
        warnings.filterwarnings("ignore", "a master key was made", UserWarning)

    def key_files(self) -> list[Path]:
        return sorted((self.data_dir / "credentials").glob("master-*.key"))


class Surface(SecretCase):
    def test_from_the_first_version_to_the_end(self) -> None:
        first = security.store_secret("mail/smtp", "one", owner="shop", rotate_days=30)
        self.assertEqual(
            {name: first[name] for name in ("name", "version", "metadata", "deleted_at", "destroyed_at")},
            {
                "name": "mail/smtp",
                "version": 1,
                "metadata": {"owner": "shop", "rotate_days": 30},
                "deleted_at": None,
                "destroyed_at": None,
            },
        )
        self.assertTrue(first["created_at"].endswith("Z"))
        self.assertEqual(security.store_secret(name="mail/smtp", value="two", if_version=1)["version"], 2)
        self.assertEqual(security.read_secret("mail/smtp").reveal(), "two")
        self.assertEqual(security.read_secret("mail/smtp", version=1).reveal(), "one")
        listed = security.list_secrets()
        self.assertEqual([(one["name"], one["version"]) for one in listed], [("mail/smtp", 2)])
        self.assertEqual([one["version"] for one in listed[0]["versions"]], [2, 1])
        json.dumps(listed)
        with self.assertRaises(security.StoreError) as conflict:
            security.store_secret("mail/smtp", "three", if_version=1)
        self.assertEqual(conflict.exception.code, "store-conflict")
        self.assertEqual(security.delete_secret("mail/smtp"), 2)
        with self.assertRaises(security.NotFoundError) as gone:
            security.read_secret("mail/smtp")
        self.assertEqual(gone.exception.code, "secret-ended")
        self.assertEqual(security.list_secrets(), [])
        self.assertEqual(len(security.list_secrets(include_deleted=True)), 1)
        self.assertEqual(security.restore_secret("mail/smtp", version=1), 1)
        self.assertEqual(security.read_secret("mail/smtp", version=1).reveal(), "one")
        self.assertEqual(security.delete_secret("mail/smtp", destroy=True), 2)
        self.assertEqual(security.restore_secret("mail/smtp"), 0)

    def test_every_kind_of_value_comes_back(self) -> None:
        text = "grüße 🐟"
        for value in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode())):
            security.store_secret("a", value)
            self.assertEqual(security.read_secret("a").reveal(), text)
            self.assertEqual(security.read_secret("a").reveal_bytes(), text.encode())
        security.store_secret("b", bytes(range(256)))
        read = security.read_secret("b")
        self.assertEqual(read.reveal_bytes(), bytes(range(256)))
        with self.assertRaises(ValueError):
            read.reveal()
        security.store_secret("c", read)
        self.assertEqual(security.read_secret("c"), read)
        security.store_secret("d", "x" * 65536)
        self.assertEqual(len(security.read_secret("d")), 65536)

    def test_what_is_out_of_bounds(self) -> None:
        names = ("", "../a", "a/../b", "/etc/passwd", "a\0b", "a\u202eb", "p\u0430ypal", "\ud800", "n" * 129, "a b")
        for name in names:
            for call in (
                lambda name: security.store_secret(name, "x"),
                security.read_secret,
                security.delete_secret,
                security.restore_secret,
            ):
                with self.subTest(name=name, call=call), self.assertRaisesRegex(ValueError, "^name: "):
                    call(name)
        for value in ("", b"", "x" * 65537, "\ud800" + CANARY):
            with self.assertRaisesRegex(ValueError, "^value: ") as refused:
                security.store_secret("a", value)
            self.assertNotIn(CANARY, str(refused.exception))
        for wrong in (None, 7, 1.5, [CANARY], {CANARY: 1}, object()):
            with self.assertRaisesRegex(TypeError, "'value'") as mistyped:
                security.store_secret("a", wrong)  # type: ignore[arg-type]
            self.assertNotIn(CANARY, str(mistyped.exception))
            with self.assertRaisesRegex(TypeError, "'name'"):
                security.read_secret(wrong)  # type: ignore[arg-type]
        for version in (0, -1, 1 << 70):
            with self.assertRaisesRegex(ValueError, "version"):
                security.read_secret("a", version=version)
        with self.assertRaisesRegex(ValueError, "if_version"):
            security.store_secret("a", "x", if_version=-1)
        with self.assertRaisesRegex(TypeError, "metadata"):
            security.store_secret("a", "x", owner=object())
        with self.assertRaisesRegex(ValueError, "metadata"):
            security.store_secret("a", "x", note="y" * 9000)
        for unknown in (security.read_secret, security.delete_secret, security.restore_secret):
            with self.assertRaises(security.NotFoundError):
                unknown("nothing")
        self.assertEqual((security.list_secrets(include_deleted=True), self.key_files()), ([], []))

    def test_each_read_is_recorded_by_name(self) -> None:
        security.store_secret("a/b", CANARY)
        security.read_secret("a/b", component="billing", request_id="request-1", secret="a lie")
        with self.assertRaises(security.NotFoundError):
            security.read_secret("nothing")
        security.flush()
        unknown, read = security.get_recent_usage(limit=2)
        self.assertEqual((read["secret"], read["version"], read["component"]), ("a/b", 1, "billing"))
        self.assertEqual((read["request_id"], read["success"], read["credential_type"]), ("request-1", True, "SECRET"))
        self.assertEqual((unknown["secret"], unknown["success"], unknown["reason"]), ("nothing", False, "unknown"))

    def test_each_act_is_in_the_audit_trail(self) -> None:
        security.store_secret("a", "x")
        security.delete_secret("a")
        security.restore_secret("a")
        security.delete_secret("a", destroy=True)
        security.rotate_master_key()
        events = [record["event"] for record in security.get_audit_log()]
        expected = ["secret_stored", "master_key_made", "secret_deleted", "secret_restored", "secret_destroyed"]
        self.assertEqual(events[::-1], [*expected, "master_key_rotated"])
        self.assertTrue(security.verify_audit_log()["intact"])


class Opaque(SecretCase):
    def secret(self) -> security.Secret:
        security.store_secret("canary", CANARY)
        return security.read_secret("canary")

    def test_nothing_that_shows_objects_shows_it(self) -> None:
        secret = self.secret()
        holder = {"password": [secret], "tuple": (secret,)}
        logger = logging.LogRecord("x", logging.INFO, "", 1, "read %s and %r", (secret, secret), None)
        shown = [
            repr(secret),
            str(secret),
            f"{secret} {secret!r} {secret!s:>60} {secret:x}",
            "%s %r" % (secret, secret),  # noqa: UP031
            "{0} {0!r:}".format(secret),  # noqa: UP032
            repr(holder),
            ascii(secret),
            logger.getMessage(),
            repr(dir(secret)),
            repr(gc.get_referents(secret)),
            repr(type(secret).__dict__),
            json.dumps(holder, default=str),
        ]
        for text in shown:
            self.assertNotIn(CANARY, text)
            self.assertNotIn(CANARY[:10], text)
        self.assertEqual((repr(secret), str(secret)), ("Secret(****)", "****"))

    def test_a_traceback_with_its_local_variables_shows_it_not(self) -> None:
        def failing(password: security.Secret) -> None:
            raise RuntimeError(f"cannot log in with {password}")

        try:
            failing(self.secret())
        except RuntimeError as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            text = "".join(told.format())
        self.assertIn("Secret(****)", text)
        self.assertNotIn(CANARY, text)

    def test_it_leaves_the_process_by_no_other_way(self) -> None:
        secret: Any = self.secret()
        refused: tuple[Callable[[], object], ...] = (
            lambda: pickle.dumps(secret),
            lambda: json.dumps(secret),
            lambda: vars(secret),
            lambda: list(secret),
            lambda: bytes(secret),
            lambda: secret[0],
            lambda: secret + "",
            lambda: "" + secret,
            lambda: "".join([secret]),
            lambda: hash(secret),
            lambda: {secret},
            lambda: memoryview(secret),
            lambda: secret < secret,
            lambda: int(secret),
            lambda: type(secret)(),
            lambda: type("Subclass", (type(secret),), {}),
        )
        for at, way in enumerate(refused):
            with self.subTest(at), self.assertRaises(TypeError) as raised:
                way()
            self.assertNotIn(CANARY, str(raised.exception))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with self.assertRaises(TypeError):
                pickle.dumps({"inside": secret}, protocol)
        with self.assertRaises(AttributeError):
            secret.value = 1

    def test_a_copy_is_the_same_object(self) -> None:
        secret = self.secret()
        self.assertIs(copy.copy(secret), secret)
        self.assertIs(copy.deepcopy({"inside": [secret]})["inside"][0], secret)

    def test_truth_length_and_comparison(self) -> None:
        secret: Any = self.secret()
        self.assertTrue(secret)
        self.assertEqual(len(secret), len(CANARY))
        for same in (CANARY, CANARY.encode(), bytearray(CANARY.encode()), security.read_secret("canary")):
            self.assertTrue(secret == same)
            self.assertTrue(same == secret)
            self.assertFalse(secret != same)
        for other in (CANARY[:-1], CANARY + "x", "", b"", "\ud800", None, 7, [CANARY], object()):
            self.assertFalse(secret == other)
            self.assertTrue(secret != other)


class AtRest(SecretCase):
    def test_no_file_holds_it(self) -> None:
        security.store_secret("canary", CANARY, owner="shop")
        security.store_secret("canary", (CANARY + "!").encode())
        security.read_secret("canary", component="test")
        security.delete_secret("canary", version=1)
        security.rotate_master_key()
        security.flush()
        searched = self.search()
        for name in ("credentials.sqlite", "credentials.sqlite-wal", "history.jsonl"):
            self.assertIn(name, searched)
        security.close()
        self.assertGreater(len(self.search()), 5)

    def search(self) -> set[str]:
        files = [path for path in self.data_dir.rglob("*") if path.is_file()]
        for path in files:
            content = path.read_bytes()
            for form in (
                CANARY.encode(),
                CANARY[:12].encode(),
                CANARY.encode("utf-16-le"),
                CANARY.encode().hex().encode(),
            ):
                self.assertNotIn(form, content, path)
        return {path.name for path in files}

    def test_exchanged_rows_are_refused(self) -> None:
        for name, value in (("a", "of a"), ("a", "newer of a"), ("b", "of b")):
            security.store_secret(name, value)
        security.close()
        with sqlite3.connect(self.data_dir / "credentials" / "credentials.sqlite") as connection:
            query = "SELECT wrapped, sealed FROM secret WHERE name = ? AND version = ?"
            of_a = connection.execute(query, ("a", 1)).fetchone()
            of_b = connection.execute(query, ("b", 1)).fetchone()
            change = "UPDATE secret SET wrapped = ?, sealed = ? WHERE name = ? AND version = ?"
            connection.execute(change, (*of_a, "b", 1))
            connection.execute(change, (*of_b, "a", 2))
        connection.close()
        self.reopen()
        for name in ("a", "b"):
            with self.assertRaises(security.StoreError) as refused:
                security.read_secret(name)
            self.assertEqual(refused.exception.code, "secret-sealed")
        self.assertEqual(security.read_secret("a", version=1).reveal(), "of a")

    def test_modes_whatever_the_umask_says(self) -> None:
        code = (
            "import os, security, warnings\n"
            "warnings.simplefilter('ignore')\n"
            "os.umask(0)\n"
            "security.store_secret('a', 'x'); security.rotate_master_key(); security.close()\n"
        )
        self.run_python(code)
        for path in (self.data_dir / "credentials", *(self.data_dir / "credentials").iterdir()):
            mode = stat.S_IMODE(path.stat().st_mode)
            self.assertEqual(mode, 0o700 if path.is_dir() else 0o600, path)
        self.assertEqual(len(self.key_files()), 1)


class MasterKeys(SecretCase):
    def test_whoever_makes_a_key_file_is_warned_once(self) -> None:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            security.store_secret("a", "x")
            security.store_secret("b", "x")
        self.assertEqual(len(seen), 1)
        self.assertIn(str(self.key_files()[0]), str(seen[0].message))
        self.assertEqual(Path(seen[0].filename).name, "test_secrets.py")

    def test_a_rotation_retires_the_old_key(self) -> None:
        for number in range(5):
            security.store_secret(f"s{number}", str(number))
        old = self.key_files()
        report = security.rotate_master_key()
        self.assertEqual((report["rewrapped"], report["resumed"], report["refused"]), (5, False, []))
        self.assertEqual([str(path) for path in self.key_files()], [report["key_file"]])
        self.assertEqual(report["retired"], [path.stem.removeprefix("master-") for path in old])
        for number in range(5):
            self.assertEqual(security.read_secret(f"s{number}").reveal(), str(number))

    def test_a_missing_an_exchanged_and_a_linked_key(self) -> None:
        security.store_secret("a", "precious")
        file = self.key_files()[0]
        kept = self.folder / "kept"
        file.rename(kept)
        codes = []

        def refused() -> None:
            for call in (lambda: security.read_secret("a"), lambda: security.store_secret("b", "x")):
                with self.assertRaises(security.StoreError) as error:
                    call()
                codes.append(error.exception.code)
                self.assertTrue(error.exception.hint)

        refused()
        file.write_bytes(b"\x07" * 32)
        file.chmod(0o600)
        refused()
        file.unlink()
        file.symlink_to(kept)
        refused()
        self.assertEqual(codes, ["secret-master-key"] * 2 + ["store-damaged"] * 2 + ["store-symlink"] * 2)
        file.unlink()
        kept.rename(file)
        self.assertEqual(security.read_secret("a").reveal(), "precious")
        self.assertEqual([secret["name"] for secret in security.list_secrets(include_deleted=True)], ["a"])

    def test_the_operators_key(self) -> None:
        mounted = self.folder / "master.txt"
        mounted.write_text("ab" * 32 + "\n")
        os.environ["SECURITY_MASTER_KEY_FILE"] = str(mounted)
        self.reopen()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            security.store_secret("a", "x")
        self.assertEqual(self.key_files(), [])
        with self.assertRaises(security.ConfigurationError):
            security.rotate_master_key()
        os.environ["SECURITY_MASTER_KEY_PREVIOUS_FILE"] = os.environ.pop("SECURITY_MASTER_KEY_FILE")
        os.environ["SECURITY_MASTER_KEY"] = "cd" * 32
        self.reopen()
        self.assertEqual(security.read_secret("a").reveal(), "x")
        self.assertEqual(security.rotate_master_key()["rewrapped"], 1)
        del os.environ["SECURITY_MASTER_KEY_PREVIOUS_FILE"]
        self.reopen()
        self.assertEqual(security.read_secret("a").reveal(), "x")
        os.environ["SECURITY_MASTER_KEY"] = "correct horse battery staple"
        with self.assertRaises(security.ConfigurationError) as refused:
            self.reopen()
        self.assertNotIn("horse", str(refused.exception))
        del os.environ["SECURITY_MASTER_KEY"]


class Processes(SecretCase):
    def test_of_two_processes_that_store_at_once_one_wins(self) -> None:
        code = (
            "import security, sys\n"
            "sys.stdin.readline()\n"
            "for version in range(20):\n"
            "    try:\n"
            "        security.store_secret('shared', sys.argv[1], if_version=version)\n"
            "        print('won', version)\n"
            "    except security.StoreError as error:\n"
            "        assert error.code == 'store-conflict', error\n"
            "        while security.list_secrets()[0]['version'] <= version: pass\n"
        )
        environment = clean_environment(**self.environment, SECURITY_DATA_DIR=str(self.data_dir))
        racers = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", code, name],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in ("one", "two")
        ]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        told = [racer.communicate(timeout=120)[0].splitlines() for racer in racers]
        self.assertEqual([racer.returncode for racer in racers], [0, 0])
        won = sorted(int(line.split()[1]) for lines in told for line in lines)
        self.assertEqual(won, list(range(20)), "each version has one winner")
        for name, lines in zip(("one", "two"), told, strict=True):
            for line in lines:
                version = int(line.split()[1]) + 1
                self.assertEqual(security.read_secret("shared", version=version).reveal(), name)

    def test_a_child_reads_after_fork_and_what_it_stores_is_seen(self) -> None:
        security.store_secret("a", "before")
        child = os.fork()
        if child == 0:
            fine = security.read_secret("a") == "before"
            security.store_secret("a", "by the child")
            os._exit(0 if fine else 3)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual(security.read_secret("a").reveal(), "by the child")


if __name__ == "__main__":
    unittest.main()
