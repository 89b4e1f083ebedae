"""Containers that end at any moment of their lives, and the process they are forked from."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from modal_lite.exception import ContainerLostError, InputCancelledError, RemoteError
from tests.server.conftest import alive, lines, template
from tests.server.functions import (
    close_everything,
    die,
    die_once,
    ignore_everything,
    leave_a_child,
    note_and_wait,
    one_of_a_batch_dies,
    one_task_dies,
    one_thread_dies,
    pid,
    same,
    slowly,
    values_then_die,
    values_then_end,
    write_junk,
)
from tests.waiting import PROMPT, wait_until


def test_killed_while_idle(run: Any) -> None:
    first = pid.remote()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: pid.get_current_stats().num_total_runners == 0, "the news of its end")
    assert pid.remote() != first


def test_killed_as_the_next_input_arrives(run: Any) -> None:
    for _ in range(20):
        os.kill(pid.remote(), signal.SIGKILL)
    assert pid.remote()


def test_killed_while_it_starts(run: Any) -> None:
    before = {child.pid for child in template().children()}
    one = pid.with_options(scaledown_window=20)
    call = one.spawn()
    (starting,) = wait_until(lambda: {child.pid for child in template().children()} - before)
    os.kill(starting, signal.SIGKILL)
    assert call.get(timeout=20) not in before


def test_killed_while_it_runs_an_input(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "pids")
    call = note_and_wait.spawn(path)
    (first,) = wait_until(lambda: lines(path))
    os.kill(int(first), signal.SIGKILL)
    wait_until(lambda: len(lines(path)) == 2, "the second attempt")
    Path(path + ".go").touch()
    assert call.get(timeout=20) == int(lines(path)[1]) != int(first)


def test_a_kill_in_a_map_costs_one_input_a_second_run(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "inputs")
    results = []
    for x in slowly.map(range(40), kwargs={"path": path}):
        results.append(x)
        if x == 5:
            os.kill(int(lines(path)[-1].split()[1]), signal.SIGKILL)
    assert results == list(range(40))
    assert len(lines(path)) <= 41


def test_kills_at_random_moments_of_a_large_map(run: Any) -> None:
    results = []
    for x in same.map(range(20_000)):
        results.append(x)
        if x % 4000 == 2000:
            children = template().children()
            os.kill(children[x % len(children)].pid, signal.SIGKILL)
    assert results == list(range(20_000))


def test_killed_between_values_of_a_generator(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "die"
    values = values_then_die.remote_gen(5, str(path))
    seen = [next(values) for _ in range(5)]
    path.touch()
    with pytest.raises(ContainerLostError, match="the generator had delivered 5 values; it cannot be resumed"):
        next(values)
    assert seen == list(range(5))


@pytest.mark.parametrize("how", ["raise", "kill", "term"])
@pytest.mark.parametrize("values", [0, 5])
def test_a_generator_runs_again_only_if_nobody_can_see_it(run: Any, tmp_path: Path, how: str, values: int) -> None:
    path = str(tmp_path / "starts")
    stream = values_then_end.remote_gen(values, how, path)
    seen = [next(stream) for _ in range(values)]
    Path(path + ".go").touch()
    with pytest.raises(KeyError if how == "raise" else ContainerLostError):
        next(stream)
    assert seen == list(range(values))
    if values:
        assert len(lines(path)) == 1
    else:
        assert len(lines(path)) == (3 if how == "raise" else 9)


def test_a_generator_that_dies_at_once_gives_a_part_of_its_values(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "die"
    path.touch()
    seen: list[int] = []
    with pytest.raises(ContainerLostError):
        seen.extend(values_then_die.remote_gen(5, str(path)))
    assert seen == list(range(len(seen)))


WAYS_TO_DIE = {
    "exit": "exited with status 3",
    "segfault": "was killed by SIGSEGV",
    "SIGKILL": "was killed by SIGKILL",
    "SIGABRT": "was killed by SIGABRT",
    # Those it obeys, and takes its leave.
    "SIGTERM": "exited with status 0",
    "SIGINT": "exited with status 130",
    "KeyboardInterrupt": "exited with status 130",
}


@pytest.mark.parametrize(("how", "words"), WAYS_TO_DIE.items())
def test_an_input_that_kills_every_container(run: Any, tmp_path: Path, how: str, words: str) -> None:
    path = tmp_path / "attempts"
    with pytest.raises(ContainerLostError) as caught:
        die.remote(str(path), how, "last words")
    assert words in str(caught.value)
    assert "of die " in str(caught.value)
    assert "last words" in str(caught.value)
    assert len(path.read_text()) == 1 + 8, "it is tried again up to 8 times"
    assert isinstance(caught.value, RemoteError)
    assert "modal_lite" not in str(caught.traceback[-1].path).replace(str(Path(__file__).parents[2]), "")


@pytest.mark.parametrize("function", [one_thread_dies, one_task_dies, one_of_a_batch_dies], ids=lambda f: f.tag)
def test_neighbours_of_an_input_that_kills_every_container(run: Any, function: Any) -> None:
    results = list(function.map(range(12), return_exceptions=True))
    assert isinstance(results[3], ContainerLostError)
    assert "exited with status 7" in str(results[3])
    assert results[:3] + results[4:] == [0, 1, 2, *range(4, 12)]


def test_a_container_that_leaves_with_status_0_under_an_input(run: Any, tmp_path: Path) -> None:
    assert die_once.remote(str(tmp_path / "once")) == "lived"


JUNK = {
    "zeros": bytes(64),
    "a huge length": b"\xff" * 64,
    "text": b"GET / HTTP/1.1\r\n\r\n" * 4,
    "a message of no kind": (2).to_bytes(4, "little") + bytes(8) + b"\x91\x63",
    "part of a frame": (100).to_bytes(4, "little") + bytes(8) + b"x",
}


@pytest.mark.parametrize("kind", sorted(set(JUNK) - {"part of a frame"}))
def test_junk_on_its_sockets_ends_only_that_container(run: Any, kind: str) -> None:
    bystander = pid.remote()
    with pytest.raises(ContainerLostError):
        write_junk.remote(JUNK[kind])
    assert pid.remote() == bystander
    assert list(same.map(range(100))) == list(range(100))


def test_half_a_frame_holds_nobody_else_up(run: Any) -> None:
    call = write_junk.spawn(JUNK["part of a frame"])
    assert list(same.map(range(100))) == list(range(100))
    call.cancel(terminate_containers=True)
    with pytest.raises(InputCancelledError):
        call.get(timeout=20)


def test_a_container_that_closes_its_sockets(run: Any) -> None:
    with pytest.raises(ContainerLostError):
        close_everything.remote()
    assert same.remote(1) == 1


def test_a_function_that_cannot_be_interrupted_is_killed_with_its_app(tmp_path: Path) -> None:
    from modal_lite import App

    app = App("stubborn")
    function = app.function(serialized=True, max_containers=1)(_ignore(ignore_everything.get_raw_f()))
    with app.run():
        path = tmp_path / "started"
        function.spawn(str(path))
        wait_until(path.exists)
        started = time.monotonic()
    assert time.monotonic() - started < PROMPT


def _ignore(function: Any) -> Any:
    return lambda path: function(path)


def test_a_cancelled_input_that_cannot_be_interrupted_costs_its_container(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "started"
    call = ignore_everything.spawn(str(path))
    wait_until(path.exists)
    call.cancel()
    with pytest.raises(InputCancelledError):
        call.get(timeout=1)
    wait_until(lambda: ignore_everything.get_current_stats().num_total_runners == 0, "its end")


def test_what_a_container_has_started_ends_with_it(tmp_path: Path) -> None:
    from modal_lite import App

    app = App("with a child")
    function = app.function(serialized=True, max_containers=1)(_no_arguments(leave_a_child.get_raw_f()))
    with app.run():
        child = function.remote()
        assert alive(child)
    wait_until(lambda: not alive(child), "the end of the container's child")


def _no_arguments(function: Any) -> Any:
    return lambda: function()
