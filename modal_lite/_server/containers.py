"""The control plane's side of one container: its channels, its process, its output."""

import asyncio
import signal as signals
from collections.abc import Callable
from functools import partial
from typing import Any

from modal_lite._core.interfaces import PlacedContainer
from modal_lite._core.log_streams import STDERR, STDOUT
from modal_lite._core.messages import FromContainer, FromContainerControl
from modal_lite._core.requests import FunctionDefinition
from modal_lite._server.logs import OutputFeed, OutputReader
from modal_lite._server.memory_deaths import OomKills, suspect_limit

VANISHED_WAIT = 0.25
"""Seconds after which a container whose machine is lost counts as gone: what had come from there is read by then."""


class ContainerLink:
    """A container from its start until its process and its connection are gone.

    `on_message(link, message, body)` is called for each message on the data channel, `on_control(link, message)` for
    each on the control channel, `on_gone(link)` exactly once.
    """

    def __init__(
        self,
        placed: PlacedContainer,
        definition: FunctionDefinition,
        on_message: Callable[["ContainerLink", Any, memoryview], None],
        on_gone: Callable[["ContainerLink"], None],
        on_lines: Callable[["ContainerLink", str, list[str], bool], None],
        on_control: Callable[["ContainerLink", Any], None],
    ) -> None:
        self.container_id = placed.container_id
        self.definition = definition
        self.placed = placed
        self.ready = False
        self.stopping = False
        self.start_error = False
        self.broken: str | None = None
        """Why its connection was given up, if it was."""
        self.status: int | None = None
        self.reason = ""
        self.killed_for = ""
        """Why the scheduler had it killed, if it did."""
        self._oom_kills = OomKills()
        self.generators: dict[int, str] = {}
        """Leases of generator calls that it holds, with the calls."""
        self._exited = False
        self._closed = False
        self._gone = False
        self._on_gone = on_gone
        self._timer: asyncio.TimerHandle | None = None
        self.data = placed.open_data(
            FromContainer, lambda message, body: on_message(self, message, body), self._data_closed
        )
        self.control = placed.open_control(
            FromContainerControl, lambda message, body: on_control(self, message), lambda error: None
        )
        pipes = placed.open_output(lambda error, data: (self.stderr if error else self.stdout).feed(data))
        self.stdout, self.stderr = [
            OutputFeed(pass_on) if pipes is None else OutputReader(pipes[number], pass_on)
            for number, pass_on in enumerate([partial(on_lines, self, STDOUT), partial(on_lines, self, STDERR)])
        ]

    def exited(self, status: int | None, reason: str) -> None:
        """The placer says that the process ended."""
        self.status, self.reason, self._exited = status, reason, True
        self._maybe_gone()

    def fail(self, why: str) -> None:
        """Gives the connection up: what came over it made no sense."""
        self.broken = why
        self.data.close()
        self._data_closed(None)

    def describe_end(self) -> str:
        """How it ended, for people: `was killed by SIGKILL`, `exited with status 3` and the like."""
        if self.broken:
            return f"broke the protocol ({self.broken})"
        if self.status is None:
            if self.reason:
                return f"was lost: {self.reason}{self._hint()}"
            return f"was killed ({self.killed_for})" if self.killed_for else "lost its connection"
        if self.status < 0:
            try:
                ended = f"was killed by {signals.Signals(-self.status).name}"
            except ValueError:
                ended = f"was killed by signal {-self.status}"
        else:
            ended = f"exited with status {self.status}"
        return ended + self._hint()

    def _hint(self) -> str:
        if self.killed_for:
            return f" ({self.killed_for})"
        if self.status == -signals.SIGKILL and self._oom_kills.more():
            return " (most likely by the system, which ran out of memory)"
        limit = self.definition.settings.memory_limit
        if limit is not None:
            self.stderr.drain()
            if suspect_limit(self.status, self.stderr.tail):
                return f" (perhaps for want of memory: its limit is {limit} MiB)"
        return ""

    def describe_loss(self, delivered: int) -> str:
        """For the caller of an input that ran here last, after as many attempts as there are.

        Args:
            delivered: Values of it that its caller has already; there is only one attempt then.
        """
        container = f"The container {self.container_id} of {self.definition.tag} {self.describe_end()}"
        others = "" if self.definition.settings.interactive else ", and so did others before it"
        if delivered:
            end = f"after the generator had delivered {delivered} values; it cannot be resumed."
        else:
            end = f"while it ran this input{others}."
        return self._with_stderr(f"{container} {end}")

    def describe_failed_start(self) -> str:
        """For the callers whose inputs wait for a container that cannot start."""
        return self._with_stderr(
            f"Containers of {self.definition.tag} die before they are ready: the last one {self.describe_end()}."
        )

    def _with_stderr(self, text: str) -> str:
        self.stderr.drain()
        lines = "".join(f"\n    {line}" for line in self.stderr.tail)
        return f"{text} Its last lines of stderr:{lines}" if lines else text

    def close(self) -> None:
        """Frees everything this process holds of the container."""
        if self._timer is not None:
            self._timer.cancel()
        self._gone = True
        self.data.close()
        self.control.close()
        self.stdout.close()
        self.stderr.close()
        self.placed.close()

    def _data_closed(self, error: Exception | None) -> None:
        # An error of the socket is no breach: it is how a process ends that has not read all that was sent to it.
        if error is not None and not isinstance(error, OSError):
            self.broken = str(error)
        self._closed = True
        self._maybe_gone()

    def _maybe_gone(self) -> None:
        # Both ends are waited for, briefly: results may still be in the socket when the process has ended, and the
        # exit status may be on its way when the socket has.
        if self._gone:
            return
        if self._closed and self._exited:
            self._report_gone()
        elif self._timer is None:
            wait = VANISHED_WAIT if self.placed.vanished else self.placed.exit_wait
            self._timer = asyncio.get_running_loop().call_later(wait, self._report_gone)

    def _report_gone(self) -> None:
        if not self._gone:
            self._gone = True
            self._on_gone(self)
