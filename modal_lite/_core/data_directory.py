"""The files of a server, all in one folder."""

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

MAX_SOCKET_PATH = 100
"""Bytes of a Unix socket's path; systems take 104 to 108."""


class ServerInfo(msgspec.Struct, frozen=True):
    """What a running server says of itself."""

    pid: int
    url: str
    version: str
    started: float
    """Seconds since the epoch."""


class DataDirectory:
    """Where a server keeps what."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / "server.lock"
        self.info = path / "server.json"
        self.state = path / "state.db"
        self.log = path / "server.log"
        self.output = path / "server.out"
        """What a server in the background prints: why it did not start."""
        self.snapshots = path / "snapshots"
        self.app_logs = path / "logs"

    def create(self) -> None:
        """Makes the folder, for this user alone. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.snapshots.mkdir(exist_ok=True)
        self.app_logs.mkdir(exist_ok=True)

    @property
    def socket(self) -> Path:
        """The server's Unix socket: in the folder, unless its path is too long for one."""
        path = self.path / "server.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            return path
        name = hashlib.blake2b(os.fsencode(self.path), digest_size=12).hexdigest()
        return Path(tempfile.gettempdir()) / f"modal-lite-{os.getuid()}" / f"{name}.sock"

    def read_info(self) -> ServerInfo | None:
        """What the server wrote when it started last; None if there is nothing to read. It may have ended since."""
        try:
            return msgspec.json.decode(self.info.read_bytes(), type=ServerInfo)
        except (OSError, msgspec.DecodeError):
            return None

    def write_info(self, info: ServerInfo) -> None:
        """Replaces what the server says of itself. Raises OSError."""
        new = self.info.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(info))
        new.replace(self.info)
