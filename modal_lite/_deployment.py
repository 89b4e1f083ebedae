"""Deploying an app: what the server is given."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from modal_lite import config
from modal_lite._client import _Client, server_client
from modal_lite._core.address import address_of
from modal_lite._core.crossing import of_user
from modal_lite._core.data_directory import DataDirectory
from modal_lite._core.requests import Deployed, DeployedFunction, Schedule
from modal_lite._core.server_process import find_server, start_server
from modal_lite._functions import _Function
from modal_lite._source import snapshot_of
from modal_lite.exception import InvalidError
from modal_lite.output import say
from modal_lite.schedule import Cron, Period

if TYPE_CHECKING:
    from modal_lite._app import _App

T = TypeVar("T")


async def deploy(
    app: "_App", name: str | None, environment: str | None, client: _Client | None, ephemeral: bool = False
) -> Deployed:
    """Deploys the app, until it has no calls if `ephemeral`. See `_App.deploy`."""
    name = name or app.name
    if not name:
        raise InvalidError("An app needs a name to be deployed: give App(name), or name= here.")
    functions = [_exported(function) for function in app._functions.values()]
    for cls in app._classes.values():
        methods = {method: (info.is_generator, info.is_async) for method, info in cls.methods.items()}
        functions.append(_exported(cls.service, methods))
    if not functions:
        raise InvalidError(f"The app {name} has no functions to deploy.")
    infos = [function._info for function in (*app._functions.values(), *(c.service for c in app._classes.values()))]
    source, data = await _aside(snapshot_of, infos)
    if client is None:
        await _aside(start_if_needed)
    environment = config.environment_name(environment)
    deployed = await server_client(client).deploy(environment, name, functions, source, data, ephemeral)
    if deployed.python and deployed.python != source.python:
        say(
            f"The server runs Python {deployed.python}, this program {source.python}: containers of {name} have the "
            "server's Python and its packages. Exceptions and values that these do not know will not arrive."
        )
    return deployed


async def _aside(function: Callable[..., T], *arguments: Any) -> T:
    """Calls what takes its time: in a thread, if the caller has an event loop that is to go on meanwhile."""
    if asyncio._get_running_loop() is None:
        return function(*arguments)
    return await of_user(asyncio.to_thread, function, *arguments)


def start_if_needed() -> None:
    """Starts the server of the data directory if it is the one to be used and does not run, and says so."""
    if not address_of().local:
        return
    directory = DataDirectory(config.data_dir())
    if find_server(directory) is None:
        info = start_server(directory, [])
        say(f"Started the server (pid {info.pid}, data directory {directory.path}). It ends by: modal-lite server stop")


def _exported(
    function: _Function[Any, Any, Any], methods: dict[str, tuple[bool, bool]] | None = None
) -> DeployedFunction:
    # The ids are the server's to give.
    definition = function._definition("", "", "")
    return DeployedFunction(definition, function.info.is_async, methods, _schedule(function._schedule))


def _schedule(schedule: Period | Cron | None) -> Schedule | None:
    match schedule:
        case None:
            return None
        case Cron():
            return Schedule(cron=(schedule.cron_string, schedule.timezone))
    fields = {name: getattr(schedule, name) for name in schedule.__struct_fields__}
    return Schedule(period={name: value for name, value in fields.items() if value})
