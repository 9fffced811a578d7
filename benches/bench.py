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
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

ROOT = Path(__file__).parent.parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
KEYS = int(os.environ.get("BENCH_KEYS", "2000"))
MANY_KEYS = int(os.environ.get("BENCH_MANY_KEYS", "1000000"))
INDICATORS = int(os.environ.get("BENCH_INDICATORS", "100000"))


class Row:
    """One comparison: the engine's time and the floor's, in microseconds of CPU for one unit of work."""

    def __init__(self, name: str, unit: str, ours: list[float], floor: list[float], what: str) -> None:
        self.name = name
        self.unit = unit
        self.ours = statistics.median(ours)
        self.floor = statistics.median(floor)
        self.ratio = statistics.median(a / b for a, b in zip(ours, floor, strict=True))
        self.what = what

    def __str__(self) -> str:
        figures = f"{self.ours:>10.2f} {self.floor:>10.2f} {self.ratio:>7.2f}x"
        return f"{self.name:<34} {figures}  {self.unit:<12} {self.what}"


def per_call(function: Callable[[], int], clock: Callable[[], float]) -> float:
    """CPU microseconds for one unit; `function` gives the number of units it did."""
    before = clock()
    units = function()
    return (clock() - before) * 1e6 / units


def compare(
    name: str,
    unit: str,
    ours: Callable[[], int],
    floor: Callable[[], int],
    what: str,
    clock: Callable[[], float] = time.process_time,
) -> Row:
    ours()
    floor()
    pairs = [(per_call(ours, clock), per_call(floor, clock)) for _ in range(ROUNDS)]
    return Row(name, unit, [a for a, _ in pairs], [b for _, b in pairs], what)


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


def flask() -> list[Row]:
    import security
    from flask import Flask

    def application(protected: bool) -> Flask:
        app = Flask(__name__ if protected else f"{__name__}.bare")

        def order() -> dict[str, str]:
            return {"status": "success"}

        view = security.require_api_key(order) if protected else order
        app.add_url_rule("/api/order", "order", view)
        return security.create_security_middleware(app) if protected else app

    key = security.issue_api_key("bench flask", scopes=["read"], rate_limit="unlimited")["key"]

    def requests_of(app: Flask, requests: int) -> Callable[[], int]:
        from werkzeug.test import EnvironBuilder

        environment = EnvironBuilder("/api/order", headers=[("X-API-Key", key)]).get_environ()
        environment["REMOTE_ADDR"] = "127.0.0.1"

        answered: list[str] = []

        def start_response(status: str, _headers: object, _error: object = None) -> None:
            answered.append(status)

        def run() -> int:
            for _ in range(requests):
                body = app.wsgi_app(dict(environment), start_response)  # type: ignore[arg-type]
                for _chunk in body:
                    pass
                body.close()  # type: ignore[attr-defined]
            refused = [status for status in answered if not status.startswith("200")]
            answered.clear()
            if refused:
                raise SystemExit(f"{len(refused)} requests were answered {refused[0]}")
            return requests

        return run

    row = compare(
        "one Flask request, protected",
        "us/request",
        requests_of(application(True), 500),
        requests_of(application(False), 500),
        "the same application bare",
    )
    added = Row("  of which added by the engine", "us/request", [row.ours - row.floor], [row.floor], "the bare request")
    return [row, added]


