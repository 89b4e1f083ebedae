"""Identifiers: a prefix that tells the kind, then 22 random hexadecimal characters.

`ap-` app, `fu-` function, `fc-` function call, `in-` input, `ta-` container. An input's id is derived from its call's
id and its index, so that no input has to be remembered for its id's sake.
"""

import os

_RANDOM_BYTES = 11


def new_id(prefix: str) -> str:
    """A fresh id such as `fc-5d0c…` (88 bits of randomness)."""
    return f"{prefix}-{os.urandom(_RANDOM_BYTES).hex()}"


def input_id(call_id: str, index: int) -> str:
    """The id of the call's input number `index`."""
    return f"in-{call_id[3:]}-{index}"


def parse_input_id(value: str) -> tuple[str, int]:
    """The call id and the index that `input_id` made `value` from. Raises ValueError for anything else."""
    prefix, _, rest = value.partition("-")
    suffix, _, index = rest.rpartition("-")
    if prefix != "in" or not suffix:
        raise ValueError(f"{value!r} is not an input id (they look like in-…-0)")
    return f"fc-{suffix}", int(index)
