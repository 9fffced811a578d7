#!/usr/bin/env python3
"""A real TAXII 2.1 server for tests and demonstrations: medallion, the server of OASIS, on loopback.

    python3 tests/taxii_server.py --venv DIR [--port 0] [--data BUNDLE.json]

Makes the virtual environment DIR if it is not there, starts the server with a data set of our own making (or with
the objects of a STIX bundle) and, once it answers, prints one line of JSON: ``url`` (of the discovery document),
``username``, ``password``, ``api_root``, ``collection_id``, ``objects`` (how many that collection serves) and
``collections``. It stops when its standard input is closed, or on SIGTERM.

In Python: ``with TaxiiServer(venv) as server: server.url, server.username, …``. Nothing but the standard library is
needed on this side.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import importlib
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
import venv as virtual_environments
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

REQUIREMENTS = Path(__file__).resolve().with_name("requirements-medallion.txt")
USERNAME = "analyst"
MEDIA_TYPE = "application/taxii+json;version=2.1"
STIX = "application/stix+json;version=2.1"
# The server never serves more at once, whatever the client asks for.
MAX_PAGE_SIZE = 100
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
NAMESPACE = uuid.UUID("5f1b0c52-7c8e-4a52-9d2e-3f6f6f1c9a10")

INDICATORS = "6a2f1f0e-6c1d-4b57-8a55-0d2f3a6f7b01"
REPORTS = "6a2f1f0e-6c1d-4b57-8a55-0d2f3a6f7b02"
INBOX = "6a2f1f0e-6c1d-4b57-8a55-0d2f3a6f7b03"
PARTNER = "6a2f1f0e-6c1d-4b57-8a55-0d2f3a6f7b04"


# --- the data set -----------------------------------------------------------------------------------------------


def written(moment: datetime, digits: int = 3) -> str:
    """The moment as STIX (three digits) and TAXII (six) write it."""
    fraction = f"{moment.microsecond:06d}"[:digits]
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}Z"


def stix_id(object_type: str, name: str) -> str:
    """The same id for the same name in every run."""
    return f"{object_type}--{uuid.uuid5(NAMESPACE, object_type + name)}"


def digest(kind: str, number: int) -> str:
    """A hash of made-up content."""
    return hashlib.new(kind, f"sample {number}".encode()).hexdigest()


def pattern(number: int) -> str:
    """Patterns of every sort: single values, lists, alternatives, networks, and such that are no list of values."""
    domain, address = f"host-{number:03d}.evil.example", f"198.51.100.{number % 254 + 1}"
    return (
        f"[domain-name:value = '{domain}']",
        f"[ipv4-addr:value = '{address}']",
        f"[file:hashes.'SHA-256' = '{digest('sha256', number)}']",
        f"[url:value = 'https://{domain}/gate.php?id={number}']",
        f"[ipv4-addr:value = '{address}' OR domain-name:value = '{domain}']",
        f"[file:hashes.MD5 = '{digest('md5', number)}'] OR [file:hashes.'SHA-1' = '{digest('sha1', number)}']",
        f"[domain-name:value IN ('a-{domain}', 'b-{domain}')]",
        f"[email-addr:value = 'billing-{number:03d}@evil.example']",
        f"[ipv6-addr:value = '2001:db8::{number:x}']",
        f"[file:name = 'setup-{number:03d}.exe' AND file:size > {1000 + number}]",
        f"[ipv4-addr:value ISSUBSET '203.0.113.{number % 16 * 16}/28']",
        f"([domain-name:value = '{domain}'] FOLLOWEDBY [file:name = 'it\\'s {number}.bin']) WITHIN 300 SECONDS",
    )[number % 12]


def domain_object(object_type: str, key: str, made: datetime, /, **properties: Any) -> dict[str, Any]:
    """A STIX 2.1 object with its common properties."""
    return {
        "type": object_type,
        "spec_version": "2.1",
        "id": stix_id(object_type, key),
        "created": written(made),
        "modified": written(made),
        **properties,
    }


def indicator(number: int, made: datetime) -> dict[str, Any]:
    """An indicator; every tenth one is sure, expires, or both."""
    made_up = {
        "name": f"Made-up indicator {number}",
        "indicator_types": ["malicious-activity"],
        "pattern": pattern(number),
        "pattern_type": "stix",
        "valid_from": written(made),
        "confidence": number * 7 % 101,
        "labels": [f"set-{number % 5}"],
    }
    if number % 10 == 0:
        made_up["valid_until"] = written(made + timedelta(days=365))
    return domain_object("indicator", str(number), made, **made_up)


def indicators() -> list[dict[str, Any]]:
    """272 objects: an identity, 240 indicators, malware with relationships, addresses."""
    made = START
    objects = [domain_object("identity", "team", made, name="Example Team", identity_class="organization")]
    objects += [indicator(number, made + timedelta(minutes=number)) for number in range(240)]
    for number in range(12):
        malware = domain_object("malware", str(number), made, name=f"Dripper {number}", is_family=False)
        objects.append(malware)
        objects.append(
            domain_object(
                "relationship",
                str(number),
                made,
                relationship_type="indicates",
                source_ref=stix_id("indicator", str(number)),
                target_ref=malware["id"],
            )
        )
    for number in range(7):
        value = f"192.0.2.{number + 1}"
        objects.append({"type": "ipv4-addr", "spec_version": "2.1", "id": stix_id("ipv4-addr", value), "value": value})
    return objects


def reports() -> list[dict[str, Any]]:
    """Fewer objects than fit a page."""
    named = [stix_id("indicator", str(number)) for number in range(30)]
    return [
        domain_object(
            "report",
            str(number),
            START + timedelta(days=number),
            name=f"Week {number}",
            published=written(START + timedelta(days=number)),
            report_types=["threat-report"],
            object_refs=named[number : number + 5],
        )
        for number in range(25)
    ]


def collection(identifier: str, title: str, objects: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A collection as medallion keeps it: each object has an entry in the manifest, a second apart."""
    manifest = []
    for place, item in enumerate(objects):
        added = written(START + timedelta(days=30, seconds=place), 6)
        # Observables have no version, so medallion takes the time it got them, which it hides from clients.
        if "modified" not in item and "created" not in item:
            item["_date_added"] = added
        version = item.get("modified") or item.get("created") or added
        manifest.append({"id": item["id"], "date_added": added, "version": version, "media_type": STIX})
    entry = {"id": identifier, "title": title, "can_read": True, "can_write": False, "media_types": [STIX]}
    return {**entry, **more, "objects": objects, "manifest": manifest}


