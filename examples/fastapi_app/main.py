"""The orders API on FastAPI, behind the engine.

From this folder, with the `security` command, FastAPI and uvicorn at hand:

    KEY=$(security key issue shop --scope orders:read --scope orders:write)
    uvicorn --no-proxy-headers main:app &
    curl -i localhost:8000/api/orders                      # 401
    curl -i -H "X-API-Key: $KEY" localhost:8000/api/orders # 200

The document at /docs names both ways to send the key.
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, Field
from security.adapters import fastapi as security

app = FastAPI(title="Orders")
# Every request is judged before any view: client address, limits, listed indicators, rules, the key, the body.
security.install(app)

ORDERS: list[dict[str, Any]] = [
    {"id": 1, "item": "teapot", "quantity": 2},
    {"id": 2, "item": "kettle", "quantity": 1},
]

any_key = Depends(security.require_api_key())
may_write = Depends(security.require_api_key(scopes=["orders:write"]))


class Order(BaseModel):
    """What a customer wants."""

    item: str = Field(max_length=80)
    quantity: int = Field(1, ge=1, le=100)


@app.get("/health")
async def health() -> dict[str, str]:
    """An exempt path: nothing is asked."""
    return {"status": "ok"}


@app.get("/api/orders")
async def orders(key: dict[str, Any] = any_key) -> dict[str, Any]:
    """Any valid key will do."""
    return {"orders": ORDERS, "key": key["name"]}


@app.post("/api/orders", status_code=201, dependencies=[may_write])
async def order(wanted: Order) -> dict[str, Any]:
    """Only for keys with the scope."""
    return {"status": "accepted", "item": wanted.item}


@app.get("/admin")
async def admin(request: Request) -> dict[str, str]:
    """A sensitive path: only for trusted networks, loopback and private ones by default."""
    return {"welcome": request.state.security.client_ip or "unknown"}
