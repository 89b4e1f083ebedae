"""The least that processes can do: forked workers on socket pairs, with nothing around them.

No error, no lost worker, no slow input and no second caller is thought of; each worker gets the same number of inputs.
"""

import itertools
import os
import pickle
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from benchmarks.peers.base import Function, Peer


class Worker:
    """A fork that answers each pickled `(function, inputs)` with the pickled results, until its socket is closed."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        if os.fork() == 0:
            self._socket.close()
            try:
                _serve(theirs)
            finally:
                os._exit(0)
        theirs.close()
        self._answers = self._socket.makefile("rb", buffering=1 << 18)

    def send(self, function: Function, inputs: list[Any]) -> None:
        self._socket.sendall(pickle.dumps((function, inputs), 5))

    def receive(self) -> list[Any]:
        results: list[Any] = pickle.load(self._answers)
        return results

    def close(self) -> None:
        self._answers.close()
        self._socket.close()
        os.wait()


def _serve(sock: socket.socket) -> None:
    requests = sock.makefile("rb", buffering=1 << 18)
    while requests.peek(1):
        function, inputs = pickle.load(requests)
        sock.sendall(pickle.dumps([function(value) for value in inputs], 5))


class Forked(Peer):
    bare = True

    def __enter__(self) -> Peer:
        self._workers = [Worker() for _ in range(self.workers)]
        return self

    def __exit__(self, *error: object) -> None:
        # The last first: its fork holds the sockets of the others.
        while self._workers:
            self._workers.pop().close()


class Mapped(Forked):
    chunk_size: ClassVar[int]
    ahead: ClassVar[int]
    """Chunks a worker has at a time; with two that a socket's buffers cannot hold, both sides would wait to write."""

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        return list(self.stream(function, items))

    def stream(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        busy: deque[Worker] = deque()
        remaining = iter(items)
        for worker in itertools.cycle(self._workers):
            chunk = list(itertools.islice(remaining, self.chunk_size))
            if not chunk:
                break
            if len(busy) == self.ahead * self.workers:
                yield from busy.popleft().receive()
            worker.send(function, chunk)
            busy.append(worker)
        while busy:
            yield from busy.popleft().receive()


class Sockets64(Mapped):
    about = "two forks on socket pairs, 64 inputs pickled at a time, each gets every other chunk"
    only = ("noop_map", "noop_map_200k", "generator_1m", "map_1kib")
    chunk_size = 64
    ahead = 2


class Sockets1(Mapped):
    about = "two forks on socket pairs, each gets every other input"
    only = ("noop_map", "map_1kib", "map_1mib", "arrays_8mib", "one_blocking_call", "cold_start")
    chunk_size = 1
    ahead = 1
    cold_script = """
import os, pickle, socket

def f(x):
    return x + 1

if __name__ == "__main__":
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        theirs.send(pickle.dumps(f(pickle.loads(theirs.recv(100)))))
        os._exit(0)
    ours.send(pickle.dumps(41))
    print(pickle.loads(ours.recv(100)), flush=True)
    os.wait()
"""

    def call(self, function: Function, item: Any) -> Any:
        worker = self._workers[0]
        worker.send(function, [item])
        return worker.receive()[0]


class Presplit(Forked):
    """Knows how long each input takes before it begins."""

    about = "two forks that are told all of their sleeps at once, each next one for whoever is through first"
    only = ("even_sleep", "uneven_sleep", "containers_16")

    def map(self, function: Function, items: Iterable[float]) -> list[float]:
        shares: list[list[tuple[int, float]]] = [[] for _ in self._workers]
        ends = [0.0] * self.workers
        for index, seconds in enumerate(items):
            first = min(range(self.workers), key=ends.__getitem__)
            ends[first] += seconds
            shares[first].append((index, seconds))
        for worker, share in zip(self._workers, shares, strict=True):
            worker.send(function, [seconds for _, seconds in share])
        results: dict[int, float] = {}
        for worker, share in zip(self._workers, shares, strict=True):
            results.update(zip((index for index, _ in share), worker.receive(), strict=True))
        return [results[index] for index in range(len(results))]
