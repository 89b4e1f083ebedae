"""Sockets and memory that a fork of this process must not hold.

The end of a connection is how containers learn that their control plane is gone. A child that user code forks (a
`multiprocessing` pool, say) and that outlives this process would keep the connections open, and the containers alive.
"""

import os
import weakref
from typing import Protocol, TypeVar


class Closable(Protocol):
    """A socket, say."""

    def close(self) -> None:
        """Gives up what this process holds of it."""


T = TypeVar("T", bound=Closable)
_held: "weakref.WeakSet[Closable]" = weakref.WeakSet()


def close_in_forks(held: T) -> T:
    """Has it closed in every process that is forked from this one. Returns it."""
    _held.add(held)
    return held


def _close_all() -> None:
    for held in list(_held):
        held.close()


os.register_at_fork(after_in_child=_close_all)
