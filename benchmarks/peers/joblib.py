"""joblib.Parallel with its default backend and batching."""

from collections.abc import Iterable, Iterator
from typing import Any

import joblib

from benchmarks.peers.base import Function, Peer


class Joblib(Peer):
    about = "`joblib.Parallel(n_jobs=2)` held open as a context, `batch_size='auto'`"
    distribution = "joblib"
    shares = {"one_blocking_call": 0.1}
    cold_script = """
from joblib import Parallel, delayed

def f(x):
    return x + 1

if __name__ == "__main__":
    print(Parallel(n_jobs=2)([delayed(f)(41)])[0], flush=True)
"""

    def __enter__(self) -> Peer:
        self._parallel = joblib.Parallel(n_jobs=self.workers)
        self._parallel.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._parallel.__exit__(None, None, None)

    def map(self, function: Function, items: Iterable[Any]) -> list[Any]:
        task = joblib.delayed(function)
        return list(self._parallel(task(item) for item in items))

    def stream(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        task = joblib.delayed(function)
        return iter(joblib.Parallel(n_jobs=self.workers, return_as="generator")(task(item) for item in items))

    def call(self, function: Function, item: Any) -> Any:
        return self.map(function, [item])[0]
