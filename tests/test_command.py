"""The command that the wheel installs."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import unittest
from pathlib import Path

import security
from engine_case import VALUES, EngineCase, clean_environment


class Command(EngineCase):
    def run_command(self, *arguments: str, given: str = "") -> tuple[int, str]:
        outcomes = []
        script = Path(sysconfig.get_path("scripts")) / "security"
        for command in ([sys.executable, "-m", "security"], [str(script)]):
            done = subprocess.run(
                [*command, *arguments],
                input=given,
                env=clean_environment(**VALUES, SECURITY_DATA_DIR=str(self.data_dir)),
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            outcomes.append((done.returncode, done.stdout))
        self.assertEqual(outcomes[0], outcomes[1], "both ways to call it do the same")
        return outcomes[0]

    def test_version(self) -> None:
        self.assertEqual(self.run_command("--version"), (0, f"security {security.__version__}\n"))

    def test_wrong_usage(self) -> None:
        self.assertEqual(self.run_command("no-such-verb")[0], 2)

    def test_extract(self) -> None:
        code, output = self.run_command("extract", "--json", given="beacon to evil[.]example[.]com\n")
        self.assertEqual(code, 0)
        self.assertEqual([json.loads(line)["value"] for line in output.splitlines()], ["evil.example.com"])


if __name__ == "__main__":
    unittest.main()
