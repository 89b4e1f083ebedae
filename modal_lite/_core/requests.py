"""What clients ask of a control plane, and what it answers.

A request is one struct and at most one payload, whether it is handled in this process or sent to another one: the
client objects know only `Connection`. Whatever user code may be behind a reply (results, exceptions) comes as
opaque payloads in an `OutputBatch`.
"""

from enum import IntEnum
from typing import NamedTuple

import msgspec

from modal_lite._core.messages import Encoding, Failure, MainModule, TerminalSpec
from modal_lite._core.object_requests import ObjectReply, ObjectRequest
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.request_base import Reply, Request
from modal_lite._core.settings import FunctionSettings
from modal_lite._core.web import WebConfig
from modal_lite.call_graph import InputInfo


class CallKind(IntEnum):
    """What becomes of a call's results."""

    UNARY = 0
    """One input, its result delivered once, to the caller that waits."""
    SPAWNED = 1
    """Kept, to be read again and again."""
    MAPPED = 2
    """Streamed to one consumer, and gone once delivered."""
    GENERATOR = 3
    """One input, its values streamed to one consumer."""
    DETACHED = 4
    """A generator that nobody reads: it runs, its values are dropped."""
    WEB = 5
    """One input, a request to a web function, whose response is streamed to the client that waits for it."""


class OpenApp(Request, frozen=True, tag=1):
    """The app runs from now on, with these functions."""

    app_id: str
    name: str
    functions: list["FunctionDefinition"]


class CloseApp(Request, frozen=True, tag=2):
    """The app ends: its calls are cancelled, its containers stopped; answered when they are gone."""

    app_id: str
    hurried: bool = False
    """Exit hooks get no more time than everything else."""


class AddVariant(Request, frozen=True, tag=3):
    """A function like `base_id` with other settings, and so with containers of its own. Idempotent."""

    function_id: str
    base_id: str
    settings: FunctionSettings
    changed: list[str]
    """Which of the settings replace those of the base; whoever has only a handle does not know the others."""
    env: dict[str, str] | None
    """Variables instead of the base's; None keeps them."""
    parameters: bytes | None = None
    """For a class: the packed arguments of its constructor; None keeps those of the base."""


class FindFunction(Request, frozen=True, tag=4):
    """Which function of the running apps is this? For user code in containers, which knows only what it imported."""

    module_name: str
    tag: str
    asker: str | None = None
    """Id of the function that the container serves, of whose app it is."""


class UpdateFunction(Request, frozen=True, tag=5):
    """New settings for a running function; None keeps the present one."""

    function_id: str
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: float | None = None


class GetStats(Request, frozen=True, tag=6):
    """The function's backlog and containers."""

    function_id: str


class RunCall(Request, frozen=True, tag=9):
    """A UNARY call with its only input as the payload: answered with the output, cancelled if it is withdrawn."""

    call_id: str
    function_id: str
    parent: str | None
    """Id of the input that makes this call."""
    method: str = ""
    again: bool = False
    """It was made before, of a server that may have been another one: it may know the call."""
    """For a class: which of its methods."""


class StartCall(Request, frozen=True, tag=10):
    """A call with its only input as the payload: answered once it is accepted."""

    call_id: str
    function_id: str
    kind: CallKind
    parent: str | None
    """Id of the input that makes this call."""
    method: str = ""
    again: bool = False
    """It was made before, of a server that may have been another one: it may know the call."""


class OpenMap(Request, frozen=True, tag=11):
    """A call whose inputs will come in chunks."""

    call_id: str
    function_id: str
    kind: CallKind
    parent: str | None
    method: str = ""
    again: bool = False
    """As of `StartCall`."""


class ExchangeChunk(Request, frozen=True, tag=12):
    """A chunk of inputs [start, start + count), as the payload, for results: answered with those that are there."""

    call_id: str
    start: int
    count: int
    """0: no chunk this time."""
    encoding: Encoding
    closed: bool
    """No more inputs will come."""
    wait: bool
    """Answer only when there is a result, or the call has ended."""
    awaited: int | None
    """The input that the next result to be used begins with, if only that one is worth an answer."""
    ranges: list[tuple[int, int]] = []
    """Given when a chunk is sent again: its inputs [start, stop) that have no results. Answered without outputs."""


