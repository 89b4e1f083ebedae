"""Coverage-guided fuzzing of the frame decoder: `nox -s fuzz -- -max_total_time=600`. Options are libFuzzer's."""

import sys
import tempfile
from pathlib import Path

import atheris
import msgspec

with atheris.instrument_imports(include=["modal_lite._transport", "modal_lite._core"]):
    from modal_lite._core import messages as m
    from modal_lite._core.payload import EMPTY, Payload
    from modal_lite._transport.frames import SHARED_FROM, encode
    from modal_lite._transport.shared_memory import SharedMemory, shared_file
    from tests.transport.streams import Checker

SEEDS: list[tuple[int, msgspec.Struct, Payload]] = [
    (0, m.Ready(1), EMPTY),
    (0, m.Outputs(1, 0, 1, 0.5, (3,)), Payload((3,), [b"abc"])),
    (0, m.InputFailed(1, 0, 0.5, m.Failure(m.FailureKind.USER, "what", "Type", "traceback"), ()), EMPTY),
    (0, m.Yielded(1, 2, (70_000,)), Payload((70_000,), [bytes(70_000)])),
    (1, m.Lease(1, "fc-1", 0, 0, 1, m.Encoding.STAR, (2, 1), "method"), Payload((2, 1), [b"ab", b"c"])),
    (2, m.Stop(1.0, 2.0), EMPTY),
    (3, m.Exited("ta-1", -9), EMPTY),
]
"""One of each kind of field, by the number of its channel in `CHANNELS`."""


def write_seeds(folder: Path) -> None:
    """Frames that make sense, as a beginning."""
    for number, (channel, message, payload) in enumerate(SEEDS):
        frame = b"".join(map(bytes, encode(message, payload)))
        (folder / str(number)).write_bytes(bytes([channel, 0]) + frame)
    fd = shared_file()
    if fd is not None:
        large = Payload((SHARED_FROM,), [bytes(SHARED_FROM)])
        (frame,) = map(bytes, encode(m.Outputs(1, 0, 1, 0.5, large.sizes), large, SharedMemory(fd, first=False)))
        (folder / "shared").write_bytes(bytes([0 | 128, 0]) + frame)


def main() -> None:
    """Fuzzes until libFuzzer's options say that it is enough; fails with the first input that is no clean end."""
    checker = Checker()
    with tempfile.TemporaryDirectory() as folder:
        write_seeds(Path(folder))
        atheris.Setup([*sys.argv, folder], lambda data: checker.check(data) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
