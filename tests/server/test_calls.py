"""What the plane holds of a call: who is woken by what."""

import asyncio

from modal_lite._core.requests import CallKind, Output
from modal_lite._server.calls import CallState


async def test_who_waits_for_one_output_is_woken_by_no_other() -> None:
    call = CallState("fc-1", "fu-1", CallKind.MAPPED)
    waiting = asyncio.ensure_future(call.changed(8))
    anything = asyncio.ensure_future(call.changed())
    await asyncio.sleep(0)
    call.deliver(Output(16, 8))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert anything.done()
    assert not waiting.done()
    assert call.holds(None)
    assert not call.holds(8)
    call.deliver(Output(8, 8))
    await waiting
    assert call.holds(8)
    assert [output.start for output in call.take()] == [16, 8]
    assert not call.waiters


async def test_of_many_who_wait_only_those_are_woken_whose_inputs_have_come() -> None:
    call = CallState("fc-1", "fu-1", CallKind.SPAWNED)
    waiting = [asyncio.ensure_future(call.changed(index)) for index in range(100)]
    await asyncio.sleep(0)
    call.deliver(Output(40, 3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [index for index, task in enumerate(waiting) if task.done()] == [40, 41, 42]
    waiting[7].cancel()
    await asyncio.wait([waiting[7]])
    assert len(call.waiters) == 96
    call.deliver(Output(0, 100))
    await asyncio.wait(waiting)
    assert not call.waiters


async def test_the_end_wakes_everybody() -> None:
    call = CallState("fc-1", "fu-1", CallKind.MAPPED)
    waiting = asyncio.ensure_future(call.changed(8))
    await asyncio.sleep(0)
    call.finish()
    await waiting
