"""When deployed functions run by themselves: decided by a pure machine, in virtual time."""

import logging
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_lite._core.requests import DeployedFunction, FunctionDefinition, Schedule
from modal_lite._core.settings import FunctionSettings
from modal_lite._core.stored import StoredSchedule
from modal_lite._server.schedules import Schedules, check_schedules, understood
from modal_lite.exception import InvalidError
from modal_lite.schedule import Cron, Period

MINUTE = Schedule(period={"minutes": 1})


def function(function_id: str, schedule: Schedule | None, app_id: str = "ap-1") -> DeployedFunction:
    definition = FunctionDefinition(
        function_id, app_id, "app", function_id, "mod", "f", None, None, False, FunctionSettings(), {}
    )
    return DeployedFunction(definition, False, None, schedule)


class World:
    """Schedules, what a store would have of them, and when what ran."""

    def __init__(self) -> None:
        self.schedules = Schedules()
        self.stored: dict[str, StoredSchedule] = {}
        self.runs: list[tuple[str, float]] = []

    def deploy(self, now: float, app_id: str = "ap-1", **schedules: Schedule | None) -> None:
        functions = [function(name, schedule, app_id) for name, schedule in schedules.items()]
        changed, dropped = self.schedules.replace(app_id, functions, now)
        self.stored |= {each.function_id: each for each in changed}
        for function_id in dropped:
            del self.stored[function_id]

    def look(self, now: float) -> None:
        for function_id in self.schedules.due(now):
            self.runs.append((function_id, now))
            self.stored[function_id] = self.schedules.ran(function_id, f"fc-{len(self.runs)}", now)

    def pass_time(self, start: float, stop: float) -> None:
        """A server that does nothing but to run what is due, when it is due."""
        now = start
        while (due := self.schedules.next_time()) is not None and due <= stop:
            now = max(now, due)
            self.look(now)

    def restart(self) -> None:
        self.schedules = Schedules()
        self.schedules.load(self.stored.values())


def times(world: World, function_id: str = "f") -> list[float]:
    return [when for name, when in world.runs if name == function_id]


def test_a_period_counts_from_the_deployment() -> None:
    world = World()
    world.deploy(1000.0, f=MINUTE, g=None)
    world.pass_time(1000.0, 1200.0)
    assert world.runs == [("f", 1060.0), ("f", 1120.0), ("f", 1180.0)]
    assert world.schedules.find("g") is None


def test_delays_do_not_add_up() -> None:
    world = World()
    world.deploy(0.0, f=MINUTE)
    for now in (60.5, 120.9, 180.1):
        world.look(now)
    assert world.schedules.next_time() == 240.0


@pytest.mark.parametrize("missed", [1, 2, 1000])
def test_what_was_missed_runs_once_after_a_restart(missed: int) -> None:
    world = World()
    world.deploy(0.0, f=MINUTE)
    world.pass_time(0.0, 60.0)
    world.restart()
    now = 60.0 * (missed + 1) + 5.0
    world.look(now)
    world.look(now)
    assert times(world) == [60.0, now]
    assert world.schedules.next_time() == (180.0 if missed == 1 else now + 60.0)


def test_nothing_is_missed_by_a_short_restart() -> None:
    world = World()
    world.deploy(0.0, f=MINUTE)
    world.pass_time(0.0, 60.0)
    world.restart()
    world.look(61.0)
    assert times(world) == [60.0] and world.schedules.next_time() == 120.0


def test_cron_runs_in_its_time_zone_and_catches_up_once() -> None:
    def at(*parts: int) -> float:
        return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]

    world = World()
    world.deploy(at(2025, 1, 1), f=Schedule(cron=("30 9 * * 1-5", "Europe/Berlin")))
    world.pass_time(at(2025, 1, 1), at(2025, 1, 3, 23))
    assert times(world) == [at(2025, 1, 1, 8, 30), at(2025, 1, 2, 8, 30), at(2025, 1, 3, 8, 30)]
    world.restart()
    world.look(at(2025, 1, 7, 12))  # Monday's and Tuesday's were missed.
    assert world.runs[3:] == [("f", at(2025, 1, 7, 12))]
    assert world.schedules.next_time() == at(2025, 1, 8, 8, 30)


