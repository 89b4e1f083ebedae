"""The host of a container on another machine, before there is a container."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modal_lite._core.payload import Payload
from modal_lite._core.placed_messages import Arrived, Assigned, Beat, FromHost, Refused, Source, WantSource
from modal_lite._core.snapshot import MAX_FILES, NEW, File, pack, unpack
from modal_lite._core.source_folder import CACHE_VARIABLE, UNUSED
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._worker import host
from tests.waiting import PROMPT, wait_until
from tests.worker.harness import container_spec


class Server:
    """The other end of a host's connection, and what a step of the host's came to: its `assignment`, first of all."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.channel = BlockingChannel(ours, FromHost)
        self.host = host.Host(host.Orders("http://127.0.0.1:1", "ta-1", "key", os.getpid()), theirs)
        self.came: list[Any] = []
        self.begin(self.host.assignment)

    def begin(self, step: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                self.came.append(step())
            except (host.HostFailed, ConnectionClosed) as error:
                self.came.append(str(error))

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def ended(self) -> Any:
        self._thread.join(PROMPT)
        return self.came.pop()

    def close(self) -> None:
        self.channel.close()
        self._thread.join()
        self.host._beats.join()
        self.host._socket.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A host that is connected, and beats often."""
    monkeypatch.setattr(host, "BEAT", 0.25)
    server = Server()
    yield server
    server.close()


def test_it_gives_signs_of_life_while_it_waits_for_what_to_run(server: Server) -> None:
    assert isinstance(server.channel.recv()[0], Arrived)
    for _ in range(3):
        # The server's may come before its answer.
        server.channel.send(Beat())
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


def source_of(files: int) -> tuple[Assigned, bytes]:
    """Something to run, whose source has so many files."""
    digest, data = pack([File(f"0/{i}.py", False, b"") for i in range(files)])
    spec = container_spec("ta-1", "same", sys_path=["/theirs/0"], cwd="/theirs/0")
    return Assigned(spec, digest, "/theirs", dict.fromkeys(("data", "control", "client"), "key")), data


def give(channel: BlockingChannel, data: bytes) -> None:
    channel.send(Source((len(data),)), Payload((len(data),), [data]))


def used_long_ago(source: Path) -> Path:
    then = time.time() - UNUSED * 2
    os.utime(source, (then, then))
    return source


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's folder for sources."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_a_source_that_is_long_in_coming(server: Server, cache: Path) -> None:
    assigned, data = source_of(1)
    assert assigned.digest is not None
    digest, other = pack([File("0/old.py", False, b"")])
    unpack(digest, other, cache)
    used_long_ago(cache / digest)
    server.channel.send(assigned)
    assert server.ended() == assigned
    server.begin(lambda: server.host.fetch(assigned))
    came: list[Any] = []
    # Each of both gives signs of life meanwhile.
    while WantSource() not in came or came[-3:] != [Beat()] * 3:
        came.append(server.channel.recv()[0])
        server.channel.send(Beat())
    give(server.channel, data)
    assert server.ended().cwd == str(cache / assigned.digest / "0")
    # The one that nobody has used for long made room.
    assert [entry.name for entry in cache.iterdir()] == [assigned.digest]


def test_a_source_that_is_there(server: Server, cache: Path) -> None:
    assigned, data = source_of(1)
    assert assigned.digest is not None
    unpack(assigned.digest, data, cache)
    source = used_long_ago(cache / assigned.digest)
    server.channel.send(assigned)
    assert server.ended() == assigned
    assert server.host.fetch(assigned).cwd == str(source / "0")
    assert source.stat().st_mtime > time.time() - UNUSED
    # Nor is it removed while a container of it runs for months.
    used_long_ago(source)
    server.host._keep_source(time.monotonic())
    assert source.stat().st_mtime < time.time() - UNUSED
    server.host._keep_source(time.monotonic() + host._MARK)
    assert source.stat().st_mtime > time.time() - UNUSED


@pytest.mark.parametrize("unpacks", [False, True], ids=["it waits for its source", "it unpacks its source"])
def test_it_ends_when_it_is_told_to_before_there_is_a_container(cache: Path, unpacks: bool) -> None:
    """Though the server lives, and with nothing left of what was not complete."""
    assigned, data = source_of(MAX_FILES)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        orders = host.Orders(f"http://127.0.0.1:{listener.getsockname()[1]}", "ta-1", "key", os.getpid())
        process = subprocess.Popen(
            [sys.executable, "-m", "modal_lite._worker.host"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with process:
            assert process.stdin is not None and process.stderr is not None
            process.stdin.write(msgspec.json.encode(orders))
            process.stdin.close()
            link, _ = listener.accept()
            with link:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += link.recv(1)
                link.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: modal-lite\r\n\r\n")
                channel = BlockingChannel(link, FromHost)
                channel.send(assigned)
                while not isinstance(channel.recv()[0], WantSource):
                    pass
                if unpacks:
                    give(channel, data)
                    wait_until(lambda: any(cache.glob("*/*")), "the unpacking", PROMPT)
                process.send_signal(signal.SIGTERM)

                def ended() -> bool:
                    with contextlib.suppress(ConnectionClosed):
                        channel.send(Beat())
                    return process.poll() is not None

                wait_until(ended, "its end", PROMPT)
                assert (process.returncode, process.stderr.read()) == (1, b"")
    assert not list(cache.glob(f"{NEW}*"))
