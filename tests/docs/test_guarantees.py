"""Every promise on the page of guarantees names tests, and they are there."""

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "guarantees.md"

_TEST = re.compile(r"\[`(?P<name>test_\w+)`\]\((?P<file>[^)]+\.py)\)")
_PROMISE = re.compile(r"^- .*(?:\n  .*)*", re.MULTILINE)
_NOT_PROMISED = "\n## What is not promised"


def _promises() -> list[str]:
    """The items of the lists above what is not promised."""
    promised, heading, _ = PAGE.read_text().partition(_NOT_PROMISED)
    assert heading
    return _PROMISE.findall(promised)


def _tests_in(path: Path) -> set[str]:
    """The names that pytest finds in a file: functions, and assigned test cases."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_there_are_promises() -> None:
    assert len(_promises()) > 20


@pytest.mark.parametrize("promise", _promises(), ids=lambda promise: promise[2:50])
def test_a_promise_names_the_tests_that_hold_it(promise: str) -> None:
    named = [(match["name"], match["file"]) for match in _TEST.finditer(promise)]
    assert named, f"no test holds this promise: {promise}"
    missing = [(name, file) for name, file in named if name not in _tests_in((PAGE.parent / file).resolve())]
    assert not missing


def test_every_test_that_is_named_anywhere_exists() -> None:
    for match in _TEST.finditer(PAGE.read_text()):
        assert match["name"] in _tests_in((PAGE.parent / match["file"]).resolve()), match[0]
