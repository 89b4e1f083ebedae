"""`modal-lite token`: what clients show to a server on TCP."""

import secrets

import click

BYTES = 32


@click.group(epilog='Example: export MODAL_LITE_TOKEN="$(modal-lite token new)"')
def token() -> None:
    """Make tokens for servers that listen on TCP."""


@token.command(epilog="Example: modal-lite token new")
def new() -> None:
    """Print a new token, for MODAL_LITE_TOKEN of a server and its clients."""
    click.echo(secrets.token_urlsafe(BYTES))
