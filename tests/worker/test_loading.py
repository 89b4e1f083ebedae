"""Finding the user's function."""

import functools
from pathlib import Path

import pytest

from modal_lite._core.messages import FailureKind, MainModule, StartFailed
from modal_lite._core.serialization import dumps_function
from modal_lite._worker import loading
from tests.worker import functions_to_run
from tests.worker.harness import Plane, container_spec

SCRIPT = """
ran_as_main = False
class Wrapped:
    def __init__(self, raw):
        self.raw = raw
    def get_raw_f(self):
        return self.raw
@Wrapped
def double(x):
    return (2 * x, __name__, ran_as_main)
class Group:
    def method(x):
        return x + 1
if __name__ == "__main__":
    ran_as_main = True
"""


def test_callers_main_module_is_imported_under_its_name(plane: Plane, tmp_path: Path) -> None:
    path = tmp_path / "script_of_user.py"
    path.write_text(SCRIPT)
    main = MainModule("script_of_user", str(path))
    container = plane.start("double", module_name="__main__", main=main).ready()
    assert container.results(container.call(4)) == [(8, "script_of_user", False)]


def test_module_by_its_file(plane: Plane, tmp_path: Path) -> None:
    path = tmp_path / "not_on_the_path.py"
    path.write_text(SCRIPT)
    container = plane.start("Group.method", module_name="not_on_the_path", file_path=str(path)).ready()
    assert container.results(container.call(4)) == [5]


def test_serialized_function(plane: Plane) -> None:
    offset = 30
    container = plane.start("lambda", serialized=dumps_function(lambda x: x + offset)).ready()
    assert container.results(container.call(4)) == [34]


def _start_failure(plane: Plane, name: str, **fields: object) -> StartFailed:
    container = plane.start(name, **fields)
    message, _ = container.recv()
    assert isinstance(message, StartFailed)
    assert message.failure.kind is FailureKind.INIT
    assert container.exit_status() == 1
    return message


def test_what_the_import_raises_is_reported(plane: Plane) -> None:
    message = _start_failure(plane, "f", module_name="broken_at_import")
    assert message.failure.message == "SystemExit: no configuration"
    assert "broken_at_import.py" in message.failure.traceback


def test_module_that_is_missing(plane: Plane) -> None:
    message = _start_failure(plane, "f", module_name="no_such_module")
    assert message.failure.message == "ModuleNotFoundError: No module named 'no_such_module'"


def test_function_that_is_missing(plane: Plane) -> None:
    message = _start_failure(plane, "no_such_function")
    assert message.failure.message.startswith("AttributeError: functions_to_run has no 'no_such_function'")


def test_working_directory_that_is_missing(plane: Plane, tmp_path: Path) -> None:
    message = _start_failure(plane, "same", cwd=str(tmp_path / "gone"))
    assert message.failure.type_name == "FileNotFoundError"


def test_unwrappers_are_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_unwrappers", [])
    loading.register_unwrapper(lambda obj: len if obj is functions_to_run.same else None)
    spec = container_spec("ta-1", "same", module_name="tests.worker.functions_to_run")
    assert loading.load_function(spec) is len


def test_what_cannot_be_called_is_refused() -> None:
    spec = container_spec("ta-1", "accumulated", module_name="tests.worker.functions_to_run")
    with pytest.raises(TypeError, match="accumulated is 'list', which cannot be called"):
        loading.load_function(spec)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (functions_to_run.same, False),
        (functions_to_run.count_to, False),
        (functions_to_run.async_same, True),
        (functions_to_run.async_count_to, True),
        (functions_to_run.wrapped_async, True),
        (functools.partial(functions_to_run.async_same, 1), True),
        (functions_to_run.callable_object, False),
        (len, False),
    ],
)
def test_what_runs_on_a_loop(function: object, expected: bool) -> None:
    assert loading.is_async(function) is expected  # type: ignore[arg-type]
