"""Classes: handles, parameters, pools, inheritance, local use, and what is said of misuse."""

import inspect
import os
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import modal_lite
from modal_lite._core.serialization import dumps, loads
from modal_lite.exception import ExecutionError, InvalidError, SerializationError
from tests.client import classes
from tests.client.classes import Decorated, Derived, Here, Local, Plain, Pool, use
from tests.waiting import wait_until

scratch = modal_lite.App("scratch")


@pytest.fixture(scope="module", autouse=True)
def run() -> Iterator[Any]:
    with classes.app.run() as running:
        yield running


# --- calling ---------------------------------------------------------------------------------------------------------


def test_a_method_is_a_function_of_the_instance() -> None:
    plain = Plain(10, extra=1)
    assert isinstance(plain.compute, modal_lite.Function)
    assert plain.compute.remote(4) == 45
    assert list(plain.compute.map(range(3))) == [33, 36, 39]
    assert list(plain.compute.starmap([(0,), (1,)])) == [33, 36]
    assert plain.compute.spawn(0).get(timeout=30) == 33
    assert plain.compute.spawn_map(range(2)).get(index=1, timeout=30) == 36
    plain.compute.for_each(range(2))
    assert plain.compute.tag == "Plain.compute"
    assert plain.compute.get_current_stats().num_total_runners >= 1


def test_methods_of_every_kind_share_a_container() -> None:
    plain = Plain(5)
    assert plain.compute_async.remote(1) == 6
    assert list(plain.count.remote_gen(2)) == [5, 6]
    assert list(plain.count_async.remote_gen(2)) == [5, 6]
    assert list(plain.count_indirectly.remote_gen(2)) == [0, 1]
    assert plain.compute.remote(0) == 15


async def test_methods_have_twins() -> None:
    assert await Plain(10).compute.remote.aio(4) == 42
    assert [x async for x in Plain(10).count.remote_gen.aio(2)] == [10, 11]


def test_the_methods_own_exception() -> None:
    with pytest.raises(ValueError, match="failed at 10"):
        Plain(10).fail.remote()


def test_inside_a_method_the_others_are_functions_too() -> None:
    assert Plain(1).locally.remote(1) == 7
    assert Plain(1).elsewhere.remote(1) == (6, 9)


def test_handles_are_arguments() -> None:
    assert use.remote(Plain(10), Plain, Plain(7).compute) == (33, 63, 27)


def test_a_handle_from_elsewhere_has_no_definition() -> None:
    plain = loads(dumps(Plain(2)))
    with pytest.raises(ExecutionError, match="The definition of the class Plain is missing here"):
        plain.base  # noqa: B018


def test_the_call_graph_names_the_method() -> None:
    call = Plain(3).compute.spawn(1)
    assert call.get(timeout=30) == 12
    [info] = call.get_call_graph()
    assert (info.function_name, info.module_name) == ("Plain.compute", "tests.client.classes")


def test_failures_name_the_method() -> None:
    with pytest.raises(InvalidError, match=r"Plain.count is a generator function and cannot be called with .remote"):
        Plain().count.remote(1)
    with pytest.raises(TypeError, match=r"Use Plain.compute.remote\(...\)"):
        Plain().compute(1)


# --- parameters and pools --------------------------------------------------------------------------------------------


def test_parameters_are_attributes_there_and_here() -> None:
    pool = Pool(key="k", share=2)
    assert pool.values.remote() == ("k", 5, 2.0, b"d", True)
    assert (pool.key, pool.number, pool.share) == ("k", 5, 2.0)


def test_equal_parameters_share_containers_and_others_do_not() -> None:
    _, first, calls = Pool(key="shared").where.remote()
    assert Pool(number=5, key="".join(["sha", "red"])).where.remote() == ("shared", first, calls + 1)
    assert Pool(key="other").where.remote()[1] != first


def test_warm_containers_are_those_of_complete_instances() -> None:
    pool = Pool(key="warm")
    pool.keep_warm(2)
    wait_until(lambda: pool.where.get_current_stats().num_total_runners == 2, "two containers")
    pool.update_autoscaler(min_containers=0, scaledown_window=0.1)
    wait_until(lambda: pool.where.get_current_stats().num_total_runners == 0, "none any more")


def test_other_options_mean_other_containers() -> None:
    other = Plain.with_options(env={"COLOUR": "blue"}, max_containers=1)(10)
    assert other.compute.remote(1) == 33
    third = Plain(10).compute.with_options(max_containers=2)
    assert third.remote(1) == 33
    assert len({f.object_id for f in (other.compute, third, Plain(10).compute)}) == 3


def test_arguments_that_cannot_be_pickled() -> None:
    with pytest.raises(SerializationError, match=r"An argument of Plain\(...\) cannot be pickled"):
        Plain(threading.Lock()).compute.remote(1)


