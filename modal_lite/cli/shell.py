"""`modal-lite shell`: a shell, or another program, in a container of a function."""

import shlex
import sys

import click

from modal_lite._drive import run_blocking
from modal_lite._synchronizer import synchronizer
from modal_lite.cli.failures import interruptible, need_terminal, user_code
from modal_lite.cli.refs import Ref, find_container
from modal_lite.output import enable_output, quiet_output

_EPILOG = """\b
Examples:
  modal-lite shell hello.py
  modal-lite shell hello.py::square --cmd python
  modal-lite shell -m package.module::Model --cmd "ls -l"
"""


@click.command(epilog=_EPILOG)
@click.option("-q", "--quiet", is_flag=True, help="Nothing but the program's own output.")
@click.option("-m", "is_module", is_flag=True, help="REF names a module, as with python -m.")
@click.option("--cmd", metavar="COMMAND", default="", help="The program to run, with its arguments. Default: $SHELL.")
@click.argument("ref")
def shell(quiet: bool, is_module: bool, cmd: str, ref: str) -> None:
    """Open a shell in a container of a function.

    It has the function's environment variables and secrets, resources, working directory and module path; the function
    itself is not imported. REF is a file (hello.py) or, after -m, a module (package.module), and may name a function or
    a class: hello.py::square. Without a name it is the first one. Ends with the exit status of the program.
    """
    parsed = Ref.parse(ref, is_module)
    try:
        words = shlex.split(cmd)
    except ValueError as error:
        raise click.BadParameter(f"{cmd!r} cannot be taken apart: {error}.", param_hint="'--cmd'") from None
    need_terminal("modal-lite shell")
    with quiet_output() if quiet else enable_output(), interruptible(quiet):
        app, function = find_container(parsed, parsed.load())
        with user_code(), app.run():
            status = run_blocking(synchronizer.implementation_of(function)._run_program, words)
    sys.exit(status)
