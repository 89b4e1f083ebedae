"""The peers by name. Each is imported only in the process that measures it, and only if it is installed."""

import importlib
import importlib.util

from benchmarks.peers.base import Peer

WHERE = {
    "modal_lite": ("modal_lite", "benchmarks.peers.modal_lite:ModalLite"),
    "ppe": ("concurrent.futures", "benchmarks.peers.process_pool:ProcessPool"),
    "ppe_c64": ("concurrent.futures", "benchmarks.peers.process_pool:ProcessPool64"),
    "mp_imap": ("multiprocessing", "benchmarks.peers.multiprocessing_pool:MultiprocessingPool"),
    "loky": ("loky", "benchmarks.peers.loky:Loky"),
    "joblib": ("joblib", "benchmarks.peers.joblib:Joblib"),
    "mpire": ("mpire", "benchmarks.peers.mpire:Mpire"),
    "mpire_c1": ("mpire", "benchmarks.peers.mpire:Mpire1"),
    "ray": ("ray", "benchmarks.peers.ray:Ray"),
    "dask": ("distributed", "benchmarks.peers.dask:Dask"),
    "sockets_c64": ("socket", "benchmarks.peers.sockets:Sockets64"),
    "sockets_c1": ("socket", "benchmarks.peers.sockets:Sockets1"),
    "presplit": ("socket", "benchmarks.peers.sockets:Presplit"),
    "memcpy": ("numpy", "benchmarks.peers.memcpy:Memcpy"),
    "mp_fork": ("multiprocessing", "benchmarks.peers.starting:Fork"),
    "mp_forkserver": ("multiprocessing", "benchmarks.peers.starting:Forkserver"),
    "mp_spawn": ("multiprocessing", "benchmarks.peers.starting:Spawn"),
    "snapshot": ("modal_lite", "benchmarks.peers.starting:Snapshot"),
    "fresh": ("modal_lite", "benchmarks.peers.starting:Fresh"),
    "unbatched": ("modal_lite", "benchmarks.peers.unbatched:Unbatched"),
    "synchronicity": ("synchronicity", "benchmarks.peers.synchronicity:Synchronicity"),
}
"""Name: (module that must be installed, class)."""


def installed() -> list[str]:
    """The peers that can run here, in the order of the table."""
    return [name for name, (module, _) in WHERE.items() if importlib.util.find_spec(module) is not None]


def load(name: str) -> type[Peer]:
    """The class of a peer."""
    module, _, attribute = WHERE[name][1].partition(":")
    peer: type[Peer] = getattr(importlib.import_module(module), attribute)
    return peer
