"""Classes and the decorators of their parts.

Written by hand: what a class has is the user's, so its type is kept, and attributes are passed on untouched.
"""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar, overload

import typing_extensions

from modal_lite import _class_parts
from modal_lite._class_parts import parameter
from modal_lite._cls import _ClassDecorator, _Cls, _Obj, class_from_name, look_up_class, partial_methods
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite._partial_function import PartialFunction
from modal_lite._synchronizer import synchronizer
from modal_lite.functions import Function

P = typing_extensions.ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Local_co = TypeVar("Local_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def _hides_frames(function: F) -> F:
    """Tracebacks of what it raises show no library frames."""

    @functools.wraps(function)
    def hiding(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            hide_library_frames(error)
            raise

    return hiding  # type: ignore[return-value]


class Cls:
    """A class whose instances live in containers. Made by `@app.cls()`, never directly.

    `Model("x")` is a lazy instance: its methods are `Function`s, such as `Model("x").predict.remote(1)`. Each distinct
    set of parameters has containers of its own, which make the instance, run its `enter` hooks, then its methods, and
    its `exit` hooks in the end. Attributes of the class itself are there as usual.
    """

    def __init__(self, cls: _Cls) -> None:
        self._cls = cls

    @_hides_frames
    def __call__(self, *args: Any, **kwargs: Any) -> "Obj":
        """A lazy instance, to be made in containers.

        Raises:
            InvalidError: The arguments do not fit the declared parameters.
            TypeError: They do not fit the `__init__` of the class.
        """
        return Obj(self._cls.make(args, kwargs))

    @staticmethod
    @_hides_frames
    def from_name(app_name: str, name: str, environment_name: str | None = None, client: Any | None = None) -> "Cls":
        """A handle to a class of a deployed app. Nothing is contacted before a method of an instance is called.

        Its code need not be here: `Cls.from_name("app", "Model")(name="x").predict.remote(1)`.

        Args:
            app_name: The app's name.
            name: The class's name in the app.
            environment_name: The app's environment. Default: `MODAL_ENVIRONMENT`, else "main".
            client: Which server to ask, a `Client`; None for the one that the environment variables name.

        Raises:
            InvalidError: A name is not a string, or empty.
        """
        return Cls(class_from_name(app_name, name, environment_name, client))

    lookup: Any
    """`lookup(app_name, name, client=None, environment_name=None)`: like `from_name`, but asks the server at once."""

    @_hides_frames
    def with_options(self, **options: Any) -> "Cls":
        """The same class with other options, in containers of its own. This one stays as it is.

        Args:
            **options: As for `Function.with_options`.

        Raises:
            InvalidError: A value is of the wrong type or out of range.
        """
        return Cls(self._cls.with_options(options))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return () if self._cls.local is None else (self._cls.local.user_cls,)

    @_hides_frames
    def __getattr__(self, name: str) -> Any:
        if name in ("_cls", "__wrapped__"):
            raise AttributeError(name)  # Asked for while it is unpickled; by whoever unwraps functions.
        cls = self._cls.name
        if name in self._cls.methods:
            raise AttributeError(
                f"{name} is a method of the class {cls}. Did you forget to instantiate the class first? "
                f"Write {cls}(...).{name}."
            )
        if self._cls.local is None:
            raise AttributeError(f"The class {cls} has no method {name}.")
        return getattr(self._cls.local.user_cls, name)

    def __repr__(self) -> str:
        return f"<Cls {self._cls.name} of {self._cls.service.info.module_name}>"


class Obj:
    """A lazy instance of a class that is decorated with `@app.cls()`. Made by calling the class, never directly.

    Its methods are `Function`s. Other attributes, and methods without a decorator, are those of an ordinary instance in
    this process, which is made when they are first used.
    """

    def __init__(self, obj: _Obj) -> None:
        self.__dict__["_obj"] = obj

    @property
    def keep_warm(self) -> Any:
        """Keeps containers of this instance ready: see `Function.keep_warm`."""
        return synchronizer.wrapper_of(self._obj.pool).keep_warm

    @property
    def update_autoscaler(self) -> Any:
        """Changes how many containers this instance has: see `Function.update_autoscaler`."""
        return synchronizer.wrapper_of(self._obj.pool).update_autoscaler

    @_hides_frames
    def __getattr__(self, name: str) -> Any:
        if name == "_obj":
            raise AttributeError(name)  # Asked for while it is unpickled.
        handle = self._obj.handle(name)
        return getattr(self._obj.instance(), name) if handle is None else synchronizer.wrapper_of(handle)

    @_hides_frames
    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._obj.instance(), name, value)

    def __repr__(self) -> str:
        args, kwargs = self._obj.arguments.args, self._obj.arguments.kwargs
        words = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return f"<{self._obj.cls.name}({', '.join(words):.200})>"


class MethodAttribute(PartialFunction):
    """A method on the user's class: got from an instance, it is the `Function` that belongs to this instance."""

    def __init__(self, cls: Cls, name: str, partial: PartialFunction) -> None:
        super().__init__(partial.raw_f, partial.marks)
        self._cls = cls
        self._name = name

    @_hides_frames
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        # Its class has one of its own for every method; this one may be that of a base, which `super()` has found.
        own = vars(type(instance)).get(self._name)
        cls = own._cls if isinstance(own, MethodAttribute) else self._cls
        return synchronizer.wrapper_of(cls._cls.object_of(instance).handle(self._name, self.raw_f))


class ClassDecorator:
    """What `@app.cls()` returns: takes a class, gives the `Cls`, which to type checkers is the class itself."""

    def __init__(self, decorator: _ClassDecorator) -> None:
        self._decorator = decorator

    @_hides_frames
    def __call__(self, cls: type[T]) -> type[T]:
        """Decorates the class."""
        implementation = self._decorator.decorate(cls)
        decorated: Any = Cls(implementation)
        for name, partial in partial_methods(implementation).items():
            setattr(cls, name, MethodAttribute(decorated, name, partial))
        result: type[T] = decorated
        return result


class Method(Protocol, Generic[P, R_co, Local_co]):
    """To type checkers: a method, which is a `Function` of each instance."""

    def __get__(self, instance: Any, owner: Any = None) -> "Function[P, R_co, Local_co]": ...


class MethodDecorator(Protocol):
    """To type checkers: what `method()` returns."""

    @overload
    def __call__(
        self, function: Callable[typing_extensions.Concatenate[Any, P], Coroutine[Any, Any, R]]
    ) -> Method[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[typing_extensions.Concatenate[Any, P], R]) -> Method[P, R, R]: ...


@_hides_frames
def method(_warn_parentheses_missing: None = None, *, is_generator: bool | None = None) -> MethodDecorator:
    """Decorates a method that can be called in containers: `@modal_lite.method()`.

    The method of an instance is a `Function` then: `Model("x").predict.remote(1)`, `.map`, `.spawn`, `.local` and the
    others.

    Args:
        is_generator: For methods that return a generator without being generator functions.

    Raises:
        InvalidError: Parentheses are missing, or it is put on something else than a function.
    """
    decorator: Any = _class_parts.method(_warn_parentheses_missing, is_generator=is_generator)
    result: MethodDecorator = _hides_frames(decorator)
    return result


def _hook(make: F) -> F:
    """The maker of decorators, whose tracebacks show no library frames, nor do those of the decorators."""

    @functools.wraps(make)
    def hiding(*args: Any, **kwargs: Any) -> Any:
        return _hides_frames(make(*args, **kwargs))

    return _hides_frames(hiding)  # type: ignore[return-value]


enter = _hook(_class_parts.enter)
exit = _hook(_class_parts.exit)

synchronizer.register_external_wrapper_class(_Cls, Cls, translate_in=lambda cls: cls._cls, translate_out=Cls)
synchronizer.register_external_wrapper_class(
    _ClassDecorator, ClassDecorator, translate_in=lambda decorator: decorator._decorator, translate_out=ClassDecorator
)

Cls.lookup = staticmethod(synchronizer.wrap(look_up_class, "lookup", __name__))

__all__ = ["ClassDecorator", "Cls", "Obj", "enter", "exit", "method", "parameter"]
