"""The control plane of a server, which also counts. That of an embedded app does not, and so does not pay for it."""

import itertools
import time
from collections import deque
from typing import Any, NamedTuple

from modal_lite._core.requests import CallKind
from modal_lite._scheduler import commands, events
from modal_lite._scheduler.records import Call, Function
from modal_lite._server.calls import CallState, Chunk
from modal_lite._server.durable import DurableCall
from modal_lite._server.figures import Figures, FunctionFigures
from modal_lite._server.plane import ControlPlane
from modal_lite.call_graph import InputStatus

ENDED = 1000
"""Calls that have ended and are remembered."""
SUCCESS, LOST = "success", "lost"
"""How an attempt ended, beside the kinds of failures."""


class EndedCall(NamedTuple):
    """A call that has ended."""

    call_id: str
    app_id: str
    function_id: str
    kind: CallKind
    method: str
    accepted: float
    """Seconds since the epoch."""
    seconds: float
    """From then to its end."""
    num_inputs: int
    failed: int
    cancelled: bool


class ObservedPlane(ControlPlane):
    """A control plane that keeps figures of its functions."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.figures = Figures()
        self.ended: deque[EndedCall] = deque(maxlen=ENDED)
        """The last calls that have ended and that no store knows, oldest first; without requests to web functions."""
        self._opened: dict[str, tuple[float, Call]] = {}
        """When calls under way were accepted, by the monotonic clock, and what the scheduler knows of them."""

    def happened(self, event: events.Event) -> None:
        """Counts what the event tells of an attempt, once the scheduler has accepted it."""
        kind = type(event)
        if kind is events.OutputsReported or kind is events.FailureReported or kind is events.ContainerGone:
            # The container has to be asked before: the event may be its last.
            figures = self._of_container(event.container_id)  # type: ignore[attr-defined]
            super().happened(event)
            if figures is not None:
                _count(figures, event)
        else:
            super().happened(event)

    def open_call(self, call: CallState, parent: tuple[str, int] | None, chunk: Chunk | None) -> None:
        """See `ControlPlane.open_call`."""
        super().open_call(call, parent, chunk)
        if not call.finished:
            self._opened[call.call_id] = time.monotonic(), self.scheduler.calls[call.call_id]

    def forget(self, call_id: str) -> None:
        """See `ControlPlane.forget`."""
        super().forget(call_id)
        self._opened.pop(call_id, None)

    def _finish_call(self, command: commands.FinishCall) -> None:
        opened = self._opened.pop(command.call_id, None)
        call = self.calls.get(command.call_id)
        if opened is not None and call is not None and (figures := self._of(call.function_id)) is not None:
            seconds = time.monotonic() - opened[0]
            figures.calls.add(seconds)
            if not isinstance(call, DurableCall) and call.kind is not CallKind.WEB:
                self._remember(call, opened[1], seconds)
        super()._finish_call(command)

    def _remember(self, call: CallState, record: Call, seconds: float) -> None:
        definition = self.functions[call.function_id]
        self.ended.append(
            EndedCall(
                call.call_id,
                definition.app_id,
                call.function_id,
                call.kind,
                call.method,
                time.time() - seconds,
                seconds,
                record.added,
                failed_inputs(record),
                record.cancelled,
            )
        )

    def under_way(self, limit: int) -> list[tuple[CallState, Call, float]]:
        """The newest calls that have not ended, newest first; with when they were accepted, in seconds since the epoch.

        Args:
            limit: So many at most.
        """
        newest = map(self.find_under_way, itertools.islice(reversed(self._opened), limit))
        return [found for found in newest if found is not None]

    def find_under_way(self, call_id: str) -> tuple[CallState, Call, float] | None:
        """A call that has not ended, with when it was accepted; None if there is no such call."""
        call, opened = self.calls.get(call_id), self._opened.get(call_id)
        if call is None or opened is None:
            return None
        return call, opened[1], time.time() - (time.monotonic() - opened[0])

    def functions_by_tag(self) -> dict[tuple[str, str], list[Function]]:
        """The scheduler's functions, versions and variants, by app id and the name that all of them share."""
        found: dict[tuple[str, str], list[Function]] = {}
        for function_id, definition in self.functions.items():
            function = self.scheduler.functions.get(function_id)
            if function is not None:
                found.setdefault((definition.app_id, definition.tag), []).append(function)
        return found

    def _of_container(self, container_id: str) -> FunctionFigures | None:
        container = self.scheduler.containers.get(container_id)
        return None if container is None else self._of(container.function.function_id)

    def _of(self, function_id: str) -> FunctionFigures | None:
        definition = self.functions.get(function_id)
        return None if definition is None else self.figures.of(definition.app_id, definition.tag)


def failed_inputs(call: Call) -> int:
    """How many inputs of a call have ended without a value."""
    return sum([outcome.count for outcome in call.outcomes if outcome.status is not InputStatus.SUCCESS])


def _count(figures: FunctionFigures, event: events.Event) -> None:
    match event:
        case events.OutputsReported():
            figures.attempts[SUCCESS] += event.count
            if event.count:
                figures.running.add(event.elapsed / event.count, event.count)
        case events.FailureReported():
            figures.attempts[event.kind.value] += 1
            figures.running.add(event.elapsed)
        case events.ContainerGone() if event.running is not None:
            figures.attempts[LOST] += 1
