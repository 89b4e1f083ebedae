"""A host of its own on this machine: its own network, processes and folder of Ray, and a cable to here."""

import ipaddress
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

INIT = "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print(); sys.stdin.read()"
"""The host's first process. It buries those without a parent, and ends, and with it the host, when the tests end."""
FOR_TESTS = ipaddress.ip_network("198.18.0.0/15")
"""Addresses for tests of networks (RFC 2544), which nothing else uses."""
RAYS_FOLDER = Path("/tmp/ray")
"""Where a cluster's head keeps its files, and its other nodes theirs."""


class NoNamespaces(Exception):
    """This machine, or this user, can make no hosts."""


class EmulatedHost:
    """A host that reaches this machine, as `address`, by a cable that can be pulled out.

    Its namespaces have no names: they end with its last process, and so does the cable.
    """

    def __init__(self) -> None:
        for program in ("unshare", "nsenter", "ip"):
            if shutil.which(program) is None:
                raise NoNamespaces(f"there is no {program}")
        first = FOR_TESTS[secrets.randbelow(FOR_TESTS.num_addresses // 4) * 4]
        self.address, self._there = str(first + 1), str(first + 2)
        self._cable = f"mlc-{secrets.token_hex(4)}"
        self._ray: subprocess.Popen[bytes] | None = None
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
            + [sys.executable, "-c", INIT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def start_ray(self, address: str, labels: str, environment: dict[str, str]) -> None:
        """Starts a node of one core of the cluster at an address. It ends with the host, at the latest."""
        words = f"start --block --address {address} --node-ip-address {self._there} --num-cpus 1 --labels {labels}"
        self._ray = subprocess.Popen(
            [*self._enter, sys.executable, "-m", "ray.scripts.scripts", *words.split()],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def alive(self, pid: int) -> bool:
        """Whether a process is there, by the pid it has there."""
        return subprocess.run([*self._enter, "test", "-e", f"/proc/{pid}"]).returncode == 0

    def cut(self) -> None:
        """Nothing passes, and nobody is told."""
        _run("ip", "link", "set", self._cable, "down")

    def heal(self) -> None:
        """Everything passes again."""
        _run("ip", "link", "set", self._cable, "up")

    def close(self) -> None:
        """Ends all that runs there."""
        with self._process:
            self._process.kill()
        if self._ray is not None:
            self._ray.wait(10)

    def _connect(self) -> None:
        assert self._process.stdout is not None and self._process.stderr is not None
        if not self._process.stdout.readline():
            raise NoNamespaces(self._process.stderr.read().strip())
        pid = self._process.pid
        init = Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
        self._enter = ["nsenter", "--target", init, "--net", "--mount", "--pid"]
        _run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "cable", "netns", init)
        _run("ip", "addr", "add", f"{self.address}/30", "dev", self._cable)
        _run("ip", "link", "set", self._cable, "up")
        _run(*self._enter, "ip", "addr", "add", f"{self._there}/30", "dev", "cable")
        _run(*self._enter, "ip", "link", "set", "cable", "up")
        _run(*self._enter, "ip", "link", "set", "lo", "up")
        RAYS_FOLDER.mkdir(exist_ok=True)
        _run(*self._enter, "mount", "-t", "tmpfs", "tmpfs", str(RAYS_FOLDER))


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoNamespaces(done.stderr.strip())