class NextValues(Request, frozen=True, tag=13):
    """The next values of a generator call; `consumed` values have been taken before."""

    call_id: str
    consumed: int


class GetOutput(Request, frozen=True, tag=14):
    """The kept output that holds input `index`, within `timeout` seconds (None: however long it takes)."""

    call_id: str
    index: int
    timeout: float | None


class DescribeCall(Request, frozen=True, tag=15):
    """What is this call?"""

    call_id: str


class CancelCall(Request, frozen=True, tag=16):
    """Cancel what is unfinished of the call."""

    call_id: str
    terminate_containers: bool


class ForgetCall(Request, frozen=True, tag=17):
    """The consumer is gone: cancel what is unfinished, drop the rest. Never fails."""

    call_id: str


class GetCallGraph(Request, frozen=True, tag=18):
    """The call's inputs and those below them."""

    call_id: str


class OpenTerminal(Request, frozen=True, tag=20):
    """The client has a terminal to offer to containers, one at a time."""

    terminal_id: str
    app_id: str
    function_id: str | None
    """The function whose containers have it from their start; None: it is for those of the app that ask for it."""
    terminal: TerminalSpec


class NextOutput(Request, frozen=True, tag=21):
    """What is to be shown on the terminal next; what the answer before this one said has been done."""

    terminal_id: str


class TypeIn(Request, frozen=True, tag=22):
    """What was typed on the terminal. Never fails."""

    terminal_id: str
    data: bytes


class ResizeTerminal(Request, frozen=True, tag=23):
    """The terminal's new size. Never fails."""

    terminal_id: str
    rows: int
    columns: int


class CloseTerminal(Request, frozen=True, tag=24):
    """The terminal is not to be had any more, nor is the function that it was for."""

    terminal_id: str
    drain: bool
    """Wait for the container that has it: it is about to end."""


class HasSnapshot(Request, frozen=True, tag=60):
    """Does the server have the source snapshot of this digest? Answered with `Found`."""

    digest: str


class PutSnapshot(Request, frozen=True, tag=61):
    """A source snapshot, as the payload."""

    digest: str


class Schedule(msgspec.Struct, frozen=True, array_like=True):
    """When a deployed function runs by itself: one of the two, not checked yet."""

    period: dict[str, int | float] | None = None
    """The fields of a `Period`."""
    cron: tuple[str, str] | None = None
    """The notation and the time zone of a `Cron`."""


class DeployedFunction(msgspec.Struct, frozen=True, array_like=True):
    """A function of a deployment; its ids and paths are the server's matter."""

    definition: "FunctionDefinition"
    is_async: bool
    methods: dict[str, tuple[bool, bool]] | None = None
    """Of a class: whether each method is a generator, and whether it is async."""
    schedule: Schedule | None = None


class Source(msgspec.Struct, frozen=True, array_like=True):
    """Where the code of a deployment comes from."""

    digest: str
    """Of the snapshot."""
    roots: list[str]
    """Folders of the deployer's that the snapshot holds, as its folders 0, 1 and so on."""
    sys_path: list[str]
    cwd: str
    main: MainModule | None
    python: str
    """Major and minor version of the deployer's Python."""


class DeployApp(Request, frozen=True, tag=62):
    """These functions, all of them, are the app from now on. Answered with `Deployed`."""

    environment: str
    name: str
    functions: list[DeployedFunction]
    source: Source
    ephemeral: bool = False
    """The app is stopped once it has been without a call for a while."""


class LookUp(Request, frozen=True, tag=63):
    """What is the function, or class, of this name? Answered with `FoundDeployed`."""

    environment: str
    app_name: str
    tag: str


class LookUpApp(Request, frozen=True, tag=64):
    """Is there an app of this name? Answered with `Deployed`."""

    environment: str
    app_name: str


class Hello(Request, frozen=True, tag=65):
    """Is anybody there?"""


class GetWebUrls(Request, frozen=True, tag=66):
    """Where are requests to this function answered? Answered with `WebUrls`."""

    function_id: str


