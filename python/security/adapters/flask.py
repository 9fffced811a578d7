"""The bridge to Flask: translates requests and answers, decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Request, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from security import _security
from security.adapters._body import judge_body
from security.adapters._shared import (
    PROBLEM,
    STATE,
    Answer,
    as_policy,
    internal_error,
    problem,
    refused,
    state_of,
)
from security.adapters.wsgi import begin, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["install", "refusal_of"]

# The marker of an application that has the middleware ("security" itself belongs to another extension).
EXTENSION = "security-engine"
NAMES = ("request_id", "client_ip", "api_key", "api_key_valid")


def install(app: Flask | Blueprint, policy: Mapping[str, Any] | None = None) -> None:
    """Adds the middleware to an application, or to a blueprint alone; once."""
    if isinstance(app, Blueprint):
        _install_on_blueprint(app, as_policy(policy))
        return
    if not isinstance(app, Flask):
        raise TypeError(f"argument 'app': a flask.Flask application or Blueprint is needed, not {type(app).__name__}")
    own = as_policy(policy)
    if EXTENSION in app.extensions:
        return
    app.extensions[EXTENSION] = True
    app.app_ctx_globals_class = _globals_class(app.app_ctx_globals_class)
    app.wsgi_app = _Middleware(app.wsgi_app, own)  # type: ignore[method-assign]
    # Not for `Exception`: Flask would take every error for handled, and debugger and tests would never see one.
    if HTTPException not in app.error_handler_spec[None][None]:
        app.register_error_handler(HTTPException, _error_response)


class _Middleware:
    """Around all of Flask: a refused request costs no request object, and reveals nothing else.

    Errors of the application are Flask's to handle, or its debugger's and the tests' to see: they pass through here.
    """

    def __init__(self, application: WSGIApplication, policy: _security.PolicyOverride | None) -> None:
        self.application = application
        self.policy = policy

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if STATE in environ and self.policy is None and state_of(environ) is not None:
            return self.application(environ, start_response)
        state = begin(environ, self.policy, _judge_body)
        if isinstance(state, Answer):
            return send(environ, start_response, state)
        merge = state.merge_headers

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            return start_response(status, merge(headers), exc_info)

        return self.application(environ, start)


class _Lazy:
    """A name on ``g`` that is looked up when a view asks for it; what a view sets itself stands."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, names: Any, _owner: type) -> Any:
        state = state_of(request.environ) if names is not None and request else None
        if state is None:
            raise AttributeError(self.name)
        return getattr(state, self.name)


def _globals_class(base: type[Any]) -> type[Any]:
    # Flask looks into the instance for these two.
    def get(self: Any, name: str, default: Any = None) -> Any:
        return base.get(self, name, getattr(self, name, default) if name in NAMES else default)

    def contains(self: Any, name: str) -> bool:
        return base.__contains__(self, name) or (name in NAMES and hasattr(self, name))

    lazy = {name: _Lazy(name) for name in NAMES}
    return type(base.__name__, (base,), {"get": get, "__contains__": contains, **lazy})


# What stands behind the proxy, without the way through it.
_current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]


def refusal_of(scopes: tuple[str, ...]) -> Response | None:
    """The answer to the current request where a view needs a key with these scopes; None when it goes on."""
    state = state_of(_current_request().environ)
    if state is None:
        state = _begin(None)
        decision = state.refusal() or state.require(scopes)
    else:
        decision = state.require(scopes)
    return None if decision is None else _response(refused(decision))


def _begin(policy: _security.PolicyOverride | None) -> _security.RequestState:
    """The state of a request that no middleware of the application has begun."""
    state = request.environ[STATE] = _security.begin_request(request.environ, policy)
    # Where another extension's function has read the body before ours, it is read and gone.
    if state.has_body and not any(name in request.__dict__ for name in _READ):
        _judge_body(request.environ, state)
    if EXTENSION not in current_app.extensions:
        names = g._get_current_object()
        for name in NAMES:
            setattr(names, name, getattr(state, name))
    return state


# What a request has once its body was read, or begun.
_READ = ("stream", "form", "files", "_cached_data")


def _judge_body(environ: WSGIEnvironment, state: _security.RequestState) -> None:
    # The response of an exception that Flask takes for an answer.
    judge_body(environ, state, lambda: RequestEntityTooLarge(response=_response(refused(state.body_too_large()))))


def _install_on_blueprint(blueprint: Blueprint, policy: _security.PolicyOverride | None) -> None:
    functions = blueprint.before_request_funcs.setdefault(None, [])
    if any(isinstance(function, _Before) for function in functions):
        return
    functions.insert(0, _Before(policy))
    blueprint.after_request(_after_request)
    if HTTPException not in blueprint.error_handler_spec[None][None]:
        blueprint.register_error_handler(HTTPException, _error_response)


class _Before:
    """Begins the requests of a blueprint, before all its other functions."""

    def __init__(self, policy: _security.PolicyOverride | None) -> None:
        self.policy = policy

    def __call__(self) -> Response | None:
        if self.policy is None and state_of(request.environ) is not None:
            return None
        refusal = _begin(self.policy).refusal()
        return None if refusal is None else _response(refused(refusal))


def _after_request(response: Response) -> Response:
    state = state_of(request.environ)
    if state is not None and EXTENSION not in current_app.extensions:
        merged = state.merge_headers(list(response.headers))
        response.headers.clear()
        response.headers.extend(merged)
    return response


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)


def _error_response(error: HTTPException) -> Any:
    if error.response is not None or error.code is None:
        return error
    state = state_of(request.environ)
    request_id = _security.generate_request_id() if state is None else state.request_id
    if isinstance(error, InternalServerError):
        return _response(internal_error(request_id))
    # What belongs to the answer besides its body (Allow, WWW-Authenticate, Retry-After) stays.
    response = error.get_response()
    response.set_data(problem(request_id, error.code, error.name, error.description).body)
    response.content_type = PROBLEM
    return response
