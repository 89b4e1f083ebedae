"""What the parts cost by themselves, without processes: `python -m benchmarks.micro`.

Each line is the best of several repetitions, so that it tells what the code costs and not what else the machine does.
"""

import itertools
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator

from modal_lite._core import serialization
from modal_lite._core.messages import FromContainer, Outputs
from modal_lite._core.payload import Payload, payload_of
from modal_lite._core.settings import FunctionSettings
from modal_lite._scheduler import Scheduler, commands, events
from modal_lite._transport.frames import FrameDecoder, encode

REPETITIONS = 7
CHUNK = 256
CHUNKS_AHEAD = 4


def best(run: Callable[[], int]) -> float:
    """Microseconds for each of the things that one run does, by its own count."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        count = run()
        times.append((time.perf_counter() - start) / count)
    return min(times) * 1e6


# --- frames ----------------------------------------------------------------------------------------------------------


def frames(size: int, count: int = 5_000) -> Callable[[], int]:
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


def pickled(items: int, count: int = 2_000) -> Callable[[], int]:
    """A chunk of small integers through our pickler and back; counted in items."""
    chunk: tuple[list[int], dict[str, object]] = (list(range(items)), {})

    def run() -> int:
        for _ in range(count):
            payload = serialization.dumps(chunk)
            body = memoryview(b"".join(payload.parts))
            assert len(serialization.loads(payload_of(payload.sizes, body))[0]) == items
        return count * items

    return run


def plainly_pickled(items: int, count: int = 2_000) -> Callable[[], int]:
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


def scheduled(calls: int, count: int) -> Callable[[], int]:
    """Calls of `count` inputs each through the scheduler; counted in inputs."""
    pool = Pool()
    numbers = itertools.count()

    def run() -> int:
        for _ in range(calls):
            pool.run_call(f"fc-{next(numbers)}", count)
        return calls * count

    return run


MEASUREMENTS: dict[str, Callable[[], Callable[[], int]]] = {
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
}


def main() -> None:
    """Measures everything and prints a table in Markdown."""
    print("| part | µs |\n|---|---:|")
    for label, prepare in MEASUREMENTS.items():
        print(f"| {label} | {best(prepare()):.3f} |", flush=True)


if __name__ == "__main__":
    main()
