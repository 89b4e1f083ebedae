"""Which files are deployed."""

import os
from pathlib import Path

import msgspec
import pytest

from modal_lite import _source
from modal_lite._core.snapshot import File
from modal_lite._function_info import FunctionInfo
from modal_lite.exception import InvalidError


def info(path: Path, module: str, by_value: bool = False) -> FunctionInfo:
    return FunctionInfo(len, module, "f", str(path), by_value, False, False)


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def taken(*infos: FunctionInfo) -> tuple[list[str], list[str]]:
    source, data = _source.snapshot_of(infos)
    return source.roots, [file.path for file in msgspec.msgpack.decode(data, type=list[File])]


def test_the_folder_of_a_script(tmp_path: Path) -> None:
    write(tmp_path, "app.py", "helper.py", "data/table.csv", ".env", "__pycache__/app.pyc", ".git/config")
    assert taken(info(tmp_path / "app.py", "app")) == (
        [str(tmp_path)],
        ["0/app.py", "0/data/table.csv", "0/helper.py"],
    )


def test_the_folder_that_holds_a_package(tmp_path: Path) -> None:
    write(tmp_path, "pkg/__init__.py", "pkg/sub/mod.py", "top.py")
    inner = info(tmp_path / "pkg/sub/mod.py", "pkg.sub.mod"), info(tmp_path / "pkg/__init__.py", "pkg")
    assert taken(*inner)[0] == [str(tmp_path)]


def test_what_git_ignores_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path, "repo/src/app.py", "repo/src/build/out.o", "repo/src/x.log", "repo/src/keep.log", "repo/src/sub/y.txt"
    )
    (tmp_path / "repo/.git").mkdir()
    (tmp_path / "repo/.gitignore").write_text("*.log\nbuild/\n")
    (tmp_path / "repo/src/.gitignore").write_text("!keep.log\n/sub/y.txt\n")
    (tmp_path / ".gitignore").write_text("*.py\n")  # not of this repository
    assert taken(info(tmp_path / "repo/src/app.py", "app"))[1] == ["0/app.py", "0/keep.log"]


def test_environments_and_the_data_directory_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_LITE_DATA_DIR", str(tmp_path / "data"))
    write(tmp_path, "app.py", "venv/pyvenv.cfg", "venv/lib/x.py", "data/state.db", "node_modules/m/index.js")
    assert taken(info(tmp_path / "app.py", "app"))[1] == ["0/app.py"]


def test_nothing_of_installed_packages_and_of_what_travels_by_value(tmp_path: Path) -> None:
    assert taken(info(Path(os.__file__), "os"), info(tmp_path / "x.py", "x", by_value=True)) == ([], [])


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "app.py", "a.txt", "b.txt")
    monkeypatch.setattr(_source, "MAX_FILES", 2)
    with pytest.raises(InvalidError, match=r"has more than 2 files .* \.gitignore"):
        taken(info(tmp_path / "app.py", "app"))
