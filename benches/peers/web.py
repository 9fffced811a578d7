"""What the peers add to a request, in an environment of their own.

One line a peer: name, microseconds added, microseconds of the bare application, and what that is, tabs between.
Every peer is used as its own documentation shows it. Each is timed in turn with the bare application; CPU time of this
process, the median of the rounds.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from measure import compare
from runners import Request, flask_application

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST = Request("a-key-that-nobody-checks")
BARE_FLASK, BARE_FASTAPI = "the same Flask application bare", "the same FastAPI application bare"


def tell(name: str, ours: Callable[[], int], floor: Callable[[], int], what: str) -> None:
    row = compare(name, "us/request", ours, floor, what)
    print(f"{name}\t{row.ours - row.floor:.1f}\t{row.floor:.1f}\t{what}", flush=True)


def on_flask() -> None:
    from flask_limiter import Limiter
    from flask_limiter.util import get_remote_address
    from flask_talisman import Talisman
    from secure import Secure
    from werkzeug.middleware.proxy_fix import ProxyFix

    bare = REQUEST.over_wsgi(flask_application("bare").wsgi_app, 300)

    def proxy_fix(app: Any) -> None:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)

    def talisman(app: Any) -> None:
        Talisman(app, force_https=False)

    def limiter(app: Any) -> None:
        Limiter(get_remote_address, app=app, default_limits=["100000000 per minute"], storage_uri="memory://")

    def headers(app: Any) -> None:
        secure = Secure.with_default_headers()

        @app.after_request
        def add(response: Any) -> Any:
            secure.set_headers(response)
            return response

    for name, installed in (
        ("ProxyFix", [proxy_fix]),
        ("secure", [headers]),
        ("Flask-Talisman", [talisman]),
        ("Flask-Limiter, in memory", [limiter]),
        ("Talisman + Limiter + ProxyFix", [talisman, limiter, proxy_fix]),
    ):
        app = flask_application(name)
        for install in installed:
            install(app)
        tell(name, REQUEST.over_wsgi(app.wsgi_app, 300), bare, BARE_FLASK)


def on_fastapi() -> None:
    from fastapi import FastAPI
    from guard import SecurityConfig, SecurityMiddleware

    def application() -> FastAPI:
        app = FastAPI()

        @app.get("/api/order")
        async def order() -> dict[str, str]:
            return {"status": "success"}

        return app

    logging.disable(logging.CRITICAL)
    bare = REQUEST.over_asgi(application(), 100)
    for name, detects, requests in (("fastapi-guard, no detection", False, 100), ("fastapi-guard", True, 5)):
        app = application()
        config = SecurityConfig(
            enable_redis=False,
            enable_penetration_detection=detects,
            rate_limit=100_000_000,
            enforce_https=False,
            enable_agent=False,
        )
        app.add_middleware(SecurityMiddleware, config=config)
        tell(name, REQUEST.over_asgi(app, requests), bare, BARE_FASTAPI)


if __name__ == "__main__":
    on_flask()
    on_fastapi()
