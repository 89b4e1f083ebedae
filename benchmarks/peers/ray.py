"""Ray tasks on a cluster of this machine alone."""

import functools
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.peers.base import Function, Peer

# Ray reads its environment when it is imported.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")

import ray


class Ray(Peer):
    about = "Ray tasks with `num_cpus=2`: all submitted, then one `ray.get`; `await ref`"
    distribution = "ray"
    shares = {
        "noop_map": 0.25,
        "noop_map_200k": 0,
        "map_1kib": 0.2,
        "one_blocking_call": 0.2,
        "one_awaited_call": 0.2,
        "containers_16": 0,
    }
    cold_script = """
import logging, os
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
import ray

def f(x):
    return x + 1

if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    print(ray.get(ray.remote(f).remote(41)), flush=True)
"""

    def __enter__(self) -> Peer:
        ray.init(num_cpus=self.workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        return self

    def __exit__(self, *error: object) -> None:
        ray.shutdown()

    @staticmethod
    @functools.cache
    def _task(function: Function) -> Callable[[Any], Any]:
        task: Callable[[Any], Any] = ray.remote(function).remote
        return task

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        task = self._task(function)
        return list(ray.get([task(item) for item in items]))

    def call(self, function: Function, item: Any) -> Any:
        return ray.get(self._task(function)(item))

    async def acall(self, function: Function, item: Any) -> Any:
        return await self._task(function)(item)
