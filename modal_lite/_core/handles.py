"""The registry of handles: objects that travel as a short description and are revived by whoever made them known.

Serialization is below the client objects and must not import them; they register themselves here instead.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class _Handle(NamedTuple):
    kind: str
    encode: Callable[[Any], object]


reducers: dict[type, Callable[[Any], Any]] = {}
"""How objects of exactly these types are pickled: the handles here, and what the pickler adds of its own."""

_by_type: dict[type, _Handle] = {}
_decoders: dict[str, Callable[[Any], Any]] = {}


def register_handle(cls: type, kind: str, encode: Callable[[Any], object], decode: Callable[[Any], Any]) -> None:
    """Makes objects whose exact type is `cls` travel as `(kind, encode(obj))`, to be revived by `decode`.

    Args:
        cls: The type; subclasses are registered on their own.
        kind: Names the type on the wire, the same in every process.
        encode: Describes an object by plain data.
        decode: Takes what `encode` returned; called in the receiving process.
    """
    _by_type[cls] = _Handle(kind, encode)
    _decoders[kind] = decode
    reducers[cls] = _reduce


def _reduce(obj: Any) -> tuple[Any, ...]:
    handle = _by_type[type(obj)]
    return _revive, (handle.kind, handle.encode(obj))


def _revive(kind: str, data: Any) -> Any:
    decode = _decoders.get(kind)
    if decode is None:
        raise LookupError(
            f"A handle of kind {kind!r} arrived, which nothing in this process has registered "
            f"(known: {', '.join(sorted(_decoders)) or 'none'}); `import modal_lite` registers all of them."
        )
    return decode(data)
