"""The scheduler's memory: functions, calls, ranges of inputs, leases, containers."""

from collections import deque
from enum import Enum
from typing import TypeVar

import msgspec

from modal_lite._core.ids import input_id
from modal_lite._core.settings import FunctionSettings
from modal_lite.call_graph import InputAttempt, InputStatus

T = TypeVar("T")


class ContainerState(Enum):
    """The life of a container."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


CONTAINER_TRANSITIONS: dict[ContainerState, frozenset[ContainerState]] = {
    ContainerState.STARTING: frozenset({ContainerState.READY, ContainerState.STOPPING}),
    ContainerState.READY: frozenset({ContainerState.STOPPING}),
    ContainerState.STOPPING: frozenset(),
}
"""Which state may follow which. From each of them a container may also be gone, and is then no longer recorded."""


class IllegalTransition(Exception):
    """An event that the state machine has no transition for; its text tells the record's story."""


def known(table: dict[str, T], key: str, what: str) -> T:
    """The record of that id. Raises IllegalTransition if there is none."""
    try:
        return table[key]
    except KeyError:
        raise IllegalTransition(f"there is no {what} {key}") from None


class InputRange(msgspec.Struct, eq=False):
    """Inputs [start, stop) that wait for a container; of one chunk, with the same past."""

    start: int
    stop: int
    chunk: int
    """Index of the first input of the chunk that they arrived in."""
    attempt: int = 0
    """Retries used up, out of the function's `retries`."""
    losses: int = 0
    """Containers lost while they ran this input; then the range is one input."""


class Lease(msgspec.Struct, eq=False):
    """Inputs [start, stop) of a call in a container's hands; `reported` is the next to be reported, in index order."""

    lease_id: int
    call: "Call"
    container: "Container"
    start: int
    stop: int
    chunk: int
    attempt: int
    losses: int
    reported: int
    since: float
    """When the input `reported` can have begun at the earliest: the last report, or the lease's arrival at the head."""
    patience: float
    """Seconds without a report after which nothing is to wait behind the input that runs."""
    recalled: bool = False
    ahead: bool = False
    """It was given to a container whose batch was under way, to be part of the next one."""
    interrupted: float | None = None
    """When its running input was asked to stop."""
    timed_out: bool = False
    begun: bool = False
    """A part of the output is delivered; there is no other attempt."""

    @property
    def outstanding(self) -> int:
        """Inputs that are neither reported nor given back."""
        return self.stop - self.reported

    @property
    def current(self) -> bool:
        """True if what it reports is still wanted."""
        return self.lease_id in self.call.leases

    def rest(self, start: int | None = None) -> InputRange:
        """What is outstanding, from input `start` on, as a range to be queued again."""
        first = self.reported if start is None else start
        return InputRange(first, self.stop, self.chunk, self.attempt, self.losses)


class Outcome(msgspec.Struct, eq=False):
    """Inputs [start, start + count) that ended alike, for the call graph."""

    start: int
    count: int
    status: InputStatus
    container_id: str


class Call(msgspec.Struct, eq=False):
    """A function call: what waits, what is leased, what is done."""

    call_id: str
    function: "Function"
    parent: tuple[str, int] | None
    method: str = ""
    """For a class: which of its methods, for the call graph."""
    pending: deque[InputRange] = msgspec.field(default_factory=deque)
    added: int = 0
    following: int = 0
    """Index after the last one added; those that do not pickle are left out."""
    waiting: int = 0
    """Inputs in `pending`."""
    delayed: int = 0
    """Inputs that wait for the time of their retry."""
    leased: int = 0
    done: int = 0
    closed: bool = False
    finished: bool = False
    cancelled: bool = False
    forgotten: bool = False
    queued: bool = False
    """True while it stands in its function's line of calls with pending inputs."""
    leases: dict[int, Lease] = msgspec.field(default_factory=dict)
    outcomes: list[Outcome] = msgspec.field(default_factory=list)
    attempts: dict[int, list[InputAttempt]] = msgspec.field(default_factory=dict)
    """By the inputs' indices, those that others followed."""
    children: list[str] = msgspec.field(default_factory=list)


