"""One measurement in a process of its own: `python -m benchmarks.once PEER WORKLOAD` prints one line of JSON.

A process each, so that no peer finds another's threads, sockets or garbage, and a crash costs one measurement.
"""

import argparse
import dataclasses
import json

from benchmarks import peers
from benchmarks.workload import Measured
from benchmarks.workloads import WORKLOADS


def measure(peer_name: str, workload_name: str, scale: float = 1.0) -> dict[str, object]:
    """Opens the peer, runs the workload on `scale` of its inputs, and describes what came out."""
    peer = peers.load(peer_name)
    workload = WORKLOADS[workload_name]
    share = peer.shares.get(workload_name, 1.0)
    wanted = peer.only is None or workload_name in peer.only
    if not (wanted and share and workload.suits(peer)):
        return {"unsuited": True}
    n = max(1, round(workload.size * scale * share))
    measured: Measured
    if workload.opens:
        measured = workload.measure(peer, n)
    else:
        with peer() as opened:
            measured = workload.measure(opened, n)
    about = {"version": peer.version(), "about": peer.about, "bare": peer.bare}
    return {**about, **dataclasses.asdict(measured)}


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=peers.WHERE)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    print("\n" + json.dumps(measure(given.peer, given.workload, given.scale)))


if __name__ == "__main__":
    main()
