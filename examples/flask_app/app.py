"""A small orders API behind the engine.

Try it from this folder, with the `security` command and Flask at hand:

    KEY=$(security key issue shop --scope orders:read --scope orders:write)
    flask --app app run &
    curl -i localhost:5000/api/orders                      # 401
    curl -i -H "X-API-Key: $KEY" localhost:5000/api/orders # 200
"""

from __future__ import annotations

import os
from typing import Any

import security
from flask import Flask, Response, g, jsonify, request

app = Flask(__name__)
# Every request is judged before any view: client address, limits, listed indicators, rules, the presented key.
security.create_security_middleware(app)

ORDERS: list[dict[str, Any]] = [
    {"id": 1, "item": "teapot", "quantity": 2},
    {"id": 2, "item": "kettle", "quantity": 1},
]


@app.get("/health")
def health() -> dict[str, str]:
    """An exempt path: nothing is asked."""
    return {"status": "ok"}


@app.get("/api/orders")
@security.require_api_key
def orders() -> dict[str, Any]:
    """Any valid key will do."""
    return {"orders": ORDERS, "key": g.api_key["name"]}


@app.post("/api/orders")
@security.require_api_key(scopes=["orders:write"])
def order() -> tuple[Response, int]:
    """What people write goes through the rules as an event of our own; an order that raises an alert is held."""
    wanted = request.get_json()
    event = {"kind": "order", "note": wanted.get("note", ""), "client_ip": g.client_ip}
    alerts = security.threat_detector.analyze(event, context={"request_id": g.request_id})
    if alerts:
        return jsonify(status="held for review", because=[alert["rule_name"] for alert in alerts]), 202
    return jsonify(status="accepted"), 201


@app.get("/api/admin-report")
@security.require_api_key(scopes=["reports:read"])
def admin_report() -> dict[str, int]:
    """Only for keys with the scope."""
    return {"orders": len(ORDERS), "pieces": sum(each["quantity"] for each in ORDERS)}


@app.get("/admin")
def admin() -> dict[str, str]:
    """A sensitive path: only for trusted networks, loopback and private ones by default."""
    return {"welcome": g.client_ip or "unknown"}


@app.after_request
def name_the_worker(response: Response) -> Response:
    """Says which process answered, so that the demonstration can tell the workers apart."""
    response.headers["X-Worker"] = str(os.getpid())
    return response
