"""What all requests and replies are, apart so that they can be defined in several modules."""

import msgspec


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Something asked of the control plane."""


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """An answer without payloads."""
