"""Where the current code runs: on the caller's side or in a container, and for which input."""

import os
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

from modal_lite._core.ids import input_id


class CallersTerminal(Protocol):
    """The terminal of whoever runs the app, for user code in a container."""

    attached: bool

    def interact(self) -> None:
        """Attaches it, once nobody else has it. Raises InvalidError if there is none."""


Running = Callable[[], tuple[str, int] | None]

input_context: ContextVar[tuple[str, int]] = ContextVar("input_context")
"""Call id and index of the input that this thread or task works on, where a container runs several at once."""

_container_id: str | None = None
_running: Running | None = None

served_function_id: str | None = None
"""In a container: the id of its function."""

terminal: CallersTerminal | None = None
"""In a container: the way to the caller's terminal."""
on_server = False
"""In a container: it was placed by a server, which answers look-ups over the client channel."""

client_socket: socket.socket | None = None
"""In a container: the channel for the calls that user code makes."""


def enter_container(
    container_id: str, running: Running, function_id: str | None = None, of_server: bool = False
) -> None:
    """Makes this process a container.

    Args:
        container_id: The container's id, `ta-…`.
        running: Tells call id and index of the only input that runs, from any thread; None if there is none.
        function_id: What it serves.
        of_server: It was placed by a server.
    """
    global _container_id, _running, served_function_id, on_server
    _container_id = container_id
    _running = running
    served_function_id = function_id
    on_server = of_server


def is_local() -> bool:
    """True in the caller's process, False in a container."""
    return _container_id is None and os.environ.get("MODAL_IS_REMOTE") != "1"


def current_input_id() -> str | None:
    """The id (`in-…`) of the input that the current function works on, None outside of a container.

    Right in the function itself, in threads it starts and in its tasks.
    """
    current = current_input()
    return None if current is None else input_id(*current)


def current_function_call_id() -> str | None:
    """The id (`fc-…`) of the function call that the current input belongs to, None outside of a container."""
    current = current_input()
    return None if current is None else current[0]


def current_input() -> tuple[str, int] | None:
    """Call id and index of the current input, None if there is none."""
    current = input_context.get(None)
    if current is None and _running is not None:
        current = _running()
    return current
