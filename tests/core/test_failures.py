import os
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from modal_lite import exception
from modal_lite._core.failures import MAX_TEXT, pack_exception, unpack_exception
from modal_lite._core.messages import Failure, FailureKind
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.serialization import dumps


def raised(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def sent(exc: BaseException, kind: FailureKind = FailureKind.USER) -> BaseException:
    """The exception as it arrives."""
    failure, payload = pack_exception(exc, kind)
    body = memoryview(bytearray().join(payload.parts))
    return unpack_exception(failure, Payload(payload.sizes, [body] if payload.sizes else []))


def formatted(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class TwoArguments(Exception):
    """Pickle's own way cannot rebuild it."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.a, self.b = a, b


class Annotated(OSError):
    def __init__(self, number: int, path: str, *, extra: str) -> None:
        super().__init__(number, os.strerror(number), path)
        self.extra = extra


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class BrokenRepr(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("held")
        self.lock = threading.Lock()


class BrokenReduce(BrokenRepr):
    def __reduce__(self) -> Any:
        raise RuntimeError("no reduce")


def _explode() -> Any:
    raise RuntimeError("not here")


class UnloadableHere(Exception):
    def __reduce__(self) -> Any:
        return _explode, ()


class NoExceptionAfterwards(Exception):
    def __reduce__(self) -> Any:
        return dict, ()


def test_type_arguments_attributes_and_frames_survive() -> None:
    def fails() -> None:
        error: Any = KeyError("k", 2)
        error.detail = [1]
        raise error

    error = raised(fails)
    arrived: Any = sent(error)
    assert type(arrived) is KeyError
    assert arrived.args == ("k", 2)
    assert vars(arrived) == {"detail": [1]}
    assert formatted(arrived) == formatted(error)


def test_exceptions_with_an_initializer_of_their_own_survive() -> None:
    two: Any = sent(TwoArguments(1, 2))
    assert (type(two), two.a, two.b, str(two)) == (TwoArguments, 1, 2, "1 and 2")
    note: Any = sent(Annotated(2, "/nowhere", extra="e"))
    assert (note.errno, note.filename, note.extra, str(note)) == (
        2,
        "/nowhere",
        "e",
        str(Annotated(2, "/nowhere", extra="")),
    )
    frozen: Any = sent(raised(lambda: _raise(Frozen(3))))
    assert frozen == Frozen(3)
    assert frozen.__traceback__ is not None


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        StopIteration(4),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        ImportError("no", name="n", path="p"),
        FileNotFoundError(2, "no", "f"),
        SyntaxError("s", ("f", 1, 2, "t")),
        exception.ContainerLostError("gone", container_id="ta-1", status=-9),
        exception.UserCodeException(ValueError("x")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_builtin_state_survives(error: Any) -> None:
    arrived: Any = sent(error)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    for name in ("code", "value", "start", "name", "errno", "filename", "lineno", "status", "container_id"):
        assert getattr(arrived, name, None) == getattr(error, name, None)


def test_a_class_defined_in_the_function_survives() -> None:
    class Local(TwoArguments):
        pass

    arrived: Any = sent(Local(1, 2))
    assert type(arrived) is Local
    assert arrived.b == 2


def test_causes_contexts_and_notes_survive_with_their_frames() -> None:
    def fails() -> None:
        try:
            try:
                [].pop()
            except IndexError as error:
                error.add_note("of the first")
                int("x")
        except ValueError as error:
            error.add_note("of the second")
            raise TwoArguments(1, 2) from error

    error = raised(fails)
    arrived = sent(error)
    assert formatted(arrived) == formatted(error)
    assert "of the first" in formatted(arrived)
    assert "int(" in formatted(arrived)
    again = sent(arrived)
    assert formatted(again) == formatted(error)
    hidden = sent(raised(lambda: _raise_from_none()))
    assert hidden.__suppress_context__
    assert isinstance(hidden.__context__, ZeroDivisionError)


def _raise_from_none() -> None:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        raise ValueError("v") from None


def test_groups_survive_with_the_frames_of_their_members() -> None:
    inner = BaseExceptionGroup("inner", [raised(lambda: _raise(TwoArguments(1, 2)))])
    group = BaseExceptionGroup("outer", [raised(lambda: int("x")), inner])
    error = raised(lambda: _raise(group))
    arrived = sent(error)
    assert isinstance(arrived, ExceptionGroup)
    assert formatted(arrived) == formatted(error)


def test_a_chain_that_is_a_circle_survives() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__context__, second.__cause__ = second, first
    arrived = sent(first)
    assert arrived.__context__ is not None
    assert arrived.__context__.__cause__ is arrived


def test_a_failure_says_it_without_unpickling() -> None:
    failure, _ = pack_exception(raised(lambda: int("x")))
    assert failure.kind is FailureKind.USER
    assert failure.message == "ValueError: invalid literal for int() with base 10: 'x'"
    assert failure.type_name == "ValueError"
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert failure.traceback.endswith(f"{failure.message}\n")
    assert pack_exception(ValueError(), FailureKind.INIT)[0].kind is FailureKind.INIT
    assert pack_exception(TwoArguments(1, 2))[0].type_name == f"{__name__}.TwoArguments"


def test_what_cannot_be_pickled_is_told_in_words() -> None:
    failure, payload = pack_exception(raised(lambda: _raise(Unpicklable())))
    assert failure.kind is FailureKind.SERIALIZATION
    assert payload == EMPTY
    arrived = unpack_exception(failure, payload)
    assert type(arrived) is exception.SerializationError
    assert str(arrived).startswith(
        f"Could not pickle the exception Unpicklable('held') of type {__name__}.Unpicklable: "
        "TypeError: cannot pickle '_thread.lock' object\n\nRemote traceback:\nTraceback (most recent call last):\n"
    )


def test_exceptions_that_fail_at_everything() -> None:
    arrived = sent(raised(lambda: _raise(BrokenRepr())))
    assert type(arrived) is BrokenRepr
    broken = sent(raised(lambda: _raise(BrokenReduce())))
    assert type(broken) is exception.SerializationError
    assert "<BrokenReduce whose repr() failed>" in str(broken)
    long, _ = pack_exception(ValueError("x" * 100_000))
    assert len(long.message) < MAX_TEXT + 100


def test_a_bad_context_does_not_hide_the_exception() -> None:
    error = ValueError("good")
    error.__context__ = Unpicklable()
    arrived = sent(error)
    assert type(arrived) is ValueError
    assert type(arrived.__context__) is exception.RemoteError
    assert "Unpicklable: held (this exception could not be pickled)" in str(arrived.__context__)


def test_what_cannot_be_unpickled_here_is_told_in_words() -> None:
    arrived = sent(raised(lambda: _raise(UnloadableHere("original"))))
    assert type(arrived) is exception.ExecutionError
    text = str(arrived)
    assert text.startswith("Could not deserialize remote exception due to local error: RuntimeError: not here\n")
    assert f"{__name__}.UnloadableHere: UnloadableHere: original" in text
    assert "Remote traceback:\nTraceback (most recent call last):\n" in text
    damaged = unpack_exception(Failure(FailureKind.USER, "m"), dumps(1))
    assert type(damaged) is exception.ExecutionError


def test_what_is_no_exception_here_is_told_in_words() -> None:
    arrived = sent(NoExceptionAfterwards("original"))
    assert type(arrived) is exception.ExecutionError
    assert str(arrived).startswith("Got remote exception of incorrect type dict instead of ")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FailureKind.CANCELLED, exception.InputCancelledError),
        (FailureKind.TIMEOUT, exception.FunctionTimeoutError),
        (FailureKind.LOST, exception.ContainerLostError),
        (FailureKind.INVALID, exception.InvalidError),
        (FailureKind.SERIALIZATION, exception.SerializationError),
        (FailureKind.DESERIALIZATION, exception.DeserializationError),
        (FailureKind.INIT, exception.RemoteError),
        (FailureKind.USER, exception.RemoteError),
    ],
)
def test_failures_without_an_exception_have_types_of_their_own(kind: FailureKind, expected: type) -> None:
    arrived = unpack_exception(Failure(kind, "what happened"), EMPTY)
    assert type(arrived) is expected
    assert str(arrived) == "what happened"
