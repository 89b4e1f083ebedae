"""A pytest plugin for the conformance suite: leaves out what later versions bring, and says so.

An entry goes when its feature comes. One that matches no test of the suite is an error, so that the list cannot rot.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Later:
    """A feature that is not there yet, and the tests that need it."""

    feature: str
    reason: str
    tests: tuple[str, ...]
    """`file` or `file::function`, for all of its parameters."""

    def covers(self, item: pytest.Item) -> bool:
        """True if the test needs this feature."""
        return any(_matches(pattern, item) for pattern in self.tests)


LATER: tuple[Later, ...] = ()


def _matches(pattern: str, item: pytest.Item) -> bool:
    file, _, function = pattern.partition("::")
    return item.path.name == file and function in ("", getattr(item, "originalname", item.name))


class Scope:
    """Deselects the tests of LATER and reports how many there were, by feature."""

    def __init__(self) -> None:
        self._left_out: Counter[str] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Takes the tests of later features out of the run."""
        stale = list(_stale(items))
        if stale and not any("::" in argument for argument in config.args):
            raise pytest.UsageError(f"tests/conformance/scope.py names tests that do not exist: {', '.join(stale)}")
        left_out = {item: later for item in items for later in LATER if later.covers(item)}
        if left_out:
            self._left_out.update(later.feature for later in left_out.values())
            config.hook.pytest_deselected(items=list(left_out))
            items[:] = [item for item in items if item not in left_out]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Says what was left out and why."""
        if not self._left_out:
            return
        terminalreporter.section(f"left out: {self._left_out.total()} tests of what later versions bring")
        for later in LATER:
            if count := self._left_out[later.feature]:
                terminalreporter.write_line(f"{count:4}  {later.feature}: {later.reason}")


def _stale(items: list[pytest.Item]) -> Iterator[str]:
    collected = {item.path.name for item in items}
    for later in LATER:
        for pattern in later.tests:
            if pattern.partition("::")[0] in collected and not any(_matches(pattern, item) for item in items):
                yield pattern
