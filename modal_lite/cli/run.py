"""`modal-lite run`: a local entrypoint in this process, or a function or method in a container."""

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable
from typing import Any

import click

from modal_lite._core.ids import new_id
from modal_lite._drive import run_blocking
from modal_lite._synchronizer import synchronizer
from modal_lite.cli.arguments import Arguments
from modal_lite.cli.failures import UsageError, interruptible, need_terminal, refusals, user_code
from modal_lite.cli.refs import Ref, Runnable, find_runnable
from modal_lite.functions import Function
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
@click.option("-d", "--detach", is_flag=True, help="Run a function on the server; print its call's id and return.")
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
    context: click.Context,
    quiet: bool,
    detach: bool,
    interactive: bool,
    is_module: bool,
    ref: str,
    arguments: tuple[str, ...],
) -> None:
    """Run a local entrypoint or a function, with its app.

    REF is a file (hello.py) or, after -m, a module (package.module), and may name what to run: hello.py::main. Without
    a name it is the only local entrypoint; if there is none, the only function.

    A local entrypoint runs here, and can call the app's functions. A function, or a method of a class, runs in a
    container; what it returns is printed, unless it is None. With --detach a function runs on the server, and goes on
    without this command: its result is modal_lite.FunctionCall.from_id(ID).get(). ARGUMENTS are options named after the
    parameters, --two-words for two_words; for a method also after those of its class.
    """
    parsed = Ref.parse(ref, is_module)
    if interactive:
        need_terminal("modal-lite run --interactive")
    sys.argv = [ref, *arguments]
    with quiet_output() if quiet else enable_output(), interruptible(quiet):
        module = parsed.load()
        runnable = find_runnable(parsed, module)
        positional, keywords = Arguments(runnable.raw_f, parsed.command(parsed.name)).parse(arguments, context)
        if detach:
            _detach(runnable, positional, keywords)
            return
        with user_code(), runnable.app.run(interactive=interactive):
            if not quiet:
                _show_urls(runnable.app)
            _start(runnable)(*positional, **keywords)


def _detach(runnable: Runnable, positional: list[Any], keywords: dict[str, Any]) -> None:
    """Deploys the app until the call has ended, and starts that."""
    if runnable.is_entrypoint:
        raise UsageError(f"{runnable.name} is a local entrypoint, which runs here. With --detach, name a function.")
    from modal_lite._deployment import deploy

    name = f"{runnable.app.name or 'app'}-{new_id('run')}"
    with refusals():
        run_blocking(deploy, synchronizer.implementation_of(runnable.app), name, None, None, ephemeral=True)
        call = Function.from_name(name, runnable.name).spawn(*positional, **keywords)
    click.echo(f"Running as {name}; see modal-lite app logs {name}", err=True)
    if call is not None:
        click.echo(call.object_id)


def _start(runnable: Runnable) -> Callable[..., None]:
    """What runs it, given its arguments."""
    if _is_web(runnable):
        return _wait
    if not runnable.is_entrypoint:
        return _print_values(runnable) if runnable.object.is_generator else _print_result(runnable)
    if inspect.iscoroutinefunction(runnable.raw_f):
        return lambda *args, **kwargs: asyncio.run(runnable.raw_f(*args, **kwargs))
    entrypoint: Callable[..., None] = runnable.raw_f
    return entrypoint


def _is_web(runnable: Runnable) -> bool:
    return runnable.name in runnable.app.registered_web_endpoints


def _show_urls(app: Any) -> None:
    """Says where the web functions answer requests while the app runs."""
    for tag in app.registered_web_endpoints:
        name, _, method = tag.partition(".")
        cls = app.registered_classes.get(name) if method else None
        if cls is None or not cls._cls.service._incomplete:
            function = app.registered_functions[tag] if cls is None else getattr(cls(), method)
            click.echo(f"{tag} answers requests at {function.get_web_url()}", err=True)


def _wait(*args: Any, **kwargs: Any) -> None:
    """Returns never; what answers requests does so until Ctrl-C."""
    click.echo("Ctrl-C stops it.", err=True)
    threading.Event().wait()


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
