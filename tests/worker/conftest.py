from collections.abc import Iterator

import pytest

from tests.worker.harness import Plane
from tests.worker.harness import plane as open_plane


@pytest.fixture(scope="module")
def template() -> Iterator[Plane]:
    with open_plane() as opened:
        yield opened


@pytest.fixture
def plane(template: Plane) -> Iterator[Plane]:
    """Starts containers, which are ended after the test."""
    try:
        yield template
    finally:
        template.end_containers()
