"""What is public is what `__all__` lists, documented, under its public name, and cheap to import."""

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import modal_lite

PUBLIC = {
    "App",
    "Client",
    "Cls",
    "Cron",
    "Dict",
    "Error",
    "Function",
    "FunctionCall",
    "FunctionStats",
    "Image",
    "InputInfo",
    "InputStatus",
    "Period",
    "Queue",
    "Retries",
    "Secret",
    "Volume",
    "asgi_app",
    "batched",
    "call_graph",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "enter",
    "exception",
    "exit",
    "fastapi_endpoint",
    "functions",
    "gather",
    "interact",
    "is_local",
    "method",
    "parameter",
    "web_endpoint",
    "web_server",
    "wsgi_app",
}
"""Every public name. A change here is a change of the API: it belongs into the changelog."""

HEAVY = {
    "aiohttp",
    "click",
    "cloudpickle",
    "cronsim",
    "fastapi",
    "dotenv",
    "modal_lite._placement",
    "modal_lite._scheduler",
    "modal_lite._server",
    "modal_lite._transport",
    "modal_lite._worker",
    "numpy",
    "rich",
    "tblib",
    "tempfile",
    "uvicorn",
    "uvloop",
    "zoneinfo",
}
"""Modules that `import modal_lite` must not load: they are imported where they are used."""


def test_the_public_names_are_these() -> None:
    assert set(modal_lite.__all__) == PUBLIC
    assert len(modal_lite.__all__) == len(PUBLIC), "a name is listed twice"


def test_nothing_else_looks_public() -> None:
    visible = {name for name in vars(modal_lite) if not name.startswith("_")} - {"TYPE_CHECKING", "Any"}
    modules = {name for name in visible if isinstance(getattr(modal_lite, name), ModuleType)}
    assert visible - modules <= PUBLIC
    for name in modules:
        assert getattr(modal_lite, name).__name__ == f"modal_lite.{name}"


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_objects_are_documented(name: str) -> None:
    assert inspect.getdoc(getattr(modal_lite, name)), f"{name} has no docstring"


def test_public_classes_report_their_public_module() -> None:
    for name in PUBLIC:
        value = getattr(modal_lite, name)
        if inspect.isclass(value):
            assert not any(part.startswith("_") for part in value.__module__.split(".")), f"{name}: {value.__module__}"


def test_import_is_cheap() -> None:
    code = f"import sys, modal_lite; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == []
