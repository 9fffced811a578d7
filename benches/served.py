"""The applications that `make bench-servers` serves: Flask and FastAPI, protected or bare as the environment says."""

from __future__ import annotations

import os

import security
from fastapi import Depends, FastAPI
from runners import flask_application
from security.adapters import fastapi as adapter

IS_PROTECTED = os.environ["BENCH_SERVED"] == "protected"

over_wsgi = flask_application("served", security.require_api_key if IS_PROTECTED else None)
over_asgi = FastAPI()
if IS_PROTECTED:
    security.create_security_middleware(over_wsgi)
    adapter.install(over_asgi)


@over_asgi.get("/api/order", dependencies=[Depends(adapter.require_api_key())] if IS_PROTECTED else [])
async def order() -> dict[str, str]:
    """As the view on Flask."""
    return {"status": "success"}
