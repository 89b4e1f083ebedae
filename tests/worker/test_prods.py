"""Signals whose handlers the interpreter has put off."""

import subprocess
import sys

PROGRAM = """
import os, signal, socket, threading, time
from types import SimpleNamespace
from modal_lite._core.messages import ContainerControl
from modal_lite._transport.blocking import BlockingChannel
from modal_lite._worker.control import Control
from modal_lite._worker.executor import INTERRUPT_SIGNAL

here, there = socket.socketpair()
control = Control(BlockingChannel(here, ContainerControl), SimpleNamespace(before_report=None), here)
control.watch_signals()
prods = []
signal.signal(INTERRUPT_SIGNAL, lambda signum, frame: prods.append(signum))
control.start()

def prodded(seconds):
    before, until = len(prods), time.monotonic() + seconds
    while len(prods) == before and time.monotonic() < until:
        signal.sigtimedwait([], 0.05)
    return len(prods) > before

os.write(control.fds[1], bytes([signal.SIGCHLD]))
assert not prodded(0.2), "a signal that is none of ours"
# What the interpreter's own handler writes at once; the one in Python does not come.
os.write(control.fds[1], bytes([signal.SIGTERM]))
assert prodded(10), "a signal that nobody has seen to"
assert prodded(10), "again, for the first may have come too early as well"
control.heed()
time.sleep(0.2)
assert not prodded(1.0), "a signal that was seen to"
os.write(control.fds[1], bytes([signal.SIGTERM]))
while prodded(1.5):
    pass
print("done")
os._exit(0)
"""


def test_a_signal_that_nobody_sees_to_is_brought_to_notice_for_a_while() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("done\n", "")
