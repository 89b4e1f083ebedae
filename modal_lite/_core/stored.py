"""What a server keeps of apps and calls. Times are in seconds since the epoch."""

from enum import StrEnum

import msgspec

from modal_lite._core.messages import Encoding
from modal_lite._core.payload import Payload
from modal_lite._core.requests import AddVariant, CallKind, DeployedFunction, Schedule, Source
from modal_lite._core.settings import FunctionSettings


class AppState(StrEnum):
    """Whether an app can be looked up."""

    DEPLOYED = "deployed"
    STOPPED = "stopped"


class StoredApp(msgspec.Struct, frozen=True):
    """An app. It keeps its id as long as it is not stopped."""

    app_id: str
    environment: str
    name: str
    state: AppState
    created: float
    version: int
    """Its present deployment."""
    stopped: float | None = None


class StoredDeployment(msgspec.Struct, frozen=True):
    """What was deployed once."""

    app_id: str
    version: int
    created: float
    source: Source
    functions: list[DeployedFunction]
    """With the ids under which they are looked up."""
    rollback_of: int | None = None
    """The version that this one brought back."""
    ephemeral: bool = False
    """The app is stopped once it has been without a call for a while."""
    changed: dict[str, FunctionSettings] = {}
    """What `update_autoscaler` has made of the settings of a function or variant, by its lasting id."""

    def function_ids(self) -> list[str]:
        """The lasting ids."""
        return [function.definition.function_id for function in self.functions]


class StoredVariant(msgspec.Struct, frozen=True):
    """A variant of a deployed function."""

    app_id: str
    request: AddVariant


class StoredSchedule(msgspec.Struct, frozen=True):
    """How far the schedule of a deployed function has come."""

    function_id: str
    """The one that stays."""
    app_id: str
    schedule: Schedule
    since: float
    """What the next run is counted from: the last one, or the deployment that brought the schedule."""
    last: float | None = None
    """When it ran last, as planned."""
    call_id: str | None = None
    """The call that it made then."""


class StoredWebPort(msgspec.Struct, frozen=True):
    """Where a deployed web function is reached."""

    app_id: str
    function_id: str
    """The one that stays."""
    method: str
    """Of a class, else empty."""
    port: int


class StoredCall(msgspec.Struct, frozen=True):
    """A call that was made by `spawn` or `spawn_map`."""

    call_id: str
    app_id: str
    function_id: str
    """The version of the function that it was accepted by."""
    kind: CallKind
    method: str
    parent: str | None
    created: float
    closed: bool = False
    num_inputs: int = 0
    cancelled: bool = False
    finished: float | None = None
    expired: bool = False
    """Its outputs have been deleted."""
    failed: int = 0
    """Inputs that have no value; counted at the call's end."""


class StoredChunk(msgspec.Struct, frozen=True):
    """Inputs [start, start + count) of a call."""

    start: int
    count: int
    encoding: Encoding
    payload: Payload


class Unfinished(msgspec.Struct, frozen=True):
    """A call that has to go on after a restart."""

    call: StoredCall
    chunks: list[StoredChunk]
    done: list[tuple[int, int]]
    """Ranges [start, stop) of inputs that have outputs, in order."""


class Catalogue(msgspec.Struct, frozen=True):
    """All apps that are known."""

    apps: list[StoredApp]
    deployments: list[StoredDeployment]
    variants: list[StoredVariant]
    schedules: list[StoredSchedule]
