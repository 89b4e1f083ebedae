"""Where a server listens, and what requests to it need."""

import msgspec

from modal_lite import config
from modal_lite._core.data_directory import DataDirectory
from modal_lite.exception import InvalidError

TOKEN_HEADER = "Authorization"


class Address(msgspec.Struct, frozen=True):
    """A server: on a Unix socket, or at a host and port."""

    url: str
    """As people write it."""
    socket: str | None
    """The path of the Unix socket."""
    base: str
    """What the URLs of requests begin with, without a slash at the end."""
    token: str | None

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {} if self.token is None else {TOKEN_HEADER: f"Bearer {self.token}"}

    @property
    def local(self) -> bool:
        """True for the server of this machine's data folder, which can be started."""
        return self.socket is not None and config.server_url() is None


def address_of(url: str | None = None, token: str | None = None) -> Address:
    """The server at the URL; None: the one that the environment names, else that of the data folder.

    Raises:
        InvalidError: It is no such URL, or the token is none.
    """
    url = url or config.server_url()
    token = token or config.token()
    if token is not None and not (token.isascii() and token.isprintable()):
        raise InvalidError("A token consists of printable ASCII characters; `modal-lite token new` makes one.")
    if url is None:
        path = str(DataDirectory(config.data_dir()).socket)
        return Address(f"unix://{path}", path, "http://localhost", token)
    url = url.rstrip("/")
    if url.startswith("unix://") and len(url) > len("unix://"):
        return Address(url, url.removeprefix("unix://"), "http://localhost", token)
    if url.startswith(("http://", "https://")):
        return Address(url, None, url, token)
    raise InvalidError(f"{url!r} is no address of a server; they look like http://host:port or unix:///path.")
