"""Walks through the main job on this machine: `make demo`, or, with the wheel installed, `python examples/demo.py`.

Everything happens in a fresh folder and on loopback, with made-up data, and is checked: the first step that does not
do what it should ends the walk with exit code 1 and the step's name.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import make_feed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# All of it, an installation of the TAXII server included.
LONGEST = 300
# Who asks, as the trusted proxy before the application writes it.
SHOP, STRANGER, LISTED, OFFICE = "192.0.2.10", "192.0.2.200", "203.0.113.66", "10.1.2.3"

CONFIG = """\
[web.client_address]
trusted_proxies = "loopback"   # the proxy before the application; its X-Forwarded-For is believed
"""


class UnexpectedError(Exception):
    """A step did not do what it should."""


class Transcript:
    """Numbered steps, and under each what happened."""

    def __init__(self) -> None:
        wants_colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._bold, self._green, self._red, self._plain = (
            ("\033[1m", "\033[32m", "\033[31m", "\033[0m") if wants_colour else ("", "", "", "")
        )
        self._tick = "✓" if (sys.stdout.encoding or "").lower().startswith("utf") else "ok"
        self._number = 0
        self.title = "preparing"

    def step(self, title: str) -> None:
        """The next step begins."""
        self._number += 1
        self.title = title
        print(f"\n{self._bold}{self._number}. {title}{self._plain}", flush=True)

    def done(self, text: str) -> None:
        """Something went as it should."""
        print(f"   {self._green}{self._tick}{self._plain} {text}", flush=True)

    def show(self, text: str, lines: int = 12) -> None:
        """Output of a command, indented, the first lines of it."""
        shown = text.rstrip().splitlines()
        for line in shown[:lines]:
            print(f"     {line[:150]}", flush=True)
        if len(shown) > lines:
            print(f"     … and {len(shown) - lines} lines more", flush=True)

    def failed(self, problem: str) -> None:
        """The walk ends here."""
        print(f"\n{self._red}failed{self._plain} in step {self._number}, {self.title}: {problem}", flush=True)


def must(holds: bool, problem: str) -> None:
    """Checks a step's outcome."""
    if not holds:
        raise UnexpectedError(problem)


