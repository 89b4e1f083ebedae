"""Dicts, with blocking and `.aio` forms."""

from modal_lite._dict import _Dict
from modal_lite._synchronizer import synchronizer

Dict = synchronizer.wrap(_Dict, "Dict", __name__)

__all__ = ["Dict"]
