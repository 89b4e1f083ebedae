"""Dicts and Queues, what schedules and images are for."""

import modal_lite

app = modal_lite.App("typed", image=modal_lite.Image.debian_slim().pip_install("a").env({"A": "b"}))


@app.function(schedule=modal_lite.Cron("0 9 * * *", timezone="Europe/Berlin"), image=modal_lite.Image.micromamba())
def daily() -> str:
    return "done"


@app.function(schedule=modal_lite.Period(days=1), volumes={"/data": modal_lite.Volume.from_name("data")})
def share(d: modal_lite.Dict, q: modal_lite.Queue) -> int:
    return d.len() + q.len(total=True)


def blocking() -> None:
    with modal_lite.Dict.ephemeral() as d, modal_lite.Queue.ephemeral() as q:
        reveal_type(d)  # R: modal_lite.dict.Dict
        d["a"] = 1
        del d["a"]
        reveal_type("a" in d)  # R: bool
        reveal_type(d.put("a", 1, skip_if_exists=True))  # R: bool
        d.update({"a": 1}, b=2)
        reveal_type(d.len())  # R: int
        reveal_type(len(d))  # R: int
        for key in d.keys():
            d.pop(key)
            d.pop(key, None)
        for key in d:
            d.get(key)
        q.put_many([1, 2], timeout=1.5, partition="a", partition_ttl=60)
        reveal_type(q.get_many(2, block=False))  # R: list[Any]
        for value in q.iterate(item_poll_timeout=1.0):
            q.put(value)
        reveal_type(share.remote(d, q))  # R: int
    reveal_type(modal_lite.Queue.from_name("a", create_if_missing=True))  # R: modal_lite.queue.Queue
    with modal_lite.Volume.ephemeral() as volume:
        volume.commit()


async def awaited() -> None:
    async with modal_lite.Queue.ephemeral() as q:
        await q.put.aio(1)
        async for value in q.iterate.aio():
            reveal_type(value)  # R: Any
    async with modal_lite.Dict.ephemeral.aio() as d:
        reveal_type(await d.contains.aio("a"))  # R: bool
    reveal_type(await modal_lite.Dict.lookup.aio("a"))  # R: modal_lite.dict.Dict
