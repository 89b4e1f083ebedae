"""A disk that takes no more: those who wait are told, and nothing that was accepted is lost."""

import resource
import sys

import pytest

from tests.remote.conftest import Server
from tests.remote.functions import APP

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes are Linux's")

SPAWN = """
    square = modal_lite.Function.from_name("app", "square")
    try:
        show(square.spawn(3).object_id)
    except modal_lite.Error as error:
        show([type(error).__name__, str(error)])
"""


def limit(server: Server, size: int) -> None:
    """Lets no file of the server become larger."""
    _, hard = resource.prlimit(server.pid(), resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid(), resource.RLIMIT_FSIZE, (size, hard))


def test_a_full_disk(own_server: Server) -> None:
    own_server.start()
    own_server.deploy(APP)
    gate = own_server.folder / "gate"
    waiting = own_server.python(f'show(modal_lite.Function.from_name("app", "gate").spawn({str(gate)!r}).object_id)')
    limit(own_server, 1000)
    kind, message = own_server.python(SPAWN)
    assert kind == "ExecutionError" and "could not write to its store" in message
    gate.touch()
    get = f"""
        call = modal_lite.FunctionCall.from_id({waiting!r})
        try:
            show(call.get(timeout=40))
        except modal_lite.Error as error:
            show([type(error).__name__, str(error)])
    """
    kind, message = own_server.python(get)
    assert kind == "ExecutionError" and "could not write it to its store" in message and "keeps trying" in message
    refused = own_server.cli("deploy", own_server.folder / "source" / "deployed.py", "--name", "other", check=False)
    assert refused.returncode == 1 and "could not" in refused.stderr
    assert "other" not in own_server.cli("app", "list").stdout
    limit(own_server, resource.RLIM_INFINITY)
    own_server.python(f"""
        import time
        call = modal_lite.FunctionCall.from_id({waiting!r})
        while True:
            try:
                show(call.get(timeout=40))
                break
            except modal_lite.exception.ExecutionError:
                time.sleep(0.2)
    """)
    call_id = own_server.python(SPAWN)
    own_server.kill()
    own_server.start()
    code = "show([modal_lite.FunctionCall.from_id(each).get(timeout=40) for each in ({!r}, {!r})])"
    assert own_server.python(code.format(waiting, call_id)) == ["one", 9]