def api_root(title: str, collections: list[dict[str, Any]]) -> dict[str, Any]:
    """An API root as medallion keeps it."""
    information = {
        "title": title,
        "description": f"{title} of the test server",
        "versions": [MEDIA_TYPE],
        "max_content_length": 1_000_000,
    }
    return {"information": information, "status": [], "collections": collections}


def data_set(base: str, bundle: dict[str, Any] | None) -> dict[str, Any]:
    """Everything the server knows. One API root is listed by its address, the other one by its path alone."""
    main = indicators() if bundle is None else bundle.get("objects", [])
    if bundle is None:
        # A newer version of two objects: a client sees it alone, unless it asks for all of them.
        for number in (3, 4):
            newer = indicator(number, START + timedelta(minutes=number))
            newer.update(modified=written(START + timedelta(days=2)), confidence=99)
            main.append(newer)
    return {
        "/discovery": {
            "title": "Test server",
            "description": "Made-up threat intelligence",
            "contact": "team@corp.example",
            "default": f"{base}/alpha/",
            "api_roots": [f"{base}/alpha/", "/beta/"],
        },
        "alpha": api_root(
            "Alpha",
            [
                collection(INDICATORS, "Indicators", main, description="Indicators of every sort"),
                collection(REPORTS, "Reports", reports()),
                collection(INBOX, "Inbox", [], can_write=True),
            ],
        ),
        "beta": api_root("Beta", [collection(PARTNER, "Partner", [indicator(900 + n, START) for n in range(12)])]),
    }


def distinct(objects: list[dict[str, Any]]) -> int:
    """How many objects a client gets: the newest version of each."""
    return len({item["id"] for item in objects})


# --- the server process, inside the virtual environment ------------------------------------------------------------


def serve(folder: Path) -> None:
    """Serves until standard input ends, so that the server never outlives whoever started it."""
    # Only the environment of the server has these, so nobody else's type checker or import sorter finds them.
    medallion: Any = importlib.import_module("medallion")
    serving: Any = importlib.import_module("werkzeug.serving")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    server = serving.make_server("127.0.0.1", config["port"], medallion.application_instance, threaded=True)
    data = data_set(f"http://127.0.0.1:{server.server_port}", config["bundle"])
    (folder / "data.json").write_text(json.dumps(data), "utf-8")
    backend = {
        "module": "medallion.backends.memory_backend",
        "module_class": "MemoryBackend",
        "filename": str(folder / "data.json"),
    }
    settings = {
        "users": {USERNAME: config["password"]},
        "taxii": {"max_page_size": MAX_PAGE_SIZE},
        "backend": backend,
    }
    for name in settings:
        medallion.set_config(medallion.application_instance, name, settings)
    medallion.register_blueprints(medallion.application_instance)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    sys.stdin.read()
    server.shutdown()


