"""Taking a memory snapshot: a process with the user's module imported and the first hooks run, to fork containers from.

What the user's code does here it does once for many containers. It runs on the main thread, as in a container, with the
surroundings and the limits of one, and its output goes where the output of the container goes that asked first.
"""

import gc
import os
import sys
from typing import Any, NamedTuple

from modal_lite._core import context
from modal_lite._core.failures import pack_exception
from modal_lite._core.main_module import set_container_main
from modal_lite._core.messages import ContainerSpec, Failure, FailureKind
from modal_lite._core.payload import Payload
from modal_lite._worker import process
from modal_lite._worker.forkable import obstacles
from modal_lite._worker.lifecycle import Loaded, load
from modal_lite._worker.resources import enter_resources, explain_shortage


class SnapshotDescriptors(NamedTuple):
    """What a snapshot process inherits, in the order in which the placer sends it."""

    frames: int
    descriptors: int
    stdout: int
    stderr: int
    """These two are for the user's code alone."""


class Snapshot(NamedTuple):
    """What became of it.

    Attributes:
        loaded: The function, or the instance as its first hooks have left it; None if the user's code has raised.
        failure: What it raised then, and the packed exception.
        obstacles: What keeps this process from being forked, for people.
    """

    loaded: Loaded | None
    failure: tuple[Failure, Payload] | None
    obstacles: list[str]


def take_snapshot(spec: ContainerSpec, fds: SnapshotDescriptors) -> Snapshot:
    """Loads what the spec is for in this process, and closes the descriptors for output."""
    for fd in fds:
        os.set_inheritable(fd, False)
    own_output = os.dup(1), os.dup(2)
    process.redirect_output(fds.stdout, fds.stderr)
    context.served_function_id = spec.function_id
    set_container_main(spec.main)
    try:
        process.enter_surroundings(spec)
        enter_resources(spec)
        loaded = load(spec).enter_early()
    except BaseException as error:
        explain_shortage(error)
        taken = Snapshot(None, pack_exception(error, FailureKind.INIT), [])
    else:
        taken = Snapshot(loaded, None, obstacles())
    process.flush_output()
    process.redirect_descriptors(*own_output)
    # Garbage that a container collected would cost it the pages that it shares with the others.
    gc.collect()
    return taken


def part_from_snapshot() -> None:
    """In a container that was forked from a snapshot: makes its random numbers others than those of its siblings.

    Python's own `random` sees to that itself, for its global generator.
    """
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(int.from_bytes(os.urandom(4), sys.byteorder))
