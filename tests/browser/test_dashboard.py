"""The dashboard in Chromium: every page wide and on a phone, by keyboard alone, live, and light or dark."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driver import ENTER, TAB, Browser
from tests.remote.conftest import Server

WIDE, PHONE = (1280, 800), (390, 844)


@pytest.fixture(scope="module")
def napping(server: Server) -> Iterator[str]:
    """The id of a call of 10,000 inputs that runs."""
    call_id = server.python("show(modal_lite.Function.from_name('shop', 'nap').spawn_map(range(10_000)).object_id)")
    yield call_id
    server.cli("app", "cancel", call_id, "--terminate-containers")


@pytest.fixture(scope="module")
def three_levels(server: Server) -> str:
    """The id of a call that made calls that made calls."""
    return str(
        server.python("call = modal_lite.Function.from_name('shop', 'root').spawn(); call.get(); show(call.object_id)")
    )


@pytest.fixture(scope="module")
def app(server: Server) -> str:
    """The path of the app."""
    return f"apps/{json.loads(server.cli('app', 'list', '--json').stdout)[0]['app_id']}"


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_every_page(
    server: Server,
    browser: Browser,
    home: str,
    app: str,
    napping: str,
    three_levels: str,
    size: tuple[int, int],
    pictures: Path,
) -> None:
    server.python("modal_lite.Function.from_name('shop', 'say').remote('word ' * 100); show(1)")
    browser.resize(*size)
    pages = ["", "calls", app, f"{app}/logs", f"calls/{napping}", f"calls/{three_levels}", "nothing"]
    for page in pages:
        browser.open(home + page)
        # Nothing is cut off, and nothing has to be scrolled sideways but what says so.
        assert browser.run("return document.documentElement.scrollWidth") <= size[0], page
        assert browser.run("return document.querySelectorAll('h1').length") == 1, page
        unnamed = browser.run("""
            return [...document.querySelectorAll("a, button, input:not([type=hidden])")].filter((each) =>
              !(each.textContent.trim() || each.getAttribute("aria-label") || each.labels?.length)).length
        """)
        assert unnamed == 0, page
        picture = pictures / "page.png"
        browser.shoot(picture)
        assert picture.stat().st_size > 3000, page
    errors = [error for error in browser.errors() if "nothing" not in error]
    assert not errors


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(browser: Browser, home: str, app: str, scheme: str) -> None:
    """The contrast of all texts is that of WCAG 2, level AA."""
    browser.prefer(scheme)
    for page in ("", app, "calls"):
        browser.open(home + page)
        assert browser.run(CONTRASTS) == [], page


def test_figures_are_live(browser: Browser, home: str, napping: str) -> None:
    browser.open(f"{home}calls/{napping}")
    browser.run("window.sameDocument = true")
    browser.wait_for("200 of 10,000 inputs", "#live-call")
    browser.wait_for("running", "#live-graph")
    assert browser.run("return window.sameDocument && document.querySelector('progress').value") == 200


def test_the_focus_stays_where_it_is(server: Server, browser: Browser, home: str, napping: str) -> None:
    browser.open(f"{home}calls")
    browser.tab_to(f"nap, call {napping}")
    before = browser.text("#live-calls")
    server.python("modal_lite.Function.from_name('shop', 'leaf').remote(1); show(1)")
    browser.wait(lambda: browser.text("#live-calls") != before, "new figures")
    assert napping in browser.run("return document.activeElement.getAttribute('aria-label')")


def test_updates_can_be_paused(server: Server, browser: Browser, home: str) -> None:
    browser.open(f"{home}calls")
    browser.run("window.asked = 0; const ask = fetch; window.fetch = (...a) => { window.asked++; return ask(...a); }")
    browser.wait(lambda: browser.run("return window.asked > 0"), "an update")
    browser.tab_to("Pause updates")
    browser.press(ENTER)
    assert browser.run("return document.activeElement.getAttribute('aria-pressed')") == "true"
    before, asked = browser.text("#live-calls"), browser.run("return window.asked")
    server.python("modal_lite.Function.from_name('shop', 'leaf').remote(1); show(1)")
    # A pause is what nothing happens in; two updates would have been due.
    time.sleep(4.5)
    assert browser.run("return window.asked") <= asked + 1 and browser.text("#live-calls") == before
    browser.press(ENTER)
    browser.wait(lambda: browser.text("#live-calls") != before, "new figures")


def test_logs_stream(server: Server, browser: Browser, home: str, app: str) -> None:
    browser.open(f"{home}{app}/logs")
    for text in ("first <b>line</b>", "second line"):
        server.python(f"modal_lite.Function.from_name('shop', 'say').remote({text!r}); show(1)")
        browser.wait_for(text, "#log")
    assert browser.run("return document.querySelectorAll('#log b').length") == 0
    said = browser.text("#log")
    assert said.count("second line") == 1


def test_from_the_first_page_to_a_call_by_keyboard(browser: Browser, home: str, three_levels: str) -> None:
    browser.open(home)
    browser.press(TAB)
    assert browser.run("return document.activeElement.textContent") == "Skip to the content"
    browser.press(ENTER)
    assert browser.run("return document.activeElement.id") == "main"
    browser.tab_to("shop")
    browser.press(ENTER)
    browser.wait(lambda: browser.title.startswith("shop"), "the app's page")
    browser.tab_to("Calls")
    browser.press(ENTER)
    browser.wait(lambda: browser.title.startswith("Calls"), "the calls")
    browser.tab_to(f"root, call {three_levels}")
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.press(ENTER)
    browser.wait(lambda: browser.title.startswith("root"), "the call's page")
    browser.tab_to("branch: done")
    browser.press(ENTER)
    browser.wait(lambda: browser.title.startswith("branch"), "the page of the call that was made")


def test_the_graph(browser: Browser, home: str, three_levels: str) -> None:
    browser.open(f"{home}calls/{three_levels}")
    nodes = browser.run("return [...document.querySelectorAll('.graph title')].map((each) => each.textContent)")
    assert nodes[0] == "root: done" and nodes.count("branch: done") == 3
    assert "leaf: 20 done" in nodes and nodes.count("leaf: done") == 3
    apart = browser.run("""
        const boxes = [...document.querySelectorAll(".graph .box")].map((each) => each.getBoundingClientRect());
        return boxes.every((a, i) => boxes.every((b, k) => i === k || a.right < b.left || b.right < a.left
          || a.bottom < b.top || b.bottom < a.top));
    """)
    assert apart


def test_cancelling_by_keyboard(server: Server, browser: Browser, home: str) -> None:
    call_id = server.python("show(modal_lite.Function.from_name('shop', 'nap').spawn(1_000).object_id)")
    browser.open(f"{home}calls/{call_id}")
    browser.tab_to("Cancel the call…")
    browser.press(ENTER)
    browser.tab_to("Cancel the call")
    browser.press(ENTER)
    browser.wait_for("cancelled", "#live-call")
    assert browser.url == f"{home}calls/{call_id}" and not browser.errors()


def test_stopping_an_app_on_a_phone(server: Server, browser: Browser, home: str) -> None:
    server.deploy(
        "import modal_lite\napp = modal_lite.App('x')\n@app.function()\ndef f(): pass\n", "brief", file="b.py"
    )
    browser.resize(*PHONE)
    browser.open(home)
    browser.run("[...document.querySelectorAll('tbody a')].find((each) => each.textContent === 'brief').click()")
    browser.wait(lambda: browser.title.startswith("brief"), "the app's page")
    browser.click(".confirm summary")
    browser.click(".confirm button")
    browser.wait_for("stopped", "h1")
    assert "brief" not in server.cli("app", "list").stdout


def test_a_session_that_has_ended(server: Server, browser: Browser, home: str) -> None:
    cookies = browser.cookies()
    assert [(each["name"], each["httpOnly"], each["sameSite"]) for each in cookies] == [("modal-lite", True, "Strict")]
    browser.open(f"{home}calls")
    browser.forget()
    browser.wait(lambda: "/login" in browser.url, "the way to the login")
    assert "modal-lite dashboard" in browser.text("main")
    browser.open(server.cli("dashboard").stdout.strip())
    browser.wait(lambda: browser.url == home, "the way back")


CONTRASTS = """
    const parse = (text) => text.match(/[0-9.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (each) => {
      for (; each; each = each.parentElement) {
        const colour = parse(getComputedStyle(each).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour;
      }
      return [255, 255, 255];
    };
    const poor = [];
    for (const each of document.querySelectorAll("main *, header *")) {
      if (![...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
      const [a, b] = [parse(getComputedStyle(each).color), ground(each)].map(light).sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(each.tagName + " " + each.className + " " + each.textContent);
    }
    return poor;
"""
