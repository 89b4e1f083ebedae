"""A Python function's parameters as options of the command line."""

import datetime
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from modal_lite.cli.failures import UsageError

_SUPPORTED = "int, float, str, bool, datetime.datetime, Literal[...], and any of them | None"
_NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Arguments:
    """The command line of one Python function.

    Args:
        function: Its parameters become options, `two_words` as `--two-words`; `*args` takes the other words.
        command: The command that runs it, for messages and help.

    Raises:
        UsageError: A parameter has an annotation that nothing on a command line can be turned into.
    """

    def __init__(self, function: Callable[..., Any], command: str) -> None:
        self._parameters = list(signature_of(function).parameters.values())
        words: list[click.Parameter] = []
        for parameter in self._parameters:
            if parameter.kind in _NAMED:
                words.append(_option(parameter))
            elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                words.append(_variadic(parameter))
        self._command = click.Command(command, params=words, help=inspect.getdoc(function))

    def parse(self, words: Sequence[str], parent: click.Context) -> tuple[list[Any], dict[str, Any]]:
        """Arguments for the function. Leaves out what was not given, so that its own defaults apply.

        Raises:
            click.UsageError: The words do not fit the function's parameters.
            click.exceptions.Exit: Help was asked for, and shown.
        """
        context = _Context(self._command, parent)
        with context:
            self._command.parse_args(context, list(words))
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        variadic = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in self._parameters)
        for parameter in self._parameters:
            name, kind = parameter.name, parameter.kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                positional.extend(context.params[name])
            elif kind is inspect.Parameter.POSITIONAL_ONLY or (kind is _NAMED[1] and variadic):
                # Those behind it take their places by position, so it has to be there even if it was not given.
                positional.append(context.params[name] if _given(context, name) else parameter.default)
            elif kind in _NAMED and _given(context, name):
                keywords[name] = context.params[name]
        return positional, keywords


class _Context(click.Context):
    """Calls the command by its whole name in usage lines, where click would put the parent's before it."""

    def __init__(self, command: click.Command, parent: click.Context) -> None:
        super().__init__(command, parent=parent, info_name=command.name)

    @property
    def command_path(self) -> str:
        return self.info_name or ""


class _Literal(click.Choice):  # type: ignore[type-arg, unused-ignore]
    """One of the values of a `Literal`, by its text."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self._values = {str(value): value for value in values}
        super().__init__(list(self._values))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._values[super().convert(value, param, ctx)]


class _DateTime(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A date, or a date and a time, as in ISO 8601."""

    name = "datetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime.datetime:
        try:
            return datetime.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date and time such as 2026-01-31 or 2026-01-31T12:00:00.", param, ctx)


_TYPES: dict[Any, "Callable[[], click.ParamType[Any]]"] = {
    int: lambda: click.INT,
    float: lambda: click.FLOAT,
    str: lambda: click.STRING,
    datetime.datetime: _DateTime,
}


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Its signature, with annotations that are no strings. Raises UsageError if they name what is not there."""
    try:
        return inspect.signature(function, eval_str=True)
    except Exception as error:
        raise UsageError(
            f"The annotations of {function.__qualname__} cannot be resolved ({type(error).__name__}: {error}). "
            "Import what they name at the top of the module, not under TYPE_CHECKING."
        ) from None


def _option(parameter: inspect.Parameter) -> click.Option:
    annotation = _without_none(parameter.annotation)
    words = parameter.name.strip("_").replace("_", "-")
    required = parameter.default is inspect.Parameter.empty
    # The default stays with the function, which may have one that no text on a command line stands for.
    shown = None if required or parameter.default is None else f"[default: {parameter.default}]"
    if annotation is bool:
        declarations = [f"--{words}/--no-{words}", parameter.name]
        # A flag that has any default, None included, is never missing to click.
        default: dict[str, Any] = {} if required else {"default": None}
        return click.Option(declarations, required=required, help=shown, **default)
    declarations = [f"--{words}", parameter.name]
    return click.Option(declarations, type=_type(parameter, annotation), required=required, help=shown)


def _variadic(parameter: inspect.Parameter) -> click.Argument:
    if parameter.annotation not in (inspect.Parameter.empty, str):
        raise _unsupported(f"*{parameter.name}", parameter.annotation, "*args takes strings: annotate it with str.")
    return click.Argument([parameter.name], nargs=-1, type=click.UNPROCESSED)


def _type(parameter: inspect.Parameter, annotation: Any) -> "click.ParamType[Any]":
    if annotation is inspect.Parameter.empty:
        return click.STRING
    if typing.get_origin(annotation) is typing.Literal:
        return _Literal(typing.get_args(annotation))
    if annotation not in _TYPES:
        raise _unsupported(parameter.name, parameter.annotation, f"Supported are {_SUPPORTED}.")
    return _TYPES[annotation]()


def _without_none(annotation: Any) -> Any:
    """X for Optional[X], X | None and Annotated[X, ...]."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _without_none(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        others = [member for member in typing.get_args(annotation) if member is not types.NoneType]
        if len(others) == 1:
            return _without_none(others[0])
    return annotation


def _unsupported(name: str, annotation: Any, advice: str) -> UsageError:
    shown = inspect.formatannotation(annotation)
    return UsageError(f"The parameter {name!r} cannot be given on a command line: it is annotated {shown}. {advice}")


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE
