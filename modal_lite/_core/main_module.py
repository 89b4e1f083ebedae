"""The caller's `__main__`, which a container imports under another name.

A script is `__main__` where it was started and, say, `script` in a container, so one class has two names. Pickles refer
to it by either; both sides read both names as the module they have. What a container would not find when it imports the
file (the REPL's functions, what is made under `if __name__ == "__main__":`) travels by value instead.
"""

import ast
import builtins
import importlib
import importlib.util
import os
import sys
import threading
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

from modal_lite._core.messages import MainModule

MAIN_NAMES = ("__main__", "__mp_main__")
"""Names that the caller's main module goes by in pickles; the second in processes that multiprocessing spawned."""

_in_container = False
_container_main: MainModule | None = None
_load_lock = threading.RLock()

_described: tuple[ModuleType, MainModule | None] | None = None
_found: tuple[ModuleType, frozenset[str]] | None = None


def current_main() -> MainModule | None:
    """How a container imports this process's `__main__`; None for a REPL, `-c`, a notebook, and in a container."""
    global _described
    main = sys.modules.get("__main__")
    if _in_container or main is None:
        return None
    if _described is None or _described[0] is not main:
        _described = (main, _describe(main))
    return _described[1]


def set_container_main(main: MainModule | None) -> None:
    """Makes this process a container of a caller whose `__main__` is `main`."""
    global _in_container, _container_main
    _in_container = True
    _container_main = main


def load_container_main() -> ModuleType:
    """The caller's main module, imported in this container on first use. Raises what the import raises."""
    if _container_main is None:
        raise ImportError("the caller's __main__ is no file (a REPL, `python -c` or a notebook): it cannot be imported")
    with _load_lock:
        return load_module(_container_main.name, _container_main.path)


def load_module(name: str, path: str | None) -> ModuleType:
    """Imports a module by name, or from its file where the name means nothing here or something else.

    Args:
        name: The name it gets in `sys.modules`.
        path: Its file; None to go by the name alone.

    Raises:
        ImportError: There is no such module, and no path.
        Exception: Whatever the module raises.
    """
    if path is None or _leads_to(name, path):
        return importlib.import_module(name)
    # The loader is given because a script need not end in `.py`.
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if previous is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = previous
        raise
    return sys.modules[name]


def script_module_name(path: str) -> str:
    """The name under which the script at `path` is imported: its stem, unless that is another module's name."""
    name = os.path.splitext(os.path.basename(path))[0].replace(".", "_")
    # `bin/pytest` is not the module `pytest`, nor a script `queue.py` the `queue` that everyone has loaded already.
    if name in MAIN_NAMES or (_origin(name) is not None and not _leads_to(name, path)):
        name = f"main_{name.strip('_')}"
    return name


def stand_in(module_name: str) -> ModuleType | None:
    """The module that a pickled reference to `module_name` means here, None if it is the module of that name."""
    if _in_container:
        if _container_main is None or (module_name not in MAIN_NAMES and module_name != _container_main.name):
            return None
        return load_container_main()
    if module_name in MAIN_NAMES:
        return sys.modules["__main__"]
    main = current_main()
    return sys.modules["__main__"] if main is not None and main.name == module_name else None


def find_in_stand_in(module: ModuleType, module_name: str, qualname: str) -> Any:
    """The object of that name in the result of `stand_in`. Raises AttributeError if it has none."""
    try:
        return _get_qualified(module, qualname)
    except AttributeError:
        # The caller may have imported its own script as a second module, too; running it for this is no option.
        second = sys.modules.get(module_name)
        if second is not None and second is not module:
            return _get_qualified(second, qualname)
        where = "a container" if _in_container else "the calling process"
        raise AttributeError(
            f"{module_name!r} has no {qualname!r} in {where}: it is defined only where it was pickled. "
            "Define it at module level, outside of any condition."
        ) from None


def is_found_by_container(obj: Any) -> bool:
    """True if a container that imports the caller's main module finds this very function or class of it by name."""
    main = sys.modules.get("__main__")
    described = current_main()
    if main is None or described is None:
        return False
    code = getattr(obj, "__code__", None)
    if code is not None and code.co_filename.startswith("<"):
        return False  # Typed into `python -i script.py`, perhaps over a function of the script.
    qualname = getattr(obj, "__qualname__", None)
    if not isinstance(qualname, str) or qualname.partition(".")[0] not in _names_found(main, described.path):
        return False
    try:
        return _get_qualified(main, qualname) is obj
    except AttributeError:
        return False


def _describe(main: ModuleType) -> MainModule | None:
    path = getattr(main, "__file__", None)
    if not isinstance(path, str) or not os.path.isfile(path) or hasattr(builtins, "__IPYTHON__"):
        return None
    path = os.path.abspath(path)
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in MAIN_NAMES:
        return MainModule(spec.name, path)
    return MainModule(script_module_name(path), path)


def _origin(name: str) -> str | None:
    """The file, or another sign of existence, that `import name` would find."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        loaded = sys.modules.get(name)
        return None if loaded is None else str(getattr(loaded, "__file__", None) or name)
    return None if spec is None else spec.origin or name


def _leads_to(name: str, path: str) -> bool:
    origin = _origin(name)
    if origin is None:
        return False
    try:
        return os.path.samefile(origin, path)
    except OSError:
        return origin == path


def _get_qualified(module: ModuleType, qualname: str) -> Any:
    obj: Any = module
    for name in qualname.split("."):
        obj = getattr(obj, name)
    return obj


def _names_found(main: ModuleType, path: str | None) -> frozenset[str]:
    global _found
    if _found is None or _found[0] is not main:
        try:
            with open(path or "", "rb") as file:
                tree = ast.parse(file.read())
        except (OSError, SyntaxError, ValueError):
            names: frozenset[str] = frozenset()
        else:
            names = _names_bound_on_import(tree)
        _found = (main, names)
    return _found[1]


def _names_bound_on_import(tree: ast.Module) -> frozenset[str]:
    """Names that the module binds when it is imported and that nothing rebinds when it is run."""
    on_import: set[str] = set()
    when_run: set[str] = set()
    _collect(tree.body, on_import, when_run)
    return frozenset(on_import - when_run)


def _collect(nodes: list[ast.stmt], names: set[str], when_run: set[str]) -> None:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.If) and _is_main_test(node.test):
            _collect(node.body, when_run, when_run)
            _collect(node.orelse, names, when_run)
        else:
            _collect_names(node, names, when_run)


def _collect_names(node: ast.AST, names: set[str], when_run: set[str]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            _collect([child], names, when_run)
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            names.add(child.id)
        elif isinstance(child, ast.alias):
            names.add(child.asname or child.name.partition(".")[0])
        elif not isinstance(child, ast.Lambda):
            _collect_names(child, names, when_run)


def _is_main_test(test: ast.expr) -> bool:
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides) and any(
        isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
    )
