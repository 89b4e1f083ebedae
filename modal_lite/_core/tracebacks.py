"""Tracebacks: the library's own frames hidden, and frames that travel between processes with their source lines.

Only plain data travels: file, line, name, columns and source of each frame. The receiver makes real frames of it, of
code that was compiled for exactly that place, so that every tool that prints tracebacks shows them, markers below the
failing expression included. (tblib, which serves the same end, puts those markers in the wrong place.)
"""

import ast
import linecache
import os
import pickle
import sys
import threading
from itertools import islice
from types import CodeType, FunctionType, TracebackType
from typing import Any, NamedTuple

_STDLIB = os.path.dirname(os.__file__) + os.sep
_LIBRARY = (
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep,
    *(_STDLIB + name + os.sep for name in ("asyncio", "importlib", os.path.join("concurrent", "futures"))),
    *(_STDLIB + name for name in ("threading.py", "contextlib.py")),
    "<frozen importlib",
)
"""What file names of frames begin with that are the library's, or lie between its frames."""
_SOURCE_LINES = 20
"""Lines of source that travel with a frame at most: a statement may be long."""

_seeded: dict[str, list[str]] = {}
"""Lines of files that are not here, in the lists that `linecache` holds, too."""
_seeded_lock = threading.Lock()


class _Frame(NamedTuple):
    filename: str
    name: str
    module: str | None
    positions: tuple[int, int, int, int]
    """First line, last line, first column (in bytes), last column; columns are -1 where unknown."""
    source: tuple[str, ...]
    """The lines of source from the first to the last."""


def hide_library_frames(exc: BaseException) -> None:
    """Drops the leading frames of the library from the traceback, up to the first of anyone else's.

    Also drops, from the chain of contexts, exceptions that were raised and handled inside of the library: how the
    library came to raise this is none of the user's business, and what the user was handling stays. Explicit causes
    stay whole, for each was named on purpose. Does nothing with the environment variable MODAL_LITE_TRACEBACK=1.
    """
    if not _hiding_enabled():
        return
    set_traceback(exc, without_library_frames(exc.__traceback__))
    seen = {id(exc)}
    current: BaseException | None = exc
    while current is not None:
        context = current.__context__
        while context is not None and context is not current.__cause__ and _is_internal(context):
            context = context.__context__
        if context is not current.__context__:
            _set(current, "__context__", context)
        current = current.__cause__ or context
        if id(current) in seen:
            return
        seen.add(id(current))


