"""One application called as a server calls it, in this process: over WSGI, over ASGI. Knows neither engine nor peer."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# What a small client sends, and the answer of an application that does nothing.
LINES = [("host", "localhost"), ("user-agent", "bench/1"), ("accept", "*/*")]
ANSWER = [("Content-Type", "application/json"), ("Content-Length", "2")]
RAW_ANSWER = [(name.lower().encode(), value.encode()) for name, value in ANSWER]


class Request:
    """One request, ready for both: ``environ`` and ``scope``.

    :param key: the API key that it carries, or None.
    :param body: the JSON that it posts; None makes it a GET.
    """

    def __init__(self, key: str | None = None, body: bytes | None = None) -> None:
        lines = [*LINES, ("x-api-key", key)] if key else list(LINES)
        method = "GET" if body is None else "POST"
        self.body = body or b""
        self.environ: dict[str, Any] = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in lines}
        self.environ |= {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": "/api/order",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
        }
        if body is not None:
            lines += [("content-type", "application/json"), ("content-length", str(len(body)))]
            self.environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
        self.scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "/api/order",
            "raw_path": b"/api/order",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in lines],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 80),
        }

    def over_wsgi(self, app: Any, requests: int) -> Callable[[], int]:
        """What makes so many requests of the application and says how many; any but a 200 ends the benchmark."""
        statuses: list[str] = []

        def start_response(status: str, _headers: object, _error: object = None) -> None:
            statuses.append(status)

        def run() -> int:
            statuses.clear()
            for _ in range(requests):
                answer = app({**self.environ, "wsgi.input": io.BytesIO(self.body)}, start_response)
                for _chunk in answer:
                    pass
                if hasattr(answer, "close"):
                    answer.close()
            return _all_fine([status[:3] for status in statuses], requests)

        return run

    def over_asgi(self, app: Any, requests: int) -> Callable[[], int]:
        """The same over ASGI, all on one event loop."""
        statuses: list[str] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(str(message["status"]))

        async def loop() -> None:
            for _ in range(requests):
                await app({**self.scope, "state": {}}, receive, send)

        runner = asyncio.new_event_loop()

        def run() -> int:
            statuses.clear()
            runner.run_until_complete(loop())
            return _all_fine(statuses, requests)

        return run


def _all_fine(statuses: list[str], requests: int) -> int:
    if statuses != ["200"] * requests:
        raise SystemExit(f"of {requests} requests, these were answered otherwise: {set(statuses) - {'200'}}")
    return requests


def plain_wsgi(environ: Any, start_response: Any) -> Any:
    """The least that a WSGI application does; it reads what is posted."""
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", list(ANSWER))
    return (b"{}",)


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI application does; it receives what is posted."""
    if scope["method"] == "POST":
        await receive()
    await send({"type": "http.response.start", "status": 200, "headers": list(RAW_ANSWER)})
    await send({"type": "http.response.body", "body": b"{}"})


def flask_application(name: str, around_view: Any = None) -> Any:
    """A Flask application with the one view that is asked for."""
    from flask import Flask

    app = Flask(name)

    def order() -> dict[str, str]:
        return {"status": "success"}

    app.add_url_rule("/api/order", "order", around_view(order) if around_view else order)
    return app
