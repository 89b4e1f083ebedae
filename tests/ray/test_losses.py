"""Machines, actors, the process that speaks with Ray and Ray's own head die; what was called is answered."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ray.conftest import APP, ClusterServer, RayCluster
from tests.remote.conftest import shown
from tests.waiting import wait_until

MAP = """
import sys
f = modal_lite.Function.from_name('app', 'slow')
values = []
for x, pid in f.map(range(400)):
    values.append(x)
    if len(values) == 20:
        print("UNDER WAY", pid, flush=True)
show(values == list(range(400)))
"""


def under_way(program: "subprocess.Popen[str]") -> int:
    """The process of a container that has answered."""
    assert program.stdout is not None
    for line in program.stdout:
        if line.startswith("UNDER WAY"):
            return int(line.split()[2])
    raise AssertionError(program.stderr and program.stderr.read())


def result(program: "subprocess.Popen[str]") -> Any:
    out, err = program.communicate(timeout=90)
    return shown(subprocess.CompletedProcess([], program.returncode, out, err))


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_map_survives_a_machine(ray_server: ClusterServer, cluster: RayCluster) -> None:
    known = {node["node_id"] for node in ray_server.status()["nodes"]}
    lost = cluster.add(num_cpus=2)
    ray_server.wait_for_ray(len(known) + 1)

    def on_new_node() -> int:
        return sum(n["containers"] for n in ray_server.status()["nodes"] if n["node_id"] not in known)

    # Long enough for a container to start there, in one of the new ones that `with_options` makes.
    long = MAP.replace("'slow')", "'slow').with_options(timeout=60)").replace("400", "2000")
    with ray_server.program(long) as program:
        under_way(program)
        wait_until(on_new_node, "a container there", 60)
        os.kill(lost["pids"]["raylet"], signal.SIGKILL)
        assert result(program) is True
    wait_until(lambda: on_new_node() == 0, "the end of what was there", 60)


def test_a_map_survives_an_actor(ray_server: ClusterServer) -> None:
    with ray_server.program(MAP) as program:
        container = under_way(program)
        host = parent(container)
        os.kill(parent(host), signal.SIGKILL)
        wait_until(lambda: not alive(container) and not alive(host), "the end of the container and its host", 60)
        assert result(program) is True


def test_a_map_survives_a_container(ray_server: ClusterServer) -> None:
    with ray_server.program(MAP) as program:
        os.kill(under_way(program), signal.SIGKILL)
        assert result(program) is True


def test_containers_go_on_without_the_process_that_speaks_with_ray(ray_server: ClusterServer, tmp_path: Path) -> None:
    path = tmp_path / "seen"
    code = f"show(modal_lite.Function.from_name('app', 'dozes').remote({str(path)!r}, 6))"
    with ray_server.program(code) as program:
        wait_until(path.exists, "the input", 60)
        driver = ray_server.driver()
        os.kill(driver, signal.SIGKILL)
        assert result(program) == int(path.read_text())
    ray_server.wait_for_another_driver(driver)
    # It has found what the one before had started, and starts more.
    assert ray_server.python("show(modal_lite.Function.from_name('app', 'square').with_options(timeout=9).remote(3))")
    assert len(path.read_text().split()) == 1


def test_a_cancelled_container_without_a_place_is_not_left_with_ray(ray_server: ClusterServer) -> None:
    ray_server.deploy(APP, "short-lived")
    code = """
function = modal_lite.Function.from_name("short-lived", "far").with_options(gpu="T4:8")
show(function.spawn(1).object_id)
"""
    call_id = ray_server.python(code)
    wait_until(lambda: ray_server.status()["pending"], "a container that waits", 60)
    ray_server.python(f"modal_lite.FunctionCall.from_id({call_id!r}).cancel()\nshow(1)")
    ray_server.cli("app", "stop", "short-lived")
    wait_until(lambda: not ray_server.status()["pending"], "its end", 60)


def test_containers_go_on_without_rays_head(start_server: Callable[..., ClusterServer]) -> None:
    cluster = RayCluster()
    try:
        server = start_server(cluster, nodes=1)
        before = server.python("show(modal_lite.Function.from_name('app', 'crowd').remote(1))")
        os.kill(cluster.gcs, signal.SIGKILL)
        code = "f = modal_lite.Function.from_name('app', 'crowd')\nshow(sorted(set(f.map(range(300)))))"
        # Without its head, Ray starts nothing: what answers is what ran before.
        assert before in server.python(code)
        status = json.loads(server.cli("cluster", "status", "--json").stdout)
        assert status["containers"] >= 1
    finally:
        cluster.close()
