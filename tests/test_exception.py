import builtins
import inspect
import pickle
import warnings

import pytest

from modal_lite import exception

TYPES = [getattr(exception, name) for name in exception.__all__]


def test_all_lists_every_exception() -> None:
    defined = {name for name, value in vars(exception).items() if inspect.isclass(value)}
    assert sorted(defined) == exception.__all__


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_each_is_documented_public_and_of_the_tree(cls: type[BaseException]) -> None:
    assert cls.__doc__
    assert cls.__module__ == "modal_lite.exception"
    assert issubclass(cls, exception.Error) or cls is exception.InputCancellation


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_each_pickles(cls: type[BaseException]) -> None:
    original = cls("what happened")
    original.detail = 1  # type: ignore[attr-defined]
    copy = pickle.loads(pickle.dumps(original))
    assert type(copy) is cls
    assert copy.args == original.args
    assert vars(copy) == vars(original)


def test_relations() -> None:
    assert issubclass(exception.ConnectionError, builtins.ConnectionError)
    assert not issubclass(exception.FunctionTimeoutError, builtins.TimeoutError)
    assert issubclass(exception.FunctionTimeoutError, exception.TimeoutError)
    assert issubclass(exception.OutputExpiredError, exception.TimeoutError)
    assert issubclass(exception.InputCancelledError, exception.RemoteError)
    assert issubclass(exception.ContainerLostError, exception.RemoteError)
    assert not issubclass(exception.InputCancellation, Exception)


def test_user_code_exception_holds_the_function_s() -> None:
    exc = ValueError("x")
    held = exception.UserCodeException(exc)
    assert held.exc is exc
    assert repr(held) == "UserCodeException(ValueError('x'))"


def test_container_lost_error_says_which_and_how() -> None:
    error = exception.ContainerLostError("gone", container_id="ta-1", status=-9)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.container_id, copy.status) == ("gone", "ta-1", -9)


def test_a_deprecation_is_a_warning() -> None:
    with pytest.warns(exception.DeprecationError, match="old"):
        warnings.warn("old", exception.DeprecationError, stacklevel=1)
