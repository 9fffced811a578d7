"""The bridge to any ASGI application (HTTP and WebSocket): translates requests and answers, decides nothing.

The engine's part of a request takes microseconds and is done on the event loop; a body's takes as long as judging its
first bytes does, and no longer. Nothing here awaits anything but the application and the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, overload

from security import _security
from security.adapters._receive import BodyTooLarge, receive_judged
from security.adapters._shared import STATE, Answer, Unbegun, as_policy, as_scopes, internal_error, log, refused
from security.adapters._shared import state_of as _state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Refused", "SecurityMiddleware", "require_api_key"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refused(Exception):
    """A view needs what the request does not carry. The middleware answers it, wherever it was raised."""

    def __init__(self, decision: Mapping[str, Any]) -> None:
        super().__init__(f"{decision['status']} {decision['body']['error']}")
        self.decision = decision


class SecurityMiddleware:
    """The engine in front of and behind every request and WebSocket handshake of an ASGI application.

    The request's state lies in ``scope["state"]["security"]`` (Starlette: ``request.state.security``): ``request_id``,
    ``client_ip``, ``api_key`` (``{id, name, owner, scopes}`` or None), ``api_key_valid``. A refused request never
    reaches the application; an error that it does not catch is answered with a 500 that tells nothing, and raised
    again for the server to log. Of a request's body the first bytes are received and judged before the application is
    called (``web.inspection.max_bytes``), and it receives the whole as it came. Of two around one another the outer one
    decides, unless the inner one has a policy.

    A server that replaces the peer's address by a header itself (uvicorn does for local peers) must be told not to
    (``--no-proxy-headers``): whom to believe is the policy's.

    :param app: the application.
    :param policy: settings as in the configuration's ``[web]`` table that this application has instead of the engine's
        (``dict``); what is not named stays. None: the engine's.
    :raises ValueError: for a setting that does not exist or a value that is not accepted.
    """

    def __init__(self, app: ASGIApp, policy: Mapping[str, Any] | None = None) -> None:
        if not callable(app):
            raise TypeError(f"argument 'app': an ASGI application is needed, not {type(app).__name__}")
        self.app = app
        self.policy = as_policy(policy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if STATE in scope and self.policy is None and _state_of(scope) is not None:
            await self.app(scope, receive, send)
            return
        try:
            state = _security.begin_request_asgi(scope, self.policy)
            is_plain = state.is_plain
            refusal = None if is_plain else state.refusal()
        except Exception:
            await _send(scope, receive, send, Unbegun().answer())
            return
        hold(scope, state)
        received = None
        if not is_plain and refusal is None and state.has_body:
            received = await receive_judged(state, receive)
            if received is None:
                return  # nobody is there to be answered
            receive = received
            refusal = state.refusal()
        started = False

        # No coroutine of its own around each message of the answer.
        def start(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] in _STARTS:
                if not started and received is not None and received.is_too_large:
                    # The application made an answer of its own of it.
                    raise BodyTooLarge
                started = True
                message = {**message, "headers": state.merge_headers_asgi(message.get("headers") or ())}
            return send(message)

        if refusal is not None:
            await _send(scope, receive, start, refused(refusal))
            return
        try:
            await self.app(scope, receive, start)
        except BodyTooLarge:
            if started:
                raise
            received = None
            await _send(scope, receive, start, refused(state.body_too_large()))
        except Refused as error:
            if started:
                raise
            await _send(scope, receive, start, refused(error.decision))
        except Exception:
            if not started:
                log.error("request %s failed", state.request_id)
                await _send(scope, receive, start, internal_error(state.request_id))
            raise


_STARTS = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))


@overload
def require_api_key(app: ASGIApp, /) -> ASGIApp: ...


@overload
def require_api_key(app: None = None, /, *, scopes: Iterable[str] = ()) -> Callable[[ASGIApp], ASGIApp]: ...


def require_api_key(
    app: ASGIApp | None = None, /, *, scopes: Iterable[str] = ()
) -> ASGIApp | Callable[[ASGIApp], ASGIApp]:
    """Lets only requests with a valid API key through to an ASGI application, with or without the middleware.

    :param scopes: the scopes (``str``) a key must have, all of them.
    :raises TypeError: if ``scopes`` is a single ``str`` or holds something else than ``str``.
    """
    needed = as_scopes(scopes)

    def protect(inner: ASGIApp) -> ASGIApp:
        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            state = _state_of(scope)
            if state is None and scope["type"] in ("http", "websocket"):
                await middleware(scope, receive, send)
                return
            refusal = None if state is None else state.require(needed)
            if refusal is not None:
                await _send(scope, receive, send, refused(refusal))
                return
            await inner(scope, receive, send)

        middleware = SecurityMiddleware(guarded)
        return guarded

    return protect if app is None else protect(app)


def hold(scope: Scope, state: _security.RequestState) -> None:
    """Puts a request's state into its scope, and where views look for it.

    What says that a request was judged is the scope, which is the connection's own; the ``state`` in it is a server's
    copy of what all connections share, and a server may forget to copy.
    """
    scope[STATE] = state
    scope.setdefault("state", {})[STATE] = state


async def _send(scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
    kind = "http"
    if scope["type"] == "websocket":
        message = await receive()
        if message["type"] != "websocket.connect" or "websocket.http.response" not in (scope.get("extensions") or {}):
            # Before the handshake is answered this becomes a 403 without a body; after it, the end of the connection.
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        kind = "websocket.http"
    await send({"type": f"{kind}.response.start", "status": answer.status, "headers": answer.raw_headers})
    body = b"" if scope.get("method") == "HEAD" else answer.body
    await send({"type": f"{kind}.response.body", "body": body})
