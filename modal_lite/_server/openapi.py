"""The description of the administration interface in OpenAPI, made from the table of its operations."""

import re
from typing import Any

import msgspec

from modal_lite._server.api import OPERATIONS, Failed, Operation

_REFUSALS = {
    "400": "The request makes no sense.",
    "401": "The token is missing, or not accepted.",
    "404": "There is no such thing.",
}
_PATH_PARAMETERS = {
    "environment": "The app's environment.",
    "name": "The app's name, or its id, also of one that was stopped.",
    "call_id": "The call's id.",
}


def description(version: str) -> dict[str, Any]:
    """The whole document.

    Args:
        version: Of this package.
    """
    replies = [operation.reply for operation in OPERATIONS if operation.reply is not None]
    queries = [operation.query for operation in OPERATIONS]
    schemas, components = msgspec.json.schema_components(
        [*replies, *queries, Failed], ref_template="#/components/schemas/{name}"
    )
    described = dict(zip([*map(id, replies), *map(id, queries)], schemas[:-1], strict=True))
    failed = schemas[-1]
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        query = components[operation.query.__name__]["properties"]
        reply = None if operation.reply is None else described[id(operation.reply)]
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, query, reply, failed)
    for name in {operation.query.__name__ for operation in OPERATIONS}:
        del components[name]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modal-lite server",
            "version": version,
            "description": "Administration of deployed apps. Over the Unix socket nothing is asked for; over TCP the "
            "token. Times are seconds since the epoch.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(operation: Operation, query: dict[str, Any], reply: Any, failed: Any) -> dict[str, Any]:
    kind, schema = ("text/plain", {"type": "string"}) if reply is None else ("application/json", reply)
    answers: dict[str, Any] = {"200": {"description": "Done.", "content": {kind: {"schema": schema}}}}
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()]
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if parameters:
        described["parameters"] = parameters
    for status, text in _REFUSALS.items():
        answers[status] = {"description": text, "content": {"application/json": {"schema": failed}}}
    return described | {"responses": answers}
