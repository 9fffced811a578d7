"""nginx, and the servers behind it: started on loopback and free ports for the life of a test class."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

from engine_case import VALUES, EngineCase, clean_environment
from test_adapter_servers import Answer, free_port

HERE = Path(__file__).resolve().parent
# Clients by the address they call from: somebody, and somebody of the house.
OUTSIDE, INSIDE = "127.0.0.2", "127.0.0.3"

POLICY = """
[web]
trusted_networks = ["127.0.0.3"]
client_address = { trusted_proxies = ["127.0.0.1"] }
limits = { client = "unlimited", key = "unlimited", failed_authentication = "unlimited" }
lock_out = { failures = 127 }
bodies = { wait_seconds = 8 }
"""

NGINX = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_max_body_size 64m;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
    }}
    server {{
        listen 127.0.0.1:{underscores};
        underscores_in_headers on;
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
    }}
}}
"""


def nginx_program() -> str:
    """The Debian package puts it where only root's search path leads."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise AssertionError("nginx is not there; `make test` installs it on Debian and Ubuntu")
    return found


class Running:
    """A process of a test class, its log, and its end."""

    def __init__(
        self, command: list[str], folder: Path, environment: dict[str, str], name: str, log_in: Path | None = None
    ) -> None:
        self.path = (log_in or folder) / f"{name}.log"
        self.log = self.path.open("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=self.log, stderr=subprocess.STDOUT)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def wait_for(self, port: int) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError(f"it does not answer:\n{self.path.read_text('utf-8')}") from None
                time.sleep(0.05)


def server_command(server: str, app: str, port: int, workers: int, folder: Path) -> list[str]:
    """The command line of a server, `gunicorn-gthread` and `granian-asgi` among them."""
    where, name = f"127.0.0.1:{port}", f"nginx_apps:{app}"
    kind, _, mode = server.partition("-")
    gunicorn = ["gunicorn", "--chdir", str(HERE), "--bind", where, "--worker-tmp-dir", str(folder)]
    gunicorn += ["--workers", str(workers)]
    options = {
        "sync": [],
        "gthread": ["--worker-class", "gthread", "--threads", "4"],
        "preload": ["--preload"],
    }
    if kind == "gunicorn":
        return [*gunicorn, *options[mode], name]
    if kind == "uvicorn":
        return ["uvicorn", "--app-dir", str(HERE), "--port", str(port), "--no-proxy-headers", name]
    host = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "--no-ws"]
    return ["granian", "--interface", mode, "--working-dir", str(HERE), *host, name]


class NginxCase(EngineCase):
    """One server behind nginx for all tests of a class."""

    server: ClassVar[str] = ""
    app: ClassVar[str] = ""
    workers: ClassVar[int] = 2
    policy: ClassVar[str] = POLICY
    shared: ClassVar[Path]
    direct: ClassVar[int]
    port: ClassVar[int]
    underscores: ClassVar[int]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="security-nginx-")
        cls.addClassCleanup(folder.cleanup)
        cls.shared = Path(folder.name).resolve()
        (cls.shared / "policy.toml").write_text(cls.policy, "utf-8")
        cls.direct, cls.port, cls.underscores = free_port(), free_port(), free_port()
        settings = {
            "SECURITY_DATA_DIR": str(cls.shared / "data"),
            "SECURITY_CONFIG": str(cls.shared / "policy.toml"),
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        }
        environment = clean_environment(**VALUES, **settings)
        command = server_command(cls.server, cls.app, cls.direct, cls.workers, cls.shared)
        behind = Running([sys.executable, "-m", *command], cls.shared, environment, "server")
        cls.addClassCleanup(behind.stop)
        conf = cls.shared / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        conf.write_text(
            NGINX.format(user=user, folder=cls.shared, port=cls.port, underscores=cls.underscores, upstream=cls.direct),
            "utf-8",
        )
        front_command = [nginx_program(), "-p", str(cls.shared), "-c", str(conf), "-g", "daemon off;"]
        front = Running(front_command, cls.shared, environment, "front")
        cls.addClassCleanup(front.stop)
        behind.wait_for(cls.direct)
        front.wait_for(cls.port)

    def connect(self, port: int, source: str = OUTSIDE) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), 30, (source, 0))

    def exchange(self, data: bytes, port: int | None = None, source: str = OUTSIDE) -> bytes:
        """Sends bytes as they are; gives what came back, however the other side ends it."""
        raw = b""
        with self.connect(self.port if port is None else port, source) as connection:
            try:
                connection.sendall(data)
                while chunk := connection.recv(65536):
                    raw += chunk
            except (ConnectionResetError, BrokenPipeError):
                pass
        return raw

    def ask(self, head: bytes, port: int | None = None, source: str = OUTSIDE, body: bytes = b"") -> Answer:
        """One request: request line and headers, without the ones that every request has."""
        line, _, headers = head.partition(b"\r\n")
        headers = headers + b"\r\n" if headers else b""
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        request = line + b"\r\nHost: localhost\r\n" + headers + length + b"Connection: close\r\n\r\n" + body
        raw = self.exchange(request, port, source)
        self.assertTrue(raw.startswith(b"HTTP/1.1 "), raw[:200])
        return Answer(raw)

    def post(self, body: bytes, content_type: bytes = b"application/json", more: bytes = b"") -> Answer:
        head = b"POST /echo HTTP/1.1\r\nContent-Type: " + content_type
        return self.ask(head + (b"\r\n" + more if more else b""), body=body)

    def error_of(self, answer: Answer) -> Any:
        return json.loads(answer.body)["error"]
