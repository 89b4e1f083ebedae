"""Books of leases and attempts, kept from events and commands alone: what the scheduler's own must agree with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on

Input = tuple[str, int]
"""Call and index."""


class Violation(AssertionError):
    """Something is not as it must be.

    Args:
        problem: what.
        call_id: of the input concerned; empty if there is no single one.
        index: the input; None if all of the call's are concerned.
    """

    def __init__(self, problem: str, call_id: str = "", index: int | None = None) -> None:
        super().__init__(problem)
        self.call_id = call_id
        self.index = index


@dataclass
class LeaseEntry:
    """Inputs [reported, stop) of a call are in a container's hands."""

    lease_id: int
    call_id: str
    container_id: str
    reported: int
    stop: int
    chunk: int
    since: float
    """When its next input can have begun at the earliest."""
    current: bool = True
    """What it reports is wanted: its call was not cancelled."""
    interrupted: float | None = None
    """When its running input was told to end; None if it was not, or has ended."""
    timed_out: bool = False
    together: bool = False
    """It was given to a container that runs several inputs at once."""


@dataclass
class ContainerEntry:
    """A container from its start until it is gone."""

    container_id: str
    function_id: str
    ready: bool = False
    told_to_end: bool = False
    told_at: float = 0.0
    """When it was last told to end or killed."""
    waits: int = 0
    """Calls that its inputs wait for."""
    leases: dict[int, LeaseEntry] = field(default_factory=dict)
    overdue: set[int] = field(default_factory=set)
    """Leases that were out of time when it was told to end."""


@dataclass
class FunctionEntry:
    """What befell a function."""

    failed_starts: int = 0
    """In a row."""
    import_failed: bool = False
    removed: bool = False


class Books:
    """Keeps the entries; `invariants.py` says what must be true of them."""

    def __init__(self) -> None:
        self.containers: dict[str, ContainerEntry] = {}
        self.functions: dict[str, FunctionEntry] = {}
        self.holders: dict[Input, LeaseEntry] = {}
        """Who has an input, as far as its result counts."""
        self.chunks: dict[Input, int] = {}
        """Inputs that are not done of the chunk that begins with this one."""
        self.ended: dict[str, float] = {}
        """When the call was cancelled or forgotten."""
        self.attempts: Counter[Input] = Counter()
        """Attempts that ended as failures or timeouts and so used up a retry."""
        self.losses: Counter[Input] = Counter()
        """Containers that may have died of this input."""
        self.sure_losses: Counter[Input] = Counter()
        """Those that ran it alone when they died."""
        self.not_before: dict[Input, float] = {}
        """When the retry may begin."""

    def container(self, container_id: str) -> ContainerEntry:
        """The entry of a container. Raises Violation if there is none."""
        try:
            return self.containers[container_id]
        except KeyError:
            raise Violation(f"{container_id} is not there, or not any more") from None

    def lease(self, container_id: str, lease_id: int) -> LeaseEntry | None:
        """The lease that the container has under this number; None if it has none."""
        container = self.containers.get(container_id)
        return None if container is None else container.leases.get(lease_id)

    # --- leases ------------------------------------------------------------------------------------------------------

    def give(self, command: do.SendLease, now: float, together: bool) -> None:
        """Inputs go to a container."""
        entry = LeaseEntry(
            command.lease_id,
            command.call_id,
            command.container_id,
            command.start,
            command.stop,
            command.chunk,
            now,
            together=together,
        )
        self.container(command.container_id).leases[command.lease_id] = entry
        for index in range(command.start, command.stop):
            self.holders[command.call_id, index] = entry

    def advance(self, lease: LeaseEntry, count: int, now: float) -> None:
        """The next inputs of the lease were reported."""
        self._release(lease, lease.reported, lease.reported + count)
        lease.reported += count
        lease.since = now
        if lease.interrupted is not None:
            lease.interrupted = None if lease.current else now
            lease.timed_out = False
        self._settle(lease, now)

    def take_back(self, lease: LeaseEntry, start: int, now: float) -> None:
        """The inputs from `start` on were given back."""
        self._release(lease, start, lease.stop)
        lease.stop = start
        self._settle(lease, now)

    def void(self, call_id: str) -> None:
        """What the leases of the call report does not count any more."""
        for container in self.containers.values():
            for lease in container.leases.values():
                if lease.call_id == call_id and lease.current:
                    lease.current = False
                    self._release(lease, lease.reported, lease.stop)

    def lose(self, event: on.ContainerGone) -> ContainerEntry | None:
        """Takes out a container, with the leases it had; charges the inputs that it can have died of."""
        container = self.containers.pop(event.container_id, None)
        if container is None:
            return None
        for lease in container.leases.values():
            self._charge(container, lease, event.running)
            self._release(lease, lease.reported, lease.stop)
        return container

    def _charge(self, container: ContainerEntry, lease: LeaseEntry, running: tuple[int, int] | None) -> None:
        if not lease.current:
            return
        ran = running is not None and running[0] == lease.lease_id and lease.reported <= running[1] < lease.stop
        charged = lease.call_id, running[1] if ran and running is not None else lease.reported
        # What never began is not over its time, however long its container was stuck.
        timed_out = lease.interrupted is not None and lease.timed_out and (ran or lease.together)
        if timed_out or lease.lease_id in container.overdue:
            self.attempts[charged] += 1
        if ran or lease.interrupted is not None or (lease.together and not container.told_to_end):
            self.losses[charged] += 1
            self.sure_losses[charged] += ran and not (timed_out or lease.together)

    def _release(self, lease: LeaseEntry, start: int, stop: int) -> None:
        for index in range(start, stop):
            if self.holders.get((lease.call_id, index)) is lease:
                del self.holders[lease.call_id, index]

    def _settle(self, lease: LeaseEntry, now: float) -> None:
        if lease.reported == lease.stop:
            leases = self.container(lease.container_id).leases
            was_head = next(iter(leases)) == lease.lease_id
            del leases[lease.lease_id]
            if leases and was_head and not lease.together:
                # It waited behind this one; now it can begin.
                head = next(iter(leases.values()))
                head.since = now
                if head.interrupted is not None:
                    head.interrupted = now
