"""`modal-lite run`: a local entrypoint in this process, or a function or method in a container."""

import asyncio
import inspect
import sys
from collections.abc import Callable
from typing import Any

import click

from modal_lite.cli.arguments import Arguments
from modal_lite.cli.failures import interruptible, need_terminal, user_code
from modal_lite.cli.refs import Ref, Runnable, find_runnable
from modal_lite.output import enable_output, quiet_output

_EPILOG = """\b
Examples:
  modal-lite run hello.py
  modal-lite run hello.py::main --count 3 --name world
  modal-lite run -m package.module::main
  modal-lite run hello.py::Model.predict --name small --x 1
  modal-lite run hello.py::main --help
"""


@click.command(epilog=_EPILOG, context_settings={"allow_interspersed_args": False})
@click.option("-q", "--quiet", is_flag=True, help="Nothing but the program's own output.")
@click.option(
    "-i",
    "--interactive",
    is_flag=True,
    help="Functions can have this terminal: by breakpoint(), modal_lite.interact().",
)
@click.option("-m", "is_module", is_flag=True, help="REF names a module, as with python -m.")
@click.argument("ref")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]...")
@click.pass_context
def run(
    context: click.Context, quiet: bool, interactive: bool, is_module: bool, ref: str, arguments: tuple[str, ...]
) -> None:
    """Run a local entrypoint or a function, with its app.

    REF is a file (hello.py) or, after -m, a module (package.module), and may name what to run: hello.py::main. Without
    a name it is the only local entrypoint; if there is none, the only function.

    A local entrypoint runs here, and can call the app's functions. A function, or a method of a class, runs in a
    container; what it returns is printed, unless it is None. ARGUMENTS are options named after the parameters,
    --two-words for two_words; for a method also after those of its class.
    """
    parsed = Ref.parse(ref, is_module)
    if interactive:
        need_terminal("modal-lite run --interactive")
    sys.argv = [ref, *arguments]
    with quiet_output() if quiet else enable_output(), interruptible(quiet):
        module = parsed.load()
        runnable = find_runnable(parsed, module)
        positional, keywords = Arguments(runnable.raw_f, parsed.command(parsed.name)).parse(arguments, context)
        with user_code(), runnable.app.run(interactive=interactive):
            _start(runnable)(*positional, **keywords)


def _start(runnable: Runnable) -> Callable[..., None]:
    """What runs it, given its arguments."""
    if not runnable.is_entrypoint:
        return _print_values(runnable) if runnable.object.is_generator else _print_result(runnable)
    if inspect.iscoroutinefunction(runnable.raw_f):
        return lambda *args, **kwargs: asyncio.run(runnable.raw_f(*args, **kwargs))
    entrypoint: Callable[..., None] = runnable.raw_f
    return entrypoint


def _print_result(runnable: Runnable) -> Callable[..., None]:
    def call(*args: Any, **kwargs: Any) -> None:
        _show(runnable.object.remote(*args, **kwargs))

    return call


def _print_values(runnable: Runnable) -> Callable[..., None]:
    def call(*args: Any, **kwargs: Any) -> None:
        for value in runnable.object.remote_gen(*args, **kwargs):
            _show(value)

    return call


def _show(value: Any) -> None:
    if value is not None:
        click.echo(str(value))
