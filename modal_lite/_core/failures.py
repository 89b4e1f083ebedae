"""Exceptions as they travel: what a function raised is packed in the container and raised again in the caller.

The pickled body is `(exceptions, links)`: the exception itself first, then its causes, its contexts and the members of
groups, each of them once; a link says what pickle leaves out of the exception at the same place.
"""

import traceback
from typing import Any, NamedTuple

from modal_lite._core.messages import Failure, FailureKind
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.serialization import dumps, loads
from modal_lite._core.tracebacks import attach_traceback, pack_traceback, set_chain, without_library_frames
from modal_lite.exception import (
    ContainerLostError,
    DeserializationError,
    Error,
    ExecutionError,
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
    RemoteError,
    SerializationError,
)

MAX_TEXT = 10 << 10
"""Characters of a repr or of a message that travel."""

_EXCEPTIONS: dict[FailureKind, type[Error]] = {
    FailureKind.CANCELLED: InputCancelledError,
    FailureKind.TIMEOUT: FunctionTimeoutError,
    FailureKind.LOST: ContainerLostError,
    FailureKind.INVALID: InvalidError,
    FailureKind.SERIALIZATION: SerializationError,
    FailureKind.DESERIALIZATION: DeserializationError,
}


class _Link(NamedTuple):
    """What pickle leaves out of an exception; other exceptions are named by their places."""

    cause: int | None
    context: int | None
    suppress_context: bool
    notes: list[str] | None
    traceback: bytes


def pack_exception(exc: BaseException, kind: FailureKind = FailureKind.USER) -> tuple[Failure, Payload]:
    """The failure and the pickled exception, with its chain, notes, attributes and tracebacks.

    An exception that cannot be pickled becomes a failure of kind SERIALIZATION without a payload. Never raises for what
    an exception's own methods raise.
    """
    text = _traceback_text(exc)
    type_name = _type_name(exc)
    chain = _chain(exc)
    places = {id(member): place for place, member in enumerate(chain)}
    links = [tuple(_link(member, places)) for member in chain]
    try:
        try:
            payload = dumps((chain, links))
        except Exception:
            # One bad context must not hide the exception itself.
            payload = dumps(([exc, *map(_or_stand_in, chain[1:])], links))
    except Exception as error:
        reason = f"{type(error).__name__}: {_str(error)}"
        message = f"Could not pickle the exception {_repr(exc)} of type {type_name}: {reason}"
        return Failure(FailureKind.SERIALIZATION, message, type_name, text), EMPTY
    return Failure(kind, f"{type(exc).__name__}: {_str(exc)}", type_name, text), payload


def unpack_exception(failure: Failure, payload: Payload) -> BaseException:
    """The exception to raise in the caller.

    For a function's own exception, that exception with the remote frames as its traceback; an `ExecutionError` with its
    text if it cannot be unpickled here. For other failures, the type of `modal_lite.exception` that says what happened.
    """
    remote = f"\n\nRemote traceback:\n{failure.traceback}" if failure.traceback else ""
    if failure.kind not in (FailureKind.USER, FailureKind.INIT) or not payload.sizes:
        return _EXCEPTIONS.get(failure.kind, RemoteError)(failure.message + remote)
    try:
        exceptions, links = loads(payload)
    except Exception as error:
        return ExecutionError(
            f"Could not deserialize remote exception due to local error: {type(error).__name__}: {_str(error)}\n"
            f"The remote exception is {failure.type_name}: {failure.message}{remote}"
        )
    exc = exceptions[0]
    if not isinstance(exc, BaseException):
        return ExecutionError(
            f"Got remote exception of incorrect type {type(exc).__qualname__} instead of {failure.type_name}: "
            f"{failure.message}{remote}"
        )
    _restore(exceptions, [_Link(*link) for link in links])
    return exc


def _chain(exc: BaseException) -> list[BaseException]:
    """The exception and all that belong to it, each once, the exception first."""
    found: dict[int, BaseException] = {}
    to_visit: list[BaseException | None] = [exc]
    while to_visit:
        current = to_visit.pop()
        if current is None or id(current) in found:
            continue
        found[id(current)] = current
        to_visit += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            to_visit += current.exceptions
    return list(found.values())


def _link(exc: BaseException, places: dict[int, int]) -> _Link:
    notes = exc.__dict__.get("__notes__")
    return _Link(
        cause=places.get(id(exc.__cause__)),
        context=places.get(id(exc.__context__)),
        suppress_context=exc.__suppress_context__,
        notes=[_str(note) for note in notes] if isinstance(notes, list) else None,
        traceback=pack_traceback(exc.__traceback__),
    )


def _restore(exceptions: list[Any], links: list[_Link]) -> None:
    def at(place: int | None) -> BaseException | None:
        found = None if place is None else exceptions[place]
        return found if isinstance(found, BaseException) else None

    for exc, link in zip(exceptions, links, strict=True):
        if isinstance(exc, BaseException):
            set_chain(exc, at(link.cause), at(link.context), link.suppress_context)
            attach_traceback(exc, link.traceback)
            if link.notes is not None:
                exc.__dict__["__notes__"] = link.notes


def _or_stand_in(exc: BaseException) -> BaseException:
    """The exception, or one that tells of it if it cannot be pickled."""
    try:
        dumps(exc)
    except Exception:
        return RemoteError(f"{_type_name(exc)}: {_str(exc)} (this exception could not be pickled)")
    return exc


def _traceback_text(exc: BaseException) -> str:
    try:
        tb = without_library_frames(exc.__traceback__)
        return "".join(traceback.TracebackException(type(exc), exc, tb, compact=True).format())
    except Exception as error:
        return f"{_type_name(exc)}: {_str(exc)} (its traceback cannot be formatted: {type(error).__name__})\n"


def _type_name(exc: BaseException) -> str:
    cls = type(exc)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _repr(value: object) -> str:
    try:
        return _trim(repr(value))
    except Exception:
        return f"<{type(value).__name__} whose repr() failed>"


def _str(value: object) -> str:
    try:
        return _trim(str(value))
    except Exception:
        return f"<{type(value).__name__} whose str() failed>"


def _trim(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more characters)"
