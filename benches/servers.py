"""Requests a second under gunicorn and uvicorn, protected and with headers by hand beside bare: ``make bench-servers``.

All are served at once, one worker each, and asked in turn by wrk with sixteen connections that stay; a ratio is
the median of the rounds'. The server's own CPU time for a request stands beside it: it says the same and does not
depend on who else uses the machine.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
# Nobody's key: the engine reads it from the environment of the servers that this program starts.
KEY = "bench-key-of-the-document-0123456789"
CONFIG = '[web.limits]\nclient = "unlimited"\nkey = "unlimited"\n'
KINDS = ("bare", "headers", "protected")


class Round(NamedTuple):
    """What one round of wrk saw."""

    per_second: float
    cpu_micros: float


class Server:
    """One running server with its workers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def cpu_seconds(self) -> float:
        """CPU time of the server and its workers so far."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # What comes before is the program's name, and may hold anything.
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if self.process.pid in (int(stat.parent.name), int(fields[1])):
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def asked_by_wrk(self, seconds: int) -> Round:
        """Asked for so long; any answer but a 2xx or 3xx ends the benchmark."""
        before = self.cpu_seconds()
        url = f"http://127.0.0.1:{self.port}/api/order"
        command = ["wrk", "-t", "1", "-c", "16", "-d", f"{seconds}s", "-H", f"X-API-Key: {KEY}", url]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in told or "Socket errors" in told:
            raise SystemExit(told)
        requests = int(_found(r"(\d+) requests in", told))
        if requests == 0:
            raise SystemExit(f"nothing was answered:\n{told}")
        return Round(float(_found(r"Requests/sec:\s+([\d.]+)", told)), (self.cpu_seconds() - before) * 1e6 / requests)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"wrk says something else than expected:\n{text}")
    return found[1]


def command_of(server: str, port: int, folder: Path) -> list[str]:
    where = ["--bind", f"127.0.0.1:{port}", "--chdir", str(HERE), "--worker-tmp-dir", str(folder)]
    return {
        "gunicorn gthread, Flask": [
            *("gunicorn", *where, "--worker-class", "gthread", "--threads", "4", "--keep-alive", "60"),
            "served:over_wsgi",
        ],
        "uvicorn, FastAPI": [
            *("uvicorn", "--app-dir", str(HERE), "--port", str(port), "--no-proxy-headers", "--no-access-log"),
            *("--log-level", "warning", "served:over_asgi"),
        ],
    }[server]


@contextmanager
def started(server: str, kind: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="security-bench-") as name, socket.socket() as free:
        folder = Path(name)
        (folder / "security.toml").write_text(CONFIG)
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
        free.close()
        settings = {"BENCH_SERVED": kind, "API_KEY": KEY, "SECURITY_DATA_DIR": str(folder / "data")}
        settings["SECURITY_CONFIG"] = str(folder / "security.toml")
        settings["PYTHONPATH"] = os.pathsep.join(sys.path)
        with (folder / "log").open("wb+") as log:
            command = [sys.executable, "-m", *command_of(server, port, folder)]
            process = subprocess.Popen(
                command, env={**os.environ, **settings}, cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                deadline = time.monotonic() + 60
                while True:
                    try:
                        # gunicorn listens before a worker is there to answer.
                        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                        connection.request("GET", "/api/order", headers={"X-API-Key": KEY})
                        if connection.getresponse().status != 200:
                            raise SystemExit(f"{server}, {kind}: the request was refused")
                        connection.close()
                        break
                    except OSError:
                        if time.monotonic() > deadline or process.poll() is not None:
                            log.seek(0)
                            raise SystemExit(f"{server} does not answer:\n{log.read().decode()}") from None
                        time.sleep(0.05)
                yield Server(process, port)
            finally:
                process.terminate()
                process.wait(30)


def main() -> int:
    if shutil.which("wrk") is None:
        print("bench-servers: not run, wrk is not there; on Debian and Ubuntu: apt install wrk", file=sys.stderr)
        return 1
    print(f"{os.cpu_count()} CPUs, {ROUNDS} rounds of {SECONDS} s, 16 connections, one worker")
    print(f"{'':<28} {'bare':>10} {'by hand':>10} {'ratio':>7} {'protected':>10} {'ratio':>7}")
    for server in ("gunicorn gthread, Flask", "uvicorn, FastAPI"):
        rounds: dict[str, list[Round]] = {kind: [] for kind in KINDS}
        with ExitStack() as stack:
            servers = {kind: stack.enter_context(started(server, kind)) for kind in KINDS}
            for each in servers.values():
                each.asked_by_wrk(1)
            for turn in range(ROUNDS):
                # In turn, and whoever was last is first: what changes with time concerns both alike.
                for kind in KINDS if turn % 2 else reversed(KINDS):
                    rounds[kind].append(servers[kind].asked_by_wrk(SECONDS))
        for what, at in (("requests/s", 0), ("CPU us/request", 1)):
            bare, *others = ([seen[at] for seen in rounds[kind]] for kind in KINDS)
            figures = f"{statistics.median(bare):>10.1f}"
            for other in others:
                ratio = statistics.median(b / a for a, b in zip(bare, other, strict=True))
                figures += f" {statistics.median(other):>10.1f} {ratio:>6.3f}x"
            print(f"{server:<28} {figures}  {what}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
