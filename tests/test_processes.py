"""Several processes over one data directory: fork, spawn, threads, gunicorn."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse
from pathlib import Path
from typing import Any

import security
from engine_case import VALUES, EngineCase, clean_environment

HERE = Path(__file__).resolve().parent


def log_uses(data_dir: str, name: str, count: int) -> None:
    """What a worker does: records uses, and ends without a word."""
    security.initialize(data_dir=data_dir)
    for number in range(count):
        security.log_credential_usage("api_key", name, f"use {number}")


def verify_in_child(data_dir: str, key: str, answers: Any) -> None:
    security.initialize(data_dir=data_dir)
    answers.put(security.verify_api_key(key))


def rotate_in_child(data_dir: str, answers: Any) -> None:
    security.initialize(data_dir=data_dir)
    answers.put(security.rotate_credential("api_key"))


class Children(EngineCase):
    def components(self) -> dict[str, int]:
        security.flush()
        counted: dict[str, int] = {}
        for record in security.get_recent_usage(limit=1_000_000):
            counted[record["component"]] = counted.get(record["component"], 0) + 1
        return counted

    def run_children(self, method: str, target: Any, *arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context(method)
        children = [context.Process(target=target, args=each) for each in arguments]  # type: ignore[attr-defined]
        for child in children:
            child.start()
        for child in children:
            child.join(60)
            self.assertEqual(child.exitcode, 0, method)

    def test_no_use_is_lost(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                security.log_credential_usage("api_key", f"{method} before", "use")
                data = str(self.data_dir)
                self.run_children(method, log_uses, *[(data, f"{method} {n}", 25) for n in range(3)])
                security.log_credential_usage("api_key", f"{method} after", "use")
                counted = self.components()
                expected = {f"{method} {n}": 25 for n in range(3)} | {f"{method} before": 1, f"{method} after": 1}
                self.assertEqual({name: counted.get(name) for name in expected}, expected)
        self.assertTrue(security.verify_audit_log()["intact"])

    def test_a_pool(self) -> None:
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            for done in [pool.submit(log_uses, str(self.data_dir), "pool", 10) for _ in range(4)]:
                done.result(60)
        self.assertEqual(self.components()["pool"], 40)

    def test_what_a_child_changes_holds_in_the_parent_at_once(self) -> None:
        self.assertTrue(security.verify_api_key(VALUES["API_KEY"]))
        for method in ("fork", "spawn"):
            with self.subTest(method):
                context = multiprocessing.get_context(method)
                answers = context.Queue()
                self.run_children(method, rotate_in_child, (str(self.data_dir), answers))
                new = answers.get(timeout=10)
                self.assertFalse(security.verify_api_key(VALUES["API_KEY"]))
                self.assertTrue(security.verify_api_key(new))

    def test_what_the_parent_changed_holds_in_the_child(self) -> None:
        new = security.rotate_credential("api_key")
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        self.run_children(
            "fork", verify_in_child, *[(str(self.data_dir), key, answers) for key in (VALUES["API_KEY"], new)]
        )
        self.assertEqual(sorted(answers.get(timeout=10) for _ in range(2)), [False, True])

    def test_the_mapped_index_is_one_for_all_processes(self) -> None:
        feed = self.folder / "feed.txt"
        feed.write_text("".join(f"h{number}.example\n" for number in range(21_000)))
        security.import_indicators(feed, source="crowd")
        self.assertEqual(security.status()["match_index"]["entries"], 21_000)
        self.assertTrue(security.check_ioc("domain", "h20000.example"))
        look = (
            "import security; print(bool(security.check_ioc('domain', 'h20000.example')),"
            " bool(security.check_ioc('domain', 'h21000.example')));"
            " security.add_ioc('domain', 'later.example', 'us', 50)"
        )
        self.assertEqual(self.run_python(look), "True False\n")
        self.assertTrue(security.check_ioc("domain", "www.later.example"), "what another process adds is seen at once")
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                seen = [bool(security.check_ioc("domain", f"{name}.example")) for name in ("h7", "later", "h21000")]
                security.add_ioc("domain", "child.example", "us", 50)
                code = 0 if seen == [True, True, False] else 2
            os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertTrue(security.check_ioc("domain", "child.example"))
        self.assertEqual(security.status()["match_index"]["behind"], 2)

    def test_plain_fork_with_busy_threads(self) -> None:
        stop = threading.Event()
        wrong: list[str] = []

        def work(number: int) -> None:
            at = 0
            while not stop.is_set():
                at += 1
                if not security.verify_api_key(VALUES["API_KEY"]):
                    wrong.append("refused")
                security.add_ioc("ip", f"198.51.{number}.{at % 256}", "thread", 50)
                if not security.check_ioc("ip", f"198.51.{number}.{at % 256}"):
                    wrong.append("not found")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for attempt in range(15):
                child = os.fork()
                if child == 0:
                    # In the child: everything works, and nothing of the parent's is touched.
                    code = 1
                    try:
                        right = security.verify_api_key(VALUES["API_KEY"]) and not security.verify_api_key("wrong")
                        security.add_ioc("domain", f"child-{attempt}.example", "child", 50)
                        security.log_credential_usage("api_key", "child", str(attempt))
                        security.flush()
                        code = 0 if right else 2
                    finally:
                        os._exit(code)
                deadline = time.monotonic() + 60
                while True:
                    ended, status = os.waitpid(child, os.WNOHANG)
                    if ended:
                        break
                    if time.monotonic() > deadline:
                        os.kill(child, signal.SIGKILL)
                        os.waitpid(child, 0)
                        self.fail("the child hangs")
                    time.sleep(0.005)
                self.assertEqual(os.waitstatus_to_exitcode(status), 0, f"child {attempt}")
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        self.assertEqual(wrong, [])
        self.assertEqual(self.components()["child"], 15)
        for attempt in range(15):
            self.assertTrue(security.check_ioc("domain", f"child-{attempt}.example"))

    def test_many_first_uses_at_once(self) -> None:
        fresh = self.folder / "fresh"
        code = (
            "import sys, security, threading\n"
            "found = []\n"
            "def use(): found.append(security.verify_api_key(sys.argv[1]))\n"
            "threads = [threading.Thread(target=use) for _ in range(8)]\n"
            "[t.start() for t in threads]; [t.join() for t in threads]\n"
            "print(found == [True] * 8)"
        )
        environment = clean_environment(**VALUES, SECURITY_DATA_DIR=str(fresh))
        started = [
            subprocess.Popen(
                [sys.executable, "-c", code, VALUES["API_KEY"]], env=environment, stdout=subprocess.PIPE, text=True
            )
            for _ in range(4)
        ]
        for process in started:
            output, _ = process.communicate(timeout=120)
            self.assertEqual((process.returncode, output), (0, "True\n"))

    def test_the_end_of_a_process_waits_for_its_records(self) -> None:
        for ending in ("pass", "sys.exit(0)", "1 / 0"):
            name = f"ending {ending}"
            code = f"import sys, security; security.log_credential_usage('api_key', {name!r}, 'use'); {ending}"
            environment = clean_environment(**VALUES, SECURITY_DATA_DIR=str(self.data_dir))
            subprocess.run(
                [sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL, timeout=60, check=False
            )
            self.assertEqual(self.components().get(name), 1, ending)


class Gunicorn(EngineCase):
    """Two workers: what one changes, the other one knows at its next request."""

    def setUp(self) -> None:
        super().setUp()
        security.close()  # the workers have the data directory to themselves
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    def serve(self, *options: str, **environment: str) -> None:
        log = (self.folder / "gunicorn.log").open("w+", encoding="utf-8")
        self.addCleanup(log.close)
        self.log = log
        command = [sys.executable, "-m", "gunicorn", "--chdir", str(HERE), "--bind", f"127.0.0.1:{self.port}"]
        command += ["--workers", "2", "--worker-tmp-dir", str(self.folder), *options, "gunicorn_app:app"]
        policy = self.folder / "workers.toml"
        policy.write_text('[web.limits]\nclient = "unlimited"\nkey = "unlimited"\n', "utf-8")
        settings = {"SECURITY_DATA_DIR": str(self.data_dir), "SECURITY_CONFIG": str(policy)}
        everything = clean_environment(**VALUES, **settings, **environment)
        self.server = subprocess.Popen(command, env=everything, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(self.stop)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.request("GET", "/check?value=none.example")
                return
            except OSError:
                if time.monotonic() > deadline or self.server.poll() is not None:
                    self.fail(f"gunicorn does not answer:\n{self.read_log()}")
                time.sleep(0.05)

    def stop(self) -> None:
        if self.server.poll() is None:
            self.server.terminate()
            try:
                self.server.wait(30)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()

    def read_log(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def request(self, method: str, path: str, key: str | None = None) -> tuple[int, Any]:
        # A connection of its own, so that the workers take turns.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers={"X-API-Key": key} if key else {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def from_every_worker(self, path: str, key: str | None = None) -> dict[int, Any]:
        """What each worker answers; asks several times at once until all have."""
        answers: dict[int, Any] = {}
        deadline = time.monotonic() + 60
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            while len(answers) < 2:
                self.assertLess(time.monotonic(), deadline, f"only {len(answers)} worker answered")
                for found, body in pool.map(lambda _: self.request("GET", path, key), range(4)):
                    self.assertEqual(found, 200, body)
                    answers.setdefault(body["worker"], body)
        return answers

    def check_two_workers(self, *options: str, **environment: str) -> None:
        self.serve(*options, **environment)
        workers = set(self.from_every_worker("/who", VALUES["API_KEY"]))
        self.assertEqual(len(workers), 2)

        for number in range(6):
            value = f"host-{number}.evil.example"
            for answer in self.from_every_worker(f"/check?value={value}").values():
                self.assertFalse(answer["matched"])
            status, added = self.request("POST", f"/ioc?{urllib.parse.urlencode({'value': value})}", VALUES["API_KEY"])
            self.assertEqual(status, 200, added)
            for worker, answer in self.from_every_worker(f"/check?value={value}").items():
                self.assertTrue(answer["matched"], f"added in {added['worker']}, asked {worker}")

        status, rotated = self.request("POST", "/rotate", VALUES["API_KEY"])
        self.assertEqual(status, 200, rotated)
        # Whichever worker answers from now on refuses the old key and accepts the new one.
        for _ in range(3):
            self.assertEqual(self.request("GET", "/who", VALUES["API_KEY"])[0], 403)
        self.assertEqual(set(self.from_every_worker("/who", rotated["key"])), workers)

        self.server.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.wait(30), 0, self.read_log())
        security.initialize(data_dir=self.data_dir)
        uses = [record for record in security.get_recent_usage(limit=1_000_000) if record["component"] == "web"]
        refused = [record for record in uses if not record["success"]]
        self.assertEqual(len(refused), 3, "each use is recorded once, the workers' last ones too")
        self.assertTrue(security.verify_audit_log()["intact"])

    def test_two_workers(self) -> None:
        self.check_two_workers()

    def test_two_workers_preloaded(self) -> None:
        self.check_two_workers("--preload")

    def test_two_workers_forked_from_a_master_that_used_the_engine(self) -> None:
        self.check_two_workers("--preload", USE_BEFORE_FORK="1")
        components = [record["component"] for record in security.get_recent_usage(limit=1_000_000)]
        self.assertEqual(components.count("master"), 1)


if __name__ == "__main__":
    unittest.main()
