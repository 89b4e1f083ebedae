"""Every exception that modal_lite raises itself.

All derive from `Error`, except `InputCancellation`, which user code is not meant to catch by accident. What a function
raises reaches its caller as it is and is not listed here.
"""

import builtins

__all__ = [
    "AlreadyExistsError",
    "AuthError",
    "ConnectionError",
    "ContainerLostError",
    "DeprecationError",
    "DeserializationError",
    "Error",
    "ExecutionError",
    "FunctionTimeoutError",
    "InputCancellation",
    "InputCancelledError",
    "InvalidError",
    "NotFoundError",
    "OutputExpiredError",
    "RemoteError",
    "RequestSizeError",
    "SerializationError",
    "TimeoutError",
    "UserCodeException",
    "VersionError",
]


class Error(Exception):
    """Base of all errors of modal_lite."""


class InvalidError(Error):
    """Raised when something is used in a way it cannot be: a bad argument, option or combination of them."""


class NotFoundError(Error):
    """Raised when a look-up names an app, function, call or other object that does not exist."""


class AlreadyExistsError(Error):
    """Raised when something is to be created under a name that is taken."""


class AuthError(Error):
    """Raised when the server refuses the client's token, or misses one."""


class ConnectionError(Error, builtins.ConnectionError):
    """Raised when the server cannot be reached or the connection is lost for good; also the builtin of this name."""


class ExecutionError(Error):
    """Raised when an operation cannot be carried out as things are, such as a call while the app is not running."""


class RemoteError(Error):
    """Raised when an input has no result for a reason on the remote side that is no exception of the function."""


class InputCancelledError(RemoteError):
    """Raised to those who wait for an input that was cancelled."""


class ContainerLostError(RemoteError):
    """Raised when the container died while it ran the input, too often for another attempt.

    Attributes:
        container_id: The container that was lost last (`ta-…`), None if unknown.
        status: Its exit status, negative for the signal that killed it, None if unknown.
    """

    def __init__(self, message: str = "", *, container_id: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.container_id = container_id
        self.status = status


class DeserializationError(Error):
    """Raised when the arguments of an input, or other stored data, cannot be unpickled where they are needed."""


class SerializationError(Error):
    """Raised when an argument, a result or an exception cannot be pickled."""


class RequestSizeError(Error):
    """Raised when a request is larger than the server accepts."""


class TimeoutError(Error):
    """Base of errors about time limits; not the builtin of this name, which means "not ready yet"."""


class FunctionTimeoutError(TimeoutError):
    """Raised when an attempt at an input ran longer than the function's `timeout`, and no retry was left."""


class OutputExpiredError(TimeoutError):
    """Raised when a result is asked for after the server has deleted it."""


class UserCodeException(Error):
    """Holds what a function raised, among the results of a map with `return_exceptions=True`. Never raised.

    Attributes:
        exc: The function's own exception.
    """

    def __init__(self, exc: BaseException) -> None:
        super().__init__(exc)
        self.exc = exc


class VersionError(Error):
    """Raised when client and server, or server and container, speak different versions of the protocol."""


class DeprecationError(Error, UserWarning):
    """The category of warnings about deprecated names and options; raised only if warnings are made errors."""


class InputCancellation(BaseException):
    """Raised inside a function when its input is cancelled or runs into its timeout.

    Not an `Exception`, so that `except Exception` does not swallow it; `finally` blocks run.
    """
