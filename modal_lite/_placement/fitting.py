"""What a container needs of a machine, and why none may have it."""

from collections.abc import Sequence

from modal_lite._core.driver_messages import Demand, Node
from modal_lite._core.messages import ContainerSpec

DEFAULT_CPUS = 0.001
"""Cores that a container holds if its function does not say `cpu=`.

How many run at once is decided by the scheduler, from the cores that there are. What they hold has to be little: one
that idles, or waits for a call of its own, uses no core, but Ray would keep others waiting for the core that it holds.
A core is enough for a thousand: a machine is out of memory before.
"""
REGION, CLOUD = "ray.io/availability-region", "cloud"
"""Labels of machines."""


def demand_of(spec: ContainerSpec) -> Demand:
    """What a container of this kind needs."""
    labels: dict[str, str] = {}
    if spec.regions:
        labels[REGION] = spec.regions[0] if len(spec.regions) == 1 else f"in({', '.join(spec.regions)})"
    if spec.cloud is not None:
        labels[CLOUD] = spec.cloud
    memory = max(spec.memory or 0, spec.memory_limit or 0)
    cpus = DEFAULT_CPUS if spec.cpu is None else spec.cpu
    # Where nobody counts cores, machines are filled one after the other unless they are to be spread.
    return Demand(cpus, spec.gpus, memory, labels, spec.cpu is None)


def why_waiting(demand: Demand, nodes: Sequence[Node]) -> str:
    """Why a container may be waiting for its place, for people."""
    if not nodes:
        return "the cluster has no machines"
    fitting = [node for node in nodes if _has_labels(node, demand.labels)]
    if not fitting:
        wanted = ", ".join(f"{name}={value}" for name, value in demand.labels.items())
        return f"no machine of the cluster has the labels {wanted}"
    lacks = []
    for what, wanted_amount, amounts in (
        ("cores", demand.cpus, [node.cpus for node in fitting]),
        ("GPUs", demand.gpus, [node.gpus for node in fitting]),
        ("MiB of memory", demand.memory, [node.memory for node in fitting]),
    ):
        if wanted_amount > max(amounts):
            lacks.append(f"{wanted_amount:.10g} {what}, where the largest machine has {max(amounts):.10g}")
    if lacks:
        return "no machine is large enough: it wants " + ", and ".join(lacks)
    return "no machine has room for it at the moment"


def _has_labels(node: Node, labels: dict[str, str]) -> bool:
    for name, wanted in labels.items():
        values = wanted.removeprefix("in(").removesuffix(")").split(", ") if wanted.startswith("in(") else [wanted]
        if node.labels.get(name) not in values:
            return False
    return True
