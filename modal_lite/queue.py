"""Queues, with blocking and `.aio` forms."""

from modal_lite._queue import _Queue
from modal_lite._synchronizer import synchronizer

Queue = synchronizer.wrap(_Queue, "Queue", __name__)

__all__ = ["Queue"]
