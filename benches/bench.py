"""Timings through Python, each beside a floor measured in the same run: ``make bench``.

A floor is the least that plain Python could do for the same answer, or for less: a hash and a dictionary look-up for
a key, a dictionary look-up for an indicator, one regular expression for extraction, a bare Flask application for a
request. The ratio counts; an absolute time on a shared machine does not. Every figure is CPU time of this process
(the journal's writer thread included, unless only the caller's is named), the median of rounds in which the two are
timed in turn.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import web
from measure import ROUNDS, Row, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
KEYS = int(os.environ.get("BENCH_KEYS", "2000"))
MANY_KEYS = int(os.environ.get("BENCH_MANY_KEYS", "1000000"))
INDICATORS = int(os.environ.get("BENCH_INDICATORS", "100000"))


@contextmanager
def engine() -> Iterator[None]:
    import security

    with tempfile.TemporaryDirectory(prefix="security-bench-") as folder:
        os.environ["API_KEY"] = "bench-key-of-the-document-0123456789"
        security.initialize(data_dir=folder, config={"web": {"limits": {"client": "unlimited"}}})
        try:
            yield
        finally:
            security.close()


def verify() -> list[Row]:
    import security

    document = os.environ["API_KEY"]
    issued = [security.issue_api_key(f"bench {n}", scopes=["read"])["key"] for n in range(KEYS)]
    table = {hashlib.sha256(key.encode()).digest(): n for n, key in enumerate(issued)}
    table[hashlib.sha256(document.encode()).digest()] = -1
    calls = max(20_000 // KEYS, 1)

    def floor_of(keys: list[str], times: int) -> Callable[[], int]:
        def run() -> int:
            for _ in range(times):
                for key in keys:
                    if hashlib.sha256(key.encode()).digest() not in table:
                        raise SystemExit("the floor lost a key")
            return times * len(keys)

        return run

    def ours_of(keys: list[str], times: int) -> Callable[[], int]:
        verify_api_key = security.verify_api_key

        def run() -> int:
            for _ in range(times):
                for key in keys:
                    if not verify_api_key(key):
                        raise SystemExit("a good key was refused")
            security.flush()
            return times * len(keys)

        return run

    what = "sha256 + dict look-up, no log, no expiry, no scopes"
    one = [document]
    return [
        compare("verify_api_key, the document's", "us/call", ours_of(one, 20_000), floor_of(one, 20_000), what),
        compare(f"verify_api_key, {KEYS} issued", "us/call", ours_of(issued, calls), floor_of(issued, calls), what),
    ]


def crowd(folder: str) -> list[str]:
    """A data directory with so many keys, made by the engine's own benchmark; a sample of their tokens."""
    command = ["cargo", "bench", "--quiet", "-p", "security", "--bench", "many_keys", "--", str(MANY_KEYS), "--into"]
    subprocess.run([*command, folder], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    tokens = (Path(folder) / "tokens").read_text().split()
    random.Random(7).shuffle(tokens)
    return tokens


def many_keys() -> list[Row]:
    """Random keys out of a million, each with an expiry, scopes, a limit and a usage record for each call."""
    import security

    with tempfile.TemporaryDirectory(prefix="security-bench-") as folder:
        tokens = crowd(folder)[:100_000]
        table = {hashlib.sha256(token.encode()).digest(): number for number, token in enumerate(tokens)}
        table |= {os.urandom(32): number for number in range(len(tokens), MANY_KEYS)}
        security.initialize(data_dir=f"{folder}/data")

        def floor() -> int:
            for token in tokens:
                if hashlib.sha256(token.encode()).digest() not in table:
                    raise SystemExit("the floor lost a key")
            return len(tokens)

        def verify() -> int:
            verify_api_key = security.verify_api_key
            for token in tokens:
                if not verify_api_key(token):
                    raise SystemExit("a good key was refused")
            return len(tokens)

        def check() -> int:
            check_api_key = security.check_api_key
            for token in tokens:
                if check_api_key(token)["reason"] != "ok":
                    raise SystemExit("a good key was refused")
            return len(tokens)

        def written(run: Callable[[], int]) -> Callable[[], int]:
            def both() -> int:
                calls = run()
                security.flush()
                return calls

            return both

        what = f"sha256 + dict look-up among {MANY_KEYS}, no log, no expiry, no scopes, no limit"
        rows = []
        for name, run in (("verify_api_key", verify), ("check_api_key", check)):
            caller = compare(f"{name}, {MANY_KEYS} keys, caller", "us/call", run, floor, what, time.thread_time)
            whole = compare("  the journal's writer counted", "us/call", written(run), floor, what)
            rows += [caller, whole]
        security.close()
    return rows


def peers() -> Iterator[str]:
    """What others take to verify a key, each in an environment of its own."""
    interpreter = os.environ.get("BENCH_PEERS")
    if not interpreter:
        yield "peers: not timed, BENCH_PEERS names no interpreter that has them"
        return
    told = subprocess.run([interpreter, ROOT / "benches/peers/keys.py"], check=True, capture_output=True, text=True)
    for line in told.stdout.splitlines():
        name, figure, what = line.split("\t")
        yield f"{name:<34} {float(figure):>10.2f} {'':>10} {'':>8}  {'us/call':<12} {what}"


def check_ioc() -> list[Row]:
    import io

    import security

    listed = [str(ipaddress.IPv4Address(0x0B000000 + 7 * n)) for n in range(INDICATORS)]
    report = security.import_indicators(io.StringIO("\n".join(listed)), format="plain", source="bench")
    if report["added"] != len(listed):
        raise SystemExit(f"imported {report['added']} of {len(listed)}")
    table = {("ip", value): {"value": value} for value in listed}
    hits = listed[:: max(len(listed) // 2000, 1)]
    misses = [str(ipaddress.IPv4Address(0x64000000 + 11 * n)) for n in range(2000)]

    def ours_of(values: list[str], expected: bool) -> Callable[[], int]:
        check = security.check_ioc

        def run() -> int:
            for value in values:
                if bool(check("ip", value)) is not expected:
                    raise SystemExit(f"{value}: expected {expected}")
            return len(values)

        return run

    def floor_of(values: list[str], expected: bool) -> Callable[[], int]:
        def run() -> int:
            for value in values:
                if (("ip", value) in table) is not expected:
                    raise SystemExit(f"{value}: expected {expected}")
            return len(values)

        return run

    what = f"dict look-up of the exact text among {INDICATORS}, no networks, no record"
    return [
        compare("check_ioc miss", "us/call", ours_of(misses, False), floor_of(misses, False), what),
        compare("check_ioc hit", "us/call", ours_of(hits, True), floor_of(hits, True), what),
    ]


def extract() -> list[Row]:
    import security

    line = (
        "2026-11-24T08:30:{0:02d}Z host{0} sshd[4{0}]: Failed password for invalid user admin from "
        "198.51.100.{0} port 5{0:04d} ssh2\n"
    )
    logs = "".join(line.format(n % 60) for n in range(8000))
    dense = "".join(
        f"beacon to evil{n}[.]example[.]com and hxxps://c2-{n}.example.net/gate.php, drop "
        f"{hashlib.sha256(str(n).encode()).hexdigest()} from 203.0.113.{n % 250}, mail ops{n}@example.org\n"
        for n in range(3000)
    )
    pattern = re.compile(
        r"\b(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32}|"
        r"(?:https?|hxxps?)://\S+|[\w.+-]+@[\w-]+\.[\w.]+|(?:[a-z0-9-]+(?:\[\.\]|\.))+[a-z]{2,})\b"
    )

    def ours_of(text: str) -> Callable[[], int]:
        def run() -> int:
            if not security.extract_iocs(text):
                raise SystemExit("nothing extracted")
            return len(text)

        return run

    def floor_of(text: str) -> Callable[[], int]:
        def run() -> int:
            if not [(m.group(), m.start(), m.end()) for m in pattern.finditer(text)]:
                raise SystemExit("nothing found")
            return len(text)

        return run

    what = "one regular expression, nothing validated or refanged"
    return [
        compare("extract_iocs, log lines", "us/byte", ours_of(logs), floor_of(logs), what),
        compare("extract_iocs, dense report", "us/byte", ours_of(dense), floor_of(dense), what),
    ]


def main() -> int:
    print(f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} CPUs, {ROUNDS} paired rounds")
    print(f"{'':<34} {'ours':>10} {'floor':>10} {'ratio':>8}  {'unit':<12} floor is")
    with engine():
        for group in (verify, check_ioc, extract, web.flask, web.gateways, web.bodies):
            for row in group():
                print(row, flush=True)
    for line in web.peers():
        print(line, flush=True)
    for row in many_keys():
        print(row, flush=True)
    for line in peers():
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
