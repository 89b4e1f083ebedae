"""Streams that are never iterated say so, once."""

import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest

from modal_lite.exception import InvalidError
from tests.client.functions import count_to, same

NEVER = "were never consumed, so it was never executed"

MAKE: dict[str, Callable[[], Any]] = {
    "same.map()": lambda: same.map([1]),
    "same.starmap()": lambda: same.starmap([(1,)]),
    "count_to.remote_gen()": lambda: count_to.remote_gen(3),
}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    gc.collect()
    return [record.getMessage() for record in caplog.records if NEVER in record.getMessage()]


@pytest.mark.parametrize("name", sorted(MAKE))
def test_what_is_never_iterated_warns_once(run: Any, caplog: pytest.LogCaptureFixture, name: str) -> None:
    with caplog.at_level(logging.WARNING, "modal_lite"):
        MAKE[name]()
        assert len(said(caplog)) == 1
    assert name in said(caplog)[0]


@pytest.mark.parametrize("name", sorted(MAKE))
async def test_the_aio_form_warns_as_well(run: Any, caplog: pytest.LogCaptureFixture, name: str) -> None:
    function, method = {"same": same, "count_to": count_to}[name.split(".")[0]], name.split(".")[1][:-2]
    argument: Any = 3 if method == "remote_gen" else [(1,)]
    getattr(function, method).aio(argument)
    assert len(said(caplog)) == 1


def test_what_is_iterated_does_not_warn(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    for make in MAKE.values():
        assert list(make())
        next(iter(make()))
        make().close()
    assert said(caplog) == []


async def test_a_refused_one_does_not_warn(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("same.map()", "same.starmap()"):
        with pytest.raises(InvalidError):
            list(MAKE[name]())
    assert said(caplog) == []


def test_bad_arguments_do_not_warn(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    for bad in (lambda: same.map(), lambda: same.map(5), lambda: same.map([1], order=True)):
        with pytest.raises(TypeError):
            bad()
    assert said(caplog) == []


def test_a_second_iteration_is_empty(run: Any) -> None:
    results = same.map([1, 2])
    assert list(results) == [1, 2]
    assert list(results) == []


def test_next_and_for_share_one_iteration(run: Any) -> None:
    results = same.map(range(5))
    assert next(results) == 0
    assert [x for x in results] == [1, 2, 3, 4]
