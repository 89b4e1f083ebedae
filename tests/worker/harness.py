"""A control plane of a few lines: starts real containers and speaks with them by hand."""

import asyncio
import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modal_lite._core.messages import (
    ContainerControl,
    ContainerSpec,
    Encoding,
    FromContainer,
    GeneratorDone,
    InputFailed,
    Lease,
    Outputs,
    Ready,
    Returned,
    Stop,
    Yielded,
)
from modal_lite._core.payload import payload_of
from modal_lite._core.serialization import dumps, loads
from modal_lite._placement.local import LocalPlacer
from modal_lite._transport.blocking import BlockingChannel

WAIT = 20.0
"""Seconds until something that has to happen has failed to."""
CALL_ID = "fc-0123456789abcdef012345"


class Container:
    """One container, and what it has said."""

    def __init__(self, placed: Any) -> None:
        self.placed = placed
        self.data = BlockingChannel(placed.data, FromContainer, placed.memory)
        self.control = BlockingChannel(placed.control, ContainerControl)
        placed.data.settimeout(WAIT)
        self.ended = threading.Event()
        self.status: int | None = None
        self.reason = ""
        self._lease_ids = itertools.count(1)
        self._stopped: dict[int, int] = {}

    def recv(self) -> tuple[Any, Any]:
        """The next message, with its payload unpickled."""
        message, body = self.data.recv()
        sizes = getattr(message, "sizes", ())
        return message, loads(payload_of(sizes, body)) if sizes else None

    def ready(self) -> "Container":
        message, _ = self.recv()
        assert isinstance(message, Ready), message
        return self

    def lease(self, items: list[Any], *, star: bool = False, kwargs: dict[str, Any] | None = None) -> int:
        payload = dumps((items, kwargs or {}))
        encoding = Encoding.STAR if star else Encoding.SINGLE
        lease_id = next(self._lease_ids)
        self.data.send(Lease(lease_id, CALL_ID, 0, 0, len(items), encoding, payload.sizes), payload)
        self._stopped[lease_id] = len(items)
        return lease_id

    def call(self, *args: Any, **kwargs: Any) -> int:
        payload = dumps((args, kwargs))
        lease_id = next(self._lease_ids)
        self.data.send(Lease(lease_id, CALL_ID, 0, 0, 1, Encoding.CALL, payload.sizes), payload)
        self._stopped[lease_id] = 1
        return lease_id

    def call_method(self, method: str, *args: Any) -> int:
        payload = dumps((args, {}))
        lease_id = next(self._lease_ids)
        self.data.send(Lease(lease_id, CALL_ID, 0, 0, 1, Encoding.CALL, payload.sizes, method), payload)
        self._stopped[lease_id] = 1
        return lease_id

    def results(self, lease_id: int) -> list[Any]:
        """What became of each input of the lease, in order: its value, or its `Failure`; nothing if given back.

        Fails if anything is reported twice, out of order or not at all.
        """
        found: list[Any] = []
        stop = self._stopped[lease_id]
        while len(found) < stop:
            message, content = self.recv()
            assert message.lease_id == lease_id, message
            match message:
                case Outputs():
                    assert message.start == len(found)
                    assert message.count == len(content)
                    assert message.elapsed >= 0
                    found += content
                case InputFailed():
                    assert message.index == len(found)
                    found.append(message.failure)
                case Returned():
                    assert len(found) <= message.start <= stop
                    stop = message.start
                case _:
                    raise AssertionError(message)
            assert len(found) <= stop
        return found

    def values(self, lease_id: int) -> tuple[list[Any], Any]:
        """What a generator yields, and the message that ended it."""
        found: list[Any] = []
        while True:
            message, content = self.recv()
            assert message.lease_id == lease_id, message
            if isinstance(message, Yielded):
                assert message.count == len(content)
                found += content
                continue
            if isinstance(message, GeneratorDone):
                assert message.count == len(found)
            return found, message

    def stop(self, grace: float = 5.0) -> int | None:
        self.control.send(Stop(grace))
        return self.exit_status()

    def exit_status(self) -> int | None:
        assert self.ended.wait(WAIT), "the container did not end"
        return self.status

    def output(self) -> tuple[str, str]:
        """What it has written, once it has ended."""
        self.exit_status()
        return _read_all(self.placed.stdout), _read_all(self.placed.stderr)


class Plane:
    """A placer on a loop in a thread of its own, and the containers it has started."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._containers: dict[str, Container] = {}
        self._numbers = itertools.count()
        self.placer = LocalPlacer(self._exited)
        self._run(self.placer.open())

    def start(self, name: str, *, is_generator: bool = False, **fields: Any) -> Container:
        """A container for a function of `functions_to_run`."""
        number = next(self._numbers)
        spec = container_spec(f"ta-{number}", name, is_generator=is_generator, **fields)

        async def start() -> Container:
            container = self._containers[spec.container_id] = Container(self.placer.start(spec))
            return container

        return self._run(start())

    def kill(self, container: Container, signum: int) -> None:
        self._loop.call_soon_threadsafe(self.placer.kill, container.placed.container_id, signum)

    def withdraw(self, container: Container) -> bool:
        async def withdraw() -> bool:
            return self.placer.withdraw(container.placed.container_id)

        return bool(self._run(withdraw()))

    def forget(self, function_id: str) -> None:
        self._loop.call_soon_threadsafe(self.placer.forget, function_id)

    def end_containers(self) -> None:
        """Ends what a test has left, and checks that it can be ended."""
        for container in self._containers.values():
            if not container.ended.is_set():
                self.kill(container, 9)
        for container in self._containers.values():
            container.exit_status()
            container.placed.close()
            for fd in (container.placed.stdout, container.placed.stderr):
                os.close(fd)
        self._containers.clear()

    def close(self) -> None:
        self.end_containers()
        self.close_placer()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def close_placer(self) -> None:
        self._run(self.placer.close(1.0))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT)

    def _exited(self, container_id: str, status: int | None, reason: str) -> None:
        container = self._containers[container_id]
        assert not container.ended.is_set(), "told twice"
        container.status, container.reason = status, reason
        container.ended.set()


def container_spec(container_id: str, name: str, **fields: Any) -> ContainerSpec:
    here = str(Path(__file__).parent)
    given: dict[str, Any] = {
        "function_id": "fu-1",
        "module_name": "functions_to_run",
        "file_path": None,
        "serialized": None,
        "is_generator": False,
        "main": None,
        "sys_path": [here, *sys.path],
        "cwd": here,
        "env": {},
    }
    return ContainerSpec(
        container_id=container_id,
        app_id="ap-1",
        app_name="test",
        tag=name,
        qualname=name,
        **(given | fields),
    )


@contextlib.contextmanager
def plane() -> Iterator[Plane]:
    opened = Plane()
    try:
        yield opened
    finally:
        opened.close()


def wait_until(condition: Callable[[], object]) -> None:
    """Returns once the condition holds; for what another process does and nobody tells."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def _read_all(fd: int) -> str:
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(fd, 65536):
            data += piece
    return data.decode()
