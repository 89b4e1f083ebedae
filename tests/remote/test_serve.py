"""`modal-lite serve`: the newest source, until Ctrl-C."""

import signal
import subprocess
import sys

import pytest

from tests.remote.conftest import Server
from tests.remote.functions import APP
from tests.waiting import wait_until

ASK = """
    try:
        show(modal_lite.Function.from_name("in-the-file-dev", "version").remote())
    except modal_lite.Error as error:
        show(type(error).__name__)
"""


@pytest.mark.slow
def test_a_change_is_deployed_and_ctrl_c_stops_the_app(own_server: Server) -> None:
    path = own_server.folder / "source" / "served.py"
    path.parent.mkdir()
    path.write_text(APP)
    with subprocess.Popen(
        [sys.executable, "-m", "modal_lite", "serve", str(path)],
        env=own_server.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        assert serving.stderr is not None
        for line in serving.stderr:
            if "Ctrl-C stops it" in line:
                break
        assert own_server.python(ASK) == "one"
        path.write_text(APP.replace('"one"', '"two"'))
        wait_until(lambda: own_server.python(ASK) == "two", "the new version", 20)
        path.write_text("raise RuntimeError('broken')")
        for line in serving.stderr:
            if "RuntimeError: broken" in line:
                break
        assert own_server.python(ASK) == "two"
        own_server.python('modal_lite.Function.from_name("in-the-file-dev", "talk").remote("said")\nshow(1)')
        assert serving.stdout is not None
        assert serving.stdout.readline() == "talk: said\n"
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=20)
    assert own_server.python(ASK) == "NotFoundError"


@pytest.mark.slow
def test_a_detached_run_outlives_its_command_and_is_stopped_when_it_has_ended(own_server: Server) -> None:
    path, gate = own_server.folder / "detached.py", own_server.folder / "gate"
    path.write_text(APP.replace("def gate(path)", "def gate(path: str)"))
    done = own_server.cli("run", "--detach", f"{path}::gate", "--path", gate)
    wait_until((own_server.folder / "gate.started").exists)
    assert "in-the-file-run-" in own_server.cli("app", "list").stdout
    gate.touch()
    assert own_server.python(f'show(modal_lite.FunctionCall.from_id("{done.stdout.strip()}").get())') == "one"
    wait_until(lambda: "in-the-file-run-" not in own_server.cli("app", "list").stdout, "the end of the app", 25)
    assert own_server.python(f'show(modal_lite.FunctionCall.from_id("{done.stdout.strip()}").get())') == "one"
