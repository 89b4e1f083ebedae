"""`modal-lite token`: what clients show to a server on TCP."""

import time
from datetime import datetime

import click

from modal_lite import config
from modal_lite._core.data_directory import DataDirectory
from modal_lite._core.tokens import Tokens
from modal_lite.cli.failures import refusals


@click.group(epilog='Example: export MODAL_LITE_TOKEN="$(modal-lite token new)"')
def token() -> None:
    """Make tokens for clients of a server that listens on TCP.

    Whoever has a token has all rights of the server's user. Run these where the server's data directory is.
    """


@token.command(epilog="Example: modal-lite token new laptop")
@click.argument("name", default="")
def new(name: str) -> None:
    """Print a new token, once: only its hash is kept. NAME is to revoke it by; by default it is the time."""
    with refusals():
        click.echo(_tokens(create=True).new(name or datetime.now().strftime("%Y-%m-%dT%H:%M:%S.%f")))


@token.command("list", epilog="Example: modal-lite token list")
def list_tokens() -> None:
    """List the names of the tokens, and when they were made."""
    with refusals():
        for each in _tokens().all():
            click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(each.created))}  {each.name}")


@token.command(epilog="Example: modal-lite token revoke laptop")
@click.argument("name")
def revoke(name: str) -> None:
    """Have a token refused from now on. Connections that were made with it end."""
    with refusals():
        _tokens().revoke(name)
    click.echo(f"Revoked {name}.", err=True)


def _tokens(create: bool = False) -> Tokens:
    directory = DataDirectory(config.data_dir())
    if create:
        directory.create()
    return Tokens(directory.tokens)
