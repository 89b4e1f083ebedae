"""What kinds of web functions there are, each fetched by its URL from a running app."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

import modal_lite
from tests.web.functions import Model, add, broken, dies, flask, greet, late, plain, raw, site, with_lifespan

Curl = Callable[..., str]


def test_endpoint(run: Any, curl: Curl) -> None:
    reply = json.loads(curl(f"{greet.web_url}/?name=bob"))
    assert reply["hello"] == "bob"
    assert reply["local"] is False
    assert reply["input"].startswith("in-")


def test_docs_are_there_if_wanted(run: Any, curl: Curl) -> None:
    assert "swagger" in curl(f"{greet.web_url}/docs")
    assert json.loads(curl(f"{greet.web_url}/openapi.json"))["info"]["title"] == "greet"
    assert "Not Found" in curl(f"{add.web_url}/docs")


def test_post(run: Any, curl: Curl) -> None:
    assert curl("-H", "Content-Type: application/json", "-d", "[1, 2]", add.web_url) == "3"
    assert "Method Not Allowed" in curl(add.web_url)


def test_asgi(run: Any, curl: Curl) -> None:
    reply = json.loads(curl(f"{site.web_url}/path/some/where"))
    assert reply == {"path": "some/where", "url": f"{site.web_url}/path/some/where", "client": "127.0.0.1"}


def test_an_async_factory_and_lifespan_events(run: Any, curl: Curl) -> None:
    assert curl(with_lifespan.web_url) == "True"


def test_wsgi(run: Any, curl: Curl) -> None:
    assert curl(f"{flask.web_url}/hi/you") == "hi you 0 True"
    assert curl("-d", "x" * 100_000, f"{flask.web_url}/hi/you") == "hi you 100000 True"


def test_web_server(run: Any, curl: Curl) -> None:
    assert "Directory listing" in curl(f"{raw.web_url}/")
    assert "404" in curl("-i", f"{raw.web_url}/no/such/file")


def test_methods_of_classes(run: Any, curl: Curl) -> None:
    assert json.loads(curl(f"{Model().predict.web_url}/?x=3")) == {"name": "plain", "ready": True, "x": 3}
    assert json.loads(curl(f"{Model(name='other').predict.web_url}/?x=4"))["name"] == "other"
    assert Model().called.remote(1) == 2


def test_each_has_an_address_of_its_own(run: Any) -> None:
    assert len({greet.web_url, add.web_url, site.web_url, Model().predict.web_url}) == 4
    assert greet.get_web_url() == greet.web_url
    assert run.registered_web_endpoints[:3] == ["greet", "add", "site"]
    assert "Model.predict" in run.registered_web_endpoints


def test_an_ordinary_function_has_none(run: Any) -> None:
    assert plain.get_web_url() is None
    with pytest.raises(ValueError, match="No web_url can be found for the function plain"):
        plain.web_url  # noqa: B018


def test_calls_are_refused_and_the_url_is_named(run: Any) -> None:
    for call in (
        lambda: greet.remote(),
        lambda: greet.spawn(),
        lambda: list(greet.map([1])),
        lambda: list(greet.remote_gen()),
        lambda: greet.for_each([1]),
        lambda: greet.spawn_map([1]),
    ):
        with pytest.raises(modal_lite.exception.InvalidError, match=f"is a web function.*{greet.web_url}"):
            call()
    assert greet.local("me")["hello"] == "me"


def test_not_running() -> None:
    other = modal_lite.App("other")
    function = other.function(serialized=True)(modal_lite.asgi_app()(lambda: None))
    with pytest.raises(modal_lite.exception.ExecutionError, match="not running"):
        function.web_url  # noqa: B018


def test_a_container_that_cannot_start(run: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(broken.web_url)
    with caught.value as reply:
        assert reply.code == 500
        assert "no application today" in reply.read().decode()


def test_a_container_that_dies(run: Any, tmp_path: Any) -> None:
    log = tmp_path / "log"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{dies.web_url}/?{log}", data=b"x")
    with caught.value as reply:
        assert reply.code == 502
    assert log.read_text() == "ran\n", "a POST is not sent twice"


def test_a_time_limit(run: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(late.web_url)
    with caught.value as reply:
        assert reply.code == 504
