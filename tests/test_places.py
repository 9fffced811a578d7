"""Everything the engine writes: for its owner alone whatever the umask says, and never through a link."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

from engine_case import EngineCase, clean_environment

# Whatever leaves a file behind.
WORK = r"""
import json, os, sys, warnings
warnings.simplefilter("ignore")
if len(sys.argv) > 1:
    os.umask(int(sys.argv[1], 8))
import security

def command(*arguments):
    if code := security._security.cli_main(["security", *arguments]):
        raise security.SecurityError(f"exit code {code}")

refused = []

def does(*calls):
    for call in calls:
        try:
            call()
        except (security.SecurityError, OSError) as error:
            refused.append(f"{type(error).__name__} {getattr(error, 'code', '')}: {error}")

key = {}
def issue():
    key.update(security.issue_api_key("reader", rate_limit="5/minute"))
does(
    security.initialize,
    issue,
    lambda: security.check_api_key(key.get("key"), client_ip="192.0.2.1"),
    lambda: security.rotate_credential("db_password"),
    lambda: security.on_rotate("mail_api_key", create=lambda new: None, retire=lambda: None),
    lambda: security.rotate_credential("mail_api_key"),
    lambda: security.store_secret("a/b", "precious"),
    security.rotate_master_key,
    lambda: security.read_secret("a/b"),
    lambda: security.add_ioc("ip", "203.0.113.9", "test", 80),
    lambda: security.check_ioc("ip", "203.0.113.9"),
    lambda: security.load_warninglist({"name": "own", "version": 1, "type": "string", "list": ["example.org"]}),
    lambda: security.categorize_intelligence({"text": "x"}, "forums", "High"),
    lambda: security.create_threat_rule("path", "p", {"pattern": "etc/passwd"}),
    lambda: security.detect_threats({"path": "/etc/passwd"}, "one"),
    lambda: security.create_taxii_config("peer", "https://taxii.example.org/", username="u", password="p"),
    lambda: command("ban", "add", "203.0.113.50", "--for", "1h"),
    lambda: security.inspect_request({
        "method": "GET", "path": "/admin", "query": "", "headers": {}, "body": b"", "remote_addr": "198.51.100.7"}),
    security.flush,
    security.verify_audit_log,
    security.close,
)
print(json.dumps(refused))
"""


class Places(EngineCase):
    def work(self, data_dir: Path, *arguments: str) -> list[str]:
        environment = clean_environment(**self.environment, SECURITY_DATA_DIR=str(data_dir))
        done = subprocess.run(
            [sys.executable, "-c", WORK, *arguments],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("panicked", done.stderr)
        refused: list[str] = json.loads(done.stdout.splitlines()[-1])
        return refused

    def test_for_the_owner_alone_whatever_the_umask_says(self) -> None:
        for umask in ("000", "022", "077"):
            with self.subTest(umask=umask):
                data_dir = self.folder / f"made-under-{umask}"
                self.assertEqual(self.work(data_dir, umask), [])
                everything = [data_dir, *data_dir.rglob("*")]
                names = {path.name for path in everything}
                for name in ("pepper.key", "audit.head", "page", "words", "peer.json", "history.jsonl"):
                    self.assertIn(name, names)
                self.assertTrue(any(path.match("credentials/.rotation-*.lock") for path in everything), names)
                for path in everything:
                    wanted = 0o700 if path.is_dir() else 0o600
                    self.assertEqual(stat.S_IMODE(path.lstat().st_mode), wanted, path)

    def test_a_link_in_a_files_place_is_never_written_through(self) -> None:
        model = self.folder / "model"
        self.assertEqual(self.work(model), [])
        files = sorted(path.relative_to(model) for path in model.rglob("*") if path.is_file())
        self.assertGreater(len(files), 15)
        told: dict[str, list[str]] = {}
        for name in files:
            data_dir = self.folder / "linked"
            subprocess.run(["cp", "-a", model, data_dir], check=True)
            outside = self.folder / "outside"
            (data_dir / name).rename(outside)
            before = outside.read_bytes()
            (data_dir / name).symlink_to(outside)
            with self.subTest(str(name)):
                told[str(name)] = self.work(data_dir)
                self.assertEqual(outside.read_bytes(), before, "written through the link")
                self.assertEqual(stat.S_IMODE(outside.stat().st_mode), 0o600)
            subprocess.run(["rm", "-r", data_dir, outside], check=True)
        # What nothing can go on without is refused by name; what is derived or replaced as a whole is made anew.
        for path, code in (
            ("credentials/pepper.key", "store-symlink"),
            ("credentials/credentials.sqlite", "store-symlink"),
            ("credentials/.rotation-DB_PASSWORD.lock", "store-symlink"),
            ("intel/intel.sqlite", "store-symlink"),
            ("iocs/indicators.sqlite", "store-symlink"),
            (".shared/page", "shared-unavailable"),
            (".shared/words", "shared-unavailable"),
        ):
            self.assertTrue(any(code in refusal for refusal in told[path]), (path, told[path]))
