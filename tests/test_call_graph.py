import pytest

from modal_lite.call_graph import InputInfo, InputStatus
from modal_lite.types import FunctionStats


def test_statuses_have_the_numbers_of_the_protocol() -> None:
    names = ["PENDING", "SUCCESS", "FAILURE", "TERMINATED", "TIMEOUT", "INIT_FAILURE"]
    assert [InputStatus(number).name for number in range(6)] == names


def test_an_unknown_number_reads_as_pending() -> None:
    assert InputStatus(99) is InputStatus.PENDING
    with pytest.raises(ValueError, match="'x'"):
        InputStatus("x")  # type: ignore[arg-type]


def test_an_input_starts_without_children() -> None:
    info = InputInfo("in-1", "fc-1", "", InputStatus.PENDING, "f", "m")
    assert info.children == []


def test_stats_take_the_two_documented_fields() -> None:
    assert FunctionStats(3, 2) == FunctionStats(3, 2, num_running_inputs=0, num_active_runners=0)
