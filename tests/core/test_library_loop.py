"""Who runs the library's loop: the keeper, a caller that blocks, the loop of a caller that awaits."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modal_lite._core.crossing import call_soon, directly, on_loop
from modal_lite._core.deferred_signals import DeferredSignals
from modal_lite._core.library_loop import library
from modal_lite._drive import run_blocking
from tests.waiting import wait_until


async def _where(seconds: float = 0.0) -> int:
    """The thread that runs the library's loop, after a while."""
    assert asyncio.get_running_loop() is library().loop
    await asyncio.sleep(seconds)
    return threading.get_ident()


async def _ask(seconds: float = 0.0) -> int:
    return await on_loop(_where, seconds)


def _at_once(value: object, on_end: Callable[[Any], None]) -> Callable[[], None]:
    """For `directly`: ends before it returns."""
    on_end(value)
    return lambda: None


def _never(withdrawn: list[str], on_end: Callable[[Any], None]) -> Callable[[], None]:
    """For `directly`: ends only by being withdrawn."""
    return lambda: withdrawn.append("withdrawn")


async def _interrupted_after(delay: float) -> None:
    # Again after a while: what a handler raises in the midst of a garbage collection is lost, in any program.
    signal.setitimer(signal.ITIMER_REAL, delay, 2.0)
    while True:
        await _ask(0.0001)


async def _directly(function: Callable[..., Any], *args: object) -> Any:
    return await directly(function, *args)


def _blocks_here() -> bool:
    """Waits for something; True if this thread ran the loop meanwhile. It may if it comes before the keeper is back."""
    return run_blocking(_ask) == threading.get_ident()


async def _awaits_here() -> None:
    """Returns once this thread's loop runs the library's."""
    for _ in range(1000):
        if await _ask() == threading.get_ident():
            return
    raise AssertionError("another thread always was first")


@pytest.fixture
def work() -> Iterator[list[bool]]:
    """Something under way for which nobody waits, while the list is not empty."""
    under_way: list[bool] = []

    def is_under_way() -> bool:
        return bool(under_way)

    library().add_work(is_under_way)
    yield under_way
    under_way.clear()


def test_caller_that_blocks_runs_the_loop_itself() -> None:
    wait_until(_blocks_here)


def test_so_does_one_in_another_thread() -> None:
    thread = threading.Thread(target=lambda: wait_until(_blocks_here))
    thread.start()
    thread.join()


def test_loop_of_a_caller_that_awaits_runs_the_loop() -> None:
    async def main() -> None:
        found: set[int] = set()
        while found != {threading.get_ident()}:
            await _awaits_here()
            found = set(await asyncio.gather(*[_ask(0.01) for _ in range(100)]))

    asyncio.run(main())


def test_keeper_comes_back_when_nobody_calls() -> None:
    wait_until(_blocks_here)
    ran: list[int] = []
    call_soon(lambda: ran.append(threading.get_ident()))
    wait_until(lambda: ran)
    assert ran != [threading.get_ident()]


def test_keeper_runs_the_loop_while_something_is_under_way(work: list[bool]) -> None:
    wait_until(_blocks_here)
    work.append(True)
    run_blocking(_ask)
    wait_until(lambda: not _blocks_here())
    assert not any(_blocks_here() for _ in range(20))


def test_what_a_caller_leaves_behind_is_run_on() -> None:
    """Two threads wait; the one that runs the loop is done first."""
    found: list[int] = []
    slow = threading.Thread(target=lambda: found.append(run_blocking(_ask, 0.2)))
    quick = threading.Thread(target=lambda: run_blocking(_ask, 0.02))
    quick.start()
    slow.start()
    quick.join()
    slow.join()
    assert len(found) == 1


