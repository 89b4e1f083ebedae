"""What runs on a cluster is what runs elsewhere."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.ray.conftest import ClusterServer, RayCluster
from tests.remote.conftest import shown
from tests.waiting import wait_until

F = "f = lambda name: modal_lite.Function.from_name('app', name)\n"


def test_values_order_errors_generators_classes_and_nested_calls(ray_server: ClusterServer) -> None:
    found = ray_server.python(
        F
        + """
try:
    f("fails").remote(3)
except ValueError as error:
    failed = str(error)
mixed = [str(x) for x in f("fails").map(range(2), return_exceptions=True)]
counter = modal_lite.Cls.from_name("app", "Counter")(start=5)
show([
    list(f("square").map(range(5000))) == [x * x for x in range(5000)],
    failed, mixed, list(f("count").remote_gen(4)), f("sum_of_squares").remote(100),
    counter.add.remote(1), counter.add.remote(1), f("square").spawn(7).get(),
])
"""
    )
    assert found == [True, "no 3", ["no 0", "no 1"], [0, 1, 2, 3], 328350, 6, 7, 49]


def test_large_arguments_and_results(ray_server: ClusterServer) -> None:
    assert ray_server.python(F + "x = b'x' * (20 << 20)\nshow(f('echo').remote(x) == x)")


def test_secrets_arrive_limits_hold_and_nothing_of_them_is_with_ray(ray_server: ClusterServer) -> None:
    secret, message = ray_server.python(
        F
        + """
try:
    f("surroundings").remote(600 << 20)
except MemoryError as error:
    show([f("surroundings").remote(1), str(error)])
"""
    )
    assert secret == "do-not-log-this"
    assert "memory limit of 400 MiB" in message
    logs = Path(ray_server.cluster.session, "logs")
    searched = subprocess.run(["grep", "-rl", secret, str(logs)], capture_output=True, text=True)
    assert searched.stdout == ""


def test_devices_are_those_that_ray_assigns(ray_server: ClusterServer, cluster: RayCluster) -> None:
    cluster.add(num_gpus=2)
    code = F + "show([f('devices').remote(), f('devices').with_options(gpu='T4:2', scaledown_window=2).remote()])"
    assert ray_server.python(code) == [None, "0,1"]


def test_what_containers_print_is_kept(ray_server: ClusterServer) -> None:
    ray_server.python(F + "show(list(f('count').remote_gen(3)))")
    wait_until(lambda: "count: counting to 3" in ray_server.cli("app", "logs", "app").stdout, "the line", 60)


def test_what_fits_nowhere_is_reported_and_starts_when_a_machine_joins(
    ray_server: ClusterServer, cluster: RayCluster
) -> None:
    with ray_server.program(F + "show(f('far').remote(5))") as program:
        reason = "no machine of the cluster has the labels ray.io/availability-region=far-away"
        wait_until(lambda: reason in ray_server.cli("cluster", "status").stdout, "the reason", 60)
        assert f"far: a container waits for its place: {reason}." in (ray_server.cli("app", "logs", "app").stderr)
        cluster.add(labels={"ray.io/availability-region": "far-away"})
        out, err = program.communicate(timeout=90)
    assert shown(subprocess.CompletedProcess([], program.returncode, out, err)) == 5
    nodes = ray_server.status()["nodes"]
    assert [node["containers"] for node in nodes if node["labels"].get("ray.io/availability-region")] == [1]


def test_an_app_runs_there_for_as_long_as_its_program(ray_server: ClusterServer) -> None:
    script = ray_server.folder / "script.py"
    script.write_text(
        """
import modal_lite as modal
app = modal.App("brief")
state = modal.Dict.from_name("state", create_if_missing=True)

@app.function()
def f(x):
    print("seen", x)
    return x + 1

@app.local_entrypoint()
def main():
    with modal.Queue.ephemeral() as queue:
        queue.put(1)
        print("GOT", f.remote(queue.get()), list(f.map(range(3))))
"""
    )
    done = ray_server.cli("run", script)
    assert "GOT 2 [1, 2, 3]" in done.stdout
    assert "seen 1" in done.stdout
    assert "brief" not in ray_server.cli("app", "list").stdout


def test_a_program_is_told_what_its_containers_wait_for(ray_server: ClusterServer, tmp_path: Path) -> None:
    script, told = tmp_path / "script.py", tmp_path / "stderr"
    script.write_text(
        """
import modal_lite as modal
app = modal.App("patient")

@app.function(gpu="T4:8")
def f(x):
    return x

with app.run():
    f.remote(1)
"""
    )
    with told.open("wb") as stderr:
        program = subprocess.Popen([sys.executable, script], env=ray_server.environment, stderr=stderr)
    reason = "f: a container waits for its place: no machine is large enough: it wants 8 GPUs, where the largest"
    wait_until(lambda: reason in told.read_text(), "the reason", 60)
    program.send_signal(signal.SIGINT)
    assert program.wait(60) == -signal.SIGINT
    assert "patient" not in ray_server.cli("app", "list").stdout
    assert not ray_server.status()["pending"]
