"""Sizes and counts: what is over a limit is refused in words that name it."""

from typing import Any

import msgspec
import pytest

from modal_lite._core.messages import Encoding
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import (
    DeployApp,
    DeployedFunction,
    ExchangeChunk,
    ForgetCall,
    FunctionDefinition,
    OpenMap,
    PutSnapshot,
    RunCall,
    Source,
)
from modal_lite._core.settings import FunctionSettings
from modal_lite._server import limits
from modal_lite._server.limits import check, check_count
from modal_lite.exception import ExecutionError, InvalidError, RequestSizeError

FUNCTION = FunctionDefinition("", "", "", "f", "module", "f", None, None, False, FunctionSettings(), {"A": "b"})
SOURCE = Source("0" * 64, ["/a"], ["/a"], "/a", None, "3.11")


def deployment(**changes: Any) -> DeployApp:
    request = DeployApp("main", "app", [DeployedFunction(FUNCTION, False)], SOURCE)
    return msgspec.structs.replace(request, **changes)


def of(**changes: Any) -> DeployApp:
    """A deployment of one function, changed."""
    return deployment(functions=[DeployedFunction(msgspec.structs.replace(FUNCTION, **changes), False)])


def source(**changes: Any) -> DeployApp:
    return deployment(source=msgspec.structs.replace(SOURCE, **changes))


def named(count: int) -> list[DeployedFunction]:
    return [DeployedFunction(msgspec.structs.replace(FUNCTION, tag=f"f{i}"), False) for i in range(count)]


def test_what_is_within_the_limits() -> None:
    check(deployment(), EMPTY)
    check(deployment(functions=named(limits.MAX_FUNCTIONS)), EMPTY)
    check(RunCall("fc-1", "fu-1", None), EMPTY)
    check(ExchangeChunk("fc-1", 0, limits.MAX_CHUNK, Encoding.SINGLE, False, False, None), EMPTY)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (RunCall("x" * 201, "fu-1", None), "call_id has 201 characters; ids have at most 200"),
        (RunCall("fc-1", "x" * 201, None), "function_id has 201"),
        (RunCall("fc-1", "fu-1", "x" * 201), "parent has 201"),
        (ForgetCall("x" * 201), "call_id has 201"),
        (ExchangeChunk("fc-1", 0, limits.MAX_CHUNK + 1, Encoding.SINGLE, False, False, None), "can be sent together"),
        (ExchangeChunk("fc-1", -1, 1, Encoding.SINGLE, False, False, None), "from -1 on"),
        (deployment(name="x" * 201), "cannot be the name of an app"),
        (deployment(name="a/b"), "cannot be the name of an app"),
        (deployment(environment=""), "cannot be the name of an environment"),
        (deployment(functions=named(1001)), "The app app has 1001 functions; a server takes 1000"),
        (deployment(functions=[DeployedFunction(FUNCTION, False)] * 2), "two functions of one name"),
        (
            deployment(functions=[DeployedFunction(FUNCTION, False, {str(i): (True, True) for i in range(1001)})]),
            "methods",
        ),
        (of(tag="x" * 201), "cannot be the name of a function"),
        (of(tag=""), "cannot be the name of a function"),
        (of(qualname="x" * 5000), "A name or path of the function f has 5000 characters"),
        (of(file_path="x" * 5000), "5000 characters"),
        (of(env={str(i): "" for i in range(1001)}), "1001 environment variables"),
        (of(env={"A": "x" * (200 << 10)}), "The variable A of the function f has"),
        (source(sys_path=["/a"] * 1001), "sys.path has 1001 entries"),
        (source(roots=["/a"] * 1001), "The source has 1001 folders"),
        (source(cwd="x" * 5000), "A path of the source has 5000 characters"),
    ],
)
def test_what_is_over(request_: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        check(request_, EMPTY)


def test_what_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SERIALIZED", 3)
    with pytest.raises(InvalidError, match="travels by value with 4 bytes; a server takes 3"):
        check(of(serialized=b"1234"), EMPTY)
    with pytest.raises(InvalidError, match="4 bytes"):
        check(of(parameters=b"1234"), EMPTY)


def test_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PACKED", 3)
    with pytest.raises(RequestSizeError, match="The source snapshot has 4 bytes; it can have 3"):
        check(PutSnapshot("0" * 64), Payload((4,), [b"1234"]))


def test_counts() -> None:
    check_count(2, 3, "calls under way")
    with pytest.raises(ExecutionError, match="The server has 3 calls under way, and takes no more than 3"):
        check_count(3, 3, "calls under way")


def test_every_kind_of_request_names_its_ids() -> None:
    """A field that is an id by its type of name is one that is checked."""
    for kind in OpenMap, RunCall, ForgetCall:
        assert set(kind.__struct_fields__) & set(limits._IDS)
