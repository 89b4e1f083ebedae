"""The files of a server, all in one folder."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from modal_lite.exception import InvalidError

MAX_SOCKET_PATH = 100
"""Bytes of a Unix socket's path; systems take 104 to 108."""


class ServerInfo(msgspec.Struct, frozen=True):
    """What a running server says of itself."""

    pid: int
    url: str
    version: str
    started: float
    """Seconds since the epoch."""
    dashboard: str = ""
    """Where browsers find it, as far as the server knows; its name may be another one elsewhere."""


class DataDirectory:
    """Where a server keeps what."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / "server.lock"
        self.info = path / "server.json"
        self.state = path / "state.db"
        self.tokens = path / "tokens.json"
        self.log = path / "server.log"
        self.output = path / "server.out"
        """What a server in the background prints: why it did not start."""
        self.snapshots = path / "snapshots"
        self.app_logs = path / "logs"

    def create(self) -> None:
        """Makes the folder, for this user alone.

        Raises:
            InvalidError: It is there, and another user can write into it.
            OSError: It cannot be made.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = self.path.stat()
        if found.st_uid != os.getuid() or (found.st_mode & 0o022):
            raise InvalidError(
                f"The data directory {self.path} can be written by other users, who could change what the server runs. "
                f"Write: chmod 700 {self.path}, or name another by MODAL_LITE_DATA_DIR."
            )
        # The folder itself may have been made by somebody who let others read it.
        for folder in (self.snapshots, self.app_logs):
            folder.mkdir(exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        for file in (self.lock, self.log, self.state):
            os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            file.chmod(0o600)

    @property
    def socket(self) -> Path:
        """The server's Unix socket: in the folder, unless its path is too long for one.

        Raises:
            InvalidError: It would have to be in a folder that another user has put there.
        """
        path = self.path / "server.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            return path
        name = hashlib.blake2b(os.fsencode(self.path), digest_size=12).hexdigest()
        folder = Path(tempfile.gettempdir()) / f"modal-lite-{os.getuid()}"
        try:
            found = folder.lstat()
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise InvalidError(f"{folder} is not of this user alone. Name a shorter MODAL_LITE_DATA_DIR.")
        return folder / f"{name}.sock"

    def read_info(self) -> ServerInfo | None:
        """What the server wrote when it started last; None if there is nothing to read. It may have ended since."""
        try:
            return msgspec.json.decode(self.info.read_bytes(), type=ServerInfo)
        except (OSError, msgspec.DecodeError):
            return None

    def write_info(self, info: ServerInfo) -> None:
        """Replaces what the server says of itself. Raises OSError."""
        new = self.info.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(new, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(msgspec.json.encode(info))
        new.replace(self.info)
