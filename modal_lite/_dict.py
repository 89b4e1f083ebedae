"""Dicts: entries that callers and containers share."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from synchronicity.async_wrap import asynccontextmanager

from modal_lite._core.blocks import Blocks
from modal_lite._core.object_requests import (
    MAX_TOGETHER,
    Count,
    DictClear,
    DictCount,
    DictGet,
    DictKeys,
    DictPop,
    DictPut,
    ObjectKind,
    Values,
)
from modal_lite._core.serialization import dumps_key
from modal_lite._core.wrapping import untranslated
from modal_lite._shared_object import SharedObject, check_size, no_constructor, pack, unpack


class _Missing:
    def __repr__(self) -> str:
        return "..."  # The type stubs say it.


_MISSING: Any = _Missing()
_FEW = 1_000
"""Values asked for together."""


class _Dict:
    """Entries that a program and its containers share: `d["key"] = value` here, `d["key"]` there.

    Made by `Dict.ephemeral()` or `Dict.from_name()`; passed to functions as an argument, or used as a global.

    Keys and values are anything that can be pickled, up to 100 MiB. Values are snapshots: what is read is a copy, and
    changing it changes nothing until it is put again. Keys are the same if their pickled bytes are, so `1`, `1.0` and
    `True` are three keys. Every method is a request, `values` and `items` are several. Cancelling a method that changes
    something leaves open whether it did.
    """

    if TYPE_CHECKING:  # no part of the public type
        _object: SharedObject

    def __init__(self) -> None:
        raise no_constructor("Dict")

    @staticmethod
    @asynccontextmanager
    async def ephemeral(client: Any | None = None) -> AsyncGenerator["_Dict", None]:
        """An empty Dict for as long as the `with` block lasts: `with Dict.ephemeral() as d:`, with or without an app.

        Args:
            client: The server it is on, a `Client`; None for the control plane of this process.
        """
        created = _Dict._of(SharedObject(ObjectKind.DICT, client=client))
        try:
            await created._object.resolve()
            yield created
        finally:
            created._object.delete()

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Any | None = None,
    ) -> "_Dict":
        """The Dict of this name. Nothing is looked up before the first use.

        It lives as long as the program whose app runs, or the server that it is on.

        Args:
            name: 1 to 64 letters, digits, '.', '-' and '_'.
            environment_name: Names are distinct within one. Default: `MODAL_ENVIRONMENT`, else "main".
            create_if_missing: Make an empty one if there is none.
            client: The server to look on, a `Client`; None for the control plane of this process.

        Raises:
            InvalidError: It cannot be a name.
        """
        return _Dict._of(SharedObject(ObjectKind.DICT, name, environment_name, create_if_missing, client))

    @staticmethod
    async def lookup(
        name: str,
        client: Any | None = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> "_Dict":
        """As `from_name`, at once.

        Raises:
            NotFoundError: There is none of this name.
        """
        found = _Dict.from_name(
            name, environment_name=environment_name, create_if_missing=create_if_missing, client=client
        )
        await found._object.resolve()
        return found

    @property
    def object_id(self) -> str:
        """Its id, `di-…`. Raises InvalidError if it was not used yet."""
        return self._object.known_id()

    @property
    def name(self) -> str | None:
        """The name that it was found by."""
        return self._object.name

    def __repr__(self) -> str:
        return repr(self._object)

    # --- reading -----------------------------------------------------------------------------------------------------

    @untranslated(arguments=True, result=True)
    async def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, `default` if there is none."""
        reply: Values = await self._object.ask(DictGet, [_pack_key(key)])
        return _value(reply, default)

    @untranslated(arguments=True, result=True)
    async def __getitem__(self, key: Any) -> Any:
        """The value of a key. Raises KeyError if there is none."""
        value = await self.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    @untranslated(arguments=True)
    async def contains(self, key: Any) -> bool:
        """True if there is such a key."""
        reply: Count = await self._object.ask(DictCount, _pack_key(key))
        return reply.count > 0

    @untranslated(arguments=True)
    async def __contains__(self, key: Any) -> bool:
        """True if there is such a key."""
        return await self.contains(key)

    async def len(self) -> int:
        """The number of entries."""
        reply: Count = await self._object.ask(DictCount)
        return reply.count

    async def __len__(self) -> int:
        """The number of entries."""
        return await self.len()

    @untranslated(result=True)
    def keys(self) -> AsyncGenerator[Any, None]:
        """The keys that there are now, in the order in which they came."""
        return Blocks(self._key_blocks, "Dict.keys()")

    @untranslated(result=True)
    def values(self) -> AsyncGenerator[Any, None]:
        """The values of the keys that there are now, without those that are removed meanwhile."""
        return Blocks(lambda: self._blocks(lambda key, value: _unpack_value(value)), "Dict.values()")

    @untranslated(result=True)
    def items(self) -> AsyncGenerator[tuple[Any, Any], None]:
        """Pairs of key and value, as in `values`."""
        return Blocks(lambda: self._blocks(lambda key, value: (_unpack_key(key), _unpack_value(value))), "Dict.items()")

    @untranslated(result=True)
    def __iter__(self) -> AsyncGenerator[Any, None]:
        """The keys."""
        return self.keys()

    # --- changing ----------------------------------------------------------------------------------------------------

    @untranslated(arguments=True)
    async def put(self, key: Any, value: Any, *, skip_if_exists: bool = False) -> bool:
        """Sets the value of a key.

        Args:
            key: The key.
            value: Its value from now on.
            skip_if_exists: Leave the present value, if there is one.

        Returns:
            True if the value was set.

        Raises:
            SerializationError: The key or the value cannot be pickled.
            RequestSizeError: They are larger than 100 MiB.
        """
        return await self._put([(key, value)], skip_if_exists) > 0

    @untranslated(arguments=True)
    async def __setitem__(self, key: Any, value: Any) -> None:
        """Sets the value of a key, as `put` does."""
        await self._put([(key, value)])

    @untranslated(arguments=True)
    async def update(self, other: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = (), /, **kwargs: Any) -> None:
        """Sets many values, all of them at the same time.

        Args:
            other: A mapping, or pairs of key and value.
            **kwargs: More of them.

        Raises:
            SerializationError: A key or a value cannot be pickled.
            RequestSizeError: They are larger than 100 MiB together.
        """
        await self._put([*dict(other, **kwargs).items()])

    @untranslated(arguments=True, result=True)
    async def pop(self, key: Any, default: Any = _MISSING) -> Any:
        """Removes a key and returns its value; without one `default`.

        Raises:
            KeyError: There is neither such a key nor a default.
        """
        value = _value(await self._object.ask(DictPop, _pack_key(key)), default)
        if value is _MISSING:
            raise KeyError(key)
        return value

    @untranslated(arguments=True)
    async def __delitem__(self, key: Any) -> None:
        """Removes a key. Raises KeyError if there is none."""
        reply: Values = await self._object.ask(DictPop, _pack_key(key))
        if reply.values[0] is None:
            raise KeyError(key)

    async def clear(self) -> None:
        """Removes all the entries."""
        await self._object.ask(DictClear)

    # --- inside ------------------------------------------------------------------------------------------------------

    @classmethod
    def _of(cls, shared: SharedObject) -> "_Dict":
        created = cls.__new__(cls)
        created._object = shared
        return created

    async def _put(self, entries: list[tuple[Any, Any]], only_new: bool = False) -> int:
        packed = [(_pack_key(key), _pack_value(key, value)) for key, value in entries]
        size = sum(len(key) + len(value) for key, value in packed)
        check_size(size, "A key with its value" if len(packed) == 1 else "What is put at a time", MAX_TOGETHER)
        reply: Count = await self._object.ask(DictPut, packed, only_new)
        return reply.count

    async def _keys(self) -> list[bytes]:
        reply: Values = await self._object.ask(DictKeys)
        return [key for key in reply.values if key is not None]

    async def _key_blocks(self) -> AsyncGenerator[list[Any], None]:
        yield [_unpack_key(key) for key in await self._keys()]

    async def _blocks(self, make: Callable[[bytes, bytes], Any]) -> AsyncGenerator[list[Any], None]:
        keys, at = await self._keys(), 0
        while at < len(keys):
            reply: Values = await self._object.ask(DictGet, keys[at : at + _FEW])
            pairs = zip(keys[at:], reply.values, strict=False)
            yield [make(key, value) for key, value in pairs if value is not None]
            at += len(reply.values)


def _pack_key(key: object) -> bytes:
    return pack(key, f"The key {key!r:.100}", MAX_TOGETHER, dumps_key)


def _unpack_key(data: bytes) -> Any:
    return unpack(data, "A key of the Dict")


def _pack_value(key: object, value: object) -> bytes:
    return pack(value, f"The value of the key {key!r:.100}", MAX_TOGETHER)


def _unpack_value(data: bytes) -> Any:
    return unpack(data, "A value of the Dict")


def _value(reply: Values, default: Any) -> Any:
    (data,) = reply.values
    return default if data is None else _unpack_value(data)
