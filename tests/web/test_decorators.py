"""What the decorators refuse, where it is written."""

from typing import Any

import pytest

import modal_lite
from modal_lite.exception import InvalidError


def f() -> Any:
    return None


def g() -> Any:
    yield 1


def h(x: int) -> Any:
    return x


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: modal_lite.fastapi_endpoint(f), "Did you forget parentheses"),
        (lambda: modal_lite.asgi_app(f), "Did you forget parentheses"),
        (lambda: modal_lite.web_server(f), "Did you forget parentheses"),
        (lambda: modal_lite.fastapi_endpoint(method="FETCH")(f), "must be one of GET, POST"),
        (lambda: modal_lite.fastapi_endpoint()(g), "StreamingResponse"),
        (lambda: modal_lite.asgi_app()(g), "use return"),
        (lambda: modal_lite.wsgi_app()(h), "must take no arguments"),
        (lambda: modal_lite.web_server(0), "port=0: must be an int from 1 to 65,535"),
        (lambda: modal_lite.web_server(80, startup_timeout=0), "startup_timeout=0"),
        (lambda: modal_lite.asgi_app()(modal_lite.wsgi_app()(f)), "twice"),
        (lambda: modal_lite.asgi_app()(modal_lite.App().function()(f)), "above the decorator of the app"),
    ],
)
def test_wrong_uses(decorate: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        decorate()


@pytest.mark.parametrize(
    ("options", "mark", "message"),
    [
        ({"retries": 2}, modal_lite.asgi_app(), "not retried"),
        ({"max_containers": 2}, modal_lite.web_server(80), "only one container"),
        ({"min_containers": 2}, modal_lite.web_server(80), "only one container"),
    ],
)
def test_options_that_do_not_go_with_it(options: Any, mark: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        modal_lite.App().function(**options)(mark(f))


def test_a_batched_function_answers_no_requests() -> None:
    batched: Any = modal_lite.batched(max_batch_size=2, wait_ms=1)(h)
    with pytest.raises(InvalidError, match="come one by one"):
        modal_lite.App().function()(modal_lite.fastapi_endpoint()(batched))