AnyRequest = (
    OpenApp
    | CloseApp
    | AddVariant
    | FindFunction
    | UpdateFunction
    | GetStats
    | RunCall
    | StartCall
    | OpenMap
    | ExchangeChunk
    | NextValues
    | GetOutput
    | DescribeCall
    | CancelCall
    | ForgetCall
    | GetCallGraph
    | OpenTerminal
    | NextOutput
    | TypeIn
    | ResizeTerminal
    | CloseTerminal
    | ObjectRequest
    | HasSnapshot
    | PutSnapshot
    | DeployApp
    | LookUp
    | LookUpApp
    | Hello
    | GetWebUrls
)


class FunctionDefinition(msgspec.Struct, frozen=True, array_like=True):
    """All that a control plane needs to start containers for a function."""

    function_id: str
    app_id: str
    app_name: str
    tag: str
    module_name: str
    qualname: str
    file_path: str | None
    serialized: bytes | None
    is_generator: bool
    settings: FunctionSettings
    env: dict[str, str]
    """Variables of `env=` and `secrets=`."""
    parameters: bytes | None = None
    """For a class: the packed arguments of its constructor; None for none."""
    incomplete: bool = False
    """A class that cannot do without parameters: it has variants, and no containers of its own."""
    web: dict[str, WebConfig] = {}
    """What of it answers requests: methods by their names, the function itself under the empty one."""


class Output(msgspec.Struct, frozen=True):
    """The results of inputs [start, start + count): one list of values, or one failure."""

    start: int
    count: int
    failure: Failure | None = None
    payload: Payload = EMPTY


class OutputBatch(NamedTuple):
    """Outputs, in the order in which they came."""

    outputs: list[Output]
    finished: bool = False
    """There are no more than these."""
    chunk_size: int = 1
    """How many inputs to send together from now on."""


class Done(Reply, frozen=True, tag=1):
    """It is done."""


class FoundFunction(Reply, frozen=True, tag=2):
    """The function asked for, or None."""

    function_id: str | None


class StatsReply(Reply, frozen=True, tag=3):
    """See `FunctionStats`."""

    backlog: int
    num_total_runners: int
    num_running_inputs: int
    num_active_runners: int


class CallDescription(Reply, frozen=True, tag=4):
    """A known call."""

    function_id: str
    kind: CallKind
    num_inputs: int


class CallGraphReply(Reply, frozen=True, tag=5):
    """The roots of the graph."""

    roots: list[InputInfo]


class Refusal(Reply, frozen=True, tag=6):
    """The request could not be fulfilled: an exception of `modal_lite.exception`, or the builtin TimeoutError."""

    exception: str
    message: str


class TerminalOutput(Reply, frozen=True, tag=7):
    """What to do with the terminal: show the data; and it is a container's, or nobody's from now on."""

    data: bytes
    attached: bool
    closed: bool = False
    """Nothing will come any more."""


class Found(Reply, frozen=True, tag=60):
    """Whether there is what was asked for."""

    found: bool


class Deployed(Reply, frozen=True, tag=61):
    """An app that is deployed."""

    app_id: str
    version: int
    python: str = ""
    """Major and minor version of the server's Python, if it has just been deployed."""
    web_urls: dict[str, str] = {}
    """Addresses of its web functions, by their names; if it has just been deployed."""


class FoundDeployed(Reply, frozen=True, tag=62):
    """A deployed function or class."""

    function_id: str
    module_name: str
    qualname: str
    is_generator: bool
    is_async: bool
    methods: dict[str, tuple[bool, bool]] | None
    """None for a function."""
    web: dict[str, WebConfig] = {}
    """What of it answers requests: methods by their names, the function itself under the empty one."""


class WebUrls(Reply, frozen=True, tag=63):
    """Where requests are answered: by methods, for the function itself under the empty name."""

    urls: dict[str, str]


DONE = Done()
AnyReply = (
    Done
    | FoundFunction
    | StatsReply
    | CallDescription
    | CallGraphReply
    | Refusal
    | TerminalOutput
    | ObjectReply
    | Found
    | Deployed
    | FoundDeployed
    | WebUrls
)
