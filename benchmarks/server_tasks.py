"""The task that the peers of the server run, registered with each of them. Imported by their workers."""

import os
from typing import Any

SOCKET = os.environ.get("BENCHMARK_REDIS", "")
"""Of the Redis that is their broker and keeps their results."""


def noop(x: int) -> int:
    """Does nothing."""
    return x


def _celery() -> Any:
    """The app of Celery, with its defaults."""
    from celery import Celery

    url = f"redis+socket://{SOCKET}"
    made = Celery("benchmarks", broker=url, backend=url)
    made.task(noop, name="noop")
    return made


def _taskiq() -> Any:
    """The broker of taskiq, with its defaults."""
    from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

    url = f"unix://{SOCKET}"
    made = ListQueueBroker(url).with_result_backend(RedisAsyncResultBackend(url))
    made.register_task(noop, task_name="noop")
    return made


def __getattr__(name: str) -> Any:
    """`CELERY` and `TASKIQ`: made when they are asked for, as only one of the two may be installed."""
    makers = {"CELERY": _celery, "TASKIQ": _taskiq}
    if name not in makers:
        raise AttributeError(name)
    made = globals()[name] = makers[name]()
    return made
