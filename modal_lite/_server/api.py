"""The administration interface over HTTP: its operations, and what they take and answer.

Times are seconds since the epoch. From the table come the routes of the server, and what it serves at /openapi.json.
"""

from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from modal_lite._server.app_logs import LogLine

MAX_LINES = 100_000
"""Lines of output in one answer."""
MAX_CALLS = 1000
"""Calls in one answer."""

Version = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


# What may be left out of a query is UNSET and not None, which the text "null" would stand for.


class OfEnvironment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of apps."""

    environment: str | UnsetType = UNSET
    """Only those of this environment."""


class Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of what was printed."""

    lines: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES)] = 1000
    """So many at most, the last ones; with `after` the first ones, and what was written together with the last."""
    after: Annotated[float, msgspec.Meta(ge=0, le=1e12)] | UnsetType = UNSET
    """Only those written after this time."""


class OfVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a rollback."""

    version: Version | UnsetType = UNSET
    """The version to go back to; the one before the present one if it is left out."""


class OfCalls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of calls."""

    app_id: str | UnsetType = UNSET
    """Only those of this app."""
    unfinished: bool = False
    """Only those that have not finished."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_CALLS)] = 100
    """So many at most, the newest."""


class Cancelling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a cancellation."""

    terminate_containers: bool = False
    """End the containers that run inputs of the call."""


class Health(msgspec.Struct, frozen=True):
    """The server answers."""

    status: str
    version: str
    pid: int


class Status(msgspec.Struct, frozen=True):
    """The server, and how much there is."""

    pid: int
    url: str
    version: str
    started: float
    seconds: float
    """Since it was started."""
    apps: int
    containers: int
    calls: int
    """Calls that have not finished, stored or not."""


class AppView(msgspec.Struct, frozen=True):
    """An app."""

    name: str
    environment: str
    app_id: str
    state: str
    version: int
    created: float
    deployed: float
    """When its present version was deployed."""
    stopped: float | None
    functions: list[str]
    web_urls: dict[str, str]
    """Where its web functions are reached, by their names."""
    next_run: float | None
    """The first time at which one of its functions is to run by itself."""


class VersionView(msgspec.Struct, frozen=True):
    """A version of an app."""

    version: int
    created: float
    current: bool
    rollback_of: int | None
    """The version that this one brought back."""
    snapshot: str
    """Digest of its source."""
    functions: list[str]


class FunctionView(msgspec.Struct, frozen=True):
    """A deployed function or class, and what it does at the moment; of all its variants together."""

    name: str
    function_id: str
    is_class: bool
    backlog: int
    """Inputs that wait for a container."""
    running: int
    """Inputs that run."""
    containers: int
    schedule: str | None
    next_run: float | None
    last_run: float | None
    last_call_id: str | None
    """The call that its schedule made last."""


class CallView(msgspec.Struct, frozen=True):
    """A call that was made by `spawn`, `spawn_map` or a schedule."""

    call_id: str
    app_id: str
    function_id: str
    version: int | None
    """Of the app that it was accepted by."""
    method: str
    num_inputs: int
    created: float
    finished: float | None
    failed: int
    """Inputs that have no value; counted at the call's end."""
    cancelled: bool
    expired: bool
    """Its results have been deleted."""


class DashboardLink(msgspec.Struct, frozen=True):
    """What to open in a browser."""

    url: str
    """Where the dashboard is, as the server knows it."""
    path: str
    """What is to follow the server's address; it logs in whoever comes first."""


class NodeView(msgspec.Struct, frozen=True):
    """A machine of the cluster."""

    node_id: str
    address: str
    cpus: float
    gpus: float
    memory: int
    """MiB."""
    labels: dict[str, str]
    containers: int
    """Those of this server that have their place there."""


class PendingView(msgspec.Struct, frozen=True):
    """A container that has no place yet."""

    container_id: str
    function: str
    seconds: float
    """Since it was asked for."""
    reason: str
    """Why, as far as that is known; empty for the first seconds."""


class ClusterView(msgspec.Struct, frozen=True):
    """The cluster that containers run on."""

    address: str
    """Of Ray."""
    url: str
    """Where its machines find this server."""
    connected: bool
    trouble: str
    """Why there is no connection to Ray, if there is none. Containers that run go on."""
    nodes: list[NodeView]
    containers: int
    """Those that run."""
    pending: list[PendingView]


class Failed(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    error: str
    """The name of an exception of `modal_lite.exception`, or of the HTTP status."""
    message: str


class Operation(NamedTuple):
    """What can be asked for."""

    name: str
    method: str
    path: str
    summary: str
    query: type[msgspec.Struct]
    reply: Any
    """The type of what is answered in JSON; None for plain text."""


_ONE = "/v1/apps/{environment}/{name}"
OPERATIONS = (
    Operation("health", "GET", "/healthz", "Does the server answer?", Nothing, Health),
    Operation("metrics", "GET", "/metrics", "Figures, in the text format of Prometheus.", Nothing, None),
    Operation("openapi", "GET", "/openapi.json", "This description.", Nothing, dict[str, Any]),
    Operation("status", "GET", "/v1/status", "The server, and how much there is.", Nothing, Status),
    Operation(
        "dashboard_link",
        "POST",
        "/v1/dashboard",
        "A link to the dashboard, good for once and 5 minutes.",
        Nothing,
        DashboardLink,
    ),
    Operation("cluster", "GET", "/v1/cluster", "The cluster; refused if containers run here.", Nothing, ClusterView),
    Operation("list_apps", "GET", "/v1/apps", "All apps, oldest first.", OfEnvironment, list[AppView]),
    Operation("app", "GET", _ONE, "An app.", Nothing, AppView),
    Operation("history", "GET", f"{_ONE}/history", "The versions of an app, newest first.", Nothing, list[VersionView]),
    Operation(
        "functions", "GET", f"{_ONE}/functions", "The functions of an app at the moment.", Nothing, list[FunctionView]
    ),
    Operation("logs_of_app", "GET", f"{_ONE}/logs", "What its functions printed last.", Lines, list[LogLine]),
    Operation("stop", "POST", f"{_ONE}/stop", "Ends an app, its calls and its containers.", Nothing, AppView),
    Operation("roll_back", "POST", f"{_ONE}/rollback", "Deploys an earlier version once more.", OfVersion, AppView),
    Operation("list_calls", "GET", "/v1/calls", "Stored calls, newest first.", OfCalls, list[CallView]),
    Operation("call", "GET", "/v1/calls/{call_id}", "A stored call.", Nothing, CallView),
    Operation(
        "cancel",
        "POST",
        "/v1/calls/{call_id}/cancel",
        "Cancels what is unfinished of a stored call.",
        Cancelling,
        CallView,
    ),
)
SESSION = "/v1/session"
"""Where clients of this package connect; it is theirs alone, and not described."""
