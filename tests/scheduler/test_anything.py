"""Anything may happen in any order: no input is lost, doubled or left waiting.

A failure prints the steps that lead to it. `MODAL_LITE_EXAMPLES=5000` tries more of them than the usual hundred.
"""

import os
import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from modal_lite._core.messages import FailureKind
from modal_lite._scheduler import events as on
from modal_lite.retries import Retries
from tests.scheduler.containers import Job
from tests.scheduler.world import Ledger, World

SECONDS = (0.0, 1e-5, 1e-5, 1e-4, 0.002, 0.02, 0.5, 12.0)
FAILURES = (FailureKind.USER, FailureKind.USER, FailureKind.SERIALIZATION)
SHARING: tuple[dict[str, object], ...] = (
    {},
    {},
    {"single_use": True},
    {"max_inputs": 3},
    {"max_inputs": 4, "target_inputs": 2, "in_threads": True},
    {"max_batch_size": 3, "batch_wait": 0.05},
    {"max_batch_size": 1, "batch_wait": 0.0},
)
"""How the inputs of a container get along. Nothing changes this while a function runs."""
FUNCTION_SETTINGS = st.fixed_dictionaries(
    {
        "min_containers": st.sampled_from((0, 0, 0, 1, 2)),
        "max_containers": st.sampled_from((None, None, 2, 5)),
        "buffer_containers": st.sampled_from((0, 0, 0, 1)),
        "scaledown_window": st.sampled_from((0.0, 0.05, 2.0, 60.0)),
        "timeout": st.sampled_from((None, 0.1, 10.0)),
        "startup_timeout": st.sampled_from((1.0, 300.0)),
        "retries": st.sampled_from((None, Retries(max_retries=2, initial_delay=0.0), Retries(max_retries=1))),
    }
)
MAX_FUNCTIONS = 4


