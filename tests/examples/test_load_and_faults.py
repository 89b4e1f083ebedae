"""The programs behind benchmarks/load.md and benchmarks/faults.md: they run, and what they say of what they saw."""

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import fault_functions, faults, load
from benchmarks.faults import FAULTS, Case, Fault, Seen
from benchmarks.load import Watched
from benchmarks.load_cases import CASES


@pytest.mark.parametrize(("case", "n"), [(case, 4 if case in ("functions", "containers") else 40) for case in CASES])
def test_every_case_of_load_gives_right_results(case: str, n: int) -> None:
    watched = load.watch(case, n, timeout=40)

    assert watched.error == ""
    assert watched.figures
    assert watched.all_mib > watched.caller_mib > 0


def test_a_case_that_hangs_is_a_row() -> None:
    watched = load.watch("concurrent_inputs", 1_000_000, timeout=1)

    assert watched.error == "no end within 1 s"
    assert "| `concurrent_inputs` | 1,000,000 |" in load.table({"concurrent_inputs": watched})


def test_the_table_of_load() -> None:
    watched = Watched(1000, 2.0, 30.4, 99.6, 3, {"s to spawn": 0.5})

    assert (
        "| `spawned_calls` | 1,000 | 2.0 | 30 | 100 | 3 | 0.50 s to spawn | all right |"
        in load.table({"spawned_calls": watched}).splitlines()
    )


@pytest.mark.parametrize("fault", ["kill", "exit", "error", "parent", "ctrl_c"])
def test_modal_lite_loses_nothing(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "LEFT_AFTER", 0.5)
    seen = Case("modal_lite", fault).watch()

    assert not seen.failed
    assert seen.left == 0
    assert seen.end is not None
    if FAULTS[fault].signal is None:
        assert seen.right == (40 if fault == "kill" else 39)
        assert seen.next_map == "works"


def test_a_pool_that_breaks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "LEFT_AFTER", 0.0)
    seen = Case("ProcessPoolExecutor", "exit").watch()

    assert seen.right < 39
    assert seen.next_map.startswith("BrokenProcessPool")


HEALTHY = Fault("f", fault_functions.exits)


@pytest.mark.parametrize(
    ("fault", "seen", "said"),
    [
        (HEALTHY, Seen(40, seconds=0.5, next_map="works", end=0.1), "all, 0.5 s"),
        (HEALTHY, Seen(39, Counter({"E": 1}), 0.5, "works", 0.1), "39, and 1 error, 0.5 s"),
        (FAULTS["kill"], Seen(39, Counter({"E": 1}), 0.5, "works", 0.1), "**39, and 1 error, 0.5 s**"),
        (
            HEALTHY,
            Seen(20, Counter({"E": 20}), 0.5, "E", None),
            "**loses 20, 0.5 s; the next map fails; does not end**",
        ),
        (HEALTHY, Seen(20), "**hangs** after 20 of 40"),
        (HEALTHY, Seen(failed="ImportError"), "not run"),
        (Fault("p", fault_functions.stays, signal.SIGKILL), Seen(end=0.0, left=2), "**2 processes left**"),
        (Fault("c", fault_functions.stays, signal.SIGINT), Seen(end=0.3), "ends in 0.3 s"),
        (Fault("c", fault_functions.stays, signal.SIGINT), Seen(), "**does not end**"),
    ],
)
def test_verdicts(fault: Fault, seen: Seen, said: str) -> None:
    assert faults.verdict(fault, seen) == said


def test_the_report_is_made_of_the_last_of_each_case(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"
    rows = [
        ("exit", "ProcessPoolExecutor", {"right": 1}),
        ("exit", "ProcessPoolExecutor", {"right": 20, "errors": {"E: at 0x7f00": 20}, "seconds": 1.0, "end": 0.1}),
        ("kill", "modal_lite", {"right": 40, "errors": {}, "seconds": 0.5, "next_map": "works", "end": 0.1}),
    ]
    path.write_text("".join(json.dumps([fault, peer, {"errors": {}, **seen}]) + "\n" for fault, peer, seen in rows))

    text = faults.report(faults.read(path))

    assert "| fault | modal_lite | ProcessPoolExecutor |" in text
    assert "| `kill -9` of a worker in the middle of a map | all, 0.5 s |  |" in text
    assert "20 × E: at …" in text
    assert "Not installed where this was measured: multiprocessing.Pool, joblib," in text


def test_the_page_has_a_place_for_the_summary() -> None:
    page = faults.GUARANTEES.read_text()

    assert "\n| a |\n" in faults.replaced(page, "| a |", faults.MARK)
