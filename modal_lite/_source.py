"""The source of an app as it is deployed: the folders that its modules are imported from, without what git ignores."""

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from modal_lite import config
from modal_lite._core.main_module import current_main
from modal_lite._core.requests import Source
from modal_lite._core.snapshot import MAX_BYTES, MAX_FILES, File, pack
from modal_lite._function_info import FunctionInfo
from modal_lite.exception import InvalidError

_SKIPPED = frozenset({"__pycache__", "node_modules"})


def snapshot_of(infos: Iterable[FunctionInfo]) -> tuple[Source, bytes]:
    """The source of these functions: how containers find it, and the files, packed.

    Raises:
        InvalidError: There is more of it than a snapshot takes.
        OSError: A file cannot be read.
    """
    infos = list(infos)
    roots = sorted({root for info in infos if not info.by_value for root in _root(info)})
    # A folder inside of another comes with that one.
    roots = [root for root in roots if not any(root != other and root.startswith(other + os.sep) for other in roots)]
    files: list[File] = []
    for i, root in enumerate(roots):
        _collect(Path(root), str(i), files)
    digest, data = pack(files)
    main = current_main()
    if main is not None and not any(info.module_name == main.name for info in infos):
        main = None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = [os.path.abspath(entry) if entry else os.getcwd() for entry in sys.path]
    return Source(digest, roots, path, os.getcwd(), main, version), data


def _root(info: FunctionInfo) -> Iterator[str]:
    """The folder that the function's module is imported from, unless it is that of an installed package."""
    if info.file_path is None:
        return
    path = Path(os.path.abspath(info.file_path))
    parts = info.module_name.split(".")
    package = parts if path.stem == "__init__" else parts[:-1]
    folder = path.parent
    if package and list(folder.parts[-len(package) :]) == package:
        folder = Path(*folder.parts[: -len(package)])
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if not any(folder.is_relative_to(place) for place in installed if place):
        yield str(folder)


def _collect(root: Path, prefix: str, files: list[File]) -> None:
    """Adds the files below a folder to those that are there."""
    ignores = _Ignores(root)
    size = sum(len(file.content) for file in files)
    for folder, folders, names in os.walk(root):
        ignores.enter(Path(folder))
        folders[:] = sorted(name for name in folders if not ignores.skips_folder(Path(folder, name)))
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or name.endswith(".pyc") or not path.is_file() or ignores.skips(path):
                continue
            size += path.stat().st_size
            if size > MAX_BYTES or len(files) >= MAX_FILES:
                raise _too_large(root)
            content = path.read_bytes()
            relative = path.relative_to(root).as_posix()
            files.append(File(f"{prefix}/{relative}", os.access(path, os.X_OK), content))


class _Ignores:
    """What git ignores below a folder, and what nobody wants to deploy."""

    def __init__(self, root: Path) -> None:
        self._specs: list[tuple[Path, Any]] = []
        self._data = config.data_dir()
        above = [root, *root.parents]
        top = next((i for i, folder in enumerate(above) if (folder / ".git").exists()), 0)
        for folder in reversed(above[1 : top + 1]):
            self.enter(folder)

    def enter(self, folder: Path) -> None:
        """Reads the folder's own rules. Those of deeper folders come after those above them."""
        try:
            lines = (folder / ".gitignore").read_text(errors="replace").splitlines()
        except OSError:
            return
        from pathspec import GitIgnoreSpec  # here, for only deployments need it

        self._specs.append((folder, GitIgnoreSpec.from_lines(lines)))

    def skips_folder(self, path: Path) -> bool:
        """True if nothing below the folder is taken."""
        if path.name.startswith(".") or path.name in _SKIPPED or path == self._data:
            return True
        return (path / "pyvenv.cfg").exists() or self._is_ignored(path, "/")

    def skips(self, path: Path) -> bool:
        """True if git ignores the file."""
        return self._is_ignored(path, "")

    def _is_ignored(self, path: Path, suffix: str) -> bool:
        for folder, spec in reversed(self._specs):
            if path.is_relative_to(folder):
                decided = spec.check_file(path.relative_to(folder).as_posix() + suffix).include
                if decided is not None:
                    return bool(decided)
        return False


def _too_large(root: Path) -> InvalidError:
    return InvalidError(
        f"{root} has more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB, too much for a deployment. Put the app into "
        "a folder of its own, or name what it does not need in a .gitignore file there."
    )