def test_many_threads_and_loops_at_once() -> None:
    def block() -> None:
        for _ in range(50):
            run_blocking(_ask, 0.0001)
        done.append("blocked")

    async def awaits() -> None:
        for _ in range(10):
            await asyncio.gather(*[_ask(0.0001) for _ in range(5)])
        done.append("awaited")

    done: list[str] = []
    threads = [threading.Thread(target=block) for _ in range(4)]
    threads += [threading.Thread(target=lambda: asyncio.run(awaits())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["awaited"] * 4 + ["blocked"] * 4


def test_keeper_takes_over_from_a_loop_that_is_blocked() -> None:
    async def main() -> None:
        ticks: list[int] = []

        async def tick() -> None:
            for _ in range(3):
                await asyncio.sleep(0.001)
                ticks.append(threading.get_ident())

        await _awaits_here()
        waiting = asyncio.ensure_future(_also(tick))
        await asyncio.sleep(0)
        wait_until(lambda: len(ticks) == 3)  # blocks this loop
        assert ticks[-1] != threading.get_ident()
        await waiting

    async def _also(function: Any) -> None:
        await on_loop(function)

    asyncio.run(main())


def test_loop_that_ends_leaves_the_library_s_loop_to_others() -> None:
    for _ in range(5):
        assert asyncio.run(_ask()) > 0
        assert run_blocking(_ask) > 0


def test_cancelled_with_its_loop() -> None:
    cancelled: list[bool] = []

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def start() -> None:
        async def wait() -> None:
            await on_loop(long)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0.05)
        assert not task.done()

    asyncio.run(start())  # which cancels what is left, and closes its loop
    wait_until(lambda: cancelled)


def test_blocking_in_the_midst_of_a_loop_that_runs_the_library_s() -> None:
    async def main() -> None:
        other = asyncio.ensure_future(_ask(0.05))
        await _awaits_here()
        assert run_blocking(_ask, 0.01) != threading.get_ident()
        await other

    asyncio.run(main())


def test_direct_operations() -> None:
    assert run_blocking(_directly, _at_once, 5) == 5
    with pytest.raises(ValueError, match="no"):
        run_blocking(_directly, _at_once, ValueError("no"))
    with pytest.raises(TypeError):
        run_blocking(_directly, _at_once)

    async def main() -> None:
        assert await _directly(_at_once, 5) == 5
        withdrawn: list[str] = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_directly(_never, withdrawn), 0.02)
        await asyncio.to_thread(wait_until, lambda: withdrawn)

    asyncio.run(main())


class _Alarm(Exception):
    """Raised by a signal handler of the user's."""


@pytest.mark.parametrize("delay", [0.0003, 0.001, 0.005])
def test_handler_that_raises_ends_the_wait_and_harms_nothing(delay: float) -> None:
    def ring(signum: int, frame: object) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(50):
            with pytest.raises(_Alarm):
                run_blocking(_interrupted_after, delay)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert run_blocking(_ask) > 0
            assert signal.getsignal(signal.SIGALRM) is ring
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_handler_that_returns_lets_the_wait_go_on() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda signum, frame: rung.append(signum))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        run_blocking(_ask, 0.1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rung


def test_handler_may_make_calls_itself() -> None:
    found: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda signum, frame: found.append(run_blocking(_ask)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        run_blocking(_ask, 0.1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(found) == 1


def test_deferred_signals_are_handled_at_the_end_of_the_block() -> None:
    handled: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda signum, frame: handled.append(signum))
    noticed: list[bool] = []
    try:
        with DeferredSignals(lambda: noticed.append(True)):
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_until(lambda: noticed)
            assert not handled
        assert handled == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def _be_signalled(numbers: list[int]) -> None:
    noticed: list[bool] = []
    with DeferredSignals(lambda: noticed.append(True)):
        for number in numbers:
            os.kill(os.getpid(), number)
        wait_until(lambda: len(noticed) == len(numbers))


def test_every_handler_is_put_back_though_one_raises() -> None:
    def interrupted(signum: int, frame: object) -> None:
        raise _Alarm

    handlers = {number: signal.signal(number, interrupted) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        with pytest.raises(_Alarm):
            _be_signalled(list(handlers))
        assert all(signal.getsignal(number) is interrupted for number in handlers)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
