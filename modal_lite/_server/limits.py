"""How much a client may ask of a server at once: what is over it is refused with the number that it is over.

They are against mistakes before all: whoever has a token may run code on the server's machine anyway.
"""

from modal_lite._core.payload import Payload
from modal_lite._core.requests import AnyRequest, DeployApp, ExchangeChunk, FunctionDefinition, PutSnapshot
from modal_lite._core.snapshot import MAX_PACKED
from modal_lite.exception import ExecutionError, InvalidError, RequestSizeError

MAX_ID = 200
"""Characters of an id."""
MAX_NAME = 200
"""Characters of the name of an app, a function or an environment."""
MAX_TEXT = 4096
"""Characters of the name of a module, a path and the like."""
MAX_FUNCTIONS = 1000
"""Of an app; also methods of a class."""
MAX_VARIABLES = 1000
"""Environment variables of a function."""
MAX_VALUE = 128 << 10
"""Characters of one of them; what Linux gives to a process."""
MAX_PATHS = 1000
"""Entries of `sys.path`."""
MAX_SERIALIZED = 128 << 20
"""Bytes of a function that travels by value, or of the parameters of a class."""
MAX_CHUNK = 1 << 20
"""Inputs that are sent together."""
MAX_CALLS = 1_000_000
"""Calls under way at a time."""
MAX_VARIANTS = 100_000
"""Parameters and options that functions and classes of an app have been called with."""

_IDS = ("call_id", "function_id", "base_id", "asker", "object_id", "new_id", "take_id", "terminal_id", "parent")
_id_fields: dict[type, tuple[str, ...]] = {}


def check(request: AnyRequest, payload: Payload) -> None:
    """Raises InvalidError, or RequestSizeError, for a request that is over a limit by itself."""
    kind = type(request)
    fields = _id_fields.get(kind)
    if fields is None:
        fields = _id_fields[kind] = tuple(name for name in kind.__struct_fields__ if name in _IDS)
    for name in fields:
        text = getattr(request, name)
        if text is not None and len(text) > MAX_ID:
            raise InvalidError(f"{name} has {len(text)} characters; ids have at most {MAX_ID}.")
    if kind is ExchangeChunk:
        _check_chunk(request)  # type: ignore[arg-type]
    elif isinstance(request, DeployApp):
        _check_deployment(request)
    elif kind is PutSnapshot and payload.nbytes > MAX_PACKED:
        raise RequestSizeError(f"The source snapshot has {payload.nbytes} bytes; it can have {MAX_PACKED}.")


def check_count(count: int, limit: int, what: str) -> None:
    """Raises ExecutionError if there are as many as there can be."""
    if count >= limit:
        raise ExecutionError(f"The server has {count} {what}, and takes no more than {limit}. Try again later.")


def _check_chunk(request: ExchangeChunk) -> None:
    if request.start < 0 or not 0 <= request.count <= MAX_CHUNK:
        raise InvalidError(f"{request.count} inputs from {request.start} on: 0 to {MAX_CHUNK} can be sent together.")
    if len(request.ranges) > MAX_CHUNK:
        raise InvalidError(f"{len(request.ranges)} ranges of inputs: there can be {MAX_CHUNK}.")


def _check_deployment(request: DeployApp) -> None:
    for what, name in (("environment", request.environment), ("app", request.name)):
        if not name or len(name) > MAX_NAME or any(character in "/\0\n" for character in name):
            raise InvalidError(f"{name!r:.220} cannot be the name of an {what}.")
    _limit(len(request.functions), MAX_FUNCTIONS, f"The app {request.name} has", "functions")
    _limit(len(request.source.sys_path), MAX_PATHS, "sys.path has", "entries")
    _limit(len(request.source.roots), MAX_PATHS, "The source has", "folders")
    for path in (*request.source.sys_path, *request.source.roots, request.source.cwd, request.source.python):
        _limit(len(path), MAX_TEXT, "A path of the source has", "characters")
    tags = set()
    for function in request.functions:
        _check_function(function.definition)
        _limit(len(function.methods or ()), MAX_FUNCTIONS, f"The class {function.definition.tag} has", "methods")
        tags.add(function.definition.tag)
    if len(tags) < len(request.functions):
        raise InvalidError(f"The app {request.name} has two functions of one name.")


def _check_function(definition: FunctionDefinition) -> None:
    tag = definition.tag
    if not tag or len(tag) > MAX_NAME or any(character in "/\0\n" for character in tag):
        raise InvalidError(f"{tag!r:.220} cannot be the name of a function.")
    for text in (definition.module_name, definition.qualname, definition.file_path or ""):
        _limit(len(text), MAX_TEXT, f"A name or path of the function {tag} has", "characters")
    for data in (definition.serialized, definition.parameters):
        _limit(len(data or b""), MAX_SERIALIZED, f"The function {tag} travels by value with", "bytes")
    _limit(len(definition.env), MAX_VARIABLES, f"The function {tag} has", "environment variables")
    for name, value in definition.env.items():
        _limit(len(name) + len(value), MAX_VALUE, f"The variable {name:.50} of the function {tag} has", "characters")


def _limit(count: int, limit: int, what: str, unit: str) -> None:
    if count > limit:
        raise InvalidError(f"{what} {count} {unit}; a server takes {limit}.")
