"""The host of a container on another machine, before there is a container."""

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from modal_lite._core.placed_messages import Arrived, Assigned, Beat, FromHost, Refused
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._worker import host
from tests.waiting import PROMPT
from tests.worker.harness import container_spec


class Server:
    """The other end of a host's connection, and what its `assignment` came to."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.channel = BlockingChannel(ours, FromHost)
        self._host = host.Host(host.Orders("http://127.0.0.1:1", "ta-1", "key", os.getpid()), theirs)
        self.came: list[Any] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.came.append(self._host.assignment())
        except (host.HostFailed, ConnectionClosed) as error:
            self.came.append(str(error))

    def ended(self) -> Any:
        self._thread.join(PROMPT)
        return self.came[0]

    def close(self) -> None:
        self.channel.close()
        self._thread.join()
        self._host._beats.join()
        self._host._socket.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A host that is connected, and beats often."""
    monkeypatch.setattr(host, "BEAT", 0.25)
    server = Server()
    yield server
    server.close()


def test_it_gives_signs_of_life_while_it_waits_for_what_to_run(server: Server) -> None:
    assert isinstance(server.channel.recv()[0], Arrived)
    # One of the server's may come before its answer.
    server.channel.send(Beat())
    for _ in range(3):
        assert server.channel.recv()[0] == Beat(None)
    assigned = Assigned(container_spec("ta-1", "same"), None, "", {})
    server.channel.send(assigned)
    assert server.ended() == assigned
    # The source may be long in coming.
    assert server.channel.recv()[0] == Beat(None)


def test_it_does_not_wait_for_a_server_that_says_nothing(server: Server) -> None:
    assert server.ended() == "nothing came from the other side for too long"


def test_it_says_why_it_was_refused(server: Server) -> None:
    server.channel.send(Refused("not you"))
    assert server.ended() == "not you"
