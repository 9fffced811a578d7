"""The applications that the tests serve with real servers: one of each kind, alike."""

from __future__ import annotations

from typing import Any

from test_adapter_parity import asgi_app, fastapi_app, flask_app, wsgi_app

from django.core.asgi import get_asgi_application  # isort: skip  (settings are made by the module above)
from django.core.wsgi import get_wsgi_application  # isort: skip

of_flask: Any = flask_app()
of_wsgi: Any = wsgi_app()
of_asgi: Any = asgi_app()
of_fastapi: Any = fastapi_app()
of_django: Any = get_wsgi_application()
of_django_async: Any = get_asgi_application()


def _echo() -> Any:
    from security.adapters import asgi

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        """Takes any WebSocket, and says who it thinks the client is."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["state"]["security"].client_ip})
        await send({"type": "websocket.close", "code": 1000})

    return asgi.SecurityMiddleware(asgi.require_api_key(echo))


of_websocket: Any = _echo()
