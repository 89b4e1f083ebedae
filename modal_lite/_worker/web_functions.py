"""Makes what answers requests of the functions that are to do so."""

import inspect
from collections.abc import Callable
from typing import Any

from modal_lite._core.messages import ContainerSpec
from modal_lite._core.web import WebConfig, WebKind
from modal_lite._worker.callee import Callee
from modal_lite._worker.lifecycle import Loaded
from modal_lite._worker.web_asgi import AsgiServing
from modal_lite._worker.web_port import PortServing


def with_serving(loaded: Loaded, spec: ContainerSpec) -> Loaded:
    """What was loaded, with web functions that answer requests, and the hooks that this needs.

    Raises:
        ImportError: What they need is not installed.
    """
    callees = dict(loaded.callees)
    before: list[Callable[[], Any]] = []
    after: list[Callable[[], Any]] = []
    for name, config in spec.web.items():
        callee = callees[name]
        serving = _serving(callee, config, spec.max_inputs)
        callees[name] = Callee(callee.function, callee.tag, is_generator=False, is_async=True, web=serving)
        before += [serving.make, serving.start]
        after.append(serving.stop)
    return loaded._replace(callees=callees, enters=(*loaded.enters, *before), exits=(*after, *loaded.exits))


def _serving(callee: Callee, config: WebConfig, max_inputs: int) -> AsgiServing | PortServing:
    function, tag = callee.function, callee.tag
    if config.kind is WebKind.SERVER:
        return PortServing(function, config, tag)
    _check_installed(config.kind, tag)
    if config.kind is WebKind.ENDPOINT:
        return AsgiServing(lambda: _fastapi(function, config, tag), tag)
    if config.kind is WebKind.WSGI:
        return AsgiServing(_wsgi(function, max_inputs), tag)
    return AsgiServing(function, tag)


def _check_installed(kind: WebKind, tag: str) -> None:
    """Raises ImportError, with what to do, if a package is missing that the function needs."""
    try:
        import uvicorn  # noqa: F401

        if kind is WebKind.ENDPOINT:
            import fastapi  # noqa: F401
        elif kind is WebKind.WSGI:
            import a2wsgi  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'{tag} is a web function and needs {error.name}: pip install "modal-lite[web]"', name=error.name
        ) from None


def _fastapi(function: Callable[..., Any], config: WebConfig, tag: str) -> Any:
    from fastapi import FastAPI
    from fastapi.middleware.cors import CORSMiddleware

    app = FastAPI(
        title=tag,
        docs_url="/docs" if config.docs else None,
        redoc_url="/redoc" if config.docs else None,
        openapi_url="/openapi.json" if config.docs else None,
    )
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    app.add_api_route("/", function, methods=[config.method])
    return app


def _wsgi(function: Callable[[], Any], workers: int) -> Callable[[], Any]:
    def wrap(app: Any) -> Any:
        from a2wsgi import WSGIMiddleware

        if not callable(app):
            raise TypeError(f"A WSGI application is a callable, not {app!r:.100}.")
        return WSGIMiddleware(app, workers=workers)

    if inspect.iscoroutinefunction(function):

        async def make_async() -> Any:
            return wrap(await function())

        return make_async
    return lambda: wrap(function())
