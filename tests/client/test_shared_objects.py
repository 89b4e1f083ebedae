"""Dicts and Queues, used here and in containers."""

import asyncio
import queue as stdlib_queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modal_lite
from modal_lite import Dict, Queue, _dict, _queue
from modal_lite.exception import (
    DeserializationError,
    Error,
    InvalidError,
    NotFoundError,
    RequestSizeError,
    SerializationError,
)
from tests.client.functions import CannotPickle, CannotUnpickleHere
from tests.client.shared_object_functions import (
    app,
    await_everything,
    change,
    echo,
    named,
    open_and_stay,
    take,
    take_and_tell,
    takes_that_are_cancelled,
)
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    with app.run() as running:
        yield running


@pytest.fixture
def d() -> Iterator[Dict]:
    with Dict.ephemeral() as created:
        yield created


@pytest.fixture
def q() -> Iterator[Queue]:
    with Queue.ephemeral() as created:
        yield created


# --- Dict -------------------------------------------------------------------------------------------------------------


def test_a_dict_is_used_like_a_dict(d: Dict) -> None:
    d["a"] = 1
    d.put("b", [1])
    d.update({"c": None}, d=4)
    d.update([(("k", 1), "pair")])
    assert (d["a"], d["b"], d["c"], d.get("d"), d[("k", 1)]) == (1, [1], None, 4, "pair")
    assert (d.get("no"), d.get("no", 7)) == (None, 7)
    assert ("a" in d, "no" in d, d.contains("a"), d.contains("no")) == (True, False, True, False)
    assert (d.len(), len(d)) == (5, 5)
    assert list(d.keys()) == list(d) == ["a", "b", "c", "d", ("k", 1)]
    assert list(d.values()) == [1, [1], None, 4, "pair"]
    assert dict(d.items()) == dict(d) == {"a": 1, "b": [1], "c": None, "d": 4, ("k", 1): "pair"}
    del d["a"]
    assert (d.pop("b"), d.pop("b", None)) == ([1], None)
    d.clear()
    assert list(d) == []
    for act in (lambda: d["a"], lambda: d.pop("a"), lambda: d.__delitem__("a")):
        with pytest.raises(KeyError) as caught:
            act()
        assert caught.value.args == ("a",)


def test_put_can_leave_what_is_there(d: Dict) -> None:
    assert d.put("a", 1, skip_if_exists=True) is True
    assert d.put("a", 2, skip_if_exists=True) is False
    assert d["a"] == 1
    assert d.put("a", 3) is True


def test_values_are_snapshots(d: Dict) -> None:
    value = [1]
    d["a"] = value
    value.append(2)
    d["a"].append(3)
    assert d["a"] == [1]


def test_arrays_are_snapshots_too(d: Dict) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(100_000)
    d["a"] = array
    array[0] = 1
    d["a"][1] = 1
    assert d["a"].sum() == 0


def test_equal_keys_are_the_same_key(d: Dict) -> None:
    text = "".join(["long", "er text"])
    other = "longer text"
    d[(text, text)] = 1
    assert d[(text, other)] == 1
    d[1] = "int"
    assert (1.0 in d, True in d) == (False, False)


def test_many_and_large_values_are_listed_in_parts(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dict, "_FEW", 7)
    d.update({n: bytes(n) for n in range(50)} | {"large": bytes(3 << 20), "last": b""})
    assert [len(value) for value in d.values()] == [*range(50), 3 << 20, 0]
    assert [key for key, _ in d.items()] == [*range(50), "large", "last"]


def test_what_is_removed_while_it_is_listed_is_left_out(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dict, "_FEW", 1)
    d.update({n: n for n in range(4)})
    values = iter(d.values())
    assert next(values) == 0
    del d[2]
    assert list(values) == [1, 3]


