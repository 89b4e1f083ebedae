"""Everything that travels between processes, as frozen structs.

A frame on the wire is a fixed prefix (`_transport/frames.py`), one of these messages in msgpack, and at most one
payload whose layout the message gives in `sizes`. Each channel has a union of its own, so that a message on the wrong
channel is a protocol error. Structs are encoded as arrays: fields are only ever appended, with defaults.

Channels of a container, all socket pairs that it inherits:

* data: leases to the container's main thread, results back;
* control: recall, cancellation, the end and the caller's terminal, read by a thread of their own while user code runs;
* client: the calls that user code in the container makes itself (`ClientRequest`, `ClientReply`).
"""

from enum import IntEnum, StrEnum

import msgspec

from modal_lite._core.web import WebConfig

PROTOCOL_VERSION = 1
ANY_INPUT = -1
TERMINAL_WINDOW = 64 << 10
"""Bytes of a terminal's output that may be under way until somebody has taken them."""


class Encoding(IntEnum):
    """How the pickled arguments of a chunk are to be applied."""

    CALL = 0
    """One input: `(args, kwargs)`."""
    SINGLE = 1
    """`(items, kwargs)`: input i is called with the single positional argument `items[i]`."""
    STAR = 2
    """`(items, kwargs)`: input i is called with `*items[i]`."""
    WEB = 3
    """One input: a request, as `_core/web.py` packs it."""


class FailureKind(StrEnum):
    """Why an input has no value; decides the exception type that the caller sees."""

    USER = "user"
    """The function raised. The payload is the packed exception."""
    INIT = "init"
    """The container could not start (import of the user's module, or an enter hook, failed). The payload is the packed
    exception."""
    SERIALIZATION = "serialization"
    """The result, or the exception, could not be pickled in the container."""
    DESERIALIZATION = "deserialization"
    """The arguments could not be unpickled in the container."""
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    LOST = "lost"
    """The container died while it ran this input, too often to try again."""
    INVALID = "invalid"
    """The function was used in a way it cannot be (returned a generator, say)."""


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An input that failed, in words that need no unpickling."""

    kind: FailureKind
    message: str
    """For the caller: what happened and why, one or a few sentences."""
    type_name: str = ""
    """Qualified name of the exception type, if there was an exception."""
    traceback: str = ""
    """The remote traceback as text, if there was an exception."""


class MainModule(msgspec.Struct, frozen=True, array_like=True):
    """The caller's `__main__`, under the name by which a container imports it."""

    name: str
    """`pkg.mod` when it was started by `-m`, else the file's stem."""
    path: str | None
    """The file, for a script; None when the name suffices."""


class TerminalSpec(msgspec.Struct, frozen=True, array_like=True):
    """A terminal of somebody's, as programs see it."""

    rows: int
    columns: int
    kind: str
    """The value of TERM."""


class ContainerSpec(msgspec.Struct, frozen=True, array_like=True):
    """All that a container has to know to serve one function."""

    container_id: str
    app_id: str
    app_name: str
    function_id: str
    tag: str
    """The function's name in its app."""
    module_name: str
    qualname: str
    """Where the function lives in its module; it is imported from there unless `serialized` is given."""
    file_path: str | None
    """The module's file: used when the module cannot be imported by name."""
    serialized: bytes | None
    """The pickled raw function."""
    is_generator: bool
    main: MainModule | None
    sys_path: list[str]
    cwd: str
    env: dict[str, str]
    """Variables to set, secrets and MODAL_* included: those that all containers of the function have."""
    parameters: bytes | None = None
    """For a class: the packed arguments of its constructor; None for none."""
    cpu: float | None = None
    """Cores that it is to count on."""
    cpu_limit: float | None = None
    """Cores that it has use for at most."""
    memory_limit: int | None = None
    """MiB that its processes can have at most, each."""
    max_inputs: int = 1
    """Inputs to run at once."""
    max_batch_size: int = 0
    """Inputs to call the function with together, in lists; 0: one by one, without lists."""
    batch_wait: float = 0.0
    """Seconds that the first input of a batch waits for others."""
    own_env: dict[str, str] = {}
    """Variables to set besides, of this container alone."""
    snapshot: bool = False
    """It is to be forked from a snapshot process."""
    terminal: TerminalSpec | None = None
    """The caller's terminal, to be attached from the start to the end of the container."""
    runs_program: bool = False
    """Inputs are command lines to run on that terminal; the function is not imported."""
    on_server: bool = False
    """Its control plane is a server's: deployed apps can be looked up over the client channel."""
    web: dict[str, WebConfig] = {}
    """What of it answers requests: methods by their names, the function itself under the empty one."""
    memory: int | None = None
    """MiB that it is to find free where it is placed."""
    gpus: int = 0
    """Devices that it is to have to itself."""
    regions: tuple[str, ...] = ()
    cloud: str | None = None
    """Where it may be placed; anywhere, if these are not given."""


# --- data channel ----------------------------------------------------------------------------------------------------


