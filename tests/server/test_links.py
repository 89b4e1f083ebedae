"""What the plane says of a container's end."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator

import pytest

from modal_lite._core.driver_messages import Demand
from modal_lite._core.messages import Recall
from modal_lite._core.placed_messages import CONTROL, DATA, LINK, Arrived, Ended, ToHost, Wrote
from modal_lite._core.requests import FunctionDefinition
from modal_lite._core.settings import FunctionSettings
from modal_lite._placement.local_container import EXIT_WAIT, LocalContainer
from modal_lite._placement.remote_container import RemoteContainer
from modal_lite._server.containers import ContainerLink
from modal_lite._transport.channel import Channel
from tests.worker.harness import container_spec

MEMORY_LIMIT = 64
"""MiB."""


def describe(status: int | None, reason: str, killed_for: str = "") -> str:
    settings = FunctionSettings(memory_limit=MEMORY_LIMIT)
    definition = FunctionDefinition("fu-1", "ap-1", "app", "work", "module", "work", None, None, False, settings, {})
    placed = LocalContainer("ta-1")
    link = ContainerLink(placed, definition, lambda *_: None, lambda _: None, lambda *_: None, lambda *_: None)
    try:
        link.killed_for = killed_for
        link.exited(status, reason)
        return link.describe_end()
    finally:
        placed.close_remote()
        link.close()


async def test_why_a_container_ended() -> None:
    assert describe(-signal.SIGSEGV, "") == "was killed by SIGSEGV (perhaps for want of memory: its limit is 64 MiB)"
    assert describe(-signal.SIGKILL, "", "it was late") == "was killed by SIGKILL (it was late)"
    assert describe(None, "it was ended", "it was late") == "was lost: it was ended (it was late)"
    assert describe(None, "", "it was late") == "was killed (it was late)"
    # What never ran cannot have had too little memory.
    assert describe(None, "it could not be started") == "was lost: it could not be started"


async def test_a_container_that_dies_with_messages_unread_was_killed_and_broke_no_protocol() -> None:
    definition = FunctionDefinition(
        "fu-1", "ap-1", "app", "work", "module", "work", None, None, False, FunctionSettings(), {}
    )
    placed = LocalContainer("ta-1")
    gone = asyncio.Event()
    link = ContainerLink(placed, definition, lambda *_: None, lambda _: gone.set(), lambda *_: None, lambda *_: None)
    try:
        link.data.send(Recall(1))
        # Its end of the connection is closed, as by the end of its process, before it has read that.
        placed.close_remote()
        link.exited(-signal.SIGSEGV, "")
        async with asyncio.timeout(10):
            await gone.wait()
        assert link.describe_end() == "was killed by SIGSEGV"
    finally:
        link.close()


class Elsewhere:
    """A container on another machine, connected, and what the plane is told of it; the owner of the plane's end."""

    def __init__(self) -> None:
        definition = FunctionDefinition(
            "fu-1", "ap-1", "app", "work", "module", "work", None, None, False, FunctionSettings(), {}
        )
        self.gone = asyncio.Event()
        self.times_given_up = 0
        self.lines: list[tuple[str, list[str]]] = []
        self.container = RemoteContainer(container_spec("ta-1", "same"), Demand(0.0, 0, 0, {}, True), self)
        self.link = ContainerLink(
            self.container,
            definition,
            lambda *_: None,
            lambda _: self.gone.set(),
            lambda _, stream, lines, transient: self.lines.append((stream, lines)),
            lambda *_: None,
        )
        self.data, self.control = self._connect(DATA), self._connect(CONTROL)
        self.host = Channel(self._connect(LINK), ToHost, lambda message, body: None, lambda error: None)

    def _connect(self, name: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.container.connected(name, ours)
        return theirs

    def arrived(self, container: RemoteContainer, arrived: Arrived) -> None:
        raise AssertionError("nobody sends that here")

    def wants_source(self, container: RemoteContainer) -> None:
        raise AssertionError("nobody sends that here")

    def ended(self, container: RemoteContainer, status: int | None, reason: str) -> None:
        self.link.exited(status, reason)

    def given_up(self, container: RemoteContainer) -> None:
        self.times_given_up += 1

    def close(self) -> None:
        self.link.close()
        self.host.close()
        self.data.close()
        self.control.close()


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


async def test_how_a_container_on_another_machine_ended_may_be_told_after_its_connection(elsewhere: Elsewhere) -> None:
    elsewhere.data.close()
    # Longer than is waited for a container of this machine.
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(elsewhere.gone.wait(), 2 * EXIT_WAIT)
    elsewhere.host.send(Wrote(True, b"Killed\n"))
    elsewhere.host.send(Ended(-signal.SIGKILL, "", None))
    await asyncio.wait_for(elsewhere.gone.wait(), 20)
    assert elsewhere.link.describe_loss(0).startswith("The container ta-1 of work was killed by SIGKILL while")
    assert elsewhere.link.describe_loss(0).endswith("Its last lines of stderr:\n    Killed")
    elsewhere.link.close()
    assert elsewhere.times_given_up == 0


async def test_a_container_on_another_machine_whose_end_nobody_tells_is_given_up(elsewhere: Elsewhere) -> None:
    elsewhere.container.exit_wait = 0.0
    elsewhere.link.fail("it made no sense")
    await asyncio.wait_for(elsewhere.gone.wait(), 20)
    elsewhere.link.close()
    assert elsewhere.times_given_up == 1
    assert elsewhere.link.describe_end() == "broke the protocol (it made no sense)"


async def test_what_a_container_on_another_machine_writes(elsewhere: Elsewhere) -> None:
    elsewhere.host.send(Wrote(False, b"one\ntw"))
    elsewhere.host.send(Wrote(True, b"oh \xe2\x82"))
    elsewhere.host.send(Wrote(False, b"o\nthree"))
    elsewhere.host.send(Wrote(True, b"\xac\n"))
    elsewhere.host.send(Ended(0, "", None))
    await asyncio.wait_for(elsewhere.gone.wait(), 20)
    assert elsewhere.lines == [("stdout", ["one"]), ("stdout", ["two"]), ("stderr", ["oh €"])]
    elsewhere.link.close()
    assert elsewhere.lines[3:] == [("stdout", ["three"])]
