"""The control plane of a server, which also counts. That of an embedded app does not, and so does not pay for it."""

import time
from typing import Any

from modal_lite._scheduler import commands, events
from modal_lite._scheduler.records import Function
from modal_lite._server.calls import CallState, Chunk
from modal_lite._server.figures import Figures, FunctionFigures
from modal_lite._server.plane import ControlPlane

SUCCESS, LOST = "success", "lost"
"""How an attempt ended, beside the kinds of failures."""


class ObservedPlane(ControlPlane):
    """A control plane that keeps figures of its functions."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.figures = Figures()
        self._opened: dict[str, float] = {}

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
            self._opened[call.call_id] = time.monotonic()

    def forget(self, call_id: str) -> None:
        """See `ControlPlane.forget`."""
        super().forget(call_id)
        self._opened.pop(call_id, None)

    def _finish_call(self, command: commands.FinishCall) -> None:
        opened = self._opened.pop(command.call_id, None)
        call = self.calls.get(command.call_id)
        if opened is not None and call is not None and (figures := self._of(call.function_id)) is not None:
            figures.calls.add(time.monotonic() - opened)
        super()._finish_call(command)

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
