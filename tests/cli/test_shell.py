"""Programs and functions of containers on the caller's terminal: `modal-lite shell`, `run -i`, `Function.shell`."""

import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from tests.waiting import wait_until

Write = Callable[[str, str], Path]
Spawn = Callable[..., pexpect.spawn]
Cli = Callable[..., subprocess.CompletedProcess[str]]

PROGRAM = """
    import os, sys, time
    import modal_lite
    app = modal_lite.App("terminal", secrets=[modal_lite.Secret.from_dict({"OF_THE_APP": "secret"})])
    @app.function(env={"OF_THE_FUNCTION": "own"}, memory=(64, 512))
    def debug(x: int = 3):
        y = x * 2
        breakpoint()
        return y
    @app.function()
    def ask():
        modal_lite.interact()
        print("hello", input("name? "), sys.stdin.isatty(), sys.stdout.isatty())
        return "asked"
    @app.function()
    def wait():
        print("waiting", os.getpid())
        time.sleep(60)
    @app.function()
    def chatter():
        for i in range(1000):
            print("chatter", i)
            time.sleep(0.01)
    @app.function()
    def fails():
        raise ValueError("failed there")
    @app.function()
    def embed():
        modal_lite.interact()
        import IPython
        secret_of_the_frame = "from the frame"
        IPython.embed(colors="nocolor", simple_prompt=True)
        return "left"
    @app.function()
    async def numbers():
        for i in range(2):
            print("number", i, sys.stdout.isatty())
            yield i
    @app.function()
    async def sleeps(first_stop: bool = False, busy: bool = False, go_on: bool = False):
        import asyncio
        modal_lite.interact()
        if first_stop:
            breakpoint()
            return "went on"
        try:
            if busy:
                print("sleeping")
                time.sleep(60)
            asyncio.get_running_loop().call_soon(print, "sleeping")
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if go_on:
                return "went on without sleep"
            raise
        finally:
            print("cleaned up")
    @app.function()
    @modal_lite.batched(max_batch_size=2, wait_ms=1)
    async def batch(xs: list[int]):
        import asyncio
        modal_lite.interact()
        try:
            print("sleeping")
            await asyncio.sleep(60)
        finally:
            print("cleaned up")
    @app.cls()
    class Model:
        size: int = modal_lite.parameter(default=1)
        @modal_lite.method()
        def scaled(self, x: int, *, twice: bool = False):
            "Scales."
            return x * self.size * (2 if twice else 1)
        @modal_lite.method()
        def count(self, n: int):
            yield from range(n)
    @app.cls()
    class Entered:
        @modal_lite.enter()
        def start(self):
            modal_lite.interact()
            self.name = input("entering? ")
        @modal_lite.method()
        def method(self):
            return "entered as " + self.name
    @app.local_entrypoint()
    def asks_twice():
        chatter.spawn()
        for i in range(2):
            print(f"entrypoint got {ask.remote()}")
    @app.local_entrypoint()
    def shells(which: str):
        print("shell gave", globals()[which].shell())
    @app.local_entrypoint()
    def batches():
        batch.remote(1)
    @app.local_entrypoint()
    def parallel():
        print(sorted(ask.starmap(() for _ in range(2))))
    """


@pytest.fixture
def terminal(spawn: Spawn, write: Write, environment: dict[str, str]) -> Iterator[Spawn]:
    """Starts `modal-lite` on a terminal, with the program above, and checks that it is left as it was."""
    write("program.py", PROGRAM)
    environment |= {"SHELL": "/bin/sh", "PS1": "ready> ", "HISTFILE": "/dev/null"}
    del environment["COLUMNS"]
    started = []

    def start(*words: str) -> pexpect.spawn:
        child = spawn(*words)
        started.append((child, termios.tcgetattr(child.child_fd)))
        return child

    yield start
    for child, before in started:
        assert termios.tcgetattr(child.child_fd) == before


def ends(child: pexpect.spawn) -> int | None:
    """The exit status, once it has ended."""
    child.expect(pexpect.EOF)
    child.wait()
    status: int | None = child.exitstatus if child.signalstatus is None else -child.signalstatus
    return status


def run_in(child: pexpect.spawn, command: str, answer: str) -> None:
    """Types a command at the prompt, and waits for the answer and the next prompt."""
    child.sendline(command)
    child.expect_exact(answer)
    child.expect_exact("ready> ")


def test_a_shell_has_the_function_s_surroundings(terminal: Spawn, tmp_path: Path) -> None:
    child = terminal("shell", "program.py::debug")
    child.expect_exact("ready> ")
    run_in(child, "echo $OF_THE_APP-$OF_THE_FUNCTION-$MODAL_IS_REMOTE", "secret-own-1")
    run_in(child, "pwd", str(tmp_path))
    run_in(child, "ulimit -d", str(512 << 10))
    run_in(child, f"cd /; {sys.executable} -c 'import program; print(program.__file__)'", str(tmp_path / "program.py"))
    run_in(child, "test -t 0 && test -t 1 && test -t 2 && echo $((1 + 1))-terminals", "2-terminals")
    child.sendline("exit 7")
    assert ends(child) == 7


