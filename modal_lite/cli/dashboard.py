"""`modal-lite dashboard`: the way into the server's pages."""

import click

from modal_lite import config
from modal_lite._core.address import address_of
from modal_lite._transport.admin import ask
from modal_lite.cli.failures import refusals

_EPILOG = """\b
Examples:
  modal-lite dashboard
  xdg-open "$(modal-lite dashboard)"
"""


@click.command(epilog=_EPILOG)
def dashboard() -> None:
    """Print a link that opens the server's dashboard in a browser.

    Whoever opens it first is logged in, so it is good for once only, and for 5 minutes.
    """
    address = address_of()
    with refusals():
        link = ask(address, "POST", "dashboard")
    # A server elsewhere may have another name here than it has there.
    base = link["url"] if address.socket is not None else address.base
    if not base:
        raise click.ClickException(f"No port was free for the dashboard of the server in {config.data_dir()}.")
    click.echo(base + link["path"])
