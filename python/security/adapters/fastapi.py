"""The bridge to FastAPI and Starlette: the ASGI middleware, and a dependency that asks for an API key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, WebSocketException
from fastapi.exception_handlers import http_exception_handler
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from security import _security
from security.adapters._shared import Answer, as_policy, as_scopes, problem, refused, state_of
from security.adapters.asgi import Refused, SecurityMiddleware, hold

__all__ = ["Refused", "SecurityMiddleware", "install", "require_api_key"]


# The schemes of the OpenAPI document: the dependency's own, and the other way to send a key.
_HEADER, _BEARER = "ApiKey", "ApiKeyBearer"


class _ApiKey(APIKeyHeader):
    """The dependency and, in the document, one of the two schemes; the engine looks for the key itself.

    FastAPI takes its time over each dependency, so that the other scheme is none.
    """

    def __init__(self, scopes: tuple[str, ...]) -> None:
        super().__init__(name="X-API-Key", scheme_name=_HEADER, auto_error=False)
        self.scopes = scopes

    async def __call__(  # type: ignore[override]
        self, connection: HTTPConnection
    ) -> Mapping[str, Any] | None:
        state = state_of(connection.scope)
        if state is not None:
            refusal = state.require(self.scopes)
            if refusal is not None:
                raise Refused(refusal)
            return state.api_key
        state = _security.begin_request_asgi(dict(connection.scope))
        refusal = state.refusal() or state.require(self.scopes)
        if refusal is not None and connection.scope["type"] == "websocket":
            raise WebSocketException(1008)
        if refusal is not None:
            raise HTTPException(refusal["status"], refusal["body"], dict(refusal["headers"]))
        hold(connection.scope, state)
        return state.api_key


def install(app: FastAPI, policy: Mapping[str, Any] | None = None) -> FastAPI:
    """Puts the engine in front of and behind every request of a FastAPI application, once.

    As ``app.add_middleware(SecurityMiddleware)``; besides, refusals of views and HTTP errors (404, 405, …) get a JSON
    body as the other answers do (RFC 9457), unless the application has a handler of its own. Validation errors stay
    FastAPI's.

    :param policy: as for :class:`SecurityMiddleware`.
    :returns: ``app`` itself.
    :raises TypeError: if ``app`` is no FastAPI application.
    :raises ValueError: for a setting that does not exist or a value that is not accepted.
    """
    if not isinstance(app, FastAPI):
        raise TypeError(f"argument 'app': a fastapi.FastAPI application is needed, not {type(app).__name__}")
    as_policy(policy)
    present: list[Any] = [middleware.cls for middleware in app.user_middleware]
    if SecurityMiddleware in present:
        return app
    app.add_middleware(SecurityMiddleware, policy=policy)
    app.openapi = _with_bearer(app.openapi)  # type: ignore[method-assign]
    app.exception_handlers.setdefault(Refused, _refusal)
    if app.exception_handlers.get(StarletteHTTPException) in (None, http_exception_handler):
        app.exception_handlers[StarletteHTTPException] = _http_error
    return app


def require_api_key(*, scopes: Iterable[str] = ()) -> Callable[..., Awaitable[Mapping[str, Any] | None]]:
    """A dependency that lets only requests with a valid API key through: ``Depends(require_api_key(scopes=["read"]))``.

    Its value is the key: ``{id, name, owner, scopes}`` (``dict``). It comes in the header ``X-API-Key`` or
    ``Authorization: Bearer``; the OpenAPI document names both ways where :func:`install` was called, else the first.
    Without a key the answer is 401, with a wrong one or a missing scope 403, over a limit or locked out 429 with
    ``Retry-After`` (seconds).

    It works for WebSockets too: without a key there is no handshake. Request bodies are the middleware's to look at.

    With the middleware the answers have the body that all others have; without it, the same below ``detail``.

    :param scopes: the scopes (``str``) a key must have, all of them.
    :raises TypeError: if ``scopes`` is a single ``str`` or holds something else than ``str``.
    """
    return _ApiKey(as_scopes(scopes))


def _with_bearer(described: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """An application's ``openapi``, which then names both ways to send a key, each where one is asked for."""

    def openapi() -> dict[str, Any]:
        document = described()
        schemes = document.get("components", {}).get("securitySchemes", {})
        if _HEADER in schemes and _BEARER not in schemes:
            schemes[_BEARER] = {"type": "http", "scheme": "bearer"}
            for path in document.get("paths", {}).values():
                for operation in path.values():
                    asked = operation.get("security") if isinstance(operation, dict) else None
                    if asked and {_HEADER: []} in asked:
                        asked.append({_BEARER: []})
        return document

    return openapi


def _respond(answer: Answer, more: Mapping[str, str] | None = None) -> Response:
    response = Response(answer.body, answer.status)
    for name, value in {**(more or {}), **dict(answer.headers)}.items():
        response.headers[name] = value
    return response


async def _refusal(connection: HTTPConnection, error: Exception) -> Response:
    # How a WebSocket is refused depends on the server; the middleware knows.
    if not isinstance(error, Refused) or connection.scope["type"] == "websocket":
        raise error
    return _respond(refused(error.decision))


async def _http_error(request: HTTPConnection, error: Exception) -> Response:
    if not isinstance(error, StarletteHTTPException):
        raise error
    state = state_of(request.scope)
    if state is None or error.status_code < 400 or not isinstance(error.detail, str):
        return await http_exception_handler(request, error)  # type: ignore[arg-type]
    title = Answer(error.status_code, [], b"").status_line.partition(" ")[2]
    answer = problem(state.request_id, error.status_code, title, error.detail)
    # What belongs to the answer besides its body (Allow, WWW-Authenticate, Retry-After) stays.
    return _respond(answer, error.headers)
