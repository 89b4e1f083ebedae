"""The options of `@app.function()`: checked where they are written, and turned into settings."""

import inspect
import math
import sys
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from modal_lite._batching import Batching
from modal_lite._concurrency import MAX_INPUTS, Concurrency
from modal_lite._core.context import is_local
from modal_lite._core.settings import EXIT_GRACE, FunctionSettings
from modal_lite._core.web import WebConfig, WebKind
from modal_lite._function_info import FunctionInfo
from modal_lite._partial_function import check_within
from modal_lite._resource_options import parse_resources
from modal_lite.exception import InvalidError
from modal_lite.image import Image
from modal_lite.retries import Retries
from modal_lite.schedule import Cron, Period
from modal_lite.secret import Secret

_OLD_NAMES = {
    "keep_warm": "min_containers",
    "concurrency_limit": "max_containers",
    "container_idle_timeout": "scaledown_window",
}
_UNHONOURED = (
    "image",
    "mounts",
    "volumes",
    "interactive",
    "block_network",
)
"""Accepted for the sake of programs written for Modal; processes on this machine cannot honour them."""
_INSTEAD = {
    "image": " Install packages where modal_lite is installed, and give variables by env=.",
    "volumes": " They see the files of this machine, under their own paths.",
}
_said: set[str] = set()


