"""What can happen, as the scheduler is told of it."""

import msgspec

from modal_lite._core.messages import FailureKind
from modal_lite._core.settings import FunctionSettings


class Event(msgspec.Struct, frozen=True):
    """Something that happened outside the scheduler."""


class CoresFound(Event, frozen=True):
    """So many cores can be shared from now on."""

    count: int


class DevicesFound(Event, frozen=True):
    """So many GPUs can be assigned from now on; before there are none.

    Where they are this machine's, it comes before the first function that wants some.
    """

    count: int


class FunctionAdded(Event, frozen=True):
    """A function may be called from now on."""

    function_id: str
    settings: FunctionSettings


class FunctionChanged(Event, frozen=True):
    """The function's settings are new; containers are started or ended to match."""

    function_id: str
    settings: FunctionSettings


class FunctionRemoved(Event, frozen=True):
    """The function's app ended: its calls are cancelled, its containers stopped."""

    function_id: str


class CallOpened(Event, frozen=True):
    """A call with `count` inputs so far; more may be added unless it is closed."""

    call_id: str
    function_id: str
    parent: tuple[str, int] | None
    """Call and index of the input that made this call."""
    count: int
    closed: bool
    forgotten: bool = False
    """Nobody will ask for it once it has finished."""
    method: str = ""
    """For a class: which of its methods."""


class InputsAdded(Event, frozen=True):
    """A chunk of inputs [start, start + count) arrived for an open call."""

    call_id: str
    start: int
    count: int
    chunk: int | None = None
    """Index of the first input of the chunk, if these are only some of its inputs: the others need not run."""


class InputsClosed(Event, frozen=True):
    """The call gets no more inputs."""

    call_id: str


class CallCancelled(Event, frozen=True):
    """Somebody cancelled the call. Idempotent; finished inputs keep their outcome."""

    call_id: str
    terminate_containers: bool = False


class CallForgotten(Event, frozen=True):
    """Nobody will ask for this call again. What is unfinished of it is cancelled."""

    call_id: str


class ContainerAwaitsPlace(Event, frozen=True):
    """The container is to start where there is room for it, now or later: its startup timeout does not run."""

    container_id: str


class ContainerPlaced(Event, frozen=True):
    """The container that awaited its place has it, and starts."""

    container_id: str


class ContainerReady(Event, frozen=True):
    """The container has imported the function."""

    container_id: str


class ContainerLeaving(Event, frozen=True):
    """The container begins no input any more, of its own accord: it will be gone soon."""

    container_id: str


class ContainerGone(Event, frozen=True):
    """The container's process or connection ended, expected or not."""

    container_id: str
    running: tuple[int, int] | None = None
    """Lease and index of the input that it was running, if any."""
    start_error: bool = False
    """It ended because the user's module failed to import: trying again would end the same way."""
    vanished: bool = False
    """Nobody saw it end: its machine is lost, or the way there, perhaps with others."""


class OutputsReported(Event, frozen=True):
    """Inputs [start, start + count) of the lease returned values."""

    container_id: str
    lease_id: int
    start: int
    count: int
    elapsed: float


class OutputBegan(Event, frozen=True):
    """The input of the lease, a generator's, has delivered values: run again, it would deliver them twice."""

    container_id: str
    lease_id: int


class FailureReported(Event, frozen=True):
    """An input of the lease failed."""

    container_id: str
    lease_id: int
    index: int
    elapsed: float
    kind: FailureKind


class InputsReturned(Event, frozen=True):
    """The container gave back [start, stop) of the lease, not started."""

    container_id: str
    lease_id: int
    start: int


class ContainerWaiting(Event, frozen=True):
    """The container's input began, or ended, waiting for a call of its own.

    Told with every change of `waits` of a container that runs several inputs, else only when it becomes, or was, zero.
    """

    container_id: str
    waits: int
    """Calls that the container's inputs wait for; an input may wait for several."""


class TimePassed(Event, frozen=True):
    """The time given by `next_deadline` has come."""
