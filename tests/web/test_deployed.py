"""Web functions of deployed apps: their addresses, over deployments and restarts of the server."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.remote.conftest import Server
from tests.waiting import wait_until

SOURCE = """
    import modal_lite
    app = modal_lite.App("site")

    @app.function()
    @modal_lite.fastapi_endpoint()
    def version():
        return "{version}"

    @app.function()
    @modal_lite.fastapi_endpoint()
    def where():
        return modal_lite.Function.from_name("site", "version").web_url

    @app.cls()
    class Model:
        @modal_lite.fastapi_endpoint()
        def predict(self, x: int):
            return x + 1
"""
URL = "show(modal_lite.Function.from_name('site', 'version').web_url)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        yield made.start()
    finally:
        made.stop()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as reply:
        text: str = reply.read().decode()
        return text


def test_an_address_lasts(server: Server) -> None:
    server.deploy(SOURCE.format(version="one"), "site")
    url = server.python(URL)
    assert fetch(url) == '"one"'
    server.deploy(SOURCE.format(version="two"), "site")
    assert server.python(URL) == url
    assert fetch(url) == '"two"'
    server.stop()
    server.start()
    assert server.python(URL) == url
    assert fetch(url) == '"two"'
    server.cli("app", "stop", "site")
    with pytest.raises(urllib.error.URLError):
        fetch(url)


def test_deploy_says_where(server: Server) -> None:
    server.deploy(SOURCE.format(version="one"), "site")
    said = server.cli("deploy", server.folder / "source" / "deployed.py", "--name", "site").stderr
    url = server.python(URL)
    assert f"version answers requests at {url}\n" in said
    method = server.python("show(modal_lite.Cls.from_name('site', 'Model')().predict.web_url)")
    assert f"Model.predict answers requests at {method}\n" in said
    assert fetch(f"{method}?x=1") == "2"
    where = server.python("show(modal_lite.Function.from_name('site', 'where').get_web_url())")
    assert fetch(where) == f'"{url}"'


def test_a_function_that_is_no_more_has_no_address(server: Server) -> None:
    server.deploy(SOURCE.format(version="one"), "site")
    url = server.python(URL)
    other = "import modal_lite\napp = modal_lite.App('site')\n@app.function()\ndef f(): pass\n"
    server.deploy(other, "site")

    def refused() -> bool:
        try:
            fetch(url)
        except urllib.error.URLError:
            return True
        return False

    wait_until(refused, "the end of the address")


def test_calls_of_a_looked_up_function_are_refused(server: Server) -> None:
    server.deploy(SOURCE.format(version="one"), "site")
    url = server.python(URL)
    message = server.python("""
        try:
            modal_lite.Function.from_name("site", "version").remote()
        except modal_lite.exception.InvalidError as error:
            show(str(error))
    """)
    assert message == f"version is a web function and cannot be called with .remote(...). Its URL is {url}."
