"""The example applications: each is started by the one command of its page, and asked over a socket."""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import unittest
from typing import Any

import security
from behind_nginx import Running
from engine_case import ROOT, VALUES, EngineCase, clean_environment
from test_adapter_servers import free_port

EXAMPLES = ROOT / "examples"
JSON = {"Content-Type": "application/json"}


class Examples(EngineCase):
    def start(self, folder: str, page: str, *port_options: str) -> int:
        """Runs the command that the page names, on a free port; gives the port."""
        text = (EXAMPLES / folder / page).read_text("utf-8")
        found = re.search(r"^    (flask|uvicorn|python) (.*) &$", text, re.MULTILINE)
        assert found is not None, page
        program, arguments = found.groups()
        module = [] if program == "python" else ["-m", program]
        port = free_port()
        options = [option.format(port=port) for option in port_options]
        settings = {"SECURITY_DATA_DIR": str(self.data_dir), "PYTHONPATH": os.pathsep.join(sys.path)}
        running = Running(
            [sys.executable, *module, *arguments.split(), *options],
            EXAMPLES / folder,
            clean_environment(**VALUES, **settings),
            "example",
            log_in=self.folder,
        )
        self.addCleanup(running.stop)
        running.wait_for(port)
        return port

    def ask(
        self, port: int, path: str, key: str | None = None, posted: Any = None, **more: str
    ) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.addCleanup(connection.close)
        headers = {**more, **({"X-API-Key": key} if key else {}), **(JSON if posted is not None else {})}
        body = None if posted is None else json.dumps(posted)
        connection.request("GET" if posted is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers

    def serves_orders(self, port: int) -> None:
        reader = security.issue_api_key("reader", scopes=["orders:read"])["key"]
        writer = security.issue_api_key("writer", scopes=["orders:write"])["key"]
        status, said, headers = self.ask(port, "/health")
        self.assertEqual((status, said), (200, {"status": "ok"}))
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        status, said, headers = self.ask(port, "/api/orders")
        self.assertEqual((status, said["error"]), (401, "credential-missing"))
        self.assertEqual(said["request_id"], headers["X-Request-ID"])
        self.assertEqual(self.ask(port, "/api/orders", "wrong")[1]["error"], "credential-invalid")
        status, said, headers = self.ask(port, "/api/orders", reader)
        self.assertEqual((status, said["key"], len(said["orders"])), (200, "reader", 2))
        self.assertEqual(headers["Cache-Control"], "no-store")
        order = {"item": "teapot"}
        self.assertEqual(self.ask(port, "/api/orders", reader, order)[1]["error"], "credential-invalid")
        status, said, _ = self.ask(port, "/api/orders", writer, order)
        self.assertEqual((status, said["status"]), (201, "accepted"))
        attack = {"item": "<script>alert(1)</script>"}
        self.assertEqual(self.ask(port, "/api/orders", writer, attack)[1]["error"], "request-refused")
        self.assertEqual(self.ask(port, "/admin")[0], 200, "from inside")
        forwarded = {"X-Forwarded-For": "127.0.0.1"}
        self.assertEqual(self.ask(port, "/admin", **forwarded)[1]["error"], "forbidden-path")

    def test_flask(self) -> None:
        self.serves_orders(self.start("flask_app", "app.py", "--port", "{port}"))

    def test_fastapi(self) -> None:
        port = self.start("fastapi_app", "main.py", "--port", "{port}")
        self.serves_orders(port)
        status, said, _ = self.ask(port, "/openapi.json")
        self.assertEqual((status, sorted(said["components"]["securitySchemes"])), (200, ["ApiKey", "ApiKeyBearer"]))

    def test_django(self) -> None:
        self.serves_orders(self.start("django_app", "manage.py", "--noreload", "127.0.0.1:{port}"))


if __name__ == "__main__":
    unittest.main()
