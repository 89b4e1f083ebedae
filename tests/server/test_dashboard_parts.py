"""Sockets of the dashboard, and how values are spelled on its pages."""

import socket
from pathlib import Path

import pytest

from modal_lite._server.dashboard.rendering import Renderer, duration, plain
from modal_lite._server.dashboard.sockets import dashboard_sockets


def test_a_folder_keeps_its_port_and_makes_room_for_others(tmp_path: Path) -> None:
    first, url = dashboard_sockets(tmp_path)
    again, other = dashboard_sockets(tmp_path)
    try:
        assert url.startswith("http://localhost:") and url != other
        hosts = {sock.getsockname()[0] for sock in first}
        assert "127.0.0.1" in hosts and hosts <= {"127.0.0.1", "::1"}
    finally:
        for sock in (*first, *again):
            sock.close()
    sockets, after = dashboard_sockets(tmp_path)
    for sock in sockets:
        sock.close()
    assert after == url


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_a_port_of_which_another_has_a_part_is_not_used(tmp_path: Path) -> None:
    sockets, url = dashboard_sockets(tmp_path)
    six = [sock for sock in sockets if sock.family is socket.AF_INET6]
    for sock in sockets:
        if sock not in six:
            sock.close()
    others, other = dashboard_sockets(tmp_path)
    for sock in (*six, *others):
        sock.close()
    assert (other != url) == bool(six)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.00012, "0.12 ms"),
        (0.0994, "99.4 ms"),
        (0.1, "0.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_what_only_terminals_understand() -> None:
    assert plain("\x1b[31mred\x1b[0m \x1b]0;title\x07\tx\x00\n") == "red \tx\n"


def test_templates_escape_and_miss_nothing() -> None:
    renderer = Renderer("1")
    login = {"csrf": None, "prefix": "/dashboard", "next": "", "trouble": "<b>", "with_token": True}
    assert "&lt;b&gt;" in renderer.render("login.html", **login)
    with pytest.raises(Exception, match="'trouble' is undefined"):
        renderer.render("login.html", **{key: login[key] for key in login if key != "trouble"})
