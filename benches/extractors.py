"""Finding indicators in text, beside the packages that do the same: `make bench`.

Three texts that the code below makes: logs with a find in a few lines, logs with one in every line, and a dense report.
Ours is timed over the whole of each; a peer gets the same text from its start, as much of it as `SAMPLE`, and ends
after `CAP` seconds. CPU time of one process, the best of `ROUNDS` for ours.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import security

ROOT = Path(__file__).parent.parent
PYTHON_PEERS = ("ioc-finder", "iocextract", "iocsearcher")
COMPILED_PEER = "indicator-extractor"
SIZE = 4 << 20
SAMPLE = 128 << 10
CAP = 60
ROUNDS = 5


def grown(line: str) -> str:
    """The line again and again, with a number, small numbers and a digest in it that differ."""
    lines: list[str] = []
    size = n = 0
    while size < SIZE:
        digest = hashlib.sha256(str(n).encode()).hexdigest()
        lines.append(line.format(n=n, s=n % 60, b=n % 250, digest=digest))
        size += len(lines[-1])
        n += 1
    return "".join(lines)


def texts() -> dict[str, str]:
    plain = (
        "2026-11-24 08:30:{s:02d} DEBUG [pool-3-thread-{s}] cache refresh took {b} ms, {n} entries kept, "
        "next in 300 s\n"
    )
    login = (
        "2026-11-24T08:30:{s:02d}Z host{s} sshd[4{s}]: Failed password for admin from 198.51.100.{b} "
        "port 5{s:04d} ssh2\n"
    )
    dense = (
        "The implant resolves evil{n}[.]example[.]com and fetches hxxps://c2-{n}.example.net/gate.php?id={b} over "
        "TLS; when this fails it falls back to 203[.]0[.]113[.]{b}:8443. Its second stage (SHA-256 {digest}) uses "
        "CVE-2024-{s:04d} and was mailed by ops{n}@example[.]org.\n"
    )
    return {
        "logs, a find in ten lines": grown(plain * 9 + login),
        "logs, a find in each line": grown(login),
        "dense report": grown(dense),
    }


def ours(text: str) -> tuple[float, int]:
    """Megabytes a second, and the number of finds."""
    best, found = float("inf"), 0
    for _ in range(ROUNDS):
        before = time.process_time()
        found = len(security.extract_iocs(text))
        best = min(best, time.process_time() - before)
    return len(text) / best / 1e6, found


def peers() -> dict[str, list[str]]:
    """What runs each peer, by its name; the name of the file with the text comes last."""
    interpreter, compiled = os.environ.get("BENCH_EXTRACTORS"), os.environ.get("BENCH_COMPILED_EXTRACTOR")
    script = str(ROOT / "benches/peers/extract.py")
    commands = {peer: [interpreter, script, peer] for peer in PYTHON_PEERS} if interpreter else {}
    return commands | ({COMPILED_PEER: [compiled]} if compiled else {})


def theirs(command: list[str], text: str) -> tuple[float, int] | None:
    """Megabytes a second and the number of finds of a peer; None when its time ran out."""
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder, "sample.txt")
        sample.write_text(text[: text.rindex("\n", 0, SAMPLE) + 1], "utf-8")
        try:
            told = subprocess.run([*command, str(sample)], check=True, capture_output=True, text=True, timeout=CAP)
        except subprocess.TimeoutExpired:
            return None
        seconds, found = told.stdout.split("\t")
        return sample.stat().st_size / float(seconds) / 1e6, int(found)


def main() -> int:
    commands = peers()
    print(f"{platform.machine()}, Python {platform.python_version()}, one core, through Python with offsets;")
    print(f"{COMPILED_PEER} is Rust without Python, and gives no offsets")
    print(f"{'text':<28} {'extractor':<20} {'MB/s':>10} {'bytes/find':>11} {'ours is':>10}")
    for name, text in texts().items():
        speed, found = ours(text)
        print(f"{name:<28} {'ours':<20} {speed:>10.1f} {len(text) / found:>11.0f}", flush=True)
        for peer, command in commands.items():
            answer = theirs(command, text)
            mark = "" if answer else "<"
            theirs_speed, theirs_found = answer or (SAMPLE / CAP / 1e6, 0)
            per_find = f"{SAMPLE / theirs_found:.0f}" if theirs_found else "no end"
            print(
                f"{name:<28} {peer:<20} {f'{mark}{theirs_speed:.4f}':>10} {per_find:>11} "
                f"{f'{speed / theirs_speed:.1f}x':>10}",
                flush=True,
            )
    for missing in {*PYTHON_PEERS, COMPILED_PEER} - commands.keys():
        print(f"{missing}: not timed, no environment variable names what runs it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
