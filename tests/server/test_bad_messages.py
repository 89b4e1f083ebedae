"""Messages that make no sense: whoever sends them is given up, nobody else notices."""

import concurrent.futures
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modal_lite import _client
from modal_lite._core.client_messages import Ask
from modal_lite._core.library_loop import library
from modal_lite._core.messages import (
    Encoding,
    Failure,
    FailureKind,
    GeneratorDone,
    InputFailed,
    Outputs,
    Ready,
    Returned,
    StartFailed,
    Yielded,
)
from modal_lite._core.requests import (
    CallKind,
    CancelCall,
    DescribeCall,
    ExchangeChunk,
    FindFunction,
    ForgetCall,
    GetCallGraph,
    GetOutput,
    GetStats,
    NextValues,
    OpenMap,
    RunCall,
    StartCall,
)
from modal_lite._scheduler import invariants
from modal_lite._server.sessions import ClientSession
from modal_lite._transport.channel import Channel
from modal_lite.exception import Error, InputCancellation
from tests.server.conftest import lines, plane
from tests.server.functions import note_and_wait, same
from tests.waiting import wait_until

EVERY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.one_of(st.integers(-2, 12), st.sampled_from([-(2**63), 2**63, 2**64 - 1]))
seconds = st.floats(-1, 1)
failures = st.builds(Failure, st.sampled_from(FailureKind), st.text(max_size=5))
NONE: tuple[int, ...] = ()
from_container = st.one_of(
    st.builds(Ready, numbers),
    st.builds(StartFailed, failures, st.just(NONE)),
    st.builds(Outputs, numbers, numbers, numbers, seconds, st.just(NONE)),
    st.builds(InputFailed, numbers, numbers, seconds, failures, st.just(NONE)),
    st.builds(Yielded, numbers, numbers, st.just(NONE)),
    st.builds(GeneratorDone, numbers, numbers, seconds),
    st.builds(Returned, numbers, numbers),
)


def in_loop(function: Callable[[], Any]) -> Any:
    """Calls it on the library's loop."""
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def call() -> None:
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)

    library().post(call)
    return done.result(20)


def leases(link: Any) -> Any:
    """What the container holds."""
    return plane().scheduler.containers[link.container_id].leases


@EVERY
@given(st.lists(from_container, min_size=1, max_size=4))
def test_a_container_may_say_anything(run: Any, tmp_path: Path, messages: list[Any]) -> None:
    """It has a lease, which even numbers stand for. The call ends in one of the ways in which calls end."""
    path = tmp_path / uuid.uuid4().hex
    call = note_and_wait.spawn(str(path))
    wait_until(lambda: lines(path), "the start of the input")

    def say() -> None:
        (link,) = [link for link in plane().links.values() if link.definition.tag == "note_and_wait" and leases(link)]
        lease_id = leases(link)[0].lease_id
        for message in messages:
            if link.broken is None:
                if getattr(message, "lease_id", 1) % 2 == 0:
                    message = msgspec.structs.replace(message, lease_id=lease_id)
                plane()._container_said(link, message, memoryview(b""))
                invariants.validate(plane().scheduler)

    in_loop(say)
    path.with_suffix(".go").touch()
    try:
        call.get(timeout=20)
    except TimeoutError:
        raise
    except (Error, InputCancellation):
        pass
    assert same.remote(2) == 2


ID_STRINGS = ["", "fc-", "in-", "in-x", "fc-of nobody", "in-0123456789abcdef012345-1", "in-0123456789abcdef012345-x"]
ids = st.sampled_from(ID_STRINGS)
kinds = st.sampled_from(CallKind)
requests = st.one_of(
    st.builds(RunCall, ids, ids, st.none() | ids, ids),
    st.builds(StartCall, ids, ids, kinds, st.none() | ids, ids),
    st.builds(OpenMap, ids, ids, kinds, st.none() | ids, ids),
    st.builds(
        ExchangeChunk, ids, numbers, numbers, st.sampled_from(Encoding), st.booleans(), st.just(False), st.none()
    ),
    st.builds(NextValues, ids, numbers),
    st.builds(GetOutput, ids, numbers, st.floats(-1, 0)),
    st.builds(DescribeCall, ids),
    st.builds(CancelCall, ids, st.booleans()),
    st.builds(ForgetCall, ids),
    st.builds(GetCallGraph, ids),
    st.builds(GetStats, ids),
    st.builds(FindFunction, ids, ids),
)


@EVERY
@given(st.lists(requests, min_size=1, max_size=6))
def test_every_question_of_a_container_has_its_answer(run: Any, asked: list[Any]) -> None:
    function_id = same.object_id
    answers: list[int] = []

    def ask() -> None:
        for number, request in enumerate(asked):
            if hasattr(request, "function_id"):
                request = msgspec.structs.replace(request, function_id=function_id)
            session._answers.received(Ask(number, request, ()), memoryview(b""))
            invariants.validate(plane().scheduler)

    def end() -> None:
        session.close()
        invariants.validate(plane().scheduler)

    (pair, other_end) = socket.socketpair()
    placed = SimpleNamespace(open_client=lambda *channel: Channel(pair, *channel))
    with other_end:
        session = in_loop(
            lambda: ClientSession(placed, _client.current_client()._connection, lambda waits: None, False)
        )
        session._answers._reply = lambda number, reply: answers.append(number)
        in_loop(ask)
        wait_until(lambda: sorted(answers) == [*range(len(asked))], "an answer to every question")
        in_loop(end)
    for call_id in set(ID_STRINGS) & set(plane().calls):
        in_loop(lambda: plane().forget(call_id))  # noqa: B023
    assert not session._answers._under_way
    assert same.remote(1) == 1
