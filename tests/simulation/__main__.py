"""`python -m tests.simulation --seeds 10000`, or `--seed 42` to see one of them again."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.run import Found, Passed, shrink, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation", description="The scheduler under seeded faults.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="the first of their seeds")
    parser.add_argument("--seed", type=int, help="only this run, told whole")
    parser.add_argument("--steps", help="with --seed: only these steps of its plan, by their numbers")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _replay(arguments.seed, arguments.steps)
    return _many(range(arguments.first, arguments.first + arguments.seeds), arguments.jobs)


def _replay(seed: int, steps: str | None) -> int:
    numbers = None if steps is None else [int(number) for number in steps.split(",")]
    result = simulate(seed, numbers)
    print(result if isinstance(result, Found) else f"seed {seed}: nothing is wrong, {result.events} events")
    return int(isinstance(result, Found))


def _many(seeds: range, jobs: int) -> int:
    began = time.monotonic()
    events, found = 0, None
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(simulate, seeds, chunksize=20):
            if isinstance(result, Passed):
                events += result.events
            else:
                found = result
                pool.shutdown(cancel_futures=True)
                break
    if found is not None:
        print(shrink(found))
        return 1
    seconds = time.monotonic() - began
    print(f"{len(seeds)} seeds from {seeds.start}: nothing is wrong ({events} events in {seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
