"""`modal-lite app`: what is deployed, and what becomes of it."""

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
import msgspec

from modal_lite import config
from modal_lite._core.address import address_of
from modal_lite._transport.admin import ask
from modal_lite.cli.failures import interruptible, refusals

_FOLLOW = 0.5
"""Seconds between two looks for new lines."""

_EPILOG = """\b
Examples:
  modal-lite app list
  modal-lite app logs hello --follow
  modal-lite app rollback hello
"""

_environment = click.option(
    "-e", "--env", "environment", help="The app's environment. Default: MODAL_ENVIRONMENT, else main."
)
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group(epilog=_EPILOG)
def app() -> None:
    """See and manage deployed apps."""


@app.command("list", epilog="Example: modal-lite app list --json")
@click.option("-e", "--env", "environment", help="Only those of this environment.")
@click.option("-a", "--all", "stopped", is_flag=True, help="Stopped ones as well.")
@_json
def list_apps(environment: str | None, stopped: bool, as_json: bool) -> None:
    """List the apps."""
    with refusals():
        apps = ask(address_of(), "GET", "apps", environment=environment)
    apps = [entry for entry in apps if stopped or entry["state"] == "deployed"]
    rows = [
        (e["name"], e["environment"], e["state"], f"v{e['version']}", _when(e["deployed"]), e["app_id"]) for e in apps
    ]
    _show(apps, as_json, ("NAME", "ENVIRONMENT", "STATE", "VERSION", "DEPLOYED", "ID"), rows)


@app.command(epilog="Example: modal-lite app history hello")
@click.argument("name")
@_environment
@_json
def history(name: str, environment: str | None, as_json: bool) -> None:
    """List the versions of an app, newest first."""
    with refusals():
        versions = ask(address_of(), "GET", "apps", config.environment_name(environment), name, "history")
    rows = []
    for entry in versions:
        notes = "current" if entry["current"] else ""
        if entry["rollback_of"] is not None:
            notes = f"{notes} (v{entry['rollback_of']} again)".strip()
        rows.append((f"v{entry['version']}", _when(entry["created"]), ", ".join(entry["functions"]), notes))
    _show(versions, as_json, ("VERSION", "DEPLOYED", "FUNCTIONS", ""), rows)


@app.command(epilog="Example: modal-lite app rollback hello 3")
@click.argument("name")
@click.argument("version", required=False, type=click.IntRange(1))
@_environment
def rollback(name: str, version: int | None, environment: str | None) -> None:
    """Deploy an earlier version of an app once more: VERSION, or the one before the current one."""
    with refusals():
        path = "apps", config.environment_name(environment), name, "rollback"
        now = ask(address_of(), "POST", *path, version=version)
    click.echo(f"{name} is at v{now['version']} now.", err=True)


@app.command(epilog="Example: modal-lite app stop hello")
@click.argument("name")
@_environment
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def stop(name: str, environment: str | None, yes: bool) -> None:
    """Stop an app: its calls are cancelled, its containers end, and it cannot be looked up any more."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Stop {name}? Its calls under way are cancelled.", abort=True, err=True)
    with refusals():
        ask(address_of(), "POST", "apps", config.environment_name(environment), name, "stop")
    click.echo(f"Stopped {name}.", err=True)


@app.command(epilog="Example: modal-lite app logs hello --lines 50")
@click.argument("name")
@_environment
@click.option("-n", "--lines", type=click.IntRange(1, 100_000), default=1000, help="So many at most. Default: 1000.")
@click.option("-f", "--follow", is_flag=True, help="Wait for more, until Ctrl-C.")
@_json
def logs(name: str, environment: str | None, lines: int, follow: bool, as_json: bool) -> None:
    """Show what the functions of an app have printed. An app that was stopped is named by its id, ap-..."""
    path = "apps", config.environment_name(environment), name, "logs"
    seen = 0.0
    with refusals(), interruptible(quiet=True):
        while True:
            new = [line for line in ask(address_of(), "GET", *path, lines=lines) if line["time"] > seen]
            for line in new:
                text = msgspec.json.encode(line).decode() if as_json else f"{line['function']}: {line['text']}"
                click.echo(text, err=line["stream"] == "stderr" and not as_json)
            seen = new[-1]["time"] if new else seen
            if not follow:
                return
            time.sleep(_FOLLOW)


def _show(entries: list[Any], as_json: bool, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    if as_json:
        click.echo(msgspec.json.encode(entries))
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
