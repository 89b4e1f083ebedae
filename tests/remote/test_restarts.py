"""Servers that are killed, stopped and started, and lost connections: nothing accepted is lost, or comes twice."""

import os
import signal
import subprocess

import psutil
import pytest

from tests.remote.conftest import Server, shown
from tests.remote.functions import APP
from tests.waiting import wait_until

SPAWN = """
    f = modal_lite.Function.from_name("app", "logged")
    show([f.spawn({path!r}, x, {seconds}).object_id for x in range({count})])
"""
GET = """
    calls = [modal_lite.FunctionCall.from_id(i) for i in {ids!r}]
    show([call.get(timeout=40) for call in calls])
"""


@pytest.fixture
def server(own_server: Server) -> Server:
    own_server.deploy(APP)
    return own_server


def test_deployments_and_results_survive_a_stop(server: Server) -> None:
    ids = server.python(SPAWN.format(path=str(server.folder / "log"), seconds=0.0, count=3))
    assert server.python(GET.format(ids=ids)) == [0, 1, 2]
    server.stop()
    server.start()
    assert server.python(GET.format(ids=ids)) == [0, 1, 2]
    assert server.python('show(modal_lite.Function.from_name("app", "square").remote(4))') == 16


def test_the_autoscaler_stays_as_it_was_set_until_the_next_deployment(server: Server) -> None:
    server.python('modal_lite.Function.from_name("app", "square").keep_warm(1); show(0)')
    ask = 'show(modal_lite.Function.from_name("app", "square").get_current_stats().num_total_runners)'
    wait_until(lambda: server.python(ask) == 1)
    server.kill()
    server.start()
    wait_until(lambda: server.python(ask) == 1, "the container that is kept warm")
    server.deploy(APP)
    assert server.python(ask) == 0


def test_kill_9_loses_no_accepted_call(server: Server) -> None:
    """Deployed by one program, called by another, and read by a third; the server is killed in the middle."""
    log = server.folder / "log"
    client = server.start_python(
        f"""
        import asyncio
        f = modal_lite.Function.from_name("app", "logged")
        async def some(first):
            return [(await f.spawn.aio({str(log)!r}, x, 0.002)).object_id for x in range(first, 1000, 50)]
        async def main():
            by_task = await asyncio.gather(*map(some, range(50)))
            show([by_task[x % 50][x // 50] for x in range(1000)])
        asyncio.run(main())
        """
    )
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 100)
    containers = psutil.Process(server.pid()).children(recursive=True)
    server.kill()
    assert containers
    wait_until(lambda: not any(map(_lives, containers)), "the end of the containers")
    assert len(log.read_text().splitlines()) < 1000
    server.start()
    ids = _finished(client)
    assert isinstance(ids, list) and len(set(ids)) == 1000
    assert server.python(GET.format(ids=ids)) == list(range(1000))
    # Only what was running, or had not been committed, ran again.
    ran = [int(line) for line in log.read_text().splitlines()]
    assert set(ran) == set(range(1000)) and len(ran) < 1000 + 100


def test_kill_9_in_the_middle_of_a_spawned_map(server: Server) -> None:
    log = server.folder / "log"
    call_id = server.python(
        f"""
        f = modal_lite.Function.from_name("app", "logged")
        show(f.spawn_map([{str(log)!r}] * 300, range(300), [0.01] * 300).object_id)
        """
    )
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 50)
    server.kill()
    server.start()
    done = f'call = modal_lite.FunctionCall.from_id("{call_id}")\nshow([call.num_inputs(), list(call.iter())])'
    assert server.python(done) == [300, list(range(300))]


def test_a_replaced_version_finishes_its_calls_after_kill_9(server: Server) -> None:
    gate = server.folder / "gate"
    call_id = server.python(f'show(modal_lite.Function.from_name("app", "gate").spawn({str(gate)!r}).object_id)')
    wait_until((server.folder / "gate.started").exists)
    server.deploy(APP.replace('"one"', '"two"'))
    server.kill()
    server.start()
    gate.touch()
    assert server.python(f'show(modal_lite.FunctionCall.from_id("{call_id}").get(timeout=30))') == "one"
    assert server.python('show(modal_lite.Function.from_name("app", "version").remote())') == "two"


