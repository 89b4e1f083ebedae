"""`modal-lite profile`: which settings of the config file apply."""

import click

from modal_lite import config
from modal_lite.cli.failures import refusals


@click.group(epilog="Example: modal-lite profile activate work")
def profile() -> None:
    """See and choose profiles: settings of the config file. MODAL_LITE_PROFILE names another for one program."""


@profile.command("list", epilog="Example: modal-lite profile list")
def list_profiles() -> None:
    """List the profiles; a star marks the one that applies."""
    with refusals():
        known, active = config.profiles(), config.active_profile()
    for name, settings in known.items():
        where = settings.get("server_url") or settings.get("data_dir") or "the server of the data directory"
        click.echo(f"{'*' if name == active else ' '} {name}  {where}")
    if not known:
        click.echo(f"There are no profiles. They are written in {config.config_path()}.", err=True)


@profile.command(epilog="Example: modal-lite profile current")
def current() -> None:
    """Print the name of the profile that applies."""
    with refusals():
        click.echo(config.active_profile())


@profile.command(epilog="Example: modal-lite profile activate work")
@click.argument("name")
def activate(name: str) -> None:
    """Have this profile apply from now on."""
    with refusals():
        config.activate_profile(name)
    click.echo(f"The profile {name} applies from now on.", err=True)
