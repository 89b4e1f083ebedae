"""Clients of servers, as users name them."""

from typing import Any

from modal_lite._client import _Client, client_of


class _ServerClient:
    """A connection to a server: made by `Client.from_env()` or `Client.connect(url, token)`.

    Look-ups and deployments take it as `client=`. It reconnects by itself; as a context manager it is closed at the end
    of the block, which withdraws what is under way.
    """

    def __init__(self, address: Any) -> None:
        self._address = address

    @property
    def requests(self) -> _Client:
        """What the library's other objects make their requests with."""
        return client_of(self._address)

    @property
    def url(self) -> str:
        """Where the server is."""
        url: str = self._address.url
        return url

    @staticmethod
    def from_env() -> "_ServerClient":
        """A client of the server that the environment names, `MODAL_LITE_SERVER_URL`; connects when it is used.

        Raises:
            InvalidError: The URL is none of a server.
        """
        from modal_lite._core.address import address_of  # here and below: few programs need it

        return _ServerClient(address_of())

    @staticmethod
    async def connect(url: str, token: str | None = None) -> "_ServerClient":
        """Connects to a server.

        Args:
            url: `http://host:port`, `https://host:port`, or `unix:///path` of its socket.
            token: What the server asks for on TCP. Default: `MODAL_LITE_TOKEN`.

        Raises:
            InvalidError: The URL is none of a server.
            ConnectionError: There is no server.
            AuthError: The token is missing, or not accepted.
        """
        from modal_lite._core.address import address_of

        client = _ServerClient(address_of(url, token))
        await client.requests.hello()
        return client

    async def close(self) -> None:
        """Ends the connection. The next use makes another."""
        await self.requests.close()

    async def __aenter__(self) -> "_ServerClient":
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client {self.url}>"
