"""REF on the command line: which module it means, and what there is to run in it."""

import difflib
import importlib
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from modal_lite._core.main_module import load_module, script_module_name
from modal_lite._synchronizer import synchronizer
from modal_lite.app import App, LocalEntrypoint
from modal_lite.cli.failures import UsageError, user_code
from modal_lite.cli.methods import Method
from modal_lite.functions import Function

_NO_APP = """There is no app in {where}. Define one at module level:

    import modal_lite

    app = modal_lite.App("example")

    @app.function()
    def hello():
        print("hello")"""


@dataclass(frozen=True)
class Ref:
    """`file.py`, `file.py::name`, `file.py::Class.method`, or `pkg.mod::name` after `-m`."""

    target: str
    """The file, or the module's name."""
    name: str | None
    is_module: bool

    @staticmethod
    def parse(text: str, is_module: bool) -> "Ref":
        """Takes a REF apart. Raises UsageError if there is nothing where it points to."""
        target, separator, name = text.partition("::")
        if separator and not name:
            raise UsageError(f"A name is missing after the :: of {text!r}.")
        if not is_module:
            _check_file(target)
        return Ref(target, name or None, is_module)

    def load(self) -> ModuleType:
        """Imports the module, from the file's folder or the current one. What it raises ends the process.

        Raises:
            UsageError: There is no such module.
        """
        here = os.getcwd()
        if here not in sys.path:
            sys.path.insert(0, here)
        if not self.is_module:
            path = os.path.abspath(self.target)
            sys.path.insert(0, os.path.dirname(path))
            with user_code(), _advice_on_relative_imports(path):
                return load_module(script_module_name(path), path)
        with user_code():
            try:
                return importlib.import_module(self.target)
            except ModuleNotFoundError as error:
                # Else it is a module that this one imports.
                if error.name is None or not f"{self.target}.".startswith(f"{error.name}."):
                    raise
                missing = error.name
        raise UsageError(
            f"There is no module {missing!r} in {here} or on Python's path. Run this in the folder that holds its "
            "outermost package."
        )

    def command(self, name: str | None = None) -> str:
        """The command that runs `name` of this module."""
        target = f"{self.target}::{name}" if name else self.target
        return f"modal-lite run {'-m ' if self.is_module else ''}{shlex.quote(target)}"


@dataclass(frozen=True)
class Runnable:
    """A local entrypoint, a function or a method, and the app to run for it."""

    app_variable: str
    app: Any
    name: str
    object: Any

    @property
    def is_entrypoint(self) -> bool:
        """Whether it is a local entrypoint; else it runs in a container."""
        return isinstance(self.object, LocalEntrypoint)

    @property
    def kind(self) -> str:
        """What it is, for people."""
        if self.is_entrypoint:
            return "entrypoint"
        return "method" if isinstance(self.object, Method) else "function"

    @property
    def raw_f(self) -> Any:
        """The Python function."""
        return self.object.raw_f if self.is_entrypoint else self.object.get_raw_f()


def find_runnable(ref: Ref, module: ModuleType) -> Runnable:
    """The entrypoint or function that a REF means. Raises UsageError, with what could be run instead."""
    apps = _apps(module)
    if not apps:
        raise UsageError(_NO_APP.format(where=ref.target))
    runnables = [runnable for variable, app in apps.items() for runnable in _runnables(variable, app)]
    if not runnables:
        raise UsageError(
            f"The app of {ref.target} has nothing to run: put @app.function() or @app.local_entrypoint() above a "
            "function."
        )
    candidates = runnables
    if ref.name is not None:
        named = [r for r in runnables if ref.name in (r.name, f"{r.app_variable}.{r.name}")]
        candidates = named or [r for r in runnables if ref.name == r.app_variable]
        if not candidates:
            raise UsageError(_unknown_name(ref, ref.name, runnables))
    for kind in (True, False):
        chosen = [runnable for runnable in candidates if runnable.is_entrypoint is kind]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            break
    several = f"{ref.target} has several" if ref.name is None else f"{ref.name!r} could be several"
    raise UsageError(f"{several} entrypoints or functions. Say which to run:\n\n{_listing(ref, candidates)}")