class Container(msgspec.Struct, eq=False):
    """A container and the leases it holds, oldest first."""

    container_id: str
    function: "Function"
    since: float
    """When it was started, became idle or was told to stop, whichever came last; a stopping one is never idle."""
    state: ContainerState = ContainerState.STARTING
    leases: deque[Lease] = msgspec.field(default_factory=deque)
    waits: int = 0
    """Calls that its inputs wait for."""
    waiting: bool = False
    """Its inputs, all of them, wait for calls of their own, so it uses no core. Kept by `Cores.recount`."""
    used: bool = False
    leaves: bool = False
    """Nobody has told it to end: it is about to, by itself."""
    active: bool = False
    """It counts against the cores: starting, or running an input that does not wait."""
    placed: bool = True
    """False while there is no place for it to start in."""
    gpus: int = 0
    """Devices that it has to itself; none if there are fewer than it wants, for then it cannot start."""
    looked: float = 0.0
    """When inputs were last found to wait in it while there was nowhere else for them to go."""
    check_at: float | None = None
    """The time of its earliest entry in the scheduler's timetable."""

    def become(self, state: ContainerState) -> None:
        """Moves to another state. Raises IllegalTransition where the table has no such step."""
        if state not in CONTAINER_TRANSITIONS[self.state]:
            raise IllegalTransition(f"{self.container_id} cannot go from {self.state.value} to {state.value}: {self}")
        self.state = state

    @property
    def idle(self) -> bool:
        """Ready, and nothing to do."""
        return self.state is ContainerState.READY and not self.leases

    @property
    def unstarted(self) -> int:
        """How many inputs in it wait behind those that run."""
        if self.function.shares:
            return len(self.ahead)
        return sum([lease.outstanding for lease in self.leases]) - 1 if self.leases else 0

    def input_id(self, lease_id: int, index: int) -> str | None:
        """The id of an input that it holds under this lease; None if it does not hold the lease."""
        for lease in self.leases:
            if lease.lease_id == lease_id:
                return input_id(lease.call.call_id, index)
        return None

    @property
    def crowded(self) -> bool:
        """Inputs in it wait behind those that run."""
        if self.function.shares:
            return bool(self.ahead)
        return len(self.leases) > 1 or (bool(self.leases) and self.leases[0].outstanding > 1)

    @property
    def ahead(self) -> list[Lease]:
        """Of a container that runs inputs together: the leases that wait for the next batch."""
        return [lease for lease in self.leases if lease.ahead]

    def __repr__(self) -> str:
        leases = [f"#{lease.lease_id} {lease.call.call_id}[{lease.reported}:{lease.stop}]" for lease in self.leases]
        return f"<container {self.container_id} {self.state.value} waiting={self.waiting} leases={leases}>"


class Function(msgspec.Struct, eq=False):
    """A function: its line of calls, its containers and what has been measured of it."""

    function_id: str
    settings: FunctionSettings
    line: deque[Call] = msgspec.field(default_factory=deque)
    """Calls with pending inputs; each lease is taken from the first, which then goes to the end."""
    backlog: int = 0
    """Inputs that wait for a container; delayed retries do not count."""
    running: int = 0
    """Inputs leased."""
    active: int = 0
    """Containers that count against the cores."""
    containers: dict[str, Container] = msgspec.field(default_factory=dict)
    duration: float | None = None
    """Seconds per input, a moving average; None before the first report."""
    lease_size: int = 1
    """The largest lease so far, which bounds the next one."""
    start_failures: int = 0
    """Containers in a row that died before they were ready."""
    no_start_before: float = 0.0
    growth_at: float = 0.0
    """When it is looked at, or was last, for more containers than there are cores."""
    removed: bool = False
    shares: bool = False
    """`settings.shares`, which no change of the settings changes: asked for with every lease."""

    def __post_init__(self) -> None:
        self.shares = self.settings.shares

    @property
    def at_work(self) -> bool:
        """True if it has a container from which what waits can expect to be run."""
        return any(c.state is ContainerState.READY and not c.waiting for c in self.containers.values())

    @property
    def live(self) -> list[Container]:
        """Its containers, without those that were told to end."""
        return [c for c in self.containers.values() if c.state is not ContainerState.STOPPING]
