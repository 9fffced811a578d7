"""A host that does not help: forks that Python does not hear of, shared files that vanish, values that act up."""

from __future__ import annotations

import ctypes
import datetime
import os
import shutil
import subprocess
import sys
import threading
import time
import unittest
from typing import Any

import security
from engine_case import VALUES, EngineCase, clean_environment
from flask import Flask


class Forks(EngineCase):
    def elsewhere(self, code: str, *arguments: str) -> None:
        """Runs code in another process over the same data directory."""
        environment = clean_environment(**VALUES, SECURITY_DATA_DIR=str(self.data_dir))
        subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, timeout=60)

    def child_of(self, fork: Any, between: Any) -> list[bool]:
        """What a child says of a key before and after `between` has happened in the parent."""
        issued = security.issue_api_key("victim")
        self.assertTrue(security.verify_api_key(issued["key"]))
        says, hears = os.pipe(), os.pipe()
        child = fork()
        if child == 0:
            before = security.verify_api_key(issued["key"])
            os.write(says[1], b"!")
            os.read(hears[0], 1)
            os.write(says[1], bytes([before, security.verify_api_key(issued["key"])]))
            os._exit(0)
        self.assertEqual(os.read(says[0], 1), b"!")
        between()
        self.elsewhere("import security, sys; security.revoke_api_key(sys.argv[1])", issued["id"])
        os.write(hears[1], b"!")
        answers = list(map(bool, os.read(says[0], 2)))
        os.waitpid(child, 0)
        self.assertFalse(security.verify_api_key(issued["key"]), "the parent")
        for end in (*says, *hears):
            os.close(end)
        return answers

    def ordinary_fork(self) -> None:
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)

    def test_a_fork_that_python_does_not_hear_of(self) -> None:
        # As uWSGI forks its workers: the C library's fork, none of Python's hooks.
        fork = ctypes.PyDLL(None).fork
        for between in (lambda: None, security.close, self.ordinary_fork):
            security.initialize(data_dir=self.data_dir)
            self.assertEqual(self.child_of(fork, between), [True, False])

    def test_a_fork_while_the_engine_is_replaced(self) -> None:
        stop = threading.Event()
        folders = [str(self.data_dir), str(self.folder / "other")]

        def replace() -> None:
            at = 0
            while not stop.is_set():
                at += 1
                security.initialize(data_dir=folders[at % 2])
                security.verify_api_key(VALUES["API_KEY"])
                if at % 3 == 0:
                    security.close()

        thread = threading.Thread(target=replace)
        thread.start()
        try:
            for attempt in range(25):
                child = os.fork()
                if child == 0:
                    os._exit(0 if security.verify_api_key(VALUES["API_KEY"]) else 3)
                deadline = time.monotonic() + 30
                while not (ended := os.waitpid(child, os.WNOHANG))[0]:
                    if time.monotonic() > deadline:
                        os.kill(child, 9)
                        os.waitpid(child, 0)
                        self.fail(f"child {attempt} hangs")
                    time.sleep(0.002)
                self.assertEqual(os.waitstatus_to_exitcode(ended[1]), 0, f"child {attempt}")
        finally:
            stop.set()
            thread.join(60)
        security.initialize(data_dir=self.data_dir)

    def test_a_child_keeps_directory_and_configuration(self) -> None:
        code = (
            "import os, security\n"
            "security.initialize(config={'web': {'trusted_networks': ['192.0.2.0/24']}})\n"
            "if (child := os.fork()) == 0:\n"
            "    os.chdir('/')\n"
            "    same = security.status()['data_dir'] == os.environ['EXPECTED']\n"
            "    os._exit(0 if same and security.is_ip_trusted('192.0.2.1') else 3)\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        )
        work = self.folder / "work"
        work.mkdir()
        environment = clean_environment(**VALUES, EXPECTED=str(work / "data"))
        environment.pop("SECURITY_DATA_DIR", None)
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=work, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.stdout, "0\n", done.stderr)

    def test_a_shared_folder_that_vanishes(self) -> None:
        issued = security.issue_api_key("victim")
        self.assertTrue(security.verify_api_key(issued["key"]))
        shutil.rmtree(self.data_dir / ".shared")
        self.elsewhere("import security, sys; security.revoke_api_key(sys.argv[1])", issued["id"])
        deadline = time.monotonic() + 10
        while security.verify_api_key(issued["key"]):
            self.assertLess(time.monotonic(), deadline, "a revoked key goes on")
            time.sleep(0.05)
        # And what this process changes, the others hear of as before.
        second = security.issue_api_key("second")
        security.revoke_api_key(second["id"])
        self.elsewhere("import security, sys; sys.exit(security.verify_api_key(sys.argv[1]))", second["key"])


