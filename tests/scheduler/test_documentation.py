"""The page on the scheduler shows the transitions that there are."""

import re
from pathlib import Path

from modal_lite._scheduler.records import CONTAINER_TRANSITIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "scheduler.md"


def test_the_page_lists_exactly_the_transitions_of_the_table() -> None:
    states = "|".join(state.value for state in CONTAINER_TRANSITIONS)
    listed = re.findall(rf"^\| ({states}) \| ({states}) \|", PAGE.read_text(), re.MULTILINE)
    expected = [(state.value, other.value) for state, others in CONTAINER_TRANSITIONS.items() for other in others]
    assert sorted(listed) == sorted(expected)