def test_the_size_follows_the_window(terminal: Spawn) -> None:
    child = terminal("shell", "program.py")
    child.expect_exact("ready> ")
    run_in(child, "stty size", "24 100")
    child.setwinsize(31, 77)
    # The signal comes to the foreground, which the trap shows.
    run_in(child, "until [ \"$(stty size)\" = '31 77' ]; do sleep 0.01; done; echo resiz''ed", "resized")
    child.sendeof()
    assert ends(child) == 0


def test_ctrl_c_is_for_the_program_and_ctrl_d_ends_the_shell(terminal: Spawn) -> None:
    child = terminal("shell", "program.py")
    child.expect_exact("ready> ")
    # The program itself says that it is there: Ctrl-C between two programs is for the shell.
    child.sendline("""sh -c "echo slee''ping; exec sleep 60"; echo status $?""")
    child.expect_exact("sleeping\r\n")
    child.sendintr()
    child.expect_exact("ready> ")
    run_in(child, "echo still he''re", "still here")
    child.sendeof()
    assert ends(child) == 0


@pytest.mark.parametrize(
    ("command", "status", "output"),
    [
        ("echo hello there", 0, "hello there\r\n"),
        ("sh -c 'exit 3'", 3, ""),
        ("sh -c 'kill -TERM $$'", 128 + signal.SIGTERM, ""),
        ("no-such-program", 127, "no-such-program: No such file or directory\r\n"),
    ],
)
def test_another_program(command: str, status: int, output: str, terminal: Spawn) -> None:
    child = terminal("shell", "program.py::debug", "--cmd", command)
    assert ends(child) == status
    assert child.before == output


def test_a_flood_arrives_whole_and_in_order(terminal: Spawn) -> None:
    child = terminal("shell", "program.py", "--cmd", "seq 1 60000")
    assert ends(child) == 0
    assert child.before.split() == [str(i) for i in range(1, 60001)]


def test_a_shell_is_for_a_function_or_a_class(terminal: Spawn) -> None:
    child = terminal("shell", "program.py::Model.scaled", "--cmd", "echo in the class")
    child.expect_exact("in the class")
    assert ends(child) == 0
    child = terminal("shell", "program.py::debu", "--cmd", "true")
    child.expect_exact("has no function or class 'debu'. There is debug")
    assert ends(child) == 2


def test_breakpoint_in_an_interactive_run(terminal: Spawn) -> None:
    child = terminal("run", "-i", "program.py::debug", "--x", "21")
    child.expect_exact("(Pdb) ")
    child.sendline("p y")
    child.expect_exact("42")
    child.sendline("import time; time.sleep(60)")
    child.sendintr()
    child.expect_exact("KeyboardInterrupt")
    child.expect_exact("(Pdb) ")
    child.sendline("y = 5")
    child.expect_exact("(Pdb) ")
    child.sendline("c")
    child.expect_exact("5\r\n")
    assert ends(child) == 0


def test_other_output_waits_while_a_function_has_the_terminal(terminal: Spawn) -> None:
    child = terminal("run", "-i", "program.py::asks_twice")
    for name in ("first", "second"):
        child.expect_exact("name? ")
        child.sendline(name)
        child.expect_exact(f"{name}\r\nhello {name} True True\r\n")
        child.expect_exact("entrypoint got asked\r\n")
    assert ends(child) == 0


def test_containers_take_turns(terminal: Spawn) -> None:
    child = terminal("run", "-i", "program.py::parallel")
    for name in ("a", "b"):
        child.expect_exact("name? ")
        child.sendline(name)
        child.expect_exact(f"hello {name} True True\r\n")
    child.expect_exact("['asked', 'asked']")
    assert ends(child) == 0


def test_ctrl_c_in_an_async_function(terminal: Spawn) -> None:
    child = terminal("run", "-i", "program.py::sleeps", "--first-stop")
    child.expect_exact("(Pdb) ")
    child.sendline("import time; print('blo' + 'cking'); time.sleep(60)")
    child.expect_exact("blocking")
    child.sendintr()
    child.expect_exact("(Pdb) ")
    child.sendline("c")
    child.expect_exact("went on\r\n")
    assert ends(child) == 0


@pytest.mark.parametrize("what", ["sleeps", "sleeps --busy", "batches"])
def test_ctrl_c_ends_an_async_function_wherever_it_is(terminal: Spawn, what: str) -> None:
    child = terminal("run", "-i", *f"program.py::{what}".split())
    child.expect_exact("sleeping\r\n")
    child.sendintr()
    child.expect_exact("cleaned up\r\n")
    child.expect_exact("Interrupted.")
    assert ends(child) == 130


def test_an_async_function_may_go_on_after_ctrl_c(terminal: Spawn) -> None:
    child = terminal("run", "-i", "program.py::sleeps", "--go-on")
    child.expect_exact("sleeping\r\n")
    child.sendintr()
    child.expect_exact("went on without sleep\r\n")
    assert ends(child) == 0


