"""Keeping Python's signal handlers out of code that must not be interrupted.

A handler runs in the main thread between any two of its bytecodes, and may raise: Ctrl-C does. What the library's event
loop does on the main thread must not be torn apart like that.
"""

import _signal  # type: ignore[import-not-found, unused-ignore]
import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

# What `signal` wraps to make enumerations of the numbers, which takes ten times as long as the rest.
_get_handler: Callable[[int], Any] = _signal.getsignal
_set_handler: Callable[[int, Any], Any] = _signal.signal
_SIGNALS = tuple(int(number) for number in signal.Signals if number < 32)  # Nobody raises from the real-time ones.
_HARMLESS = asyncio.unix_events._sighandler_noop  # type: ignore[attr-defined]
"""What asyncio puts in the place of a handler of its own, which runs in the event loop."""


class DeferredSignals:
    """Context manager: signals that have a handler in Python are handled when the block ends.

    In any thread but the main one it does nothing, for handlers never run there. Leaving the block raises what the
    handlers raise.

    Args:
        on_arrival: called when one arrives; it must not raise.
    """

    __slots__ = ("_arrived", "_handlers", "_on_arrival")

    def __init__(self, on_arrival: Callable[[], object]) -> None:
        self._on_arrival = on_arrival
        self._handlers: list[tuple[int, Any]] = []
        self._arrived: list[int] = []

    def __enter__(self) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            return
        # All are noted before any is replaced: the handler of another may raise here, and all is put back then.
        self._handlers = [
            (number, handler)
            for number in _SIGNALS
            if callable(handler := _get_handler(number)) and handler is not _HARMLESS
        ]
        try:
            for number, _ in self._handlers:
                _set_handler(number, self._note)
        except BaseException:
            self._restore()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._handlers:
            return
        handlers = dict(self._handlers)
        self._restore()
        for number in self._arrived:
            handlers[number](number, sys._getframe(1))

    def _restore(self) -> None:
        try:
            while self._handlers:
                _set_handler(*self._handlers[-1])
                self._handlers.pop()
        finally:
            # A handler that is back already may have raised.
            if self._handlers:
                self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived.append(number)
        self._on_arrival()
