"""A PostgreSQL of its own for a test class: on loopback, a free port, its own folder, and never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from test_adapter_servers import free_port


def binaries() -> Path:
    """Where ``initdb`` and ``postgres`` are; Debian keeps them off the path."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise AssertionError("no PostgreSQL here; `make test` installs it (Debian and Ubuntu: apt install postgresql)")


def unprivileged() -> int | None:
    """Whom the server runs as when the tests are root's: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise AssertionError("there is no account for the server to run as")


class Postgres:
    """A running server; ``admin`` is its superuser's conninfo, ``log`` the file that it writes each statement to."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="security-postgres-"))
        self.port = free_port()
        self.user = unprivileged()
        self.log = self.folder / "log"
        password = self.folder / "password"
        password.write_text("made-up-for-these-tests", "utf-8")
        if self.user is not None:
            os.chown(self.folder, self.user, -1)
            os.chown(password, self.user, -1)
        self.database = f"host=127.0.0.1 port={self.port} dbname=postgres connect_timeout=10"
        self.admin = f"{self.database} user=admin password={password.read_text('utf-8')}"
        data = str(self.folder / "data")
        # Without a socket in a shared folder, and without waiting for the disk: nothing here has to last.
        made = self.run("initdb", "-D", data, "-U", "admin", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync")
        if made.returncode != 0:
            raise AssertionError(made.stdout)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "log_statement": "all",
            "max_connections": "20",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binaries() / "postgres", "-D", data, *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                user=self.user,
                cwd=self.folder,
            )
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [binaries() / program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self.user,
            cwd=self.folder,
            timeout=300,
            check=False,
        )

    def wait(self) -> None:
        end = time.monotonic() + 120
        while True:
            try:
                psycopg.connect(self.admin).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(self.log.read_text("utf-8", "replace")) from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
