"""The entries of a Dict, keys and values as bytes."""

from modal_lite._core.object_requests import (
    Count,
    DictClear,
    DictCount,
    DictGet,
    DictKeys,
    DictPop,
    DictPut,
    Values,
)
from modal_lite._core.request_base import Reply
from modal_lite._core.requests import DONE

PAGE = 1 << 20
"""Bytes of values from which on an answer ends."""


class DictState:
    """One Dict. Every request is answered at once."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}

    def answer(self, request: DictGet | DictPut | DictPop | DictKeys | DictCount | DictClear) -> Reply:
        """What comes of a request."""
        match request:
            case DictGet():
                return self._get(request.keys)
            case DictPut():
                return self._put(request.entries, request.only_new)
            case DictPop():
                return Values([self._entries.pop(request.key, None)])
            case DictKeys():
                return Values(list(self._entries))
            case DictCount():
                return Count(len(self._entries) if request.key is None else int(request.key in self._entries))
            case DictClear():
                self._entries.clear()
                return DONE

    def _get(self, keys: list[bytes]) -> Values:
        values: list[bytes | None] = []
        size = 0
        for key in keys:
            value = self._entries.get(key)
            values.append(value)
            size += len(value or b"")
            if size > PAGE:
                break
        return Values(values)

    def _put(self, entries: list[tuple[bytes, bytes]], only_new: bool) -> Count:
        before = len(self._entries)
        if not only_new:
            self._entries.update(entries)
            return Count(len(entries))
        for key, value in entries:
            self._entries.setdefault(key, value)
        return Count(len(self._entries) - before)