def test_a_hook_that_asks_has_the_terminal_until_the_next_input_is_done(terminal: Spawn) -> None:
    child = terminal("run", "-i", "program.py::Entered.method")
    child.expect_exact("entering? ")
    child.sendline("me")
    child.expect_exact("entered as me\r\n")
    assert ends(child) == 0


def test_ipython(terminal: Spawn) -> None:
    pytest.importorskip("IPython")
    child = terminal("run", "-i", "program.py::embed")
    child.expect_exact("In [1]: ")
    child.sendline("secret_of_the_frame.upper()")
    child.expect_exact("FROM THE FRAME")
    child.sendline("exit")
    child.expect_exact("left")
    assert ends(child) == 0


def test_shell_of_a_function(terminal: Spawn) -> None:
    child = terminal("run", "program.py::shells", "--which", "debug")
    child.expect_exact("(Pdb) ")
    child.sendline("c")
    child.expect_exact("shell gave None\r\n")
    assert ends(child) == 0
    child = terminal("run", "program.py::shells", "--which", "numbers")
    child.expect_exact("number 0 True\r\nnumber 1 True\r\nshell gave None\r\n")
    assert ends(child) == 0
    child = terminal("run", "program.py::shells", "--which", "fails")
    child.expect_exact("ValueError: failed there")
    assert ends(child) == 1
    child = terminal("run", "program.py::shells", "--which", "wait")
    child.expect(r"waiting \d+\r\n")
    child.sendintr()
    assert ends(child) == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_client_leave_nothing(number: signal.Signals, terminal: Spawn) -> None:
    child = terminal("shell", "program.py")
    child.expect_exact("ready> ")
    pids = _with_a_job(child)
    child.kill(number)
    assert ends(child) == (130 if number == signal.SIGINT else -number)
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), "the end of the shell and its job")


def test_killing_the_container_restores_the_terminal(terminal: Spawn) -> None:
    child = terminal("run", "program.py::shells", "--which", "wait")
    child.expect(r"waiting (\d+)\r\n")
    os.kill(int(child.match[1]), signal.SIGKILL)
    child.expect_exact("was killed by SIGKILL while it ran this input.")
    assert ends(child) == 1


def test_killing_the_container_of_a_shell_ends_its_jobs(terminal: Spawn) -> None:
    child = terminal("shell", "program.py")
    child.expect_exact("ready> ")
    pids = _with_a_job(child)
    container = psutil.Process(pids[0]).parent()
    assert container is not None
    container.kill()
    assert ends(child) == 1
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), "the end of the shell and its job")


def test_killing_the_client_leaves_no_process(spawn: Spawn, write: Write, environment: dict[str, str]) -> None:
    write("program.py", PROGRAM)
    environment |= {"SHELL": "/bin/sh", "PS1": "ready> "}
    child = spawn("shell", "program.py")
    child.expect_exact("ready> ")
    pids = _with_a_job(child)
    child.kill(signal.SIGKILL)
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), "the end of the shell and its job")


@pytest.mark.parametrize("words", [("shell", "program.py"), ("run", "-i", "program.py::debug")])
def test_without_a_terminal(words: tuple[str, ...], cli: Cli, write: Write) -> None:
    write("program.py", PROGRAM)
    done = cli(*words)
    assert done.returncode == 2
    assert "needs a terminal, and standard input of this process is none." in done.stderr
    assert "Traceback" not in done.stderr


def test_breakpoint_without_a_terminal_says_what_to_do(cli: Cli, write: Write) -> None:
    write("program.py", PROGRAM)
    done = cli("run", "program.py::debug")
    assert done.returncode == 1
    assert "InvalidError: There is no terminal for debug" in done.stderr
    assert "`modal-lite run -i`" in done.stderr
    done = cli("run", "program.py::shells", "--which", "debug")
    assert done.returncode == 1
    assert "InvalidError: .shell() needs a terminal, and standard input of this process is none." in done.stderr


def test_methods_take_the_parameters_of_their_class(cli: Cli, write: Write) -> None:
    write("program.py", PROGRAM)
    done = cli("run", "program.py::Model.scaled", "--size", "5", "--x", "3", "--twice")
    assert (done.returncode, done.stdout) == (0, "30\n"), done.stderr
    done = cli("run", "program.py::Model.count", "--n", "2")
    assert (done.returncode, done.stdout) == (0, "0\n1\n"), done.stderr
    done = cli("run", "program.py::Model.scaled", "--help")
    assert "Scales." in done.stdout
    assert "--size INTEGER" in done.stdout
    assert "--x INTEGER" in done.stdout


def _with_a_job(child: pexpect.spawn) -> list[int]:
    """Starts a job in the background that ignores SIGHUP; the process ids of the shell and the job."""
    child.sendline("(trap '' HUP; exec sleep 60) & echo pids $$ $! .")
    child.expect(r"pids (\d+) (\d+) \.")
    return [int(child.match[1]), int(child.match[2])]
