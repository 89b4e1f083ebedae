import asyncio
import gc
import linecache
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import modal_lite
from modal_lite._core import tracebacks
from modal_lite._core.tracebacks import attach_traceback, hide_library_frames, pack_traceback

LIBRARY_FILE = str(Path(modal_lite.__file__).parent / "not_a_real_file.py")


def compiled(source: str, filename: str, **names: Any) -> Callable[..., Any]:
    """The function `f` of the source, as if it were in that file."""
    exec(compile(source, filename, "exec"), names)
    function: Callable[..., Any] = names["f"]
    return function


def in_library(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called by a frame of the library."""
    return compiled("def f(*args): return function(*args)", LIBRARY_FILE, function=function)


def caught(function: Callable[..., Any], *args: Any) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    raise AssertionError("nothing was raised")


def names(tb: TracebackType | None) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(tb)]


def fails() -> None:
    raise ValueError("failed")


def calls_back(function: Callable[..., Any]) -> Any:
    return function()


@pytest.fixture(autouse=True)
def _hiding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MODAL_LITE_TRACEBACK", raising=False)
    yield
    for name in list(tracebacks._seeded):
        del tracebacks._seeded[name], linecache.cache[name]


def test_leading_library_frames_are_hidden_and_later_ones_are_not() -> None:
    error = caught(in_library(in_library(lambda: calls_back(in_library(fails)))))
    assert names(error.__traceback__) == ["f", "f", "<lambda>", "calls_back", "f", "fails"]
    hide_library_frames(error)
    assert names(error.__traceback__) == ["<lambda>", "calls_back", "f", "fails"]


def test_frames_of_the_event_loop_are_hidden_only_while_leading() -> None:
    async def user() -> None:
        await asyncio.wait_for(asyncio.sleep(10), 0)

    error = caught(in_library(asyncio.run), user())
    hide_library_frames(error)
    assert names(error.__traceback__)[0] == "user"
    assert len(names(error.__traceback__)) > 1


def test_no_frame_is_left_if_all_are_the_library_s() -> None:
    error = caught(compiled("def f(): raise ValueError('ours')", LIBRARY_FILE))
    hide_library_frames(error)
    assert error.__traceback__ is None
    hide_library_frames(error)


def test_the_environment_turns_hiding_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_LITE_TRACEBACK", "1")
    error = caught(in_library(fails))
    hide_library_frames(error)
    assert names(error.__traceback__) == ["f", "fails"]


def test_a_bare_raise_after_hiding_shows_only_the_caller() -> None:
    hidden = compiled(
        "def f():\n try: function()\n except BaseException as error:\n  hide(error)\n  raise\n",
        LIBRARY_FILE,
        function=in_library(fails),
        hide=hide_library_frames,
    )
    error = caught(lambda: hidden())
    assert names(error.__traceback__) == ["<lambda>", "fails"]


def test_contexts_handled_inside_the_library_are_cut_and_the_user_s_are_kept() -> None:
    source = "def f():\n try: {}['x']\n except KeyError: raise LookupError('not found')\n"
    looks_up = compiled(source, LIBRARY_FILE)

    def user() -> None:
        try:
            fails()
        except ValueError:
            looks_up()

    error = caught(user)
    hide_library_frames(error)
    assert isinstance(error, LookupError)
    assert isinstance(error.__context__, ValueError)
    assert error.__context__.__context__ is None


def test_explicit_causes_are_kept() -> None:
    source = "def f():\n try: {}['x']\n except KeyError as error: raise LookupError('not found') from error\n"
    error = caught(compiled(source, LIBRARY_FILE))
    hide_library_frames(error)
    assert isinstance(error.__cause__, KeyError)
    assert error.__context__ is error.__cause__


def test_a_chain_that_is_a_circle_ends() -> None:
    first, second = caught(fails), caught(fails)
    first.__cause__, second.__cause__ = second, first
    hide_library_frames(first)


def reattached(error: BaseException) -> BaseException:
    revived = ValueError(*error.args)
    attach_traceback(revived, pack_traceback(error.__traceback__))
    return revived


def formatted(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def divides(numbers: list[int]) -> float:
    return sum(numbers) + (
        numbers[0] / numbers[1]
    ) + 1  # fmt: skip


def test_a_packed_traceback_reads_like_the_original() -> None:
    error = caught(divides, [1, 0])
    revived = ZeroDivisionError(*error.args)
    attach_traceback(revived, pack_traceback(error.__traceback__))
    assert formatted(revived) == formatted(error)
    again = ZeroDivisionError(*error.args)
    attach_traceback(again, pack_traceback(revived.__traceback__))
    assert formatted(again) == formatted(error)
    assert "numbers[0] / numbers[1]" in formatted(again)


def test_leading_library_frames_are_not_packed() -> None:
    revived = reattached(caught(in_library(fails)))
    assert names(revived.__traceback__) == ["fails"]
    assert reattached(caught(compiled("def f(): raise ValueError", LIBRARY_FILE))).__traceback__ is None


def test_source_lines_travel_if_the_file_does_not(tmp_path: Path) -> None:
    file = tmp_path / "remote.py"
    file.write_text("\n\ndef f():\n    raise ValueError('x')  # from far away\n")
    packed = pack_traceback(caught(compiled(file.read_text(), str(file))).__traceback__)
    file.unlink()
    linecache.clearcache()
    revived = ValueError("x")
    attach_traceback(revived, packed)
    linecache.checkcache()
    assert f"{file}\", line 4, in f\n    raise ValueError('x')  # from far away\n" in formatted(revived)


def test_source_of_files_that_are_here_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "both.py"
    file.write_text("def f(): raise ValueError('x')  # as it was there\n")
    packed = pack_traceback(caught(compiled(file.read_text(), str(file))).__traceback__)
    file.write_text("def f(): raise ValueError('x')  # as it is here, longer\n")
    linecache.clearcache()
    revived = ValueError("x")
    attach_traceback(revived, packed)
    assert "as it is here" in formatted(revived)
    assert str(file) not in tracebacks._seeded


def test_known_source_of_what_was_typed_is_not_replaced() -> None:
    linecache.cache["<typed-1>"] = (1, None, ["def f(): raise ValueError  # mine\n"], "<typed-1>")
    try:
        packed = pack_traceback(caught(compiled("def f(): raise ValueError", "<typed-1>")).__traceback__)
        linecache.cache["<typed-1>"] = (1, None, ["def f(): raise ValueError  # newer\n"], "<typed-1>")
        revived = ValueError()
        attach_traceback(revived, packed)
        assert "# newer" in formatted(revived)
    finally:
        del linecache.cache["<typed-1>"]


def test_a_deep_recursion_survives() -> None:
    def recurse() -> None:
        recurse()

    error = caught(recurse)
    revived = RecursionError(*error.args)
    attach_traceback(revived, pack_traceback(error.__traceback__))
    assert len(names(revived.__traceback__)) == len(names(error.__traceback__))
    assert "Previous line repeated" in formatted(revived)


def test_an_exception_that_cannot_be_changed_gets_its_traceback() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    error = Frozen()
    attach_traceback(error, pack_traceback(caught(fails).__traceback__))
    assert names(error.__traceback__) == ["fails"]
    tracebacks.set_chain(error, None, ValueError(), True)
    assert isinstance(error.__context__, ValueError)
    hide_library_frames(error)


def test_attached_frames_keep_nothing_alive() -> None:
    class Referable(Exception):
        """Unlike builtin exceptions, this one can be referred to weakly."""

    revived = Referable()
    attach_traceback(revived, pack_traceback(caught(fails).__traceback__))
    gone = weakref.ref(revived)
    gc.disable()
    try:
        del revived
        assert gone() is None
    finally:
        gc.enable()
