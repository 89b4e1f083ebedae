"""What whoever listens to the output is told."""

from pathlib import Path
from typing import Any

import pytest

from modal_lite._server import plane
from modal_lite._server.logs import Written
from tests.server.functions import app, print_and_wait
from tests.waiting import wait_until


def test_lines_come_with_app_function_container_and_input(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Written] = []

    def note(*fields: Any) -> Written:
        told.append(Written(*fields))
        return told[-1]

    monkeypatch.setattr(plane, "Written", note)
    call = print_and_wait.spawn(str(tmp_path / "go"))
    wait_until(lambda: told, "the line")
    (tmp_path / "go").touch()
    input_id = call.get()
    (written,) = told
    assert (written.lines, written.stream, written.transient) == (["printed"], "stdout", False)
    assert (written.function.app_name, written.function.tag) == (app.name, "print_and_wait")
    assert written.container_id.startswith("ta-") and written.input_id == input_id
