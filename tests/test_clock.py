"""A clock that jumps to the year 9999 and back: nothing opens for ever, nothing locks for ever, nothing fails.

The process's clock is set by a library of a few lines that is loaded before libc and adds what a file says.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

from engine_case import EngineCase, clean_environment

LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int answer = real(id, now);
  if (id != CLOCK_REALTIME) return answer;
  long long seconds = 0;
  FILE *file = fopen(getenv("CLOCK_AHEAD"), "r");
  if (file) { if (fscanf(file, "%lld", &seconds) != 1) seconds = 0; fclose(file); }
  now->tv_sec += seconds;
  return answer;
}
"""

PROGRAM = r"""
import contextlib, io, json, os, time
import flask, security

YEAR = 31_556_952
TO_9999 = int(253_370_764_800 - time.time()) + 86_400
told = {}

def ahead(seconds):
    with open(os.environ["CLOCK_AHEAD"], "w") as file:
        file.write(str(seconds))

def reason(key):
    return security.check_api_key(key["key"] if isinstance(key, dict) else key, client_ip="192.0.2.9")["reason"]

def command(*arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            code = security._security.cli_main(["security", *arguments])
    return code, errors.getvalue()

def request(address):
    return security.inspect_request({
        "method": "GET", "path": "/", "query": "", "headers": {}, "body": b"", "remote_addr": address,
    })["status"]

app = flask.Flask("clock")
security.create_security_middleware(app)
app.get("/guarded")(security.require_api_key(lambda: "in"))

def guarded(key):
    # As a server calls it: Flask's test client would ask Python for the time, which ends in 2262 there.
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/guarded", "SERVER_NAME": "test", "SERVER_PORT": "80",
        "REMOTE_ADDR": "198.51.100.8", "HTTP_X_API_KEY": key, "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(), "SERVER_PROTOCOL": "HTTP/1.1",
    }
    statuses = []
    list(app(environ, lambda status, headers, *more: statuses.append(int(status[:3]))))
    return statuses[0]

def survey():
    "Whatever looks at times; none of it may fail."
    security.analyze_for_suspicious_activity()
    security.check_credential_expiration()
    security.schedule_credential_rotation()
    security.init_credential_metadata()
    security.list_api_keys(active=True)
    security.get_recent_usage()
    security.flush()
    return [security.verify_audit_log()["intact"], security.status()["problems"]]

limits = {"client": "unlimited", "failed_authentication": "unlimited"}
security.initialize(config={"web": {"limits": limits}, "credentials": {"API_KEY": "of-the-operator-for-this-test"}})
plain = security.issue_api_key("plain")
hour = security.issue_api_key("an hour", expires_in=3600)
limited = security.issue_api_key("limited", rate_limit="20/second")
rotated = security.issue_api_key("rotated")
later = security.issue_api_key("later")
rotated_new = security.rotate_api_key(rotated["id"], grace_seconds=60)
revoked = security.issue_api_key("revoked")
security.revoke_api_key(revoked["id"])
password = security.rotate_credential("db_password")
newer = security.rotate_credential("db_password", grace_seconds=60)
told["now"] = [reason(key) for key in (plain, hour, rotated, rotated_new, revoked)]
told["now"] += [security.verify_db_password(value) for value in (password, newer)]

ahead(TO_9999)
told["year"] = security.issue_api_key("of its time")["created_at"][:4]
told["9999"] = [reason(key) for key in (plain, hour, rotated, rotated_new, revoked)]
told["9999"] += [security.verify_db_password(value) for value in (password, newer)]
told["9999 limited"] = sorted({reason(limited) for _ in range(200)})
told["9999 survey"] = survey()
later_new = security.rotate_api_key(later["id"], grace_seconds=60)
newest = security.rotate_credential("db_password", grace_seconds=60)
told["9999 in grace"] = [reason(later), reason(later_new), *map(security.verify_db_password, (newer, newest))]
told["9999 locked"] = [guarded("sk_wrong") for _ in range(7)][-1]
told["9999 ban"] = [command("ban", "add", "203.0.113.50", "--for", "1h")[0], request("203.0.113.50")]

ahead(TO_9999 + 2 * YEAR)
# The clock stands at the end of time: nothing is later, so no grace holds.
at_the_end = security.rotate_api_key(later["id"], grace_seconds=60)
told["end of time"] = [reason(key) for key in (plain, hour, later_new, at_the_end)]
told["end of time survey"] = survey()
later_new = at_the_end

ahead(0)
told["back"] = [reason(key) for key in (plain, hour, rotated_new, revoked)]
told["back, given in 9999"] = [reason(later), reason(later_new), *map(security.verify_db_password, (newer, newest))]
reason(limited)
time.sleep(1.1)
told["back limited"] = sorted({reason(limited) for _ in range(200)})
told["back locked"] = guarded("sk_wrong")
told["back right key"] = guarded(plain["key"])
told["back ban"] = request("203.0.113.50")
told["back survey"] = survey()
made = security.rotate_credential("db_password", grace_seconds=60)
told["back rotated"] = [security.verify_db_password(value) for value in (newer, newest, made)]

ahead(-20 * YEAR)
told["20 years ago"] = [reason(key) for key in (plain, hour, revoked)] + [security.verify_db_password(made)]
told["20 years ago, superseded"] = security.verify_db_password(newest)
told["20 years ago survey"] = survey()
fresh = security.issue_api_key("fresh", expires_in=60)
told["20 years ago, fresh"] = reason(fresh)
ahead(0)
told["back again"] = [reason(plain), reason(fresh), security.verify_db_password(made)]
print(json.dumps(told))
"""


class Jumps(EngineCase):
    def test_to_the_year_9999_and_back(self) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        self.assertIsNotNone(compiler, "a C compiler is part of what Rust needs to link")
        source, library = self.folder / "clock.c", self.folder / "clock.so"
        source.write_text(LIBRARY, "utf-8")
        subprocess.run([str(compiler), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        environment = clean_environment(
            **self.environment,
            SECURITY_DATA_DIR=str(self.folder / "elsewhere"),
            LD_PRELOAD=str(library),
            CLOCK_AHEAD=str(self.folder / "ahead"),
        )
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("panicked", done.stderr)
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(told["year"], "9999")
        fine = [True, []]
        expected = {
            "now": ["ok", "ok", "ok", "ok", "revoked", True, True],
            "9999": ["ok", "expired", "unknown", "ok", "revoked", False, True],
            "9999 limited": ["ok", "rate_limited"],
            "back limited": ["ok", "rate_limited"],
            "back locked": 403,
            "9999 survey": fine,
            "end of time": ["ok", "expired", "unknown", "ok"],
            "end of time survey": fine,
            "9999 in grace": ["ok", "ok", True, True],
            "9999 locked": 429,
            "9999 ban": [0, 403],
            "back": ["ok", "ok", "ok", "revoked"],
            "back, given in 9999": ["unknown", "ok", False, True],
            "back ban": 200,
            "back right key": 200,
            "back survey": fine,
            "back rotated": [False, True, True],
            "20 years ago": ["ok", "ok", "revoked", True],
            "20 years ago, superseded": False,
            "20 years ago survey": fine,
            "20 years ago, fresh": "ok",
            "back again": ["ok", "expired", True],
        }
        for name, value in expected.items():
            with self.subTest(name):
                self.assertEqual(told[name], value)
