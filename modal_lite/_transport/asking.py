"""Waiting for the answer to one request."""

import asyncio
from collections.abc import Callable
from typing import Any


async def answered(ask: Callable[[Callable[[Any], None]], Callable[[], None]]) -> Any:
    """The reply to a request, which is withdrawn if this is cancelled. Raises the reply if it is an exception.

    Args:
        ask: Sends the request; given who takes the reply, it returns what withdraws the request.
    """
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(reply: Any) -> None:
        if not answer.done():
            answer.set_result(reply)

    withdraw = ask(settle)
    try:
        reply = await answer
    except asyncio.CancelledError:
        withdraw()
        raise
    if isinstance(reply, Exception):
        raise reply
    return reply
