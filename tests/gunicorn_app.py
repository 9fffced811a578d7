"""The application that the tests of several workers serve."""

from __future__ import annotations

import os
import time
from typing import Any

import security
from flask import Flask, jsonify, request

app = Flask(__name__)
security.create_security_middleware(app)

if os.environ.get("USE_BEFORE_FORK"):
    # With --preload this runs in the master: the workers are forked from a process that has used the engine.
    security.log_credential_usage("api_key", "master", "preload")


@app.get("/who")
@security.require_api_key
def who() -> dict[str, int]:
    """Which worker answers; slowly, so that the other one takes what comes meanwhile."""
    time.sleep(0.02)
    return {"worker": os.getpid()}


@app.post("/rotate")
@security.require_api_key
def rotate() -> dict[str, Any]:
    """Rotates API_KEY in this worker."""
    return {"worker": os.getpid(), "key": security.rotate_credential("API_KEY")}


@app.post("/ioc")
@security.require_api_key
def ioc() -> dict[str, Any]:
    """Adds an indicator in this worker."""
    security.add_ioc("domain", request.args["value"], "worker", 80)
    return {"worker": os.getpid()}


@app.get("/check")
def check() -> Any:
    """Looks one up in this worker, as slowly."""
    found = security.check_ioc("domain", request.args["value"])
    time.sleep(0.02)
    return jsonify(worker=os.getpid(), **found)
