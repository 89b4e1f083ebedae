"""Identifiers: a prefix that tells the kind, then 22 hexadecimal characters: a number and the process.

`ap-` app, `fu-` function, `fc-` function call, `in-` input, `ta-` container. An input's id is derived from its call's
id and its index, so that no input has to be remembered for its id's sake.
"""

import itertools
import os

_numbers = itertools.count()
_process = ""


def _enter_process() -> None:
    # Once a process: asking the system for each id would take longer than all else about it.
    global _process
    _process = os.urandom(8).hex()


_enter_process()
os.register_at_fork(after_in_child=_enter_process)


def new_id(prefix: str) -> str:
    """A fresh id such as `fc-00001f5d0c…`, unlike any other of any process."""
    return f"{prefix}-{next(_numbers):06x}{_process}"


def derived_id(prefix: str, base_id: str, data: bytes) -> str:
    """The id of what `data` makes of `base_id`: the same for equal arguments, in every process."""
    from hashlib import blake2b  # here, for few programs need it

    return f"{prefix}-{blake2b(data, key=base_id.encode(), digest_size=11).hexdigest()}"


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