def find_container(ref: Ref, module: ModuleType) -> tuple[Any, Any]:
    """The app to run, and the function or class whose container a REF means. Raises UsageError.

    Without a name it is the first function, or the first class.
    """
    apps = _apps(module)
    if not apps:
        raise UsageError(_NO_APP.format(where=ref.target))
    found: list[tuple[str, Any, Any]] = []
    for variable, app in apps.items():
        for name, function in app.registered_functions.items():
            found += [(each, app, function) for each in (name, f"{variable}.{name}")]
        for name, cls in app.registered_classes.items():
            service = synchronizer.wrapper_of(cls._cls.service)
            methods = [f"{name}.{method}" for method in cls._cls.methods]
            found += [(each, app, service) for each in (name, f"{variable}.{name}", *methods)]
    chosen = [(app, function) for name, app, function in found if ref.name in (None, name)]
    if chosen:
        return chosen[0]
    if ref.name is None:
        raise UsageError(f"The app of {ref.target} has no functions, and so no containers.")
    names = sorted({name for name, _, _ in found})
    near = difflib.get_close_matches(ref.name, names, 3) or names
    raise UsageError(f"{ref.target} has no function or class {ref.name!r}. There is {', '.join(near) or 'none'}.")


def find_app(ref: Ref, module: ModuleType) -> Any:
    """The app that a REF means. Raises UsageError, with what there is instead."""
    apps = _apps(module)
    if not apps:
        raise UsageError(_NO_APP.format(where=ref.target))
    if ref.name is not None:
        chosen = [app for variable, app in apps.items() if ref.name in (variable, app.name)]
    else:
        chosen = list(apps.values()) if len(apps) == 1 else [app for name, app in apps.items() if name == "app"]
    if len(chosen) != 1:
        listing = ", ".join(f"{ref.target}::{variable}" for variable in apps)
        raise UsageError(f"Say which app of {ref.target} is meant: {listing}.")
    return chosen[0]


def _check_file(target: str) -> None:
    if os.path.isfile(target):
        return
    if os.path.isdir(target):
        raise UsageError(f"{target!r} is a folder. Name a file in it, or a package with -m.")
    advice = "Check the path."
    if os.path.isfile(f"{target}.py"):
        advice = f"Did you mean {target}.py?"
    elif os.sep not in target and not target.endswith(".py"):
        advice = f"To run a module by its name, add -m: modal-lite run -m {target}"
    raise UsageError(f"There is no file {target!r} in {os.getcwd()}. {advice}")


@contextmanager
def _advice_on_relative_imports(path: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        folder, file = os.path.split(path)
        if "relative import" in str(error) and os.path.exists(os.path.join(folder, "__init__.py")):
            name = f"{os.path.basename(folder)}.{os.path.splitext(file)[0]}"
            error.add_note(f"To run a file of a package, name it as a module: modal-lite run -m {name}")
        raise


def _apps(module: ModuleType) -> dict[str, Any]:
    apps: dict[str, Any] = {}
    for variable, value in vars(module).items():
        if isinstance(value, App) and not any(value is app for app in apps.values()):
            apps[variable] = value
    return apps


def _runnables(variable: str, app: Any) -> list[Runnable]:
    entrypoints: dict[str, LocalEntrypoint[..., Any]] = app.registered_entrypoints
    functions: dict[str, Function[..., Any, Any]] = app.registered_functions
    methods = [Method(cls, name) for cls in app.registered_classes.values() for name in cls._cls.methods]
    found = [*entrypoints.items(), *functions.items(), *((method.name, method) for method in methods)]
    return [Runnable(variable, app, name, each) for name, each in found]


def _unknown_name(ref: Ref, name: str, runnables: list[Runnable]) -> str:
    near = difflib.get_close_matches(name.rpartition(".")[2], {runnable.name for runnable in runnables}, 3)
    words = f"{ref.target} has no entrypoint, function or method {name!r}."
    if near:
        words += f" Did you mean {' or '.join(near)}?"
    return f"{words}\n\n{_listing(ref, runnables)}"


def _listing(ref: Ref, runnables: list[Runnable]) -> str:
    """A line for each of them: the command that runs it, and what it is."""
    names = [runnable.name for runnable in runnables]
    rows = []
    for runnable in runnables:
        unique = names.count(runnable.name) == 1
        command = ref.command(runnable.name if unique else f"{runnable.app_variable}.{runnable.name}")
        rows.append((command, runnable.kind))
    width = max(len(command) for command, _ in rows)
    return "\n".join(f"  {command:{width}}  {kind}" for command, kind in rows)
