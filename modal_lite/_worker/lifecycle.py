"""The life of a user's class in a container: made, entered, called, left.

    import of the module ─► constructor ─► enters with snap=True ─► other enters ─► inputs ─► exits

Synchronous hooks run first of their kind, on the main thread without an event loop, asynchronous ones on the loop that
the async methods use. A memory snapshot is taken before the enters without `snap=True`; what is asynchronous of those
with it runs on a loop that is closed then. Exits run in the order of their definition, those of base classes first,
however the inputs ended, unless the enters were not all done: then there is nothing to leave.
"""

import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any, NamedTuple

from modal_lite._core.class_description import ATTRIBUTE, ClassDescription, unpack_parameters
from modal_lite._core.messages import ContainerSpec
from modal_lite._core.tracebacks import without_library_frames
from modal_lite._worker.callee import Callee, Callees
from modal_lite._worker.loading import find_object, is_async, unwrap
from modal_lite.image import raise_failed_imports


class Lifecycle:
    """A container's function, or the instance of its class.

    Attributes:
        callees: What inputs may be for.
        runner: The loop for whatever is async; None if nothing is.
    """

    def __init__(self, callees: Callees, hooks: tuple[Callable[..., Any], ...] = ()) -> None:
        is_async = any(callee.is_async for callee in callees.values()) or any(map(_is_async, hooks))
        self.callees = callees
        self.runner = asyncio.Runner() if is_async else None
        self._exits: tuple[Callable[[], Any], ...] = ()

    def leave(self) -> None:
        """Runs the exits, then ends what the user's code has left on the loop.

        What a hook raises is printed, and keeps none of the others from running.
        """
        for hook in self._exits:
            try:
                self._run(hook)
            except BaseException as error:
                traceback.print_exception(type(error), error, without_library_frames(error.__traceback__))
        self.close()

    def close(self) -> None:
        """Ends what runs on the loop."""
        if self.runner is not None:
            self.runner.close()

    def enter(self, hooks: Iterable[Callable[[], Any]], exits: tuple[Callable[[], Any], ...]) -> None:
        """Runs the enters; `exits` are to be run in the end, if all of these succeed. Raises what a hook raises."""
        try:
            for hook in hooks:
                self._run(hook)
        except BaseException:
            self.close()
            raise
        self._exits = exits

    def _run(self, hook: Callable[[], Any]) -> None:
        if self.runner is not None and _is_async(hook):
            self.runner.run(hook())
        else:
            hook()


class Loaded(NamedTuple):
    """A container's function, or the instance of its class before any hook has run."""

    callees: Callees
    snap_enters: tuple[Callable[[], Any], ...] = ()
    """The hooks that run first, in this order."""
    enters: tuple[Callable[[], Any], ...] = ()
    """The hooks that run then."""
    exits: tuple[Callable[[], Any], ...] = ()

    def enter_early(self) -> "Loaded":
        """Runs the hooks that run first and nothing else, and returns what is left. Raises what a hook raises."""
        life = Lifecycle({}, self.snap_enters)
        life.enter(self.snap_enters, ())
        life.close()
        return self._replace(snap_enters=())

    def begin(self) -> Lifecycle:
        """Runs the hooks. Raises what a hook raises."""
        enters = self.snap_enters + self.enters
        life = Lifecycle(self.callees, (*enters, *self.exits))
        life.enter(enters, self.exits)
        return life


def load(spec: ContainerSpec) -> Loaded:
    """Loads what the container is for; makes the instance if it is a class.

    Raises:
        BaseException: What `find_object` or the constructor raises.
        ImportError: What an `imports()` block of its image has raised.
    """
    if spec.runs_program:
        from modal_lite._worker.program import run_program

        return Loaded({"": Callee(run_program, spec.tag, is_generator=False, is_async=False)})
    loaded = _load(spec)
    if spec.web:
        from modal_lite._worker.web_functions import with_serving

        return with_serving(loaded, spec)
    return loaded


def _load(spec: ContainerSpec) -> Loaded:
    found = find_object(spec)
    description = getattr(found, ATTRIBUTE, None)
    if isinstance(description, ClassDescription):
        raise_failed_imports(description.cls)
        return _make(description, spec.tag, spec.parameters)
    function = unwrap(found, spec)
    raise_failed_imports(function)
    return Loaded({"": Callee(function, spec.tag, spec.is_generator, is_async(function))})


def _make(description: ClassDescription, tag: str, parameters: bytes | None) -> Loaded:
    args, kwargs = ([], {}) if parameters is None else unpack_parameters(parameters)
    instance = description.cls(*args, **kwargs)
    callees = {
        name: Callee(MethodType(method.raw_f, instance), f"{tag}.{name}", method.is_generator, method.is_async)
        for name, method in description.methods.items()
    }

    def bound(hooks: Iterable[Callable[..., Any]]) -> tuple[Callable[[], Any], ...]:
        return tuple(MethodType(hook, instance) for hook in hooks)

    return Loaded(
        callees,
        bound(sorted(description.snap_enters, key=_is_async)),
        bound(sorted(description.enters, key=_is_async)),
        bound(description.exits),
    )


def _is_async(hook: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(hook)
