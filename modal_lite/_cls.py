"""Classes: what `@app.cls()` makes of a Python class, and the lazy instances of it.

A class is one function of the control plane, its methods are handles of that function, and each distinct set of
parameters is a variant of it, with containers of its own. A container makes one instance and serves all its methods.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from modal_lite._class_parts import Enter, Exit, is_hook, kind_of, marks_of, partials_of
from modal_lite._constructor import Arguments, Constructor
from modal_lite._core import context
from modal_lite._core.class_description import ATTRIBUTE, ClassDescription, MethodDescription, pack_parameters
from modal_lite._function_info import FunctionInfo
from modal_lite._functions import _Function
from modal_lite._partial_function import PartialFunction
from modal_lite._reference import Reference
from modal_lite._web import web_config
from modal_lite.exception import ExecutionError, InvalidError, SerializationError

_OBJECT = "__modal_lite_object__"
"""Where an instance keeps the `_Obj` that it was made for."""

AnyFunction = _Function[Any, Any, Any]


class _ClassDecorator:
    """What `@app.cls()` returns, on this side of the wrappers: takes the class, gives the `_Cls`."""

    def __init__(self, decorate: Callable[[type], "_Cls"]) -> None:
        self.decorate = decorate


class _Cls:
    """A class whose instances live in containers.

    Args:
        service: The function that stands for it in the control plane.
        methods: Its methods, by name.
        local: The class itself, with all that is needed to use it here; None for a handle from another process.
    """

    def __init__(self, service: AnyFunction, methods: Mapping[str, FunctionInfo], local: "LocalClass | None") -> None:
        self.service = service
        self.methods = methods
        self.local = local
        self._pools: WeakValueDictionary[bytes, AnyFunction] = WeakValueDictionary()

    @property
    def name(self) -> str:
        """Its name in the app."""
        return self.service.tag

    def has_method(self, name: str) -> bool:
        """True if it has that method; of a class that is looked up, if it may have."""
        return name in self.methods if self.reference is None else not name.startswith("_")

    def method_info(self, name: str) -> FunctionInfo:
        """Where a method comes from. Raises NotFoundError if a class that was looked up has no such method."""
        return self.methods[name] if self.reference is None else self.reference.method_info(name)

    @property
    def reference(self) -> Reference | None:
        """Of a class that was looked up: where it is deployed."""
        return self.service._reference

    def make(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Obj":
        """A lazy instance. Raises what `Constructor.bind` raises."""
        arguments = Arguments(args, kwargs) if self.local is None else self.local.constructor.bind(args, kwargs)
        return _Obj(self, arguments)

    def revive(self, parameters: bytes | None) -> "_Obj":
        """A lazy instance that came from another process, made with these parameters."""
        return _Obj(self, Arguments(), None, self.pool(parameters))

    def with_options(self, options: Mapping[str, Any]) -> "_Cls":
        """The same class with other options. See `_Function.with_options`."""
        return _Cls(self.service.with_options(**options), self.methods, self.local)

    def pool(self, parameters: bytes | None) -> AnyFunction:
        """The function whose containers hold an instance made with these parameters."""
        if parameters is None:
            return self.service
        pool = self._pools.get(parameters)
        if pool is None:
            pool = self._pools[parameters] = self.service._with_parameters(parameters)
        return pool

    def object_of(self, instance: Any) -> "_Obj":
        """The lazy instance that a real one belongs to.

        In a container, an instance that nobody here asked for is the one that the container serves.

        Raises:
            ExecutionError: It was not made by way of the decorated class, or is still in its `__init__`.
        """
        attributes = getattr(instance, "__dict__", {})
        found: _Obj | None = attributes.get(_OBJECT)
        if found is None:
            if context.is_local():
                raise ExecutionError(
                    f"This instance of {self.name} was not made by calling the decorated class, or is still in its "
                    f"__init__, so its methods are no Functions. Make it by {self.name}(...)."
                )
            found = _Obj(self, Arguments(), instance, self.service._running_as(context.served_function_id))
            attributes[_OBJECT] = found
        return found


def class_from_name(app_name: str, name: str, environment_name: str | None = None, client: Any | None = None) -> _Cls:
    """See `Cls.from_name`."""
    service = _Function._of(Reference(app_name, name, environment_name, client))
    service._of_class = True
    return _Cls(service, {}, None)


async def look_up_class(
    app_name: str, name: str, client: Any | None = None, environment_name: str | None = None
) -> _Cls:
    """A handle to a class of a deployed app, which is asked for at once. See `Cls.from_name`.

    Args:
        app_name: The app's name.
        name: The class's name.
        client: Which server to ask, a `Client`; None for the one that the environment variables name.
        environment_name: The app's environment. Default: `MODAL_ENVIRONMENT`, else "main".

    Raises:
        NotFoundError: There is no such app, or it has no such class; it says what there is.
        InvalidError: It is a function.
        ConnectionError: There is no server.
    """
    cls = class_from_name(app_name, name, environment_name, client)
    await cls.service._resolve()
    return cls


class LocalClass:
    """A user's class where it is defined: what it is made with, and the hooks that `.local` runs.

    Args:
        user_cls: The class.

    Raises:
        InvalidError: Its methods, hooks or parameters contradict each other.
    """

    def __init__(self, user_cls: type) -> None:
        self.user_cls = user_cls
        self.constructor = Constructor(user_cls)
        partials = partials_of(user_cls)
        self.methods = {name: partial for name, partial in partials.items() if not is_hook(partial)}
        self.marks = marks_of(user_cls, self.methods)
        exits = [partial.raw_f for partial in partials.values() if partial.mark(Exit)]
        self.has_exits = bool(exits)
        enters = [(partial.raw_f, mark) for partial in partials.values() if (mark := partial.mark(Enter)) is not None]
        self.snap_enters = tuple(raw_f for raw_f, mark in enters if mark.snap)
        self.enters = tuple(raw_f for raw_f, mark in enters if not mark.snap)
        self._describe(exits)

    def infos(self, info: FunctionInfo) -> dict[str, FunctionInfo]:
        """Where the methods come from, given where the class does."""
        return {
            name: info.of_method(name, partial.raw_f, *kind_of(partial), web_config(partial))
            for name, partial in self.methods.items()
        }

    def _describe(self, exits: list[Callable[..., Any]]) -> None:
        methods = {name: MethodDescription(partial.raw_f, *kind_of(partial)) for name, partial in self.methods.items()}
        description = ClassDescription(self.user_cls, methods, self.snap_enters, self.enters, tuple(exits))
        setattr(self.user_cls, ATTRIBUTE, description)


class _Obj:
    """An instance of a `_Cls`: in containers once a method is called there, here once something of it is used here.

    Args:
        cls: Its class.
        arguments: What it is made with.
        instance: The real one, if there is one already. It has been entered then.
        pool: The function whose containers hold it, if that is known already.
    """

    def __init__(self, cls: _Cls, arguments: Arguments, instance: Any = None, pool: AnyFunction | None = None) -> None:
        self.cls = cls
        self.arguments = arguments
        self._pool = pool
        self._instance = instance
        self._entered = instance is not None
        self._lock = threading.RLock()
        self._async_lock: asyncio.Lock | None = None
        self._handles: dict[tuple[str, Callable[..., Any] | None], AnyFunction] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Where an instance travels, this stays behind.
        return type(None), ()

    @property
    def pool(self) -> AnyFunction:
        """The function whose containers hold it. Raises SerializationError if its arguments cannot be pickled."""
        if self._pool is None:
            self._pool = self.cls.pool(self.parameters())
        return self._pool

    def parameters(self) -> bytes | None:
        """Its packed arguments, None for none. Raises SerializationError if they cannot be pickled."""
        args, kwargs = self.arguments.args, self.arguments.kwargs
        if not args and not kwargs:
            return None
        try:
            return pack_parameters(args, kwargs)
        except Exception as error:
            raise SerializationError(
                f"An argument of {self.cls.name}(...) cannot be pickled: {type(error).__name__}: {error}. "
                "Make it in a method with `@modal_lite.enter()` instead."
            ) from error

    def handle(self, name: str, raw_f: Callable[..., Any] | None = None) -> AnyFunction | None:
        """The Function that is its method of that name, None if it has no such method.

        Args:
            name: The method's.
            raw_f: What `local` calls, if it need not be that method but may be one of a base class, found by `super()`.
        """
        key = name, raw_f
        handle = self._handles.get(key)
        if handle is None and self.cls.has_method(name):
            info = self.cls.method_info(name)
            run_here = self._local(info, info.raw_f if raw_f is None else raw_f)
            handle = self._handles[key] = self.pool._method_handle(name, info, run_here)
        return handle

    def instance(self) -> Any:
        """The real one, made on first use.

        Raises:
            ExecutionError: This is a handle from another process, the class is not here.
            Exception: What its `__init__` raises.
        """
        with self._lock:
            if self._instance is None:
                instance = self._local_class().user_cls(*self.arguments.args, **self.arguments.kwargs)
                if hasattr(instance, "__dict__"):
                    instance.__dict__[_OBJECT] = self
                self._instance = instance
            return self._instance

    # --- running a method here ---------------------------------------------------------------------------------------

    def _local_class(self) -> LocalClass:
        local = self.cls.local
        if local is None:
            raise ExecutionError(
                f"The definition of the class {self.cls.name} is missing here: this handle came from another process. "
                "Use .remote() of its methods."
            )
        return local

    def _local(self, info: FunctionInfo, raw_f: Callable[..., Any]) -> Callable[..., Any]:
        """What runs the method here, after the enter hooks."""
        if inspect.isasyncgenfunction(raw_f):

            async def generate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                await self._enter_async()
                async for value in raw_f(self._instance, *args, **kwargs):
                    yield value

            return generate
        if info.is_async:

            async def run(*args: Any, **kwargs: Any) -> Any:
                await self._enter_async()
                return await raw_f(self._instance, *args, **kwargs)

            return run

        def call(*args: Any, **kwargs: Any) -> Any:
            self._enter()
            return raw_f(self._instance, *args, **kwargs)

        return call

    def _enter(self) -> None:
        with self._lock:
            if self._entered:
                return
            later = self._enter_sync()
            if later and _inside_event_loop():
                raise InvalidError(
                    f"{self.cls.name} has async enter hooks, which cannot run inside of this event loop from a method "
                    "that is not async. Call an async method of it first, or make this one async."
                )
            if later:
                asyncio.run(_await_each(self._instance, later))
            self._entered = True

    async def _enter_async(self) -> None:
        if self._async_lock is None:
            self._async_lock = asyncio.Lock()
        async with self._async_lock:
            if not self._entered:
                await _await_each(self._instance, self._enter_sync())
                self._entered = True

    def _enter_sync(self) -> list[Callable[..., Any]]:
        """Makes the instance and runs its sync hooks. Returns the async ones."""
        instance = self.instance()
        local = self._local_class()
        hooks = (*local.snap_enters, *local.enters)
        for hook in hooks:
            if not inspect.iscoroutinefunction(hook):
                hook(instance)
        return [hook for hook in hooks if inspect.iscoroutinefunction(hook)]


async def _await_each(instance: Any, hooks: list[Callable[..., Any]]) -> None:
    for hook in hooks:
        await hook(instance)


def _inside_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def partial_methods(cls: _Cls) -> dict[str, PartialFunction]:
    """The decorated methods of a class that is defined here."""
    return {} if cls.local is None else cls.local.methods
