"""Plain functions: leases in, values and failures out."""

import os
import signal

import pytest

from modal_lite._core.ids import input_id
from modal_lite._core.messages import Encoding, FailureKind, InputFailed, Lease, Outputs
from modal_lite._core.payload import Payload
from modal_lite._core.serialization import dumps
from tests.worker.harness import CALL_ID, Plane


def test_values_come_in_order(plane: Plane) -> None:
    container = plane.start("same").ready()
    for count in (1, 2, 256, 1000):
        assert container.results(container.lease(list(range(count)))) == list(range(count))


def test_leases_may_wait_in_the_socket(plane: Plane) -> None:
    container = plane.start("same").ready()
    leases = [container.lease([n] * 10) for n in range(20)]
    assert [container.results(lease) for lease in leases] == [[n] * 10 for n in range(20)]


def test_a_lease_is_a_range_of_its_chunk(plane: Plane) -> None:
    container = plane.start("same").ready()
    payload = dumps((["a", "b", "c", "d"], {}))
    container.data.send(Lease(7, CALL_ID, 100, 101, 103, Encoding.SINGLE, payload.sizes), payload)
    message, values = container.recv()
    assert (message.start, message.count, values) == (101, 2, ["b", "c"])


def test_encodings(plane: Plane) -> None:
    container = plane.start("add").ready()
    assert container.results(container.call(1, 2, z=3)) == [6]
    assert container.results(container.lease([1, 2], kwargs={"z": 10})) == [11, 12]
    assert container.results(container.lease([(1, 2), (3,)], star=True)) == [3, 3]
    assert container.results(container.lease([(1, 2), (3,)], star=True, kwargs={"z": 5})) == [8, 8]


@pytest.mark.parametrize(("name", "expected"), [("callable_object", 21), ("partial_add", 107)])
def test_callables_that_are_no_functions(plane: Plane, name: str, expected: int) -> None:
    container = plane.start(name).ready()
    assert container.results(container.lease([7])) == [expected]


def test_failures_keep_their_place(plane: Plane) -> None:
    container = plane.start("fail_if_odd").ready()
    results = container.results(container.lease(list(range(6))))
    assert results[0::2] == [0, 2, 4]
    assert [failure.kind for failure in results[1::2]] == [FailureKind.USER] * 3
    assert results[1].message == "ValueError: odd: 1"
    assert "functions_to_run.py" in results[1].traceback
    assert "sync_executor" not in results[1].traceback


def test_system_exit_is_a_failure_like_others(plane: Plane) -> None:
    container = plane.start("raise_by_name").ready()
    (failure,) = container.results(container.call("SystemExit"))
    assert failure.type_name == "SystemExit"
    (failure,) = container.results(container.call("SystemExit"))
    assert failure.kind is FailureKind.USER


def test_keyboard_interrupt_ends_the_container(plane: Plane) -> None:
    container = plane.start("raise_by_name").ready()
    container.call("KeyboardInterrupt")
    assert container.exit_status() == 130
    assert container.output() == ("", "")


def test_batching_does_not_show_in_what_is_returned(plane: Plane) -> None:
    container = plane.start("accumulate").ready()
    seen = [value["seen"] for value in container.results(container.lease([1, 2, 3]))]
    assert seen == [[1], [1, 2], [1, 2, 3]]


def test_batching_does_not_show_in_keyword_arguments(plane: Plane) -> None:
    container = plane.start("change_keyword").ready()
    assert container.results(container.lease([1, 2, 3], kwargs={"seen": []})) == [1, 1, 1]


def test_only_the_guilty_value_fails(plane: Plane) -> None:
    container = plane.start("value_of_kind").ready()
    results = container.results(container.lease([1, "lock", (2, [3]), "generator", "coroutine", "end"]))
    assert [results[0], results[2], results[5]] == [1, (2, [3]), "end"]
    lock, generator, coroutine = results[1], results[3], results[4]
    assert lock.kind is FailureKind.SERIALIZATION
    assert lock.message == (
        "The result of value_of_kind, of type _thread.lock, could not be pickled: "
        "TypeError: cannot pickle '_thread.lock' object"
    )
    assert generator.kind is FailureKind.INVALID
    assert "is_generator=True" in generator.message
    assert coroutine.kind is FailureKind.INVALID
    assert "coroutine" in coroutine.message


def test_arguments_that_cannot_be_unpickled(plane: Plane) -> None:
    container = plane.start("same").ready()
    data = b"cno_such_module\nThing\n."
    container.data.send(Lease(1, CALL_ID, 0, 0, 3, Encoding.SINGLE, (len(data),)), Payload((len(data),), [data]))
    for index in range(3):
        message, _ = container.recv()
        assert isinstance(message, InputFailed)
        assert (message.index, message.failure.kind) == (index, FailureKind.DESERIALIZATION)
        assert "ModuleNotFoundError: No module named 'no_such_module'" in message.failure.message
    assert container.results(container.call(5)) == [5]


def test_a_hundred_megabytes_go_there_and_back(plane: Plane) -> None:
    container = plane.start("same").ready()
    data = os.urandom(1 << 20) * 100
    lease = container.call(data)
    assert container.results(lease) == [data]


def test_large_buffers_go_there_and_back(plane: Plane) -> None:
    container = plane.start("same").ready()
    data = bytearray(os.urandom(1 << 20))
    assert container.results(container.lease([data, 1, data])) == [data, 1, data]


def test_slow_results_do_not_wait_for_the_next(plane: Plane) -> None:
    container = plane.start("sleep_then").ready()
    container.lease([0.01, 60])
    message, values = container.recv()
    assert isinstance(message, Outputs)
    assert values == [0.01]
    assert message.elapsed >= 0.01


def test_a_killed_container_names_the_input_that_killed_it(plane: Plane) -> None:
    container = plane.start("kill_self").ready()
    lease = container.lease(list(range(10)))
    assert container.exit_status() == -signal.SIGKILL
    assert container.placed.running() == (lease, 3)


def test_an_idle_container_runs_nothing(plane: Plane) -> None:
    container = plane.start("same").ready()
    container.results(container.lease([1, 2]))
    container.stop()
    assert container.placed.running() is None


def test_surroundings(plane: Plane, tmp_path: object) -> None:
    container = plane.start("about_me", cwd=str(tmp_path), env={"SET_FOR_THIS": "value"}).ready()
    (first,) = container.results(container.call(1))
    assert first["inputs"] == [input_id(CALL_ID, 0)] * 2
    assert (first["cwd"], first["variable"]) == (str(tmp_path), "value")
    assert first["main_thread"]
    assert first["stdin"] == ""
    assert first["sigchld"]
    assert len(first["fds"]) <= 3 + 3 + 2 + 1 + 1, first["fds"]
    other = plane.start("about_me").ready()
    (second,) = other.results(other.call(1))
    assert second["random"] != first["random"]


def test_output_is_there_when_the_input_is_reported(plane: Plane) -> None:
    container = plane.start("say").ready()
    container.results(container.call("no newline"))
    assert os.read(container.placed.stdout, 100) == b"no newline"
    assert os.read(container.placed.stderr, 100) == b"error no newline\n"


CHILDREN = {"in_pool": [4, 4], "run_command": "4\n", "terminate_forks": 4}


@pytest.mark.parametrize(("name", "expected"), CHILDREN.items())
def test_functions_may_start_processes(plane: Plane, name: str, expected: object) -> None:
    container = plane.start(name).ready()
    assert container.results(container.call(4)) == [expected]
    assert container.results(container.call(4)) == [expected]
