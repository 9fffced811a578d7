"""export_iocs_to_stix(): one object a line, whole or not at all."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import unittest
from pathlib import Path

import security
from engine_case import EngineCase

# The file may not grow beyond a bound, as on a disk that is full; the indicators themselves are there already.
CHILD = r"""
import io, resource, signal, sys
import security

security.initialize(data_dir=sys.argv[1])
feed = "\n".join(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(3000))
security.import_indicators(io.StringIO(feed), format="plain", source="made up")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    security.export_iocs_to_stix()
except security.StoreError as error:
    print(error.code)
"""


class StixExport(EngineCase):
    def bundles(self) -> list[Path]:
        known = {"intel.sqlite", "alerts.sqlite"}
        return [path for path in (self.data_dir / "intel").iterdir() if path.name.partition("-")[0] not in known]

    def test_every_active_indicator_on_a_line_of_its_own(self) -> None:
        for number in range(40):
            security.add_ioc("ip", f"192.0.2.{number}", "us", 50)
        path = security.export_iocs_to_stix()
        assert path is not None
        self.assertEqual(self.bundles(), [Path(path)])
        self.assertEqual(stat.S_IMODE(Path(path).stat().st_mode), 0o600)
        text = Path(path).read_text("utf-8")
        self.assertEqual(len(json.loads(text)["objects"]), 40)
        self.assertEqual(sum('"pattern"' in line for line in text.splitlines()), 40, "written as they come")

    def test_nothing_to_write_leaves_nothing(self) -> None:
        self.assertIsNone(security.export_iocs_to_stix())
        security.add_ioc("cve", "CVE-2024-12345", "us", 50)
        self.assertIsNone(security.export_iocs_to_stix(), "STIX has no pattern for it")
        self.assertEqual(self.bundles(), [])

    def test_an_export_that_breaks_off_leaves_nothing(self) -> None:
        security.close()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(self.data_dir)], capture_output=True, text=True, check=True
        )
        self.assertTrue(done.stdout.startswith("store-"), done)
        self.assertEqual(self.bundles(), [])


if __name__ == "__main__":
    unittest.main()
