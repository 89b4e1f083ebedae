"""What the control thread asks of whatever runs the user's function."""

import signal
from types import FrameType
from typing import Protocol

import msgspec

from modal_lite._worker.running_lease import RunningLease

INTERRUPT_SIGNAL = signal.SIGURG
"""To the main thread. Ignored by default, so it harms no process that has no handler for it; and hardly anyone uses
it."""


class Target(msgspec.Struct, frozen=True):
    """A running input that is to be interrupted.

    Attributes:
        timed_out: It ran out of time; else it was cancelled.
        typed: Neither, but Ctrl-C was typed on the terminal that its container has: the function is told as Python
            tells it, by KeyboardInterrupt, or in async code by cancelling it; what it makes of that is its outcome.
    """

    lease: RunningLease
    index: int
    timed_out: bool = False
    typed: bool = False


class Executor(Protocol):
    """Runs leases on the main thread; the other methods are called from the control thread."""

    def serve(self) -> None:
        """Runs leases until the container is to stop.

        Raises:
            ConnectionClosed: The plane is gone.
            KeyboardInterrupt: User code raised it.
        """

    def interrupt(self, target: Target) -> None:
        """Begins to interrupt the input."""

    def nudge(self) -> bool:
        """Tries again what `interrupt` began. False when there is nothing left to be tried."""

    def credit(self, lease_id: int, consumed: int) -> None:
        """The consumer of the lease's generator has taken `consumed` values in all."""

    def wake(self) -> None:
        """Makes `serve` notice that the container is to stop."""

    def runs_user_code(self, frame: FrameType | None) -> bool:
        """For signal handlers: True if they may raise, for what they interrupted is the user's synchronous code."""
