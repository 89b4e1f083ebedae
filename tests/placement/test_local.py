"""The local placer: containers and their template as processes, and that nothing is left of either."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from modal_lite._core.messages import FromContainer, Ready
from modal_lite._placement import launch, template_process
from modal_lite._placement.local import LocalPlacer
from modal_lite._placement.local_container import LocalContainer
from tests.worker.harness import container_spec, wait_until

ROOT = Path(__file__).parents[2]


class Exits:
    """What the placer has told."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[int | None, str]] = {}
        self._changed = asyncio.Event()

    def __call__(self, container_id: str, status: int | None, reason: str) -> None:
        assert container_id not in self.told
        self.told[container_id] = (status, reason)
        self._changed.set()

    async def of(self, container: LocalContainer) -> tuple[int | None, str]:
        async with asyncio.timeout(20):
            while container.container_id not in self.told:
                self._changed.clear()
                await self._changed.wait()
        return self.told[container.container_id]


class Placed:
    """A placer, and its containers."""

    def __init__(self) -> None:
        self.exits = Exits()
        self.placer = LocalPlacer(self.exits)
        self.containers: list[LocalContainer] = []
        self._numbers = itertools.count()

    def start(self, name: str = "same") -> LocalContainer:
        container = self.placer.start(container_spec(f"ta-{next(self._numbers)}", name))
        self.containers.append(container)
        return container

    async def close(self, grace: float = 1.0) -> None:
        try:
            await self.placer.close(grace)
        finally:
            for container in self.containers:
                container.close()
                os.close(container.stdout)
                os.close(container.stderr)
            self.containers.clear()


async def _ready(container: LocalContainer) -> None:
    messages: asyncio.Queue[object] = asyncio.Queue()
    container.open_data(FromContainer, lambda message, body: messages.put_nowait(message), messages.put_nowait)
    async with asyncio.timeout(20):
        assert isinstance(await messages.get(), Ready)


@pytest.fixture
async def placed() -> AsyncIterator[Placed]:
    placed = Placed()
    await placed.placer.open()
    try:
        yield placed
    finally:
        await placed.close()


async def test_start_returns_at_once_and_the_container_gets_ready(placed: Placed) -> None:
    container = placed.start()
    assert container.pid is None, "somebody was waited for"
    await _ready(container)
    assert container.pid is not None
    assert psutil.Process(container.pid).ppid() == placed.placer.template_pid
    placed.placer.kill(container.container_id)
    assert await placed.exits.of(container) == (-signal.SIGKILL, "")


async def test_many_containers_at_once(placed: Placed) -> None:
    containers = [placed.start() for _ in range(25)]
    for container in containers:
        await _ready(container)
    assert len({container.pid for container in containers}) == 25


async def test_container_ended_before_it_was_forked(placed: Placed) -> None:
    containers = [placed.start() for _ in range(20)]
    for container in containers:
        placed.placer.kill(container.container_id)
    for container in containers:
        status, reason = await placed.exits.of(container)
        assert (status, reason) in [(-signal.SIGKILL, ""), (None, "it was ended before it had started")]


async def test_kill_of_an_ended_container_does_nothing(placed: Placed) -> None:
    container = placed.start()
    await _ready(container)
    placed.placer.kill(container.container_id)
    await placed.exits.of(container)
    placed.placer.kill(container.container_id)
    placed.placer.kill("ta-unknown")


async def test_this_process_keeps_no_descriptors(placed: Placed) -> None:
    process = psutil.Process()
    await _ready(placed.start())
    before = process.num_fds()
    for _ in range(5):
        container = placed.start()
        await _ready(container)
        placed.placer.kill(container.container_id)
        await placed.exits.of(container)
        container.close()
        os.close(container.stdout)
        os.close(container.stderr)
        placed.containers.remove(container)
    # The loop's own reader of the last channel may not have been told yet.
    await asyncio.sleep(0)
    assert process.num_fds() <= before


async def test_killed_template_takes_its_containers_along_and_is_replaced(placed: Placed) -> None:
    containers = [placed.start(), placed.start()]
    for container in containers:
        await _ready(container)
    first = placed.placer.template_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    for container in containers:
        status, reason = await placed.exits.of(container)
        assert status is None
        assert reason == "the template process of containers ended with status -9"
        wait_until(lambda pid=container.pid: not psutil.pid_exists(pid) or _is_zombie(pid))
    await _ready(placed.start())
    assert placed.placer.template_pid != first


