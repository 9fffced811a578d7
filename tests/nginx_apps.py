"""The applications that stand behind nginx in the tests: one over WSGI, one over ASGI, alike."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import security
from fastapi import Depends, FastAPI, Request
from flask import Flask, Response, g
from flask import request as flask_request
from security.adapters import fastapi as fastapi_adapter
from starlette.responses import PlainTextResponse

over_wsgi = Flask(__name__)
security.create_security_middleware(over_wsgi)


def said(body: bytes) -> str:
    """How much was read, and what."""
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


@over_wsgi.get("/who")
@over_wsgi.get("/admin/panel")
def who() -> str:
    """The client's address as the engine found it."""
    return str(g.client_ip)


@over_wsgi.post("/echo")
def echo() -> str:
    """Reads all of the body."""
    return said(flask_request.get_data())


@over_wsgi.after_request
def name_worker(response: Response) -> Response:
    """Says which process answers."""
    response.headers["X-Worker"] = str(os.getpid())
    return response


@over_wsgi.get("/key")
@security.require_api_key
def key() -> str:
    """For the owner of a key."""
    return str(g.api_key["id"])


over_asgi = FastAPI()
fastapi_adapter.install(over_asgi)
a_key = Depends(fastapi_adapter.require_api_key())


@over_asgi.get("/who", response_class=PlainTextResponse)
@over_asgi.get("/admin/panel", response_class=PlainTextResponse)
async def async_who(request: Request) -> str:
    """As above."""
    return str(request.state.security.client_ip)


@over_asgi.post("/echo", response_class=PlainTextResponse)
async def async_echo(request: Request) -> str:
    """As above."""
    return said(await request.body())


@over_asgi.get("/key", response_class=PlainTextResponse)
async def async_key(found: dict[str, Any] = a_key) -> str:
    """As above."""
    return str(found["id"])
