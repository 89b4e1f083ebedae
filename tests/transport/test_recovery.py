"""What a client asks again of a server that was started anew."""

import msgspec
import pytest

from modal_lite._core.messages import Encoding
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import (
    CallKind,
    ExchangeChunk,
    ForgetCall,
    GetStats,
    NextValues,
    OpenMap,
    Output,
    OutputBatch,
    StartCall,
)
from modal_lite._transport.recovery import Recovery
from modal_lite.exception import ConnectionError

OPEN = OpenMap("fc-1", "fu-1", CallKind.MAPPED, None)
DATA = Payload((1,), [b"x"])


def chunk(start: int, count: int, closed: bool = False) -> ExchangeChunk:
    return ExchangeChunk("fc-1", start, count, Encoding.SINGLE, closed, True, start)


def with_map() -> Recovery:
    recovery = Recovery()
    recovery.asked(OPEN, EMPTY)
    recovery.asked(chunk(0, 10), DATA)
    recovery.asked(chunk(10, 5), DATA)
    return recovery


def again(recovery: Recovery) -> list[tuple[int, list[tuple[int, int]], bool]]:
    return [
        (request.start, request.ranges, request.closed)
        for request, _ in recovery.calls_again()
        if isinstance(request, ExchangeChunk)
    ]


def test_inputs_without_results_are_sent_again() -> None:
    recovery = with_map()
    recovery.answered(chunk(0, 10), OutputBatch([Output(7, 1), Output(0, 3)]))
    assert next(iter(recovery.calls_again()))[0] is OPEN
    assert again(recovery) == [(0, [(3, 7), (8, 10)], False), (10, [(10, 15)], False)]
    recovery.answered(chunk(0, 0), OutputBatch([Output(3, 4), Output(8, 2)]))
    assert again(recovery) == [(10, [(10, 15)], False)]


def test_the_end_of_the_inputs_comes_last() -> None:
    recovery = with_map()
    recovery.asked(chunk(15, 1, closed=True), DATA)
    assert again(recovery)[-1] == (0, [(0, 0)], True) and not any(closed for _, _, closed in again(recovery)[:-1])


def test_an_open_exchange_is_asked_without_its_inputs() -> None:
    request, payload = with_map().again(chunk(10, 5), DATA)
    assert request == chunk(0, 0).__class__("fc-1", 0, 0, Encoding.SINGLE, False, True, 10) and payload is EMPTY


def test_finished_and_forgotten_maps_are_gone() -> None:
    recovery = with_map()
    recovery.asked(ForgetCall("fc-1"), EMPTY)
    assert list(recovery.calls_again()) == []
    recovery = with_map()
    recovery.answered(chunk(0, 0), OutputBatch([Output(0, 10), Output(10, 5)], finished=True))
    assert list(recovery.calls_again()) == []


def test_a_generator_is_started_again_until_it_has_delivered() -> None:
    start, values = StartCall("fc-2", "fu-1", CallKind.GENERATOR, None), NextValues("fc-2", 0)
    recovery = Recovery()
    recovery.asked(start, DATA)
    assert list(recovery.calls_again()) == [(start, DATA)] and recovery.again(values, EMPTY) == (values, EMPTY)
    assert recovery.is_brought_back(start)
    recovery.answered(values, OutputBatch([Output(0, 1)]))
    assert list(recovery.calls_again()) == []
    with pytest.raises(ConnectionError, match="cannot be run again"):
        recovery.again(values, EMPTY)


def test_other_requests_are_asked_as_they_are() -> None:
    request = GetStats("fu-1")
    assert Recovery().again(request, EMPTY) == (request, EMPTY)


def test_a_spawned_call_says_that_it_is_made_again() -> None:
    request = StartCall("fc-1", "fu-1", CallKind.SPAWNED, None)
    assert Recovery().again(request, DATA) == (msgspec.structs.replace(request, again=True), DATA)
