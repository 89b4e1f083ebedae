"""The addresses of deployed web functions, which outlive versions and restarts."""

import logging

from modal_lite._core.interfaces import Store
from modal_lite._core.requests import FunctionDefinition
from modal_lite._core.stored import StoredWebPort
from modal_lite._server.catalogue import DeployedApp, split_version
from modal_lite._server.web_front import WebFront

logger = logging.getLogger("modal_lite.server")


class WebAddresses:
    """Opens them, and remembers their ports.

    Args:
        front: Listens.
        store: Keeps the ports.
    """

    def __init__(self, front: WebFront, store: Store) -> None:
        self._front = front
        self._store = store
        self._ports: dict[tuple[str, str], int] = {}
        self._urls: dict[str, dict[str, str]] = {}

    async def load(self) -> None:
        """Reads which ports there were."""
        ports = await self._store.load_web_ports()
        self._ports = {(each.function_id, each.method): each.port for each in ports}

    def of(self, app_id: str) -> dict[str, str]:
        """Those of an app, by the names of its functions."""
        return self._urls.get(app_id, {})

    async def open(self, app: DeployedApp) -> None:
        """Opens those of the app's current version, and closes those that only earlier ones had."""
        current = [function.definition for function in app.current.functions]
        # By the functions' lasting ids: addresses do not change with the version.
        known = {f.definition.function_id for deployment in app.deployments.values() for f in deployment.functions}
        self._front.close_functions(known, {(each.function_id, method) for each in current for method in each.web})
        urls = self._urls[app.stored.app_id] = {}
        for definition in current:
            for method in definition.web:
                name = f"{definition.tag}.{method}" if method else definition.tag
                try:
                    urls[name] = await self.find(definition, method)
                except OSError as error:
                    logger.error("no port could be opened for %s: %s", name, error)

    async def find(self, definition: FunctionDefinition, method: str) -> str:
        """The address of one web function, or of a variant; opened if it is not. Raises OSError."""
        key = split_version(definition.function_id)[0], method
        origin = await self._front.open(*key, self._ports.get(key, 0))
        if self._ports.get(key) != origin.port:
            self._ports[key] = origin.port
            self._store.put_web_port(StoredWebPort(definition.app_id, *key, origin.port))
        return origin.url

    def close(self, app_id: str, function_ids: list[str]) -> None:
        """Closes those of an app, given the ids that its functions have in the control plane."""
        self._urls.pop(app_id, None)
        self._front.close_functions({split_version(function_id)[0] for function_id in function_ids})