WRONG = {
    "Parameters are given by name: Pool(key=..., number=..., share=..., data=...).": lambda: Pool("x"),
    "Missing required parameter: key. Pool is made by Pool(key=..., number=..., share=..., data=...).": lambda: Pool(),
    "Pool has no parameter fixed; it is made by Pool(key=..., number=..., share=..., data=...).": lambda: Pool(
        key="x", fixed=False
    ),
    "The parameter number of Pool is of type int, not True.": lambda: Pool(key="x", number=True),
    "The parameter share of Pool is of type float, not '1'.": lambda: Pool(key="x", share="1"),
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_wrong_parameters(message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        WRONG[message]()
    assert str(caught.value) == message
    assert [entry for entry in caught.traceback if "/modal_lite/" in str(entry.path)] == []


def test_wrong_arguments_of_an_init() -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        Plain(1, 2, 3)


# --- inheritance -----------------------------------------------------------------------------------------------------


def test_hooks_methods_and_parameters_are_inherited() -> None:
    assert Decorated(size=2).inherited.remote() == (["base", "derived"], 2)
    assert Derived().inherited.remote() == (["base", "derived"], 1)
    assert Derived(colour="blue").overridden.remote() == "blue derived of base"
    assert Decorated().overridden.remote() == "derived of base"
    assert Derived(colour="green").overridden.local() == "green derived of base"


# --- here ------------------------------------------------------------------------------------------------------------


def test_attributes_and_undecorated_methods_are_here() -> None:
    plain = Plain(2)
    assert (plain.base, plain.factor, plain.helper(1)) == (2, 3, 3)
    plain.base = 5
    assert plain.compute.local(0) == 15
    assert Plain.factor == 3
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        plain.nothing  # noqa: B018


def test_local_enters_once_and_only_for_methods() -> None:
    Here.entered.clear()
    local = Local()
    assert (local.label, local.undecorated()) == ("label", "undecorated")
    assert Here.entered == []
    assert (local.plain.local(), local.plain.local()) == (2, 2)
    assert Here.entered == ["sync", "async"]


async def test_local_async_methods_enter_in_their_loop() -> None:
    Here.entered.clear()
    local = Local()
    with pytest.raises(InvalidError, match="Local has async enter hooks"):
        local.plain.local()
    Here.entered.clear()
    assert await local.awaited.local() == 2
    assert [x async for x in local.streamed.local()] == [2]
    assert local.plain.local() == 2


# --- misuse ----------------------------------------------------------------------------------------------------------


def test_a_method_of_the_class_itself() -> None:
    with pytest.raises(AttributeError) as caught:
        Plain.compute  # noqa: B018
    assert str(caught.value) == (
        "compute is a method of the class Plain. Did you forget to instantiate the class first? "
        "Write Plain(...).compute."
    )


def test_without_parentheses() -> None:
    for decorator, name in ((modal_lite.method, "method"), (modal_lite.enter, "enter"), (modal_lite.exit, "exit")):
        with pytest.raises(InvalidError, match=rf"write `@modal_lite.{name}\(\)` above the function"):
            decorator(test_without_parentheses)  # type: ignore[operator]
    with pytest.raises(InvalidError, match=r"write `@app.cls\(\)` above the class"):
        scratch.cls(Here)  # type: ignore[arg-type]


def test_hooks_belong_to_classes() -> None:
    def function() -> None: ...

    with pytest.raises(InvalidError, match="takes methods of a class decorated with `@app.cls"):
        modal_lite.enter()(function)
    function.__qualname__ = "Model.start"
    with pytest.raises(InvalidError, match="must take no arguments but self"):
        modal_lite.exit()(function)
    with pytest.raises(InvalidError, match=r"write `@app.cls\(\)` above the class"):
        scratch.function()(modal_lite.method()(function))


def test_classes_and_functions_are_told_apart() -> None:
    with pytest.raises(InvalidError, match=r"Write `@app.cls\(\)` above it instead"):
        scratch.function()(Here)
    with pytest.raises(InvalidError, match=r"`@app.function\(\)` is for functions"):
        scratch.cls()(test_without_parentheses)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="serialized=True"):

        @scratch.cls()
        class NotGlobal: ...


def _decorated(**body: Any) -> Any:
    return scratch.cls(serialized=True)(type("Model", (), body))


def test_parameters_that_cannot_be() -> None:
    parameter = modal_lite.parameter()
    with pytest.raises(InvalidError, match="Model has both an `__init__` and parameter"):
        _decorated(__init__=lambda self: None, x=parameter, __annotations__={"x": int})
    with pytest.raises(InvalidError, match="has the type list, which a parameter cannot have: use str, int, bool"):
        _decorated(x=parameter, __annotations__={"x": list})
    with pytest.raises(InvalidError, match="The parameter x of Model needs a type"):
        _decorated(x=parameter)
    with pytest.raises(InvalidError, match="has init=False, so it needs a default"):
        _decorated(x=modal_lite.parameter(init=False), __annotations__={"x": "int"})


def test_one_name_for_two_classes_in_two_apps() -> None:
    first, second = modal_lite.App(), modal_lite.App()
    first.cls(serialized=True)(type("Model", (), {}))
    second.cls(serialized=True)(type("Model", (), {}))
    with pytest.raises(InvalidError, match="a class named Model"):
        first.include(second)


def test_not_running() -> None:
    class Model:
        @modal_lite.method()
        def call(self) -> None: ...

    decorated: Any = scratch.cls(serialized=True)(Model)
    with pytest.raises(ExecutionError, match="The class Model has not been hydrated"):
        decorated().call.remote()


def test_a_serialized_class() -> None:
    app = modal_lite.App()

    @app.cls(serialized=True)
    class Model:
        word: str = modal_lite.parameter(default="w")

        @modal_lite.method()
        def first(self) -> str:
            return self.word

        @modal_lite.method()
        def second(self) -> tuple[str, str, bool]:
            return self.first.local(), self.first.remote(), os.environ.get("MODAL_IS_REMOTE") == "1"

    with app.run():
        assert Model(word="v").second.remote() == ("v", "v", True)


def test_an_instance_of_the_users_class_can_be_pickled() -> None:
    instance = Plain(4)._obj.instance()  # type: ignore[attr-defined]
    assert pickle.loads(dumps(instance).parts[0]).base == 4


def test_signatures() -> None:
    assert "x" in inspect.signature(Plain().compute.get_raw_f()).parameters