def parse_changes(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the options ask for, by name; none for options that are None or absent.

    Raises:
        InvalidError: A value is of the wrong type or out of range, or given twice.
    """
    given = {name: value for name, value in options.items() if value is not None}
    written: dict[str, str] = {}
    for old, new in _OLD_NAMES.items():
        if old in given:
            if new in given:
                raise InvalidError(f"{old}= is the former name of {new}=; give one of them.")
            given[new] = given.pop(old)
            written[new] = old
    changes = parse_resources(given)
    for name, least in (("min_containers", 0), ("buffer_containers", 0), ("max_containers", 1)):
        if name in given:
            changes[name] = parse_count(written.get(name, name), given[name], least)
    for name in ("scaledown_window", "startup_timeout", "timeout"):
        if name in given:
            changes[name] = _seconds(written.get(name, name), given[name])
    if "retries" in given:
        changes["retries"] = Retries.parse(given["retries"])
    if "single_use_containers" in given:
        changes["single_use"] = bool(given["single_use_containers"])
    if "enable_memory_snapshot" in given:
        changes["snapshot"] = bool(given["enable_memory_snapshot"])
    if "allow_concurrent_inputs" in given:
        check_within("allow_concurrent_inputs", given["allow_concurrent_inputs"], 1, MAX_INPUTS)
        changes["max_inputs"] = given["allow_concurrent_inputs"]
    return changes


def apply_changes(base: FunctionSettings, changes: Mapping[str, Any]) -> FunctionSettings:
    """The settings with some replaced. Raises InvalidError if they contradict each other then."""
    settings = msgspec.structs.replace(base, **changes)
    maximum = settings.max_containers
    if maximum is not None and settings.min_containers > maximum:
        raise InvalidError(
            f"min_containers={settings.min_containers} is over max_containers={maximum}; it can be at most that."
        )
    if settings.single_use and settings.shares:
        raise InvalidError("single_use_containers=True is for one input per container; it cannot share its container.")
    return settings


def apply_marks(
    settings: FunctionSettings, marks: Iterable[object], name: str, infos: Collection[FunctionInfo]
) -> FunctionSettings:
    """The settings with what decorators below that of the app say of how inputs share a container.

    Args:
        settings: What the options say.
        marks: What the decorators say.
        name: That of the function or class, for errors.
        infos: The function, or the methods of the class.

    Raises:
        InvalidError: They contradict each other or the options.
    """
    changes: dict[str, Any] = {}
    for mark in marks:
        if isinstance(mark, Concurrency):
            if settings.max_inputs > 1:
                raise InvalidError("allow_concurrent_inputs= is the former form of @modal_lite.concurrent(); use one.")
            changes |= {"max_inputs": mark.max_inputs, "target_inputs": mark.target_inputs}
        elif isinstance(mark, Batching):
            changes |= {"max_batch_size": mark.max_batch_size, "batch_wait": mark.wait_ms / 1000}
    settings = apply_changes(settings, changes)
    if settings.max_batch_size and settings.max_inputs > 1:
        raise InvalidError(f"{name} is both batched and concurrent; its inputs share a container in one way.")
    if settings.max_batch_size and any(info.is_generator for info in infos):
        raise InvalidError(f"{name} is batched and cannot be a generator; it must return a list.")
    web = [info.web for info in infos if info.web is not None]
    if web:
        settings = _for_requests(settings, web, name)
    in_threads = settings.max_inputs > 1 and not all(info.is_async or info.web is not None for info in infos)
    return msgspec.structs.replace(settings, in_threads=in_threads)


def _for_requests(settings: FunctionSettings, web: Collection[WebConfig], name: str) -> FunctionSettings:
    """The settings of a function, or class, that answers requests. Raises InvalidError if it cannot with these."""
    if settings.max_batch_size:
        raise InvalidError(f"{name} is batched and cannot answer requests, which come one by one.")
    if settings.retries is not None:
        raise InvalidError(f"{name} answers requests, which are not retried: the client may do so. Drop retries=.")
    if any(each.kind is WebKind.SERVER for each in web):
        if settings.min_containers > 1 or (settings.max_containers or 1) > 1:
            raise InvalidError(f"{name} listens on a port of this machine, so there can be only one container of it.")
        settings = msgspec.structs.replace(settings, max_containers=1)
    return msgspec.structs.replace(settings, exit_grace=EXIT_GRACE)


def parse_env(env: Mapping[str, str | None] | None, secrets: Sequence[Secret]) -> dict[str, str]:
    """The variables of `env=` and `secrets=`; `env` wins, a later secret over an earlier one.

    Raises:
        InvalidError: They are not what they should be.
    """
    variables: dict[str, str] = {}
    for secret in secrets:
        if not isinstance(secret, Secret):
            raise InvalidError(f"secrets= takes a list of modal_lite.Secret, not {type(secret).__name__!r}.")
        variables.update(secret.variables)
    if env is not None:
        if not isinstance(env, Mapping):
            raise InvalidError(f"env= takes a dict of strings, not {type(env).__name__!r}.")
        variables.update(Secret.from_dict(dict(env)).variables)
    return variables


def warn_of_unhonoured(options: Mapping[str, Any]) -> None:
    """Says, once in a process for each option, what has no effect on this machine."""
    if not is_local():
        return
    for name in _UNHONOURED if sys.platform == "linux" else (*_UNHONOURED, "memory"):
        if options.get(name):
            _say_once(
                name,
                f"The option {name}= has no effect: containers are local processes, and this backend cannot honour it."
                + _INSTEAD.get(name, ""),
            )


def parse_image(image: Any) -> Image | None:
    """The option `image=`. Raises InvalidError if it is no image."""
    if image is not None and not isinstance(image, Image):
        raise InvalidError(f"image= takes a modal_lite.Image such as Image.debian_slim(), not {image!r:.100}.")
    return image


def parse_schedule(schedule: Any) -> Period | Cron | None:
    """The option `schedule=`. Raises InvalidError if it is no schedule."""
    if schedule is not None and not isinstance(schedule, Period | Cron):
        raise InvalidError(f"schedule= takes a modal_lite.Period or a modal_lite.Cron, not {schedule!r:.100}.")
    return schedule


def check_runs_by_itself(info: FunctionInfo) -> None:
    """Raises InvalidError if a function with a schedule cannot be called without arguments."""
    try:
        inspect.signature(info.raw_f).bind()
    except TypeError as error:
        raise InvalidError(
            f"{info.qualname} has a schedule, which calls it without arguments: {error}. Give its parameters defaults."
        ) from None


def warn_of_local_run(tag: str, settings: FunctionSettings, has_schedule: bool) -> None:
    """Says, once in a process for each option, what has no effect while an app runs in a program on this machine."""
    if has_schedule:
        _say_once(
            "schedule",
            f"The schedule of {tag} has no effect in app.run(): only functions of a deployed app run by themselves.",
        )
    for name, value in (("region", settings.regions), ("cloud", settings.cloud)):
        if value:
            _say_once(name, f"The option {name}= of {tag} has no effect here: it chooses machines of a cluster.")


def _say_once(name: str, text: str) -> None:
    if name not in _said:
        _said.add(name)
        warnings.warn(text, UserWarning, stacklevel=_user_stacklevel())


def _user_stacklevel() -> int:
    """How far up the stack the user's own line is."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    return level


def _is_ours(module_name: str) -> bool:
    # contextlib is between `with app.run():` and the app.
    return module_name.partition(".")[0] in ("modal_lite", "synchronicity", "contextlib")


def parse_count(name: str, value: Any, least: int) -> int:
    """The value. Raises InvalidError, with the name, unless it is an int of at least so much."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidError(f"{name}={value!r}: must be an int of at least {least}.")
    return value


def _seconds(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise InvalidError(f"{name}={value!r}: must be a positive number of seconds.")
    return float(value)
