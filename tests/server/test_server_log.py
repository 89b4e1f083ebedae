"""The server's own log."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from modal_lite._server import server_log
from modal_lite._server.server_log import JsonLines, log_to


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was afterwards."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    for handler in set(logger.handlers) - set(handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)


def test_a_line_has_what_was_logged(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    log_to(path)
    assert not path.exists()
    logger = logging.getLogger("modal_lite.test")
    logger.info("line\n%s", "two", extra={"app": "shop", "version": 3, "odd": object, "surrogate": "\udcff"})
    logger.debug("not this")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it failed")
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first == {
        "level": "info",
        "logger": "modal_lite.test",
        "message": "line\ntwo",
        "app": "shop",
        "version": 3,
        "odd": "<class 'object'>",
        "surrogate": "\udcff",
    }
    assert second["level"] == "error" and second["exception"].endswith("ValueError: broken")


def test_the_file_is_rotated(root: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_log, "MAX_BYTES", 2000)
    log_to(tmp_path / "server.log")
    for i in range(200):
        logging.getLogger("modal_lite.test").info("line %d", i)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["server.log", "server.log.1", "server.log.2", "server.log.3"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "server.log").read_text().splitlines()[-1])["message"] == "line 199"


def test_a_record_without_anything_more() -> None:
    record = logging.LogRecord("name", logging.WARNING, "path", 1, "text", None, None)
    assert set(json.loads(JsonLines().format(record))) == {"time", "level", "logger", "message"}