async def test_the_asynchronous_twins() -> None:
    async with Dict.ephemeral.aio() as d:
        await d.put.aio("a", 1)
        await d.update.aio(b=2)
        assert await d.get.aio("a") == 1
        assert await d.contains.aio("b")
        assert [pair async for pair in d.items.aio()] == [("a", 1), ("b", 2)]
        assert await d.pop.aio("a") == 1
        assert await d.len.aio() == 1
        await d.clear.aio()
    async with Queue.ephemeral() as q:
        await q.put.aio(1)
        assert [value async for value in q.iterate.aio()] == [1]
        assert await q.get.aio() == 1
        assert await q.get.aio(block=False) is None


def test_values_that_cannot_travel(d: Dict, q: Queue) -> None:
    with pytest.raises(SerializationError, match=r"The value of the key 'a' cannot be pickled: TypeError: made not to"):
        d["a"] = CannotPickle()
    with pytest.raises(SerializationError, match="The key .*CannotPickle.* cannot be pickled"):
        d[CannotPickle()] = 1
    with pytest.raises(SerializationError, match="A value for a Queue cannot be pickled"):
        q.put_many([1, CannotPickle()])
    d["a"] = CannotUnpickleHere()
    with pytest.raises(
        DeserializationError, match="A value of the Dict cannot be unpickled here: ValueError: made not"
    ):
        d.get("a")
    q.put(CannotUnpickleHere())
    with pytest.raises(DeserializationError):
        q.get()
    assert q.len() == 0


def test_sizes_are_bounded(d: Dict, q: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dict, "MAX_TOGETHER", 1000)
    monkeypatch.setattr(_queue, "MAX_TOGETHER", 1000)
    with pytest.raises(RequestSizeError, match=r"The value of the key 'a' takes 2,\d+ bytes; it can be at most 1,000"):
        d["a"] = bytes(2000)
    with pytest.raises(RequestSizeError, match="What is put at a time"):
        d.update({n: bytes(400) for n in range(3)})
    with pytest.raises(RequestSizeError, match="A value for a Queue takes"):
        q.put(bytes(1 << 20))
    with pytest.raises(RequestSizeError, match="What is put at a time"):
        q.put_many([bytes(400)] * 3)
    assert (d.len(), q.len()) == (0, 0)


# --- Queue ------------------------------------------------------------------------------------------------------------


def test_a_queue_is_first_in_first_out(q: Queue) -> None:
    q.put([1])
    q.put_many(iter([2, None]))
    q.put_many([])
    assert q.len() == 3
    assert list(q.iterate()) == [[1], 2, None]
    assert q.get() == [1]
    assert q.get_many(5) == [2, None]


def test_an_empty_queue(q: Queue) -> None:
    assert q.get(block=False) is None
    assert q.get_many(3, block=False) == []
    for timeout in (0, -1, 0.01):
        with pytest.raises(stdlib_queue.Empty):
            q.get(timeout=timeout)
        with pytest.raises(stdlib_queue.Empty):
            q.get_many(2, timeout=timeout)
    assert list(q.iterate(item_poll_timeout=0.01)) == []


def test_a_full_queue(q: Queue) -> None:
    q.put_many(range(5000))
    for options in ({"block": False}, {"timeout": 0}, {"timeout": 0.01}):
        with pytest.raises(stdlib_queue.Full):
            q.put(1, **options)  # type: ignore[arg-type]
    with pytest.raises(stdlib_queue.Full):
        q.put_many([1, 2], block=False)
    with pytest.raises(InvalidError, match="5,001 values do not fit"):
        q.put_many(range(5001), partition="empty")
    q.put(1, partition="empty", block=False)
    assert q.get_many(10_000) == list(range(5000))


def test_partitions_are_queues_of_their_own(q: Queue) -> None:
    q.put(1)
    q.put(2, partition="a")
    q.put(3, partition="a", partition_ttl=60)
    assert (q.len(), q.len(partition="a"), q.len(total=True)) == (1, 2, 3)
    assert q.get(partition="a") == 2
    assert list(q.iterate(partition="a")) == [3]
    q.clear()
    assert q.len(total=True) == 1
    q.clear(all=True)
    assert q.len(total=True) == 0


