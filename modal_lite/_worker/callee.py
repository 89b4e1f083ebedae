"""What inputs are for: the container's function, or one of the methods of its class."""

from collections.abc import Callable
from typing import Any

import msgspec

from modal_lite._worker.web_exchange import Serving


class Callee(msgspec.Struct, frozen=True):
    """Something that an executor can call.

    Attributes:
        function: The user's function, or a method of the instance.
        tag: Its name, for errors.
        is_generator: It yields its results.
        is_async: It is a coroutine function or an async generator function.
        web: What answers requests, if that is what its inputs are.
    """

    function: Callable[..., Any]
    tag: str
    is_generator: bool
    is_async: bool
    web: Serving | None = None


Callees = dict[str, Callee]
"""By the name of the method; a container of a function has one, under the empty name."""
