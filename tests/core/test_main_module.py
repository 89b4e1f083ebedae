import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from modal_lite._core import main_module

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

SCRIPT = """
    import enum, sys
    from collections import namedtuple
    from dataclasses import dataclass
    from other_process import run

    @dataclass
    class Point:
        x: int

        class Inner:
            pass

    Pair = namedtuple("Pair", "left right")

    try:
        class Color(enum.Enum):
            RED = 1
    finally:
        pass

    class Problem(Exception):
        pass

    def moved(point):
        return Point(point.x + 1)

    def module_of(cls):
        return cls.__module__

    def hidden(value):
        return "the file's"

    def main():
        class Local:
            pass

        point = run(moved, Point(1))
        assert type(point) is Point and point.x == 2, point
        assert type(run(lambda value: value, Pair(1, 2))) is Pair
        assert run(lambda value: value, Color.RED) is Color.RED
        assert run(lambda value: value, Point.Inner) is Point.Inner
        assert type(run(lambda value: value, Problem("x"))) is Problem
        assert run(lambda value: value, Local) is Local
        assert run(lambda value: type(value).__name__, OnlyWhenRun()) == "OnlyWhenRun"
        assert type(run(lambda value: value, OnlyWhenRun())) is OnlyWhenRun
        assert run(lambda p: moved(moved(p)).x, Point(1)) == 3
        assert run(hidden, 1) == "the one that ran"
        print("module:", run(module_of, Point))
        print("name:", run(lambda: __name__))

    if __name__ == "__main__":
        class OnlyWhenRun:
            pass

        def hidden(value):
            return "the one that ran"

        main()
"""


def python(*args: str, cwd: Path, stdin: str = "", python_path: tuple[Path, ...] = ()) -> str:
    paths = os.pathsep.join(map(str, (ROOT, HERE, *python_path)))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *args], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=50, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def test_a_script_shares_its_classes_with_containers(tmp_path: Path) -> None:
    write(tmp_path / "script.py", SCRIPT)
    assert python("script.py", cwd=tmp_path) == "module: script\nname: __main__\n"


def test_a_script_is_found_after_its_directory_is_off_the_path(tmp_path: Path) -> None:
    script = write(tmp_path / "scripts/my script.v2", "import sys; del sys.path[0]\n" + textwrap.dedent(SCRIPT))
    assert python(str(script), cwd=tmp_path) == "module: my script\nname: __main__\n"


@pytest.mark.parametrize(("module", "name"), [("pkg.mod", "pkg.mod"), ("pkg", "pkg.__main__")])
def test_a_module_started_by_m_shares_its_classes_with_containers(tmp_path: Path, module: str, name: str) -> None:
    write(tmp_path / "pkg/__init__.py", "")
    write(tmp_path / "pkg" / ("mod.py" if module == "pkg.mod" else "__main__.py"), SCRIPT)
    assert python("-m", module, cwd=tmp_path) == f"module: {name}\nname: __main__\n"


REPL = """
from other_process import run
class Point:
    def __init__(self, x): self.x = x

def moved(point): return Point(point.x + 1)

point = run(moved, Point(1))
assert type(point) is Point and point.x == 2
print("module:", run(lambda cls: cls.__module__, Point))
"""


@pytest.mark.parametrize("how", ["-c", "-i", "-"])
def test_what_is_typed_travels_by_value(tmp_path: Path, how: str) -> None:
    args, stdin = (["-c", REPL], "") if how == "-c" else ([how], REPL)
    assert "module: __main__" in python(*args, cwd=tmp_path, stdin=stdin)


def test_a_function_typed_over_one_of_the_script_travels_by_value(tmp_path: Path) -> None:
    write(tmp_path / "script.py", "from other_process import run\ndef f(): return 'of the file'\n")
    typed = "def f(): return 'typed'\n\nprint(run(f))\n"
    assert python("-i", "script.py", cwd=tmp_path, stdin=typed).endswith("typed\n")


def test_a_script_with_the_name_of_a_loaded_module_does_not_replace_it(tmp_path: Path) -> None:
    script = """
        import pathlib
        from other_process import run
        class Point: pass
        def same(value):
            import pathlib, sys
            return value, pathlib.PurePath, sys.modules[Point.__module__].__file__
        if __name__ == "__main__":
            point, path, file = run(same, Point())
            assert type(point) is Point and path is pathlib.PurePath and file == __file__, (point, path, file)
    """
    # A name that only a file without `.py` can have without being imported itself by everyone who means the other.
    write(tmp_path / "pathlib", script)
    python("pathlib", cwd=tmp_path)


def test_a_test_runner_is_never_imported_for_others(tmp_path: Path) -> None:
    write(
        tmp_path / "test_it.py",
        """
        import sys
        from other_process import run
        class Point: pass
        def loaded(point): return point, [name for name in sys.modules if "pytest" in name]
        def test_it():
            point, names = run(loaded, Point())
            assert type(point) is Point and names == []
        """,
    )
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py", cwd=tmp_path, python_path=(tmp_path,))


def test_what_the_other_side_lacks_is_said_by_name(tmp_path: Path) -> None:
    script = """
        import os
        from other_process import run
        if os.environ.get("HERE") != "1":
            class OnlyThere: pass
        def made(): return OnlyThere()
        if __name__ == "__main__":
            os.environ["HERE"] = "0"
            del OnlyThere
            try:
                run(made)
            except AttributeError as error:
                print(error)
    """
    write(tmp_path / "script.py", script)
    assert "'script' has no 'OnlyThere' in the calling process" in python("script.py", cwd=tmp_path)


def test_the_main_module_of_this_process_is_described_by_its_file(tmp_path: Path) -> None:
    code = "from modal_lite._core.main_module import current_main as c; print(c())"
    write(tmp_path / "script.py", code)
    write(tmp_path / "dir/__main__.py", code)
    assert f"name='script', path='{tmp_path / 'script.py'}'" in python("script.py", cwd=tmp_path)
    assert "name='main_main'" in python("dir", cwd=tmp_path)
    assert python("-c", code, cwd=tmp_path) == "None\n"
    assert python("-", cwd=tmp_path, stdin=code) == "None\n"


def test_load_module_prefers_the_name_and_falls_back_to_the_file(tmp_path: Path) -> None:
    by_file = write(tmp_path / "a_module_off_the_path.py", "value = 1")
    assert main_module.load_module("tests_of_modal_lite_loaded", str(by_file)).value == 1
    try:
        assert main_module.load_module("json", None).__name__ == "json"
        assert main_module.load_module("json", sys.modules["json"].__file__) is sys.modules["json"]
        failing = write(tmp_path / "failing.py", "1 / 0")
        with pytest.raises(ZeroDivisionError):
            main_module.load_module("tests_of_modal_lite_failing", str(failing))
        assert "tests_of_modal_lite_failing" not in sys.modules
    finally:
        del sys.modules["tests_of_modal_lite_loaded"]
