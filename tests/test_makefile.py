"""The Makefile's virtual environment: made whole, or removed with a word on what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from engine_case import ROOT

# Stands for a Python interpreter; VENV_BREAKS is set where ensurepip is missing, as on a fresh Debian.
INTERPRETER = """#!/bin/sh
case "$1 $2" in
"-m venv")
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
  if [ -n "$VENV_BREAKS" ]; then echo "ensurepip is not available" >&2; exit 1; fi
  touch "$3/bin/pip" ;;
"-m pip")
  if [ ! -e "${0%/*}/pip" ]; then echo "No module named pip" >&2; exit 1; fi ;;
esac
"""


class VirtualEnvironment(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        shutil.copy(ROOT / "Makefile", self.folder)
        (self.folder / "tests").mkdir()
        (self.folder / "tests" / "requirements.txt").touch()
        interpreter = self.folder / "interpreter"
        interpreter.write_text(INTERPRETER, "utf-8")
        interpreter.chmod(0o755)

    def make(self, **environment: str) -> subprocess.CompletedProcess[str]:
        # Without the variables of the `make` that runs these tests.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return subprocess.run(
            ["make", ".venv/.tools", "PYTHON=./interpreter"],
            cwd=self.folder,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def test_a_half_made_one_is_removed_and_the_way_out_named(self) -> None:
        for _ in range(2):
            done = self.make(VENV_BREAKS="1")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("apt install python3-venv", done.stderr)
            self.assertFalse((self.folder / ".venv").exists())
        self.assertEqual(self.make().returncode, 0, "installed, and all is well")

    def test_one_that_was_left_half_made_is_made_anew(self) -> None:
        left = self.folder / ".venv" / "bin"
        left.mkdir(parents=True)
        shutil.copy(self.folder / "interpreter", left / "python")
        (left / "leftover").touch()
        done = self.make()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((left / "leftover").exists())

    def test_a_whole_one_is_kept(self) -> None:
        self.assertEqual(self.make().returncode, 0)
        kept = self.folder / ".venv" / "kept"
        kept.touch()
        os.utime(self.folder / "tests" / "requirements.txt")
        self.assertEqual(self.make().returncode, 0)
        self.assertTrue(kept.exists())


if __name__ == "__main__":
    unittest.main()
