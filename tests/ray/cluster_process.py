"""A Ray cluster of several nodes on this machine, in a process of its own: it makes nodes as it is told by its input.

Each line is a JSON object, the options of a node; it answers with the pids of what has been started. It ends, and all
nodes with it, when its input does.
"""

import json
import sys

from ray.cluster_utils import Cluster

MEMORY = 80 << 20
"""Bytes of each node's object store, of which nothing is used."""


def main() -> None:
    cluster = Cluster()
    try:
        for line in sys.stdin:
            node = cluster.add_node(include_dashboard=False, object_store_memory=MEMORY, **json.loads(line))
            pids = {name: started[0].process.pid for name, started in node.all_processes.items()}
            answer = {
                "address": cluster.address,
                "node_id": node.node_id,
                "session": node.get_session_dir_path(),
                "pids": pids,
            }
            print("NODE", json.dumps(answer), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
