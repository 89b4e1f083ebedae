"""`modal-lite cluster`: the machines that a server's containers run on."""

from typing import Any

import click
import msgspec

from modal_lite._core.address import address_of
from modal_lite._transport.admin import ask
from modal_lite.cli.failures import refusals

_EPILOG = """\b
Examples:
  MODAL_LITE_PLACER=ray RAY_ADDRESS=head:6379 modal-lite server start
  modal-lite cluster status
"""


@click.group(epilog=_EPILOG)
def cluster() -> None:
    """See the Ray cluster that a server places containers on, by MODAL_LITE_PLACER=ray."""


@cluster.command(epilog="Example: modal-lite cluster status --json")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(as_json: bool) -> None:
    """Show the machines, how many containers each has, and which containers wait for a place, and why."""
    with refusals():
        found = ask(address_of(), "GET", "cluster")
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    from rich.console import Console  # here: it takes time to import

    state = "connected" if found["connected"] else f"not connected: {found['trouble']}"
    click.echo(f"Ray: {found['address']} ({state}). Server: {found['url']}")
    Console().print(_nodes(found["nodes"]))
    for each in found["pending"]:
        why = each["reason"] or "it has just been asked for"
        click.echo(f"{each['container_id']} of {each['function']} has waited for {each['seconds']:.0f} s: {why}")


def _nodes(nodes: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table("NODE", "ADDRESS", box=None, pad_edge=False)
    for name in ("CPUS", "GPUS", "MEMORY (MiB)", "CONTAINERS"):
        table.add_column(name, justify="right")
    table.add_column("LABELS", overflow="fold")
    for node in nodes:
        labels = [f"{name}={value}" for name, value in node["labels"].items() if name != "ray.io/node-id"]
        numbers = [f"{node[name]:.10g}" for name in ("cpus", "gpus", "memory", "containers")]
        table.add_row(node["node_id"][:12], node["address"], *numbers, " ".join(labels))
    return table
