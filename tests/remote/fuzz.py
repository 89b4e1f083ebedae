"""Clients that call in all ways while their server is killed and their connections are cut, from a seed.

`python -m tests.remote.fuzz --seeds 100` plays many, `--first 42 --seeds 1` one again.
"""

import argparse
import random
import subprocess
import tempfile
import time
from pathlib import Path

from tests.remote.conftest import Server, shown
from tests.remote.functions import APP
from tests.waiting import wait_until

FAULTS = 2
"""Times that a server ends and is started again, in each run."""
TIMEOUT = 55.0
"""Seconds that a client may take."""

CLIENT = """
import asyncio, os, random, socket, threading, time
from concurrent.futures import ThreadPoolExecutor

chance = random.Random({seed})
square = modal_lite.Function.from_name("app", "slowly")
numbers = modal_lite.Function.from_name("app", "drip")

def expect(got, wanted):
    assert got == wanted, (got, wanted)

def squares(n):
    return [x * x for x in range(n)]

def ordered(n):
    expect(list(square.map(range(n))), squares(n))

def unordered(n):
    expect(sorted(square.map(range(n), order_outputs=False)), squares(n))

def one_by_one(n):
    expect([square.remote(x) for x in range(n // 10)], squares(n // 10))

def spawned(n):
    calls = [square.spawn(x) for x in range(n // 4)]
    expect([call.get(timeout=50) for call in calls], squares(n // 4))

def spawned_map(n):
    call = square.spawn_map(range(n))
    again = modal_lite.FunctionCall.from_id(call.object_id)
    expect(list(again.iter()), squares(n))

def awaited(n):
    async def together():
        return await asyncio.gather(*[square.remote.aio(x) for x in range(n // 4)])

    expect(asyncio.run(together()), squares(n // 4))

def yielded(n):
    got = []
    try:
        for value in numbers.remote_gen(n // 4):
            got.append(value)
    except modal_lite.exception.ConnectionError:
        assert got, "it had delivered nothing, and could have been run again"
        expect(got, list(range(len(got))))
    else:
        expect(got, list(range(n // 4)))

def cut():
    for fd in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(fd)))
        except OSError:
            continue
        with found:
            try:
                if str(found.getpeername()).endswith("server.sock"):
                    found.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

def cut_at_times():
    for pause in [chance.random() for _ in range(4)]:
        if not ended.wait(pause):
            cut()

ways = [ordered, unordered, one_by_one, spawned, spawned_map, awaited, yielded]
work = [(chance.choice(ways), chance.randrange(100, 600)) for _ in range(6)] + [(way, 200) for way in ways]
chance.shuffle(work)
ended = threading.Event()
expect(square.remote(3), 9)
open({ready!r}, "w").close()
cutter = threading.Thread(target=cut_at_times)
cutter.start()
try:
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(way, n) for way, n in work]:
            done.result()
finally:
    ended.set()
    cutter.join()
show(True)
"""


def play(server: Server, seed: int) -> None:
    """One run on a server that has the app. Raises AssertionError if a result is wrong, or does not come."""
    chance = random.Random(seed)
    ready = server.folder / f"ready-{seed}"
    with server.start_python(CLIENT.format(seed=seed, ready=str(ready))) as client:
        try:
            # Before it has found the server once, it says at once that there is none.
            wait_until(lambda: ready.exists() or client.poll() is not None, "the first call")
            for _ in range(FAULTS):
                time.sleep(0.2 + chance.random())
                server.kill() if chance.random() < 0.7 else server.end()
                time.sleep(chance.random() * 0.3)
                server.start()
            out, err = client.communicate(timeout=TIMEOUT)
        finally:
            client.kill()
    assert shown(subprocess.CompletedProcess(client.args, client.returncode, out, err)), seed


def main() -> None:
    """Plays the seeds that the command line names, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="the first of their seeds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            server.deploy(APP)
            for seed in range(given.first, given.first + given.seeds):
                start = time.monotonic()
                play(server, seed)
                print(f"seed {seed}: all right [{time.monotonic() - start:.1f} s]", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