def test_deploying_anew_leaves_a_schedule_that_is_the_same() -> None:
    world = World()
    world.deploy(0.0, f=MINUTE)
    for now in range(10, 130, 10):
        world.look(now)
        world.deploy(now, f=MINUTE)
    assert times(world) == [60.0, 120.0]


def test_deploying_anew_replaces_drops_and_adds() -> None:
    world = World()
    world.deploy(0.0, f=MINUTE, g=MINUTE)
    world.look(60.0)
    world.deploy(90.0, f=Schedule(period={"seconds": 5.0}), h=MINUTE)
    assert set(world.stored) == {"f", "h"} and world.stored["f"].last == 60.0
    world.runs.clear()
    world.pass_time(90.0, 100.0)
    assert world.runs == [("f", 95.0), ("f", 100.0)]
    world.deploy(100.0)
    assert world.stored == {} and world.schedules.next_time() is None


def test_apps_are_apart() -> None:
    world = World()
    world.deploy(0.0, "ap-1", f=MINUTE)
    world.deploy(0.0, "ap-2", g=MINUTE)
    world.deploy(1.0, "ap-1")
    assert set(world.stored) == {"g"}


@given(
    st.floats(0.5, 100.0).map(lambda x: round(x, 3)),
    st.lists(st.tuples(st.floats(0.0, 300.0), st.booleans()), max_size=30),
)
def test_no_run_comes_early_or_twice_whatever_happens(seconds: float, steps: list[tuple[float, bool]]) -> None:
    world = World()
    world.deploy(0.0, f=Schedule(period={"seconds": seconds}))
    now = 0.0
    for step, restarted in steps:
        now += step
        if restarted:
            world.restart()
        before, due = len(world.runs), world.schedules.next_time()
        world.look(now)
        assert due is not None and len(world.runs) - before == (due <= now)
        following = world.schedules.next_time()
        # A look at the same time finds nothing more, and the next is at most one period away.
        assert following is not None and now < following <= now + seconds + 1e-5
    assert len(world.runs) <= now / seconds + 1


def test_a_schedule_that_is_no_longer_understood_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    schedules = Schedules()
    with caplog.at_level(logging.ERROR):
        schedules.load(
            [
                StoredSchedule("bad", "ap-1", Schedule(cron=("0 9 * * *", "Atlantis/Capital")), 0.0),
                StoredSchedule("good", "ap-1", MINUTE, 0.0),
            ]
        )
    assert schedules.due(1e6) == ["good"] and "Atlantis/Capital" in caplog.text


def test_a_schedule_that_leaves_the_calendar_ends(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    end = (datetime(9999, 12, 31, 23, tzinfo=UTC) - timedelta(days=1)).timestamp()
    world.deploy(end, f=Schedule(period={"days": 1}))
    world.look(end + 86400)
    assert len(world.runs) == 1 and world.schedules.next_time() is None and "beyond the calendar" in caplog.text


@pytest.mark.parametrize("schedule", [Period(years=1, seconds=0.5), Cron("0 9 * * *", "Europe/Berlin")])
def test_schedules_travel(schedule: Period | Cron) -> None:
    from modal_lite._deployment import _schedule

    sent = _schedule(schedule)
    assert sent is not None
    assert understood(msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Schedule)) == schedule


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(),
        Schedule(period={}),
        Schedule(period={"minutes": -1}),
        Schedule(period={"minutes": 0.5}),
        Schedule(period={"years": 999_999_999}),
        Schedule(cron=("nonsense", "UTC")),
        Schedule(cron=("0 0 30 2 *", "UTC")),
        Schedule(cron=("0 0 * * *", "../../etc/passwd")),
    ],
)
def test_nonsense_is_not_deployed(schedule: Schedule) -> None:
    with pytest.raises(InvalidError):
        check_schedules([function("f", schedule)])
