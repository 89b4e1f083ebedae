"""Who uses the dashboard: links that log in once, and the sessions that they, or a token, begin. All is in memory."""

import hmac
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from modal_lite._core.tokens import digest_of

T = TypeVar("T")

LINK_LIFE = 300.0
"""Seconds in which a link can be used."""
IDLE = 12 * 3600.0
"""Seconds without a request after which a session has ended."""
MAX_LINKS, MAX_SESSIONS = 100, 1000
"""Kept at a time; the oldest make room."""


class Login(msgspec.Struct):
    """A session of a browser."""

    token: str | None
    """Hash of the token that it began with; None: a link of the Unix socket's."""
    csrf: str
    """What its forms have to send along."""
    used: float
    """When it was last used, by the clock of `Logins`."""

    def sent(self, text: str) -> bool:
        """True if a form was one of this session's."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self.csrf.encode())


class Logins:
    """The sessions of all browsers. What they show, random texts, is kept as hashes.

    Args:
        knows: Whether the token of that hash is still accepted.
        clock: Gives seconds.
    """

    def __init__(self, knows: Callable[[str | None], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._knows = knows
        self._clock = clock
        self._links: dict[str, tuple[str | None, float]] = {}
        self._sessions: dict[str, Login] = {}

    def new_link(self, token: str | None) -> str:
        """What logs in once, with the rights of the token of that hash."""
        secret = secrets.token_urlsafe()
        _put(self._links, digest_of(secret), (token, self._clock()), MAX_LINKS)
        return secret

    def redeem(self, secret: str) -> str | None:
        """What a new session shows; None if the link was used before, or is too old."""
        token, made = self._links.pop(digest_of(secret), (None, None))
        if made is None or self._clock() - made > LINK_LIFE or not self._knows(token):
            return None
        return self.begin(token)

    def begin(self, token: str | None) -> str:
        """What a new session shows, with the rights of the token of that hash."""
        secret = secrets.token_urlsafe()
        _put(self._sessions, digest_of(secret), Login(token, secrets.token_urlsafe(), self._clock()), MAX_SESSIONS)
        return secret

    def find(self, secret: str) -> Login | None:
        """The session, None if there is none of the kind any more."""
        digest, now = digest_of(secret), self._clock()
        found = self._sessions.get(digest)
        if found is None:
            return None
        if now - found.used > IDLE or not self._knows(found.token):
            del self._sessions[digest]
            return None
        found.used = now
        return found

    def lasts(self, secret: str) -> bool:
        """True if there is such a session; that does not count as its use."""
        found = self._sessions.get(digest_of(secret))
        return found is not None and self._clock() - found.used <= IDLE and self._knows(found.token)

    def end(self, secret: str) -> None:
        """Ends a session."""
        self._sessions.pop(digest_of(secret), None)


def _put(table: dict[str, T], key: str, value: T, limit: int) -> None:
    while len(table) >= limit:
        del table[next(iter(table))]
    table[key] = value
