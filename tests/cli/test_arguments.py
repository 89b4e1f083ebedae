"""Parameters of functions as options."""

import datetime
import re
from typing import Annotated, Any, Literal, Optional, Union

import click
import pytest

from modal_lite.cli.arguments import Arguments
from modal_lite.cli.failures import UsageError

PARENT = click.Context(click.Command("parent"))
UTC = datetime.timezone.utc  # noqa: UP017 -- as users write it


def parse(function: Any, *words: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that the words make for the function."""
    return Arguments(function, "command").parse(words, PARENT)


def typed(i: int, f: float, s: str, two_words: bool, when: datetime.datetime, bare) -> None:  # type: ignore[no-untyped-def]
    """A docstring."""


def test_every_supported_type() -> None:
    words = [
        "--i",
        "-1",
        "--f",
        "1e3",
        "--s",
        "text",
        "--no-two-words",
        "--when",
        "2026-01-31T12:00+00:00",
        "--bare",
        "5",
    ]
    assert parse(typed, *words) == (
        [],
        {
            "i": -1,
            "f": 1000.0,
            "s": "text",
            "two_words": False,
            "when": datetime.datetime(2026, 1, 31, 12, tzinfo=UTC),
            "bare": "5",
        },
    )


def test_optional_annotated_and_literal() -> None:
    def function(
        a: Optional[int] = None,  # noqa: UP045
        b: float | None = None,
        c: Annotated[int, "meters"] = 0,
        d: Literal["x", 1] = "x",
        e: Union[bool, None] = None,  # noqa: UP007
        F: str = "",
    ) -> None: ...

    assert parse(function) == ([], {})
    words = ["--a", "1", "--b", "2", "--c", "3", "--d", "1", "--e", "--F", "f"]
    assert parse(function, *words)[1] == {"a": 1, "b": 2.0, "c": 3, "d": 1, "e": True, "F": "f"}


def test_defaults_stay_with_the_function() -> None:
    default = object()

    def function(x: int = default, *, flag: bool = True) -> None: ...  # type: ignore[assignment]

    assert parse(function) == ([], {})
    assert parse(function, "--no-flag") == ([], {"flag": False})


def test_variadic_words_and_positions() -> None:
    def function(first: int, /, second: str = "2", *rest: str, third: int = 3, **others: int) -> None: ...

    assert parse(function, "--first", "1") == ([1, "2"], {})
    assert parse(function, "a", "--third", "4", "--first", "1", "--", "--b") == ([1, "2", "a", "--b"], {"third": 4})


def test_annotations_as_strings() -> None:
    def function(x: "int", y: "float | None" = None) -> None: ...

    assert parse(function, "--x", "1", "--y", "2")[1] == {"x": 1, "y": 2.0}


@pytest.mark.parametrize("words", [["--i"], ["--i", "x"], ["--when", "tomorrow"], ["--loud"], ["word"], []])
def test_words_that_do_not_fit(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse(typed, *words)


def test_a_required_flag_is_missed() -> None:
    def function(loud: bool) -> None: ...

    with pytest.raises(click.UsageError, match="Missing parameter: loud"):
        parse(function)
    assert parse(function, "--no-loud")[1] == {"loud": False}


def test_unsupported_annotations_name_parameter_and_annotation() -> None:
    def function(items: dict[str, int]) -> None: ...

    def union(x: int | str) -> None: ...

    def variadic(*numbers: int) -> None: ...

    def unresolved(x: "NoSuchName") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(UsageError, match=r"'items' cannot be given .* annotated dict\[str, int\]\. Supported are"):
        Arguments(function, "command")
    with pytest.raises(UsageError, match=r"'x' cannot be given .* annotated int \| str\."):
        Arguments(union, "command")
    with pytest.raises(UsageError, match=r"'\*numbers' cannot be given .* annotated int\."):
        Arguments(variadic, "command")
    with pytest.raises(UsageError, match=r"unresolved cannot be resolved \(NameError: name 'NoSuchName'"):
        Arguments(unresolved, "command")


def test_help_shows_options_defaults_and_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    def function(count: int, two_words: str = "text", how: Literal["a", "b"] = "a") -> None:
        """Counts things."""

    with pytest.raises(click.exceptions.Exit):
        parse(function, "--help")
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: command [OPTIONS]\n\n  Counts things.\n")
    for line in (r"--count INTEGER\s+\[required\]", r"--two-words TEXT\s+\[default: text\]", r"--how \[a\|b\]"):
        assert re.search(line, shown), shown