class Anything(RuleBasedStateMachine):
    """Callers, containers and time, each doing what it may at any moment."""

    @initialize(slots=st.integers(1, 4), seed=st.integers(0, 2**16), regular=st.booleans())
    def begin(self, slots: int, seed: int, regular: bool) -> None:
        self.world = World(slots, self.work, max_steps=50_000)
        self.seed = seed
        self.regular = regular
        """Most inputs are fast, so that leases grow."""
        self.functions: list[str] = []
        self.sharing: dict[str, dict[str, object]] = {}
        self.added = 0

    def work(self, function_id: str, call_id: str, index: int, attempt: int) -> Job:
        chance = random.Random(f"{self.seed} {call_id} {index} {attempt}")
        if self.regular and chance.random() < 0.97:
            return Job(1e-5)
        # Functions call those added after them only: a cycle with a maximum of containers waits for itself, rightly.
        later = [other for other in self.functions if int(other[3:]) > int(function_id[3:])]
        calls = tuple((chance.choice(later), chance.randint(0, 3)) for _ in range(chance.randint(1, 2)) if later)
        return Job(
            chance.choice(SECONDS),
            chance.choice(FAILURES) if chance.random() < 0.1 else None,
            obeys=chance.random() < 0.9,
            calls=calls if chance.random() < 0.1 else (),
        )

    def open_calls(self) -> list[Ledger]:
        return [c for c in self.world.calls.values() if not c.closed and not c.forgotten]

    def own_calls(self) -> list[Ledger]:
        """Calls that no container made: those end as their containers do."""
        return [c for c in self.world.calls.values() if c.then is None and not c.forgotten]

    # --- functions ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.functions) < MAX_FUNCTIONS)
    @rule(settings=FUNCTION_SETTINGS, sharing=st.sampled_from(SHARING))
    def add_function(self, settings: dict[str, object], sharing: dict[str, object]) -> None:
        function_id = f"fu-{self.added}"
        self.added += 1
        self.functions.append(function_id)
        self.sharing[function_id] = sharing
        self.world.add(function_id, **settings, **sharing)

    @precondition(lambda self: self.functions)
    @rule(data=st.data(), settings=FUNCTION_SETTINGS)
    def change_function(self, data: st.DataObject, settings: dict[str, object]) -> None:
        function_id = data.draw(st.sampled_from(self.functions))
        self.world.change(function_id, **settings, **self.sharing[function_id])

    @precondition(lambda self: len(self.functions) > 1)
    @rule(data=st.data(), sure=st.integers(0, 4))
    def remove_function(self, data: st.DataObject, sure: int) -> None:
        if sure:
            return
        function_id = data.draw(st.sampled_from(self.functions))
        self.functions.remove(function_id)
        for ledger in self.world.calls.values():
            ledger.closed = ledger.closed or ledger.function_id == function_id
        self.world.tell(on.FunctionRemoved(function_id))

    # --- calls -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.functions)
    @rule(data=st.data(), count=st.sampled_from((0, 1, 1, 2, 10, 65, 300)), closed=st.booleans(), nested=st.booleans())
    def call(self, data: st.DataObject, count: int, closed: bool, nested: bool) -> None:
        parents = [c.call_id for c in self.own_calls() if c.added] if nested else []
        parent = (data.draw(st.sampled_from(parents)), 0) if parents else None
        self.world.call(data.draw(st.sampled_from(self.functions)), count, closed, parent)

    @precondition(lambda self: self.open_calls())
    @rule(data=st.data(), count=st.sampled_from((1, 5, 100)), close=st.booleans())
    def add_inputs(self, data: st.DataObject, count: int, close: bool) -> None:
        ledger = data.draw(st.sampled_from(self.open_calls()))
        self.world.add_inputs(ledger.call_id, count)
        if close:
            self.world.close(ledger.call_id)

    @precondition(lambda self: self.own_calls())
    @rule(data=st.data(), terminate=st.booleans())
    def cancel(self, data: st.DataObject, terminate: bool) -> None:
        self.world.cancel(data.draw(st.sampled_from(self.own_calls())).call_id, terminate)

    @precondition(lambda self: self.own_calls())
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.world.forget(data.draw(st.sampled_from(self.own_calls())).call_id)

    # --- containers and time -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.containers)
    @rule(data=st.data(), known=st.booleans())
    def lose_container(self, data: st.DataObject, known: bool) -> None:
        container_id = data.draw(st.sampled_from(sorted(self.world.containers)))
        self.world.containers[container_id].die(running_known=known)

    @precondition(lambda self: self.world.containers)
    @rule(data=st.data())
    def let_container_leave(self, data: st.DataObject) -> None:
        container_id = data.draw(st.sampled_from(sorted(self.world.containers)))
        container = self.world.containers[container_id]
        if not container.dead:
            self.world.tell(on.ContainerLeaving(container_id))
            container.stop()

    @rule(how=st.lists(st.sampled_from(("ready", "dies", "error", "hangs")), max_size=4))
    def decide_starts(self, how: list[str]) -> None:
        self.world.starts.extend(how)

    @rule(latency=st.sampled_from((0.0, 0.0002, 0.03)), loss=st.sampled_from((0.0, 0.001, 0.3)))
    def change_latency(self, latency: float, loss: float) -> None:
        self.world.latency, self.world.loss_seconds = latency, loss

    @rule(seconds=st.sampled_from((1e-4, 0.003, 0.02, 0.1, 1.0, 6.0)))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(steps=st.integers(1, 40))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.world.step()

    # --- the end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        world = self.world
        for ledger in self.open_calls():
            world.close(ledger.call_id)
        world.finish()
        for ledger in world.calls.values():
            assert sorted(ledger.outcomes) == list(range(ledger.added)), ledger
        for ledger in list(world.calls.values()):
            if not ledger.forgotten:
                world.forget(ledger.call_id)
        world.starts.clear()
        for function_id in self.functions:
            world.change(function_id, scaledown_window=1.0, **self.sharing[function_id])
        world.pass_time(400.0)
        assert not world.scheduler.calls
        assert not world.scheduler.containers, "containers outlived their use"
        assert world.scheduler.total_active == 0
        assert set(world.scheduler.functions) == set(self.functions)


Anything.TestCase.settings = settings(
    max_examples=int(os.environ.get("MODAL_LITE_EXAMPLES", "100")),
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
test_anything = Anything.TestCase
