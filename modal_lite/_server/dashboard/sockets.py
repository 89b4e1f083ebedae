"""Where a server that listens on no TCP port has its dashboard: on this machine, at a port that stays the same."""

import errno
import socket
import zlib
from pathlib import Path

_FIRST_PORT, _PORTS = 30_000, 2_000
"""Below those that systems give to outgoing connections, and beside those of web functions."""
_ATTEMPTS = 50


def dashboard_sockets(folder: Path) -> tuple[list[socket.socket], str]:
    """Sockets that listen on the loopback addresses, and their URL; none if no port is free.

    The URL has a name, so that web functions, which are at 127.0.0.1, do not get the dashboard's cookie: cookies do not
    know ports. What the name may stand for is all taken, lest others listen there.

    Args:
        folder: The server's; the port depends on it, so that it is likely to be the same the next time.
    """
    first = zlib.crc32(str(folder).encode("utf-8", "surrogateescape"))
    for i in range(_ATTEMPTS):
        port = _FIRST_PORT + (first + i) % _PORTS
        sockets: list[socket.socket] = []
        try:
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                _listen(sockets, family, host, port)
        except OSError:
            for sock in sockets:
                sock.close()
            continue
        return sockets, f"http://localhost:{port}"
    return [], ""


def _listen(sockets: list[socket.socket], family: socket.AddressFamily, host: str, port: int) -> None:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if family is socket.AF_INET6:
            return  # There is no such thing on this machine, for nobody.
        raise
    sockets.append(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen()
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL or family is not socket.AF_INET6:
            raise
        sock.close()
        sockets.remove(sock)
