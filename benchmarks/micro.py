"""What the parts cost by themselves, without other processes: `python -m benchmarks.micro [--json]`.

A regression of the whole shows in one of them. Each line is the median of several repetitions, with the lowest and the
highest beside it.
"""

import argparse
import asyncio
import functools
import itertools
import json
import pickle
import signal
import socket
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

from benchmarks.functions import identity
from modal_lite._client import _Client
from modal_lite._core import serialization
from modal_lite._core.blocks import Blocks
from modal_lite._core.crossing import on_loop
from modal_lite._core.messages import Encoding, FromContainer, Lease, Outputs, ToContainer
from modal_lite._core.payload import Payload, payload_of
from modal_lite._core.requests import CallKind, Output, OutputBatch
from modal_lite._core.settings import FunctionSettings
from modal_lite._drive import BlockingIterable, run_blocking
from modal_lite._inputs import InputSource
from modal_lite._map import map_blocks
from modal_lite._scheduler import Scheduler, commands, events
from modal_lite._transport.blocking import BlockingChannel, ConnectionClosed
from modal_lite._transport.frames import FrameDecoder, encode
from modal_lite._transport.progress import Progress, attach
from modal_lite._worker.callee import Callee
from modal_lite._worker.leases import Leases
from modal_lite._worker.sync_executor import INTERRUPT_SIGNAL, SyncExecutor

REPETITIONS = 7
CHUNK = 256
CHUNKS_AHEAD = 4


Run = Callable[[], int]
"""Does something many times, and says how many."""


def timed(run: Run) -> list[float]:
    """Microseconds for each of the things that a run does: median, lowest, highest."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        count = run()
        times.append(1e6 * (time.perf_counter() - start) / count)
    return [statistics.median(times), min(times), max(times)]


# --- frames ----------------------------------------------------------------------------------------------------------


def frames(size: int, count: int = 5_000) -> Run:
    """Encodes frames with bodies of `size` bytes and decodes what would arrive."""
    payload = Payload((size,), [bytes(size)])
    message = Outputs(1, 0, 64, 0.001, payload.sizes)

    def run() -> int:
        decoder = FrameDecoder(FromContainer)
        decoded = 0
        for _ in range(count):
            for arrived in pieces(memoryview(b"".join(encode(message, payload))), decoder):
                decoder.received(arrived)
                decoded += sum(1 for _ in decoder.frames())
        assert decoded == count
        return count

    return run


def pieces(data: memoryview, decoder: FrameDecoder) -> Iterator[int]:
    """Puts the data where the decoder wants it, as a socket would, and tells how much that was each time."""
    at = 0
    while at < len(data):
        room = decoder.buffer()
        taken = min(len(room), len(data) - at)
        room[:taken] = data[at : at + taken]
        at += taken
        yield taken


# --- pickling --------------------------------------------------------------------------------------------------------


def pickled(items: int, count: int = 2_000) -> Run:
    """A chunk of small integers through our pickler and back; counted in items."""
    chunk: tuple[list[int], dict[str, object]] = (list(range(items)), {})

    def run() -> int:
        for _ in range(count):
            payload = serialization.dumps(chunk)
            body = memoryview(b"".join(payload.parts))
            assert len(serialization.loads(payload_of(payload.sizes, body))[0]) == items
        return count * items

    return run


def plainly_pickled(items: int, count: int = 2_000) -> Run:
    """The same with the standard library's pickle."""
    chunk: tuple[list[int], dict[str, object]] = (list(range(items)), {})

    def run() -> int:
        for _ in range(count):
            assert len(pickle.loads(pickle.dumps(chunk, 5))[0]) == items
        return count * items

    return run


# --- scheduler -------------------------------------------------------------------------------------------------------


class Pool:
    """A scheduler with one function in two containers that answer at once."""

    def __init__(self) -> None:
        numbers = itertools.count()
        self._scheduler = Scheduler(2, lambda: f"ta-{next(numbers)}")
        self._now = 0.0
        self._handle(events.FunctionAdded("fu-1", FunctionSettings(max_containers=2)))
        self.run_call("fc-warm", 1_000)

    def run_call(self, call_id: str, count: int) -> None:
        """A call of `count` inputs, from its opening to its end; those of a map arrive a few chunks ahead."""
        if count == 1:
            self._handle(events.CallOpened(call_id, "fu-1", None, 1, True))
        else:
            self._handle(events.CallOpened(call_id, "fu-1", None, 0, False))
            chunks = [events.InputsAdded(call_id, start, min(CHUNK, count - start)) for start in range(0, count, CHUNK)]
            for at in range(0, len(chunks), CHUNKS_AHEAD):
                self._handle(*chunks[at : at + CHUNKS_AHEAD])
            self._handle(events.InputsClosed(call_id))
        self._handle(events.CallForgotten(call_id))

    def _handle(self, *given: events.Event) -> None:
        waiting = deque(given)
        while waiting:
            self._now += 1e-5
            for command in self._scheduler.handle(waiting.popleft(), self._now):
                answer = self._answer(command)
                if answer is not None:
                    waiting.append(answer)

    def _answer(self, command: commands.Command) -> events.Event | None:
        if isinstance(command, commands.SendLease):
            count = command.stop - command.start
            return events.OutputsReported(command.container_id, command.lease_id, command.start, count, count * 1e-6)
        if isinstance(command, commands.StartContainer):
            return events.ContainerReady(command.container_id)
        return None