class Values(EngineCase):
    def test_a_dictionary_that_changes_while_it_is_read(self) -> None:
        class Zone(datetime.tzinfo):
            def __init__(self, grown: dict[str, Any]) -> None:
                self.grown = grown

            def utcoffset(self, _when: datetime.datetime | None) -> datetime.timedelta:
                self.grown[f"more {len(self.grown)}"] = 1
                return datetime.timedelta(0)

            def dst(self, _when: datetime.datetime | None) -> None:
                return None

            def tzname(self, _when: datetime.datetime | None) -> str:
                return "growing"

        grown: dict[str, Any] = {}
        grown["first"] = datetime.datetime(2026, 1, 1, tzinfo=Zone(grown))
        grown["second"] = 1
        self.assertFalse(security.detect_threats(grown, "req"))
        self.assertFalse(security.verify_api_key("wrong", extra=grown))

    def test_messages_about_configuration_hold_no_values(self) -> None:
        for config in (
            {"credentials": {"API_KEY": 918273645}},
            {"credentials": "hunter2-secret"},
            {"taxii": "p4ssw0rd-in-place"},
        ):
            with self.assertRaises(security.ConfigurationError) as raised:
                security.initialize(data_dir=self.data_dir, config=config)
            said = str(raised.exception) + repr(raised.exception)
            for secret in ("918273645", "hunter2", "p4ssw0rd"):
                self.assertNotIn(secret, said)

    def test_paths_that_are_none(self) -> None:
        for path in ("a\0b", "x" * 5000):
            with self.assertRaises(ValueError):
                security.dispose_sensitive_data(path)


class Requests(EngineCase):
    def client(self) -> Any:
        app = Flask(__name__)
        security.create_security_middleware(app)
        app.add_url_rule("/health", "health", lambda: {"status": "fine"})
        return app.test_client()

    def test_an_exempt_path_does_not_tell_right_keys_from_wrong_ones(self) -> None:
        client = self.client()
        answers = [client.get("/health", headers={"X-API-Key": key}) for key in ("wrong", VALUES["API_KEY"])]
        names = [sorted(name for name, _ in answer.headers if name != "X-Request-ID") for answer in answers]
        self.assertEqual(names[0], names[1])
        self.assertEqual([answer.status_code for answer in answers], [200, 200])
        security.flush()
        self.assertEqual(security.get_recent_usage(), [], "nobody asked for the key")

    def test_refused_requests_do_not_fill_the_disk(self) -> None:
        client = self.client()
        logs = self.data_dir / "logs"
        for number in range(300):
            path = f"/admin/{'a' * 4000}{number}"
            answer = client.get(path, environ_overrides={"REMOTE_ADDR": "203.0.113.9"})
            self.assertEqual(answer.status_code, 403)
        security.flush()
        size = sum(file.stat().st_size for file in logs.iterdir())
        self.assertLess(size, 20_000)
        self.assertEqual(security.get_audit_log(), [], "the audit trail is for what administrators did")

    def test_a_key_anywhere_in_a_request_is_nowhere_on_disk(self) -> None:
        security.create_threat_rule(
            "notice", "what a request says", {"pattern": "notice-me", "field": "path"}, severity="low"
        )
        client = self.client()
        key = security.issue_api_key("worker")["key"]
        secret = key.rsplit("_", 1)[1]
        remote = (f"203.0.113.{number}" for number in range(1, 250))
        for text in (key, key[:-9], key + "x", key.lower()):
            for path in (
                *(f"/admin/{'a' * (180 + cut)}/{text}/rest" for cut in range(0, 72, 6)),
                f"/notice-me/{text}/{'b' * 150}",
                f"/notice-me/?q={text}<script>alert(1)</script>",
                *(f"/?q={text}{' ' * gap}<script>alert(1)</script>" for gap in range(0, 60, 7)),
                f"/?{text}=<script>alert(1)</script>",
                f"/%3Cscript%3Ealert(1)%3C/script%3E/{text}",
            ):
                headers = {"User-Agent": text, "Referer": f"https://{text}/", "X-Request-ID": text, "X-API-Key": key}
                client.get(path, headers=headers, environ_overrides={"REMOTE_ADDR": next(remote)})
        body = {text: f"<script>alert('{text}')</script>" for text in (key, key[:-9])}
        client.post("/", json=body, headers={"X-API-Key": key}, environ_overrides={"REMOTE_ADDR": next(remote)})
        security.flush()
        events = [line for file in (self.data_dir / "logs").iterdir() for line in file.read_text("utf-8").splitlines()]
        for event in ("request_refused", "notice-me", '"component":"web"', "****"):
            self.assertTrue(any(event in line for line in events), event)
        security.close()
        pieces = {secret[at : at + 8].lower() for at in range(len(secret) - 7)}
        for file in self.data_dir.rglob("*"):
            if file.is_file():
                text = file.read_bytes().decode("latin-1").lower()
                self.assertEqual([piece for piece in pieces if piece in text], [], file)


if __name__ == "__main__":
    unittest.main()
