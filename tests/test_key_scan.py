"""security.scan_for_keys: own keys in texts, files and folders."""

from __future__ import annotations

import gzip
import json
import os
import unittest
import warnings
from pathlib import Path

import security
from engine_case import EngineCase

# Reads what another thread of the process writes into a pipe; prints how much it found.
WITH_A_PIPE = """
import os, pathlib, sys, threading
import security
pipe, call, text = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
security.initialize(data_dir=os.environ["SECURITY_DATA_DIR"])
writer = threading.Thread(target=lambda: pipe.write_text(text), daemon=True)
writer.start()
print(eval(call))
writer.join()
"""
PIPED = (
    "len(security.scan_for_keys(pipe))",
    "sum(1 for ioc in security.extract_iter(pipe) if ioc['type'] == 'domain')",
    "security.import_indicators(pipe, 'plain', 'pipe', 50)['added']",
)


class KeyScan(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        self.issued = security.issue_api_key("app", owner="billing")
        self.key = self.issued["key"]
        self.tree = self.folder / "tree"
        self.tree.mkdir()

    def test_a_text_is_looked_through(self) -> None:
        found = security.scan_for_keys(f"é = 1\nkéy: {self.key}, {self.key[:-1]}?")
        self.assertEqual(
            found,
            [
                {
                    "key": f"sk_{self.issued['id']}_****",
                    "key_id": self.issued["id"],
                    "status": "live",
                    "name": "app",
                    "owner": "billing",
                    "file": None,
                    "line": 2,
                    "column": 6,
                    "offset": 11,
                }
            ],
        )
        self.assertNotIn(self.key[21:], json.dumps(found))
        self.assertEqual(security.scan_for_keys("nothing here"), [])
        self.assertEqual(security.scan_for_keys(""), [])
        self.assertEqual(security.scan_for_keys(b"\xff\xfe" + self.key.encode())[0]["offset"], 2)
        self.assertEqual(security.scan_for_keys("\ud800" + self.key)[0]["offset"], 1)

    def test_states_follow_the_key(self) -> None:
        def status(key: str) -> str:
            return security.scan_for_keys(key)[0]["status"]

        new = security.rotate_api_key(self.issued["id"])["key"]
        self.assertEqual((status(self.key), status(new)), ("superseded", "live"))
        security.revoke_api_key(self.issued["id"])
        self.assertEqual(status(new), "revoked")

    def test_what_is_a_path(self) -> None:
        file = self.tree / "settings.py"
        file.write_text(f"KEY = '{self.key}'\n")
        for given in (file, str(file), self.tree, str(self.tree)):
            with self.subTest(given=given):
                found = security.scan_for_keys(given)
                self.assertEqual([(key["file"], key["line"], key["column"]) for key in found], [(str(file), 1, 8)])
        self.assertEqual(security.scan_for_keys(str(self.tree / "missing")), [], "a text")
        with self.assertRaises(FileNotFoundError):
            security.scan_for_keys(self.tree / "missing")
        for wrong in (None, 7, [str(file)]):
            with self.assertRaisesRegex(TypeError, "text_or_path"):
                security.scan_for_keys(wrong)  # type: ignore[arg-type]

    def test_options(self) -> None:
        (self.tree / "core").write_bytes(b"\0" + self.key.encode())
        with gzip.open(self.tree / "old.log.gz", "wt") as file:
            file.write(f"{self.key}\n" * 3)
        self.assertEqual(len(security.scan_for_keys(self.tree)), 3)
        self.assertEqual(len(security.scan_for_keys(self.tree, binary=True)), 4)
        self.assertEqual(security.scan_for_keys(self.tree, gzip=False), [])
        self.assertEqual(len(security.scan_for_keys(self.tree, limit=2)), 2)
        with self.assertRaisesRegex(ValueError, "limit"):
            security.scan_for_keys(self.tree, limit=0)

    def test_what_cannot_be_read_is_told(self) -> None:
        (self.tree / "cut.gz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
        told: list[tuple[str, str]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            security.scan_for_keys(self.tree, on_skip=lambda file, problem: told.append((file, problem)))
        self.assertEqual([Path(file).name for file, _ in told], ["cut.gz"])
        with self.assertWarnsRegex(RuntimeWarning, "1 files could not be read.*cut.gz"):
            security.scan_for_keys(self.tree)

        def stop(_file: str, _problem: str) -> None:
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            security.scan_for_keys(self.tree, on_skip=stop)

    def test_a_pipe_keeps_no_other_thread_waiting(self) -> None:
        # Opening a pipe waits for its other end.
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for call, text in zip(PIPED, (self.key, "see evil.example there", "evil.example"), strict=True):
            with self.subTest(call=call):
                self.assertEqual(self.run_python(WITH_A_PIPE, str(pipe), call, text).strip(), "1")

    def test_a_loop_of_links_ends(self) -> None:
        os.symlink(self.tree, self.tree / "loop")
        (self.tree / "a").write_text(self.key)
        self.assertEqual(len(security.scan_for_keys(self.tree)), 1)


if __name__ == "__main__":
    unittest.main()
