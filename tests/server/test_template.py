"""The process that containers are forked from is killed."""

from pathlib import Path

from tests.server.conftest import alive, lines, template
from tests.server.functions import app, note_and_wait, same
from tests.waiting import wait_until


def test_the_template_is_killed_while_inputs_run(tmp_path: Path) -> None:
    path = str(tmp_path / "pids")
    with app.run():
        call = note_and_wait.spawn(path)
        wait_until(lambda: lines(path))
        before = template()
        before.kill()
        wait_until(lambda: len(lines(path)) == 2, "the second attempt, in a container of a new template")
        assert template().pid != before.pid
        Path(path + ".go").touch()
        assert call.get(timeout=20) == int(lines(path)[1])
        assert not alive(int(lines(path)[0]))
        assert list(same.map(range(100))) == list(range(100))


def test_the_template_is_killed_while_nothing_runs() -> None:
    with app.run():
        for i in range(3):
            assert same.remote(i) == i
            template().kill()
            wait_until(lambda: same.get_current_stats().num_total_runners == 0, "the end of its containers")
        assert list(same.map(range(100))) == list(range(100))


def test_the_template_is_killed_before_anything_ran() -> None:
    with app.run():
        template().kill()
        assert same.remote(1) == 1
