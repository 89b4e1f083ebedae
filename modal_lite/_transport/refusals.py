"""What servers refuse, and why they are refused, as exceptions."""

import builtins

from modal_lite import exception
from modal_lite._core.address import Address
from modal_lite._core.requests import Refusal


def exception_of(refusal: Refusal) -> Exception:
    """What to raise for a request that was refused."""
    if refusal.exception == builtins.TimeoutError.__name__:
        return builtins.TimeoutError(refusal.message)
    kind = getattr(exception, refusal.exception, exception.ExecutionError)
    error: Exception = kind(refusal.message)
    return error


def not_trusted(address: Address, error: Exception) -> exception.AuthError:
    """What to raise for a server whose certificate nobody vouches for."""
    return exception.AuthError(
        f"The certificate of the server at {address.url} is not trusted: {error}. If it is your own, name its file by "
        "MODAL_LITE_CA_FILE."
    )
