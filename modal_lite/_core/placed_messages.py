"""What the server and the host of a container on another machine tell each other, over a connection of their own.

The host is the process there that has started the container's. It also holds the other end of what a container on the
server's machine inherits: its output, the page that says which input runs.
"""

import msgspec

from modal_lite._core.messages import PROTOCOL_VERSION, ContainerSpec

CONTAINER_PATH = "/v1/container"
"""Where hosts and containers open their connections."""
LINK, DATA, CONTROL, CLIENT = "link", "data", "control", "client"
"""What a connection is for: the host's own, and the channels of `messages.py`."""
CONTAINER_HEADER, CHANNEL_HEADER = "Modal-Lite-Container", "Modal-Lite-Channel"
BEAT = 2.0
"""Seconds between signs of life, in either direction."""
SILENCE = 4
"""After so many times as long without one, the other side is given up."""
OUTPUT_PIECE = 32 << 10
"""Bytes of a container's output in one message at most."""


class Arrived(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """From the host, first of all: it is there."""

    python: str
    """Major and minor version."""
    hostname: str
    protocol: int = PROTOCOL_VERSION


class Assigned(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """To the host, in answer: what to run."""

    spec: ContainerSpec
    """Its paths are the server's."""
    digest: str | None
    """The source snapshot that it is imported from."""
    folder: str
    """Where the server has the snapshot: what begins with it lies in the host's copy."""
    keys: dict[str, str]
    """By channel: what its connection is opened with, once."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """To the host: it cannot be used, for this reason."""

    reason: str


class WantSource(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """From the host: it has not got the snapshot."""


class Source(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """To the host: the snapshot is the body."""

    sizes: tuple[int, ...]


class Signal(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """To the host: send the container this signal."""

    number: int


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A sign of life. From the host with what runs: lease and index of the input."""

    running: tuple[int, int] | None = None


class Wrote(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """From the host: what the container wrote."""

    error: bool
    """To stderr, not stdout."""
    data: bytes


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """From the host, last of all: how the container ended, and the input that ran then."""

    status: int | None
    """As from `os.waitstatus_to_exitcode`; None: it never ran."""
    reason: str
    running: tuple[int, int] | None


ToHost = Assigned | Refused | Source | Signal | Beat
FromHost = Arrived | WantSource | Beat | Wrote | Ended
