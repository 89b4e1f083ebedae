"""How each peer runs a map of which one input goes wrong: as its documentation says, so that most is saved."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, ClassVar

import modal_lite as modal
from benchmarks import fault_functions
from benchmarks.fault_functions import LIMIT, Input
from benchmarks.peers.base import WORKERS

Function = Callable[[Input], Any]
Outcome = tuple[bool, Any]
"""True and a value, or False and an exception."""

LIMITED = (fault_functions.hangs, fault_functions.freezes)
"""Functions that are given a time limit."""

app = modal.App("faults")


def _registered(function: Function) -> modal.Function[[Input], Any, Any]:
    options = {"timeout": LIMIT} if function in LIMITED else {}
    return app.function(max_containers=WORKERS, **options)(function)


class Peer:
    """A pool, open while it is a context manager."""

    how: ClassVar[str]
    """What is called, for the report."""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the pool."""

    def outcomes(self, function: Function, inputs: list[Input]) -> Iterator[Outcome]:
        """What becomes of the inputs, in their order, as far as the peer tells."""
        raise NotImplementedError


class ModalLite(Peer):
    how = "`f.map(xs, return_exceptions=True)`; the limit is the function's `timeout`"

    def __enter__(self) -> Peer:
        self._run = app.run()
        self._run.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._run.__exit__(*error)

    def outcomes(self, function: Function, inputs: list[Input]) -> Iterator[Outcome]:
        results = MODAL_FUNCTIONS[function].map(inputs, return_exceptions=True, wrap_returned_exceptions=False)
        for result in results:
            yield not isinstance(result, BaseException), result


MODAL_FUNCTIONS = {
    function: _registered(function)
    for function in (
        fault_functions.healthy,
        fault_functions.killed,
        fault_functions.exits,
        fault_functions.segfaults,
        fault_functions.hangs,
        fault_functions.freezes,
        fault_functions.returns_lock,
        fault_functions.raises_strange,
        fault_functions.stays,
    )
}


class Futures(Peer):
    """Peers that give a future for each input."""

    def outcomes(self, function: Function, inputs: list[Input]) -> Iterator[Outcome]:
        limit = LIMIT if function in LIMITED else None
        for future in [self._submit(function, one) for one in inputs]:
            try:
                yield True, self._result(future, limit)
            except Exception as error:
                yield False, error

    def _submit(self, function: Function, given: Input) -> Any:
        return self._pool.submit(function, given)

    def _result(self, future: Any, limit: float | None) -> Any:
        return future.result(limit)

    _pool: Any


class ProcessPool(Futures):
    how = "`ProcessPoolExecutor(2)`: `submit(f, x)`, `result(timeout)`"

    def __enter__(self) -> Peer:
        self._pool = ProcessPoolExecutor(WORKERS)
        self._pool.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._pool.__exit__(*error)


class MultiprocessingPool(Futures):
    how = "`multiprocessing.Pool(2)`: `apply_async(f, (x,))`, `get(timeout)`"

    def __enter__(self) -> Peer:
        self._pool = multiprocessing.Pool(WORKERS)
        self._pool.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._pool.__exit__(*error)

    def _submit(self, function: Function, given: Input) -> Any:
        return self._pool.apply_async(function, (given,))

    def _result(self, future: Any, limit: float | None) -> Any:
        return future.get(limit)


class Loky(ProcessPool):
    how = "`loky.get_reusable_executor(2)`: `submit(f, x)`, `result(timeout)`; for the next map, asked for again"

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def _submit(self, function: Function, given: Input) -> Any:
        from loky import get_reusable_executor

        return get_reusable_executor(max_workers=WORKERS).submit(function, given)


class Joblib(Peer):
    how = "`Parallel(2, timeout=…, return_as='generator')`; one failure ends the map"

    def outcomes(self, function: Function, inputs: list[Input]) -> Iterator[Outcome]:
        import joblib

        limit = LIMIT if function in LIMITED else None
        parallel = joblib.Parallel(n_jobs=WORKERS, timeout=limit, return_as="generator")
        try:
            for result in parallel(joblib.delayed(function)(one) for one in inputs):
                yield True, result
        except Exception as error:
            yield False, error


class Mpire(Futures):
    how = "`WorkerPool(2)`: `apply_async(f, (x,), task_timeout=…)`, `get()`"

    def __enter__(self) -> Peer:
        import mpire

        self._pool = mpire.WorkerPool(n_jobs=WORKERS)
        self._pool.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._pool.__exit__(*error)

    def _submit(self, function: Function, given: Input) -> Any:
        limit = LIMIT if function in LIMITED else None
        return self._pool.apply_async(function, (given,), task_timeout=limit)

    def _result(self, future: Any, limit: float | None) -> Any:
        return future.get()


class Ray(Futures):
    how = "`ray.remote(f).remote(x)`, `ray.get(ref, timeout=…)`, and `ray.cancel(ref, force=True)` when that is over"

    def __enter__(self) -> Peer:
        import ray

        os.environ["RAY_DEDUP_LOGS"] = "0"
        ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        return self

    def __exit__(self, *error: object) -> None:
        import ray

        ray.shutdown()

    def _submit(self, function: Function, given: Input) -> Any:
        import ray

        return ray.remote(function).remote(given)

    def _result(self, future: Any, limit: float | None) -> Any:
        import ray

        try:
            return ray.get(future, timeout=limit)
        except ray.exceptions.GetTimeoutError:
            ray.cancel(future, force=True)
            raise


class Dask(Futures):
    how = "`LocalCluster` of 2 processes with 1 thread each: `submit(f, x)`, `result(timeout)`"

    def __enter__(self) -> Peer:
        import logging

        from distributed import Client, LocalCluster

        logging.disable(logging.CRITICAL)
        self._cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None)
        self._pool = Client(self._cluster)
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.close()
        self._cluster.close()


PEERS: dict[str, tuple[str, str | None, type[Peer]]] = {
    "modal_lite": ("modal_lite", "modal-lite", ModalLite),
    "ProcessPoolExecutor": ("concurrent.futures", None, ProcessPool),
    "multiprocessing.Pool": ("multiprocessing", None, MultiprocessingPool),
    "joblib": ("joblib", "joblib", Joblib),
    "loky": ("loky", "loky", Loky),
    "mpire": ("mpire", "mpire", Mpire),
    "Ray": ("ray", "ray", Ray),
    "Dask": ("distributed", "distributed", Dask),
}
"""Name: the module that must be installed, the distribution that has the version, the class."""
