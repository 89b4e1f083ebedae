"""A browser, by the WebDriver protocol: what the tests need of it, without a package for it."""

import base64
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TAB, ENTER, SPACE = "\ue004", "\ue007", " "


class Browser:
    """Headless Chromium with a profile of its own.

    Args:
        chromium: The browser's program.
        chromedriver: That of its driver.
        folder: An empty one, for its profile.
    """

    def __init__(self, chromium: str, chromedriver: str, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [chromedriver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            self._base = f"http://127.0.0.1:{self._port()}"
            options = {"binary": chromium, "args": [*_FLAGS, f"--user-data-dir={folder}"]}
            capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
            made = self._ask("POST", "/session", {"capabilities": capabilities})
            self._session = f"/session/{made['sessionId']}"
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Ends the browser and its driver."""
        try:
            self._ask("DELETE", self._session)
        finally:
            self._end()

    # --- where it is -------------------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        """Opens a page; returns when it is loaded."""
        self._do("POST", "/url", url=url)

    @property
    def url(self) -> str:
        """The page that is shown."""
        return str(self._do("GET", "/url"))

    @property
    def title(self) -> str:
        """Its title."""
        return str(self._do("GET", "/title"))

    def resize(self, width: int, height: int) -> None:
        """Makes the page this large, as a phone does if it is small."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._do("POST", "/goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=metrics)

    def prefer(self, scheme: str) -> None:
        """Has the page shown "light" or "dark"."""
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self._do("POST", "/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params=features)

    def forget(self) -> None:
        """Drops all cookies of the page's host."""
        self._do("DELETE", "/cookie")

    def cookies(self) -> list[dict[str, Any]]:
        """The cookies that the page's host gets."""
        return list(self._do("GET", "/cookie"))

    # --- what it shows -----------------------------------------------------------------------------------------------

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function returns in the page."""
        return self._do("POST", "/execute/sync", script=script, args=list(arguments))

    def text(self, selector: str = "body") -> str:
        """What an element shows, empty if there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def wait_for(self, text: str, selector: str = "body") -> None:
        """Waits until an element shows the text."""
        self.wait(lambda: text in self.text(selector), f"{text!r} in {selector}")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for something that the page, which may be changing, does or shows."""
        wait_until(lambda: _or_false(condition), what)

    def errors(self) -> list[str]:
        """What it complained of since this was last asked: refused contents, errors of scripts, answers over 399."""
        return [entry["message"] for entry in self._do("POST", "/se/log", type="browser") if entry["level"] == "SEVERE"]

    def shoot(self, path: Path) -> None:
        """Writes a picture of the window."""
        path.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    # --- what is done to it ------------------------------------------------------------------------------------------

    def press(self, keys: str) -> None:
        """Types keys, to whatever has the focus."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._do("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def tab_to(self, text: str) -> None:
        """Presses the tabulator until what has the focus shows this text, or is labelled by it."""
        seen = []
        for _ in range(60):
            self.press(TAB)
            shows = self.run(
                "const e = document.activeElement;"
                "return e.getAttribute('aria-label') || e.innerText || e.textContent || ''"
            )
            if text in shows:
                return
            seen.append(shows)
        raise AssertionError(f"the tabulator does not lead to {text!r}, but to {seen}")

    def click(self, selector: str) -> None:
        """Clicks an element."""
        element = self._do("POST", "/element", using="css selector", value=selector)
        self._do("POST", f"/element/{element[_ELEMENT]}/click")

    # --- the protocol ------------------------------------------------------------------------------------------------

    def _port(self) -> int:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "started successfully on port" in line:
                return int(line.rsplit(" ", 1)[1].strip(" .\n"))
        raise AssertionError("the driver of the browser did not start")

    def _do(self, method: str, path: str, **body: Any) -> Any:
        return self._ask(method, self._session + path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=50) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise BrowserError(json.load(error)["value"]["message"]) from None

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


class BrowserError(Exception):
    """What the driver refuses, or the page has not."""


def _or_false(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except BrowserError:
        return False  # the page is being replaced
