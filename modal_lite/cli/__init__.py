"""The command line: `modal-lite`, also `python -m modal_lite`.

Our words go to standard error, the program's output to where it wrote it. Exit status 0, 1 for the program's failure,
2 for usage, 130 after Ctrl-C.
"""

import os
import sys

import click

from modal_lite.cli.app import app
from modal_lite.cli.cluster import cluster
from modal_lite.cli.dashboard import dashboard
from modal_lite.cli.deploy import deploy
from modal_lite.cli.profile import profile
from modal_lite.cli.run import run
from modal_lite.cli.serve import serve
from modal_lite.cli.server import server
from modal_lite.cli.shell import shell
from modal_lite.cli.token import token

__all__ = ["main"]

_EPILOG = """\b
Examples:
  modal-lite run hello.py               the only entrypoint or function of hello.py
  modal-lite run hello.py::main --n 5   one by its name, with an argument
  modal-lite run hello.py::main --help  its arguments
  modal-lite shell hello.py             a shell in a container of its functions
  modal-lite deploy hello.py            for other processes to call
"""


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        import modal_lite

        click.echo(f"modal-lite {modal_lite.__version__}")
        context.exit()


@click.group(invoke_without_command=True, epilog=_EPILOG, context_settings={"help_option_names": ["--help", "-h"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def commands(context: click.Context) -> None:
    """Run Python functions in worker processes on this machine, as Modal runs them in its cloud."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


commands.add_command(run)
commands.add_command(shell)
commands.add_command(server)
commands.add_command(cluster)
commands.add_command(deploy)
commands.add_command(serve)
commands.add_command(app)
commands.add_command(dashboard)
commands.add_command(token)
commands.add_command(profile)


def main() -> None:
    """Carries out the command in `sys.argv` and ends the process with its exit status."""
    try:
        commands.main(prog_name="modal-lite")
    finally:
        _flush()


def _flush() -> None:
    """Writes out what is buffered. If nobody reads it any more (`| head`), the interpreter need not complain either."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AttributeError, ValueError):
        pass  # there is none, or the program has closed it
