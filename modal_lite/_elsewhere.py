"""Running an app on a server that has a cluster, for as long as this program needs it."""

import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from modal_lite import config, output
from modal_lite._client import current_client
from modal_lite._core.address import address_of
from modal_lite._core.ids import new_id
from modal_lite._core.log_streams import SERVER
from modal_lite._deployment import deploy
from modal_lite._functions import _Function
from modal_lite._transport.admin import ask
from modal_lite.exception import Error

if TYPE_CHECKING:
    from modal_lite._app import _App

logger = logging.getLogger("modal_lite.cluster")

LOOK = 0.2
"""Seconds between two looks at what the functions have printed. By them the server knows that the app is in use."""
_LINES = 10_000
"""So many at a time, or more if they were written together."""


@asynccontextmanager
async def run_on_server(app: "_App", hydrated: list[_Function[Any, Any, Any]]) -> AsyncGenerator[str, None]:
    """Deploys the app under a name of its own until the end of the block; gives its id.

    Args:
        app: Its functions and classes are to run.
        hydrated: Takes those that do.

    Raises:
        As `_App.deploy`.
    """
    environment, name = config.environment_name(), f"{app.name or 'app'}-{new_id('run')}"
    deployed = await deploy(app, name, environment, None, ephemeral=True)
    client = current_client()
    follower = _Follower(environment, deployed.app_id)
    try:
        for function in (*app._functions.values(), *(cls.service for cls in app._classes.values())):
            if function._object_id is None:
                function._hydrate((await client.look_up(environment, name, function.tag)).function_id)
                hydrated.append(function)
        yield deployed.app_id
    finally:
        try:
            await client.close_app(deployed.app_id, hurried=False)
        finally:
            follower.stop()


class _Follower:
    """Shows what the functions of an app print, and what the server says of their containers."""

    def __init__(self, environment: str, app_id: str) -> None:
        self._path = "apps", environment, app_id, "logs"
        self._address = address_of()
        self._seen = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="modal_lite-output", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Shows what is left."""
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(LOOK):
            self._look()
        self._look()

    def _look(self) -> None:
        while True:
            try:
                lines = ask(self._address, "GET", *self._path, lines=_LINES, after=self._seen)
            except Error:
                return  # The server is being started anew, or the connection is lost: the next look will tell.
            for line in lines:
                self._seen = line["time"]
                _show(line)
            if len(lines) < _LINES:
                return


def _show(line: dict[str, Any]) -> None:
    manager = output.current()
    if line["stream"] == SERVER:
        # Why nothing happens: whoever waits is told, also if they do not want to see what functions print.
        if manager is None or not manager.quiet:
            logger.warning("%s: %s", line["function"], line["text"])
    elif manager is not None:
        manager.lines(line["function"], line["container"], line["stream"], [line["text"]])
