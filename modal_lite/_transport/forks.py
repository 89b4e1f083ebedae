"""Sockets that a fork of this process must not hold open.

The end of a connection is how containers learn that their control plane is gone. A child that user code forks (a
`multiprocessing` pool, say) and that outlives this process would keep the connections open, and the containers alive.
"""

import os
import socket
import weakref

_sockets: "weakref.WeakSet[socket.socket]" = weakref.WeakSet()


def close_in_forks(sock: socket.socket) -> socket.socket:
    """Has the socket closed in every process that is forked from this one. Returns the socket."""
    _sockets.add(sock)
    return sock


def _close_all() -> None:
    for sock in list(_sockets):
        sock.close()


os.register_at_fork(after_in_child=_close_all)
