"""`modal-lite server`: start, stop, status, run."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

import modal_lite
from modal_lite import config
from modal_lite._core.data_directory import DataDirectory, ServerInfo
from modal_lite._core.server_process import find_server, start_server, stop_server
from modal_lite.cli.failures import PROGRAM_FAILED, refusals

_EPILOG = """\b
Examples:
  modal-lite server start
  modal-lite server status
  modal-lite server run --host 0.0.0.0 --port 8000 --token "$TOKEN"
  modal-lite server start --placer ray --host 0.0.0.0 --port 8000
"""


@click.group(epilog=_EPILOG)
def server() -> None:
    """Start and stop the server that keeps deployed apps.

    There is one for each data directory: MODAL_LITE_DATA_DIR, by default a folder of yours.
    """


def _listening(command: Any) -> Any:
    """Adds the options that say where a server listens besides its Unix socket."""
    for option in (
        click.option("--certificate", help="PEM file with a TLS certificate and its key."),
        click.option("--token", envvar="MODAL_LITE_TOKEN", help="What clients on TCP must show; MODAL_LITE_TOKEN."),
        click.option("--port", type=click.IntRange(1, 65535), help="Listen on this TCP port as well."),
        click.option(
            "--hostname",
            "hostnames",
            multiple=True,
            help="A name that browsers reach the dashboard by; more than one can be.",
        ),
        click.option("--host", default=None, help="Listen at this address. Default: 127.0.0.1."),
        click.option("--advertise", help="URL at which a cluster finds the server; MODAL_LITE_ADVERTISE_URL."),
        click.option(
            "--placer",
            type=click.Choice(config.PLACERS),
            help="Run containers on this machine, or on the cluster of RAY_ADDRESS; MODAL_LITE_PLACER.",
        ),
    ):
        command = option(command)
    return command


@server.command(epilog="Example: modal-lite server run")
@_listening
@click.option("--background", is_flag=True, hidden=True)  # It was started by `start`.
def run(
    host: str | None,
    hostnames: tuple[str, ...],
    port: int | None,
    token: str | None,
    certificate: str | None,
    advertise: str | None,
    placer: str | None,
    background: bool,
) -> None:
    """Run the server in the foreground, until Ctrl-C."""
    from modal_lite._server.daemon import run_server
    from modal_lite._server.listening import Cluster, Listen
    from modal_lite._server.server_log import log_to

    # The process's environment is what containers begin with.
    os.environ.pop("MODAL_LITE_TOKEN", None)
    if not background:
        text = "%(asctime)s %(levelname)s %(name)s %(message)s"
        logging.basicConfig(level=logging.INFO, format=text, stream=sys.stderr)
    log_to(data_directory().log)

    def show(info: ServerInfo) -> None:
        if not background:
            click.echo(f"Server {info.url} runs. Ctrl-C ends it.", err=True)

    with refusals():
        cluster = None
        if (placer or config.placer()) == "ray":
            cluster = Cluster(config.ray_address(), advertise or config.advertise_url(), config.ray_python())
        listen = Listen(host, port, token, certificate, hostnames, modal_lite.__version__, cluster)
        run_server(data_directory(), listen, show)


@server.command(epilog="Example: modal-lite server start")
@_listening
def start(
    host: str | None,
    hostnames: tuple[str, ...],
    port: int | None,
    token: str | None,
    certificate: str | None,
    advertise: str | None,
    placer: str | None,
) -> None:
    """Start the server in the background, unless it runs."""
    with refusals():
        running = find_server(data_directory())
    if running is not None:
        click.echo(f"The server runs already.\n{describe(running)}", err=True)
        return
    absolute = None if certificate is None else os.path.abspath(certificate)  # it runs in its own folder
    options = [("--host", host), ("--port", port), ("--certificate", absolute)]
    options += [("--hostname", name) for name in hostnames]
    options += [("--advertise", advertise), ("--placer", placer)]
    words = [str(word) for name, value in options if value is not None for word in (name, value)]
    with refusals():
        info = start_server(data_directory(), words, token)
    click.echo(f"Server started.\n{describe(info)}", err=True)


@server.command(epilog="Example: modal-lite server stop")
def stop() -> None:
    """Stop the server. Calls made by spawn go on when it is started again."""
    with refusals():
        info = find_server(data_directory())
    if info is None:
        click.echo("The server is not running.", err=True)
        return
    with refusals():
        stop_server(data_directory(), info)
    click.echo("Server stopped.", err=True)


@server.command(epilog="Example: modal-lite server status --json")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(as_json: bool) -> None:
    """Show whether the server runs: its URL, its process, its data directory. Exit status 1 if not."""
    with refusals():
        info = find_server(data_directory())
    if as_json:
        import msgspec

        builtins = None if info is None else msgspec.to_builtins(info)
        known = {"running": info is not None, "data_directory": str(config.data_dir()), "server": builtins}
        click.echo(msgspec.json.encode(known))
    elif info is not None:
        click.echo(describe(info))
    else:
        click.echo(f"The server is not running (data directory {config.data_dir()}).")
    if info is None:
        sys.exit(PROGRAM_FAILED)


@server.command(epilog="Example: modal-lite server backup ~/modal-lite.tar.gz")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Copy apps, calls, results and source snapshots to an archive, while the server runs or not.

    To restore it, unpack FILE into an empty data directory and start the server there.
    """
    import sqlite3

    from modal_lite._server.backup import back_up

    with refusals():
        try:
            back_up(data_directory(), file)
        except sqlite3.Error as error:
            raise click.ClickException(f"The state of the server cannot be read: {error}.") from None
    click.echo(f"Wrote {file}.", err=True)


def data_directory() -> DataDirectory:
    """The one that the environment names."""
    return DataDirectory(config.data_dir())


def describe(info: ServerInfo) -> str:
    """Where it is, for people."""
    lines = [f"URL:            {info.url}"]
    if info.dashboard:
        lines.append(f"Dashboard:      {info.dashboard}/dashboard/ (`modal-lite dashboard` prints a link that logs in)")
    lines += [f"Process:        pid {info.pid}", f"Data directory: {config.data_dir()}"]
    return "\n".join(lines)
