"""What the engine adds to a request: the protected application beside the same one bare."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Row, compare_added
from runners import Request, flask_application, plain_asgi, plain_wsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = "us/request"
BARE = "the same application bare"


def flask() -> list[Row]:
    """Everything on, on a small GET with a key."""
    import security

    key = security.issue_api_key("bench flask", scopes=["read"], rate_limit="unlimited")["key"]
    protected = security.create_security_middleware(flask_application("protected", security.require_api_key))
    ours, floor = (Request(key).over_wsgi(app.wsgi_app, 500) for app in (protected, flask_application("bare")))
    return compare_added("one Flask request, protected", UNIT, ours, floor, BARE)


def gateways() -> list[Row]:
    """The same without a framework."""
    import security
    from security.adapters import asgi, wsgi

    request = Request(security.issue_api_key("bench gateways", scopes=["read"], rate_limit="unlimited")["key"])
    over_wsgi = wsgi.SecurityMiddleware(wsgi.require_api_key(plain_wsgi))
    over_asgi = asgi.SecurityMiddleware(asgi.require_api_key(plain_asgi))
    what = f"{BARE}, no framework"
    return [
        *compare_added(
            "one WSGI request, protected",
            UNIT,
            request.over_wsgi(over_wsgi, 2000),
            request.over_wsgi(plain_wsgi, 2000),
            what,
        ),
        *compare_added(
            "one ASGI request, protected",
            UNIT,
            request.over_asgi(over_asgi, 2000),
            request.over_asgi(plain_asgi, 2000),
            what,
        ),
    ]


def bodies() -> list[Row]:
    """A POST of a kilobyte, inspected."""
    from security.adapters import asgi, wsgi

    items = [{"name": f"part {n}", "count": n} for n in range(30)]
    request = Request(body=json.dumps({"customer": "Ada O'Brien", "items": items, "note": "thanks"}).encode())
    what = f"{BARE}, no framework"
    return [
        *compare_added(
            "one WSGI POST of 1 kB JSON",
            UNIT,
            request.over_wsgi(wsgi.SecurityMiddleware(plain_wsgi), 1000),
            request.over_wsgi(plain_wsgi, 1000),
            what,
        ),
        *compare_added(
            "one ASGI POST of 1 kB JSON",
            UNIT,
            request.over_asgi(asgi.SecurityMiddleware(plain_asgi), 1000),
            request.over_asgi(plain_asgi, 1000),
            what,
        ),
    ]


def peers() -> Iterator[str]:
    """What others add to a request, each in an environment of its own beside the application bare."""
    interpreter = os.environ.get("BENCH_WEB_PEERS")
    if not interpreter:
        yield "web peers: not timed, BENCH_WEB_PEERS names no interpreter that has them"
        return
    program = Path(__file__).parent / "peers/web.py"
    told = subprocess.run([interpreter, program], check=True, capture_output=True, text=True)
    for line in told.stdout.splitlines():
        name, added, bare, what = line.split("\t")
        yield f"{name:<34} {float(added):>10.2f} {float(bare):>10.2f} {'':>8}  {UNIT:<12} added to {what}"
