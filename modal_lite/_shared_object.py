"""What Dicts and Queues have in common: how they are named, found and sent, and how values become bytes."""

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modal_lite._client import _Client, current_client
from modal_lite._core.ids import new_id
from modal_lite._core.object_requests import DeleteObject, ObjectKind, ObjectRequest, OpenObject
from modal_lite._core.serialization import dumps_whole, loads_whole
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite.exception import DeserializationError, InvalidError, RequestSizeError, SerializationError

if TYPE_CHECKING:
    from modal_lite._server_client import _ServerClient

_PREFIXES = {ObjectKind.DICT: "di", ObjectKind.QUEUE: "qu"}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class SharedObject:
    """A reference to what the control plane holds. Nothing is asked before the first use.

    Args:
        kind: What it is.
        name: Its name; None for one that has none.
        environment: What the name belongs to; None for that of this process.
        create: Make one if there is none of this name.
        client: The server it is on; None for the control plane of this process.
        object_id: Its id, if it is known.

    Raises:
        InvalidError: It cannot be a name.
    """

    def __init__(
        self,
        kind: ObjectKind,
        name: str | None = None,
        environment: str | None = None,
        create: bool = True,
        client: "_ServerClient | None" = None,
        object_id: str | None = None,
    ) -> None:
        self.kind = kind
        self.title = kind.name.capitalize()
        self.name = None if name is None else check_name(name, self.title)
        self.object_id = object_id
        self._new_id = new_id(_PREFIXES[kind])
        """Its id if it is made by this reference."""
        self._environment = environment or os.environ.get("MODAL_ENVIRONMENT", "main")
        self._create = create
        self._client = client

    def __repr__(self) -> str:
        return f"<{self.title} {self.name or self.object_id or 'without a name'}>"

    def known_id(self) -> str:
        """Its id. Raises InvalidError if it is not known yet."""
        if self.object_id is None:
            raise InvalidError(f"{self!r} has no id before its first use; {self.title}.lookup() looks for it at once.")
        return self.object_id

    def describe(self) -> tuple[Any, ...]:
        """What it travels as."""
        return self.name, self._environment, self._create, None, self.object_id

    async def resolve(self) -> str:
        """Its id. Raises NotFoundError if there is none of this name, and none is to be made."""
        if self.object_id is None:
            request = OpenObject(self.kind, self._new_id, self._environment, self.name, self._create)
            self.object_id = (await self.client.ask(request)).object_id
        return self.object_id

    async def ask(self, make: Callable[..., ObjectRequest], *arguments: Any) -> Any:
        """The answer to a request about it."""
        return await self.client.ask(make(await self.resolve(), *arguments))

    def delete(self) -> None:
        """What this has made is not used any more."""
        self.client.tell(DeleteObject(self._new_id))

    @property
    def client(self) -> _Client:
        """Who asks."""
        return current_client() if self._client is None else self._client.requests


def check_name(name: Any, title: str) -> str:
    """The name of a shared object. Raises InvalidError if it cannot be one."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidError(
            f"{name!r:.100} cannot be the name of a {title}: it takes 1 to 64 letters, digits, '.', '-' and '_'."
        )
    return name


def no_constructor(title: str) -> InvalidError:
    """The error for whoever calls the class."""
    return InvalidError(
        f"{title}() cannot be made directly: write `with {title}.ephemeral() as …:` for one that ends with the block, "
        f'or {title}.from_name("a-name", create_if_missing=True).'
    )


def pack(value: object, what: str, limit: int, dump: Callable[[object], bytes] = dumps_whole) -> bytes:
    """Pickles a value, as it is now.

    Raises:
        SerializationError: It cannot be pickled.
        RequestSizeError: It is over the limit, in bytes.
    """
    try:
        data = dump(value)
    except Exception as error:
        hide_library_frames(error)
        raise SerializationError(f"{what} cannot be pickled: {type(error).__name__}: {error}.") from error
    check_size(len(data), what, limit)
    return data


def check_size(size: int, what: str, limit: int) -> None:
    """Raises RequestSizeError if so many bytes are over the limit."""
    if size > limit:
        raise RequestSizeError(f"{what} takes {size:,} bytes; it can be at most {limit:,}. Write it to a file instead.")


def unpack(data: bytes, what: str) -> Any:
    """The value again, a new object each time. Raises DeserializationError if it cannot be unpickled here."""
    try:
        return loads_whole(data)
    except Exception as error:
        hide_library_frames(error)
        raise DeserializationError(
            f"{what} cannot be unpickled here: {type(error).__name__}: {error}. "
            "The modules that its type comes from must be importable here as well."
        ) from error
