"""What is new in the log of an app, to the last line."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modal_lite._server import app_logs
from modal_lite._server.app_logs import AppLogs
from modal_lite._server.logs import Written


def written(*texts: str) -> Written:
    definition: Any = SimpleNamespace(app_id="ap-1", tag="f")
    return Written(definition, "ta-1", None, "stdout", list(texts), False)


def read_all(logs: AppLogs, count: int, seen: float = 0.0) -> list[str]:
    """As one that follows it does."""
    texts = []
    while lines := logs.read_new("ap-1", count, seen):
        texts += [line.text for line in lines]
        seen = lines[-1].time
    return texts


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[AppLogs]:
    made = AppLogs(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("count", [1, 7, 10_000])
def test_more_than_one_answer_takes_is_read_in_several(logs: AppLogs, count: int) -> None:
    expected = [f"{write}.{line}" for write in range(500) for line in range(3)]
    for at in range(0, len(expected), 3):
        logs.write(written(*expected[at : at + 3]))
    assert read_all(logs, count) == expected


def test_what_is_written_right_after_a_look_is_new(logs: AppLogs) -> None:
    seen = 0.0
    for number in range(300):
        logs.write(written(str(number)))
        (line,) = logs.read_new("ap-1", 10, seen)
        assert line.text == str(number)
        seen = line.time
    assert logs.read_new("ap-1", 10, seen) == []


def test_what_the_file_before_has_is_new_too(logs: AppLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_logs, "MAX_BYTES", 4000)
    monkeypatch.setattr(app_logs, "_END", 100)
    seen, texts = 0.0, []
    for number in range(200):
        logs.write(written(str(number)))
        if number % 20 == 19:
            texts += (new := logs.read_new("ap-1", 1000, seen))
            seen = new[-1].time
    assert [line.text for line in texts] == [str(number) for number in range(200)]


def test_another_process_finds_it_too(logs: AppLogs, tmp_path: Path) -> None:
    logs.write(written("a", "b"))
    later = AppLogs(tmp_path)
    assert read_all(later, 10) == ["a", "b"]
