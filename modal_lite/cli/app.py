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
from modal_lite._core.log_streams import STDOUT
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
        (
            entry["name"],
            entry["environment"],
            entry["state"],
            f"v{entry['version']}",
            _when(entry["deployed"]),
            _when(entry["next_run"]),
            entry["app_id"],
        )
        for entry in apps
    ]
    _show(apps, as_json, ("NAME", "ENVIRONMENT", "STATE", "VERSION", "DEPLOYED", "NEXT RUN", "ID"), rows)


@app.command(epilog="Example: modal-lite app functions hello")
@click.argument("name")
@_environment
@_json
def functions(name: str, environment: str | None, as_json: bool) -> None:
    """List the functions of an app: what waits and runs, and when their schedules are due."""
    with refusals():
        found = ask(address_of(), "GET", "apps", config.environment_name(environment), name, "functions")
    rows = [
        (
            entry["name"],
            str(entry["backlog"]),
            str(entry["running"]),
            str(entry["containers"]),
            entry["schedule"] or "",
            _when(entry["last_run"]),
            _when(entry["next_run"]),
        )
        for entry in found
    ]
    _show(found, as_json, ("NAME", "WAITING", "RUNNING", "CONTAINERS", "SCHEDULE", "LAST RUN", "NEXT RUN"), rows)


@app.command(epilog="Example: modal-lite app calls hello --unfinished")
@click.argument("name")
@_environment
@click.option("-u", "--unfinished", is_flag=True, help="Only those that have not finished.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=100, help="So many at most. Default: 100.")
@_json
def calls(name: str, environment: str | None, unfinished: bool, limit: int, as_json: bool) -> None:
    """List the calls of an app that are stored: those of spawn, spawn_map and schedules. Newest first."""
    with refusals():
        app_id = ask(address_of(), "GET", "apps", config.environment_name(environment), name)["app_id"]
        found = ask(address_of(), "GET", "calls", app_id=app_id, unfinished=unfinished, limit=limit)
    rows = []
    for entry in found:
        state = "unfinished" if entry["finished"] is None else "expired" if entry["expired"] else "finished"
        state = "cancelled" if entry["cancelled"] else state
        row = entry["call_id"], f"v{entry['version']}", str(entry["num_inputs"]), state
        rows.append((*row, _when(entry["created"]), _when(entry["finished"])))
    _show(found, as_json, ("ID", "VERSION", "INPUTS", "STATE", "CREATED", "FINISHED"), rows)


@app.command(epilog="Example: modal-lite app cancel fc-00000312ab34cd56ef7890")
@click.argument("call_id")
@click.option("--terminate-containers", is_flag=True, help="End the containers that run inputs of it.")
def cancel(call_id: str, terminate_containers: bool) -> None:
    """Cancel what is unfinished of a call."""
    with refusals():
        ask(address_of(), "POST", "calls", call_id, "cancel", terminate_containers=terminate_containers)
    click.echo(f"Cancelled {call_id}.", err=True)


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
                click.echo(text, err=line["stream"] != STDOUT and not as_json)
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


def _when(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
