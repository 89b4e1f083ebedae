"""What a container says about inputs that have no value."""

import inspect

import msgspec

from modal_lite._core.failures import pack_exception
from modal_lite._core.messages import Failure, FailureKind


def interrupted(timed_out: bool) -> Failure:
    """For an input that was cancelled or ran out of time."""
    if timed_out:
        return Failure(FailureKind.TIMEOUT, "The input ran into its timeout.")
    return Failure(FailureKind.CANCELLED, "The input was cancelled.")


def undecodable(tag: str, error: BaseException) -> Failure:
    """For inputs whose chunk cannot be unpickled here."""
    what = f"The arguments of {tag} could not be unpickled in the container"
    return _explain(error, FailureKind.DESERIALIZATION, what)


def unpicklable(tag: str, value: object, error: BaseException) -> Failure:
    """For an input whose value cannot be sent: cannot be pickled, or is no value at all."""
    what = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return Failure(
            FailureKind.INVALID,
            f"{tag} returned a generator. Declare it with `@app.function(is_generator=True)` and call it by "
            "`.remote_gen`, or return a list.",
        )
    if inspect.iscoroutine(value):
        value.close()
        return Failure(
            FailureKind.INVALID,
            f"{tag} returned a coroutine that nobody awaits. Make it `async def` and return `await …`.",
        )
    return _explain(error, FailureKind.SERIALIZATION, f"The result of {tag}, of type {what}, could not be pickled")


def no_iterator(tag: str, value: object) -> Failure:
    """For a generator function that returned something else."""
    if inspect.iscoroutine(value):
        value.close()
    return Failure(
        FailureKind.INVALID,
        f"{tag} is declared as a generator but returned {type(value).__qualname__!r}, which cannot be iterated over. "
        "Use `yield` in it, or drop `is_generator=True`.",
    )


def _explain(error: BaseException, kind: FailureKind, what: str) -> Failure:
    failure, _ = pack_exception(error, kind)
    reason = failure.message.partition(": ")[2] if failure.kind is not kind else failure.message
    return msgspec.structs.replace(failure, kind=kind, message=f"{what}: {reason}")