def test_a_cancelled_call_stays_cancelled(server: Server) -> None:
    log = str(server.folder / "log")
    ids = server.python(
        f"""
        f = modal_lite.Function.from_name("app", "logged")
        call = f.spawn({log!r}, 1, 30.0)
        call.cancel()
        show([call.object_id])
        """
    )
    server.kill()
    server.start()
    assert server.python(
        f"""
        try:
            modal_lite.FunctionCall.from_id({ids[0]!r}).get(timeout=20)
        except modal_lite.exception.RemoteError as error:
            show("cancelled" in str(error))
        """
    )


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_clients_ride_through_a_restart(server: Server, how: str) -> None:
    gate = server.folder / "gate"
    clients = [
        server.start_python(f'show(modal_lite.Function.from_name("app", "gate").remote({str(gate)!r}))'),
        server.start_python(
            f"""
            import os
            results = []
            f = modal_lite.Function.from_name("app", "logged")
            n = 2000
            for x in f.map([{str(server.folder / "log")!r}] * n, range(n), [0.001] * n):
                results.append(x)
                if x == 100:
                    open({str(gate)!r} + ".mapping", "w").close()
            show(results == list(range(n)))
            """
        ),
    ]
    wait_until((server.folder / "gate.started").exists)
    wait_until((server.folder / "gate.mapping").exists)
    server.kill() if how == "killed" else server.end()
    server.start()
    gate.touch()
    assert [_finished(client) for client in clients] == ["one", True]


def test_a_suspended_client_and_a_lost_connection(server: Server) -> None:
    """The server closes every connection: sessions go on over new ones, and what runs is not run again."""
    gate, log = server.folder / "gate", server.folder / "log"
    client = server.start_python(
        f"""
        import os, socket, threading
        from modal_lite import _client
        f = modal_lite.Function.from_name("app", "gate")

        def cut():
            while not os.path.exists({str(gate)!r} + ".started"):
                pass
            for fd in os.listdir("/proc/self/fd"):
                try:
                    found = socket.socket(fileno=os.dup(int(fd)))
                except OSError:
                    continue
                with found:
                    try:
                        if str(found.getpeername()).endswith("server.sock"):
                            found.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
            open({str(gate)!r}, "w").close()

        threading.Thread(target=cut).start()
        show(f.remote({str(gate)!r}))
        """
    )
    assert _finished(client) == "one"
    assert (server.folder / "gate.started").read_text() == "started\n"
    assert not log.exists()


def test_no_server_and_a_server_that_stays_away(server: Server) -> None:
    server.stop()
    assert server.python(
        """
        try:
            modal_lite.Function.from_name("app", "square").remote(1)
        except modal_lite.exception.ConnectionError as error:
            show(str(error))
        """
    ) == (
        f"No server runs for {server.directory.path}. Start one with `modal-lite server start`, or name another by "
        "MODAL_LITE_SERVER_URL."
    )


def test_the_server_ends_what_a_dead_client_waited_for(server: Server) -> None:
    gate = server.folder / "gate"
    client = server.start_python(f'modal_lite.Function.from_name("app", "gate").remote({str(gate)!r})')
    wait_until((server.folder / "gate.started").exists)
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=20)
    wait_until(lambda: '"calls":0' in _status(server), "the end of the call")


def _status(server: Server) -> str:
    from modal_lite._core.address import Address
    from modal_lite._transport.admin import ask

    socket = str(server.directory.socket)
    status = ask(Address(f"unix://{socket}", socket, "http://localhost", None), "GET", "status")
    return f'"calls":{status["calls"]}'


def _finished(client: "subprocess.Popen[str]") -> object:
    with client:
        out, err = client.communicate(timeout=45)
    return shown(subprocess.CompletedProcess(client.args, client.returncode, out, err))


def _lives(process: psutil.Process) -> bool:
    try:
        return os.path.exists(f"/proc/{process.pid}") and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
