"""What users, containers, the network and the clock do to the control plane: a plan made from a seed.

A step draws what it needs from a number of its own: one can be left out of a plan without changing the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modal_lite._scheduler import events as on
from modal_lite.retries import Retries
from tests.scheduler.world import Ledger
from tests.simulation.world import Habits, SimulatedWorld

MAX_INPUTS = 160
"""Inputs that users make in one run."""
MAX_FUNCTIONS = 5
GAPS = (0.0, 0.0, 1e-4, 0.001, 0.005, 0.02, 0.1, 0.6, 3.0, 15.0)
"""Seconds between two steps."""

SHARING: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"single_use": True},
    {"max_inputs": 3},
    {"max_inputs": 4, "target_inputs": 2, "in_threads": True},
    {"max_batch_size": 3, "batch_wait": 0.05},
    {"max_batch_size": 1},
)
SECONDS: tuple[tuple[float, ...], ...] = (
    (1e-5,),
    (1e-5, 1e-5, 1e-4, 1e-4, 0.02),
    (0.002, 0.01),
    (1e-4, 0.03, 0.3),
    (1e-5,) * 30 + (0.5, 3.0),
    (0.1, 1.0, 12.0),
)
RETRIES = (None, None, Retries(max_retries=2, initial_delay=0.0), Retries(max_retries=1), Retries(max_retries=3))


@dataclass(frozen=True)
class Step:
    """One thing that somebody does."""

    number: int
    seconds: float
    """Time that passes before."""
    kind: str
    salt: int


def plan(seed: int, length: int) -> list[Step]:
    """The steps of a seed: functions first, then anything."""
    chance = random.Random(seed)
    kinds, weights = [*ACTIONS], [weight for weight, _ in ACTIONS.values()]
    chosen = ["add_function", *chance.choices(("add_function", "call"), k=3), *chance.choices(kinds, weights, k=length)]
    return [Step(i, chance.choice(GAPS), kind, chance.getrandbits(32)) for i, kind in enumerate(chosen)]


def take(world: SimulatedWorld, step: Step) -> None:
    """Lets the step's time pass and does it, if there is anything to do it to."""
    world.pass_time(step.seconds)
    chance = random.Random(step.salt)
    world.tape.note(world.now, f"step {step.number}: {step.kind}")
    ACTIONS[step.kind][1](world, chance)


# --- functions -------------------------------------------------------------------------------------------------------


def _add_function(world: SimulatedWorld, chance: random.Random) -> None:
    if len(world.settings) >= MAX_FUNCTIONS:
        return
    sharing = chance.choice(SHARING)
    habits = Habits(
        chance.choice(SECONDS),
        failing=chance.choice((0.0, 0.0, 0.1, 0.5)),
        killing=chance.choice((0.0, 0.0, 0.0, 0.03)),
        deaf=chance.choice((0.0, 0.0, 0.2)),
        calling=chance.choice((0.0, 0.1, 0.4)),
        yields=not sharing and chance.random() < 0.15,
    )
    world.add_function(
        habits,
        **sharing,
        **_scaling(chance),
        # One that has a GPU while it waits for another that wants it would wait for ever.
        gpus=0 if habits.calling else chance.choice((0, 0, 1, 2)),
        timeout=chance.choice((None, 0.2, 2.0, 10.0)),
        startup_timeout=chance.choice((1.0, 300.0)),
        retries=chance.choice(RETRIES),
        exit_grace=chance.choice((0.0, 0.0, 2.0)),
    )


def _scaling(chance: random.Random) -> dict[str, Any]:
    maximum = chance.choice((None, None, 1, 2, 5))
    return {
        "min_containers": min(chance.choice((0, 0, 0, 1, 2)), maximum or 9),
        "max_containers": maximum,
        "buffer_containers": chance.choice((0, 0, 0, 1)),
        "scaledown_window": chance.choice((0.0, 0.05, 2.0, 60.0)),
    }


def _update(world: SimulatedWorld, chance: random.Random) -> None:
    if world.functions:
        world.update(chance.choice(world.functions), **_scaling(chance))


def _remove_function(world: SimulatedWorld, chance: random.Random) -> None:
    if len(world.functions) > 1:
        function_id = chance.choice(world.functions)
        world.functions.remove(function_id)
        for ledger in world.calls.values():
            ledger.closed = ledger.closed or ledger.function_id == function_id
        world.tell(on.FunctionRemoved(function_id))


# --- calls -----------------------------------------------------------------------------------------------------------


def _call(world: SimulatedWorld, chance: random.Random) -> None:
    made = sum(ledger.added for ledger in _own_calls(world))
    if world.functions and made < MAX_INPUTS:
        count = chance.choice((0, 1, 1, 1, 2, 3, 8, 20, 70, 100))
        once = count == 1 and chance.random() < 0.5
        closed = once or chance.random() < 0.7
        world.call(chance.choice(world.functions), min(count, MAX_INPUTS - made), closed, forgotten=once)


