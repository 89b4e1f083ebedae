"""Functions on the caller's terminal: each in a container of its own, which has the terminal all its life."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from modal_lite._client import current_client
from modal_lite._core.context import is_local
from modal_lite._core.ids import new_id
from modal_lite._core.settings import FunctionSettings
from modal_lite._terminal import CallersTerminal
from modal_lite.exception import InvalidError

_NO_HURRY = 30 * 24 * 3600.0
"""Seconds; somebody may be thinking at a breakpoint in the module."""


@asynccontextmanager
async def on_terminal(base_id: str, settings: FunctionSettings, runs_program: bool) -> AsyncGenerator[str, None]:
    """A variant of a function whose container has this process's terminal, by its id. Its input is to be called once.

    At the end of the block everything is shown that the container writes until it ends.

    Args:
        base_id: The function.
        settings: Those of the function.
        runs_program: Its inputs are command lines.

    Raises:
        InvalidError: There is no terminal, or this is a container.
    """
    if not is_local():
        raise InvalidError(
            ".shell() is for the program on the terminal, and this is a container. To have the terminal here, call "
            "`modal_lite.interact()`, and start the program with `modal-lite run -i`."
        )
    client, function_id = current_client(), new_id("fu")
    with CallersTerminal(".shell()") as terminal:
        interactive, changed = _interactive(settings, runs_program)
        await client.add_variant(function_id, base_id, interactive, changed, None)
        await client.open_terminal(terminal, "", function_id)
        drain = False
        try:
            yield function_id
            drain = True
        except Exception:
            drain = True
            raise
        finally:
            await client.close_terminal(terminal, drain)


def _interactive(settings: FunctionSettings, runs_program: bool) -> tuple[FunctionSettings, list[str]]:
    """The settings, and which of them are not those of the function: one input, one attempt, no limits of time."""
    changes = {
        "interactive": True,
        "runs_program": runs_program,
        "min_containers": 0,
        "max_containers": 1,
        "buffer_containers": 0,
        "timeout": None,
        "startup_timeout": _NO_HURRY,
        "retries": None,
        "single_use": True,
        "max_inputs": 1,
        "target_inputs": None,
        "in_threads": False,
        "max_batch_size": 0 if runs_program else min(1, settings.max_batch_size),
        "batch_wait": 0.0,
        "snapshot": False,
    }
    return msgspec.structs.replace(settings, **changes), sorted(changes)
