"""`modal-lite run`: what it runs, what it shows, and how it ends."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str, str], Path]

HELLO = """
    import sys
    import modal_lite
    app = modal_lite.App("hello")
    @app.function()
    def square(x: int):
        print("square of", x)
        print("to stderr", file=sys.stderr)
        return x * x
    @app.local_entrypoint()
    def main(n: int = 3):
        print("main got", square.remote(n), "local", modal_lite.is_local(), __name__)
    """

SEVERAL = """
    import sys
    import modal_lite
    app = modal_lite.App("several")
    other = modal_lite.App("other")
    @app.function()
    def nothing():
        "Does nothing."
    @app.function()
    def count(n: int):
        for i in range(n):
            yield i
    @app.function()
    def broken():
        raise ValueError("broken there")  # the remote line
    @app.local_entrypoint()
    def failing():
        broken.remote()  # the calling line
    @app.local_entrypoint()
    async def asynchronous(word: str):
        print("async", word, await square.remote.aio(5))
    @app.local_entrypoint(name="leave")
    def leaving(status: int):
        sys.exit(status)
    @app.function()
    def square(x: int):
        return x * x
    @other.local_entrypoint()
    def failing():
        print("the other one")
    """


def test_the_only_entrypoint_of_a_file(cli: Cli, write: Write) -> None:
    write("hello.py", HELLO)
    done = cli("run", "hello.py", "--n", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[square] square of 4\nmain got 16 local True hello\n"
    assert done.stderr == "[square] to stderr\n"


def test_quiet_hides_our_words_only(cli: Cli, write: Write) -> None:
    write("hello.py", HELLO)
    done = cli("run", "-q", "hello.py")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("square of 3\nmain got 9 local True hello\n", "to stderr\n")


def test_a_function_runs_in_a_container_and_its_result_is_printed(cli: Cli, write: Write) -> None:
    write("hello.py", HELLO)
    done = cli("run", "hello.py::square", "--x", "5")
    assert done.stdout == "[square] square of 5\n25\n", done.stderr


def test_values_of_a_generator_are_printed_and_none_is_not(cli: Cli, write: Write) -> None:
    write("several.py", SEVERAL)
    assert cli("run", "several.py::count", "--n", "3").stdout == "0\n1\n2\n"
    done = cli("run", "several.py::nothing")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_only_function_of_a_file_without_entrypoints(cli: Cli, write: Write) -> None:
    write("only.py", "import modal_lite\napp = modal_lite.App()\n@app.function()\ndef f(): return __name__\n")
    assert cli("run", "only.py").stdout == "only\n"


def test_an_async_entrypoint(cli: Cli, write: Write) -> None:
    write("several.py", SEVERAL)
    assert cli("run", "several.py::asynchronous", "--word", "w").stdout == "async w 25\n"


def test_modules_files_in_folders_and_odd_names(cli: Cli, write: Write, tmp_path: Path) -> None:
    write("pkg/__init__.py", "")
    write("pkg/helper.py", "VALUE = 7")
    program = """
        import modal_lite
        {}
        app = modal_lite.App()
        @app.function()
        def f():
            return helper.VALUE, __name__
        """
    write("pkg/mod.py", program.format("from . import helper"))
    assert cli("run", "-m", "pkg.mod::f").stdout == "(7, 'pkg.mod')\n"
    write("folder/helper.py", "VALUE = 8")
    write("folder/01-odd.name.py", program.format("import helper"))
    assert cli("run", "folder/01-odd.name.py").stdout == "(8, '01-odd_name')\n"
    done = cli("run", "pkg/mod.py")
    assert done.returncode == 1 and "modal-lite run -m pkg.mod" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["several.py::squar"], "several.py has no entrypoint, function or method 'squar'. Did you mean square?\n"),
        (["several.py::failing"], "'failing' could be several entrypoints or functions."),
        (["several.py::"], "A name is missing after the :: of 'several.py::'."),
        (["several.py::square"], "Missing option '--x'."),
        (["several.py::square", "--x", "y"], "Invalid value for '--x': 'y' is not a valid integer."),
        (["several.py::square", "--x", "1", "--z", "1"], "No such option '--z'."),
        (["several"], "Did you mean several.py?"),
        (["missing.py"], "There is no file 'missing.py' in "),
        (["missing.mod"], "To run a module by its name, add -m: modal-lite run -m missing.mod"),
        (["."], "'.' is a folder."),
        (["-m", "missing.mod"], "There is no module 'missing' in "),
        (["empty.py"], 'app = modal_lite.App("example")'),
        (["bare.py"], "The app of bare.py has nothing to run"),
        (["annotated.py"], "The parameter 'items' cannot be given on a command line: it is annotated list[int]."),
    ],
)
def test_usage_errors_say_what_to_do(words: list[str], message: str, cli: Cli, write: Write) -> None:
    write("several.py", SEVERAL)
    write("empty.py", "x = 1")
    write("bare.py", "import modal_lite\napp = modal_lite.App()")
    write("annotated.py", "import modal_lite\napp = modal_lite.App()\n@app.function()\ndef f(items: list[int]): pass\n")
    done = cli("run", *words)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and "Traceback" not in done.stderr


def test_an_ambiguous_file_lists_the_commands(cli: Cli, write: Write) -> None:
    write("several.py", SEVERAL)
    done = cli("run", "several.py")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "Error: several.py has several entrypoints or functions. Say which to run:",
        "",
        "  modal-lite run several.py::app.failing    entrypoint",
        "  modal-lite run several.py::asynchronous   entrypoint",
        "  modal-lite run several.py::leave          entrypoint",
        "  modal-lite run several.py::nothing        function",
        "  modal-lite run several.py::count          function",
        "  modal-lite run several.py::broken         function",
        "  modal-lite run several.py::square         function",
        "  modal-lite run several.py::other.failing  entrypoint",
    ]


def test_a_name_in_one_of_several_apps(cli: Cli, write: Write) -> None:
    write("several.py", SEVERAL)
    assert cli("run", "several.py::other.failing").stdout == "the other one\n"
    assert cli("run", "several.py::other").stdout == "the other one\n"


def test_a_failure_shows_the_users_frames_only(cli: Cli, write: Write) -> None:
    write("several.py", SEVERAL)
    done = cli("run", "several.py::app.failing")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ValueError: broken there\n")
    frames = [line.strip() for line in done.stderr.splitlines() if line.startswith("  File")]
    assert len(frames) == 2 and "several.py" in frames[0] and "several.py" in frames[1], done.stderr
    assert "# the calling line" in done.stderr and "# the remote line" in done.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f():\n    1 / 0\nf()\n", "ZeroDivisionError: division by zero"),
        ("x = = 1\n", "SyntaxError: invalid syntax"),
        ("import not_installed_at_all\n", "ModuleNotFoundError: No module named 'not_installed_at_all'"),
    ],
)
def test_a_failure_at_import_is_the_programs(source: str, message: str, cli: Cli, write: Write) -> None:
    write("bad.py", source)
    for words in (["bad.py"], ["-m", "bad"]):
        done = cli("run", *words)
        assert done.returncode == 1 and done.stderr.endswith(f"{message}\n")
        frames = [line for line in done.stderr.splitlines() if line.startswith("  File")]
        assert frames and all("bad.py" in frame for frame in frames), done.stderr


def test_exit_statuses_of_the_program(cli: Cli, write: Write) -> None:
    write("several.py", SEVERAL)
    for status in (0, 3):
        done = cli("run", "several.py::leave", "--status", str(status))
        assert (done.returncode, done.stderr) == (status, "")


def test_output_that_nobody_reads_is_no_complaint(write: Write, tmp_path: Path, environment: dict[str, str]) -> None:
    write(
        "many.py",
        """
        import modal_lite
        app = modal_lite.App()
        @app.function()
        def f():
            for i in range(20_000):
                print("line", i)
        """,
    )
    command = f"{sys.executable} -m modal_lite run many.py | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=40
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[f] line 0\n", "")


def test_help_of_the_tool_and_its_commands(cli: Cli) -> None:
    for words, expected in (
        ([], "modal-lite run hello.py::main"),
        (["--help"], "modal-lite run hello.py::main"),
        (["run", "--help"], "modal-lite run -m package.module"),
    ):
        done = cli(*words)
        assert done.returncode == 0 and expected in done.stdout and done.stderr == ""


def test_help_of_a_function(cli: Cli, write: Write) -> None:
    write("several.py", SEVERAL)
    done = cli("run", "several.py::nothing", "--help")
    assert done.returncode == 0 and done.stdout.startswith("Usage: modal-lite run several.py::nothing [OPTIONS]\n")
    assert "Does nothing." in done.stdout


def test_version(cli: Cli) -> None:
    import modal_lite

    assert cli("--version").stdout == f"modal-lite {modal_lite.__version__}\n"


def test_an_unknown_command_and_a_missing_ref(cli: Cli) -> None:
    assert cli("rum").returncode == 2
    done = cli("run")
    assert done.returncode == 2 and "Missing argument 'REF'" in done.stderr
