"""Volumes, with blocking and `.aio` forms."""

from modal_lite._synchronizer import synchronizer
from modal_lite._volume import _Volume

Volume = synchronizer.wrap(_Volume, "Volume", __name__)

__all__ = ["Volume"]
