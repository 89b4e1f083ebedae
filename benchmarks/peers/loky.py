"""loky, the executor under joblib."""

from concurrent.futures import Executor

from loky import get_reusable_executor

from benchmarks.peers.process_pool import ProcessPool


class Loky(ProcessPool):
    about = "`loky.get_reusable_executor(max_workers=2)`: `map(f, xs)` with chunksize 1, `submit(f, x).result()`"
    distribution = "loky"
    cold_script = """
from loky import get_reusable_executor

def f(x):
    return x + 1

if __name__ == "__main__":
    print(get_reusable_executor(max_workers=2).submit(f, 41).result(), flush=True)
"""

    def _start(self) -> Executor:
        executor: Executor = get_reusable_executor(max_workers=self.workers)
        return executor
