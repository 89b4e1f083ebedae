"""What a browser may be told and may send: names of the host, origins of forms, headers of answers."""

import ipaddress
import socket
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from modal_lite.exception import AuthError, InvalidError

MAX_FORM = 8 << 10
"""Bytes of a form."""
HEADERS = {
    # Nothing of anybody else's, nothing inline, in nobody's frame.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: forms would be sent with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Hosts:
    """The names under which the dashboard may be reached.

    A page of somebody else's can give its own name this server's address, and would then share its origin. So names
    that are not known are refused; an address cannot be taken over like that.

    Args:
        names: Those that are known besides `localhost` and the machine's own.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = {name.lower() for name in (*names, socket.gethostname()) if name}

    def check(self, request: web.Request) -> None:
        """Raises HTTPMisdirectedRequest for a name that is not known."""
        name = _host(request)
        if not (name in self._names or name == "localhost" or name.endswith(".localhost") or _is_address(name)):
            raise web.HTTPMisdirectedRequest(
                text=f"The dashboard is not known as {name!r:.100}. Start the server with --hostname to have it so."
            )


def check_origin(request: web.Request) -> None:
    """Raises AuthError for a form that was not sent by a page of this very server, as far as browsers tell."""
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    # Not the scheme: a proxy in front may be the one that speaks TLS.
    if origin is None or urlsplit(origin).netloc != request.host or site != "same-origin":
        raise AuthError("The form was sent by another page.")


async def read_form(request: web.Request) -> dict[str, str]:
    """The form's fields.

    Raises:
        InvalidError: It is no form.
        HTTPRequestEntityTooLarge: It has more than MAX_FORM bytes.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise InvalidError("That is no form.")
    body = await request.read()
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _host(request: web.Request) -> str:
    try:
        return (urlsplit(f"//{request.host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
