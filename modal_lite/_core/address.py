"""Where a server listens, and what requests to it need."""

from typing import TYPE_CHECKING

import msgspec

from modal_lite import config
from modal_lite._core.data_directory import DataDirectory
from modal_lite.exception import InvalidError

if TYPE_CHECKING:
    import ssl

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
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {} if self.token is None else {TOKEN_HEADER: f"Bearer {self.token}"}

    @property
    def local(self) -> bool:
        """True for the server of this machine's data folder, which can be started."""
        return self.socket is not None and config.server_url() is None

    def tls(self) -> "ssl.SSLContext | None":
        """How the server's certificate is checked; None without TLS.

        Raises:
            InvalidError: The file of certificates cannot be read, or has none.
        """
        if not self.base.startswith("https://"):
            return None
        import ssl  # here, for connections without TLS need it not

        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError among them
            raise InvalidError(
                f"MODAL_LITE_CA_FILE, or ca_file: {self.ca_file} has no certificates: {error}."
            ) from None


def address_of(url: str | None = None, token: str | None = None) -> Address:
    """The server at the URL; None: the one that the environment names, else that of the data folder.

    Raises:
        InvalidError: It is no such URL, or the token is none.
    """
    url = url or config.server_url()
    if url is None:
        path = str(DataDirectory(config.data_dir()).socket)
        return Address(f"unix://{path}", path, "http://localhost", None)
    url = url.rstrip("/")
    if url.startswith("unix://") and len(url) > len("unix://"):
        return Address(url, url.removeprefix("unix://"), "http://localhost", None)
    if url.startswith(("http://", "https://")):
        token = token or config.token(url)
        if token is not None and not (token.isascii() and token.isprintable()):
            raise InvalidError("A token consists of printable ASCII characters; `modal-lite token new` makes one.")
        return Address(url, None, url, token, config.ca_file(url))
    raise InvalidError(f"{url!r} is no address of a server; they look like http://host:port or unix:///path.")