def scheduled(calls: int, count: int) -> Run:
    """Calls of `count` inputs each through the scheduler; counted in inputs."""
    pool = Pool()
    numbers = itertools.count()

    def run() -> int:
        for _ in range(calls):
            pool.run_call(f"fc-{next(numbers)}", count)
        return calls * count

    return run


# --- crossing --------------------------------------------------------------------------------------------------------


async def nothing() -> None:
    """What the library's loop is asked for."""


async def crossing() -> None:
    await on_loop(nothing)


def crossed_blocking(count: int = 1_000) -> Run:
    """To the library's loop and back, by a thread that waits."""

    def run() -> int:
        for _ in range(count):
            run_blocking(crossing)
        return count

    return run


def crossed_awaited(count: int = 1_000, together: int = 1) -> Run:
    """The same from another event loop, so many at a time."""

    async def cross() -> None:
        for _ in range(count // together):
            await asyncio.gather(*(crossing() for _ in range(together)))

    def run() -> int:
        asyncio.run(cross())
        return count

    return run


# --- map pipeline ----------------------------------------------------------------------------------------------------


class Echo:
    """A client whose control plane answers every chunk at once, with as many zeros."""

    def __init__(self) -> None:
        self._zeros = functools.cache(lambda count: serialization.dumps([0] * count))

    async def open_map(self, call_id: str, function_id: str, kind: CallKind, method: str = "") -> int:
        return CHUNK

    async def exchange(
        self,
        call_id: str,
        start: int,
        count: int,
        encoding: Encoding,
        payload: Payload,
        closes: bool,
        wait: bool,
        awaited: int | None,
    ) -> OutputBatch:
        outputs = [Output(start, count, None, self._zeros(count))] if count else []
        return OutputBatch(outputs, closes, CHUNK)

    def forget_call(self, call_id: str) -> None:
        pass


def mapped(items: Callable[[int], Iterator[Any]], count: int = 50_000) -> Run:
    """Inputs to chunks and results to the caller's loop, without a control plane or containers."""
    client = cast(_Client, Echo())

    def run() -> int:
        source = InputSource((items(count),), False, {}, "f.map()")
        blocks = Blocks(lambda: map_blocks(client, "fu-1", "f", source, True, False, True), "f.map()")
        assert sum(1 for _ in BlockingIterable(blocks)) == count
        return count

    return run


# --- container -------------------------------------------------------------------------------------------------------


def contained(items: int, leases: int = 40) -> Run:
    """What a container does with leases that have arrived: decode, run, report."""
    payload = serialization.dumps((list(range(items)), {}))
    callees = {"": Callee(identity, "identity", is_generator=False, is_async=False)}

    def run() -> int:
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            # All leases, and then all reports, must find room: one thread does everything here.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        progress = Progress()
        channel = BlockingChannel(ours, FromContainer)
        for lease_id in range(leases):
            channel.send(Lease(lease_id, "fc-1", 0, 0, items, Encoding.SINGLE, payload.sizes), payload)
        ours.shutdown(socket.SHUT_WR)
        words = attach(progress.fd)
        executor = SyncExecutor(callees, Leases(BlockingChannel(theirs, ToContainer), words), words)
        try:
            executor.serve()
        except ConnectionClosed:
            pass  # the end of the leases
        finally:
            signal.signal(INTERRUPT_SIGNAL, signal.SIG_DFL)
        done = 0
        while done < items * leases:
            message, _ = channel.recv()
            assert isinstance(message, Outputs)
            done += message.count
        for resource in (ours, theirs, progress):
            resource.close()
        return done

    return run


MEASUREMENTS: dict[str, Callable[[], Run]] = {
    "frame of 100 bytes, encoded and decoded": lambda: frames(100),
    "frame of 16 KiB": lambda: frames(16 << 10),
    "frame of 1 MiB": lambda: frames(1 << 20, 100),
    "pickle, each of 1 item": lambda: pickled(1),
    "pickle, each of 64 items": lambda: pickled(64),
    "pickle, each of 256 items": lambda: pickled(256),
    "plain pickle, each of 1 item": lambda: plainly_pickled(1),
    "plain pickle, each of 256 items": lambda: plainly_pickled(256),
    "scheduler, a call of one input": lambda: scheduled(2_000, 1),
    "scheduler, each input of a map of 50,000": lambda: scheduled(1, 50_000),
    "crossing to the library's loop and back, blocking": crossed_blocking,
    "the same, awaited": crossed_awaited,
    "the same, each of 100 awaited together": lambda: crossed_awaited(together=100),
    "map pipeline, each integer": lambda: mapped(lambda count: iter(range(count))),
    "map pipeline, each list": lambda: mapped(lambda count: iter([[0]] * count)),
    "container, a lease of one input": lambda: contained(1),
    "container, each input of leases of 256": lambda: contained(256),
}


def measure_all() -> dict[str, list[float]]:
    """Median, lowest and highest of everything, in microseconds."""
    return {label: timed(prepare()) for label, prepare in MEASUREMENTS.items()}


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="for `benchmarks.run`")
    if parser.parse_args().json:
        print(json.dumps(measure_all()))
        return
    print("| part | median, µs | lowest – highest |\n|---|---:|---:|")
    for label, prepare in MEASUREMENTS.items():
        median, lowest, highest = timed(prepare())
        print(f"| {label} | {median:.3f} | {lowest:.3f} – {highest:.3f} |", flush=True)


if __name__ == "__main__":
    main()
