"""Dask's distributed scheduler on a cluster of this machine alone."""

import logging
import warnings
from collections.abc import Iterable
from typing import Any

from distributed import Client, LocalCluster

from benchmarks.peers.base import Function, Peer


class Dask(Peer):
    about = "`LocalCluster` of 2 processes with 1 thread each: `client.map` and `gather`, `submit(f, x).result()`"
    distribution = "distributed"
    shares = {
        "noop_map": 0.15,
        "noop_map_200k": 0,
        "map_1kib": 0.2,
        "arrays_8mib": 0.2,
        "one_blocking_call": 0.2,
        "containers_16": 0,
    }
    cold_script = """
from distributed import Client, LocalCluster

def f(x):
    return x + 1

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            print(client.submit(f, 41).result(), flush=True)
"""

    def __enter__(self) -> Peer:
        warnings.filterwarnings("ignore")
        logging.disable(logging.CRITICAL)
        self._cluster = LocalCluster(
            n_workers=self.workers, threads_per_worker=1, processes=True, dashboard_address=None
        )
        self._client = Client(self._cluster)
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()
        self._cluster.close()

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        # pure=False: Dask would run equal inputs only once.
        return list(self._client.gather(self._client.map(function, list(items), pure=False)))

    def call(self, function: Function, item: Any) -> Any:
        return self._client.submit(function, item, pure=False).result()
