"""What happened in a run, kept as it is and told in words only when somebody wants to know."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from modal_lite._scheduler import commands as do
from modal_lite._scheduler import events as on

MAX_LINES = 400
"""Lines of one story; of a longer one the beginning is left out."""

Entry = tuple[float, on.Event | str, tuple[do.Command, ...]]
"""When; an event with the commands it led to, or what happened outside the scheduler."""


class Story:
    """The events and commands of a run, and what its world did besides.

    Args:
        since: when the run began; times are told from there.
    """

    def __init__(self, since: float) -> None:
        self._since = since
        self._entries: list[Entry] = []

    def handled(self, now: float, event: on.Event, commands: Iterable[do.Command]) -> None:
        """The scheduler took an event."""
        self._entries.append((now, event, tuple(commands)))

    def note(self, now: float, text: str) -> None:
        """Something happened that the scheduler is not told of."""
        self._entries.append((now, text, ()))

    # --- telling -----------------------------------------------------------------------------------------------------

    def about(self, call_id: str, index: int | None = None) -> str:
        """All that touched an input, or any input of the call."""
        return self._tell(_Concerns(call_id, index))

    def about_container(self, container_id: str) -> str:
        """All that touched a container."""

        def concerns(what: Any) -> bool:
            if isinstance(what, str):
                return container_id in what.split()
            return getattr(what, "container_id", None) == container_id

        return self._tell(concerns)

    def all(self) -> str:
        """Everything."""
        return self._tell(lambda what: True)

    def _tell(self, concerns: Callable[[Any], bool]) -> str:
        lines = [line for entry in self._entries for line in self._lines(entry, concerns)]
        if len(lines) > MAX_LINES:
            lines = [f"… {len(lines) - MAX_LINES} lines before that", *lines[-MAX_LINES:]]
        return "\n".join(lines)

    def _lines(self, entry: Entry, concerns: Callable[[Any], bool]) -> Iterator[str]:
        now, event, commands = entry
        told = concerns(event)
        wanted = [command for command in commands if concerns(command)]
        if told or wanted:
            yield f"{now - self._since:12.6f}  {describe(event)}"
            for command in wanted:
                yield f"{'':12}      {describe(command)}"


class _Concerns:
    """Whether something concerns an input: it befalls its call, the lease that has it, or that lease's container.

    While no container has it, that is what happens to those of its function. To be asked in the order of the story.
    """

    def __init__(self, call_id: str, index: int | None) -> None:
        self._call_id = call_id
        self._index = index
        self._function_id = ""
        self._functions: dict[str, str] = {}
        """Of the containers."""
        self._holders: dict[int, str] = {}
        """The leases that have the input, with their containers."""

    def __call__(self, what: Any) -> bool:
        if isinstance(what, str):
            return self._note(what)
        if isinstance(what, do.StartContainer):
            self._functions[what.container_id] = what.function_id
        if isinstance(what, on.CallOpened) and what.call_id == self._call_id:
            self._function_id = what.function_id
        if getattr(what, "call_id", None) == self._call_id:
            return self._of_call(what)
        if (lease_id := getattr(what, "lease_id", None)) is not None:
            return self._of_lease(what, lease_id)
        if (container_id := getattr(what, "container_id", None)) is not None:
            return self._of_container(what, container_id)
        return bool(self._function_id and getattr(what, "function_id", None) == self._function_id)

    def _note(self, text: str) -> bool:
        if (began := re.search(r"begins input (\d+) of (\S+)", text)) is not None:
            return began[2] == self._call_id and self._index in (None, int(began[1]))
        return not set(self._holders.values()).isdisjoint(re.findall(r"\bta-\d+", text))

    def _of_call(self, what: Any) -> bool:
        mine = self._index is None or _covers(what, self._index)
        if mine and isinstance(what, do.SendLease):
            self._holders[what.lease_id] = what.container_id
        return mine

    def _of_lease(self, what: Any, lease_id: int) -> bool:
        if lease_id not in self._holders:
            return False
        if self._index is not None and _parts(what, self._index):
            del self._holders[lease_id]
        return True

    def _of_container(self, what: Any, container_id: str) -> bool:
        mine = container_id in self._holders.values()
        if isinstance(what, on.ContainerGone):
            self._holders = {lease: holder for lease, holder in self._holders.items() if holder != container_id}
        waited_for = not self._holders and self._functions.get(container_id) == self._function_id
        return mine or (waited_for and not isinstance(what, on.ContainerWaiting))


def describe(what: on.Event | do.Command | str) -> str:
    """In words: what happened, or what the scheduler wants."""
    if isinstance(what, str):
        return f"({what})"
    if type(what) in _WORDS:
        return _WORDS[type(what)](what)
    fields = ", ".join(f"{name}={getattr(what, name)}" for name in what.__struct_fields__)
    return f"{type(what).__name__} {fields}"


def _range(start: int, count: int) -> str:
    return f"input {start}" if count == 1 else f"inputs {start} to {start + count - 1}"


_WORDS: dict[type, Callable[[Any], str]] = {
    on.CallOpened: lambda e: (
        f"{e.call_id} of {e.function_id} is opened, {e.count} inputs{', no more to come' * e.closed}"
        + (f", by input {e.parent[1]} of {e.parent[0]}" if e.parent else "")
    ),
    on.InputsAdded: lambda e: f"{e.call_id} gets {_range(e.start, e.count)}",
    on.InputsClosed: lambda e: f"{e.call_id} is closed",
    on.CallCancelled: lambda e: f"{e.call_id} is cancelled{', containers and all' * e.terminate_containers}",
    on.CallForgotten: lambda e: f"{e.call_id} is forgotten",
    on.ContainerReady: lambda e: f"{e.container_id} is ready",
    on.ContainerWaiting: lambda e: f"{e.container_id} waits for {e.waits} calls of its own",
    on.ContainerGone: lambda e: (
        f"{e.container_id} is gone"
        + (f", it ran input {e.running[1]} under lease {e.running[0]}" if e.running else "")
        + (", its module fails to import" if e.start_error else "")
    ),
    on.OutputsReported: lambda e: (
        f"{e.container_id} reports values of {_range(e.start, e.count)} under lease {e.lease_id}"
    ),
    on.FailureReported: lambda e: (
        f"{e.container_id} reports that input {e.index} under lease {e.lease_id} failed: {e.kind.value}"
    ),
    on.InputsReturned: lambda e: f"{e.container_id} gives back input {e.start} and later ones of lease {e.lease_id}",
    on.TimePassed: lambda e: "time passes",
    do.StartContainer: lambda c: f"start {c.container_id} for {c.function_id}",
    do.StopContainer: lambda c: f"stop {c.container_id}",
    do.KillContainer: lambda c: f"kill {c.container_id}: {c.reason}",
    do.SendLease: lambda c: (
        f"lease {c.lease_id}: {_range(c.start, c.stop - c.start)} of {c.call_id} to {c.container_id}"
    ),
    do.RecallLease: lambda c: f"recall lease {c.lease_id} from {c.container_id}",
    do.InterruptLease: lambda c: (
        f"interrupt lease {c.lease_id} in {c.container_id}: {'out of time' if c.timed_out else 'cancelled'}"
    ),
    do.AcceptOutputs: lambda c: f"accept the values of {_range(c.start, c.count)} of {c.call_id}",
    do.AcceptFailure: lambda c: f"accept the failure of input {c.index} of {c.call_id}",
    do.FailInputs: lambda c: f"end {_range(c.start, c.count)} of {c.call_id}: {c.kind.value}",
    do.FinishCall: lambda c: f"{c.call_id} has finished",
}


def _covers(what: Any, index: int) -> bool:
    """False for what tells of other inputs of the call only."""
    if isinstance(what, on.CallOpened):
        return True
    if isinstance(what, do.AcceptFailure):
        return what.index == index
    start = getattr(what, "start", None)
    if start is None:
        return True
    stop: int = what.stop if isinstance(what, do.SendLease) else start + what.count
    return bool(start <= index < stop)


def _parts(what: Any, index: int) -> bool:
    """True if the input has left the lease with this."""
    if isinstance(what, on.OutputsReported):
        return what.start + what.count > index
    if isinstance(what, on.FailureReported):
        return what.index >= index
    return isinstance(what, on.InputsReturned) and what.start <= index
