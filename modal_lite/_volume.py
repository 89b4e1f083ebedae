"""Volumes: accepted for the sake of programs written for Modal; containers here share the machine's files anyway."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, NoReturn

from synchronicity.async_wrap import asynccontextmanager

from modal_lite._core.wrapping import hidden_from_types
from modal_lite._shared_object import check_name, no_constructor
from modal_lite.exception import InvalidError

_FILES = frozenset(
    {
        "batch_upload",
        "copy_files",
        "iterdir",
        "listdir",
        "read_file",
        "read_file_into_fileobj",
        "remove_file",
    }
)


class _Volume:
    """Names a place for files, for `@app.function(volumes={"/data": Volume.from_name("data")})`.

    Containers here are processes of this machine: nothing is mounted for them, they see its files under their own
    paths, and what one writes the others see at once. So `commit` and `reload` have nothing to do and may be called,
    and whatever would read or write files of the volume itself is an `InvalidError`: use paths.
    """

    if TYPE_CHECKING:  # no part of the public type
        _name: str | None

    def __init__(self) -> None:
        raise no_constructor("Volume")

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        version: int | None = None,
        client: Any | None = None,
    ) -> "_Volume":
        """The volume of this name, whether or not there is one.

        Args:
            name: 1 to 64 letters, digits, '.', '-' and '_'.
            environment_name: Accepted.
            create_if_missing: Accepted.
            version: Accepted.
            client: Accepted.

        Raises:
            InvalidError: It cannot be a name.
        """
        return _Volume._of(check_name(name, "Volume"))

    @staticmethod
    @asynccontextmanager
    async def ephemeral(client: Any | None = None) -> AsyncGenerator["_Volume", None]:
        """A volume without a name: `with Volume.ephemeral() as volume:`.

        Args:
            client: Accepted.
        """
        yield _Volume._of(None)

    @property
    def name(self) -> str | None:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return f"<Volume {self._name or 'without a name'}>"

    async def commit(self) -> None:
        """Does nothing: what is written is there for all containers at once."""

    async def reload(self) -> None:
        """Does nothing: containers see what others have written."""

    def read_only(self) -> "_Volume":
        """The same volume; nothing keeps containers from writing."""
        return _Volume._of(self._name)

    @hidden_from_types
    def __getattr__(self, name: str) -> NoReturn:
        """Says why what volumes can do on Modal is not there."""
        if name in _FILES:
            raise InvalidError(
                f"Volume.{name}() is not supported: nothing is mounted for containers on this machine, which see its "
                "files under their own paths. Use those."
            )
        raise AttributeError(f"'Volume' object has no attribute {name!r}")

    @classmethod
    def _of(cls, name: str | None) -> "_Volume":
        volume = cls.__new__(cls)
        volume._name = name
        return volume
