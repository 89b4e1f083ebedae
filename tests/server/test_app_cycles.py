"""Many runs of an app, one after the other, leave nothing behind."""

from tests.server.conftest import held
from tests.server.functions import app, same
from tests.waiting import wait_until

CYCLES = 8


def test_many_runs_of_an_app_leak_nothing() -> None:
    with app.run():
        same.remote(1)
    before = held()
    for _ in range(CYCLES):
        with app.run():
            pass
    for _ in range(2):
        with app.run():
            same.remote(1)
    wait_until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)), f"{before} again")
