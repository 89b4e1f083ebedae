"""Requests that come before there is a container for them."""

import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from modal_lite._server import web_front
from tests.web.slow_functions import GATE, app, gated


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "gate"
    monkeypatch.setenv(GATE, str(path))
    return path


def test_a_request_waits_for_its_container(gate: Path) -> None:
    with app.run():
        url = gated.web_url
        threading.Timer(0.5, gate.touch).start()
        with urllib.request.urlopen(url, timeout=30) as reply:
            assert reply.read() == b"ready"


def test_one_that_waits_too_long_is_to_come_again(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_front, "START_PATIENCE", 0.2)
    with app.run():
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(gated.web_url, timeout=30)
        with caught.value as refusal:
            assert refusal.code == 503
            assert refusal.headers["Retry-After"] == "5"
        monkeypatch.setattr(web_front, "START_PATIENCE", 30.0)
        gate.touch()
        with urllib.request.urlopen(gated.web_url, timeout=30) as reply:
            assert reply.read() == b"ready"


def test_there_may_be_too_many(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_front, "MAX_WAITING", 0)
    with app.run(), pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(gated.web_url, timeout=30)
    with caught.value as refusal:
        assert refusal.code == 503
        assert refusal.read() == b"Too many requests wait.\n"
