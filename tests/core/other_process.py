"""A container reduced to its pickling: `run(fn, *args)` calls a function in a fresh interpreter.

Run as a program, it is that interpreter. Scripts of the tests import it by name.
"""

import json
import subprocess
import sys
from typing import Any

from modal_lite._core import main_module
from modal_lite._core.messages import MainModule
from modal_lite._core.payload import Payload
from modal_lite._core.serialization import dumps, loads


def run(fn: Any, *args: Any) -> Any:
    """What `fn(*args)` returns in the other process."""
    main = main_module.current_main()
    payload = dumps((fn, args))
    header = {"main": None if main is None else [main.name, main.path], "sizes": payload.sizes, "path": sys.path}
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(header).encode() + b"\n" + b"".join(payload.parts),
        stdout=subprocess.PIPE,
        timeout=30,
        check=True,
    )
    sizes, _, body = done.stdout.partition(b"\n")
    return loads(Payload(tuple(json.loads(sizes)), [memoryview(body)]))


def _serve() -> None:
    line, _, body = sys.stdin.buffer.read().partition(b"\n")
    header = json.loads(line)
    sys.path[:] = header["path"]
    main_module.set_container_main(MainModule(*header["main"]) if header["main"] else None)
    fn, args = loads(Payload(tuple(header["sizes"]), [memoryview(body)]))
    payload = dumps(fn(*args))
    sys.stdout.buffer.write(json.dumps(payload.sizes).encode() + b"\n" + b"".join(payload.parts))


if __name__ == "__main__":
    _serve()
