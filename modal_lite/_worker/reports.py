"""Reporting what became of single inputs, alike for every executor."""

from modal_lite._core import context
from modal_lite._core.failures import pack_exception
from modal_lite._core.held import hold
from modal_lite._core.messages import FailureKind
from modal_lite._worker import outcomes
from modal_lite._worker.chunks import Undecodable
from modal_lite._worker.process import flush_output
from modal_lite._worker.resources import explain_shortage
from modal_lite._worker.running_lease import RunningLease


def refuse_all(running: RunningLease, tag: str, error: BaseException) -> None:
    """Fails every input of a lease whose chunk could not be unpickled."""
    failure = outcomes.undecodable(tag, error)
    while (indices := running.next_run()) is not None:
        for index in indices:
            running.fail(index, failure)


def keep(running: RunningLease, index: int, tag: str, value: object) -> None:
    """Takes the value of the input that follows those finished, to be reported by the next flush if it is small."""
    try:
        held, payload = hold(value)
    except BaseException as error:
        running.fail(index, outcomes.unpicklable(tag, value, error))
        return
    if payload is None:
        running.values.append(held)
    else:
        running.succeed(index, payload)


def ends_container(error: BaseException) -> bool:
    """True for an interruption (Ctrl-C), unless it was typed on the caller's terminal: then it is for the function."""
    return isinstance(error, KeyboardInterrupt) and not (context.terminal is not None and context.terminal.attached)


def fail(running: RunningLease, index: int, error: BaseException) -> None:
    """Reports what the input raised. Raises it again if it is to end the container."""
    flush_output()
    if ends_container(error):
        running.abandoned = True
        raise error
    if isinstance(error, Undecodable):
        running.fail(index, error.failure)
        return
    explain_shortage(error)
    failure, payload = pack_exception(error, FailureKind.USER)
    running.fail(index, failure, payload)
