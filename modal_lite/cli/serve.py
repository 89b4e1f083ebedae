"""`modal-lite serve`: an app that is deployed anew whenever its source changes, until Ctrl-C."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click

from modal_lite import config
from modal_lite._core.address import address_of
from modal_lite._core.log_streams import STDOUT
from modal_lite._transport.admin import ask
from modal_lite.cli.failures import interruptible
from modal_lite.cli.refs import Ref, find_app
from modal_lite.exception import Error

LOOK = 300
"""Milliseconds between two looks at what the functions print."""

_EPILOG = """\b
Examples:
  modal-lite serve hello.py
  modal-lite serve hello.py --name hello-of-mine
"""


@click.command(epilog=_EPILOG)
@click.option("--name", help="The name to look the app up by. Default: that of App(name), with -dev.")
@click.option("-e", "--env", "environment", help="The environment to deploy to. Default: MODAL_ENVIRONMENT, else main.")
@click.option("-m", "is_module", is_flag=True, help="REF names a module, as with python -m.")
@click.argument("ref")
def serve(name: str | None, environment: str | None, is_module: bool, ref: str) -> None:
    """Deploy an app, and again whenever its source changes; stop it on Ctrl-C.

    What its functions print is shown. Calls that run when the source changes end on the version that they began on.
    """
    with interruptible(quiet=True):
        parsed = Ref.parse(ref, is_module)
        app = find_app(parsed, parsed.load())
        label = name or f"{app.name}-dev"
        command = [sys.executable, "-m", "modal_lite", "deploy", "-q", "--name", label]
        command += ["--env", config.environment_name(environment), *(["-m"] if is_module else []), ref]
        if subprocess.run(command).returncode:
            sys.exit(1)
        folder = os.getcwd() if is_module else os.path.dirname(os.path.abspath(parsed.target))
        path = "apps", config.environment_name(environment), label
        _show_urls(config.environment_name(environment), label)
        click.echo(f"Serving {label}, and watching {folder}. Ctrl-C stops it.", err=True)
        try:
            _watch(folder, command, path)
        finally:
            ask(address_of(), "POST", *path, "stop")
            click.echo(f"Stopped {label}.", err=True)


def _show_urls(environment: str, label: str) -> None:
    for listed in ask(address_of(), "GET", "apps", environment=environment):
        if listed["name"] == label and listed["state"] == "deployed":
            for tag, url in listed["web_urls"].items():
                click.echo(f"{tag} answers requests at {url}", err=True)


def _watch(folder: str, command: list[str], path: tuple[str, ...]) -> None:
    """Deploys again and again, and shows what is printed, until it is interrupted."""
    seen = 0.0
    for changed in _changes(folder):
        if changed:
            click.echo("The source has changed.", err=True)
            # In a process of its own, where no module is loaded yet. If it fails, it says why, and the old one goes on.
            if subprocess.run(command).returncode == 0:
                click.echo("Deployed the new version.", err=True)
        try:
            lines = ask(address_of(), "GET", *path, "logs", lines=1000)
        except Error:
            continue  # The server is being started anew.
        for line in [line for line in lines if line["time"] > seen]:
            click.echo(f"{line['function']}: {line['text']}", err=line["stream"] != STDOUT)
            seen = line["time"]


def _changes(folder: str) -> Iterator[Any]:
    from watchfiles import DefaultFilter, watch

    watched = DefaultFilter(ignore_paths=[str(config.data_dir())])
    yield from watch(
        folder, watch_filter=watched, yield_on_timeout=True, rust_timeout=LOOK, debounce=400, raise_interrupt=True
    )
