"""The caller's terminal in containers, with blocking and `.aio` forms."""

from modal_lite._interact import _interact
from modal_lite._synchronizer import synchronizer

interact = synchronizer.wrap(_interact, "interact", __name__)

__all__ = ["interact"]
