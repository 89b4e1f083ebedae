import asyncio
import contextvars
import threading

import pytest

from modal_lite._core import context
from modal_lite._core.ids import input_id


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODAL_IS_REMOTE", raising=False)
    monkeypatch.setattr(context, "_container_id", None)
    monkeypatch.setattr(context, "_running", None)


def test_outside_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    assert context.is_local()
    assert context.current_input_id() is None
    assert context.current_function_call_id() is None
    monkeypatch.setenv("MODAL_IS_REMOTE", "1")
    assert not context.is_local()


def test_the_only_input_is_known_in_every_thread() -> None:
    running: list[tuple[str, int]] = []
    context.enter_container("ta-1", lambda: running[-1] if running else None)
    assert not context.is_local()
    assert context.current_input_id() is None
    running.append(("fc-1", 7))
    seen: list[str | None] = []
    thread = threading.Thread(target=lambda: seen.append(context.current_input_id()))
    thread.start()
    thread.join(10)
    assert seen == [input_id("fc-1", 7)]
    assert context.current_function_call_id() == "fc-1"


def test_concurrent_inputs_are_told_apart_by_their_context() -> None:
    context.enter_container("ta-1", lambda: ("fc-other", 0))

    async def one(index: int) -> str | None:
        context.input_context.set(("fc-1", index))
        await asyncio.sleep(0)
        return context.current_input_id()

    async def both() -> list[str | None]:
        return list(await asyncio.gather(one(1), one(2)))

    assert contextvars.copy_context().run(asyncio.run, both()) == [input_id("fc-1", 1), input_id("fc-1", 2)]
    assert context.current_function_call_id() == "fc-other"