def gateways() -> list[Row]:
    import security
    from security.adapters import asgi, wsgi

    key = security.issue_api_key("bench gateways", scopes=["read"], rate_limit="unlimited")["key"]
    lines = [("host", "localhost"), ("user-agent", "bench/1"), ("accept", "*/*"), ("x-api-key", key)]
    answer = [("Content-Type", "application/json"), ("Content-Length", "2")]
    raw_answer = [(name.lower().encode(), value.encode()) for name, value in answer]

    def plain(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", list(answer))
        return (b"{}",)

    async def plain_async(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(raw_answer)})
        await send({"type": "http.response.body", "body": b"{}"})

    environment: dict[str, Any] = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in lines}
    environment |= {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/api/order",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
    }
    connection: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/order",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in lines],
        "client": ("127.0.0.1", 40000),
    }
    requests = 2000

    def over_wsgi(app: Any) -> Callable[[], int]:
        statuses: list[str] = []

        def start_response(status: str, _headers: object, _error: object = None) -> None:
            statuses.append(status)

        def run() -> int:
            statuses.clear()
            for _ in range(requests):
                app(dict(environment), start_response)
            if statuses != ["200 OK"] * requests:
                raise SystemExit("a request was refused")
            return requests

        return run

    def over_asgi(app: Any) -> Callable[[], int]:
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def loop() -> None:
            for _ in range(requests):
                await app({**connection, "state": {}}, receive, send)

        def run() -> int:
            import asyncio

            statuses.clear()
            asyncio.run(loop())
            if statuses != [200] * requests:
                raise SystemExit("a request was refused")
            return requests

        return run

    rows: list[Row] = []
    for name, ours, floor in (
        ("one WSGI request", over_wsgi(wsgi.SecurityMiddleware(wsgi.require_api_key(plain))), over_wsgi(plain)),
        (
            "one ASGI request",
            over_asgi(asgi.SecurityMiddleware(asgi.require_api_key(plain_async))),
            over_asgi(plain_async),
        ),
    ):
        row = compare(f"{name}, protected", "us/request", ours, floor, "the same application bare, no framework")
        added = Row("  of which added by the engine", "us/request", [row.ours - row.floor], [row.floor], "the bare one")
        rows += [row, added]
    return rows


def bodies() -> list[Row]:
    import asyncio
    import io

    from security.adapters import asgi, wsgi

    items = [{"name": f"part {n}", "count": n} for n in range(30)]
    order = {"customer": "Ada O'Brien", "items": items, "note": "thanks"}
    body = json.dumps(order).encode()
    requests = 1000

    def plain(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [("Content-Type", "application/json")])
        return (b"{}",)

    async def plain_async(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})

    environment = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/order",
        "QUERY_STRING": "",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "bench/1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
    }
    headers = {"host": "localhost", "user-agent": "bench/1", "content-type": "application/json"}
    headers["content-length"] = str(len(body))
    connection: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/order",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 40000),
    }

    def over_wsgi(app: Any) -> Callable[[], int]:
        statuses: list[str] = []

        def run() -> int:
            statuses.clear()
            for _ in range(requests):
                app({**environment, "wsgi.input": io.BytesIO(body)}, lambda status, *_: statuses.append(status))
            if statuses != ["200 OK"] * requests:
                raise SystemExit("a request was refused")
            return requests

        return run

    def over_asgi(app: Any) -> Callable[[], int]:
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def loop() -> None:
            for _ in range(requests):
                await app({**connection, "state": {}}, receive, send)

        def run() -> int:
            statuses.clear()
            asyncio.run(loop())
            if statuses != [200] * requests:
                raise SystemExit("a request was refused")
            return requests

        return run

    rows: list[Row] = []
    for name, ours, floor in (
        ("one WSGI POST of 1 kB JSON", over_wsgi(wsgi.SecurityMiddleware(plain)), over_wsgi(plain)),
        ("one ASGI POST of 1 kB JSON", over_asgi(asgi.SecurityMiddleware(plain_async)), over_asgi(plain_async)),
    ):
        row = compare(name, "us/request", ours, floor, "the same application bare, no framework")
        added = Row("  of which added by the engine", "us/request", [row.ours - row.floor], [row.floor], "the bare one")
        rows += [row, added]
    return rows


def main() -> int:
    print(f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} CPUs, {ROUNDS} paired rounds")
    print(f"{'':<34} {'ours':>10} {'floor':>10} {'ratio':>8}  {'unit':<12} floor is")
    with engine():
        for group in (verify, check_ioc, extract, flask, gateways, bodies):
            for row in group():
                print(row, flush=True)
    for row in many_keys():
        print(row, flush=True)
    for line in peers():
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
