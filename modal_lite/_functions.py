"""Functions: what `@app.function()` makes of a Python function.

Long for its docstrings: every public method is here, and what they do is in `_inputs.py`, `_map.py`, `_generator.py`
and `_results.py`.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import typing_extensions

from modal_lite import _misuse
from modal_lite._client import _Client, current_client
from modal_lite._core.blocks import Blocks
from modal_lite._core.context import is_local
from modal_lite._core.failures import unpack_exception
from modal_lite._core.ids import derived_id, new_id
from modal_lite._core.payload import EMPTY
from modal_lite._core.requests import CallKind, FunctionDefinition
from modal_lite._core.serialization import dumps_function
from modal_lite._core.settings import FunctionSettings
from modal_lite._core.web import WebConfig
from modal_lite._core.wrapping import blocking_refusal, hidden_from_types, refused_in_loops, untranslated
from modal_lite._function_call import _FunctionCall
from modal_lite._function_info import FunctionInfo
from modal_lite._generator import generator_blocks
from modal_lite._inputs import InputSource, SupportsAiter, dump_arguments
from modal_lite._map import map_blocks
from modal_lite._options import apply_changes, parse_changes, parse_count, parse_env, warn_of_unhonoured
from modal_lite._reference import Reference
from modal_lite._results import result_of
from modal_lite._shell import on_terminal
from modal_lite.exception import ExecutionError, InvalidError
from modal_lite.retries import Retries
from modal_lite.schedule import Cron, Period
from modal_lite.secret import Secret
from modal_lite.types import FunctionStats

if TYPE_CHECKING:
    import modal_lite._app

P = typing_extensions.ParamSpec("P")
ReturnType = TypeVar("ReturnType", covariant=True)
OriginalReturnType = TypeVar("OriginalReturnType", covariant=True)


class _Function(Generic[P, ReturnType, OriginalReturnType]):
    """A function that runs in containers. Made by `@app.function()`, never directly.

    `f.remote(x)` runs it in a container and waits, `f.map(xs)` runs it for many inputs, `f.spawn(x)` does not wait,
    `f.local(x)` runs it right here. Every method that waits has a twin to be awaited: `await f.remote.aio(x)`.
    """

    def __init__(
        self,
        app: "modal_lite._app._App",
        info: FunctionInfo,
        tag: str,
        settings: FunctionSettings,
        env: dict[str, str],
        base: "_Function[Any, Any, Any] | None" = None,
    ) -> None:
        self._app = app
        self._info = info
        self._tag = tag
        self._settings = settings
        self._env = env
        self._base = base
        """What this is a variant of, with other options."""
        self._reference: Reference | None = None if base is None else base._reference
        """Of what was looked up: where it is deployed."""
        self._object_id: str | None = None
        """Its id while its app runs; in a container, once it is known."""
        self._changed: frozenset[str] = frozenset()
        """Of a variant: the settings that differ from the base's."""
        self._new_env: dict[str, str] | None = None
        """Of a variant: variables instead of the base's."""
        self._resolved_base: str | None = None
        self._parameters: bytes | None = None
        """Of a variant of a class: the packed arguments of its constructor."""
        self._incomplete = False
        """A class that cannot do without parameters."""
        self._method = ""
        """Of a handle of a method, whose base is its class: the method's name."""
        self._schedule: Period | Cron | None = None
        """When it runs by itself, once its app is deployed."""
        self._web: dict[str, WebConfig] = {} if info.web is None else {"": info.web}
        """What of it answers requests: of a class by the methods' names, of a function under the empty one."""
        self._of_class = isinstance(info.raw_f, type)
        """It stands for a class."""
        self._run_here: Callable[..., Any] = info.raw_f
        """What `local` calls."""

    # --- what it is --------------------------------------------------------------------------------------------------

    @property
    def app(self) -> "modal_lite._app._App":
        """The app that it was defined in."""
        return self._app

    @property
    def tag(self) -> str:
        """Its name in the app: `name=` of the decorator, or the name of the Python function."""
        return self._tag

    @property
    def info(self) -> FunctionInfo:
        """Where it comes from: module, qualified name, file, kind."""
        return self._info

    @property
    def is_generator(self) -> bool:
        """True if it yields its results: call it by `remote_gen`."""
        return self._info.is_generator

    @property
    def object_id(self) -> str:
        """Its id, `fu-…`, as long as its app runs.

        Raises:
            ExecutionError: The app is not running.
        """
        if self._method and self._base is not None:
            return self._base.object_id
        if self._object_id is None:
            raise self._not_hydrated()
        return self._object_id

    @property
    async def web_url(self) -> str:
        """Where a web function answers requests.

        Raises:
            ValueError: It is no web function.
            ExecutionError: The app is not running.
        """
        url = await self.get_web_url()
        if url is None:
            raise _misuse.no_web_function(self._tag)
        return url

    async def get_web_url(self) -> str | None:
        """Where a web function answers requests, None if it is none.

        Raises:
            ExecutionError: The app is not running.
        """
        if self._info.web is None and self._reference is None:
            return None
        function_id = await self._resolve()
        if self._info.web is None:
            return None
        return (await self._client.web_urls(function_id)).get(self._method)

    def get_raw_f(self) -> Callable[P, OriginalReturnType]:
        """The undecorated Python function."""
        return self._info.raw_f

    def __repr__(self) -> str:
        return f"<Function {self._tag} of {self._info.module_name}>"

    @hidden_from_types
    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: it would not be clear where it runs."""
        raise _misuse.called_directly(self._tag, self._info.is_generator)

    # --- calling it --------------------------------------------------------------------------------------------------

    @untranslated(arguments=True, result=True)
    async def remote(self, *args: P.args, **kwargs: P.kwargs) -> ReturnType:
        """Runs the function in a container and returns its result.

        Raises:
            ExecutionError: The app is not running.
            InvalidError: It is a generator function: use `remote_gen`.
            SerializationError: An argument, or the result, cannot be pickled.
            RemoteError: The call was cancelled from elsewhere, or killed every container that tried it.
            Exception: Whatever the function raised, with its remote traceback.

        Cancelling it cancels the call: code that runs is interrupted, the container lives on.
        """
        function_id = self._object_id
        if function_id is None or self._base is not None:
            function_id = await self._resolve()
        if self._info.is_generator or self._info.web is not None:
            raise await self._wrong_kind("remote", "remote_gen")
        payload = dump_arguments(args, kwargs, self._tag)
        client = self._client
        result: ReturnType = result_of(await client.run(new_id("fc"), function_id, payload, self._method))
        return result

    @untranslated(arguments=True, result=True)
    def remote_gen(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, None]:
        """Runs a generator function in a container; its values stream as they are produced.

        The container runs ahead of the consumer by at most about a thousand values. Values yielded before a failure are
        delivered first. Leaving the iteration early interrupts the generator.

        Raises:
            InvalidError: It is no generator function: use `remote`.
            Exception: As `remote`.
        """
        return Blocks(lambda: self._values(args, kwargs), f"{self._tag}.remote_gen()")

    async def _values(self, args: Any, kwargs: Any) -> AsyncGenerator[list[Any], None]:
        function_id = await self._resolve()
        if not self._info.is_generator or self._info.web is not None:
            raise await self._wrong_kind("remote_gen", "remote")
        payload = dump_arguments(args, kwargs, self._tag)
        values = generator_blocks(self._client, function_id, payload, self._method)
        try:
            async for block in values:
                yield block
        finally:
            await values.aclose()

    @untranslated(arguments=True, result=True)
    def local(self, *args: P.args, **kwargs: P.kwargs) -> OriginalReturnType:
        """Runs the function right here, in this process, as if it were not decorated.

        No app has to run. An async function gives a coroutine, a generator function a generator. Variables of `env=`
        and `secrets=` are not set.
        """
        result: OriginalReturnType = self._run_here(*args, **kwargs)
        return result

    @untranslated(arguments=True)
    async def spawn(self, *args: P.args, **kwargs: P.kwargs) -> _FunctionCall[ReturnType]:
        """Starts the function in a container and returns once the call is accepted.

        Returns:
            A `FunctionCall`, to wait for the result or to cancel it; None for a generator function, which runs, its
            values unread.

        Raises:
            ExecutionError: The app is not running.
            SerializationError: An argument cannot be pickled.

        Cancelling it cancels the call, should it have been accepted by then: nobody else knows of it.
        """
        function_id = await self._resolve()
        if self._info.web is not None:
            raise await self._is_web("spawn")
        payload = dump_arguments(args, kwargs, self._tag)
        client, call_id = self._client, new_id("fc")
        kind = CallKind.DETACHED if self._info.is_generator else CallKind.SPAWNED
        try:
            await client.start(call_id, function_id, kind, payload, self._method)
        except BaseException:
            client.forget_call(call_id)
            raise
        if self._info.is_generator:
            return None  # type: ignore[return-value]  # the seed's contract; typed as the call, which it nearly always is
        return _FunctionCall(call_id, client)

    @untranslated(arguments=True, result=True)
    async def shell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Runs the function in a container of its own, with this program's terminal; its result is dropped.

        `input()`, `breakpoint()` and whatever else needs a terminal work there; Ctrl-C goes there, too. Neither the
        function's `timeout` nor its `retries` apply. Returns, or raises what the function raises, once the container
        has ended and the terminal is as it was.

        Raises:
            InvalidError: Standard input or output is no terminal; or this is a container.
            ExecutionError: The app is not running.
            KeyboardInterrupt: Ctrl-C ended the function.
            Exception: Whatever the function raised.
        """
        base_id = await self._resolve()
        async with on_terminal(base_id, self._settings, runs_program=False) as function_id:
            handle = self._running_as(function_id)
            if not self._info.is_generator:
                await handle.remote(*args, **kwargs)
                return
            values = handle._values(args, kwargs)
            try:
                async for _ in values:
                    pass
            finally:
                await values.aclose()

    async def _run_program(self, words: list[str]) -> int:
        """Runs a program on this program's terminal in a container of the function, the user's shell if none is given.

        Returns:
            Its exit status.
        """
        base_id = await self._resolve()
        async with on_terminal(base_id, self._settings, runs_program=True) as function_id:
            payload = dump_arguments((words,), {}, self._tag)
            status: int = result_of(await current_client().run(new_id("fc"), function_id, payload))
        return status

    # --- calling it for many inputs ----------------------------------------------------------------------------------

    @untranslated(arguments=True, result=True)
    def map(
        self,
        *input_iterators: Iterable[Any] | SupportsAiter,
        kwargs: Mapping[str, Any] = {},
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool = True,
    ) -> AsyncGenerator[ReturnType, None]:
        """Runs the function for every input, in parallel, and streams the results.

        Nothing happens before the result is iterated. Then inputs are pulled as results are taken: at most about 1,000
        of them are under way at a time (fewer when they are large), so endless inputs work, and so does leaving the
        loop early, which cancels what is in flight.

        Args:
            *input_iterators: One iterable, or async iterable, for each positional argument; the shortest one ends it.
                They are iterated in the caller's thread.
            kwargs: Keyword arguments of every call.
            order_outputs: Results in the order of the inputs; False: as they come.
            return_exceptions: Failures take their place among the results instead of ending the iteration.
            wrap_returned_exceptions: Failures of the function come as `UserCodeException(exc)`, False: as they are.

        Raises:
            TypeError: There is no iterator, or one is not iterable.
            InvalidError: The function is a generator function; or the blocking form is used inside an event loop.
            Exception: The first failure, after the results before it, unless `return_exceptions`; inputs not yet
                started are cancelled then. And whatever the input iterators raise.
        """
        source = InputSource(input_iterators, False, dict(kwargs), f"{self._tag}.map()")
        return self._map(source, "map", order_outputs, return_exceptions, wrap_returned_exceptions)

    @untranslated(arguments=True, result=True)
    def starmap(
        self,
        input_iterator: Iterable[Sequence[Any]] | SupportsAiter,
        kwargs: Mapping[str, Any] = {},
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool = True,
    ) -> AsyncGenerator[ReturnType, None]:
        """Like `map`, for an iterable of sequences of arguments: `f.starmap([(1, 2), (3, 4)])`.

        Args:
            input_iterator: Each element is spread over the positional arguments of one call.
            kwargs: As in `map`.
            order_outputs: As in `map`.
            return_exceptions: As in `map`.
            wrap_returned_exceptions: As in `map`.
        """
        source = InputSource((input_iterator,), True, dict(kwargs), f"{self._tag}.starmap()")
        return self._map(source, "starmap", order_outputs, return_exceptions, wrap_returned_exceptions)

    def _map(
        self, source: InputSource, name: str, ordered: bool, return_exceptions: bool, wrap: bool
    ) -> AsyncGenerator[Any, None]:
        async def blocks() -> AsyncGenerator[list[Any], None]:
            function_id = await self._resolve()
            await self._refuse_kind(name)
            client, tag, method = self._client, self._tag, self._method
            outputs = map_blocks(client, function_id, tag, source, ordered, return_exceptions, wrap, method)
            try:
                async for block in outputs:
                    yield block
            finally:
                await outputs.aclose()

        return Blocks(blocks, f"{self._tag}.{name}()", blocking_refusal(name))

    @refused_in_loops
    @untranslated(arguments=True, result=True)
    async def for_each(
        self,
        *input_iterators: Iterable[Any] | SupportsAiter,
        kwargs: Mapping[str, Any] = {},
        ignore_exceptions: bool = False,
    ) -> None:
        """Runs the function for every input and waits until all are done; results are dropped.

        Args:
            *input_iterators: As in `map`.
            kwargs: As in `map`.
            ignore_exceptions: Go on when inputs fail.

        Raises:
            Exception: The first failure to arrive, unless `ignore_exceptions`.
        """
        source = InputSource(input_iterators, False, dict(kwargs), f"{self._tag}.for_each()")
        function_id = await self._resolve()
        await self._refuse_kind("for_each")
        client, tag, method = self._client, self._tag, self._method
        outputs = map_blocks(client, function_id, tag, source, False, ignore_exceptions, True, method)
        try:
            async for _ in outputs:
                pass
        finally:
            await outputs.aclose()

    @refused_in_loops
    @untranslated(arguments=True)
    async def spawn_map(
        self,
        *input_iterators: Iterable[Any] | SupportsAiter,
        kwargs: Mapping[str, Any] = {},
    ) -> _FunctionCall[ReturnType]:
        """Starts the function for every input and returns once all are accepted.

        Args:
            *input_iterators: As in `map`; pulled to their end.
            kwargs: As in `map`.

        Returns:
            One call with many inputs: `call.num_inputs()`, `call.get(index=3)`, `call.iter()`.

        Raises:
            SerializationError: An input cannot be pickled; what was accepted before it is cancelled.
        """
        source = InputSource(input_iterators, False, dict(kwargs), f"{self._tag}.spawn_map()")
        function_id = await self._resolve()
        await self._refuse_kind("spawn_map")
        client, call_id = self._client, new_id("fc")
        try:
            size = await client.open_map(call_id, function_id, CallKind.SPAWNED, self._method)
            while not source.exhausted:
                for chunk in await source.next_chunks(size):
                    if chunk.failure is not None:
                        raise unpack_exception(chunk.failure, EMPTY)
                    batch = await client.exchange(
                        call_id, chunk.start, chunk.count, source.encoding, chunk.payload, closed=False, wait=False
                    )
                    size = batch.chunk_size
            await client.exchange(call_id, 0, 0, source.encoding, EMPTY, closed=True, wait=False)
        except BaseException:
            client.forget_call(call_id)
            raise
        finally:
            await source.close()
        return _FunctionCall(call_id, client)

    # --- how it is run -----------------------------------------------------------------------------------------------

    async def keep_warm(self, warm_pool_size: int) -> None:
        """Keeps at least this many containers ready from now on, while the app runs.

        Args:
            warm_pool_size: Containers, at least 0.

        Raises:
            InvalidError: It is out of range, or over the maximum.
            ExecutionError: The app is not running.
        """
        await self.update_autoscaler(min_containers=parse_count("warm_pool_size", warm_pool_size, 0))

    async def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
    ) -> None:
        """Changes how many containers the running function has, at once; None leaves a value as it is.

        Args:
            min_containers: Containers kept even without inputs.
            max_containers: Containers at most.
            buffer_containers: Idle containers kept in addition while there are inputs.
            scaledown_window: Seconds after which an idle container beyond the minimum ends.

        Raises:
            InvalidError: A value is out of range, or the minimum is over the maximum.
            ExecutionError: The app is not running.
        """
        options = {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
        }
        apply_changes(FunctionSettings(), parse_changes(options))
        function_id = await self._resolve()
        await self._client.update_function(
            function_id, min_containers, max_containers, buffer_containers, scaledown_window
        )

    async def get_current_stats(self) -> FunctionStats:
        """How many inputs wait, how many containers there are.

        Raises:
            ExecutionError: The app is not running.
        """
        function_id = await self._resolve()
        return await self._client.function_stats(function_id)

    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: str | None = None,
        retries: int | Retries | None = None,
        timeout: float | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        volumes: Mapping[str, Any] | None = None,
    ) -> "_Function[P, ReturnType, OriginalReturnType]":
        """The same function with other options, in containers of its own. This handle stays as it is.

        Args:
            cpu: See `App.function`; so for all of them. None keeps what the function has.
            memory: MiB; a request without a limit takes the limit away.
            gpu: Kind and number of GPUs.
            retries: Replaces the policy.
            timeout: Seconds per attempt.
            min_containers: Containers kept even without inputs.
            max_containers: Containers at most.
            buffer_containers: Idle containers kept in addition while there are inputs.
            scaledown_window: Seconds after which an idle container ends.
            env: Replaces the variables, those of secrets too.
            secrets: Replaces the variables, those of `env` too.
            volumes: Not supported by this backend.

        Raises:
            InvalidError: A value is of the wrong type or out of range.
        """
        options = locals().copy()  # of everything above, by name, before anything else is bound
        del options["self"]
        if self._method and self._base is not None:
            return self._base.with_options(**options)._method_handle(self._method, self._info, self._run_here)
        warn_of_unhonoured(options)
        changes = parse_changes(options)
        # Options add to those of a variant, whose base stays the same; but the parameters of a class stay with it.
        base = self._base if self._base is not None and self._parameters is None else self
        variant: _Function[P, ReturnType, OriginalReturnType]
        variant = _Function(self._app, self._info, self._tag, apply_changes(self._settings, changes), self._env, base)
        if base is not self:
            variant._changed, variant._new_env = self._changed, self._new_env
        variant._changed |= changes.keys()
        if env is not None or secrets is not None:
            variant._new_env = parse_env(env, secrets or ())
        return variant

    # --- as a class --------------------------------------------------------------------------------------------------

    def _with_parameters(self, parameters: bytes) -> "_Function[P, ReturnType, OriginalReturnType]":
        """Of a class: the variant whose containers hold an instance made with these parameters."""
        variant: _Function[P, ReturnType, OriginalReturnType]
        variant = _Function(self._app, self._info, self._tag, self._settings, self._env, self)
        variant._parameters = parameters
        return variant

    def _running_as(self, function_id: str | None) -> "_Function[P, ReturnType, OriginalReturnType]":
        """A handle of the same function, class or method where it runs under this id, whichever variant that is."""
        handle: _Function[P, ReturnType, OriginalReturnType]
        handle = _Function(self._app, self._info, self._tag, self._settings, self._env)
        handle._method = self._method
        handle._hydrate(function_id)
        return handle

    def _method_handle(self, name: str, info: FunctionInfo, run_here: Callable[..., Any]) -> "_Function[Any, Any, Any]":
        """Of a class: the handle of a method; `run_here` is what its `local` calls."""
        handle: _Function[Any, Any, Any]
        handle = _Function(self._app, info, f"{self._tag}.{name}", self._settings, self._env, self)
        handle._method = name
        handle._run_here = run_here
        return handle

    # --- looking it up -----------------------------------------------------------------------------------------------

    @staticmethod
    def from_name(
        app_name: str, tag: str, environment_name: str | None = None, client: Any | None = None
    ) -> "_Function[Any, Any, Any]":
        """A handle to a function of a deployed app. Nothing is contacted before its first use.

        Its code need not be here. Of what can be done with it only `local` is missing.

        Args:
            app_name: The app's name.
            tag: The function's name in the app.
            environment_name: The app's environment. Default: `MODAL_ENVIRONMENT`, else "main".
            client: Which server to ask, a `Client`; None for the one that the environment names.

        Raises:
            InvalidError: A name is not a string, or empty.
        """
        return _Function._of(Reference(app_name, tag, environment_name, client))

    @staticmethod
    async def lookup(
        app_name: str, tag: str, client: Any | None = None, environment_name: str | None = None
    ) -> "_Function[Any, Any, Any]":
        """Like `from_name`, but asks the server at once.

        Args:
            app_name: As in `from_name`.
            tag: As in `from_name`.
            client: As in `from_name`.
            environment_name: As in `from_name`.

        Raises:
            NotFoundError: There is no such app, or it has no such function; it says what there is.
            InvalidError: It is a class.
            ConnectionError: There is no server.
        """
        function = _Function.from_name(app_name, tag, environment_name, client)
        await function._resolve()
        return function

    @staticmethod
    def _of(reference: Reference) -> "_Function[Any, Any, Any]":
        """The handle of what is to be looked up."""
        from modal_lite._app import _App  # which is made of functions

        function: _Function[Any, Any, Any]
        function = _Function(
            _App(reference.app_name), reference.info(), reference.tag, FunctionSettings(timeout=None), {}
        )
        function._reference = reference
        return function

    @property
    def _client(self) -> _Client:
        """What its requests go to."""
        return current_client() if self._reference is None else self._reference.client

    # --- hydration ---------------------------------------------------------------------------------------------------

    async def _resolve(self) -> str:
        """The id under which the function runs. Raises ExecutionError if it does not."""
        if self._base is not None:
            return await self._resolve_variant(self._base)
        if self._object_id is not None:
            return self._object_id
        if self._reference is not None:
            found = await self._reference.look_up(self._of_class)
            self._info = self._reference.info()
            self._object_id = found.function_id
            return self._object_id
        if not is_local():
            self._object_id = await current_client().find_function(self._info.module_name, self._tag)
        if self._object_id is None:
            raise self._not_hydrated()
        return self._object_id

    async def _resolve_variant(self, base: "_Function[Any, Any, Any]") -> str:
        base_id = await base._resolve()
        if self._method:
            if self._reference is not None:
                self._info = self._reference.method_info(self._method)
            return base_id
        if self._object_id is None or self._resolved_base != base_id:
            parameters, changed = self._parameters, sorted(self._changed)
            object_id = new_id("fu") if parameters is None else derived_id("fu", base_id, parameters)
            await self._client.add_variant(object_id, base_id, self._settings, changed, self._new_env, parameters)
            self._object_id, self._resolved_base = object_id, base_id
        return self._object_id

    def _hydrate(self, object_id: str | None) -> None:
        """The app runs, and this is the function's id; or it does not, and there is none."""
        self._object_id = object_id

    def _definition(self, app_id: str, app_name: str, function_id: str) -> FunctionDefinition:
        """What the control plane has to know. Raises SerializationError if the function is to travel and cannot."""
        info = self._info
        return FunctionDefinition(
            function_id,
            app_id,
            app_name,
            self._tag,
            info.module_name,
            info.qualname,
            info.file_path,
            dumps_function(info.raw_f) if info.by_value else None,
            info.is_generator,
            self._settings,
            self._env,
            incomplete=self._incomplete,
            web=self._web,
        )

    async def _refuse_kind(self, name: str) -> None:
        if self._info.web is not None:
            raise await self._is_web(name)
        if self._info.is_generator:
            raise _misuse.generator_in_map(self._tag, name)

    async def _wrong_kind(self, used: str, right: str) -> InvalidError:
        if self._info.web is not None:
            return await self._is_web(used)
        return _misuse.wrong_kind(self._tag, self._info.is_generator, used, right)

    async def _is_web(self, used: str) -> InvalidError:
        return _misuse.web_function(self._tag, used, await self.get_web_url())

    def _not_hydrated(self) -> ExecutionError:
        return _misuse.not_hydrated(self._tag, self._info.raw_f, self._app.name)