def test_what_queues_do_not_take(q: Queue) -> None:
    for partition in ("", "x" * 65, "ü" * 33):
        with pytest.raises(InvalidError, match="must be a string of 1 to 64 bytes"):
            q.get(block=False, partition=partition)
    for ttl in (0, -1, 86_401):
        with pytest.raises(InvalidError, match=f"partition_ttl={ttl}: must be a number of seconds up to 86400"):
            q.put(1, partition_ttl=ttl)
    with pytest.raises(InvalidError, match="n_values=0: must be an int of at least 1"):
        q.get_many(0)
    with pytest.raises(InvalidError, match="partition= and total=True contradict each other"):
        q.len(partition="a", total=True)
    with pytest.raises(InvalidError, match="partition= and all=True contradict each other"):
        q.clear(partition="a", all=True)


def test_iterating_waits_for_more(q: Queue) -> None:
    q.put(1)
    values = iter(q.iterate(item_poll_timeout=30))
    assert next(values) == 1
    putting = threading.Timer(0.05, q.put, [2])
    putting.start()
    assert next(values) == 2
    putting.join()
    values.close()  # type: ignore[attr-defined]


def test_threads_hand_values_to_each_other(q: Queue) -> None:
    got: list[int] = []

    def take_some() -> None:
        while (value := q.get()) is not None:
            got.append(value)

    threads = [threading.Thread(target=take_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(200):
        q.put(n)
    q.put_many([None] * 3)
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(200))


async def test_a_get_that_is_cancelled_at_any_moment_loses_nothing() -> None:
    async with Queue.ephemeral.aio() as q:
        got = []
        for n in range(100):
            task = asyncio.get_running_loop().create_task(q.get.aio())
            if n % 2:
                await q.put.aio(n)
            for _ in range(n % 7):
                await asyncio.sleep(0)
            task.cancel()
            if not n % 2:
                await q.put.aio(n)
            try:
                got.append(await task)
            except asyncio.CancelledError:
                pass
        rest = await q.get_many.aio(100, block=False)
        assert sorted(got + rest) == list(range(100))
        assert await q.get.aio(block=False) is None


# --- in containers ----------------------------------------------------------------------------------------------------


def test_containers_share_them(run: Any, d: Dict, q: Queue) -> None:
    assert change.remote(d, "k", [1]) == (None, "modal_lite.dict")
    assert d["k"] == [1]
    d["k"] = 2
    assert change.remote(d, "k", 3)[0] == 2
    assert await_everything.remote(d, q) == [1, ["k", "a"], [1, 2], 1]
    assert q.get() == 2


def test_they_can_be_values_themselves(run: Any, d: Dict, q: Queue) -> None:
    d["queue"] = q
    d["queue"].put(d)
    assert q.get().object_id == d.object_id


def test_who_waits_in_a_container_is_woken_and_takes_no_core(run: Any, q: Queue) -> None:
    # More of them than cores: what waits makes way for those that put.
    calls = [take.spawn(q, 1, 60.0) for _ in range(6)]
    with Queue.ephemeral() as answers:
        echoes = [echo.spawn(answers, q, 3) for _ in range(2)]
        answers.put_many(range(6))
        assert sorted(value for call in calls for value in call.get(timeout=60)) == list(range(6))
        for echoing in echoes:
            echoing.get(timeout=60)


def test_a_timeout_in_a_container_is_the_standard_librarys(run: Any, q: Queue) -> None:
    with pytest.raises(stdlib_queue.Empty):
        take.remote(q, 1, 0.01)


def test_a_cancelled_call_gives_its_place_up(run: Any, q: Queue, tmp_path: Path) -> None:
    call = take_and_tell.spawn(q, str(tmp_path / "told"))
    wait_until((tmp_path / "told").exists, "the call to begin")
    call.cancel()
    with pytest.raises(modal_lite.exception.RemoteError):
        call.get(timeout=30)
    other = take_and_tell.spawn(q, str(tmp_path / "told again"))
    q.put("kept")
    assert other.get(timeout=30) == "kept"


def test_gets_that_are_cancelled_in_a_container_lose_nothing(run: Any, q: Queue) -> None:
    call = takes_that_are_cancelled.spawn(q, 200)
    for n in range(100):
        q.put(n)
    got = call.get(timeout=60)
    left = q.get_many(200, block=False)
    assert sorted(got + left) == list(range(100))


def test_a_killed_container_leaves_no_ephemeral_dict_behind(run: Any, d: Dict) -> None:
    call = open_and_stay.spawn(d)
    wait_until(lambda: "left" in d, "the Dict to be made")
    left = d["left"]
    assert left.len() == 0
    call.cancel(terminate_containers=True)

    def gone() -> bool:
        try:
            left.len()
        except NotFoundError:
            return True
        return False

    wait_until(gone, "the end of the Dict")


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_is_looked_up_on_first_use(run: Any) -> None:
    lazy = Dict.from_name("nothing-of-this-name")
    with pytest.raises(NotFoundError) as caught:
        lazy.get("a")
    assert str(caught.value) == (
        "There is no Dict named 'nothing-of-this-name' in the environment 'main'. "
        "Dict.from_name('nothing-of-this-name', create_if_missing=True) makes one."
    )
    with pytest.raises(InvalidError, match="has no id before its first use"):
        lazy.object_id  # noqa: B018
    with pytest.raises(NotFoundError, match="There is no Queue named"):
        Queue.lookup("nothing-of-this-name")


def test_names_are_the_same_here_and_in_containers(run: Any) -> None:
    created = Dict.from_name("shared-by-name", create_if_missing=True)
    created["k"] = 5
    assert created.object_id.startswith("di-")
    assert named.remote("shared-by-name", "k") == 5
    assert Dict.lookup("shared-by-name").object_id == created.object_id
    assert change.remote(Dict.from_name("shared-by-name"), "k", 6)[0] == 5
    other = Dict.from_name("shared-by-name", environment_name="other", create_if_missing=True)
    assert "k" not in other
    queue = Queue.lookup("shared-by-name", create_if_missing=True)
    assert queue.object_id.startswith("qu-")
    assert (queue.name, repr(queue)) == ("shared-by-name", "<Queue shared-by-name>")


def test_names_outlive_apps() -> None:
    for n in range(2):
        with modal_lite.App().run():
            d = Dict.from_name("lives-on", create_if_missing=True)
            assert d.get("k") == (n or None)
            d["k"] = n + 1
    assert Dict.from_name("lives-on")["k"] == 2


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 65, 5])
def test_what_is_no_name(name: Any) -> None:
    for cls in (Dict, Queue):
        with pytest.raises(InvalidError, match="cannot be the name of a"):
            cls.from_name(name)


def test_they_are_not_made_directly() -> None:
    for cls in (Dict, Queue):
        with pytest.raises(InvalidError) as caught:
            cls()
        title = cls.__name__
        assert str(caught.value) == (
            f"{title}() cannot be made directly: write `with {title}.ephemeral() as …:` for one that ends with the "
            f'block, or {title}.from_name("a-name", create_if_missing=True).'
        )


def test_an_ephemeral_one_ends_with_its_block() -> None:
    with Dict.ephemeral() as d, Queue.ephemeral() as q:
        pass
    for act in (lambda: d.get(1), d.len, lambda: d.put(1, 2), lambda: q.put(1), q.get, lambda: list(q.iterate())):
        with pytest.raises(NotFoundError, match="here, or no longer: ephemeral ones end with their `with` block"):
            act()


def test_the_end_of_a_queue_ends_a_get_that_waits(run: Any) -> None:
    with Queue.ephemeral() as q:
        call = take.spawn(q, 1)
    with pytest.raises(Error):
        call.get(timeout=30)
