"""The options of `@app.function()` and `with_options`: checked where they are written, and honoured."""

import math
import warnings
from typing import Any

import pytest

import modal_lite
from modal_lite import _options
from modal_lite.exception import InvalidError
from tests.client.functions import app, pid, same, variables

scratch = modal_lite.App("scratch")


def plain() -> int:
    return 1


def needs_one(x: int, y: int = 0) -> int:
    return x + y


BAD = {
    "min_containers=-1: must be an int of at least 0.": {"min_containers": -1},
    "min_containers=1.5: must be an int of at least 0.": {"min_containers": 1.5},
    "min_containers=True: must be an int of at least 0.": {"min_containers": True},
    "buffer_containers='2': must be an int of at least 0.": {"buffer_containers": "2"},
    "max_containers=0: must be an int of at least 1.": {"max_containers": 0},
    "scaledown_window=0: must be a positive number of seconds.": {"scaledown_window": 0},
    "timeout=-3: must be a positive number of seconds.": {"timeout": -3},
    "timeout=inf: must be a positive number of seconds.": {"timeout": math.inf},
    "timeout='5': must be a positive number of seconds.": {"timeout": "5"},
    "startup_timeout=nan: must be a positive number of seconds.": {"startup_timeout": math.nan},
    "min_containers=3 is over max_containers=2; it can be at most that.": {"min_containers": 3, "max_containers": 2},
    "keep_warm= is the former name of min_containers=; give one of them.": {"keep_warm": 1, "min_containers": 1},
    "concurrency_limit= is the former name of max_containers=; give one of them.": {
        "concurrency_limit": 1,
        "max_containers": 1,
    },
    "cpu=0: must be a positive number of cores, or a pair of them: (request, limit).": {"cpu": 0},
    "cpu=(1, nan): must be a positive number of cores, or a pair of them: (request, limit).": {"cpu": (1, math.nan)},
    "cpu=(2, 1): the limit is below the request; write (request, limit).": {"cpu": (2, 1)},
    "memory=1.5: must be an int of at least 1, in MiB, or a pair of them: (request, limit).": {"memory": 1.5},
    "memory=(1, 2, 3): must be an int of at least 1, in MiB, or a pair of them: (request, limit).": {
        "memory": (1, 2, 3)
    },
    "memory=(512, 256): the limit is below the request; write (request, limit).": {"memory": (512, 256)},
    'gpu=\'T4:0\': must be a kind like "A100", with a number of devices like "A100:2", or a list of alternatives.': {
        "gpu": "T4:0"
    },
    'gpu=2: must be a kind like "A100", with a number of devices like "A100:2", or a list of alternatives.': {"gpu": 2},
    "secrets= takes a list of modal_lite.Secret, not 'str'.": {"secrets": ["name"]},
    "env= takes a dict of strings, not 'list'.": {"env": [("A", "b")]},
}
BAD_HERE = {
    "image= takes a modal_lite.Image such as Image.debian_slim(), not 'debian'.": {"image": "debian"},
    "schedule= takes a modal_lite.Period or a modal_lite.Cron, not 5.": {"schedule": 5},
}
"""What variants have no options for."""


@pytest.mark.parametrize("message", sorted(BAD | BAD_HERE))
def test_bad_options_of_a_function(message: str) -> None:
    options: dict[str, Any] = (BAD | BAD_HERE)[message]
    with pytest.raises(InvalidError) as caught:
        scratch.function(**options)(plain)
    assert str(caught.value) == message
    assert [entry for entry in caught.traceback if "/modal_lite/" in str(entry.path)] == []


@pytest.mark.parametrize("message", sorted(m for m in BAD if "former name" not in m and "startup" not in m))
def test_bad_options_of_a_variant(message: str) -> None:
    options: dict[str, Any] = BAD[message]
    with pytest.raises(InvalidError) as caught:
        same.with_options(**options)
    assert str(caught.value) == message


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="max_contaners"):
        scratch.function(max_contaners=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="schedule"):
        same.with_options(schedule=3)  # type: ignore[call-arg]


class HasMethods:
    def method(self) -> None: ...

    @staticmethod
    def static() -> None: ...


def test_what_cannot_be_decorated() -> None:
    def inner() -> None: ...

    attempts: list[tuple[Any, str]] = [
        (lambda: 1, r"A lambda is not at the global scope .*serialized=True"),
        (inner, r"The function test_what_cannot.*inner is not at the global scope .*serialized=True"),
        (HasMethods, r"was put on the class HasMethods"),
        (HasMethods.method, r"HasMethods\.method, a method"),
        (vars(HasMethods)["static"], r"not a staticmethod"),
        (5, r"takes a function, not 5"),
    ]
    for target, message in attempts:
        with pytest.raises(InvalidError, match=message):
            scratch.function()(target)
    with pytest.raises(InvalidError, match=r"forget parentheses\?.*write `@app\.function\(\)`"):
        scratch.function(plain)  # type: ignore[arg-type]