def _add_inputs(world: SimulatedWorld, chance: random.Random) -> None:
    open_calls = [ledger for ledger in world.calls.values() if not ledger.closed]
    if open_calls:
        ledger = chance.choice(open_calls)
        world.add_inputs(ledger.call_id, chance.choice((1, 4, 30)))
        if chance.random() < 0.5:
            world.close(ledger.call_id)


def _cancel(world: SimulatedWorld, chance: random.Random) -> None:
    calls = [ledger for ledger in world.calls.values() if ledger.call_id in world.scheduler.calls]
    if calls:
        ledger = chance.choice(calls)
        was_open = not ledger.closed
        world.cancel(ledger.call_id, chance.random() < 0.3)
        if was_open and chance.random() < 0.5:
            # They were on their way.
            world.add_inputs(ledger.call_id, 3)


def _vanish(world: SimulatedWorld, chance: random.Random) -> None:
    """A client is gone, with all that it had asked for."""
    calls = [ledger for ledger in _own_calls(world) if ledger.call_id in world.scheduler.calls]
    for ledger in chance.sample(calls, min(len(calls), chance.choice((1, 1, 3)))):
        if ledger.call_id in world.scheduler.calls:
            world.forget(ledger.call_id)


def _own_calls(world: SimulatedWorld) -> list[Ledger]:
    """Calls that no container made."""
    return [ledger for ledger in world.calls.values() if ledger.then is None]


# --- containers ------------------------------------------------------------------------------------------------------


def _kill(world: SimulatedWorld, chance: random.Random) -> None:
    containers = [container for container in world.containers.values() if not container.dead]
    if containers:
        container = chance.choice(containers)
        world.tape.note(world.now, f"{container.container_id} dies")
        container.die(running_known=chance.random() < 0.9)


def _kill_all(world: SimulatedWorld, chance: random.Random) -> None:
    for container in list(world.containers.values()):
        world.tape.note(world.now, f"{container.container_id} dies")
        container.die()


def _kill_again_and_again(world: SimulatedWorld, chance: random.Random) -> None:
    """Whatever starts, for a while, dies soon."""
    for _ in range(chance.choice((3, 12))):
        _kill(world, chance)
        world.pass_time(chance.choice((0.001, 0.021, 0.03)))


def _freeze(world: SimulatedWorld, chance: random.Random) -> None:
    containers = [container for container in world.containers.values() if not container.dead]
    if containers:
        container = chance.choice(containers)
        world.tape.note(world.now, f"{container.container_id} is frozen")
        container.freeze()
        if chance.random() < 0.7:
            world.later(chance.choice((0.01, 0.5, 4.0, 20.0)), lambda: _thaw(world, container.container_id))


def _thaw(world: SimulatedWorld, container_id: str) -> None:
    container = world.containers.get(container_id)
    if container is not None and container.frozen:
        world.tape.note(world.now, f"{container_id} is thawed")
        container.thaw()


def _spoil_starts(world: SimulatedWorld, chance: random.Random) -> None:
    world.starts.extend(
        chance.choices(("ready", "dies", "error", "hangs", "no fork", "waits"), (4, 3, 1, 1, 3, 3), k=4)
    )
    world.place_seconds = chance.choice((0.0, 0.1, 3.0, 400.0))


def _change_cluster(world: SimulatedWorld, chance: random.Random) -> None:
    """Machines come and go."""
    count = chance.randint(0, 6)
    # What runs on cores that are lost goes on until it has ended.
    world.slots = max(world.slots, count)
    world.tell(on.CoresFound(count))


# --- the network and the clock ---------------------------------------------------------------------------------------


def _change_network(world: SimulatedWorld, chance: random.Random) -> None:
    world.delays = chance.choice(((0.0,), (0.0002,), (0.0, 0.0002, 0.03), (0.001, 0.3), (0.0, 1.0)))
    world.notices = chance.choice(((0.0,), (0.001,), (0.0, 0.3), (0.25, 2.0)))


def _repeat_messages(world: SimulatedWorld, chance: random.Random) -> None:
    world.repeating = chance.choice((0.0, 0.02, 0.2))


def _delay_timer(world: SimulatedWorld, chance: random.Random) -> None:
    world.lateness = chance.choice((0.0, 0.001, 0.05, 1.0))


ACTIONS: dict[str, tuple[int, Callable[[SimulatedWorld, random.Random], None]]] = {
    "add_function": (3, _add_function),
    "update": (4, _update),
    "remove_function": (1, _remove_function),
    "call": (20, _call),
    "add_inputs": (6, _add_inputs),
    "cancel": (5, _cancel),
    "vanish": (3, _vanish),
    "kill": (8, _kill),
    "kill_all": (1, _kill_all),
    "kill_again_and_again": (1, _kill_again_and_again),
    "freeze": (4, _freeze),
    "spoil_starts": (3, _spoil_starts),
    "change_cluster": (1, _change_cluster),
    "change_network": (4, _change_network),
    "repeat_messages": (1, _repeat_messages),
    "delay_timer": (1, _delay_timer),
}
"""Kind of step -> how often, and what is done."""
