"""A data directory on a real file system that is full: a small tmpfs in a mount namespace of its own."""

import json
import os
import subprocess
import sys
import unittest

CHILD = r"""
import json, os, sys
import security

folder = sys.argv[1]
ballast = os.path.join(folder, "ballast")
os.environ["API_KEY"] = "the-key-that-goes-on-working-0123456789"
security.initialize(data_dir=os.path.join(folder, "data"))
told = {"before": security.verify_api_key(os.environ["API_KEY"])}
security.flush()

with open(ballast, "wb", buffering=0) as full:
    try:
        while True:
            full.write(b"\0" * 4096)
    except OSError:
        pass

told["good"] = all(security.verify_api_key(os.environ["API_KEY"], note="x" * 500) for _ in range(3000))
told["bad"] = any(security.verify_api_key("wrong") for _ in range(100))
for name, act in {
    "flush": security.flush,
    "rotate": lambda: security.rotate_credential("API_KEY"),
    "issue": lambda: security.issue_api_key("no room"),
    "ioc": lambda: security.import_indicators(feed, format="plain", source="full"),
}.items():
    import io

    feed = io.StringIO("\n".join(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(60000)))
    try:
        act()
        told[name] = "done"
    except security.StoreError as error:
        told[name] = error.code
told["lost"] = security.status()["journal"]["lost"]
told["still"] = security.verify_api_key(os.environ["API_KEY"])

os.unlink(ballast)
told["after"] = security.verify_api_key(os.environ["API_KEY"], component="after")
try:
    security.flush()
except security.StoreError:
    security.flush()  # the first flush tells of what was lost before; the second has nothing to tell
told["recorded"] = [use["component"] for use in security.get_recent_usage(1)]
told["issued"] = security.verify_api_key(security.issue_api_key("room again")["key"])
told["intact"] = security.verify_audit_log()["intact"]
print(json.dumps(told))
"""


class FullDisk(unittest.TestCase):
    def test_verification_goes_on_and_acts_are_refused(self) -> None:
        # The namespace lets any user mount, and takes the mount away with the process.
        mount = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$1" -c "$2" "$0"'
        folder = "/mnt"
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, folder, sys.executable, CHILD]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONWARNINGS": "error"}
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        self.assertTrue(told["before"] and told["good"] and told["still"] and told["after"], told)
        self.assertFalse(told["bad"], told)
        for act in ("flush", "rotate", "issue", "ioc"):
            self.assertIn(told[act], {"store-full", "store-io"}, told)
        self.assertGreater(told["lost"], 0)
        self.assertEqual(told["recorded"], ["after"])
        self.assertTrue(told["issued"] and told["intact"], told)


if __name__ == "__main__":
    unittest.main()
