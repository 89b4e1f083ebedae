"""What a class is made with: the parameters that it declares, or the arguments of its own `__init__`."""

import inspect
from typing import Any

import msgspec

from modal_lite._class_parts import MISSING, PARAMETER_TYPES, Parameter
from modal_lite.exception import InvalidError

_TYPES = {kind.__name__: kind for kind in PARAMETER_TYPES}
_EXAMPLE = "`name: str = modal_lite.parameter()`"


class Arguments(msgspec.Struct, frozen=True):
    """What one instance is made with. Equal ones mean the same containers."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}


class Constructor:
    """Checks and normalises the arguments of a class, without making an instance.

    Args:
        user_cls: The class. If it declares parameters it gets an `__init__` that takes them.

    Raises:
        InvalidError: It declares parameters and has an `__init__`, or a parameter is of a type that cannot be one.
    """

    def __init__(self, user_cls: type) -> None:
        self._name = user_cls.__name__
        self._parameters = _declared(user_cls)
        self._types = {name: _type_of(user_cls, name) for name in self._parameters}
        for name, declared in self._parameters.items():
            if declared.default is not MISSING:
                self._check(name, declared.default)
            elif not declared.init:
                raise InvalidError(f"The parameter {name} of {self._name} has init=False, so it needs a default=.")
        if self._parameters:
            _refuse_init(user_cls)
            user_cls.__init__ = _initializer(self._parameters, self._types)  # type: ignore[misc]
        self._signature = None if self._parameters else _signature(user_cls)

    @property
    def is_needed(self) -> bool:
        """True if no instance can be made without arguments."""
        if self._signature is None:
            return any(declared.default is MISSING for declared in self._parameters.values())
        return any(
            p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            for p in self._signature.parameters.values()
        )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """What an instance made with these would be made with; without arguments if they are all the defaults.

        Raises:
            InvalidError: They do not fit the declared parameters.
            TypeError: They do not fit the `__init__` of the class.
        """
        if self._signature is not None:
            bound = self._signature.bind(*args, **kwargs)
            return Arguments(bound.args, bound.kwargs)
        if args:
            raise InvalidError(f"Parameters are given by name: {self._name}({self._call()}).")
        takes = {name: declared for name, declared in self._parameters.items() if declared.init}
        for name, value in kwargs.items():
            if name not in takes:
                raise InvalidError(f"{self._name} has no parameter {name}; it is made by {self._name}({self._call()}).")
            self._check(name, value)
        values = {name: kwargs.get(name, declared.default) for name, declared in takes.items()}
        missing = [name for name, value in values.items() if value is MISSING]
        if missing:
            raise InvalidError(
                f"Missing required parameter{'s' * (len(missing) > 1)}: {', '.join(missing)}. "
                f"{self._name} is made by {self._name}({self._call()})."
            )
        if all(value == takes[name].default for name, value in values.items()):
            return Arguments()
        return Arguments((), {name: self._types[name](value) for name, value in values.items()})

    def _check(self, name: str, value: Any) -> None:
        kind = self._types[name]
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not fits and not (kind is float and type(value) is int):
            raise InvalidError(f"The parameter {name} of {self._name} is of type {kind.__name__}, not {value!r:.100}.")

    def _call(self) -> str:
        return ", ".join(f"{name}=..." for name, declared in self._parameters.items() if declared.init)


def _declared(user_cls: type) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for base in reversed(user_cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Parameter):
                found[name] = value
            elif name in found:
                del found[name]  # Overridden by a fixed value.
    return found


def _type_of(user_cls: type, name: str) -> type:
    """The type that the parameter is annotated with, where the annotation itself may be a string."""
    for base in user_cls.__mro__:
        annotation = inspect.get_annotations(base).get(name)
        if annotation is not None:
            kind = _TYPES.get(annotation) if isinstance(annotation, str) else annotation
            if kind in PARAMETER_TYPES:
                return kind
            raise InvalidError(
                f"The parameter {name} of {user_cls.__name__} has the type {_name_of(annotation)}, which a parameter "
                f"cannot have: use {', '.join(_TYPES)}, or write an `__init__` without parameter()."
            )
    raise InvalidError(f"The parameter {name} of {user_cls.__name__} needs a type: write {_EXAMPLE}.")


def _name_of(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _refuse_init(user_cls: type) -> None:
    # That of a base class that was decorated itself is ours.
    init: Any = user_cls.__init__  # type: ignore[misc]  # of the class, not of an instance
    if init is not object.__init__ and not hasattr(init, "__modal_lite_generated__"):
        raise InvalidError(
            f"{user_cls.__name__} has both an `__init__` and parameter(), and can have one of them. Declare every "
            f"argument as {_EXAMPLE}, and do in a method with `@modal_lite.enter()` what else `__init__` does."
        )


def _initializer(parameters: dict[str, Parameter], types: dict[str, type]) -> Any:
    defaults = {name: declared.default for name, declared in parameters.items() if declared.default is not MISSING}

    def __init__(self: Any, **kwargs: Any) -> None:
        for name, value in {**defaults, **kwargs}.items():
            setattr(self, name, value)

    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(declared), annotation=types[name])
        for name, declared in parameters.items()
        if declared.init
    ]
    __init__.__signature__ = inspect.Signature([self_parameter, *named])  # type: ignore[attr-defined]
    __init__.__modal_lite_generated__ = True  # type: ignore[attr-defined]
    return __init__


def _default(declared: Parameter) -> Any:
    return inspect.Parameter.empty if declared.default is MISSING else declared.default


def _signature(user_cls: type) -> inspect.Signature:
    """The signature of its constructor, without self."""
    try:
        return inspect.signature(user_cls)
    except ValueError:  # of a class that is not written in Python
        parameters = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
        return inspect.Signature([*parameters, inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])
