"""The applications that `make bench-servers` serves: Flask and FastAPI, bare, with headers by hand, or protected."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import security
from fastapi import Depends, FastAPI
from runners import flask_application
from security.adapters import fastapi as adapter

if TYPE_CHECKING:
    from flask import Response

KIND = os.environ["BENCH_SERVED"]
IS_PROTECTED = KIND == "protected"

# What careful people set by hand: nine of the twelve headers that ours sends, those that are the same in each answer.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": "base-uri 'self'; form-action 'self'; frame-ancestors 'self'; object-src 'none'",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
    "Cross-Origin-Resource-Policy": "same-site",
    "X-Permitted-Cross-Domain-Policies": "none",
    "Cache-Control": "no-store",
}
RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

over_wsgi = flask_application("served", security.require_api_key if IS_PROTECTED else None)
api = FastAPI()
if IS_PROTECTED:
    security.create_security_middleware(over_wsgi)
    adapter.install(api)
elif KIND == "headers":

    @over_wsgi.after_request
    def add_headers(response: Response) -> Response:
        """The least that Flask can do."""
        response.headers.extend(HEADERS)
        return response


@api.get("/api/order", dependencies=[Depends(adapter.require_api_key())] if IS_PROTECTED else [])
async def order() -> dict[str, str]:
    """As the view on Flask."""
    return {"status": "success"}


async def with_headers(scope: Any, receive: Any, send: Any) -> None:
    """The least that ASGI can do."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"].extend(RAW_HEADERS)
        await send(message)

    await api(scope, receive, sending)


over_asgi: Any = with_headers if KIND == "headers" else api
