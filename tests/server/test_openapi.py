"""The description of the administration interface: it is that of the routes, and what is checked in is current."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import modal_lite
from modal_lite._core.placed_messages import CONTAINER_PATH
from modal_lite._server.api import OPERATIONS, SESSION
from modal_lite._server.dashboard.pages import PREFIX
from modal_lite._server.http import HttpInterface
from modal_lite._server.openapi import description

CHECKED_IN = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"


class Nobody:
    """Stands for the parts of a server that no route asks for before it is used."""

    async def handle(self, request: Any) -> None:
        raise NotImplementedError

    def knows(self, digest: str | None) -> bool:
        raise NotImplementedError


def test_the_checked_in_description_is_current() -> None:
    assert json.loads(CHECKED_IN.read_text()) == description(modal_lite.__version__), "nox -s docs -- --write"


def test_the_description_has_the_routes_and_no_others() -> None:
    nobody: Any = Nobody()
    interface = HttpInterface(nobody, nobody, nobody, nobody, nobody, nobody)
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in interface.application.router.routes()
        if route.resource is not None and route.method != "HEAD"
        # The dashboard is for people, and so is the way to it.
        if route.resource.canonical != "/" and not route.resource.canonical.startswith(PREFIX)
    }
    paths = description("1")["paths"]
    described = {(method, path) for path, methods in paths.items() for method in methods}
    assert routes == described | {("get", SESSION), ("get", CONTAINER_PATH)}


def test_every_reference_leads_to_a_schema_and_every_schema_is_used() -> None:
    document = description("1")
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    for name in schemas:
        assert f'"#/components/schemas/{name}"' in text
    assert text.count('"$ref"') == sum(text.count(f'"#/components/schemas/{name}"') for name in schemas)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_parameters_are_described_as_they_are_checked(operation: Any) -> None:
    document = description("1")["paths"][operation.path][operation.method.lower()]
    described = {each["name"]: each["schema"] for each in document.get("parameters", []) if each["in"] == "query"}
    assert set(described) == set(operation.query.__struct_fields__)
    for name, schema in described.items():
        if schema["type"] == "integer":
            for value, fine in (
                (schema["minimum"], True),
                (schema["minimum"] - 1, False),
                (schema["maximum"] + 1, False),
            ):
                assert accepts(operation.query, {name: str(value)}) == fine
        assert not accepts(operation.query, {name: "nonsense"}) or schema["type"] == "string"
    assert not accepts(operation.query, {"unheard_of": "1"})


def accepts(kind: Any, query: dict[str, str]) -> bool:
    try:
        msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError:
        return False
    return True