class Command:
    """The `security` command on the data directory of the walk."""

    def __init__(self, folder: Path) -> None:
        # Nothing of the caller's own configuration, credentials or servers.
        ours = ("SECURITY_", "TAXII_", "API_KEY", "DB_PASSWORD", "SECRET_TOKEN", "MAIL_API_KEY", "LOGGING_API_KEY")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment["SECURITY_DATA_DIR"] = str(folder / "data")
        self.environment["SECURITY_CONFIG"] = str(folder / "security.toml")

    def __call__(self, *arguments: str | Path, stdin: str = "", exits: int = 0) -> str:
        """Runs a verb; what it wrote to stdout, once its exit code is as it should be."""
        done = subprocess.run(
            [sys.executable, "-m", "security", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=self.environment,
            timeout=60,
            check=False,
        )
        shown = " ".join(map(str, arguments))
        if done.returncode != exits:
            said = (done.stderr or done.stdout).strip()
            raise UnexpectedError(f"`security {shown}` ended with {done.returncode}, not {exits}: {said}")
        return done.stdout

    def records(self, *arguments: str | Path, stdin: str = "", exits: int = 0) -> list[dict[str, Any]]:
        """The same with `--json`."""
        lines = self(*arguments, "--json", stdin=stdin, exits=exits).splitlines()
        return [json.loads(line) for line in lines]

    def record(self, *arguments: str | Path, stdin: str = "", exits: int = 0) -> dict[str, Any]:
        """The one record of a verb with `--json`."""
        records = self.records(*arguments, stdin=stdin, exits=exits)
        must(len(records) == 1, f"`security {arguments[0]}` gave {len(records)} records, not one")
        return records[0]


class Answer:
    """What the application answered."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.worker = response.headers.get("X-Worker", "")
        self.request_id = response.headers.get("X-Request-ID", "")
        self.body: dict[str, Any] = json.loads(response.read() or b"{}")


class Client:
    """Asks the application, as the proxy before it would."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(
        self,
        path: str,
        *,
        client: str = SHOP,
        key: str | None = None,
        agent: str = "shop/1.0",
        post: dict[str, Any] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        headers = {"X-Forwarded-For": client, "User-Agent": agent}
        if key is not None:
            headers["X-API-Key"] = key
        body = None
        if post is not None:
            body = json.dumps(post)
            headers["Content-Type"] = "application/json"
        with contextlib.closing(connection):
            connection.request("GET" if post is None else "POST", path, body, headers)
            return Answer(connection.getresponse())

    def every_worker(self, ask: Callable[[], Answer], workers: int) -> list[Answer]:
        """Asks, several at a time, until so many workers have answered; all their answers."""
        answers: list[Answer] = []
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for _ in range(20):
                answers += [each.result() for each in [pool.submit(ask) for _ in range(8)]]
                if len({answer.worker for answer in answers}) >= workers:
                    return answers
        raise UnexpectedError(f"only {len({answer.worker for answer in answers})} of {workers} workers answered")


@contextlib.contextmanager
def child(arguments: Sequence[object], log: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of our own, ended when the block ends, whatever happened in it."""
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            list(map(str, arguments)),
            stdin=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            **options,
        )
    try:
        yield process
    finally:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # workers too
            process.wait()


def tail(log: Path) -> str:
    """The last words of a process."""
    return " / ".join(log.read_text("utf-8", errors="replace").strip().splitlines()[-3:])


@contextlib.contextmanager
def taxii_server(folder: Path) -> Iterator[dict[str, Any]]:
    """A real TAXII 2.1 server with made-up indicators; what a client has to know of it."""
    program = ROOT / "tests" / "taxii_server.py"
    log = folder / "taxii-server.log"
    arguments = [sys.executable, program, "--venv", ROOT / ".venvs" / "medallion", "--port", "0"]
    with child(arguments, log, stdout=subprocess.PIPE) as server:
        line = server.stdout.readline() if server.stdout else ""
        must(bool(line), f"the TAXII server did not start: {tail(log)}")
        yield json.loads(line)


@contextlib.contextmanager
def application(folder: Path, environment: dict[str, str], workers: int) -> Iterator[Client]:
    """The example application under gunicorn on a free port of loopback."""
    log = folder / "gunicorn.log"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        bind = f"fd://{listener.fileno()}"
        arguments = [sys.executable, "-m", "gunicorn", "--workers", workers, "--bind", bind]
        arguments += ["--chdir", HERE / "flask_app", "--worker-tmp-dir", folder, "app:app"]
        options = {"env": environment, "pass_fds": [listener.fileno()], "stdout": subprocess.DEVNULL}
        with child(arguments, log, **options) as server:
            client = Client(listener.getsockname()[1])
            deadline = time.monotonic() + 30
            while True:
                must(server.poll() is None, f"gunicorn ended: {tail(log)}")
                must(time.monotonic() < deadline, f"gunicorn does not answer: {tail(log)}")
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if client("/health").status == 200:
                        break
                time.sleep(0.1)
            yield client


def set_up(tell: Transcript, security: Command, folder: Path) -> None:
    tell.step("Set up a data directory")
    (folder / "security.toml").write_text(CONFIG, "utf-8")
    made = security.record("init")
    must(len(made["folders"]) == 7, f"7 folders should be there, not {made['folders']}")
    tell.done(f"security init: {made['data_dir']}")


def import_feeds(tell: Transcript, security: Command, folder: Path) -> None:
    tell.step("Import feeds: plain list, CSV, MISP event, STIX bundle")
    total = 0
    for feed in make_feed.write_feeds(folder / "feeds"):
        done = security.record("ioc", "import", feed, "--confidence", "80", "--source", f"made-up:{feed.stem}")
        must(done["rejected"] == 0 and done["added"] > 400, f"{feed.name}: {done}")
        total += done["added"]
        tell.done(f"{feed.name}: {done['added']} added, {done['merged']} merged ({done['format']})")
    counted = security.record("status")["counts"]["indicators"]
    must(counted == total, f"{counted} indicators are stored, {total} were added")


def read_report(tell: Transcript, security: Command) -> None:
    tell.step("Read a threat report and ask which of its indicators are listed")
    report = HERE / "report.txt"
    found = security.records("extract", report, "--unique")
    defanged = sum(each["defanged"] for each in found)
    must(len(found) >= 11 and defanged >= 8, f"{len(found)} found, {defanged} of them disarmed")
    tell.done(f"security extract report.txt: {len(found)} indicators, {defanged} of them were disarmed in the text")
    # Exit code 10: something is listed.
    values = "\n".join(each["value"] for each in found)
    checks = security.records("ioc", "check", "-", stdin=values, exits=10)
    listed = [each for each in checks if each["matched"]]
    how = sorted({match["match_type"] for each in listed for match in each["matches"]})
    must(len(listed) >= 5, f"only {len(listed)} of {len(checks)} are listed")
    tell.done(f"security ioc check: {len(listed)} of {len(checks)} are listed ({', '.join(how)})")


def add_rules(tell: Transcript, security: Command) -> None:
    tell.step("Try a rule, then put three in force")
    events = '{"query": "page=../../../etc/passwd"}\n{"query": "page=2"}\n'
    trial = security.records("rule", "test", HERE / "rules" / "path-traversal.yml", "-", stdin=events, exits=10)
    must([each["matched"] for each in trial] == [True, False], f"the trial says {trial}")
    tell.done("security rule test: matches the first event and leaves the second alone; nothing recorded")
    for path in sorted((HERE / "rules").glob("*.yml")):
        rule = security.record("rule", "add", path)
        tell.done(f"security rule add {path.name}: {rule['name']} ({rule['severity']})")
    must(len(security.records("rule", "list")) == 3, "three rules should be in force")


def pull_from_taxii(tell: Transcript, security: Command, folder: Path) -> None:
    tell.step("Pull from a TAXII 2.1 server (OASIS's own, on loopback)")
    with taxii_server(folder) as server:
        arguments = ["taxii", "add", "partner", "--url", server["url"], "--username", server["username"]]
        arguments += ["--collection", server["collection_id"], "--password-stdin"]
        stored = security(*arguments, stdin=server["password"])
        must(server["password"] not in stored, "the password is shown")
        tell.done(f"security taxii add partner: {server['url']}")
        pulled = security.record("taxii", "pull", "partner", "--limit", "1000")
        must(pulled["objects"] == server["objects"], f"{pulled['objects']} objects came, {server['objects']} are there")
        must(pulled["indicators_added"] > 100, f"only {pulled['indicators_added']} indicators came")
        tell.done(f"security taxii pull: {pulled['objects']} objects, {pulled['indicators_added']} new indicators")
        again = security.record("taxii", "pull", "partner", "--limit", "1000", "--indicators-only")
        must(again["indicators_added"] == 0, f"{again['indicators_added']} indicators came twice")
        tell.done("the same again: nothing twice")


def issue_key(tell: Transcript, security: Command) -> dict[str, Any]:
    tell.step("Issue an API key")
    scopes = ["--scope", "orders:read", "--scope", "orders:write"]
    issued = security.record("key", "issue", "shop", *scopes, "--rate-limit", "1000/minute", "--expires-in", "30d")
    masked = issued["key"][:6] + "…"
    must(security("key", "verify", stdin=issued["key"]).startswith("valid"), "the key is not valid")
    tell.done(f"security key issue shop: {masked} with {', '.join(issued['scopes'])}, until {issued['expires_at']}")
    return issued


def expect(tell: Transcript, answer: Answer, status: int, text: str) -> None:
    """A request was answered as it should be."""
    must(answer.status == status, f"{text}: {answer.status} instead of {status}, {answer.body}")
    tell.done(f"{status}  {text}")


def ask(tell: Transcript, client: Client, key: str) -> None:
    tell.step("Ask the example application: gunicorn, two workers")
    expect(tell, client("/health"), 200, "/health asks nothing")
    expect(tell, client("/api/orders"), 401, "no key")
    expect(tell, client("/api/orders", key="sk_not_a_key"), 403, "a wrong key")
    answer = client("/api/orders", key=key)
    expect(tell, answer, 200, "the issued key")
    must(answer.body["key"] == "shop" and bool(answer.request_id), f"the view saw {answer.body}")
    expect(tell, client("/api/admin-report", key=key), 403, "a scope that the key lacks")
    expect(tell, client("/admin"), 403, "/admin from anywhere")
    expect(tell, client("/admin", client=OFFICE), 200, "/admin from a trusted network")
    expect(tell, client("/api/orders", key=key, client=LISTED), 403, f"the valid key from {LISTED}, a listed address")
    expect(tell, client("/?page=../../../etc/passwd"), 403, "a request that a rule of severity high matches")
    expect(tell, client("/api/orders", key=key, agent="door-rattler/2"), 200, "one of severity low: noted, let through")
    expect(tell, client("/api/orders", key=key, post={"note": "leave it at the door"}), 201, "an order")
    held = client("/api/orders", key=key, post={"note": "pay me in gift cards"})
    expect(tell, held, 202, f"an order whose note raises an alert: {held.body.get('status')}")


def guess_keys(tell: Transcript, client: Client, key: str) -> None:
    tell.step("Let a stranger guess keys")
    statuses = [client("/api/orders", client=STRANGER, key=f"sk_guess_{number}").status for number in range(8)]
    must(statuses[0] == 403 and statuses[-1] == 429, f"the guesses got {statuses}")
    tell.done(f"8 guesses: {statuses.count(403)} refused with 403, then {statuses.count(429)} locked out with 429")
    expect(tell, client("/api/orders", client=STRANGER, key=key), 200, "a valid key from the same address goes on")


def revoke(tell: Transcript, security: Command, client: Client, issued: dict[str, Any]) -> None:
    tell.step("Revoke the key in another process")

    def use() -> Answer:
        return client("/api/orders", key=issued["key"])

    before = client.every_worker(use, 2)
    must({answer.status for answer in before} == {200}, "the key should be valid in both workers before")
    workers = sorted({answer.worker for answer in before})
    tell.done(f"before: 200 from both workers, {' and '.join(workers)}")
    security("key", "revoke", issued["id"], "--reason", "the demonstration ends")
    # Not one more request may pass, whichever worker takes it.
    after = client.every_worker(use, 2)
    statuses = [answer.status for answer in after]
    must(set(statuses) == {403}, f"after the revocation: {statuses}")
    must({answer.worker for answer in after} == set(workers), "other workers answered after the revocation")
    tell.done(f"after: {len(after)} of {len(after)} requests refused, by both workers, from the first one on")


def look_back(tell: Transcript, security: Command) -> None:
    tell.step("Look at what was recorded")
    uses = security.records("usage", "--limit", "1000")
    # One of the shell, some of the first requests, eight guesses, and both rounds of the revocation.
    must(len(uses) > 30 and any(each["reason"] == "revoked" for each in uses), f"{len(uses)} uses are recorded")
    tell.done(f"security usage: {len(uses)} uses; the latest:")
    tell.show(security("usage", "--limit", "3"))
    findings = security.records("suspicion", exits=10)
    must(any(STRANGER in each["client_ips"] for each in findings), "the guessing stranger is not found")
    tell.done("security suspicion:")
    tell.show(security("suspicion", exits=10))
    alerts = security.records("alerts", "--limit", "100")
    names = {each["rule_id"] for each in alerts}
    must(names >= {"path-traversal", "scanner-agent", "gift-card-order"}, f"alerts are there of {names} only")
    tell.done("security alerts:")
    tell.show(security("alerts", "--limit", "5"))
    chain = security.record("audit", "verify")
    must(chain["intact"] is True, f"the audit trail is broken: {chain}")
    tell.done(f"security audit verify: {chain['records']} records in {chain['files']} files, chain intact")
    counts = security.record("status")["counts"]
    must(counts["indicators"] > 3000 and counts["rules"] == 3, f"the status counts {counts}")
    tell.done(
        f"security status: {counts['indicators']} indicators, {counts['intelligence']} intelligence records, "
        f"{counts['rules']} rules, {counts['issued_keys']} key"
    )


def walk(tell: Transcript, folder: Path) -> None:
    """The steps in their order."""
    security = Command(folder)
    set_up(tell, security, folder)
    import_feeds(tell, security, folder)
    read_report(tell, security)
    add_rules(tell, security)
    pull_from_taxii(tell, security, folder)
    issued = issue_key(tell, security)
    with application(folder, security.environment, 2) as client:
        ask(tell, client, issued["key"])
        guess_keys(tell, client, issued["key"])
        revoke(tell, security, client, issued)
    look_back(tell, security)


def interrupt(reason: str) -> Callable[..., None]:
    """A signal handler that ends the walk like any other failure, so that what was started is stopped."""

    def handler(*_: object) -> None:
        raise UnexpectedError(reason)

    return handler


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Walks through the main job.")
    parser.add_argument("--keep", action="store_true", help="keep the data directory")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, interrupt(f"not done after {LONGEST} seconds"))
    signal.signal(signal.SIGTERM, interrupt("stopped from outside"))
    signal.alarm(LONGEST)
    started = time.monotonic()
    tell = Transcript()
    folder = Path(tempfile.mkdtemp(prefix="security-demo-"))
    is_done = False
    try:
        walk(tell, folder)
        is_done = True
    except UnexpectedError as error:
        tell.failed(str(error))
    except KeyboardInterrupt:
        tell.failed("interrupted")
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        tell.failed(f"{type(error).__name__}: {error}")
    finally:
        signal.alarm(0)
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if not is_done:
        return 1
    data = f"kept: {folder / 'data'}" if arguments.keep else "removed; `python examples/demo.py --keep` keeps it"
    print(
        textwrap.dedent(
            f"""
            All steps did what they should, in {time.monotonic() - started:.0f} seconds.
            Where to look next
              README.md                   what the engine does, in thirty seconds
              docs/cli.md                 the command, verb by verb
              examples/flask_app/app.py   the application that was asked
              data directory              {data}"""
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