async def test_template_that_cannot_start_says_why(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    await placed.close()
    monkeypatch.setattr(launch, "_START", "raise ImportError('no such thing')")
    broken = Placed()
    try:
        first, second = broken.start(), broken.start()
        for container in (first, second):
            status, reason = await broken.exits.of(container)
            assert status is None
            assert "ended with status 1" in reason
            assert "ImportError: no such thing" in reason
    finally:
        await broken.close()


async def test_fork_that_fails_is_reported(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    await placed.close()
    failing = "import os, errno\ndef fork(): raise OSError(errno.EAGAIN, 'no')\nos.fork = fork\n"
    monkeypatch.setattr(launch, "_START", failing + launch._START)
    broken = Placed()
    try:
        assert await broken.exits.of(broken.start()) == (
            None,
            "it could not be started: fork: Resource temporarily unavailable",
        )
    finally:
        await broken.close()


async def test_close_lets_containers_leave(placed: Placed) -> None:
    for _ in range(3):
        await _ready(placed.start())
    containers = list(placed.containers)
    template_pid = placed.placer.template_pid
    await placed.close(20.0)
    assert [placed.exits.told[container.container_id] for container in containers] == [(0, "")] * 3
    assert template_pid is not None
    assert not psutil.pid_exists(template_pid)
    with pytest.raises(RuntimeError, match="closed"):
        placed.start()


async def test_close_ends_what_does_not_leave(placed: Placed) -> None:
    container = placed.start()
    await _ready(container)
    assert container.pid is not None
    os.kill(container.pid, signal.SIGSTOP)
    pid = container.pid
    await placed.close(0.1)
    assert placed.exits.told[container.container_id] == (-signal.SIGKILL, "")
    assert not psutil.pid_exists(pid)


async def test_close_ends_a_template_that_hangs(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_process, "_END_WAIT", 0.1)
    container = placed.start()
    await _ready(container)
    template_pid = placed.placer.template_pid
    assert template_pid is not None
    assert container.pid is not None
    os.kill(template_pid, signal.SIGSTOP)
    await placed.close(0.1)
    assert not psutil.pid_exists(template_pid)
    wait_until(lambda: not psutil.pid_exists(container.pid or 0) or _is_zombie(container.pid or 0))


async def test_cancelled_close_leaves_no_process(placed: Placed) -> None:
    container = placed.start()
    await _ready(container)
    template_pid = placed.placer.template_pid
    assert template_pid is not None
    closing = asyncio.get_running_loop().create_task(placed.close(10))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not psutil.pid_exists(template_pid)


async def test_template_launched_ahead_is_used_once() -> None:
    ahead = launch.launch()
    exits = Exits()
    placer = LocalPlacer(exits, ahead)
    try:
        await placer.open()
        assert placer.template_pid == ahead.process.pid
        os.kill(ahead.process.pid, signal.SIGKILL)
        container = placer.start(container_spec("ta-1", "same"))
        await exits.of(container)
        async with asyncio.timeout(15):
            # The container may be given up before the template's end is noticed.
            while placer.template_pid == ahead.process.pid:
                await asyncio.sleep(0.005)
                await placer.open()
    finally:
        await placer.close(0)
    container.close()
    os.close(container.stdout)
    os.close(container.stderr)


def test_template_that_is_not_needed_after_all() -> None:
    before = psutil.Process().num_fds()
    launched = launch.launch()
    launched.close()
    assert launched.process.returncode is not None
    assert psutil.Process().num_fds() == before


def test_template_is_launched_before_the_control_plane_is_imported() -> None:
    program = textwrap.dedent(
        """
        import sys
        import modal_lite
        from modal_lite._placement import launch

        def launched(launch=launch.launch):
            print(*(f"modal_lite.{part}" in sys.modules for part in ("_server", "_scheduler")))
            return launch()

        launch.launch = launched
        with modal_lite.App().run():
            pass
        """
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_interpreter_options_are_passed_on() -> None:
    code = (
        "import json; from modal_lite._placement.launch import _interpreter_options; "
        "print(json.dumps(_interpreter_options()))"
    )
    command = [sys.executable, "-O", "-B", "-W", "ignore::DeprecationWarning", "-X", "dev", "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    options = json.loads(result.stdout)
    assert {"-B", "-O", "-Wignore::DeprecationWarning"} <= set(options)
    assert options[options.index("-X") + 1] == "dev"


def test_killed_caller_leaves_no_process(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import asyncio, os, sys, time
        sys.path.insert(0, {str(ROOT)!r})
        from tests.placement.test_local import Placed, _ready

        async def main():
            placed = Placed()
            containers = [placed.start("same"), placed.start("same")]
            for container in containers:
                await _ready(container)
            print(placed.placer.template_pid, *(container.pid for container in containers), flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
        """
    )
    caller = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    pids = [int(pid) for pid in caller.stdout.readline().split()]
    assert len(pids) == 3
    caller.kill()
    caller.wait()
    caller.stdout.close()
    wait_until(lambda: not any(psutil.pid_exists(pid) and not _is_zombie(pid) for pid in pids))


def test_package_is_found_when_its_directory_is_off_the_path_again() -> None:
    program = textwrap.dedent(
        f"""
        import asyncio, sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.placement.test_local import Placed, _ready
        sys.path.remove({str(ROOT)!r})

        async def main():
            placed = Placed()
            container = placed.start("same")
            await _ready(container)
            await placed.close()

        asyncio.run(main())
        """
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd="/")


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
