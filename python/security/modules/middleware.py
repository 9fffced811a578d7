"""The web layer: trusted addresses, the middleware, protected views.

The work is the engine's; what knows a framework lies in ``security.adapters`` and is loaded when it is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar, overload

from security._security import ban_client, inspect_request, is_ip_trusted, lift_ban, list_bans

if TYPE_CHECKING:
    from flask import Blueprint, Flask

__all__ = [
    "ban_client",
    "create_security_middleware",
    "inspect_request",
    "is_ip_trusted",
    "lift_ban",
    "list_bans",
    "require_api_key",
]

View = TypeVar("View", bound=Callable[..., Any])
App = TypeVar("App", bound="Flask | Blueprint")


def create_security_middleware(app: App, policy: Mapping[str, Any] | None = None) -> App:
    """Puts the engine in front of and behind every request of a Flask application, or of one blueprint alone.

    Before a request: the client's address, limits, trusted networks for the sensitive paths, listed indicators,
    rules, and the presented key, all in one call into the engine; a refused request gets a JSON body
    ``{"error", "message", "request_id", …}`` (RFC 9457) and never reaches a view. On ``flask.g``: ``request_id``
    (``str``), ``client_ip`` (``str`` or None), ``api_key`` (``{id, name, owner, scopes}`` or None),
    ``api_key_valid`` (``bool``).

    After a request: ``X-Request-ID`` and the security headers, where the view did not set its own.
    Errors that nobody catches become a JSON 500 that tells nothing of the inside.

    :param app: the ``flask.Flask`` application, or a ``flask.Blueprint`` before it is registered; a second call with
        the same one changes nothing. A request that never gets to a view of the blueprint (404) is none of the
        blueprint's.
    :param policy: settings as in the configuration's ``[web]`` table that hold here instead of the engine's (``dict``);
        what is not named stays. None: the engine's.
    :returns: ``app`` itself.
    :raises TypeError: if ``app`` is neither a Flask application nor a blueprint.
    :raises ValueError: for a setting that does not exist or a value that is not accepted.
    """
    from security.adapters import flask as adapter

    adapter.install(app, policy)
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
    from security.adapters._shared import as_scopes

    needed = as_scopes(scopes)

    def protect(function: View) -> View:
        if not callable(function):
            raise TypeError(f"argument 'view': a view function is needed, not {type(function).__name__}")

        is_async = iscoroutinefunction(function)
        ask: Callable[[tuple[str, ...]], Any] | None = None

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            nonlocal ask
            if ask is None:
                # Only now, so that an application without Flask can be imported.
                from security.adapters import flask as adapter

                ask = adapter.refusal_of
            refusal = ask(needed)
            if refusal is not None:
                return refusal
            if not is_async:
                return function(*args, **kwargs)
            from flask import current_app

            return current_app.ensure_sync(function)(*args, **kwargs)

        return guarded  # type: ignore[return-value]

    return protect if view is None else protect(view)
