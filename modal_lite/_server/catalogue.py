"""The apps that are deployed: what a name means, and which version of a function an id leads to.

A deployed function has an id that stays. Each deployment has functions of its own for the control plane, with ids made
of that id and the version; so inputs that run when the app is deployed anew end where they began.
"""

import difflib
import os
import sys
import time
from pathlib import Path

import msgspec

from modal_lite._core.ids import derived_id, new_id
from modal_lite._core.interfaces import Store
from modal_lite._core.messages import MainModule
from modal_lite._core.requests import AddVariant, DeployApp, DeployedFunction, FunctionDefinition, Source
from modal_lite._core.stored import AppState, StoredApp, StoredDeployment, StoredVariant
from modal_lite._server.limits import MAX_VARIANTS, check_count
from modal_lite._server.plane import Environment
from modal_lite._server.pruning import KEEP_STOPPED, KEEP_VERSIONS
from modal_lite._server.schedules import Schedules
from modal_lite._server.service import variant_of
from modal_lite.exception import InvalidError, NotFoundError


def version_id(function_id: str, version: int) -> str:
    """The id that this version of a deployed function has in the control plane."""
    return f"{function_id}.{version}"


def split_version(function_id: str) -> tuple[str, int | None]:
    """The lasting id, and the version if the id names one."""
    lasting, _, version = function_id.partition(".")
    return lasting, int(version) if version.isdecimal() else None


class DeployedApp:
    """An app and its deployments."""

    def __init__(self, stored: StoredApp) -> None:
        self.stored = stored
        self.deployments: dict[int, StoredDeployment] = {}

    @property
    def is_deployed(self) -> bool:
        """False once it was stopped."""
        return self.stored.state is AppState.DEPLOYED

    @property
    def previous(self) -> int:
        """The version before the current one. Raises NotFoundError if there is none."""
        earlier = [version for version in self.deployments if version < self.stored.version]
        if not earlier:
            raise NotFoundError(f"The app {self.stored.name} has no earlier version to go back to.")
        return max(earlier)

    @property
    def current(self) -> StoredDeployment:
        """The deployment that new calls are for."""
        return self.deployments[self.stored.version]

    def find(self, tag: str, version: int | None = None) -> DeployedFunction | None:
        """The function of that name, of the current version unless told otherwise."""
        deployment = self.current if version is None else self.deployments.get(version)
        for function in deployment.functions if deployment is not None else []:
            if function.definition.tag == tag:
                return function
        return None


