"""What a server counts, and how it tells it to Prometheus."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modal_lite._server.figures import Figures, Histogram
from modal_lite._store.sqlite import SqliteStore


def test_a_histogram_has_cumulative_buckets() -> None:
    histogram = Histogram()
    for seconds, count in ((0.001, 1), (0.002, 3), (5.0, 1), (1e9, 2)):
        histogram.add(seconds, count)
    buckets = dict(histogram.buckets())
    assert buckets["0.001"] == 1 and buckets["0.003"] == 4 and buckets["3.0"] == 4 and buckets["10.0"] == 5
    assert buckets["1000.0"] == 5 and buckets["+Inf"] == 7
    assert histogram.seconds == pytest.approx(0.007 + 5 + 2e9)


def test_figures_of_an_app_that_was_stopped_are_dropped() -> None:
    figures = Figures()
    figures.of("ap-1", "f").attempts["success"] += 1
    figures.of("ap-2", "f").attempts["success"] += 2
    figures.forget("ap-1")
    assert not figures.of("ap-1", "f").attempts and figures.of("ap-2", "f").attempts["success"] == 2


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "state.db")
    yield made
    await made.close()


async def test_the_store_counts_what_it_writes(store: SqliteStore) -> None:
    for i in range(3):
        store.drop_call(f"fc-{i}")
    assert (await store.figures()).queued == 9
    await store.committed()
    figures = await store.figures()
    assert (figures.commits, figures.rows, figures.queued, figures.failed) == (1, 9, 0, 0) and figures.seconds > 0