def without_library_frames(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from its first frame on that is not the library's; None if there is none."""
    if not _hiding_enabled():
        return tb
    prefixes = _library_prefixes()
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(prefixes):
        tb = tb.tb_next
    return tb


def pack_traceback(tb: TracebackType | None) -> bytes:
    """The traceback as bytes, without leading frames of the library; empty for none."""
    tb = without_library_frames(tb)
    frames = []
    while tb is not None:
        code = tb.tb_frame.f_code
        positions = _positions(code, tb)
        module = tb.tb_frame.f_globals.get("__name__")
        source = _source(code.co_filename, positions, tb.tb_frame.f_globals)
        frames.append((code.co_filename, code.co_name, module if isinstance(module, str) else None, positions, source))
        tb = tb.tb_next
    return pickle.dumps(frames, 5) if frames else b""


def attach_traceback(exc: BaseException, packed: bytes) -> None:
    """Sets the exception's traceback to the frames that were packed."""
    frames = [_Frame(*frame) for frame in pickle.loads(packed)] if packed else []
    tb: TracebackType | None = None
    codes: dict[tuple[Any, ...], tuple[CodeType, int]] = {}
    for frame in reversed(frames):
        key = (frame.filename, frame.name, frame.positions)
        if key not in codes:
            _seed_source(frame)
            codes[key] = _code_at(frame)
        tb = _entry(frame, *codes[key], tb)
    set_traceback(exc, tb)


def set_traceback(exc: BaseException, tb: TracebackType | None) -> None:
    """Sets `__traceback__`, whatever the exception's class thinks of setting attributes."""
    BaseException.with_traceback(exc, tb)


def set_chain(
    exc: BaseException, cause: BaseException | None, context: BaseException | None, suppress_context: bool
) -> None:
    """Sets cause and context, whatever the exception's class thinks of setting attributes."""
    _set(exc, "__cause__", cause)
    _set(exc, "__context__", context)
    _set(exc, "__suppress_context__", suppress_context)


def _hiding_enabled() -> bool:
    return os.environ.get("MODAL_LITE_TRACEBACK", "") in ("", "0")


def _set(exc: BaseException, name: str, value: object) -> None:
    # A class's own __setattr__ (a frozen dataclass, say) must not get in the way.
    BaseException.__dict__[name].__set__(exc, value)


def _is_internal(exc: BaseException) -> bool:
    return exc.__traceback__ is not None and without_library_frames(exc.__traceback__) is None


def _library_prefixes() -> tuple[str, ...]:
    synchronicity = getattr(sys.modules.get("synchronicity"), "__file__", None)
    return (*_LIBRARY, os.path.dirname(synchronicity) + os.sep) if synchronicity else _LIBRARY


def _positions(code: CodeType, tb: TracebackType) -> tuple[int, int, int, int]:
    line = tb.tb_lineno or 1
    if tb.tb_lasti >= 0:
        start, end, column, end_column = next(islice(code.co_positions(), tb.tb_lasti // 2, None), (None,) * 4)
        if start == line and end is not None and column is not None and end_column is not None:
            return line, end, column, end_column
    return line, line, -1, -1


def _source(filename: str, positions: tuple[int, int, int, int], module_globals: dict[str, Any]) -> tuple[str, ...]:
    first, last = positions[0], min(positions[1], positions[0] + _SOURCE_LINES - 1)
    return tuple(linecache.getlines(filename, module_globals)[first - 1 : last])


def _seed_source(frame: _Frame) -> None:
    """Makes the frame's source lines known to `linecache`, unless it can read the file or knows it already."""
    name = frame.filename
    if not any(frame.source) or os.access(name, os.R_OK):
        return
    with _seeded_lock:
        lines = _seeded.get(name)
        entry = linecache.cache.get(name)
        if entry is not None and (lines is None or len(entry) != 4 or entry[2] is not lines):
            return
        lines = _seeded.setdefault(name, [])
        start = frame.positions[0] - 1
        lines.extend("\n" for _ in range(start + len(frame.source) - len(lines)))
        lines[start : start + len(frame.source)] = frame.source
        # Without a modification time linecache takes the entry as it is and never looks for the file.
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)


def _entry(frame: _Frame, code: CodeType, lasti: int, following: TracebackType | None) -> TracebackType:
    """A traceback entry for the frame, followed by the entries that are there already."""
    # The frame of a generator that was never started has no caller. One that was really run, and raised, would keep all
    # frames below it alive, and whatever large payload they hold, for as long as the exception lives.
    generator = FunctionType(code, {"__name__": frame.module, "__file__": frame.filename})()
    return TracebackType(following, generator.gi_frame, lasti, frame.positions[0])


def _code_at(frame: _Frame) -> tuple[CodeType, int]:
    """A generator's code that lies where the frame's did, and the offset of an instruction at its very position."""
    tree = ast.parse("lambda: (yield)", mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.lineno, node.end_lineno, node.col_offset, node.end_col_offset = frame.positions
    outer = compile(tree, frame.filename, "eval")
    code: CodeType = next(const for const in outer.co_consts if isinstance(const, CodeType))
    columns = frame.positions[2:] if frame.positions[2] >= 0 else (None, None)
    wanted = (*frame.positions[:2], *columns)
    index = next((index for index, found in enumerate(code.co_positions()) if found == wanted), 0)
    return code.replace(co_name=frame.name, co_qualname=frame.name), index * 2
