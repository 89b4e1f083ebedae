"""Images and Volumes: accepted, without effect, and honest about it."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import modal_lite
from modal_lite import Image, Volume
from modal_lite._core.serialization import dumps_whole, loads_whole
from modal_lite.exception import InvalidError
from tests.client.image_functions import UsesWhatIsMissing, app, commit, uses_what_is_here, uses_what_is_missing


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    with app.run() as running:
        yield running


def test_images_are_chained() -> None:
    base = Image.debian_slim("3.12")
    whole = (
        base.apt_install("git", "curl")
        .pip_install("numpy", ["scipy"], extra_index_url="https://example.com")
        .uv_pip_install("torch", gpu="A100")
        .run_commands("make", "make install")
        .env({"A": "b"})
        .workdir("/work")
        .run_function(test_images_are_chained, secrets=[])
        .add_local_file("a.txt", "/a.txt", copy=True)
        .add_local_dir("src", "/src")
        .add_local_python_source("pkg", "other")
        .dockerfile_commands("RUN true")
    )
    assert repr(base) == "Image(debian_slim)"
    assert repr(whole).startswith("Image(debian_slim, apt_install git curl, pip_install numpy ['scipy'], ")
    assert repr(pickle.loads(pickle.dumps(whole))) == repr(whole)


@pytest.mark.parametrize(
    "image",
    [
        Image.micromamba().micromamba_install("a", channels=["c"]),
        Image.from_registry("ubuntu", add_python="3.12").entrypoint([]).cmd(["a"]).shell(["/bin/sh"]),
        Image.from_dockerfile("Dockerfile").pip_install_from_requirements("a.txt").pip_install_from_pyproject("b"),
        Image.debian_slim().poetry_install_from_file("a").uv_sync().copy_local_file("a").copy_local_dir("b", "c"),
    ],
)
def test_other_ways_to_make_them(image: Image) -> None:
    modal_lite.App("a", image=None)
    assert isinstance(image, Image)


def test_what_images_do_not_take() -> None:
    with pytest.raises(InvalidError, match=r"Image\(\) cannot be made directly: begin with Image\.debian_slim\(\)"):
        Image()
    with pytest.raises(InvalidError, match="Image.env takes a dict of strings"):
        Image.debian_slim().env({"A": 1})  # type: ignore[dict-item]


def test_imports_of_an_image_fail_only_where_they_are_used(run: Any) -> None:
    assert uses_what_is_here.remote() == "[1]"
    for function in (uses_what_is_missing, UsesWhatIsMissing().method):
        with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
            function.remote()


def test_only_import_errors_are_put_off() -> None:
    with pytest.raises(ZeroDivisionError), Image.debian_slim().imports():
        1 / 0  # noqa: B018


def test_volumes_have_nothing_to_do(run: Any) -> None:
    assert commit.remote() == "<Volume data>"
    with Volume.ephemeral() as volume:
        assert volume.name is None
        volume.commit()
    assert Volume.from_name("data").read_only().name == "data"
    assert loads_whole(dumps_whole(Volume.from_name("data"))).name == "data"


async def test_the_asynchronous_twins_of_volumes() -> None:
    async with Volume.ephemeral.aio() as volume:
        await volume.commit.aio()
        await volume.reload.aio()


def test_what_volumes_cannot_do_is_said() -> None:
    volume: Any = Volume.from_name("data")
    with pytest.raises(InvalidError) as caught:
        volume.listdir("/")
    assert str(caught.value) == (
        "Volume.listdir() is not supported: nothing is mounted for containers on this machine, which see its files "
        "under their own paths. Use those."
    )
    with pytest.raises(AttributeError, match="'Volume' object has no attribute 'nonsense'"):
        volume.nonsense  # noqa: B018
    with pytest.raises(InvalidError, match="cannot be the name of a Volume"):
        Volume.from_name("a b")
    with pytest.raises(InvalidError, match=r"Volume\(\) cannot be made directly"):
        Volume()
