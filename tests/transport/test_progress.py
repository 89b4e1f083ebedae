"""The page that says which input runs."""

import os

from modal_lite._transport.progress import LEASE, RUNNING, Progress, attach


def test_page_is_shared_and_outlives_the_descriptor() -> None:
    progress = Progress()
    words = attach(progress.fd)
    progress.close_fd()
    progress.close_fd()
    assert progress.read() is None
    words[LEASE] = 2**40
    words[RUNNING] = 1
    assert progress.read() == (2**40, 0)
    words[RUNNING] = 0
    assert progress.read() is None


def test_page_outlives_the_process_that_wrote_it() -> None:
    progress = Progress()
    pid = os.fork()
    if pid == 0:
        words = attach(progress.fd)
        words[LEASE], words[RUNNING] = 7, 12
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert progress.read() == (7, 11)
    progress.close()
    progress.close()
    assert progress.read() == (7, 11)
