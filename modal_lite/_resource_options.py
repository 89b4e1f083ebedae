"""The options that say what a container needs: `cpu=`, `memory=`, `gpu=`; and where: `region=`, `cloud=`."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from modal_lite.exception import InvalidError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""What can be a label of a machine."""
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*!?(?::([1-9][0-9]*))?")


def parse_resources(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that these options ask for, by name; none for options that are absent.

    Raises:
        InvalidError: A value is of the wrong type or out of range.
    """
    changes: dict[str, Any] = {}
    if "cpu" in given:
        changes["cpu"], changes["cpu_limit"] = _pair("cpu", given["cpu"], _is_cores, "a positive number of cores")
    if "memory" in given:
        changes["memory"], changes["memory_limit"] = _pair(
            "memory", given["memory"], _is_mebibytes, "an int of at least 1, in MiB"
        )
    if "gpu" in given:
        changes["gpus"] = _gpus(given["gpu"])
    if "region" in given:
        changes["regions"] = _regions(given["region"])
    if "cloud" in given:
        if not _is_name(given["cloud"]):
            raise InvalidError(f"cloud={given['cloud']!r:.100}: must be the name of a cloud.")
        changes["cloud"] = given["cloud"]
    return changes


def _regions(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list | tuple) and names and all(_is_name(name) for name in names):
        return tuple(names)
    raise InvalidError(f"region={value!r:.100}: must be the name of a region, or a list of alternatives.")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _pair(name: str, value: Any, is_right: Callable[[Any], bool], what: str) -> tuple[Any, Any]:
    """Request and limit; the limit is None if there is none."""
    request, limit = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    if not is_right(request) or not (limit is None or is_right(limit)):
        raise InvalidError(f"{name}={value!r}: must be {what}, or a pair of them: (request, limit).")
    if limit is not None and limit < request:
        raise InvalidError(f"{name}={value!r}: the limit is below the request; write (request, limit).")
    return request, limit


def _is_cores(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def _is_mebibytes(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _gpus(value: Any) -> int:
    """How many devices are enough; their kind is whatever this machine has."""
    kinds = [value] if isinstance(value, str) else value
    if isinstance(kinds, list | tuple) and kinds and all(isinstance(kind, str) for kind in kinds):
        matches = [_GPU.fullmatch(kind) for kind in kinds]
        counts = [int(match[1] or 1) for match in matches if match is not None]
        if len(counts) == len(matches):
            return min(counts)
    raise InvalidError(
        f'gpu={value!r}: must be a kind like "A100", with a number of devices like "A100:2", or a list of alternatives.'
    )
