"""What the plane says of a container's end."""

import asyncio
import signal

from modal_lite._core.messages import Recall
from modal_lite._core.requests import FunctionDefinition
from modal_lite._core.settings import FunctionSettings
from modal_lite._placement.local_container import LocalContainer
from modal_lite._server.containers import ContainerLink

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
