"""A method of a class on the command line: its options are the parameters of the constructor and its own."""

import inspect
from collections.abc import Callable
from typing import Any

from modal_lite.cli.arguments import signature_of
from modal_lite.cli.failures import UsageError
from modal_lite.cls import Cls
from modal_lite.functions import Function

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Method:
    """Looks like a function with the parameters of both, keyword-only those of the constructor.

    Args:
        cls: The class.
        name: The method's.
    """

    def __init__(self, cls: Cls, name: str) -> None:
        self.name = f"{cls._cls.name}.{name}"
        self._cls = cls
        self._method = name
        self._info = cls._cls.methods[name]
        self.is_generator = self._info.is_generator

    def get_raw_f(self) -> Callable[..., Any]:
        """A function with this signature, to be described, not called. Raises UsageError if a name is that of two."""

        def described(**arguments: Any) -> None: ...

        own = list(signature_of(self._info.raw_f).parameters.values())[1:]
        constructor = self._constructor_parameters()
        both = {parameter.name for parameter in own} & constructor.keys()
        if both:
            raise UsageError(
                f"{self.name} has a parameter {' and '.join(sorted(both))}, and so has its class: on a command line "
                "they cannot be told apart. Call it from a local entrypoint."
            )
        position = next((i for i, p in enumerate(own) if p.kind is p.VAR_KEYWORD), len(own))
        own[position:position] = constructor.values()
        described.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        described.__doc__ = inspect.getdoc(self._info.raw_f)
        described.__qualname__ = self._info.raw_f.__qualname__
        return described

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the instance with those of the arguments that are for it, and calls the method with the others."""
        method, own = self._made(kwargs)
        return method.remote(*args, **own)

    def remote_gen(self, *args: Any, **kwargs: Any) -> Any:
        """As `remote`, for a generator."""
        method, own = self._made(kwargs)
        return method.remote_gen(*args, **own)

    def _made(self, kwargs: dict[str, Any]) -> tuple[Function[..., Any, Any], dict[str, Any]]:
        names = self._constructor_parameters().keys()
        instance = self._cls(**{name: value for name, value in kwargs.items() if name in names})
        method: Function[..., Any, Any] = getattr(instance, self._method)
        return method, {name: value for name, value in kwargs.items() if name not in names}

    def _constructor_parameters(self) -> dict[str, inspect.Parameter]:
        local = self._cls._cls.local
        assert local is not None  # It was found in its module.
        parameters = signature_of(local.user_cls).parameters
        return {
            name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in parameters.items()
            if parameter.kind not in _VARIADIC
        }
