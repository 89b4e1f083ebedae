"""The tokens that a server accepts on TCP: made once, shown once, kept as hashes.

A token is 32 random bytes, so that a plain hash of it tells nobody what it was.
"""

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

import msgspec

from modal_lite.exception import AlreadyExistsError, InvalidError, NotFoundError

BYTES = 32
SHORTEST = 20
"""Characters of a token that somebody made up; shorter ones can be guessed."""
MAX_TOKENS = 1000
MAX_NAME = 100


class StoredToken(msgspec.Struct, frozen=True):
    """A token without what it is."""

    name: str
    created: float
    """Seconds since the epoch."""
    digest: str


class Tokens:
    """The tokens of one data directory.

    Args:
        path: The file that has them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: tuple[int, int] | None = None
        self._known: list[StoredToken] = []

    def all(self) -> list[StoredToken]:
        """All of them, oldest first. Raises InvalidError if the file makes no sense."""
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._state:
                self._known = msgspec.json.decode(self._path.read_bytes(), type=list[StoredToken])
                self._state = stat.st_mtime_ns, stat.st_ino
        except FileNotFoundError:
            self._known, self._state = [], None
        except msgspec.DecodeError as error:
            raise InvalidError(f"{self._path} is damaged ({error}). Remove it and make new tokens.") from None
        return self._known

    def new(self, name: str) -> str:
        """Makes a token; only its hash is kept.

        Raises:
            AlreadyExistsError: There is one of that name.
            InvalidError: The name is empty or too long, or there are too many tokens.
        """
        known = self.all()
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise InvalidError(f"{name!r:.120} cannot be the name of a token: 1 to {MAX_NAME} characters.")
        if any(token.name == name for token in known):
            raise AlreadyExistsError(f"There is a token {name}. Revoke it first: modal-lite token revoke {name}")
        if len(known) >= MAX_TOKENS:
            raise InvalidError(f"There are {MAX_TOKENS} tokens. Revoke those that are not used.")
        text = secrets.token_urlsafe(BYTES)
        self._write([*known, StoredToken(name, time.time(), digest_of(text))])
        return text

    def revoke(self, name: str) -> None:
        """Removes a token. Raises NotFoundError."""
        known = self.all()
        left = [token for token in known if token.name != name]
        if len(left) == len(known):
            raise NotFoundError(f"There is no token {name}. `modal-lite token list` shows them.")
        self._write(left)

    def admits(self, digest: str, given: str | None) -> bool:
        """True if the digest is of one of the tokens, or of the given one; takes as long for any that is not."""
        digests = [token.digest for token in self.all()]
        if given is not None:
            digests.append(given)
        # All of them, whichever fits: the time says nothing.
        return any([hmac.compare_digest(digest, each) for each in digests])

    def _write(self, tokens: list[StoredToken]) -> None:
        new = self._path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(new, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(msgspec.json.encode(tokens))
        new.replace(self._path)


def digest_of(text: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