def test_options_without_effect_are_said_once_at_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_options, "_said", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            scratch.function(mounts=["a"], interactive=True, name="a")(plain)
        same.with_options(volumes={"/data": object()})
        modal_lite.App("with an image", image=modal_lite.Image.debian_slim())
    assert [str(w.message).split("=")[0] for w in caught] == [
        "The option mounts",
        "The option interactive",
        "The option volumes",
        "The option image",
    ]
    assert {w.filename for w in caught} == {__file__}


def test_variables_of_env_and_secrets(run: Any) -> None:
    there = variables.remote()
    assert (there["FROM_ENV"], there["ONE"]) == ("env", "1")
    assert there["BOTH"] == "env", "env= wins over secrets="
    assert there["MODAL_IS_REMOTE"] == "1"
    assert there["MODAL_TASK_ID"].startswith("ta-")
    assert there["MODAL_ENVIRONMENT"] == "main"
    assert "FROM_ENV" not in __import__("os").environ


def test_a_variant_replaces_the_variables(run: Any) -> None:
    secret = modal_lite.Secret.from_dict
    variant = variables.with_options(
        env={"FROM_ENV": "new"}, secrets=[secret({"A": "1", "B": "1"}), secret({"A": "2"})]
    )
    there = variant.remote()
    assert (there["FROM_ENV"], there["A"], there["B"]) == ("new", "2", "1")
    assert "BOTH" not in there and "ONE" not in there
    assert variables.with_options(timeout=100).remote()["FROM_ENV"] == "env"


def test_variants_have_pools_and_ids_of_their_own(run: Any) -> None:
    variant = pid.with_options(scaledown_window=30)
    of_variant = variant.with_options(timeout=20)
    pids = {f.remote() for f in (pid, variant, of_variant)}
    assert len(pids) == 3
    assert len({pid.object_id, variant.object_id, of_variant.object_id}) == 3
    assert {pid.remote(), variant.remote(), of_variant.remote()} == pids
    assert variant.tag == of_variant.tag == "pid"
    assert app.registered_functions["pid"] is pid


def test_variants_work_again_when_the_app_runs_again() -> None:
    variant = same.with_options(timeout=30)
    other = modal_lite.App("again")
    function = other.function(serialized=True)(lambda x: x)
    variant = function.with_options(timeout=30).with_options(retries=1)
    for i in range(2):
        with other.run():
            assert variant.remote(i) == i


def test_update_autoscaler_is_checked(run: Any) -> None:
    with pytest.raises(InvalidError, match="max_containers=0"):
        same.update_autoscaler(max_containers=0)
    with pytest.raises(InvalidError, match="min_containers=3 is over max_containers=2"):
        same.update_autoscaler(min_containers=3, max_containers=2)
    for size in (-1, None, 2.0, True):
        with pytest.raises(InvalidError, match=rf"warm_pool_size={size}: must be an int of at least 0\."):
            same.keep_warm(size)  # type: ignore[arg-type]
    limited = same.with_options(max_containers=2)
    with pytest.raises(InvalidError, match=r"min_containers=3 of same is over its max_containers=2; raise that first"):
        limited.keep_warm(3)
    assert limited.remote(1) == 1


def test_former_names_work() -> None:
    function = scratch.function(keep_warm=1, concurrency_limit=2, container_idle_timeout=5, name="old")(plain)
    assert function.tag == "old"


def test_schedules_and_places_are_said_to_have_no_effect_where_the_app_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_options, "_said", set())
    scheduled = modal_lite.App("scheduled")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduled.function(schedule=modal_lite.Period(days=1))(plain)
        scheduled.function(schedule=modal_lite.Cron("0 9 * * 1-5"), name="second", region="eu", cloud="any")(plain)
        assert caught == []
        for _ in range(2):
            with scheduled.run():
                pass
    assert [str(w.message) for w in caught] == [
        "The schedule of plain has no effect in app.run(): only functions of a deployed app run by themselves.",
        "The option region= of second has no effect here: it chooses machines of a cluster.",
        "The option cloud= of second has no effect here: it chooses machines of a cluster.",
    ]
    assert {w.filename for w in caught} == {__file__}


def test_a_function_with_a_schedule_needs_no_arguments() -> None:
    daily = modal_lite.Period(days=1)
    with pytest.raises(InvalidError) as caught:
        scratch.function(schedule=daily)(needs_one)
    assert str(caught.value) == (
        "needs_one has a schedule, which calls it without arguments: missing a required argument: 'x'. "
        "Give its parameters defaults."
    )
