"""What a server must not do, whatever it is sent: unpickle, write elsewhere, let others read."""

import asyncio
import os
import pickle
import stat
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modal_lite._core import requests
from modal_lite._core.address import Address
from modal_lite._core.ids import new_id
from modal_lite._core.payload import Payload
from modal_lite._core.request_base import Request
from modal_lite._core.requests import (
    CallKind,
    DeployApp,
    DeployedFunction,
    FunctionDefinition,
    LookUp,
    Source,
    StartCall,
)
from modal_lite._core.settings import FunctionSettings
from modal_lite._transport.server_channel import ServerChannel
from modal_lite.exception import Error
from tests.remote.conftest import Server
from tests.remote.functions import APP
from tests.waiting import wait_until


class Bomb:
    """Whoever unpickles it says in a file which process it is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return eval, (f"open({str(self.path)!r}, 'a').write(f'{{__import__(\"os\").getpid()}}\\n')",)


def kinds() -> list[type[Request]]:
    """Every kind of request."""
    found: list[type[Request]] = []

    def collect(kind: Any) -> None:
        for each in typing.get_args(kind) or (kind,):
            found.append(each) if isinstance(each, type) else collect(each)

    collect(requests.AnyRequest)
    return found


def value(name: str, kind: Any, bomb: bytes, function_id: str) -> Any:
    """Something of the field's type; the payload, where it takes bytes."""
    known = {"function_id": function_id, "base_id": function_id, "new_id": new_id("di"), "call_id": new_id("fc")}
    if name in known:
        return known[name]
    args = typing.get_args(kind)
    if kind is bytes or bytes in args:
        return bomb
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return filled(kind, bomb, function_id)
    origin = typing.get_origin(kind)
    if origin is list:
        return [value("", args[0], bomb, function_id)]
    if origin is dict:
        return {value("", args[0], bomb, function_id): value("", args[1], bomb, function_id)}
    if origin is tuple:
        return tuple(value("", each, bomb, function_id) for each in args if each is not ...)
    if args:
        return value(name, args[0], bomb, function_id)
    if isinstance(kind, type) and hasattr(kind, "__members__"):
        return next(iter(kind.__members__.values()))
    return {str: "x", int: 1, float: 0.01, bool: False}.get(kind)


def filled(kind: type, bomb: bytes, function_id: str) -> Any:
    """A message with something in every field."""
    fields = msgspec.structs.fields(kind)
    return kind(**{field.name: value(field.name, field.type, bomb, function_id) for field in fields})


async def send_all(server: Server, bomb: bytes) -> set[str]:
    """Sends every kind of request with the bomb wherever there are bytes; gives the kinds that were answered."""
    path = str(server.directory.socket)
    channel = ServerChannel(Address(f"unix://{path}", path, "http://localhost", None))
    answered = set()
    try:
        found = await channel.request(LookUp("main", "app", "square"))
        start = StartCall(new_id("fc"), found.function_id, CallKind.SPAWNED, None)
        await channel.request(start, Payload((len(bomb),), [bomb]))
        for kind in kinds():
            request = filled(kind, bomb, found.function_id)
            try:
                async with asyncio.timeout(0.7):
                    await channel.request(request, Payload((len(bomb),), [bomb]))
                answered.add(kind.__name__)
            except Error:
                answered.add(kind.__name__)
            except TimeoutError:
                pass  # It waits for what does not come.
        definition = FunctionDefinition("", "", "", "f", "m", "f", None, bomb, False, FunctionSettings(), {}, bomb)
        source = Source("0" * 64, [], [], "/", None, "3.0")
        with pytest.raises(Error):
            await channel.request(DeployApp("main", "bomb", [DeployedFunction(definition, False)], source))
    finally:
        await channel.close()
    return answered


def test_the_server_unpickles_nothing(server: Server, tmp_path: Path) -> None:
    server.deploy(APP)
    fuse = tmp_path / "unpickled"
    bomb = pickle.dumps(Bomb(fuse))
    answered = asyncio.run(send_all(server, bomb))
    assert len(answered) > 25
    # Where it is to be unpickled it is: so the bomb works, and the server has passed it on.
    wait_until(fuse.exists, "the container's unpickling")
    assert str(server.pid()) not in fuse.read_text().split()
    assert server.python('show(modal_lite.Function.from_name("app", "square").remote(3))') == 9


def test_everything_of_the_server_is_for_this_user_alone(own_server: Server) -> None:
    """Also in a folder that others can look into."""
    own_server.directory.path.mkdir(mode=0o755)
    own_server.cli("token", "new")
    own_server.start()
    own_server.deploy(APP)
    own_server.python('show(modal_lite.Function.from_name("app", "talk").spawn("x").object_id)')
    directory = own_server.directory
    files = [directory.state, directory.log, directory.lock, directory.info, directory.tokens, directory.socket]
    files += directory.path.glob("state.db-*")
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    for folder in (directory.snapshots, directory.app_logs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_a_data_directory_that_others_can_write_into(own_server: Server) -> None:
    own_server.directory.path.mkdir()
    own_server.directory.path.chmod(0o777)
    refused = own_server.cli("server", "start", check=False)
    assert refused.returncode == 1 and f"chmod 700 {own_server.directory.path}" in refused.stderr
    own_server.directory.path.chmod(0o700)


def test_a_socket_folder_that_others_can_open(own_server: Server, tmp_path: Path) -> None:
    """Where the path is too long for a socket it is in a folder for temporary files, which others may have made."""
    own_server.environment["TMPDIR"] = str(tmp_path)
    own_server.environment["MODAL_LITE_DATA_DIR"] = str(tmp_path / ("x" * 100))
    folder = tmp_path / f"modal-lite-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    refused = own_server.cli("server", "start", check=False)
    assert refused.returncode == 1 and "not of this user alone" in refused.stderr
    folder.chmod(0o700)


def test_source_is_not_written_by_the_functions_that_it_is_of(server: Server) -> None:
    server.deploy(
        """
        import os, stat, modal_lite
        app = modal_lite.App("mode")

        @app.function()
        def mode():
            return stat.S_IMODE(os.stat(__file__).st_mode)
        """,
        "mode",
        file="mode_app.py",
    )
    assert server.python('show(modal_lite.Function.from_name("mode", "mode").remote())') == 0o444


def test_another_python_is_told_of(server: Server) -> None:
    """At the deployment; and what would travel pickled is refused."""
    server.deploy(APP)
    prelude = (
        "import collections, types\nimport modal_lite._source as source\n"
        "Other = collections.namedtuple('V', 'major minor')(3, 5)\n"
        "source.sys = types.SimpleNamespace(version_info=Other, path=[])\n"
    )
    path = server.folder / "source"
    told = server.start_python(
        f"exec({prelude!r})\nimport sys; sys.path.insert(0, {str(path)!r})\nimport deployed\n"
        "deployed.app.deploy(name='old')"
    )
    out, err = told.communicate(timeout=40)
    assert "this program 3.5: containers of old have the server's Python" in out + err
    refused = server.start_python(f"""
        exec({prelude!r})
        app = modal_lite.App("pickled")

        @app.function(serialized=True)
        def f():
            pass

        app.deploy()
    """)
    out, err = refused.communicate(timeout=40)
    assert "f would travel pickled from Python 3.5 to the server's" in err
