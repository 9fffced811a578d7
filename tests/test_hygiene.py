"""What is left of credentials in the environment and what a core file may hold, where the operator asks for it."""

from __future__ import annotations

import json
import unittest
from pathlib import Path

from engine_case import VALUES, EngineCase

BEGIN = """
import json, os, resource, subprocess, sys, security
config = {"hygiene": json.loads(sys.argv[1])}
security.initialize(config=config)
def block():
    with open("/proc/self/environ", "rb") as file:
        return file.read()
def verify():
    return security.verify_api_key(sys.argv[2])
"""
SCRUBBED = """
seen = {
    "environ": [name for name in ("API_KEY", "TAXII_PASSWORD", "SECURITY_MASTER_KEY", "STAYS") if name in os.environ],
    "block": [name for name in json.loads(sys.argv[3]) if name.encode() in block()],
    "child": subprocess.run(["env"], capture_output=True, text=True, check=True).stdout.count("for-tests"),
    "verified": [verify()],
}
security.initialize(config={**config, "web": {"trusted_networks": ["192.0.2.0/24"]}})
seen["verified"].append(verify())
security.close()
seen["verified"].append(verify())
if (child := os.fork()) == 0:
    os._exit(0 if verify() else 3)
seen["verified"].append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
security.store_secret("a", "x")
seen["made"] = [name for name in os.listdir(os.environ["SECURITY_DATA_DIR"] + "/credentials") if "master" in name]
os.environ["API_KEY"] = "a-newer-one-6f1c09"
security.initialize(config={**config, "web": {}})
seen["newer"] = security.verify_api_key("a-newer-one-6f1c09"), "API_KEY" in os.environ
print(json.dumps(seen))
"""


class Hygiene(EngineCase):
    def run_with(self, hygiene: dict[str, bool], code: str, **environment: str) -> str:
        values = json.dumps([*VALUES.values(), "taxii-for-tests", "5a" * 32])
        return self.run_python(BEGIN + code, json.dumps(hygiene), VALUES["API_KEY"], values, **environment)

    def test_credentials_leave_the_environment_and_go_on_working(self) -> None:
        more = {"TAXII_PASSWORD": "taxii-for-tests", "SECURITY_MASTER_KEY": "5a" * 32, "STAYS": "yes"}
        seen = json.loads(self.run_with({"scrub_environment": True}, SCRUBBED, **more))
        self.assertEqual((seen["environ"], seen["block"], seen["child"]), (["STAYS"], [], 0))
        self.assertEqual(seen["verified"], [True] * 4, "also opened anew, closed and opened, and after fork")
        self.assertEqual(seen["made"], [], "the master key is still the operator's")
        self.assertEqual(seen["newer"], [True, False])

    def test_nothing_is_taken_unasked(self) -> None:
        for hygiene in ({}, {"scrub_environment": False}):
            code = "print('API_KEY' in os.environ and sys.argv[2].encode() in block() and verify())"
            self.assertEqual(self.run_with(hygiene, code), "True\n")

    def test_what_a_file_names_stays(self) -> None:
        mounted = Path(self.folder / "key.txt")
        mounted.write_text("mounted-key-for-tests\n", "utf-8")
        code = "print('API_KEY_FILE' in os.environ, security.verify_api_key('mounted-key-for-tests'))"
        seen = self.run_with({"scrub_environment": True}, code, API_KEY="", API_KEY_FILE=str(mounted))
        self.assertEqual(seen, "True True\n")

    def test_core_files_can_be_forbidden(self) -> None:
        code = "print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
        self.assertEqual(self.run_with({"core_dumps": False}, code), "0\n")


if __name__ == "__main__":
    unittest.main()
