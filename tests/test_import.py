"""What importing the package does: nothing that costs or can be seen."""

from __future__ import annotations

import json
import unittest

from engine_case import EngineCase

IMPORT = """
import sys
import builtins, io, json, os, threading
opened = []
def watch(event, arguments):
    if event in ("open", "os.mkdir", "socket.connect"):
        opened.append(str(arguments[0]))
sys.addaudithook(watch)
import security
import security.modules.credentials, security.modules.middleware, security.answers, security.errors, security.shapes
security.threat_detector, security.ThreatDetector(), security.TAXIIClient("name")
print(json.dumps({
    "modules": sorted(sys.modules),
    "threads": len(os.listdir("/proc/self/task")),
    "files": [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")],
    "opened": opened,
    "directory": os.listdir("."),
}))
"""


class Import(EngineCase):
    def test_it_loads_no_framework_and_starts_nothing(self) -> None:
        data = self.folder / "never"
        seen = json.loads(self.run_python(IMPORT, SECURITY_DATA_DIR=str(data)))
        roots = {name.partition(".")[0] for name in seen["modules"]}
        foreign = {"flask", "werkzeug", "starlette", "fastapi", "django", "pyarrow", "jinja2", "asyncio", "ssl"}
        self.assertEqual(roots & foreign, set())
        self.assertNotIn("security.adapters.flask", seen["modules"])
        self.assertNotIn("multiprocessing", roots)
        self.assertEqual(seen["threads"], 1)
        self.assertFalse(data.exists())
        for path in (*seen["files"], *seen["opened"]):
            self.assertNotIn(str(data), path)
        self.assertEqual([name for name in seen["directory"] if name not in ("data",)], [])

    def test_texts_need_no_engine(self) -> None:
        data = self.folder / "never"
        code = (
            "import security\n"
            "security.extract_iocs('evil.example.com'); security.identify_ioc_type('192.0.2.1')\n"
            "security.defang('evil.example.com'); security.refang('x'); security.mask_credential('x')\n"
            "security.generate_request_id(); security.generate_secure_credential()"
        )
        self.run_python(code, SECURITY_DATA_DIR=str(data))
        self.assertFalse(data.exists())

    def test_the_decorator_needs_flask_only_when_called(self) -> None:
        code = "import sys, security\n@security.require_api_key\ndef view(): return 'x'\nprint('flask' in sys.modules)"
        self.assertEqual(self.run_python(code), "False\n")


if __name__ == "__main__":
    unittest.main()
