"""`breakpoint()` in a container: on the caller's terminal."""

import os
import sys
from typing import Any

from modal_lite._core import context
from modal_lite._core.tracebacks import hide_library_frames
from modal_lite.exception import InvalidError


def breakpoint_on_terminal(*args: Any, **kwargs: Any) -> Any:
    """What `breakpoint()` calls. Raises InvalidError if there is no terminal."""
    chosen = os.environ.get("PYTHONBREAKPOINT")
    if chosen == "0":
        return None
    if context.terminal is not None:
        try:
            context.terminal.interact()
        except InvalidError as error:
            hide_library_frames(error)
            raise
    if chosen:
        return sys.__breakpointhook__(*args, **kwargs)
    import pdb

    # Not pdb.set_trace, which would begin here instead of where the user's code is.
    debugger = pdb.Pdb()
    if kwargs.get("header") is not None:
        debugger.message(kwargs["header"])
    debugger.set_trace(sys._getframe(1))
    return None