class Catalogue:
    """All deployed apps, in memory and in the store.

    Args:
        store: Keeps them.
        snapshots: The folder of source snapshots.
    """

    def __init__(self, store: Store, snapshots: Path) -> None:
        self._store = store
        self._snapshots = snapshots
        self.schedules = Schedules()
        self._apps: dict[str, DeployedApp] = {}
        self._names: dict[tuple[str, str], DeployedApp] = {}
        self._owners: dict[str, DeployedApp] = {}
        """By the lasting ids of functions and variants."""
        self._variants: dict[str, AddVariant] = {}

    async def load(self) -> None:
        """Reads what is stored, in the place of what was known."""
        stored = await self._store.load_catalogue()
        for known in (self._apps, self._names, self._owners, self._variants):
            known.clear()
        for app in stored.apps:
            self._apps[app.app_id] = DeployedApp(app)
            if app.state is AppState.DEPLOYED:
                self._names[app.environment, app.name] = self._apps[app.app_id]
        for deployment in stored.deployments:
            app_record = self._apps[deployment.app_id]
            app_record.deployments[deployment.version] = deployment
            self._own(app_record, deployment)
        for variant in stored.variants:
            if variant.app_id in self._apps:
                self._enter_variant(self._apps[variant.app_id], variant.request)
        self.schedules.load(stored.schedules)

    def _own(self, app: DeployedApp, deployment: StoredDeployment) -> None:
        for function in deployment.functions:
            self._owners[function.definition.function_id] = app

    # --- apps --------------------------------------------------------------------------------------------------------

    def apps(self) -> list[DeployedApp]:
        """All of them, stopped ones included, oldest first."""
        return sorted(self._apps.values(), key=lambda app: app.stored.created)

    def app(self, environment: str, name: str) -> DeployedApp:
        """The deployed app of that name. Raises NotFoundError, which says what there is."""
        found = self._names.get((environment, name))
        if found is None:
            raise NotFoundError(self._describe_missing_app(environment, name))
        return found

    def deploy(self, request: DeployApp) -> DeployedApp:
        """Makes the functions of the request the app's. To be safe once the store has committed."""
        app = self._names.get((request.environment, request.name))
        if app is None:
            app = DeployedApp(
                StoredApp(new_id("ap"), request.environment, request.name, AppState.DEPLOYED, time.time(), 0)
            )
        functions = [self._named(app, function, request.name) for function in request.functions]
        self._add_deployment(app, request.source, functions, ephemeral=request.ephemeral)
        return app

    def roll_back(self, app: DeployedApp, version: int) -> None:
        """Deploys an earlier version once more. Raises NotFoundError if there is no such version."""
        found = app.deployments.get(version)
        if found is None:
            known = ", ".join(map(str, sorted(app.deployments)))
            raise NotFoundError(f"The app {app.stored.name} has no version {version}; there are {known}.")
        self._add_deployment(app, found.source, found.functions, rollback_of=version)

    def stop(self, app: DeployedApp) -> None:
        """The app can be looked up no more. Its name is free."""
        app.stored = msgspec.structs.replace(app.stored, state=AppState.STOPPED, stopped=time.time())
        self._store.put_app(app.stored)
        self._reschedule(app)
        self._names.pop((app.stored.environment, app.stored.name), None)
        for function_id in [key for key, owner in self._owners.items() if owner is app]:
            del self._owners[function_id]
            self._variants.pop(function_id, None)

    def prune(self, in_use: set[tuple[str, int]], now: float) -> list[str]:
        """Forgets what is too old: versions of apps that run, and apps that were stopped.

        Args:
            in_use: App and version of what the control plane knows; these stay.
            now: Seconds since the epoch.

        Returns:
            The ids of the apps of which nothing is known any more.
        """
        gone = []
        for app in self.apps():
            stopped, used = app.stored.stopped, {version for app_id, version in in_use if app_id == app.stored.app_id}
            if app.is_deployed:
                for version in sorted(set(app.deployments) - {app.stored.version} - used)[:-KEEP_VERSIONS]:
                    del app.deployments[version]
                    self._store.drop_deployment(app.stored.app_id, version)
            elif not used and stopped is not None and stopped < now - KEEP_STOPPED:
                del self._apps[app.stored.app_id]
                self._store.drop_app(app.stored.app_id)
                gone.append(app.stored.app_id)
        return gone

    def needed_snapshots(self, in_use: set[tuple[str, int]]) -> set[str]:
        """The digests of the sources that there are to be: of apps that can be called, and of what is in use."""
        return {
            deployment.source.digest
            for app in self.apps()
            for version, deployment in app.deployments.items()
            if app.is_deployed or (app.stored.app_id, version) in in_use
        }

    def _add_deployment(
        self,
        app: DeployedApp,
        source: Source,
        functions: list[DeployedFunction],
        rollback_of: int | None = None,
        ephemeral: bool = False,
    ) -> None:
        version = max(app.deployments, default=0) + 1
        deployment = StoredDeployment(
            app.stored.app_id, version, time.time(), source, functions, rollback_of, ephemeral
        )
        app.stored = msgspec.structs.replace(app.stored, version=version)
        app.deployments[version] = deployment
        self._apps[app.stored.app_id] = app
        self._names[app.stored.environment, app.stored.name] = app
        self._own(app, deployment)
        self._store.put_deployment(deployment)
        self._store.put_app(app.stored)
        self._reschedule(app)

    def _reschedule(self, app: DeployedApp) -> None:
        # An app that is to end as soon as it is idle has nothing to wait for.
        functions = app.current.functions if app.is_deployed and not app.current.ephemeral else []
        changed, dropped = self.schedules.replace(app.stored.app_id, functions, time.time())
        for schedule in changed:
            self._store.put_schedule(schedule)
        for function_id in dropped:
            self._store.drop_schedule(function_id)

    def _named(self, app: DeployedApp, function: DeployedFunction, app_name: str) -> DeployedFunction:
        """The function with its lasting id."""
        definition = function.definition
        named = msgspec.structs.replace(
            definition,
            function_id=derived_id("fu", app.stored.app_id, definition.tag.encode()),
            app_id=app.stored.app_id,
            app_name=app_name,
        )
        return msgspec.structs.replace(function, definition=named)

    # --- functions ---------------------------------------------------------------------------------------------------

    def look_up(self, environment: str, app_name: str, tag: str) -> DeployedFunction:
        """The function, or class, of that name. Raises NotFoundError, which says what there is."""
        app = self.app(environment, app_name)
        found = app.find(tag)
        if found is None:
            tags = [function.definition.tag for function in app.current.functions]
            raise NotFoundError(
                f"The app {app_name} (environment {environment}) has no function or class {tag}.{_near(tag, tags)}"
            )
        return found

    def add_variant(self, request: AddVariant) -> None:
        """Enters a variant of a deployed function.

        Raises:
            NotFoundError: There is no such function.
            InvalidError: The variant would be one of itself, or take the id of another function.
        """
        base_id, _ = split_version(request.base_id)
        request = msgspec.structs.replace(request, base_id=base_id)
        app = self._owner(base_id)
        self._check_variant(request)
        if self._variants.get(request.function_id) != request:
            if request.function_id not in self._variants:
                check_count(sum(owner is app for owner in self._owners.values()), MAX_VARIANTS, "variants of the app")
            self._enter_variant(app, request)
            self._store.put_variant(StoredVariant(app.stored.app_id, request))

    def _check_variant(self, request: AddVariant) -> None:
        function_id, base = request.function_id, request.base_id
        while (variant := self._variants.get(base)) is not None and base != function_id:
            base = variant.base_id
        taken = function_id in self._owners and function_id not in self._variants
        if base == function_id or taken or split_version(function_id)[1] is not None:
            raise InvalidError(f"{function_id} cannot be the id of a variant of {request.base_id}.")

    def _enter_variant(self, app: DeployedApp, request: AddVariant) -> None:
        self._variants[request.function_id] = request
        self._owners[request.function_id] = app

    def current_version(self, function_id: str) -> int:
        """The version that new calls of the function are for. Raises NotFoundError if there is no such function."""
        return self._owner(function_id).stored.version

    def definition(self, function_id: str, version: int | None = None) -> FunctionDefinition:
        """What the control plane has to know of a version of a deployed function; None: the current version.

        Raises:
            NotFoundError: There is no such function, or not in that version.
        """
        app = self._owner(function_id)
        version = app.stored.version if version is None else version
        deployment = app.deployments.get(version)
        found = None if deployment is None else self._as_deployed(deployment, function_id)
        if deployment is None or found is None:
            raise NotFoundError(f"The app {app.stored.name} has no function {function_id} in its version {version}.")
        changed = deployment.changed.get(function_id)
        return found if changed is None else msgspec.structs.replace(found, settings=changed)

    def _as_deployed(self, deployment: StoredDeployment, function_id: str) -> FunctionDefinition | None:
        variant, version = self._variants.get(function_id), deployment.version
        if variant is not None:
            base = self._as_deployed(deployment, variant.base_id)
            return None if base is None else self._variant(base, variant, version)
        for function in deployment.functions:
            definition = function.definition
            if definition.function_id == function_id:
                path = self._moved(definition.file_path, deployment)
                return msgspec.structs.replace(definition, function_id=version_id(function_id, version), file_path=path)
        return None

    def change(self, definition: FunctionDefinition) -> None:
        """Keeps the settings of a version of a function. The next deployment has those of the code again."""
        lasting, version = split_version(definition.function_id)
        app = self._owner(lasting)
        deployment = app.deployments.get(app.stored.version if version is None else version)
        if deployment is not None:
            changed = deployment.changed | {lasting: definition.settings}
            deployment = msgspec.structs.replace(deployment, changed=changed)
            app.deployments[deployment.version] = deployment
            self._store.put_deployment(deployment)

    def names(self, app_id: str, function_id: str) -> tuple[str, str]:
        """The name of a function, of whatever version, and that of its app; ids where they are not known."""
        lasting, _ = split_version(function_id)
        while (variant := self._variants.get(lasting)) is not None:
            lasting = variant.base_id
        app = self._apps.get(app_id)
        if app is None:
            return lasting, app_id
        for deployment in app.deployments.values():
            for function in deployment.functions:
                if function.definition.function_id == lasting:
                    return function.definition.tag, app.stored.name
        return lasting, app.stored.name

    def sibling(self, function_id: str, tag: str) -> str | None:
        """The id of the function of that name in the same version of the app, None if there is none."""
        lasting, version = split_version(function_id)
        found = self._owner(lasting).find(tag, version)
        if found is None:
            return None
        found_id = found.definition.function_id
        return found_id if version is None else version_id(found_id, version)

    def environment(self, definition: FunctionDefinition) -> Environment:
        """What containers of a version of a deployed function find around them."""
        app = self._apps[definition.app_id]
        _, version = split_version(definition.function_id)
        deployment = app.current if version is None else app.deployments[version]
        source = deployment.source
        moved = [self._moved(entry, deployment) for entry in source.sys_path]
        roots = [str(self._folder(source) / str(i)) for i in range(len(source.roots))]
        path = list(dict.fromkeys([*roots, *(entry for entry in moved if entry is not None)]))
        if source.python != python_version():
            path = list(dict.fromkeys([*roots, *filter(None, sys.path)]))
        main = source.main
        if main is not None and main.path is not None:
            main = MainModule(main.name, self._moved(main.path, deployment))
        cwd = self._moved(source.cwd, deployment)
        if cwd is None or not os.path.isdir(cwd) or cwd == source.cwd:
            cwd = roots[0]
        return Environment(main, path, cwd, app.stored.environment, on_server=True)

    def _moved(self, path: str | None, deployment: StoredDeployment | None) -> str | None:
        """A path of the deployer's as it is here: in the snapshot if that has it, else where it was."""
        if path is None or deployment is None:
            return path
        for i, root in enumerate(deployment.source.roots):
            if path == root or path.startswith(root + os.sep):
                moved = str(self._folder(deployment.source) / str(i)) + path[len(root) :]
                # Not everything is in the snapshot: an environment with its packages, in the project's folder, is not.
                return moved if os.path.exists(moved) else path
        return path

    def _folder(self, source: Source) -> Path:
        return self._snapshots / source.digest

    def _variant(self, base: FunctionDefinition, request: AddVariant, version: int) -> FunctionDefinition:
        return variant_of(base, msgspec.structs.replace(request, function_id=version_id(request.function_id, version)))

    def _owner(self, function_id: str) -> DeployedApp:
        app = self._owners.get(function_id)
        if app is None:
            raise NotFoundError(f"The app of the function {function_id} is not deployed any more.")
        return app

    def _describe_missing_app(self, environment: str, name: str) -> str:
        here = [other for env, other in self._names if env == environment]
        elsewhere = sorted(env for env, other in self._names if other == name)
        text = f"There is no deployed app {name} in the environment {environment}."
        if elsewhere:
            return f"{text} There is one in {', '.join(elsewhere)}: name it with environment_name=."
        return text + _near(name, here)


def python_version() -> str:
    """Major and minor version of this Python."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _near(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, 3) or sorted(names)[:10]
    return f" There is {', '.join(near)}." if near else ""
