"""How a container's host on another machine opens connections to the server, with blocking sockets.

An HTTP request whose answer turns the connection into a stream of frames, as a client's does (`upgrade.py`).
"""

import socket
from urllib.parse import urlsplit

from modal_lite._core.placed_messages import CHANNEL_HEADER, CONTAINER_HEADER, CONTAINER_PATH
from modal_lite._transport.upgrade import UPGRADE, check_answer

PATIENCE = 10.0
"""Seconds in which the server must have answered."""
BUFFER = 1 << 20
"""Bytes that the sockets of a data channel hold in either direction, where the system allows it."""
_MAX_HEAD = 16 << 10
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPALIVE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""Seconds of silence, between probes, and how many: for what lies between and forgets connections that are silent, as
all but the host's own are while an input runs. macOS has another name for the first."""


def dial(url: str, container_id: str, channel: str, key: str) -> socket.socket:
    """Opens a connection without TLS. The socket blocks, without a timeout.

    Args:
        url: `http://host:port` of the server.
        container_id: For which container.
        channel: What it is for, as in `placed_messages.py`.
        key: What the server admits it by, once.

    Raises:
        RefusedError: The server does not want it.
        OSError: There is no server, or what is there is none of ours.
    """
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname or "", parts.port or 80), PATIENCE)
    try:
        prepare(sock)
        sock.sendall(request(url, container_id, channel, key))
        check_answer(_read_head(sock))
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """Sets a socket up for frames: none is to wait for another, a burst is to fit, and silence is no end."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def request(url: str, container_id: str, channel: str, key: str) -> bytes:
    """What is asked of the server; the arguments are those of `dial`."""
    parts = urlsplit(url)
    lines = [
        f"GET {parts.path.rstrip('/')}{CONTAINER_PATH} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: Upgrade",
        f"Upgrade: {UPGRADE}",
        f"Authorization: Bearer {key}",
        f"{CONTAINER_HEADER}: {container_id}",
        f"{CHANNEL_HEADER}: {channel}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _read_head(sock: socket.socket) -> bytes:
    """The head of the answer, and nothing of what comes behind it."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte or len(head) >= _MAX_HEAD:
            raise ConnectionResetError("it closed the connection at once")
        head += byte
    return bytes(head)
