"""The decorators of web functions: `@fastapi_endpoint`, `@asgi_app`, `@wsgi_app`, `@web_server`."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from modal_lite._core.web import WebConfig, WebKind
from modal_lite._function_info import generates
from modal_lite._partial_function import PartialFunction, check_parentheses, check_within, marked
from modal_lite.exception import InvalidError

_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


def fastapi_endpoint(
    _warn_parentheses_missing: None = None, *, method: str = "GET", label: str | None = None, docs: bool = False
) -> Callable[[Any], Any]:
    """Makes a function answer HTTP requests: `@modal_lite.fastapi_endpoint()`, below `@app.function()`.

    FastAPI calls it: its parameters are those of the query or, by their annotations, the body and so on, its result is
    sent as JSON unless it is a response. `f.get_web_url()` is its address. Needs `pip install "modal-lite[web]"`.

    Args:
        method: The HTTP method that it answers.
        label: Accepted; addresses are made of ports here.
        docs: Whether it has FastAPI's pages, at `/docs` and `/redoc`.

    Raises:
        InvalidError: Parentheses are missing, there is no such method, or it is a generator function (return a
            `fastapi.responses.StreamingResponse`); or it is above the decorator of the app.
    """
    return _endpoint("@modal_lite.fastapi_endpoint()", _warn_parentheses_missing, method, label, docs)


def web_endpoint(
    _warn_parentheses_missing: None = None, *, method: str = "GET", label: str | None = None, docs: bool = False
) -> Callable[[Any], Any]:
    """The former name of `fastapi_endpoint`.

    Args:
        method: The HTTP method that it answers.
        label: Accepted; addresses are made of ports here.
        docs: Whether it has FastAPI's pages, at `/docs` and `/redoc`.

    Raises:
        InvalidError: As `fastapi_endpoint`.
    """
    return _endpoint("@modal_lite.web_endpoint()", _warn_parentheses_missing, method, label, docs)


def asgi_app(_warn_parentheses_missing: None = None, *, label: str | None = None) -> Callable[[Any], Any]:
    """Serves the ASGI application that a function returns: `@modal_lite.asgi_app()`, below `@app.function()`.

    FastAPI, Starlette and many others make such applications. The function is called once in each container, without
    arguments. WebSockets work; so do the application's lifespan events. Needs `pip install "modal-lite[web]"`.

    Args:
        label: Accepted; addresses are made of ports here.

    Raises:
        InvalidError: Parentheses are missing, or the function has parameters or yields; or it is above the decorator of
            the app.
    """
    return _factory("@modal_lite.asgi_app()", _warn_parentheses_missing, WebConfig(WebKind.ASGI, label=label))


def wsgi_app(_warn_parentheses_missing: None = None, *, label: str | None = None) -> Callable[[Any], Any]:
    """Serves the WSGI application that a function returns: `@modal_lite.wsgi_app()`, below `@app.function()`.

    Flask and Django make such applications. The function is called once in each container, without arguments; requests
    run in threads, as many at once as `@modal_lite.concurrent()` says. Needs `pip install "modal-lite[web]"`.

    Args:
        label: Accepted; addresses are made of ports here.

    Raises:
        InvalidError: As `asgi_app`.
    """
    return _factory("@modal_lite.wsgi_app()", _warn_parentheses_missing, WebConfig(WebKind.WSGI, label=label))


def web_server(port: int, *, startup_timeout: float = 5.0, label: str | None = None) -> Callable[[Any], Any]:
    """Serves what a function has started on a port: `@modal_lite.web_server(8000)`, below `@app.function()`.

    The function is called once in the container, without arguments; it starts a server, in a process or a thread, and
    returns. The port is one of this machine's, so there is one container at a time.

    Args:
        port: Where the server listens, on 127.0.0.1.
        startup_timeout: Seconds until it does.
        label: Accepted; addresses are made of ports here.

    Raises:
        InvalidError: Parentheses are missing, a number is out of range, or the function has parameters or yields; or it
            is above the decorator of the app.
    """
    decorator = "@modal_lite.web_server(port)"
    if callable(port):
        raise InvalidError("Did you forget parentheses? Write `@modal_lite.web_server(8000)` above the function.")
    check_within("port", port, 1, 65535)
    if isinstance(startup_timeout, bool) or not 0 < startup_timeout < math.inf:
        raise InvalidError(f"startup_timeout={startup_timeout!r}: must be a positive number of seconds.")
    config = WebConfig(WebKind.SERVER, port=port, startup_timeout=float(startup_timeout), label=label)
    return _factory(decorator, None, config)


def web_config(partial: PartialFunction) -> WebConfig | None:
    """What the decorators of a function say of the requests that it answers; None if it answers none."""
    return partial.mark(WebConfig)


def _endpoint(decorator: str, given: Any, method: str, label: str | None, docs: bool) -> Callable[[Any], Any]:
    check_parentheses(given, decorator)
    if str(method).upper() not in _METHODS:
        raise InvalidError(f"method={method!r}: must be one of {', '.join(_METHODS)}.")
    config = WebConfig(WebKind.ENDPOINT, method.upper(), bool(docs), label=label)

    def decorate(function: Any) -> Any:
        partial = marked(function, config, decorator)
        if generates(partial.raw_f):
            raise InvalidError(
                f"{decorator} was put on the generator function {partial.raw_f.__qualname__}. To stream, return "
                "fastapi.responses.StreamingResponse(values())."
            )
        return partial

    return decorate


def _factory(decorator: str, given: Any, config: WebConfig) -> Callable[[Any], Any]:
    check_parentheses(given, decorator)

    def decorate(function: Any) -> Any:
        partial = marked(function, config, decorator)
        raw_f = partial.raw_f
        if generates(raw_f):
            raise InvalidError(f"{decorator} was put on the generator function {raw_f.__qualname__}; use return.")
        needed = [p for p in inspect.signature(raw_f).parameters.values() if p.default is p.empty]
        if [p for p in needed if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self"]:
            raise InvalidError(f"{decorator} was put on {raw_f.__qualname__}, which must take no arguments.")
        return partial

    return decorate