class Lease(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """To the container: run inputs [start, stop) of the call; the body is the whole chunk that holds them."""

    lease_id: int
    call_id: str
    chunk_start: int
    """Index of the chunk's first input within the call."""
    start: int
    stop: int
    encoding: Encoding
    sizes: tuple[int, ...]
    method: str = ""
    """For a class: which of its methods."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """From the container, once: the user's module is imported, its class entered, and leases are welcome."""

    pid: int
    protocol: int = PROTOCOL_VERSION


class StartFailed(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """From the container, instead of Ready; it exits afterwards. The body is the packed exception."""

    failure: Failure
    sizes: tuple[int, ...]


class Outputs(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """From the container: inputs [start, start + count) of the lease returned; the body is the list of values."""

    lease_id: int
    start: int
    count: int
    elapsed: float
    """Seconds that these inputs took, without the transport."""
    sizes: tuple[int, ...]


class InputFailed(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """From the container: one input of the lease failed; the body is the packed exception, or empty."""

    lease_id: int
    index: int
    elapsed: float
    failure: Failure
    sizes: tuple[int, ...]


class Yielded(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """From the container: the next `count` values of a generator input; the body is the list of them."""

    lease_id: int
    count: int
    sizes: tuple[int, ...]


class GeneratorDone(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """From the container: the generator of the lease ended after `count` values in all."""

    lease_id: int
    count: int
    elapsed: float


class Returned(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """From the container: inputs [start, lease.stop) never started and never will under this lease."""

    lease_id: int
    start: int


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """From the container, once: a signal, or its input, ends it; it begins no lease any more."""


ToContainer = Lease
FromContainer = Ready | StartFailed | Outputs | InputFailed | Yielded | GeneratorDone | Returned | Leaving


# --- control channel -------------------------------------------------------------------------------------------------


class Recall(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """To the container: report the finished inputs of the lease at once and give back those not started."""

    lease_id: int


class CancelInput(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """To the container: interrupt this input if it is the one running (started or not, it must end)."""

    lease_id: int
    index: int
    """ANY_INPUT: whichever input of the lease is running; those not started are recalled besides."""
    timed_out: bool = False


class GeneratorCredit(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """To the container: the consumer has taken `consumed` values in all of the generator of this lease."""

    lease_id: int
    consumed: int


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """To the container: interrupt what runs, leave, within `grace` seconds."""

    grace: float
    exits: float = 0.0
    """Seconds that exit hooks may take from when they begin, if that is to be more than what is left of `grace`."""


class TerminalGranted(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """To the container: the terminal that it wanted is its own, until it is done."""

    number: int
    terminal: TerminalSpec


class TerminalRefused(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """To the container: there is no terminal for it."""

    number: int
    reason: str


class TerminalTyped(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """To the container: what was typed on the terminal."""

    data: bytes


class TerminalResized(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """To the container: the terminal's new size."""

    rows: int
    columns: int


class TerminalTaken(msgspec.Struct, frozen=True, array_like=True, tag=28):
    """To the container: so many more bytes of its output have been taken, and may be followed by others."""

    count: int


class TerminalReleased(msgspec.Struct, frozen=True, array_like=True, tag=29):
    """To the container: it was done with the terminal, which has shown everything now."""


class RequestBytes(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """To the container: the body is what the client of this lease's request has sent further."""

    lease_id: int


class TerminalWanted(msgspec.Struct, frozen=True, array_like=True, tag=60):
    """From the container: it would like to have the caller's terminal."""

    number: int
    """To be given with the answer."""


class TerminalWrote(msgspec.Struct, frozen=True, array_like=True, tag=61):
    """From the container: what programs wrote to the terminal."""

    data: bytes


class TerminalDone(msgspec.Struct, frozen=True, array_like=True, tag=62):
    """From the container: it has no more use for the terminal, or does not wait for it any more."""


class RequestTaken(msgspec.Struct, frozen=True, array_like=True, tag=63):
    """From the container: so many bytes of `RequestBytes` have been taken in all; with 0, that they are welcome."""

    lease_id: int
    count: int


TerminalControl = TerminalGranted | TerminalRefused | TerminalTyped | TerminalResized | TerminalTaken | TerminalReleased
ContainerControl = Recall | CancelInput | GeneratorCredit | Stop | TerminalControl | RequestBytes
FromContainerControl = TerminalWanted | TerminalWrote | TerminalDone | RequestTaken


# --- template process ------------------------------------------------------------------------------------------------


class Fork(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """To the template: fork a container; its file descriptors travel with the frame (see `_placement/local.py`)."""

    spec: ContainerSpec


class Kill(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """To the template: send a signal to one of its containers, if it still lives."""

    container_id: str
    signal: int


class TakeSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """To the template: fork a process that loads what the spec is for, and then forks containers from that.

    Its descriptors travel as a container's do. To the template it is one more container, `snapshot_id`.
    """

    snapshot_id: str
    spec: ContainerSpec
    """That of any container of the function."""


class SnapshotTaken(msgspec.Struct, frozen=True, array_like=True, tag=36):
    """From the snapshot process, once: what it was to load is loaded, or that has failed. It forks now, or ends."""

    failed: bool
    """The user's code raised: containers will report that instead of getting ready."""
    obstacles: list[str]
    """What keeps the process from being forked, for people; it ends then."""


class Forked(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """From the template: the container is process `pid`."""

    container_id: str
    pid: int


class ForkFailed(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """From the template: there is no such container, for the reason given."""

    container_id: str
    reason: str


class Exited(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """From the template: the container ended; `status` as from `os.waitstatus_to_exitcode` (negative: a signal)."""

    container_id: str
    status: int


ToTemplate = Fork | TakeSnapshot | Kill
FromTemplate = Forked | ForkFailed | Exited | SnapshotTaken
