"""Apps: the functions that run together."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import msgspec
import typing_extensions
from synchronicity.async_wrap import asynccontextmanager

from modal_lite import config
from modal_lite._class_parts import parameter, refuse_parts
from modal_lite._client import current_client, server_client
from modal_lite._cls import LocalClass, _ClassDecorator, _Cls
from modal_lite._core.context import is_local
from modal_lite._core.ids import new_id
from modal_lite._core.settings import EXIT_GRACE, FunctionSettings
from modal_lite._core.wrapping import untranslated
from modal_lite._function_info import FunctionInfo
from modal_lite._functions import _Function
from modal_lite._local_entrypoint import LocalEntrypoint
from modal_lite._options import (
    apply_changes,
    apply_marks,
    check_runs_by_itself,
    parse_changes,
    parse_env,
    parse_image,
    parse_schedule,
    warn_of_local_run,
    warn_of_unhonoured,
)
from modal_lite._partial_function import PartialFunction, check_parentheses
from modal_lite._terminal import CallersTerminal
from modal_lite._web import web_config
from modal_lite.exception import InvalidError, NotFoundError
from modal_lite.image import Image
from modal_lite.retries import Retries
from modal_lite.schedule import Cron, Period
from modal_lite.secret import Secret

P = typing_extensions.ParamSpec("P")
R = TypeVar("R")


class _FunctionDecorator:
    """What `@app.function()` returns, on this side of the wrappers: takes the function, gives the `_Function`."""

    def __init__(self, decorate: Callable[[Any], _Function[..., Any, Any]]) -> None:
        self.decorate = decorate


class _App:
    """A set of functions that start and stop together.

    Args:
        name: For people: in output, errors and look-ups.
        image: For every function without one of its own. Has no effect on this backend, which says so once.
        secrets: For every function of the app, before its own.
        volumes: No effect.

    Raises:
        InvalidError: An argument is of the wrong type.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        image: Image | None = None,
        secrets: Sequence[Secret] = (),
        volumes: Mapping[str, Any] = {},
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise InvalidError(f"App(name={name!r}): must be a string.")
        parse_env(None, secrets)
        self._image = parse_image(image)
        warn_of_unhonoured(locals())
        self._name = name
        self._secrets = tuple(secrets)
        self._functions: dict[str, _Function[Any, Any, Any]] = {}
        self._classes: dict[str, _Cls] = {}
        self._entrypoints: dict[str, LocalEntrypoint[..., Any]] = {}
        self._app_id: str | None = None
        self._deployed_id: str | None = None
        self._hydrated: list[_Function[Any, Any, Any]] = []
        self._web_urls: dict[str, str] = {}
        """Of what was deployed: addresses by the names of web functions."""

    @property
    def name(self) -> str | None:
        """The name it was given."""
        return self._name

    @property
    def app_id(self) -> str | None:
        """Its id, `ap-…`, while it runs, or once it was deployed or looked up; else None."""
        return self._app_id or self._deployed_id

    @property
    def registered_functions(self) -> dict[str, _Function[Any, Any, Any]]:
        """Its functions, by name."""
        return dict(self._functions)

    @property
    def registered_classes(self) -> dict[str, _Cls]:
        """Its classes, by name."""
        return dict(self._classes)

    @property
    def registered_web_endpoints(self) -> list[str]:
        """The names of its web functions, and of the methods of its classes that are such."""
        names = [tag for tag, function in self._functions.items() if function._web]
        return names + [f"{name}.{method}" for name, cls in self._classes.items() for method in cls.service._web]

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint[..., Any]]:
        """Its local entrypoints, by name."""
        return dict(self._entrypoints)

    def __repr__(self) -> str:
        return f"<App {self._name or '(unnamed)'}>"

    # --- defining ----------------------------------------------------------------------------------------------------

    def function(
        self,
        _warn_parentheses_missing: None = None,
        *,
        image: Image | None = None,
        schedule: Period | Cron | None = None,
        secrets: Sequence[Secret] = (),
        env: Mapping[str, str | None] | None = None,
        gpu: Any = None,
        serialized: bool = False,
        mounts: Sequence[Any] = (),
        volumes: Mapping[str, Any] = {},
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        retries: int | Retries | None = None,
        timeout: float | None = 300,
        startup_timeout: float | None = None,
        name: str | None = None,
        is_generator: bool | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        enable_memory_snapshot: bool = False,
        single_use_containers: bool = False,
        include_source: bool | None = None,
        interactive: bool = False,
        block_network: bool = False,
        keep_warm: int | None = None,
        concurrency_limit: int | None = None,
        container_idle_timeout: float | None = None,
        allow_concurrent_inputs: int | None = None,
    ) -> _FunctionDecorator:
        """Decorates a Python function, so that it can run in containers: `@app.function()`.

        Args:
            secrets: Variables for its containers, after those of the app.
            env: More variables; these win. None as a value drops one.
            serialized: The function travels pickled; containers need not find it in a module.
            min_containers: Containers kept even without inputs. Default 0.
            max_containers: Containers at most. Default: the cores of this machine are shared fairly between the
                functions; given, it is used whatever the number of cores.
            buffer_containers: Idle containers kept in addition while there are inputs. Default 0.
            scaledown_window: Seconds after which an idle container beyond the minimum ends. Default 60.
            retries: Attempts after the first one, one second apart, or a `Retries`. Default none.
            timeout: Seconds that one attempt at one input may take, without the queue; None: no limit.
            startup_timeout: Seconds that a container may take to import the function's module. Default 300.
            name: Its name in the app. Default: the Python function's.
            is_generator: For functions that return a generator without being a generator function.
            single_use_containers: A new container for every input.
            enable_memory_snapshot: Imports the function's module once and forks containers from the process that has
                done so: they start at once and share its memory. If that process has threads or uses a GPU, it
                cannot be forked: containers import by themselves then, and a warning is logged once.
            cpu: Cores that a container counts on, or a pair (request, limit): thread pools of libraries are made for so
                many, and with less than one core it gets less time when others want some. Default: no hints.
            memory: MiB that a container needs, or a pair (request, limit). Over the limit it gets a `MemoryError`
                (Linux); the request alone has an effect on a cluster only, where it chooses the machine.
            gpu: A kind of GPU, "A100" or "A100:2", or a list of alternatives. Each container has so many devices of
                this machine, whatever their kind, to itself: `CUDA_VISIBLE_DEVICES`.
            include_source: Accepted; containers on this machine use the source where it is.
            keep_warm: Former name of `min_containers`.
            concurrency_limit: Former name of `max_containers`.
            container_idle_timeout: Former name of `scaledown_window`.
            allow_concurrent_inputs: Former form of `@modal_lite.concurrent(max_inputs=)`.
            image: Has no effect on this backend, which says so once; so it is with those that follow.
            schedule: When it runs by itself, once its app is deployed; in `app.run()` it has no effect.
            mounts: No effect.
            volumes: No effect.
            interactive: No effect.
            block_network: No effect.
            region: On a cluster, where its containers may run, by the machines' label `ray.io/availability-region`; a
                list of alternatives. Elsewhere no effect.
            cloud: The same, by the label `cloud`.

        Raises:
            InvalidError: Parentheses are missing; or it is put on something that a container could not import (a
                lambda, a function inside a function, a method, a class); or an option is of the wrong type or out of
                range.
        """
        options = locals().copy()  # of everything above, by name, before anything else is bound
        check_parentheses(_warn_parentheses_missing, "@app.function()")
        settings = apply_changes(FunctionSettings(timeout=None), parse_changes(options))
        variables = parse_env(env, (*self._secrets, *secrets))
        own_image, parsed_schedule = parse_image(image) or self._image, parse_schedule(schedule)
        warn_of_unhonoured(options)

        def decorate(function: Any) -> _Function[..., Any, Any]:
            refuse_parts(function, "@app.function()")
            partial = function if isinstance(function, PartialFunction) else PartialFunction(function, {})
            info = FunctionInfo.of(partial.raw_f, serialized, is_generator, "@app.function()")
            info = msgspec.structs.replace(info, web=web_config(partial))
            given = apply_marks(settings, partial.marks.values(), info.qualname, [info])
            decorated: _Function[..., Any, Any]
            decorated = _Function(self, info, name or info.raw_f.__name__, given, variables)
            if parsed_schedule is not None:
                check_runs_by_itself(info)
                decorated._schedule = parsed_schedule
            if own_image is not None:
                own_image._used_by(info.raw_f)
            self._functions[decorated.tag] = decorated
            return decorated

        return _FunctionDecorator(decorate)

    @typing_extensions.dataclass_transform(field_specifiers=(parameter,), kw_only_default=True)
    def cls(
        self,
        _warn_parentheses_missing: None = None,
        *,
        image: Image | None = None,
        secrets: Sequence[Secret] = (),
        env: Mapping[str, str | None] | None = None,
        gpu: Any = None,
        serialized: bool = False,
        mounts: Sequence[Any] = (),
        volumes: Mapping[str, Any] = {},
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        retries: int | Retries | None = None,
        timeout: float | None = 300,
        startup_timeout: float | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        enable_memory_snapshot: bool = False,
        single_use_containers: bool = False,
        include_source: bool | None = None,
        interactive: bool = False,
        block_network: bool = False,
        keep_warm: int | None = None,
        concurrency_limit: int | None = None,
        container_idle_timeout: float | None = None,
        allow_concurrent_inputs: int | None = None,
    ) -> _ClassDecorator:
        """Decorates a class, so that its methods can run in containers that keep its state: `@app.cls()`.

        Its methods for that are decorated with `@modal_lite.method()`, what runs at a container's start and end with
        `@modal_lite.enter()` and `@modal_lite.exit()`. It is made by its `__init__`, or by the parameters that it
        declares by `modal_lite.parameter()`.

        Args:
            secrets: As for `function`; so are all options. Numbers of containers are for each set of parameters.
            env: More variables.
            serialized: The class travels pickled.
            min_containers: Containers kept even without inputs, of every set of parameters in use.
            max_containers: Containers at most.
            buffer_containers: Idle containers kept in addition while there are inputs.
            scaledown_window: Seconds after which an idle container ends.
            retries: Attempts after the first one.
            timeout: Seconds that one attempt at one input may take.
            startup_timeout: Seconds until the class is imported, made and entered. Default 300.
            single_use_containers: A new container, and a new instance, for every input.
            enable_memory_snapshot: For each set of parameters, the class is imported and made, and its
                `@modal_lite.enter(snap=True)` hooks run, once; containers are forked from the process that has done so.
            cpu: Cores that a container counts on.
            memory: MiB that a container needs, or a pair (request, limit).
            gpu: Devices that each container has to itself.
            include_source: Accepted.
            keep_warm: Former name of `min_containers`.
            concurrency_limit: Former name of `max_containers`.
            container_idle_timeout: Former name of `scaledown_window`.
            allow_concurrent_inputs: Former form of `@modal_lite.concurrent(max_inputs=)`.
            image: Has no effect on this backend, which says so once; so it is with those that follow.
            mounts: No effect.
            volumes: No effect.
            interactive: No effect.
            block_network: No effect.
            region: On a cluster, the label of the machines for its containers; elsewhere no effect.
            cloud: The same, by another label.

        Raises:
            InvalidError: Parentheses are missing; or it is put on something that is no class or that a container could
                not import; or its parts contradict each other; or an option is of the wrong type or out of range.
        """
        options = locals().copy()  # of everything above, by name, before anything else is bound
        check_parentheses(_warn_parentheses_missing, "@app.cls()", "class")
        settings = apply_changes(FunctionSettings(timeout=None), parse_changes(options))
        variables = parse_env(env, (*self._secrets, *secrets))
        own_image = parse_image(image) or self._image
        warn_of_unhonoured(options)

        def decorate(user_cls: type) -> _Cls:
            info = FunctionInfo.of_class(user_cls, serialized, "@app.cls()")
            local = LocalClass(user_cls)
            methods = local.infos(info)
            given = apply_marks(settings, local.marks, info.qualname, methods.values())
            given = msgspec.structs.replace(given, exit_grace=EXIT_GRACE if local.has_exits else given.exit_grace)
            service: _Function[Any, Any, Any] = _Function(self, info, user_cls.__name__, given, variables)
            service._incomplete = local.constructor.is_needed
            service._web = {method: each.web for method, each in methods.items() if each.web is not None}
            if own_image is not None:
                own_image._used_by(user_cls)
            decorated = _Cls(service, methods, local)
            self._classes[decorated.name] = decorated
            return decorated

        return _ClassDecorator(decorate)

    @untranslated(arguments=True, result=True)
    def local_entrypoint(
        self, _warn_parentheses_missing: None = None, *, name: str | None = None
    ) -> Callable[[Callable[P, R]], LocalEntrypoint[P, R]]:
        """Decorates what `modal-lite run` runs on this side, with the app running: `@app.local_entrypoint()`.

        Its parameters become options of the command line. It stays an ordinary function.

        Args:
            name: Its name on the command line. Default: the function's.

        Raises:
            InvalidError: Parentheses are missing, or the name is taken.
        """
        check_parentheses(_warn_parentheses_missing, "@app.local_entrypoint()")

        def decorate(function: Callable[P, R]) -> LocalEntrypoint[P, R]:
            entrypoint = LocalEntrypoint(function, name or function.__name__)
            if entrypoint.name in self._entrypoints and is_local():
                raise InvalidError(f"This app already has a local entrypoint named {entrypoint.name}; give it a name=.")
            self._entrypoints[entrypoint.name] = entrypoint
            return entrypoint

        return decorate

    def include(self, other_app: "_App") -> "_App":
        """Adds the functions and classes of another app to this one. They run when either of the two runs.

        Args:
            other_app: Stays as it is.

        Returns:
            This app.

        Raises:
            InvalidError: Both have a function, or a class, of the same name.
        """
        for tag, function in other_app._functions.items():
            if self._functions.get(tag, function) is not function:
                raise InvalidError(f"Both apps have a function named {tag}; rename one with @app.function(name=...).")
        for name, found in other_app._classes.items():
            if self._classes.get(name, found) is not found:
                raise InvalidError(f"Both apps have a class named {name}; rename one.")
        self._functions.update(other_app._functions)
        self._classes.update(other_app._classes)
        return self

    # --- running -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def run(self, *, interactive: bool = False) -> AsyncGenerator["_App", None]:
        """Runs the app for as long as the `with` block lasts: `with app.run():`, or `async with app.run.aio():`.

        Containers start when functions are called. At the end of the block, however it ends, calls that still run are
        cancelled and the containers stopped, within about two seconds. Exit hooks of classes may take 30 seconds more,
        unless Ctrl-C ends them. The app may be run again afterwards.

        Args:
            interactive: Functions can have this program's terminal: by `modal_lite.interact()`, or `breakpoint()`.

        Raises:
            InvalidError: The app is already running, or this is a container; or there is no terminal, if it is to be
                `interactive`.
            SerializationError: A function that is to travel pickled cannot be.
        """
        if not is_local():
            raise InvalidError(
                "app.run() was reached while a container imported this module. Put it behind "
                '`if __name__ == "__main__":`, or into a function.'
            )
        if self._app_id is not None:
            raise InvalidError("The app is already running and cannot be started again before it has stopped.")
        if config.placer() == "ray":
            async with self._running_elsewhere(interactive):
                yield self
            return
        with CallersTerminal("An interactive run") if interactive else nullcontext() as terminal:
            async with self._running(terminal):
                yield self

    @asynccontextmanager
    async def _running(self, terminal: CallersTerminal | None) -> AsyncGenerator[None, None]:
        client, app_id = current_client(), new_id("ap")
        self._app_id = app_id
        hurried = False
        try:
            for function in (*self._functions.values(), *(cls.service for cls in self._classes.values())):
                # A function of an included app may be running there already, and then keeps its containers.
                if function._object_id is None:
                    function._hydrate(new_id("fu"))
                    self._hydrated.append(function)
                    warn_of_local_run(function._tag, function._settings, function._schedule is not None)
            label = self._name or app_id
            definitions = [function._definition(app_id, label, function.object_id) for function in self._hydrated]
            await client.open_app(app_id, label, definitions)
            if terminal is not None:
                await client.open_terminal(terminal, app_id, None)
            yield
        except (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
            hurried = True
            raise
        finally:
            try:
                self._forget_run()
                try:
                    if terminal is not None:
                        await client.close_terminal(terminal, drain=False)
                finally:
                    await client.close_app(app_id, hurried)
            except BaseException:
                # Ctrl-C may have come before that had begun.
                self._forget_run()
                client.close_app_soon(app_id)
                raise

    @asynccontextmanager
    async def _running_elsewhere(self, interactive: bool) -> AsyncGenerator[None, None]:
        from modal_lite._elsewhere import run_on_server  # which few programs need

        if interactive:
            raise InvalidError("An app on a cluster cannot have this program's terminal: leave interactive= away.")
        self._app_id = new_id("ap")
        try:
            async with run_on_server(self, self._hydrated) as app_id:
                self._app_id = app_id
                yield
        finally:
            self._forget_run()

    def _forget_run(self) -> None:
        self._app_id = None
        for function in self._hydrated:
            function._hydrate(None)
        self._hydrated.clear()

    # --- deploying ---------------------------------------------------------------------------------------------------

    async def deploy(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: Any | None = None,
    ) -> "_App":
        """Deploys the app to a server, where it can be called from any process until it is stopped.

        The server gets the functions and a snapshot of their source: what is edited afterwards changes nothing before
        the next `deploy`. An app of the same name is replaced at once; inputs that run end on the version that they
        began on. The server of this machine's data directory is started if it does not run.

        Args:
            name: Name to be looked up by. Default: the app's.
            environment_name: Environment to deploy to. Default: `MODAL_ENVIRONMENT`, else "main".
            tag: Accepted; versions are numbered.
            client: Which server, a `Client`; None for the one that the environment variables name.

        Returns:
            This app.

        Raises:
            InvalidError: The app has no name or no functions, or more source than a snapshot takes.
            SerializationError: A function that is to travel pickled cannot be.
            ConnectionError: The server cannot be reached, or not be started.
        """
        from modal_lite._deployment import deploy  # which few programs need

        if not is_local():
            raise InvalidError(
                "app.deploy() was reached while a container imported this module. Put it behind "
                '`if __name__ == "__main__":`, or into a function.'
            )
        deployed = await deploy(self, name, environment_name, None if client is None else client.requests)
        self._deployed_id, self._web_urls = deployed.app_id, deployed.web_urls
        return self

    @staticmethod
    async def lookup(
        name: str,
        client: Any | None = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> "_App":
        """An app that is deployed; its functions are looked up by `Function.from_name`.

        Args:
            name: The app's name.
            client: Which server to ask, a `Client`; None for the one that the environment variables name.
            environment_name: The app's environment. Default: `MODAL_ENVIRONMENT`, else "main".
            create_if_missing: An app of that name without functions instead of an error; it is not deployed.

        Raises:
            NotFoundError: There is no such app; it says what there is.
            ConnectionError: There is no server.
        """
        app = _App(name)
        requests = server_client(None if client is None else client.requests)
        try:
            app._deployed_id = (await requests.look_up_app(config.environment_name(environment_name), name)).app_id
        except NotFoundError:
            if not create_if_missing:
                raise
        return app
