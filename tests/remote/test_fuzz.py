"""Clients of all kinds under faults: a few seeds. `python -m tests.remote.fuzz` plays more."""

import pytest

from tests.remote.conftest import Server
from tests.remote.functions import APP
from tests.remote.fuzz import play


@pytest.mark.slow
def test_every_result_is_right_and_comes_once(own_server: Server) -> None:
    own_server.deploy(APP)
    for seed in (1, 2):
        play(own_server, seed)
