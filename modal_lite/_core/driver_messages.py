"""What the server and the process that speaks with Ray tell each other, over a socket pair."""

import msgspec


class Demand(msgspec.Struct, frozen=True, array_like=True):
    """What a container needs of the machine that it runs on."""

    cpus: float
    gpus: int = 0
    memory: int = 0
    """MiB."""
    labels: dict[str, str] = {}
    """Labels of the machine, as Ray's label selectors name them."""
    spread: bool = False
    """Its like are better on different machines."""


class Place(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """To the driver: have the container started somewhere."""

    container_id: str
    demand: Demand
    token: str
    """What its host opens its connection to the server with, once."""


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """To the driver: end what it has started, if it is still there."""

    container_id: str


class Known(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """To the driver, first of all: the containers that are wanted; others of an earlier driver are left over."""

    url: str
    """Where hosts find the server."""
    container_ids: list[str]


class Connected(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """From the driver, once: it has found Ray, and what is left over is gone."""


class Node(msgspec.Struct, frozen=True, array_like=True):
    """A machine of the cluster."""

    node_id: str
    address: str
    cpus: float
    gpus: float
    memory: int
    """MiB."""
    labels: dict[str, str] = {}


class Nodes(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """From the driver, when it has changed: what the cluster consists of."""

    nodes: list[Node]


class Started(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """From the driver: the container has a place, and its host has begun there."""

    container_id: str
    node_id: str


class NotStarted(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """From the driver: what was to start the container has ended, for this reason."""

    container_id: str
    reason: str
    lost: bool
    """With its machine, say: not by what it was to do there."""


class Trouble(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """From the driver, last of all: Ray cannot be used, for this reason."""

    reason: str


ToDriver = Known | Place | Remove
FromDriver = Connected | Nodes | Started | NotStarted | Trouble
