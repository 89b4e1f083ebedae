"""What the scheduler wants done; the control plane carries it out in order."""

import msgspec

from modal_lite._core.messages import FailureKind


class Command(msgspec.Struct, frozen=True):
    """Something to be done outside the scheduler."""


class StartContainer(Command, frozen=True):
    """Start a container for the function."""

    container_id: str
    function_id: str


class StopContainer(Command, frozen=True):
    """Ask the container to leave: it has no inputs, or one that nothing else ends, or its app is over."""

    container_id: str


class KillContainer(Command, frozen=True):
    """End the container at once: it did not react, or was to be terminated."""

    container_id: str
    reason: str


class SendLease(Command, frozen=True):
    """Give inputs [start, stop) of the call to the container."""

    container_id: str
    lease_id: int
    call_id: str
    start: int
    stop: int
    chunk: int


class RecallLease(Command, frozen=True):
    """Ask the container to report what it finished of the lease and to give back what it has not started."""

    container_id: str
    lease_id: int


class InterruptLease(Command, frozen=True):
    """Ask the container to interrupt the input that it runs under the lease."""

    container_id: str
    lease_id: int
    timed_out: bool


class AcceptOutputs(Command, frozen=True):
    """The values just reported are the inputs' results."""

    call_id: str
    start: int
    count: int
    container_id: str
    chunk: int


class AcceptFailure(Command, frozen=True):
    """The failure just reported is the input's result."""

    call_id: str
    index: int
    container_id: str
    chunk: int


class FailInputs(Command, frozen=True):
    """These inputs end without a report from a container."""

    call_id: str
    start: int
    count: int
    kind: FailureKind
    container_id: str
    """The container that had it, or empty."""
    chunk: int


class FinishCall(Command, frozen=True):
    """Every input of the call has its result and no more will come."""

    call_id: str
