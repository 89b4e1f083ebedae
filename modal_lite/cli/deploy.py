"""`modal-lite deploy`: an app, for all processes to call."""

import click

from modal_lite._synchronizer import synchronizer
from modal_lite.cli.failures import interruptible, refusals
from modal_lite.cli.refs import Ref, find_app

_EPILOG = """\b
Examples:
  modal-lite deploy hello.py
  modal-lite deploy hello.py::app --name production --env staging
  modal-lite deploy -m package.module
"""


@click.command(epilog=_EPILOG)
@click.option("--name", help="The name to look the app up by. Default: that of App(name).")
@click.option("-e", "--env", "environment", help="The environment to deploy to. Default: MODAL_ENVIRONMENT, else main.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
@click.option("-m", "is_module", is_flag=True, help="REF names a module, as with python -m.")
@click.argument("ref")
def deploy(name: str | None, environment: str | None, quiet: bool, is_module: bool, ref: str) -> None:
    """Deploy an app: its functions can be called from any process until it is stopped.

    REF is a file (hello.py) or, after -m, a module (package.module), and may name one of several apps: hello.py::app.
    The server keeps a snapshot of the source; deploy again to have changes take effect.
    """
    with interruptible(quiet):
        parsed = Ref.parse(ref, is_module)
        app = find_app(parsed, parsed.load())
        with refusals():
            app.deploy(name=name, environment_name=environment)
    if not quiet:
        label = name or app.name
        where = f" in the environment {environment}" if environment else ""
        click.echo(
            f"Deployed {label}{where}: {', '.join([*app.registered_functions, *app.registered_classes])}", err=True
        )
        for tag, url in synchronizer.implementation_of(app)._web_urls.items():
            click.echo(f"{tag} answers requests at {url}", err=True)
        click.echo(f"Look it up by modal_lite.Function.from_name({label!r}, ...)", err=True)
