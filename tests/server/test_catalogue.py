"""Variants of deployed functions: none of itself, none in the place of a function."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from modal_lite._core.requests import AddVariant, DeployApp, DeployedFunction, FunctionDefinition, Source
from modal_lite._core.settings import FunctionSettings
from modal_lite._server import catalogue as module
from modal_lite._server.catalogue import Catalogue, version_id
from modal_lite._store.sqlite import SqliteStore
from modal_lite.exception import ExecutionError, InvalidError

FUNCTION = FunctionDefinition("", "", "", "f", "module", "f", None, None, False, FunctionSettings(), {})
SOURCE = Source("0" * 64, ["/a"], ["/a"], "/a", None, "3.11")


@pytest.fixture
async def catalogue(tmp_path: Path) -> AsyncIterator[Catalogue]:
    store = SqliteStore(tmp_path / "state.db")
    made = Catalogue(store, tmp_path)
    functions = [DeployedFunction(msgspec.structs.replace(FUNCTION, tag=tag), False) for tag in ("f", "g")]
    made.deploy(DeployApp("main", "app", functions, SOURCE))
    yield made
    await store.close()


def id_of(catalogue: Catalogue, tag: str) -> str:
    return catalogue.look_up("main", "app", tag).definition.function_id


def variant(function_id: str, base_id: str) -> AddVariant:
    return AddVariant(function_id, base_id, FunctionSettings(), [], None, None)


async def test_variants_of_themselves_and_of_each_other(catalogue: Catalogue) -> None:
    f, g = id_of(catalogue, "f"), id_of(catalogue, "g")
    catalogue.add_variant(variant("fu-1", version_id(f, 1)))
    catalogue.add_variant(variant("fu-2", "fu-1"))
    catalogue.add_variant(variant("fu-2", "fu-1"))  # again
    for function_id, base_id in ((f, f), (f, g), ("fu-1", "fu-2"), ("fu-2", "fu-2"), (f, "fu-1"), ("fu-3.1", f)):
        with pytest.raises(InvalidError, match="cannot be the id of a variant"):
            catalogue.add_variant(variant(function_id, base_id))
    assert catalogue.definition("fu-2").tag == "f" and catalogue.definition(f).tag == "f"


async def test_more_variants_than_there_can_be(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VARIANTS", 3)
    catalogue.add_variant(variant("fu-1", id_of(catalogue, "f")))
    with pytest.raises(ExecutionError, match="3 variants of the app, and takes no more than 3"):
        catalogue.add_variant(variant("fu-2", id_of(catalogue, "f")))
    catalogue.add_variant(variant("fu-1", id_of(catalogue, "f")))