# --- the outside ---------------------------------------------------------------------------------------------------


def ready_environment(folder: Path) -> Path:
    """The interpreter of the virtual environment, made and filled if need be. Several processes may ask at once."""
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    python, marker = folder / "bin" / "python", folder / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    with open(f"{folder}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.is_file() or marker.read_text("utf-8") != wanted or not runs(python):
            virtual_environments.create(folder, clear=True, with_pip=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            done = subprocess.run(
                [*install, "-r", str(REQUIREMENTS)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"medallion could not be installed:\n{done.stdout}{done.stderr}")
            marker.write_text(wanted, "utf-8")
    return python


def runs(python: Path) -> bool:
    """Whether the interpreter is there still; the one it was made from may be gone."""
    try:
        return subprocess.run([python, "-c", ""], check=False).returncode == 0
    except OSError:
        return False


class TaxiiServer:
    """The server while the ``with`` block runs."""

    def __init__(self, venv: str | os.PathLike[str], port: int = 0, data: str | os.PathLike[str] | None = None):
        self._venv = Path(venv)
        self._port = port
        self._bundle = json.loads(Path(data).read_text("utf-8")) if data is not None else None
        self._cleanup = contextlib.ExitStack()
        self._process: subprocess.Popen[str] | None = None
        self.username = USERNAME
        # With a colon in it, because that is where careless clients split.
        self.password = f"quite: {secrets.token_hex(8)}"
        self.base = ""
        self.url = ""
        self.api_root = ""
        self.collection_id = INDICATORS
        # Collections by title: their API root, id and number of objects.
        self.collections: dict[str, dict[str, Any]] = {}
        self.objects = 0

    def __enter__(self) -> TaxiiServer:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        python = ready_environment(self._venv)
        folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="taxii-server-")))
        config = {"port": self._port, "password": self.password, "bundle": self._bundle}
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        log = self._cleanup.enter_context(open(folder / "log", "w+", encoding="utf-8"))
        self._process = subprocess.Popen(
            [python, __file__, "--serve", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log.seek(0)
            raise RuntimeError(f"the TAXII server did not start:\n{log.read()}")
        self.base = f"http://127.0.0.1:{json.loads(line)['port']}"
        self.url, self.api_root = f"{self.base}/taxii2/", f"{self.base}/alpha/"
        self._wait_until_it_answers()
        for root, kept in data_set(self.base, self._bundle).items():
            for entry in kept.get("collections", []):
                self.collections[entry["title"]] = {
                    "api_root": f"{self.base}/{root}/",
                    "id": entry["id"],
                    "objects": distinct(entry["objects"]),
                }
        self.objects = self.collections["Indicators"]["objects"]

    def _wait_until_it_answers(self) -> None:
        credentials = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            self.url, headers={"Accept": MEDIA_TYPE, "Authorization": f"Basic {credentials}"}
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + 30
        while True:
            try:
                with direct.open(request, timeout=5) as response:
                    json.load(response)
                    return
            except urllib.error.URLError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """Stops the server; a second call does nothing."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        self._cleanup.close()

    def describe(self) -> dict[str, Any]:
        """What a client has to know."""
        return {
            "url": self.url,
            "username": self.username,
            "password": self.password,
            "api_root": self.api_root,
            "collection_id": self.collection_id,
            "objects": self.objects,
            "collections": self.collections,
        }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A TAXII 2.1 server on loopback for tests and demonstrations.")
    parser.add_argument("--venv", help="the virtual environment of the server; made if it is not there")
    parser.add_argument("--port", type=int, default=0, help="the port; 0 takes any free one")
    parser.add_argument("--data", help="a STIX bundle to serve instead of made-up indicators")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if not arguments.venv:
        parser.error("--venv is needed")
    # SIGTERM ends the `with` block like any other error, so that the server ends as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), TaxiiServer(arguments.venv, arguments.port, arguments.data) as server:
        print(json.dumps(server.describe()), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
