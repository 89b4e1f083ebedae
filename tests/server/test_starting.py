"""Containers that cannot start: import errors, exits, deaths; told to whoever waits, without a crash loop."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

HEAD = """
import os, sys, time
import modal_lite
from modal_lite.call_graph import InputStatus
app = modal_lite.App("start")
def helper():
    {broken}
if not modal_lite.is_local():
    with open({marks!r}, "a") as file:
        file.write("x")
    helper()
@app.function({options})
def f(x):
    return x
if __name__ == "__main__":
    with app.run():
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program whose module does `broken` in containers, and `main` with the app running; `options` are of f."""

    def run(broken: str, main: str, options: str = "max_containers=1") -> "subprocess.CompletedProcess[str]":
        path = tmp_path / "program.py"
        text = HEAD.format(broken=broken, marks=str(tmp_path / "marks"), options=options)
        path.write_text(text + textwrap.indent(textwrap.dedent(main), "        "))
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        return subprocess.run(
            [sys.executable, str(path)], capture_output=True, text=True, timeout=40, env=environment, cwd=tmp_path
        )

    return run


def test_an_import_error_reaches_the_caller_with_the_modules_traceback(run: Run, tmp_path: Path) -> None:
    done = run("import no_such_module", "f.remote(1)")
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'no_such_module'" in done.stderr
    assert "in helper" in done.stderr and "import no_such_module" in done.stderr
    assert "modal_lite/_" not in done.stderr, "library frames are shown"
    # A warm-up that found the same error would be no crash loop yet; one container a second would be.
    assert len((tmp_path / "marks").read_text()) <= 2


def test_all_who_wait_are_told_and_the_call_graph_says_init_failure(run: Run) -> None:
    done = run(
        "raise ValueError('broken module')",
        """
        call = f.spawn_map(range(50))
        for index in (0, 49):
            try:
                call.get(index=index)
            except ValueError as error:
                print("told:", error)
        print({node.status for node in call.get_call_graph()} == {InputStatus.INIT_FAILURE})
        print([type(r).__name__ for r in f.map(range(3), return_exceptions=True, wrap_returned_exceptions=False)])
        """,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "told: broken module",
        "told: broken module",
        "True",
        "['ValueError', 'ValueError', 'ValueError']",
    ]


def test_system_exit_at_import(run: Run) -> None:
    done = run(
        "sys.exit(7)",
        """
        try:
            f.remote(1)
        except BaseException as error:
            print(type(error).__name__, error)
        """,
    )
    assert "SystemExit 7" in done.stdout, done.stdout + done.stderr


def test_death_at_import_fails_the_waiting_inputs_with_the_last_words(run: Run, tmp_path: Path) -> None:
    done = run(
        "print('last words', file=sys.stderr, flush=True); os._exit(9)",
        """
        call = f.spawn(1)
        try:
            call.get()
        except modal_lite.exception.RemoteError as error:
            print(type(error).__name__, error)
        print(call.get_call_graph()[0].status.name)
        """,
    )
    first, *rest = done.stdout.splitlines()
    assert first.startswith(
        "ContainerLostError Containers of f die before they are ready: the last one exited with status 9"
    )
    assert any("last words" in line for line in rest)
    assert rest[-1] == "INIT_FAILURE"
    assert len((tmp_path / "marks").read_text()) == 3


def test_a_module_that_heals_works_again(run: Run, tmp_path: Path) -> None:
    done = run(
        f"if os.path.exists({str(tmp_path / 'broken')!r}): raise ValueError('for now')",
        f"""
        open({str(tmp_path / "broken")!r}, "w").close()
        try:
            f.remote(1)
        except ValueError as error:
            print(error)
        os.unlink({str(tmp_path / "broken")!r})
        print(f.remote(2))
        """,
    )
    assert done.stdout.splitlines() == ["for now", "2"], done.stderr


def test_a_function_that_is_not_in_its_module(run: Run) -> None:
    done = run(
        "global modal_lite_is_local; modal_lite.App.function = lambda self, **options: lambda function: None",
        """
        try:
            f.remote(1)
        except Exception as error:
            print(type(error).__name__, error)
        """,
    )
    assert done.returncode == 0
    assert "f" in done.stdout and "Error" in done.stdout


def test_a_container_that_takes_too_long_to_start(run: Run) -> None:
    done = run(
        "time.sleep(60)",
        """
        started = time.monotonic()
        try:
            f.remote(1)
        except modal_lite.exception.RemoteError as error:
            print(type(error).__name__, error)
        print(time.monotonic() - started < 15)
        """,
        "startup_timeout=0.3, max_containers=1",
    )
    assert done.stdout.splitlines()[-1] == "True", done.stdout + done.stderr
    assert "of f die before they are ready" in done.stdout


def test_containers_given_up_before_their_processes_could_begin(run: Run) -> None:
    done = run(
        "pass",
        """
        import psutil
        assert f.remote(1) == 1
        # One of these starts the containers: from here nothing starts, and nothing ends.
        stopped = psutil.Process().children(recursive=True)
        for process in stopped:
            process.suspend()
        try:
            f.with_options(env={"ANOTHER": "container"}).remote(2)
        except modal_lite.exception.ContainerLostError as error:
            print(error)
        for process in stopped:
            process.resume()
        print(f.remote(3))
        """,
        "startup_timeout=2, max_containers=1",
    )
    last = "the last one was killed (it was not ready within its startup_timeout)."
    assert done.stdout == f"Containers of f die before they are ready: {last}\n3\n", done


def test_no_descriptors_left_to_start_a_container(run: Run) -> None:
    done = run(
        "pass",
        """
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert f.remote(1) == 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        try:
            f.with_options(timeout=5).remote(2)
        except modal_lite.exception.ContainerLostError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
        print(f.with_options(timeout=6).remote(3))
        """,
    )
    assert done.stdout == "A container of f could not be started: [Errno 24] Too many open files.\n3\n", done
