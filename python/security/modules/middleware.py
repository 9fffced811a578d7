"""The web layer: trusted addresses, the middleware, protected views.

The work is the engine's; what knows a framework lies in ``security.adapters`` and is loaded when it is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from security._security import inspect_request, is_ip_trusted

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["create_security_middleware", "inspect_request", "is_ip_trusted", "require_api_key"]

View = TypeVar("View", bound=Callable[..., Any])
App = TypeVar("App", bound="Flask")


def create_security_middleware(app: App) -> App:
    """Puts the engine in front of and behind every request of a Flask application.

    Before a request: the client's address, limits, trusted networks for the sensitive paths, listed indicators,
    rules, and the presented key, all in one call into the engine; a refused request gets a JSON body
    ``{"error", "message", "request_id", …}`` (RFC 9457) and never reaches a view. On ``flask.g``: ``request_id``
    (``str``), ``client_ip`` (``str`` or None), ``api_key`` (``{id, name, owner, scopes}`` or None),
    ``api_key_valid`` (``bool``).

    After a request: ``X-Request-ID`` and the security headers, where the view did not set its own.
    Errors that nobody catches become a JSON 500 that tells nothing of the inside.

    :param app: the ``flask.Flask`` application; a second call with the same one changes nothing.
    :returns: ``app`` itself.
    :raises TypeError: if ``app`` is no Flask application.
    """
    from security.adapters import flask as adapter

    adapter.install(app)
    return app


@overload
def require_api_key(view: View, /) -> View: ...


@overload
def require_api_key(view: None = None, /, *, scopes: Iterable[str] = ()) -> Callable[[View], View]: ...


def require_api_key(view: View | None = None, /, *, scopes: Iterable[str] = ()) -> View | Callable[[View], View]:
    """Lets only requests with a valid API key through to a Flask view.

    As ``@require_api_key`` or ``@require_api_key(scopes=["reports:read"])``, below ``@app.route`` or
    ``@blueprint.route``, with or without the middleware. The key comes in the header ``X-API-Key`` or
    ``Authorization: Bearer``. Without a key the answer is 401, with a wrong one or a missing scope 403, over a limit
    or locked out 429 with ``Retry-After`` (seconds); bodies are JSON. Views may be ``async`` where Flask allows it.

    :param view: the view function.
    :param scopes: the scopes (``str``) a key must have, all of them.
    :returns: the protected view, with the name, docstring and attributes of the view.
    :raises TypeError: if ``scopes`` is a single ``str`` or holds something else than ``str``.
    """
    if isinstance(scopes, (str, bytes)):
        raise TypeError("argument 'scopes': a list of str is needed, not a single one")
    needed = tuple(scopes)
    if not all(isinstance(scope, str) for scope in needed):
        raise TypeError("argument 'scopes': every scope is a str")

    def protect(function: View) -> View:
        if not callable(function):
            raise TypeError(f"argument 'view': a view function is needed, not {type(function).__name__}")

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            from security.adapters import flask as adapter

            return adapter.call_view(needed, function, args, kwargs)

        return guarded  # type: ignore[return-value]

    return protect if view is None else protect(view)
