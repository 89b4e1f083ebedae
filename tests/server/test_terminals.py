"""Who has a client's terminal, in which order, and what each side is told."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from modal_lite._core.messages import (
    TerminalDone,
    TerminalGranted,
    TerminalRefused,
    TerminalReleased,
    TerminalResized,
    TerminalSpec,
    TerminalTaken,
    TerminalTyped,
    TerminalWanted,
    TerminalWrote,
)
from modal_lite._core.requests import OpenTerminal, ResizeTerminal, TerminalOutput, TypeIn
from modal_lite._server.terminals import Terminals
from modal_lite.exception import NotFoundError

SPEC = TerminalSpec(24, 80, "xterm")


class Link:
    """A container, as far as terminals know of it."""

    def __init__(self, name: str, function_id: str = "fu-1") -> None:
        self.container_id = name
        self.definition = SimpleNamespace(app_id="ap-1", function_id=function_id, tag="tagged")
        self.told: list[msgspec.Struct] = []
        self.control = SimpleNamespace(send=self.told.append)


@pytest.fixture
def terminals() -> Any:
    made = Terminals()
    made.open(OpenTerminal("te-1", "ap-1", None, SPEC))
    return made


async def test_a_container_has_it_until_everything_is_shown(terminals: Any) -> None:
    link, terminal = Link("ta-1"), terminals.find("te-1")
    terminals.said(link, TerminalWanted(1))
    assert link.told == [TerminalGranted(1, SPEC)]
    assert await terminal.next_output() == TerminalOutput(b"", True)
    terminals.said(link, TerminalWrote(b"some"))
    terminals.said(link, TerminalWrote(b" text"))
    terminals.said(link, TerminalDone())
    assert await terminal.next_output() == TerminalOutput(b"some text", True)
    assert link.told[1:] == [TerminalTaken(9)]
    assert await terminal.next_output() == TerminalOutput(b"", False)
    assert link.told[2:] == []
    # That it asks again says that it has its terminal as it was.
    waiting = asyncio.create_task(terminal.next_output())
    await asyncio.sleep(0)
    assert link.told[2:] == [TerminalReleased()]
    terminals.close("te-1")
    assert await waiting == TerminalOutput(b"", False, closed=True)


async def test_others_wait_for_their_turn(terminals: Any) -> None:
    first, second, terminal = Link("ta-1"), Link("ta-2"), terminals.find("te-1")
    terminals.said(first, TerminalWanted(1))
    terminals.said(second, TerminalWanted(1))
    terminals.tell(TypeIn("te-1", b"x"))
    terminals.tell(ResizeTerminal("te-1", 30, 90))
    assert first.told[1:] == [TerminalTyped(b"x"), TerminalResized(30, 90)]
    await terminal.next_output()
    terminals.gone(first)
    assert await terminal.next_output() == TerminalOutput(b"", False)
    assert await terminal.next_output() == TerminalOutput(b"", True)
    assert second.told[-1] == TerminalGranted(1, TerminalSpec(30, 90, "xterm"))


async def test_who_gives_up_waiting_is_passed_over(terminals: Any) -> None:
    first, second, terminal = Link("ta-1"), Link("ta-2"), terminals.find("te-1")
    terminals.said(first, TerminalWanted(1))
    terminals.said(second, TerminalWanted(1))
    terminals.said(second, TerminalDone())
    terminals.said(first, TerminalDone())
    # The client was never told of the first one, and so has nothing to put in order.
    drained = asyncio.create_task(terminal.drained())
    reading = asyncio.create_task(terminal.next_output())
    await drained
    assert first.told[1:] == [TerminalReleased()]
    assert second.told == []
    terminals.close_all()
    await reading


async def test_a_terminal_of_a_function_is_its_containers_from_the_start(terminals: Any) -> None:
    terminals.open(OpenTerminal("te-2", "ap-1", "fu-2", SPEC))
    assert terminals.spec_for("fu-2") == SPEC
    assert terminals.spec_for("fu-1") is None
    link = Link("ta-1", "fu-2")
    terminals.started(link)
    terminals.said(link, TerminalWrote(b"text"))
    assert await terminals.find("te-2").next_output() == TerminalOutput(b"text", True)
    assert link.told == [TerminalTaken(4)]


def test_a_closed_terminal_lets_everybody_go_on(terminals: Any) -> None:
    first, second, third = Link("ta-1"), Link("ta-2"), Link("ta-3")
    terminals.said(first, TerminalWanted(1))
    terminals.said(second, TerminalWanted(1))
    terminals.close_all("ap-1")
    assert first.told[1:] == [TerminalReleased()]
    assert second.told == [TerminalRefused(1, "The caller's terminal was closed.")]
    terminals.said(first, TerminalWrote(b"text"))
    terminals.said(first, TerminalDone())
    assert first.told[2:] == [TerminalTaken(4), TerminalReleased()]
    terminals.said(third, TerminalWanted(7))
    (refused,) = third.told
    assert isinstance(refused, TerminalRefused)
    assert refused.number == 7
    assert "There is no terminal for tagged" in refused.reason
    with pytest.raises(NotFoundError, match="The terminal te-1 is not open any more"):
        terminals.find("te-1")
