"""What can be asked of the scheduler: statistics of a function, the graph of a call."""

from collections.abc import Callable

from modal_lite._core.ids import input_id
from modal_lite._scheduler.records import Call, Container, Function
from modal_lite._scheduler.state import Scheduler
from modal_lite.call_graph import InputInfo, InputStatus
from modal_lite.types import FunctionStats

MAX_GRAPH_INPUTS = 10_000
"""Inputs in one call graph; more are left out."""
MAX_GRAPH_DEPTH = 100
"""Generations in one call graph; what is deeper is left out."""


def function_stats(function: Function) -> FunctionStats:
    """What waits, wherever it does, who lives, what runs, and in how many containers."""
    live = function.live
    behind = sum([_waiting_in(container) for container in live])
    busy = len([container for container in live if container.leases])
    return FunctionStats(function.backlog + behind, len(live), function.running - behind, busy)


def _waiting_in(container: Container) -> int:
    """Inputs that were given to the container ahead of time and wait there behind those that run."""
    if container.function.shares:
        return len([lease for lease in container.ahead if lease.current])
    wanted = sum([lease.outstanding for lease in container.leases if lease.current])
    return wanted - 1 if wanted and container.leases[0].current else wanted


def call_graph(scheduler: Scheduler, call_id: str, describe: Callable[[str], tuple[str, str]]) -> list[InputInfo]:
    """The call's inputs with those of the calls they made below them, oldest first.

    Args:
        scheduler: where the call is known.
        call_id: the root.
        describe: function id -> (function name, module name).
    """
    budget = [MAX_GRAPH_INPUTS]
    return _inputs(scheduler, scheduler.calls[call_id], describe, budget, MAX_GRAPH_DEPTH)


def _inputs(
    scheduler: Scheduler, call: Call, describe: Callable[[str], tuple[str, str]], budget: list[int], depth: int
) -> list[InputInfo]:
    if not depth:
        return []
    name, module = describe(call.function.function_id)
    if call.method:
        name = f"{name}.{call.method}"
    children: dict[int, list[Call]] = {}
    for child_id in call.children:
        child = scheduler.calls.get(child_id)
        if child is not None and child.parent is not None:
            children.setdefault(child.parent[1], []).append(child)
    nodes = []
    for index, (status, container_id) in sorted(_statuses(scheduler, call, budget).items()):
        made = children.get(index, [])
        below = [node for child in made for node in _inputs(scheduler, child, describe, budget, depth - 1)]
        attempts = list(call.attempts.get(index, ()))
        call_id = call.call_id
        nodes.append(InputInfo(input_id(call_id, index), call_id, container_id, status, name, module, below, attempts))
    return nodes


def _statuses(scheduler: Scheduler, call: Call, budget: list[int]) -> dict[int, tuple[InputStatus, str]]:
    found: dict[int, tuple[InputStatus, str]] = {}

    def put(start: int, stop: int, status: InputStatus, container_id: str) -> None:
        stop = min(stop, start + budget[0])
        budget[0] -= max(0, stop - start)
        for index in range(start, stop):
            found[index] = (status, container_id)

    for outcome in call.outcomes:
        put(outcome.start, outcome.start + outcome.count, outcome.status, outcome.container_id)
    for lease in call.leases.values():
        put(lease.reported, lease.stop, InputStatus.PENDING, lease.container.container_id)
    for waiting in (*call.pending, *scheduler.delayed_inputs(call)):
        put(waiting.start, waiting.stop, InputStatus.PENDING, "")
    return found
