"""The conformance suite's maps, errors and classes, with their containers on a Ray cluster; arguments go to pytest.

A cluster and a server are started for it. Where the suite is not (see `tests/conformance/run.py`), there is nothing to
run, and that is no failure.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "conformance")]

from run import enter_suite, run_suite  # noqa: E402

from tests.ray.conftest import RayCluster  # noqa: E402
from tests.remote.conftest import Server  # noqa: E402

FILES = ("test_map.py", "test_errors.py", "test_cls.py")


class OnCluster:
    """Has the suite's programs run their apps on the server, once its own settings are made."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def pytest_sessionstart(self) -> None:
        """The suite's conftest has taken our variables away by now."""
        os.environ.update(self._environment)


def main(arguments: list[str]) -> int:
    """Runs the tests; returns pytest's exit status."""
    suite = enter_suite()
    if suite is None:
        return 0
    cluster = RayCluster()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        variables = cluster.environment | {"MODAL_LITE_PLACER": "ray", "RAY_ADDRESS": cluster.address}
        server.environment |= variables
        try:
            server.start()
            variables["MODAL_LITE_SERVER_URL"] = f"unix://{server.directory.socket}"
            return run_suite(suite, arguments or [*FILES], [OnCluster(variables)])
        finally:
            server.stop()
            cluster.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
