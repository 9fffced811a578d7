"""What the tests stand on: a fresh engine over a fresh data directory, and no word from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import security
import tomli

ROOT = Path(__file__).resolve().parent.parent
TESTDATA = ROOT / "testdata"

CREDENTIALS = ("API_KEY", "DB_PASSWORD", "SECRET_TOKEN", "MAIL_API_KEY", "LOGGING_API_KEY")
TAXII = ("TAXII_SERVER_URL", "TAXII_USERNAME", "TAXII_PASSWORD", "TAXII_COLLECTION_ID")
# Made up for these tests; nobody's keys.
VALUES = {
    "API_KEY": "api-key-for-tests-6f1c09",
    "DB_PASSWORD": "gravel lantern otter mosaic",
    "SECRET_TOKEN": "secret-token-for-tests-b7d21e",
    "MAIL_API_KEY": "mail-key-for-tests-93ac55",
    "LOGGING_API_KEY": "logging-key-for-tests-0e4f8a",
}
FOLDERS = ("credentials", "credential_history", "intel", "iocs", "taxii_configs", "threat_rules", "logs")

# What no client can send, or what is no credential at all.
JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    3.5,
    10**400,
    "",
    " ",
    "\x00",
    "api\x00key",
    "\ud800",
    "api-key\udfff-for-tests",
    "\U0010ffff",
    b"",
    b"\xff\xfe",
    b"\x00" * 64,
    bytearray(b"junk"),
    memoryview(b"junk"),
    [],
    {},
    object(),
    ValueError("no key"),
    "sk_" + "0" * 60,
    "x" * (10 << 20),
    b"x" * (10 << 20),
)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without anything that the engine reads, and with what is given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SECURITY_", "TAXII_")) and name.removesuffix("_FILE") not in CREDENTIALS
    }
    return {**kept, **more}


class EngineCase(unittest.TestCase):
    """A test with an engine of its own."""

    environment: ClassVar[dict[str, str]] = dict(VALUES)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="security-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.data_dir = self.folder / "data"
        patched = mock.patch.dict(os.environ, clean_environment(**self.environment), clear=True)
        patched.start()
        self.addCleanup(patched.stop)
        security.close()
        self.addCleanup(security.close)
        security.initialize(data_dir=self.data_dir)

    def reopen(self, **options: Any) -> None:
        """Closes the engine and opens it over the same data directory, as a process started now would."""
        security.close()
        security.initialize(data_dir=self.data_dir, **options)

    def run_python(self, code: str, *arguments: str, **environment: str) -> str:
        """Runs code in a fresh interpreter over the same data directory; gives what it printed."""
        everything = clean_environment(**{"SECURITY_DATA_DIR": str(self.data_dir), **self.environment, **environment})
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=everything,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout


def load_table(name: str) -> dict[str, Any]:
    """One of the tables that every face of the project reads."""
    table: dict[str, Any] = tomli.loads((TESTDATA / f"{name}.toml").read_text("utf-8"))
    return table
