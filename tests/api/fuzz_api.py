"""Requests made up from the description of the administration interface, for a server that runs.

    python -m tests.api.fuzz_api [arguments of schemathesis]

Checked is that no request makes the server fail, and that every answer is as described. The server listens on TCP, so
that what a token is asked for is checked as well; it has an app, its calls and a function with a schedule.
"""

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from modal_lite._core.address import address_of
from modal_lite._transport.admin import ask
from tests.remote.conftest import Server

TOKEN = "t" * 40
SOURCE = """
    import modal_lite
    app = modal_lite.App()

    @app.function(schedule=modal_lite.Period(seconds=1))
    def tick():
        print("tick")
"""


def main(arguments: list[str]) -> int:
    """Runs a server and the fuzzer; returns the fuzzer's exit status, 1 if the server has not survived it."""
    with tempfile.TemporaryDirectory(prefix="modal-lite-fuzz-") as folder:
        server = Server(Path(folder))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        try:
            server.start("--port", str(port), "--token", TOKEN)
            server.deploy(SOURCE, "app")
            server.deploy(SOURCE, "app")
            pid = server.pid()
            url = f"http://127.0.0.1:{port}"
            known = Path(folder, "known.toml")
            known.write_text('[parameters]\nenvironment = "main"\nname = "app"\n')
            # Names that are made up, and then those of the app.
            status = _fuzz(url, [], arguments)
            server.deploy(SOURCE, "app")
            status = _fuzz(url, ["--config-file", str(known)], [*arguments, "--exclude-operation-id", "stop"]) or status
            health = ask(address_of(url, TOKEN), "GET", "status")
            return status or int(health["pid"] != pid)
        finally:
            server.stop()


def _fuzz(url: str, options: list[str], arguments: list[str]) -> int:
    command = [sys.executable, "-m", "schemathesis.cli", *options, "run", f"{url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--seed", "1", *arguments]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
