"""What a container needs of a machine, and why none has it."""

import pytest

from modal_lite._core.driver_messages import Demand, Node
from modal_lite._placement.fitting import REGION, why_waiting

NOWHERE = "no machine of the cluster has the labels ray.io/availability-region=asia"
SMALL = "no machine is large enough: it wants 4 cores, where the largest machine has 2"
NODES = [Node("n1", "a", 2, 0, 1000, {REGION: "eu"}), Node("n2", "b", 8, 1, 4000, {REGION: "us", "cloud": "own"})]


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        (Demand(1), "no machine has room for it at the moment"),
        (Demand(9), "no machine is large enough: it wants 9 cores, where the largest machine has 8"),
        (
            Demand(1, memory=2 << 20),
            "no machine is large enough: it wants 2097152 MiB of memory, where the largest machine has 4000",
        ),
        (
            Demand(1, gpus=2, memory=5000),
            "no machine is large enough: it wants 2 GPUs, where the largest machine has 1, and 5000 MiB of memory, "
            "where the largest machine has 4000",
        ),
        (
            Demand(1, labels={REGION: "asia"}),
            NOWHERE,
        ),
        (Demand(1, labels={REGION: "in(asia, us)"}), "no machine has room for it at the moment"),
        (
            Demand(4, labels={REGION: "eu"}),
            SMALL,
        ),
    ],
)
def test_the_reason(demand: Demand, reason: str) -> None:
    assert why_waiting(demand, NODES) == reason


def test_without_machines() -> None:
    assert why_waiting(Demand(1), []) == "the cluster has no machines"
